//! Sessions as the zab thread keeps them: who is alive, where, and until when.
//!
//! A server that orders knows all of them and lets them expire. One that forwards knows those of
//! its own clients, and tells its leader which of them it has heard of.

use std::sync::Arc;

use hashbrown::HashMap;

use super::ZabStage;
use super::commit::Pending;
use crate::ids::{Millis, SessionId, Xid};
use crate::metrics::Counter;
use crate::reply::response;
use crate::request::prepare::{Author, Standing, Write};
use crate::request::session::{self, Owner, SessionIds, SessionTracker};
use crate::stage::control::SessionDues;
use crate::stage::message::{ConnectAsk, Entry, Origin, SessionCell};
use crate::tree::Tree;
use crate::wire::client::ConnectResponse;
use crate::wire::quorum::Touch;
use crate::wire::request::Request;

/// When nothing is due.
const NEVER: Millis = Millis(i64::MAX);

/// See the module.
pub(super) struct Sessions {
    pub(super) ids: SessionIds,
    pub(super) tracker: SessionTracker,
    /// Those only this server knows, where there are such.
    pub(super) local: Option<SessionTracker>,
    attached: HashMap<SessionId, Attached>,
    /// Sessions that own ephemerals and are in no session table; to be closed as room permits.
    dead: Vec<SessionId>,
    tick_ms: i32,
}

struct Attached {
    cell: Arc<SessionCell>,
    timeout_ms: i32,
    /// Its connection, if it has one.
    origin: Option<Origin>,
}

impl Sessions {
    /// None, of a server with this number.
    pub(super) fn new(server: u8, tick_ms: i32, has_local: bool) -> Self {
        Self {
            ids: SessionIds::new(server, crate::clock::wall()),
            tracker: SessionTracker::new(tick_ms),
            local: has_local.then(|| SessionTracker::new(tick_ms)),
            attached: HashMap::new(),
            dead: Vec::new(),
            tick_ms,
        }
    }

    /// This server orders from here on: each session of the tree gets its full timeout again.
    pub(super) fn take_over(&mut self, tree: &Tree, now: Millis) {
        self.forget_all();
        for (id, timeout_ms) in tree.sessions() {
            self.tracker.add(id, timeout_ms, now);
        }
        let owners = tree.sessions_with_ephemerals();
        let dead = owners.filter(|owner| tree.session_timeout(*owner).is_none());
        let (dead, kept): (Vec<_>, Vec<_>) = dead.partition(|owner| tree.owns_all_below(*owner));
        self.dead = dead;
        warn_of_kept(&kept);
    }

    /// The role has ended: whoever comes to know a session asks the tree.
    pub(super) fn forget_all(&mut self) {
        self.tracker = SessionTracker::new(self.tick_ms);
        self.local = self.local.as_ref().map(|_| SessionTracker::new(self.tick_ms));
        self.attached.clear();
        self.dead.clear();
    }

    pub(super) fn next_due(&self) -> Millis {
        if !self.dead.is_empty() {
            return Millis(0);
        }
        self.tracker.next_due().unwrap_or(NEVER)
    }

    pub(super) fn last_heard(&self, session: SessionId) -> Option<Millis> {
        self.attached.get(&session).map(|attached| attached.cell.last_heard())
    }

    /// Whether this is the connection the session has now. A write of the one before, which came
    /// by another shard, must not be done after those of its successor.
    pub(super) fn speaks_for(&self, session: SessionId, origin: Origin) -> bool {
        self.attached.get(&session).is_some_and(|attached| attached.origin == Some(origin))
    }

    /// The session has this connection from here on; returns the one it had.
    pub(super) fn settle(
        &mut self,
        ask: &ConnectAsk,
        id: SessionId,
        now: Millis,
    ) -> Option<Origin> {
        let (timeout_ms, origin) = (ask.timeout_ms, Some(ask.origin));
        let new = || Attached { cell: SessionCell::new(id, now), timeout_ms, origin: None };
        let attached = self.attached.entry(id).or_insert_with(new);
        attached.cell.touch(now);
        attached.timeout_ms = timeout_ms;
        std::mem::replace(&mut attached.origin, origin)
    }

