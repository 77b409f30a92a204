//! A learner's clients: what they ask goes to the leader, and what comes of it is found again.
//!
//! A write is answered when its txn is applied here, which is known by session and number; a sync
//! when the leader has answered as many syncs as were sent before it and this one; a session that
//! moves here when the leader has said that it lives. All on one connection, in order, so the
//! oldest that fits is the one. The end of a local session is not sent, and only has its turn.
//! Source: `FollowerRequestProcessor`, `CommitProcessor`, `LearnerZooKeeperServer`.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;

use crate::ids::{Millis, SessionId, Xid, Zxid};
use crate::limits::LEADER_OUTBOX_BYTES_MAX;
use crate::metrics::Counter;
use crate::request::access::Identity;
use crate::stage::message::{Ask, ConnectAsk, Origin, WriteAsk};
use crate::stage::zab::ZabStage;
use crate::stage::zab::role::Role;
use crate::tree::Outcome;
use crate::wire::OpCode;
use crate::wire::quorum::{Forwarded, Identities, Packet, Touch};
use crate::wire::txn::Record;
use crate::zab::{Input, LinkId};

/// See the module.
pub(in crate::stage::zab) struct Forwarding {
    pub(in crate::stage::zab) leader: LinkId,
    /// Of each session, what was asked and not answered, oldest first.
    waiting: HashMap<SessionId, VecDeque<Waiting>>,
    /// Whose syncs were sent, oldest first.
    syncs: VecDeque<SessionId>,
    /// New sessions, by the id they will have.
    opening: HashMap<SessionId, ConnectAsk>,
    /// Sessions that come from elsewhere. Of several connections that claim one the last has it.
    moving: HashMap<SessionId, Vec<ConnectAsk>>,
    /// When the leader was last told who was heard of.
    pub(super) touched: Millis,
    /// The last identities sent, and as they were sent: the next are most likely the same.
    introduced: Option<(Arc<[Identity]>, Identities)>,
}

/// A request that was sent, or the end of a local session.
struct Waiting {
    origin: Origin,
    xid: Xid,
    /// A sync's body, which is echoed.
    sync: Option<Bytes>,
    /// The leader has answered the sync; or it is an end, of which the leader is not told.
    is_done: bool,
}

impl Forwarding {
    pub(in crate::stage::zab) fn new(leader: LinkId, now: Millis) -> Self {
        Self {
            leader,
            waiting: HashMap::new(),
            syncs: VecDeque::new(),
            opening: HashMap::new(),
            moving: HashMap::new(),
            touched: now,
            introduced: None,
        }
    }

    fn introduce(&mut self, identities: &Arc<[Identity]>) -> Identities {
        let (_, introduced) = match self.introduced.take() {
            Some(last) if last.0 == *identities => self.introduced.insert(last),
            _ => {
                let texts = identities.iter().map(|Identity { scheme, id }| (&**scheme, &**id));
                self.introduced.insert((Arc::clone(identities), Identities::of(texts)))
            }
        };
        introduced.clone()
    }

    /// The oldest of the session's, if it has this number.
    fn take(&mut self, session: SessionId, xid: Xid) -> Option<Waiting> {
        self.take_if(session, |first| first.sync.is_none() && !first.is_done && first.xid == xid)
    }

    /// The oldest of the session's, if it waits for nothing but its turn.
    fn take_done(&mut self, session: SessionId) -> Option<Waiting> {
        self.take_if(session, |first| first.is_done)
    }

    fn take_if(
        &mut self,
        session: SessionId,
        is_it: impl FnOnce(&mut Waiting) -> bool,
    ) -> Option<Waiting> {
        let waiting = self.waiting.get_mut(&session)?;
        let found = waiting.pop_front_if(is_it);
        if waiting.is_empty() {
            self.waiting.remove(&session);
        }
        found
    }
}

impl ZabStage {
    fn forwarding(&mut self) -> Option<&mut Forwarding> {
        match &mut self.role {
            Role::Forwarding(forwarding) => Some(forwarding),
            Role::Resting | Role::Ordering | Role::ReadOnly => None,
        }
    }

    /// Whether the leader takes what it is sent.
    pub(in crate::stage::zab) fn can_send(&self, leader: LinkId) -> bool {
        self.member.as_ref().is_some_and(|member| {
            member.peers.outbox_bytes(leader, &self.parts.reactor) < LEADER_OUTBOX_BYTES_MAX
        })
    }

