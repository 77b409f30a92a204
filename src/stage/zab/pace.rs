//! When a snapshot is due, and beginning one.
//!
//! One that is due stays due until its image was handed over: while the last one is being written,
//! or rests, nothing is lost but time. One that was given up after that is due again.

use std::hash::{BuildHasher, RandomState};
use std::sync::mpsc::{SyncSender, TrySendError};

use crate::stage::shared::Settings;
use crate::stage::snapshot::{SnapshotAsk, SnapshotTurns};
use crate::tree::Tree;

/// What has happened since the last snapshot was begun, against what may.
#[derive(Debug)]
pub(super) struct Pace {
    snap_count: u64,
    snap_bytes: Option<u64>,
    txns: u64,
    bytes: u64,
    /// A share of the limits, drawn anew each time, so that servers do not snapshot all at once.
    txns_due: u64,
    bytes_due: u64,
    /// That it has to wait was said.
    has_complained: bool,
}

impl Pace {
    /// `replayed` txns are behind the last snapshot already: a server that is restarted again and
    /// again would else never take one, and keep all its logs.
    pub(super) fn new(settings: &Settings, replayed: u64) -> Self {
        Self::of(u64::from(settings.snap_count), settings.snap_bytes, replayed)
    }

    fn of(snap_count: u64, snap_bytes: Option<u64>, replayed: u64) -> Self {
        let (txns, bytes, txns_due, bytes_due, has_complained) = (0, 0, 0, 0, false);
        let mut pace =
            Self { snap_count, snap_bytes, txns, bytes, txns_due, bytes_due, has_complained };
        pace.draw();
        pace.txns = replayed;
        pace
    }

    pub(super) fn count(&mut self, bytes: usize) {
        self.txns += 1;
        self.bytes += bytes as u64;
    }

    /// One was given up: another is due, however little has happened since.
    pub(super) fn owe(&mut self) {
        self.txns = self.txns.max(self.txns_due + 1);
    }

    /// Whether enough has happened for a snapshot.
    pub(super) const fn is_due(&self) -> bool {
        self.txns > self.txns_due || self.bytes > self.bytes_due
    }

    /// One is due: hands an image over if it may be begun `now`; whether it did. Called between
    /// txns.
    pub(super) fn consider(
        &mut self,
        tree: &mut Tree,
        turns: &SnapshotTurns,
        now: u64,
        snapshots: &SyncSender<SnapshotAsk>,
    ) -> bool {
        if turns.is_free(now) && hand_over(tree, turns, snapshots) {
            self.draw();
            return true;
        }
        if (turns.is_free(now) || turns.is_under_way()) && !self.has_complained {
            self.has_complained = true;
            tracing::warn!("too busy to snap: the last snapshot is still being written");
        }
        false
    }

    /// COMPAT: between half and all of each limit (`SyncRequestProcessor.resetSnapshotStats`).
    fn draw(&mut self) {
        let random = RandomState::new().hash_one(self.txns);
        self.txns_due = share(self.snap_count, random);
        self.bytes_due = self.snap_bytes.map_or(u64::MAX, |bytes| share(bytes, random));
        self.txns = 0;
        self.bytes = 0;
        self.has_complained = false;
    }
}

/// Something between half of `limit` and all of it.
fn share(limit: u64, random: u64) -> u64 {
    limit / 2 + random % (limit / 2).max(1)
}

/// False if there is no room for another image, or the thread that writes it does not wait for one.
fn hand_over(tree: &mut Tree, turns: &SnapshotTurns, snapshots: &SyncSender<SnapshotAsk>) -> bool {
    let Some(image) = tree.begin_image() else { return false };
    turns.begin(); // first: who takes it may have ended it at once
    let Err(error) = snapshots.try_send(SnapshotAsk::Write(image)) else { return true };
    turns.end(0);
    let (TrySendError::Full(back) | TrySendError::Disconnected(back)) = error;
    if let SnapshotAsk::Write(image) = back {
        drop(tree.end_image(&image));
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;
    use crate::limits::IMAGES_MAX;
    use crate::tree::TreeOptions;

    const SNAP_COUNT: u64 = 100;

    struct Scene {
        pace: Pace,
        tree: Tree,
        turns: SnapshotTurns,
        snapshots: SyncSender<SnapshotAsk>,
        asked: Receiver<SnapshotAsk>,
    }

    impl Scene {
        fn new(replayed: u64) -> Self {
            let (snapshots, asked) = sync_channel(1);
            Self {
                pace: Pace::of(SNAP_COUNT, None, replayed),
                tree: Tree::with_options(TreeOptions::default()),
                turns: SnapshotTurns::default(),
                snapshots,
                asked,
            }
        }

        /// After one more txn.
        fn txn(&mut self, now: u64) -> bool {
            self.pace.count(1);
            if self.turns.take_owed() {
                self.pace.owe();
            }
            self.pace.is_due()
                && self.pace.consider(&mut self.tree, &self.turns, now, &self.snapshots)
        }

        /// How many txns it takes to the next snapshot.
        fn txns_to_next(&mut self, now: u64) -> u64 {
            (1..=2 * SNAP_COUNT).find(|_| self.txn(now)).expect("a snapshot is due by then")
        }

        fn take(&mut self) {
            let Ok(SnapshotAsk::Write(image)) = self.asked.try_recv() else { panic!("none asked") };
            drop(self.tree.end_image(&image));
        }
    }

    #[test]
    fn one_comes_between_half_of_the_count_and_all_of_it() {
        let mut scene = Scene::new(0);
        for _ in 0..50 {
            let txns = scene.txns_to_next(0);
            assert!((SNAP_COUNT / 2..=SNAP_COUNT + 1).contains(&txns), "{txns}");
            scene.take();
            scene.turns.end(0);
        }
        assert_eq!(Scene::new(SNAP_COUNT).txns_to_next(0), 1, "what was replayed counts");
    }

    /// Not a whole count later.
    #[test]
    fn one_that_is_due_while_the_thread_is_busy_is_taken_right_after() {
        let mut scene = Scene::new(0);
        scene.txns_to_next(0);
        assert!((0..3 * SNAP_COUNT).all(|_| !scene.txn(0)), "the first is being written");
        scene.take();
        scene.turns.end(1000);
        assert!(!scene.txn(999), "it rests");
        assert!(scene.txn(1000), "the next txn");
        assert!(!scene.txn(1000), "and then counts anew");
    }

    /// However little has happened since.
    #[test]
    fn one_that_was_given_up_is_due_again() {
        let mut scene = Scene::new(0);
        scene.txns_to_next(0);
        scene.take();
        scene.turns.end_unfinished();
        assert!(scene.txn(0), "the next txn");
        assert!(!scene.txn(0), "and then counts anew");
    }

    /// The thread has ended one, and does not wait for the next yet.
    #[test]
    fn one_that_nobody_takes_costs_no_image() {
        let mut scene = Scene::new(SNAP_COUNT);
        scene.snapshots.send(SnapshotAsk::Barrier(sync_channel(1).0)).unwrap();
        assert!((0..3 * IMAGES_MAX).all(|_| !scene.txn(0)));
        assert!(scene.asked.try_recv().is_ok());
        assert!(scene.txn(0), "there is room for an image, and the next txn has it");
    }
}