    /// Forgets a session; returns its connection.
    pub(super) fn remove(&mut self, session: SessionId) -> Option<Origin> {
        self.tracker.remove(session);
        self.stop_being_local(session);
        self.attached.remove(&session).and_then(|attached| attached.origin)
    }

    /// The session is another server's, or nobody knows whose: returns the connection it had here.
    pub(super) fn let_go(&mut self, session: SessionId) -> Option<Origin> {
        self.attached.get_mut(&session).and_then(|attached| attached.origin.take())
    }

    /// The session's connection is gone, unless it has another by now.
    pub(super) fn detach(&mut self, session: SessionId, origin: Origin) {
        if let Some(attached) = self.attached.get_mut(&session)
            && attached.origin == Some(origin)
        {
            attached.origin = None;
        }
    }

    /// Up to `max` sessions whose time is up; they are closing from here on.
    pub(super) fn expire(&mut self, now: Millis, max: usize) -> Vec<SessionId> {
        let Self { tracker, attached, .. } = self;
        let heard = |id| attached.get(&id).map(|attached: &Attached| attached.cell.last_heard());
        let mut expired = Vec::new();
        tracker.expired(now, max, heard, &mut expired);
        expired
    }

    pub(super) fn is_local(&self, session: SessionId) -> bool {
        self.local.as_ref().is_some_and(|local| local.is_alive(session))
    }

    /// Forgets that it is a local one; its timeout, if it was.
    pub(super) fn stop_being_local(&mut self, session: SessionId) -> Option<i32> {
        let local = self.local.as_mut()?;
        let timeout_ms = local.timeout_ms(session);
        local.remove(session);
        timeout_ms
    }

    pub(super) fn local_due(&self) -> Millis {
        self.local.as_ref().and_then(SessionTracker::next_due).unwrap_or(NEVER)
    }

    pub(super) fn local_count(&self) -> usize {
        self.local.as_ref().map_or(0, SessionTracker::len)
    }

    /// Which sessions expire when.
    pub(super) fn dues(&self) -> SessionDues {
        let dump = |tracker: &SessionTracker| tracker.dump(|id| self.last_heard(id));
        SessionDues { local: self.local.as_ref().map(dump), global: dump(&self.tracker) }
    }

    /// Local sessions whose time is up.
    pub(super) fn expire_local(&mut self, now: Millis) -> Vec<SessionId> {
        let Self { local, attached, .. } = self;
        let heard = |id| attached.get(&id).map(|attached: &Attached| attached.cell.last_heard());
        let mut expired = Vec::new();
        if let Some(local) = local {
            local.expired(now, usize::MAX, heard, &mut expired);
        }
        expired
    }

    /// Those heard of since `since`: what a leader is told, once for each ping. Those without a
    /// connection are told a last time, and forgotten.
    pub(super) fn touches(&mut self, since: Millis) -> Vec<Touch> {
        let local = self.local.as_ref();
        let is_told = |(id, attached): &(&SessionId, &Attached)| {
            attached.cell.last_heard() >= since && !local.is_some_and(|local| local.is_alive(**id))
        };
        let touch = |(id, attached): (&SessionId, &Attached)| Touch {
            session: *id,
            timeout_ms: attached.timeout_ms,
        };
        let mut touches: Vec<_> = self.attached.iter().filter(is_told).map(touch).collect();
        touches.sort_unstable_by_key(|touch| touch.session);
        self.attached.retain(|id, attached| {
            attached.origin.is_some() || local.is_some_and(|local| local.is_alive(*id))
        });
        touches
    }
}