    fn say(&mut self, packet: Packet) {
        if let Some(link) = self.forwarding().map(|forwarding| forwarding.leader) {
            self.step(Input::Say { link, packet });
        }
    }

    pub(in crate::stage::zab) fn take_to_forward(&mut self, ask: Ask) {
        match ask {
            Ask::Connect(ask) => self.forward_connect(ask),
            Ask::Intruder(session) => self.suspect(session),
            Ask::Gone(origin, session) => self.sessions.detach(session, origin),
            Ask::Write(ask) => self.forward_write(ask),
        }
    }

    fn forward_connect(&mut self, ask: ConnectAsk) {
        if self.connect_locally(ask) {
            return;
        }
        if ask.session == SessionId::NONE {
            self.forward_new_session(ask);
        } else {
            self.forward_moving_session(ask);
        }
    }

    fn forward_new_session(&mut self, ask: ConnectAsk) {
        let session = self.sessions.ids.next_id();
        self.sessions.settle(&ask, session, self.now);
        if let Some(forwarding) = self.forwarding() {
            forwarding.opening.insert(session, ask);
        }
        self.forward_create_session(session, ask.timeout_ms);
    }

    pub(in crate::stage::zab) fn forward_create_session(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
    ) {
        let body = self.chunk.put(&timeout_ms.to_be_bytes());
        self.say(Packet::Request(Forwarded {
            session,
            cxid: Xid(0),
            op: OpCode::CreateSession.to_wire(),
            body,
            identities: None,
        }));
    }

    /// COMPAT: the connection that the session has here is closed before the leader is asked
    /// (`ZooKeeperServer.reopenSession`).
    fn forward_moving_session(&mut self, ask: ConnectAsk) {
        self.suspect(ask.session);
        self.recorder.add(Counter::ConnectionRevalidateCount, 1);
        if let Some(forwarding) = self.forwarding() {
            forwarding.moving.entry(ask.session).or_default().push(ask);
        }
        let ConnectAsk { session, timeout_ms, .. } = ask;
        self.say(Packet::Revalidate(Touch { session, timeout_ms }));
    }

    fn forward_write(&mut self, ask: WriteAsk) {
        if !self.sessions.speaks_for(ask.session, ask.origin) {
            self.cut(Some(ask.origin)); // moved to another connection meanwhile
            return;
        }
        let Some(ask) = self.write_locally(ask) else { return };
        let WriteAsk { origin, session, xid, op, body, identities } = ask;
        let sync = (op == OpCode::Sync).then(|| body.clone());
        let Some(forwarding) = self.forwarding() else { return };
        if sync.is_some() {
            forwarding.syncs.push_back(session);
        }
        let introduced = forwarding.introduce(&identities);
        let waiting = Waiting { origin, xid, sync, is_done: false };
        forwarding.waiting.entry(session).or_default().push_back(waiting);
        self.say(Packet::Request(Forwarded {
            session,
            cxid: xid,
            op: op.to_wire(),
            body,
            identities: Some(introduced),
        }));
    }

    /// A local session ends, behind what it asked before.
    pub(in crate::stage::zab) fn part_in_turn(&mut self, ask: &WriteAsk) {
        let WriteAsk { origin, session, xid, .. } = *ask;
        let Some(forwarding) = self.forwarding() else { return };
        let waiting = Waiting { origin, xid, sync: None, is_done: true };
        forwarding.waiting.entry(session).or_default().push_back(waiting);
        let last = self.parts.shared.tree.read().last_zxid();
        self.answer_done(session, last);
    }

    /// A txn is applied: whoever of this server's clients asked for it is told. Its connection.
    pub(in crate::stage::zab) fn answer_forwarded(
        &mut self,
        record: &Record<'_>,
        outcome: &Outcome<'_>,
    ) -> Option<Origin> {
        let (session, xid) = (record.header.session, record.header.cxid);
        let forwarding = self.forwarding()?;
        if matches!(outcome, Outcome::SessionOpened) {
            let ask = forwarding.opening.remove(&session)?;
            self.attach(ask, session);
            return None;
        }
        let waiting = forwarding.take(session, xid);
        if matches!(outcome, Outcome::SessionClosed) {
            forwarding.waiting.remove(&session);
            forwarding.opening.remove(&session);
        }
        let origin = waiting?.origin;
        self.reply(origin, record, outcome);
        self.answer_done(session, record.header.zxid);
        Some(origin)
    }

