//! Sessions that only this server knows: they cost no txn, and own no ephemerals.
//!
//! One that wants an ephemeral becomes a session of the ensemble first, where that is allowed. It
//! expires, and ends, by this server alone, and with its role.
//! Source: `LocalSessionTracker`, `UpgradeableSessionTracker`, `checkUpgradeSession`.

use crate::ids::{ServerId, SessionId, Xid, Zxid};
use crate::request::prepare::{Standing, Write};
use crate::request::session::Owner;
use crate::stage::message::{ConnectAsk, Entry, Origin, WriteAsk};
use crate::stage::zab::ZabStage;
use crate::stage::zab::commit::Pending;
use crate::stage::zab::role::Role;
use crate::stage::zab::sessions::server_for;
use crate::wire::request::{CreateMode, Request};
use crate::wire::{ErrorCode, OpCode, Reader};

/// Whether a write makes an ephemeral, if all goes well.
fn wants_ephemeral(op: OpCode, body: &[u8]) -> bool {
    match Request::decode(op, &mut Reader::new(body)) {
        Ok(Request::Multi(steps)) => steps.iter().any(makes_ephemeral),
        Ok(request) => makes_ephemeral(&request),
        Err(_) => false,
    }
}

fn makes_ephemeral(request: &Request<'_>) -> bool {
    let modes = [CreateMode::Ephemeral, CreateMode::EphemeralSequential];
    let Request::Create(create) = request else { return false };
    modes.iter().any(|mode| *mode as i32 == create.flags)
}

impl ZabStage {
    /// Gives or gives back a local session, if it is one; false: it is the ensemble's matter.
    pub(in crate::stage::zab) fn connect_locally(&mut self, ask: ConnectAsk) -> bool {
        let Some(tracker) = &mut self.sessions.local else { return false };
        let session = match ask.session {
            SessionId::NONE => self.sessions.ids.next_id(),
            known if tracker.is_alive(known) => known,
            _ => return false,
        };
        tracker.add(session, ask.timeout_ms, self.now);
        let old = self.sessions.settle(&ask, session, self.now);
        self.cut(old);
        self.attach(ask, session);
        true
    }

    /// A write of a local session: its end is dealt with here; an ephemeral makes it one of the
    /// ensemble's. Given back if more is to be done.
    pub(in crate::stage::zab) fn write_locally(&mut self, ask: WriteAsk) -> Option<WriteAsk> {
        let session = ask.session;
        if !self.sessions.is_local(session) || !self.sessions.speaks_for(session, ask.origin) {
            return Some(ask);
        }
        if ask.op == OpCode::CloseSession {
            self.sessions.remove(session);
            self.take_leave(ask);
            return None;
        }
        let upgrades = self.parts.shared.settings.local_sessions_upgrade;
        if upgrades && wants_ephemeral(ask.op, &ask.body) {
            self.upgrade(session);
        }
        Some(ask)
    }

    /// The end of a local session is told to nobody, yet it does not overtake what its client asked
    /// before: the connection would be closed, and the replies to that lost with it.
    fn take_leave(&mut self, ask: WriteAsk) {
        match self.role {
            Role::Ordering => self.answer_in_turn(ask),
            Role::Forwarding(_) => self.part_in_turn(&ask),
            Role::Resting | Role::ReadOnly => {} // nobody writes there
        }
    }

    /// The session becomes one of the ensemble's; what follows it is ordered behind that.
    fn upgrade(&mut self, session: SessionId) {
        let Some(timeout_ms) = self.sessions.stop_being_local(session) else { return };
        tracing::info!(%session, "upgrading a local session");
        match self.role {
            Role::Ordering => {
                let tracker = &mut self.sessions.tracker;
                tracker.add(session, timeout_ms, self.now);
                tracker.set_owner(session, Owner::Here);
                let write = Write::CreateSession { timeout_ms };
                self.propose(&server_for(session), write, Pending::Own);
            }
            Role::Forwarding(_) => self.forward_create_session(session, timeout_ms),
            Role::Resting | Role::ReadOnly => {}
        }
    }

    /// The reply to a closeSession that is no txn; the connection is closed behind it. The caller
    /// may hold the tree's write side.
    pub(in crate::stage::zab) fn say_goodbye(&mut self, to: (Origin, Xid), zxid: Zxid) {
        let (Origin { shard, connection }, xid) = to;
        let batch = &mut self.batches[shard];
        let start = batch.bytes.len();
        crate::reply::response::empty(&mut batch.bytes, xid, zxid, ErrorCode::Ok);
        let range = start..batch.bytes.len();
        batch.entries.push(Entry::Closed(connection, zxid, range));
    }

    /// Local sessions that were not heard of for too long.
    pub(in crate::stage::zab) fn expire_local(&mut self) {
        for session in self.sessions.expire_local(self.now) {
            let origin = self.sessions.remove(session);
            self.cut(origin);
        }
    }

    /// What a session may ask for that the tracker does not know. COMPAT: where there are local
    /// sessions a learner's unknown one is taken for local there, unless it is one of this
    /// server's own (`LeaderSessionTracker.checkGlobalSession`).
    pub(in crate::stage::zab) fn standing_of_stranger(
        &self,
        session: SessionId,
        code: ErrorCode,
    ) -> Standing {
        let me = self.member.as_ref().map_or(ServerId(0), |member| member.me);
        let is_mine = session.0.to_be_bytes()[0] == me.0.to_be_bytes()[7];
        let is_unknown = self.sessions.tracker.timeout_ms(session).is_none();
        if self.sessions.local.is_some() && is_unknown && !is_mine {
            Standing::Local
        } else {
            Standing::Refused(code)
        }
    }
}
