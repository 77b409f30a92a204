//! Questions of the control thread.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::Client;
use super::{Close, ConnectionId, Event, NetError, Shard};
use crate::hash::PathHash;
use crate::ids::{Millis, SessionId, Xid, Zxid};
use crate::stage::control::{ConnectionFacts, Question, SessionFacts, WatchCounts};

/// How long the last replies may take to leave.
const LEAVE_MS_MAX: i64 = 1000;

const LEAVE_POLL: Duration = Duration::from_millis(50);

impl Shard {
    /// Answers what was asked; true if the shard is to end.
    pub(super) fn answer_questions(&mut self) -> bool {
        let mut leaves = false;
        while let Some(question) = self.parts.questions.pop() {
            match question {
                Question::Text(id, text) => {
                    if let Some(outbox) = self.parts.reactor.outbox(id) {
                        outbox.extend_from_slice(&text);
                        self.recorder.packets_sent(1);
                    }
                    self.close(id, Close::AfterFlush);
                }
                Question::Connections(answer) => {
                    let _ = answer.try_send(self.connections()); // whoever asked may have left
                }
                Question::ResetConnections => {
                    self.clients.values_mut().for_each(|client| client.tally.reset());
                }
                Question::Watches(answer) => {
                    let _ = answer.try_send(self.watched_paths());
                }
                Question::WatchCounts(hash, answer) => {
                    let _ = answer.try_send(vec![self.watch_counts(hash.as_ref())]);
                }
                Question::Leave => leaves = true,
            }
        }
        leaves
    }

    fn connections(&self) -> Vec<ConnectionFacts> {
        let mut facts: Vec<_> = self.clients.values().map(facts).collect();
        facts.sort_by_key(|facts| facts.peer);
        facts
    }

    fn watched_paths(&self) -> Vec<(SessionId, Vec<String>)> {
        let mut by_session: BTreeMap<SessionId, Vec<String>> = BTreeMap::new();
        for session in self.watches.watching().filter_map(|key| self.session_of(key)) {
            by_session.entry(session).or_default();
        }
        self.watches.for_each_data_watch(|path, key| {
            if let Some(session) = self.session_of(key) {
                by_session.entry(session).or_default().push(path.into());
            }
        });
        by_session.into_iter().collect()
    }

    fn watch_counts(&self, hash: Option<&PathHash>) -> WatchCounts {
        let hashed =
            |hash| self.watches.data_paths().map(|path| PathHash::of(hash, path)).collect();
        let path_hashes = hash.map(hashed).unwrap_or_default();
        WatchCounts { summary: self.watches.summary(), path_hashes }
    }

    fn session_of(&self, key: u64) -> Option<SessionId> {
        let client = self.clients.get(&ConnectionId::from_bits(key))?;
        client.session.as_ref().map(|cell| cell.id)
    }

    /// The last replies leave; then the thread ends, and with it its sockets.
    pub(super) fn leave(mut self) -> Result<(), NetError> {
        let last_zxid = self.parts.shared.tree.read().last_zxid();
        self.deliver(last_zxid);
        let ids: Vec<_> = self.clients.keys().copied().collect();
        for id in ids {
            self.close(id, Close::AfterFlush);
        }
        let deadline = Millis(self.now.0 + LEAVE_MS_MAX);
        let mut events = Vec::new();
        while !self.clients.is_empty() && self.parts.shared.clock.now() < deadline {
            events.clear();
            self.parts.reactor.turn(Some(LEAVE_POLL), &mut events)?;
            for event in &events {
                if let Event::Closed { id, .. } = event {
                    self.clients.remove(id);
                }
            }
        }
        Ok(())
    }
}

fn facts(client: &Client) -> ConnectionFacts {
    let tally = &client.tally;
    ConnectionFacts {
        peer: client.peer,
        is_reading: !client.is_paused,
        queued: client.asked.len() as u64,
        received: tally.received,
        sent: tally.sent.get(),
        session: client.session.as_ref().map(|cell| SessionFacts {
            id: cell.id,
            last_op: tally.last_op,
            established: tally.established,
            timeout_ms: tally.timeout_ms,
            last_cxid: Xid(tally.last_cxid),
            last_zxid: Zxid(tally.last_zxid),
            last_response: Millis(tally.last_response_ms),
            last_latency_us: tally.last_latency_us,
            min_latency_us: if tally.latencies == 0 { 0 } else { tally.min_latency_us },
            latency_us_sum: tally.latency_us_sum,
            latencies: tally.latencies,
            max_latency_us: tally.max_latency_us,
        }),
    }
}