/// They stay ephemerals, of whom nothing is heard, until what is below them is gone.
fn warn_of_kept(owners: &[SessionId]) {
    let Some(first) = owners.first() else { return };
    tracing::warn!(
        "{first} and {} others are no sessions, yet own nodes that have others below them: they \
         are left alone. Are they nodes with a TTL? Then set extendedTypesEnabled=true",
        owners.len() - 1
    );
}

/// The server, acting for a session.
pub(super) const fn server_for(session: SessionId) -> Author<'static> {
    Author { session, cxid: Xid(0), identities: &[], standing: Standing::Global }
}

impl ZabStage {
    /// A connection asks for a session of a server that orders.
    pub(super) fn connect(&mut self, ask: ConnectAsk) {
        if self.connect_locally(ask) {
            return;
        }
        if ask.session == SessionId::NONE {
            self.open_session(ask);
        } else {
            self.reattach(ask);
        }
    }

    /// A new session is a txn: the connect response leaves when that is committed.
    fn open_session(&mut self, ask: ConnectAsk) {
        if self.sessions.tracker.is_full() {
            tracing::warn!("no more sessions: the limit is reached");
            self.refuse(ask);
            return;
        }
        let id = self.sessions.ids.next_id();
        self.sessions.tracker.add(id, ask.timeout_ms, self.now);
        self.sessions.settle(&ask, id, self.now);
        let write = Write::CreateSession { timeout_ms: ask.timeout_ms };
        self.propose(&server_for(id), write, Pending::Connect(ask, id));
    }

    /// The shard has checked the password. What was the session's connection is closed.
    fn reattach(&mut self, ask: ConnectAsk) {
        let (id, now) = (ask.session, self.now);
        if !self.sessions.tracker.reattach(id, ask.timeout_ms, Owner::Here, now) {
            self.refuse(ask);
            return;
        }
        let old = self.sessions.settle(&ask, id, now);
        self.cut(old);
        self.attach(ask, id);
    }

    /// Who has come back does not expire before its turn.
    pub(super) fn hear_returning(&mut self) {
        while let Some(session) = self.parts.shared.returning.pop() {
            self.sessions.tracker.touch(session, self.now);
            if let Some(local) = &mut self.sessions.local {
                local.touch(session, self.now);
            }
        }
    }

    /// COMPAT: a wrong password closes the session's connection, not the session: Java closes it
    /// before it looks at the password (`ZooKeeperServer.reopenSession`).
    pub(super) fn suspect(&mut self, session: SessionId) {
        let old = self.sessions.let_go(session);
        self.cut(old);
    }

    /// Closes a connection that has no session any more.
    pub(super) fn cut(&mut self, origin: Option<Origin>) {
        if let Some(origin) = origin {
            self.batches[origin.shard].entries.push(Entry::Cut(origin.connection));
        }
    }

