//! Without a leader for a while, and allowed to: clients that know it may read what there is.
//!
//! Their sessions are this server's alone: no txn makes them, and they end with the role. A session
//! of the ensemble cannot come here: whether it lives, only a leader knows.
//! Source: `ReadOnlyZooKeeperServer`. COMPAT: Java refuses a new session here unless local sessions
//! are on, with a reply that no client understands; here it gets one.

use crate::ids::{Millis, SessionId};
use crate::stage::message::{Ask, ConnectAsk, WriteAsk};
use crate::stage::service::Service;
use crate::stage::zab::ZabStage;
use crate::stage::zab::role::Role;
use crate::wire::OpCode;
use crate::wire::election::PeerState;

/// COMPAT: how long a server looks for a leader before it serves readers, at least
/// (`QuorumPeer.run`).
const PATIENCE_MS: i64 = 2000;

impl ZabStage {
    /// When a server that looks for a leader begins to serve readers, if it may.
    pub(in crate::stage::zab) fn read_only_due(&self) -> Option<Millis> {
        let settings = &self.parts.shared.settings;
        let member = self.member.as_ref()?;
        let since = member.looking_since.filter(|_| settings.read_only_mode)?;
        let is_idle = matches!(self.role, Role::Resting) && self.zab.state() == PeerState::Looking;
        is_idle.then(|| Millis(since.0 + PATIENCE_MS.max(settings.tick_time_ms.into())))
    }

    /// Begins to serve readers if it is time.
    pub(in crate::stage::zab) fn consider_read_only(&mut self) {
        if self.read_only_due().is_some_and(|due| due <= self.now) {
            tracing::warn!("no leader for a while: serving read-only clients");
            self.role = Role::ReadOnly;
            self.parts.shared.service.set(Service::ReadOnly);
        }
    }

    pub(in crate::stage::zab) fn take_to_read(&mut self, ask: Ask) {
        match ask {
            Ask::Connect(ask) => self.connect_reader(ask),
            Ask::Intruder(session) => self.suspect(session),
            Ask::Gone(origin, session) => self.sessions.detach(session, origin),
            Ask::Write(ask) => self.close_reader(&ask),
        }
    }

    fn connect_reader(&mut self, ask: ConnectAsk) {
        let session = match ask.session {
            SessionId::NONE => self.sessions.ids.next_id(),
            known if self.sessions.tracker.is_alive(known) => known,
            _ => {
                self.cut(Some(ask.origin));
                return;
            }
        };
        self.sessions.tracker.add(session, ask.timeout_ms, self.now);
        let old = self.sessions.settle(&ask, session, self.now);
        self.cut(old);
        self.attach(ask, session);
    }

    /// Nothing but a closeSession comes here: the shards refuse writes.
    fn close_reader(&mut self, ask: &WriteAsk) {
        let WriteAsk { origin, session, xid, op, .. } = ask;
        if *op == OpCode::CloseSession && self.sessions.speaks_for(*session, *origin) {
            let last = self.parts.shared.tree.read().last_zxid();
            self.say_goodbye((*origin, *xid), last);
            self.sessions.remove(*session);
        } else {
            self.cut(Some(*origin));
        }
    }

    /// Readers that were not heard of for too long.
    pub(in crate::stage::zab) fn expire_readers(&mut self) {
        for session in self.sessions.expire(self.now, usize::MAX) {
            let origin = self.sessions.remove(session);
            self.cut(origin);
        }
    }
}
