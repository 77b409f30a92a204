//! Sessions as the zab thread keeps them: who is alive, where, and until when.

use std::sync::Arc;

use hashbrown::HashMap;

use super::ZabStage;
use super::commit::Pending;
use crate::ids::{Millis, ServerId, SessionId, Xid};
use crate::metrics::Counter;
use crate::reply::response;
use crate::request::prepare::{Author, Standing, Write};
use crate::request::session::{self, Owner, SessionIds, SessionTracker};
use crate::stage::message::{ConnectAsk, Entry, Origin, SessionCell};
use crate::stage::shared::Shared;
use crate::tree::Tree;
use crate::wire::client::ConnectResponse;
use crate::wire::request::Request;

/// Standalone servers make session ids as if their `myid` were 1, as Java does.
const STANDALONE_SERVER: u8 = 1;

/// Alone, a server owns all sessions.
const ME: Owner = Owner(ServerId(0));

/// When nothing is due.
const NEVER: Millis = Millis(i64::MAX);

/// See the module.
pub(super) struct Sessions {
    pub(super) ids: SessionIds,
    pub(super) tracker: SessionTracker,
    attached: HashMap<SessionId, Attached>,
    /// Sessions that own ephemerals and are in no session table; to be closed as room permits.
    dead: Vec<SessionId>,
}

struct Attached {
    cell: Arc<SessionCell>,
    /// Its connection, if it has one.
    origin: Option<Origin>,
}

impl Sessions {
    /// The sessions of a recovered tree: each gets its full timeout again.
    pub(super) fn recovered(shared: &Shared, tree: &Tree) -> Self {
        let now = shared.clock.now();
        let mut tracker = SessionTracker::new(shared.settings.tick_time_ms);
        let mut attached = HashMap::new();
        for (id, timeout_ms) in tree.sessions() {
            tracker.add(id, timeout_ms, now);
            attached.insert(id, Attached { cell: SessionCell::new(id, now), origin: None });
        }
        let ids = SessionIds::new(STANDALONE_SERVER, crate::clock::wall());
        let owners = tree.sessions_with_ephemerals();
        let dead = owners.filter(|owner| !attached.contains_key(owner)).collect();
        Self { ids, tracker, attached, dead }
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

    /// Forgets a session; returns its connection.
    pub(super) fn remove(&mut self, session: SessionId) -> Option<Origin> {
        self.tracker.remove(session);
        self.attached.remove(&session).and_then(|attached| attached.origin)
    }

    /// The session's connection is gone, unless it has another by now.
    pub(super) fn detach(&mut self, session: SessionId, origin: Origin) {
        if let Some(attached) = self.attached.get_mut(&session)
            && attached.origin == Some(origin)
        {
            attached.origin = None;
        }
    }
}

/// The server, acting for a session.
pub(super) const fn server_for(session: SessionId) -> Author<'static> {
    Author { session, cxid: Xid(0), identities: &[], standing: Standing::Global }
}

impl ZabStage {
    /// A connection asks for a session.
    pub(super) fn connect(&mut self, ask: ConnectAsk) {
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
        let cell = SessionCell::new(id, self.now);
        self.sessions.attached.insert(id, Attached { cell, origin: Some(ask.origin) });
        let write = Write::CreateSession { timeout_ms: ask.timeout_ms };
        self.propose(&server_for(id), write, Pending::Connect(ask, id));
    }

    /// The shard has checked the password. What was the session's connection is closed.
    fn reattach(&mut self, ask: ConnectAsk) {
        let is_alive = self.sessions.tracker.reattach(ask.session, ask.timeout_ms, ME, self.now);
        let attached = self.sessions.attached.get_mut(&ask.session);
        let Some(attached) = attached.filter(|_| is_alive) else {
            self.refuse(ask);
            return;
        };
        attached.cell.touch(self.now);
        if let Some(old) = attached.origin.replace(ask.origin) {
            self.batches[old.shard].entries.push(Entry::Cut(old.connection));
        }
        self.attach(ask, ask.session);
    }

    /// COMPAT: a wrong password closes the session's connection, not the session: Java closes it
    /// before it looks at the password (`ZooKeeperServer.reopenSession`).
    pub(super) fn suspect(&mut self, session: SessionId) {
        let attached = self.sessions.attached.get_mut(&session);
        if let Some(old) = attached.and_then(|attached| attached.origin.take()) {
            self.batches[old.shard].entries.push(Entry::Cut(old.connection));
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
            read_only: ask.read_only.map(|_| false),
        };
        let batch = &mut self.batches[ask.origin.shard];
        let start = batch.bytes.len();
        response::connected(&mut batch.bytes, &response);
        let range = start..batch.bytes.len();
        let cell = Arc::clone(&attached.cell);
        batch.entries.push(Entry::Attached(ask.origin.connection, cell, range));
    }

    fn refuse(&mut self, ask: ConnectAsk) {
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
        while self.room() > 0
            && let Some(session) = self.sessions.dead.pop()
        {
            tracing::warn!(%session, "ephemerals of a session that is no more: deleting them");
            self.propose(&server_for(session), Write::Request(Request::CloseSession), Pending::Own);
        }
    }

    /// Closes the sessions that were not heard of for too long: as many as there is room for, when
    /// a whole crowd of clients went at once.
    pub(super) fn expire_sessions(&mut self) {
        let room = self.room();
        if self.sessions.next_due() > self.now || room == 0 {
            return;
        }
        let Sessions { tracker, attached, .. } = &mut self.sessions;
        let heard = |id| attached.get(&id).map(|attached: &Attached| attached.cell.last_heard());
        let mut expired = Vec::new();
        tracker.expired(self.now, room, heard, &mut expired);
        for session in expired {
            tracing::info!(%session, "session expired");
            self.recorder.add(Counter::StaleSessionsExpired, 1);
            let write = Write::Request(Request::CloseSession);
            self.propose(&server_for(session), write, Pending::Own);
        }
    }
}
