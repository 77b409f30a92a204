//! When which container or TTL node is deleted.
//!
//! Runs on the zab thread. Goes round by round: in a round each node is looked at once, a bounded
//! number at a time, so that neither the look nor what is kept of it is long. One that could not be
//! deleted is tried again in the next round.
//! Source: `ContainerManager`.

use std::collections::VecDeque;

use crate::ids::Millis;
use crate::limits::REAP_CANDIDATES_MAX;
use crate::stage::shared::Settings;
use crate::tree::{ReapRound, Tree};

/// See the module.
pub(super) struct Reaper {
    interval: Millis,
    pace: Millis,
    never_used: Millis,
    /// When the next round may begin.
    next_round: Millis,
    /// When the next node may go.
    next: Millis,
    /// What is still to be looked at, if there is any.
    round: Option<ReapRound>,
    /// What was found by the last look.
    candidates: VecDeque<String>,
}

impl Reaper {
    pub(super) fn new(settings: &Settings, now: Millis) -> Self {
        let interval = Millis(i64::from(settings.reap_interval_ms));
        let per_minute = i64::from(settings.reap_per_minute_max.max(1));
        Self::with(interval, Millis(60_000 / per_minute), settings.container_never_used, now)
    }

    fn with(interval: Millis, pace: Millis, never_used: Millis, now: Millis) -> Self {
        let (round, candidates) = (None, VecDeque::new());
        let next_round = Millis(now.0 + interval.0);
        Self { interval, pace, never_used, next_round, next: now, round, candidates }
    }

    /// A round that takes longer than the interval is ended first.
    pub(super) fn next_due(&self) -> Millis {
        let is_between_rounds = self.candidates.is_empty() && self.round.is_none();
        if is_between_rounds { self.next_round.max(self.next) } else { self.next }
    }

    /// Whether [`Reaper::next`] would have to look.
    pub(super) fn has_to_look(&self) -> bool {
        self.candidates.is_empty()
    }

    /// The next look of the round, or the first of a new one.
    pub(super) fn look(&mut self, tree: &Tree, now: Millis, wall: Millis) {
        let mut round = self.round.take().unwrap_or_else(|| {
            self.next_round = Millis(now.0 + self.interval.0);
            ReapRound::default()
        });
        let due = tree.reapable(wall, self.never_used, &mut round, REAP_CANDIDATES_MAX);
        self.candidates = due.into();
        self.round = Some(round).filter(|round| !round.is_done());
    }

    /// One at a time, at the configured pace.
    pub(super) fn next(&mut self, now: Millis) -> Option<String> {
        let path = self.candidates.pop_front()?;
        self.next = Millis(now.0 + self.pace.0);
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ids::{SessionId, Xid, Zxid};
    use crate::tree::TreeOptions;
    use crate::wire::txn::{CreateTxn, Record, Txn, TxnHeader};
    use crate::wire::{Acl, OpCode};

    /// Its nodes were made at 0.
    struct Scene {
        tree: Tree,
        zxid: i64,
        reaper: Reaper,
        now: Millis,
    }

    impl Scene {
        fn new(interval: i64, pace: i64) -> Self {
            let (interval, pace) = (Millis(interval), Millis(pace));
            let reaper = Reaper::with(interval, pace, Millis(1), Millis(0));
            let extended = TreeOptions { extended_types: true, ..TreeOptions::default() };
            Self { tree: Tree::with_options(extended), zxid: 0, reaper, now: Millis(0) }
        }

        fn apply(&mut self, op: OpCode, txn: Txn<'_>) {
            self.zxid += 1;
            let (zxid, time) = (Zxid(self.zxid), Millis(0));
            let (session, cxid) = (SessionId(0), Xid(0));
            let header = TxnHeader { session, cxid, zxid, time, op };
            self.tree.apply(&Record { header, txn, digest: None }, None);
        }

        fn create(&mut self, kind: &str, count: usize) {
            for number in 0..count {
                let path = format!("/{kind}{number}").into();
                let acl = vec![Acl::anyone(31)];
                let (ephemeral, parent_cversion) = (false, -1);
                let create = CreateTxn { path, data: None, acl, ephemeral, parent_cversion };
                match kind {
                    "c" => self.apply(OpCode::CreateContainer, Txn::CreateContainer(create)),
                    _ => self.apply(OpCode::CreateTtl, Txn::CreateTtl(create, 1)),
                }
            }
        }

        /// The next to go, before `end`; time passes until then.
        fn next(&mut self, end: i64) -> Option<String> {
            while self.reaper.next_due().0 < end {
                self.now = self.now.max(self.reaper.next_due());
                if self.reaper.has_to_look() {
                    self.reaper.look(&self.tree, self.now, self.now);
                }
                if let Some(path) = self.reaper.next(self.now) {
                    return Some(path);
                }
            }
            None
        }

        /// All that go before `end`, with when.
        fn reap(&mut self, end: i64) -> Vec<(i64, String)> {
            let mut gone = vec![];
            while let Some(path) = self.next(end) {
                self.apply(OpCode::DeleteContainer, Txn::Delete { path: path.as_str().into() });
                gone.push((self.now.0, path));
            }
            gone
        }
    }

    #[test]
    fn all_that_are_due_go_in_one_round_at_the_pace() {
        let count = 12 * REAP_CANDIDATES_MAX;
        let mut scene = Scene::new(300_000, 6);
        scene.create("c", count);
        let gone = scene.reap(600_000);
        assert_eq!((gone.len(), scene.tree.container_count()), (count, 0));
        assert!(gone.iter().zip(0..).all(|((at, _), nth)| *at == 300_000 + 6 * nth));
        assert_eq!(scene.reaper.next_due(), Millis(600_000));
    }

    #[test]
    fn containers_and_ttl_nodes_go_in_turn() {
        let mut scene = Scene::new(1000, 6);
        scene.create("c", 3 * REAP_CANDIDATES_MAX);
        scene.create("t", 5);
        let gone = scene.reap(1000 + 6 * 10);
        assert_eq!(gone.iter().filter(|(_, path)| path.starts_with("/t")).count(), 5, "{gone:?}");
    }

    #[test]
    fn what_stays_is_tried_once_in_a_round() {
        let count = 2 * REAP_CANDIDATES_MAX + 1;
        let mut scene = Scene::new(100_000, 1);
        scene.create("t", count);
        for round in 1..4 {
            let end = (round + 1) * 100_000;
            let tried: Vec<_> = std::iter::from_fn(|| scene.next(end)).collect();
            assert_eq!((tried.len(), tried.iter().collect::<BTreeSet<_>>().len()), (count, count));
        }
    }

    #[test]
    fn a_round_that_takes_longer_than_the_interval_is_ended_first() {
        let count = 2 * REAP_CANDIDATES_MAX;
        let mut scene = Scene::new(10, 1);
        scene.create("c", count);
        let tried: Vec<_> = (0..=count).filter_map(|_| scene.next(i64::MAX)).collect();
        assert_eq!(tried.iter().collect::<BTreeSet<_>>().len(), count);
        assert_eq!(tried.first(), tried.last(), "the next begins at once");
        assert_eq!(scene.now, Millis(10 + i64::try_from(count).unwrap()), "at the pace");
    }

    #[test]
    fn a_look_keeps_no_more_than_a_bounded_number() {
        let mut scene = Scene::new(10, 1);
        scene.create("c", 2 * REAP_CANDIDATES_MAX);
        scene.reaper.look(&scene.tree, Millis(10), Millis(10));
        assert_eq!(scene.reaper.candidates.len(), REAP_CANDIDATES_MAX);
    }
}
