//! A leader's learners: what their clients ask is ordered with what its own ask.
//!
//! A request that a learner has passed on is prepared as if it had been asked here; the learner
//! finds its client by the txn. Which learner a session is with is known by its link: what comes
//! by another has moved meanwhile.
//! Source: `LearnerHandler`, `Leader.revalidateSession`, `PrepRequestProcessor`.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::ids::Xid;
use crate::limits::{LEARNER_ASK_BYTES_MAX, LEARNER_ASKS_MAX};
use crate::metrics::Counter;
use crate::request::access::Identity;
use crate::request::prepare::{Author, Standing, Write};
use crate::request::session::Owner;
use crate::stage::zab::ZabStage;
use crate::stage::zab::commit::Pending;
use crate::stage::zab::role::Role;
use crate::wire::OpCode;
use crate::wire::quorum::{Forwarded, Identities, Packet, Touch};
use crate::zab::{Input, LinkId};

/// What a learner asks, to be taken in its turn.
pub(in crate::stage::zab) struct LearnerAsk {
    link: LinkId,
    packet: Packet,
}

/// What learners ask, in order; bounded by number and by bytes.
#[derive(Default)]
pub(in crate::stage::zab) struct LearnerAsks {
    asks: VecDeque<LearnerAsk>,
    bytes: usize,
    /// The last identities that came, and what they mean: the next are most likely the same.
    known: Option<(Identities, Arc<[Identity]>)>,
}

impl LearnerAsk {
    /// If it is for a write: what, and its body.
    pub(in crate::stage::zab) fn write(&self) -> Option<(OpCode, &[u8])> {
        let Packet::Request(request) = &self.packet else { return None };
        OpCode::from_wire(request.op).map(|op| (op, &*request.body))
    }

    fn bytes(&self) -> usize {
        if let Packet::Request(request) = &self.packet {
            request.bytes()
        } else {
            size_of::<Self>()
        }
    }
}

impl LearnerAsks {
    /// False if there are too many.
    fn push(&mut self, ask: LearnerAsk) -> bool {
        let bytes = self.bytes + ask.bytes();
        let has_room = self.asks.len() < LEARNER_ASKS_MAX && bytes <= LEARNER_ASK_BYTES_MAX;
        if has_room {
            self.bytes = bytes;
            self.asks.push_back(ask);
        }
        has_room
    }

    pub(in crate::stage::zab) fn pop(&mut self) -> Option<LearnerAsk> {
        let ask = self.asks.pop_front()?;
        self.bytes -= ask.bytes();
        Some(ask)
    }

    fn known(&mut self, identities: Option<&Identities>) -> Arc<[Identity]> {
        let Some(identities) = identities else { return Arc::new([]) };
        let (_, known) = match self.known.take() {
            Some(last) if last.0 == *identities => self.known.insert(last),
            _ => {
                let known = |(scheme, id): (Cow<'_, str>, Cow<'_, str>)| Identity {
                    scheme: Cow::Owned(scheme.into_owned()),
                    id: id.into(),
                };
                let known = identities.iter().map(known).collect();
                self.known.insert((identities.clone(), known))
            }
        };
        Arc::clone(known)
    }
}

impl ZabStage {
    /// Something the sessions of a peer say.
    pub(in crate::stage::zab) fn on_passed(&mut self, link: LinkId, packet: Packet) {
        match &self.role {
            Role::Ordering => {
                if let Packet::Revalidate(touch) = packet {
                    self.on_touches(&[touch]); // its turn may come late: it has come back in time
                }
                if let Packet::Ping { touches, .. } = packet {
                    self.on_touches(&touches.unwrap_or_default());
                } else if !self.learner_asks.push(LearnerAsk { link, packet }) {
                    // Its acks come on the same link: not reading it would be worse.
                    tracing::warn!("learners ask for more than this leader can order");
                    self.give_up(link);
                }
            }
            Role::Forwarding(forwarding) if forwarding.leader == link => {
                self.on_leader_says(&packet);
            }
            Role::Forwarding(_) | Role::Resting | Role::ReadOnly => {}
        }
    }