    /// Tells the shard that its connection has a session now.
    pub(super) fn attach(&mut self, ask: ConnectAsk, session: SessionId) {
        let Some(attached) = self.sessions.attached.get(&session) else { return };
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: ask.timeout_ms,
            session,
            password: session::password(session),
            read_only: ask.read_only.map(|_| self.role.is_read_only()),
        };
        let batch = &mut self.batches[ask.origin.shard];
        let start = batch.bytes.len();
        response::connected(&mut batch.bytes, &response);
        let range = start..batch.bytes.len();
        let cell = Arc::clone(&attached.cell);
        batch.entries.push(Entry::Attached(ask.origin.connection, cell, range));
    }

    pub(super) fn refuse(&mut self, ask: ConnectAsk) {
        let batch = &mut self.batches[ask.origin.shard];
        let start = batch.bytes.len();
        let response = ConnectResponse::invalid(ask.read_only);
        response::connected(&mut batch.bytes, &response);
        let range = start..batch.bytes.len();
        batch.entries.push(Entry::Refused(ask.origin.connection, range));
    }

    /// Closes sessions that own ephemerals but are in no session table: a crash of an older server
    /// can leave them behind. COMPAT: Java kills them at start (`ZooKeeperServer.loadData`).
    pub(super) fn close_dead_sessions(&mut self) {
        while self.can_propose()
            && let Some(session) = self.sessions.dead.pop()
        {
            tracing::warn!(%session, "ephemerals of a session that is no more: deleting them");
            self.propose(&server_for(session), Write::Request(Request::CloseSession), Pending::Own);
        }
    }

    /// Closes the sessions that were not heard of for too long: as many as there is room for, when
    /// a whole crowd of clients went at once.
    pub(super) fn expire_sessions(&mut self) {
        if self.sessions.next_due() > self.now || !self.can_propose() {
            return;
        }
        for session in self.sessions.expire(self.now, self.room()) {
            if !self.can_propose() {
                return; // the epoch is spent: the next leader lets the rest expire
            }
            tracing::info!(%session, "session expired");
            self.recorder.add(Counter::StaleSessionsExpired, 1);
            let write = Write::Request(Request::CloseSession);
            self.propose(&server_for(session), write, Pending::Own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ConnectionId;

    fn ask(connection: u64, timeout_ms: i32) -> ConnectAsk {
        let origin = Origin { shard: 0, connection: ConnectionId::from_bits(connection) };
        ConnectAsk { origin, session: SessionId::NONE, timeout_ms, read_only: None }
    }

    #[test]
    fn a_leader_is_told_of_those_heard_of_since_and_once_more_of_those_that_left() {
        let mut sessions = Sessions::new(1, 2000, true);
        let first = sessions.settle(&ask(7, 4000), SessionId(7), Millis(100));
        let second = sessions.settle(&ask(8, 4000), SessionId(7), Millis(200));
        sessions.settle(&ask(9, 4000), SessionId(7), Millis(300));
        assert_eq!((first, second), (None, Some(ask(7, 0).origin)), "whom it takes over from");
        sessions.settle(&ask(1, 5000), SessionId(1), Millis(50));
        let told = |sessions: &mut Sessions, since| {
            let touches = sessions.touches(Millis(since));
            touches.iter().map(|touch| (touch.session.0, touch.timeout_ms)).collect::<Vec<_>>()
        };
        assert_eq!(told(&mut sessions, 50), [(1, 5000), (7, 4000)]);
        assert_eq!(told(&mut sessions, 100), [(7, 4000)], "the other was silent");
        sessions.detach(SessionId(7), ask(8, 0).origin);
        assert!(sessions.speaks_for(SessionId(7), ask(9, 0).origin), "an older connection went");
        sessions.detach(SessionId(7), ask(9, 0).origin);
        assert_eq!(told(&mut sessions, 300), [(7, 4000)], "its last requests count");
        assert_eq!(told(&mut sessions, 0), [(1, 5000)], "then it is forgotten");
    }

    #[test]
    fn a_leader_is_not_told_of_local_sessions_until_they_are_its_own() {
        let mut sessions = Sessions::new(1, 2000, true);
        let local = sessions.local.as_mut().expect("there are such");
        local.add(SessionId(3), 6000, Millis(0));
        sessions.settle(&ask(3, 6000), SessionId(3), Millis(0));
        assert!(sessions.is_local(SessionId(3)));
        sessions.tracker.add(SessionId(4), 6000, Millis(0));
        let set = |session| [(Millis(8000), vec![SessionId(session)])].into();
        let SessionDues { local, global } = sessions.dues();
        assert_eq!((sessions.local_count(), local, global), (1, Some(set(3)), set(4)));
        assert_eq!(sessions.touches(Millis(0)), []);
        assert_eq!(sessions.stop_being_local(SessionId(3)), Some(6000));
        assert_eq!(sessions.touches(Millis(0)).len(), 1);
        let without = Sessions::new(1, 2000, false);
        assert!(!without.is_local(SessionId(3)), "where there are none");
        assert_eq!((without.local_count(), without.dues().local), (0, None));
    }
}