    /// What the leader says to the sessions.
    pub(in crate::stage::zab) fn on_leader_says(&mut self, packet: &Packet) {
        if let Packet::Ping { zxid, .. } = packet {
            self.tell_touches(*zxid);
        } else if let Packet::Revalidated { session, is_valid } = packet {
            self.on_revalidated(*session, *is_valid);
        } else if *packet == Packet::Sync {
            self.on_synced();
        } else {
            tracing::warn!(?packet, "nothing that a leader says to sessions");
        }
    }

    /// When the leader is told unasked who was heard of. While this server's disk is far behind,
    /// the leader's pings stay unread; no session whose client is heard must end for that.
    pub(in crate::stage::zab) fn touches_due(&self) -> Option<Millis> {
        let Role::Forwarding(forwarding) = &self.role else { return None };
        let ping_ms = (i64::from(self.parts.shared.settings.tick_time_ms) / 2).max(1);
        (!self.zab.is_reading()).then_some(Millis(forwarding.touched.0 + ping_ms))
    }

    pub(in crate::stage::zab) fn tell_touches_unasked(&mut self) {
        if self.touches_due().is_some_and(|due| due <= self.now) {
            let last = self.parts.shared.tree.read().last_zxid();
            self.tell_touches(last);
        }
    }

    fn tell_touches(&mut self, zxid: Zxid) {
        let now = self.now;
        let Some(forwarding) = self.forwarding() else { return };
        let since = std::mem::replace(&mut forwarding.touched, now);
        let touches = self.sessions.touches(since);
        let per_packet = self.parts.shared.settings.frame_bytes_max as usize / Touch::BYTES;
        for touches in parts(&touches, per_packet) {
            self.say(Packet::Ping { zxid, touches: Some(touches.to_vec()) });
        }
    }

    fn on_revalidated(&mut self, session: SessionId, is_valid: bool) {
        let asks = self.forwarding().and_then(|forwarding| forwarding.moving.remove(&session));
        let mut asks = asks.unwrap_or_default(); // none: answered with the one before it
        let last = asks.pop();
        for ask in asks {
            self.cut(Some(ask.origin));
        }
        let Some(ask) = last else { return };
        if is_valid {
            self.sessions.settle(&ask, session, self.now);
            self.attach(ask, session);
        } else {
            self.refuse(ask);
        }
    }

    /// What was proposed before the oldest sync is committed, and applied here.
    fn on_synced(&mut self) {
        let Some(forwarding) = self.forwarding() else { return };
        let Some(session) = forwarding.syncs.pop_front() else {
            tracing::warn!("the leader answers a sync that was not asked for");
            return;
        };
        let waiting = forwarding.waiting.get_mut(&session).into_iter().flatten();
        let oldest = waiting.into_iter().find(|one| one.sync.is_some() && !one.is_done);
        if let Some(oldest) = oldest {
            oldest.is_done = true;
        }
        let last = self.parts.shared.tree.read().last_zxid();
        self.answer_done(session, last);
    }

    /// Those at the front of the session's requests. The caller may hold the tree's write side.
    fn answer_done(&mut self, session: SessionId, zxid: Zxid) {
        while let Some(forwarding) = self.forwarding()
            && let Some(Waiting { origin, xid, sync, .. }) = forwarding.take_done(session)
        {
            match sync {
                Some(body) => self.reply_to_sync((origin, xid), &body, zxid),
                None => self.say_goodbye((origin, xid), zxid),
            }
        }
    }
}

/// A ping's answer in as many packets as it takes, so that each is taken by its leader; one at
/// least.
fn parts(touches: &[Touch], per_packet: usize) -> impl Iterator<Item = &[Touch]> {
    let nothing = touches.is_empty().then_some(touches);
    nothing.into_iter().chain(touches.chunks(per_packet.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_touches_go_in_several_packets_and_none_in_one() {
        let touch = |session| Touch { session: SessionId(session), timeout_ms: 4000 };
        let all: Vec<Touch> = (0..5).map(touch).collect();
        let lengths = |count: usize, per_packet| {
            parts(&all[..count], per_packet).map(<[Touch]>::len).collect::<Vec<_>>()
        };
        assert_eq!(lengths(0, 2), [0], "a leader waits for an answer");
        assert_eq!(lengths(5, 2), [2, 2, 1]);
        assert_eq!(lengths(4, 4), [4]);
        assert_eq!(lengths(2, 0), [1, 1]);
    }
}