    fn on_touches(&mut self, touches: &[Touch]) {
        for touch in touches {
            self.sessions.tracker.touch(touch.session, self.now);
        }
    }

    /// In the order of its link.
    pub(in crate::stage::zab) fn take_from_learner(&mut self, ask: LearnerAsk) {
        let LearnerAsk { link, packet } = ask;
        if let Packet::Request(request) = packet {
            self.order_forwarded(link, &request);
        } else if let Packet::Revalidate(touch) = packet {
            self.revalidate(link, touch);
        } else {
            tracing::warn!(?packet, "nothing that a learner asks");
        }
    }

    /// A client has come to a learner with its session: it is the learner's from now on.
    fn revalidate(&mut self, link: LinkId, touch: Touch) {
        self.recorder.add(Counter::RevalidateCount, 1);
        let Touch { session, timeout_ms } = touch;
        let owner = Owner::Link(link.0);
        let is_valid = self.sessions.tracker.reattach(session, timeout_ms, owner, self.now);
        if is_valid {
            let old = self.sessions.let_go(session);
            self.cut(old);
        }
        let packet = Packet::Revalidated { session, is_valid };
        self.step(Input::Say { link, packet });
    }

    fn order_forwarded(&mut self, link: LinkId, request: &Forwarded) {
        let Forwarded { session, cxid, op, body, identities } = request;
        let op = OpCode::from_wire(*op).unwrap_or(OpCode::Error);
        let owner = Owner::Link(link.0);
        if op == OpCode::CreateSession {
            self.open_forwarded(link, request);
            return;
        }
        if op == OpCode::Sync {
            self.step(Input::Sync(link)); // in its turn: behind what was asked before it
            return;
        }
        let tracker = &mut self.sessions.tracker;
        let checked = tracker.check(*session, owner);
        if op == OpCode::CloseSession {
            tracker.set_closing(*session);
        }
        let standing = match checked {
            Ok(()) => Standing::Global,
            Err(code) => self.standing_of_stranger(*session, code),
        };
        let identities = self.learner_asks.known(identities.as_ref());
        let author = Author { session: *session, cxid: *cxid, identities: &identities, standing };
        self.propose(&author, Write::decode(op, body), Pending::Own);
    }

    /// The id is the learner's to give.
    fn open_forwarded(&mut self, link: LinkId, request: &Forwarded) {
        let Some(timeout) = request.body.first_chunk() else {
            tracing::warn!(session = %request.session, "a new session without a timeout");
            return;
        };
        let (session, timeout_ms) = (request.session, i32::from_be_bytes(*timeout));
        let tracker = &mut self.sessions.tracker;
        tracker.add(session, timeout_ms, self.now);
        tracker.set_owner(session, Owner::Link(link.0));
        let cxid: Xid = request.cxid;
        let author = Author { session, cxid, identities: &[], standing: Standing::Global };
        self.propose(&author, Write::CreateSession { timeout_ms }, Pending::Own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;

    #[test]
    fn learners_ask_for_no_more_bytes_than_there_is_room_for() {
        const BODY_BYTES: usize = 1 << 20;
        let ask = || {
            let body = vec![0; BODY_BYTES].into();
            let (session, cxid, op) = (SessionId(1), Xid(1), OpCode::SetData.to_wire());
            let request = Forwarded { session, cxid, op, body, identities: None };
            LearnerAsk { link: LinkId(1), packet: Packet::Request(request) }
        };
        let mut asks = LearnerAsks::default();
        let room = LEARNER_ASK_BYTES_MAX / BODY_BYTES - 1; // each is a little longer
        assert!((0..room).all(|_| asks.push(ask())));
        assert!(!asks.push(ask()), "the last does not fit");
        assert!(asks.pop().is_some() && asks.push(ask()), "until there is room again");
        while asks.pop().is_some() {}
        assert_eq!(asks.bytes, 0);
    }
}
