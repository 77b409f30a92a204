//! What the zab thread does besides: when to snapshot, reap, and answer questions.

use super::ZabStage;
use super::commit::Pending;
use super::pace::Pace;
use super::reap::Reaper;
use super::sessions::server_for;
use crate::ids::{Millis, SessionId, Zxid};
use crate::request::prepare::Write;
use crate::stage::control::Inquiry;
use crate::stage::log::LogAsk;
use crate::stage::shared::Settings;
use crate::tree::Tree;

/// See the module.
pub(super) struct Chores {
    /// What the log has told so far.
    pub(super) durable_seen: Zxid,
    pace: Pace,
    reaper: Reaper,
}

impl Chores {
    pub(super) fn new(settings: &Settings, last: Zxid, replayed: u64, now: Millis) -> Self {
        Self {
            durable_seen: last,
            pace: Pace::new(settings, replayed),
            reaper: Reaper::new(settings, now),
        }
    }

    pub(super) fn count_txn(&mut self, bytes: usize) {
        self.pace.count(bytes);
    }

    pub(super) fn next_due(&self) -> Millis {
        self.reaper.next_due()
    }
}

impl ZabStage {
    /// Begins a snapshot if one is due; called between txns, under the write lock.
    pub(super) fn consider_snapshot(&mut self, tree: &mut Tree) {
        let (pace, shared) = (&mut self.chores.pace, &self.parts.shared);
        if shared.snapshots.take_owed() {
            pace.owe();
        }
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
        if !self.can_propose() || self.chores.next_due() > self.now {
            return;
        }
        let reaper = &mut self.chores.reaper;
        if reaper.has_to_look() {
            reaper.look(&self.parts.shared.tree.read(), self.now, self.wall);
        }
        self.reap_one();
    }

    fn reap_one(&mut self) {
        let Some(path) = self.chores.reaper.next(self.now) else { return };
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
