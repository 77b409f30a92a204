//! The shard stage: sockets, frames, reads, watches.
//!
//! Thread: `shard-N`, pinned. Owns: a reactor, its connections and their watches. In: bytes;
//! batches of the zab thread; questions of the control thread. Out: replies and events; asks.
//! Never writes the tree, never waits for a queue.
//!
//! INVARIANT: batches are drained, under the read side of the tree's lock, before any read is
//! served. The zab thread pushes a batch before it lets go of the write side, so whoever sees a
//! change has told its watchers first.

mod client;
mod deliver;
mod desk;
mod handshake;
mod inspect;
mod serve;
mod submit;
mod throttle;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::ids::{Millis, SessionId};
use crate::metrics::{Counter, Recorder};
use crate::net::{Close, CloseReason, ConnectionId, Event, NetError, OsError, Reactor};
use crate::reply::watch::WatchTable;
use crate::request::access::{Grants, Identity};
use crate::stage::complaints::Complaints;
use crate::stage::control::{Question, WordAsk};
use crate::stage::message::{Ask, Batch, Origin};
use crate::stage::queue::{Receiver, Sender};
use crate::stage::shared::Shared;
use crate::wire::chunk::Chunk;
use client::{Client, Phase, Stream};

/// How often a shard that waits for room in a queue looks again.
const RETRY: Duration = Duration::from_millis(1);

/// How often an otherwise idle shard looks at connections without a session.
const SWEEP: Duration = Duration::from_secs(1);

/// What a shard is made of.
pub struct Parts {
    /// Which shard it is.
    pub index: usize,
    /// Its sockets, listening.
    pub reactor: Reactor,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// To the zab thread.
    pub asks: Sender<Ask>,
    /// From the zab thread.
    pub batches: Receiver<Batch>,
    /// From the control thread.
    pub questions: Receiver<Question>,
    /// To the control thread: four-letter words.
    pub words: Sender<WordAsk>,
}

/// One shard.
pub struct Shard {
    parts: Parts,
    clients: HashMap<ConnectionId, Client>,
    watches: WatchTable,
    /// Connections with input to look at.
    ready: VecDeque<ConnectionId>,
    /// Connections without a session, oldest first, with the time their grace ends.
    fresh: VecDeque<(Millis, ConnectionId)>,
    /// Connections that went, for the zab thread to know.
    gone: VecDeque<(Origin, SessionId)>,
    /// Connections with a full outbox that were sent an event all the same, and its bytes.
    overfull: Vec<(ConnectionId, usize)>,
    recorder: Recorder,
    /// Replies of the connection being served, before they go to its outbox.
    replies: Vec<u8>,
    /// Where writes' bodies are kept.
    chunk: Chunk,
    /// An ask did not fit its queue: look again soon.
    is_stalled: bool,
    /// The last turn left connections to this one; all of them were heard.
    is_behind: bool,
    /// Asks were pushed since the bell was last rung.
    is_asking: bool,
    /// Milliseconds since the server's start, at this turn's.
    now: Millis,
    /// The same in microseconds.
    now_us: u64,
    /// When a complaint about a client was last logged, and how many were not.
    complaints: Complaints,
    /// Of the lists that events are held against.
    grants: Grants,
}

/// Keys the hash of watched paths, which clients choose.
fn hash_seed() -> u64 {
    RandomState::new().hash_one(0)
}

impl Shard {
    /// A shard of these parts.
    pub fn new(parts: Parts) -> Self {
        Self {
            clients: HashMap::new(),
            watches: WatchTable::new(hash_seed()),
            recorder: parts.shared.metrics.recorder(),
            gone: VecDeque::new(),
            overfull: Vec::new(),
            ready: VecDeque::new(),
            fresh: VecDeque::new(),
            replies: Vec::new(),
            chunk: Chunk::default(),
            is_stalled: false,
            is_behind: false,
            is_asking: false,
            now: Millis(0),
            now_us: 0,
            complaints: Complaints::default(),
            grants: Grants::default(),
            parts,
        }
    }

    /// Runs until the server has stopped.
    ///
    /// # Errors
    /// The ring's, after which nothing can be sent or received.
    pub fn run(mut self) -> Result<(), NetError> {
        let mut events = Vec::new();
        loop {
            self.hear_all(&mut events)?;
            self.serve_ready();
            if self.answer_questions() {
                return self.leave();
            }
            if std::mem::take(&mut self.is_asking) {
                self.parts.asks.ring();
            }
        }
    }

    /// The first half of a turn: what came is seen, and not yet served.
    fn hear_all(&mut self, events: &mut Vec<Event>) -> Result<(), NetError> {
        self.turn(events)?;
        self.now = self.parts.shared.clock.now();
        self.now_us = self.parts.shared.clock.micros();
        for event in events.drain(..) {
            self.on_event(&event);
        }
        self.sweep();
        Ok(())
    }

