//! What the zab thread does besides: when to snapshot, reap, and answer questions.

use std::collections::VecDeque;

use super::ZabStage;
use super::commit::Pending;
use super::pace::Pace;
use super::sessions::server_for;
use crate::ids::{Millis, SessionId, Zxid};
use crate::limits::REAP_CANDIDATES_MAX;
use crate::request::prepare::Write;
use crate::stage::control::Inquiry;
use crate::stage::log::LogAsk;
use crate::stage::shared::Settings;
use crate::tree::Tree;

/// When nothing is due.
const NEVER: Millis = Millis(i64::MAX);

/// See the module.
pub(super) struct Chores {
    /// What the log has told so far.
    pub(super) durable_seen: Zxid,
    pace: Pace,
    reap_interval: Millis,
    reap_pace: Millis,
    never_used: Millis,
    next_scan: Millis,
    next_reap: Millis,
    candidates: VecDeque<String>,
}

impl Chores {
    pub(super) fn new(settings: &Settings, last: Zxid, replayed: u64, now: Millis) -> Self {
        Self {
            durable_seen: last,
            pace: Pace::new(settings, replayed),
            reap_interval: Millis(i64::from(settings.reap_interval_ms)),
            reap_pace: Millis(60_000 / i64::from(settings.reap_per_minute_max.max(1))),
            never_used: settings.container_never_used,
            next_scan: Millis(now.0 + i64::from(settings.reap_interval_ms)),
            next_reap: NEVER,
            candidates: VecDeque::new(),
        }
    }

    pub(super) fn count_txn(&mut self, bytes: usize) {
        self.pace.count(bytes);
    }

    pub(super) fn next_due(&self) -> Millis {
        self.next_scan.min(self.next_reap)
    }
}

impl ZabStage {
    /// Begins a snapshot if one is due; called between txns, under the write lock.
    pub(super) fn consider_snapshot(&mut self, tree: &mut Tree) {
        let (pace, shared) = (&mut self.chores.pace, &self.parts.shared);
        if !pace.is_due() {
            return;
        }
        let now = shared.clock.micros();
        if pace.consider(tree, &shared.snapshots, now, &self.parts.snapshots) {
            // Only a wish: without room for it, which hardly happens, the log goes on as it is.
            let _ = self.parts.log.push(LogAsk::Roll);
        }
    }

    pub(super) fn do_chores(&mut self) {
        if !self.can_propose() {
            return;
        }
        if self.chores.next_scan <= self.now {
            self.chores.next_scan = Millis(self.now.0 + self.chores.reap_interval.0);
            let wall = crate::clock::wall();
            let tree = self.parts.shared.tree.read();
            let due = tree.reapable(wall, self.chores.never_used, REAP_CANDIDATES_MAX);
            self.chores.candidates = due.into();
            self.chores.next_reap = self.now;
        }
        if self.chores.next_reap <= self.now {
            self.reap_one();
        }
    }

    /// Containers and TTL nodes go one at a time, at the configured pace.
    fn reap_one(&mut self) {
        let Some(path) = self.chores.candidates.pop_front() else {
            self.chores.next_reap = NEVER;
            return;
        };
        self.chores.next_reap = Millis(self.now.0 + self.chores.reap_pace.0);
        tracing::info!(path, "deleting a container or a node whose time is over");
        let write = Write::DeleteContainer { path: path.into() };
        self.propose(&server_for(SessionId::NONE), write, Pending::Own);
    }

    pub(super) fn answer_inquiries(&mut self) {
        while let Some(inquiry) = self.parts.inquiries.pop() {
            match inquiry {
                Inquiry::Alive(answer) => {
                    let _ = answer.try_send(self.mode()); // it may have left
                }
                Inquiry::Sessions(answer) => {
                    let _ = answer.try_send(self.sessions.dues()); // it may have left
                }
                Inquiry::Place(answer) => {
                    let _ = answer.try_send(self.place());
                }
            }
        }
    }
}
