//! What the zab thread does besides: when to snapshot, reap, and answer questions.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::mpsc::TrySendError;

use super::ZabStage;
use super::commit::Pending;
use super::sessions::server_for;
use crate::ids::{Millis, SessionId, Zxid};
use crate::limits::REAP_CANDIDATES_MAX;
use crate::request::prepare::Write;
use crate::stage::control::Inquiry;
use crate::stage::log::LogAsk;
use crate::stage::shared::Settings;
use crate::stage::snapshot::SnapshotAsk;
use crate::tree::Tree;

/// When nothing is due.
const NEVER: Millis = Millis(i64::MAX);

/// See the module.
pub(super) struct Chores {
    /// What the log has told so far.
    pub(super) durable_seen: Zxid,
    snap_count: u64,
    snap_bytes: Option<u64>,
    /// Since the last snapshot was begun.
    txns: u64,
    bytes: u64,
    /// A share of the limits, drawn anew each time, so that servers do not snapshot all at once.
    txns_due: u64,
    bytes_due: u64,
    reap_interval: Millis,
    reap_pace: Millis,
    never_used: Millis,
    next_scan: Millis,
    next_reap: Millis,
    candidates: VecDeque<String>,
}

impl Chores {
    /// `replayed` txns are behind the last snapshot already: a server that is restarted again and
    /// again would else never take one, and keep all its logs.
    pub(super) fn new(settings: &Settings, last: Zxid, replayed: u64, now: Millis) -> Self {
        let mut chores = Self {
            durable_seen: last,
            snap_count: u64::from(settings.snap_count),
            snap_bytes: settings.snap_bytes,
            txns: 0,
            bytes: 0,
            txns_due: 0,
            bytes_due: 0,
            reap_interval: Millis(i64::from(settings.reap_interval_ms)),
            reap_pace: Millis(60_000 / i64::from(settings.reap_per_minute_max.max(1))),
            never_used: settings.container_never_used,
            next_scan: Millis(now.0 + i64::from(settings.reap_interval_ms)),
            next_reap: NEVER,
            candidates: VecDeque::new(),
        };
        chores.draw();
        chores.txns = replayed;
        chores
    }

    pub(super) fn count_txn(&mut self, bytes: usize) {
        self.txns += 1;
        self.bytes += bytes as u64;
    }

    pub(super) fn next_due(&self) -> Millis {
        self.next_scan.min(self.next_reap)
    }

    /// COMPAT: between half and all of each limit (`SyncRequestProcessor.resetSnapshotStats`).
    fn draw(&mut self) {
        let random = RandomState::new().hash_one(self.txns);
        self.txns_due = share(self.snap_count, random);
        self.bytes_due = self.snap_bytes.map_or(u64::MAX, |bytes| share(bytes, random));
        self.txns = 0;
        self.bytes = 0;
    }
}

/// Something between half of `limit` and all of it.
fn share(limit: u64, random: u64) -> u64 {
    limit / 2 + random % (limit / 2).max(1)
}

impl ZabStage {
    /// Begins a snapshot if enough has happened since the last one; called between txns, under the
    /// write lock.
    pub(super) fn consider_snapshot(&mut self, tree: &mut Tree) {
        let chores = &self.chores;
        if chores.txns <= chores.txns_due && chores.bytes <= chores.bytes_due {
            return;
        }
        if !self.parts.shared.may_snapshot() {
            return; // the last one took long; later then
        }
        self.chores.draw();
        if self.parts.log.push(LogAsk::Roll).is_err() {
            return; // the queue has room for all proposals, so this hardly happens; later then
        }
        let busy = "too busy to snap, skipping: the last snapshot is still being written";
        let Some(image) = tree.begin_image() else {
            tracing::warn!("{busy}");
            return;
        };
        // Handed over only if its thread waits for one.
        if let Err(error) = self.parts.snapshots.try_send(SnapshotAsk::Write(image)) {
            let (TrySendError::Full(back) | TrySendError::Disconnected(back)) = error;
            if let SnapshotAsk::Write(image) = back {
                tracing::warn!("{busy}");
                drop(tree.end_image(&image));
            }
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