    fn turn(&mut self, events: &mut Vec<Event>) -> Result<(), NetError> {
        let timeout = match (self.is_stalled, self.ready.is_empty()) {
            (true, _) => Some(RETRY),
            (false, false) => Some(Duration::ZERO),
            (false, true) if self.fresh.is_empty() => None,
            (false, true) => Some(SWEEP),
        };
        let (batches, questions) = (&self.parts.batches, &self.parts.questions);
        let ready = || !batches.is_empty() || !questions.is_empty();
        self.parts.reactor.turn_unless(timeout, ready, events)
    }

    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Accepted { id, peer, .. } => self.on_accepted(*id, *peer),
            Event::Received { id } => self.on_received(*id),
            Event::EndOfInput { id } => self.on_end_of_input(*id),
            Event::Drained { id } => self.on_drained(*id),
            Event::Closed { id, reason } => {
                if let CloseReason::Broken(_) = reason {
                    self.recorder.add(Counter::ConnectionDropCount, 1);
                    self.hear_out(*id);
                }
                self.on_closed(*id);
            }
            Event::AcceptFailed { error, .. } => self.on_accept_failed(*error),
            // A shard dials nobody.
            Event::Connected { .. } | Event::ConnectFailed { .. } | Event::Woken => {}
        }
    }

    fn on_accepted(&mut self, id: ConnectionId, peer: std::net::SocketAddr) {
        let shared = &self.parts.shared;
        if let Err(excess) = shared.admission.enter(peer.ip(), &shared.settings) {
            self.recorder.add(Counter::ConnectionRejected, 1);
            self.parts.reactor.close(id, Close::Reset);
            self.complain(peer, &format!("too many connections: {excess}"));
            return;
        }
        let identities: Arc<[Identity]> = Arc::new([Identity::of_peer(peer.ip())]);
        self.clients.insert(id, Client::new(peer, identities, crate::clock::wall()));
        let grace = Millis(self.now.0 + self.parts.shared.settings.sessionless_ms);
        self.fresh.push_back((grace, id));
    }

    fn on_received(&mut self, id: ConnectionId) {
        self.make_ready(id);
        if self.is_behind {
            self.hear(id);
        }
    }

    /// Whoever is served late is heard in time: its session must not expire for it.
    fn hear(&mut self, id: ConnectionId) {
        if let Some(client) = self.clients.get_mut(&id)
            && client.phase == Phase::Open
        {
            let max = self.parts.shared.settings.frame_bytes_max;
            client.ear.hear_waiting(self.parts.reactor.input(id), max);
            client.ear.touch(client.session.as_deref(), self.now);
        }
    }

    /// What came before the end is served first; see [`Shard::close_if_over`].
    fn on_end_of_input(&mut self, id: ConnectionId) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.stream = Stream::Ended;
            self.recorder.add(Counter::ConnectionDropCount, 1);
            self.make_ready(id);
        }
    }

    fn on_drained(&mut self, id: ConnectionId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.event_bytes = 0;
        if std::mem::take(&mut client.is_paused) {
            self.make_ready(id);
        }
    }

    fn on_closed(&mut self, id: ConnectionId) {
        let Some(client) = self.clients.remove(&id) else { return };
        self.watches.remove_connection(id.bits());
        self.parts.shared.admission.leave(client.peer.ip());
        self.forget(id, &client);
    }

    fn on_accept_failed(&mut self, error: OsError) {
        // Out of descriptors: those without a session make room first.
        if let Some((_, oldest)) = self.fresh.pop_front() {
            self.close_fresh(oldest);
        }
        if let Some(withheld) = self.complaints.next(self.now) {
            tracing::warn!(withheld, "cannot accept a connection: {error}");
        }
    }

    fn make_ready(&mut self, id: ConnectionId) {
        if let Some(client) = self.clients.get_mut(&id)
            && !std::mem::replace(&mut client.is_ready, true)
        {
            self.ready.push_back(id);
        }
    }

    /// Closes connections that have had no session for too long. COMPAT: one that has asked for it
    /// has the timeout that it was granted (`ZooKeeperServer.processConnectRequest`).
    fn sweep(&mut self) {
        let later = Millis(self.now.0 + self.parts.shared.settings.sessionless_ms.max(1));
        while let Some((grace, id)) = self.fresh.front().copied() {
            let client = self.clients.get(&id).filter(|client| client.session.is_none());
            if client.is_some() && grace > self.now {
                break;
            }
            self.fresh.pop_front();
            match client {
                Some(client) if client.is_patient(self.now) => self.fresh.push_back((later, id)),
                Some(_) => self.close_fresh(id),
                None => {}
            }
        }
    }

    fn close_fresh(&mut self, id: ConnectionId) {
        if self.clients.get(&id).is_some_and(|client| client.session.is_none()) {
            self.recorder.add(Counter::SessionlessConnectionsExpired, 1);
            self.close(id, Close::Now);
        }
    }

    fn close(&mut self, id: ConnectionId, how: Close) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.phase = Phase::Closing;
            self.parts.reactor.close(id, how);
        }
    }

    /// One line a second and shard at most; the next one says how many were withheld.
    fn complain(&mut self, peer: std::net::SocketAddr, what: &str) {
        if let Some(withheld) = self.complaints.next(self.now) {
            tracing::warn!(%peer, withheld, "{what}");
        }
    }
}

#[cfg(test)]
mod tests;
