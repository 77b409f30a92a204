//! How a learner gets the leader's history: a difference, a cut and a difference, or a snapshot.
//!
//! Decided by a pure function from the learner's last zxid and what the leader holds; carried out
//! by the leader, with forwarding of new proposals begun in the same step, so that nothing falls
//! between. A snapshot is always right; the others are cheaper.
//! Source: `LearnerHandler.syncFollower`, `queueCommittedProposals`.

use crate::ids::Zxid;
use crate::zab::config::{Mutation, Mutations};

/// What the leader can offer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer<'a> {
    /// The last committed txn; of counter 0 if there was none yet, or a snapshot said so.
    pub(super) last: Zxid,
    /// Committed txns in memory, ascending, without a gap, ending with the last.
    pub(super) recent: &'a [Zxid],
    /// Committed txns in the log.
    pub(super) logged: Logged<'a>,
    /// Bugs put back on purpose.
    pub(super) mutations: Mutations,
}

/// What is known of the log's txns.
#[derive(Clone, Copy, Debug)]
pub(super) enum Logged<'a> {
    /// It has not been looked at: [`SyncPlan::ReadLog`] asks for it.
    Unread,
    /// It is not to be used (`snapshotSizeFactor`), does not reach back to the learner's zxid, or
    /// is too large to be cheaper than a snapshot.
    Unusable,
    /// From one that is not after the learner's last, ascending.
    ///
    /// Of them only those count that are not after the first in memory: the rest may never have
    /// been committed (ZOOKEEPER-2846).
    From(&'a [Zxid]),
}

/// What to send a learner before [`crate::wire::quorum::Packet::NewLeader`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SyncPlan {
    /// DIFF, then every committed txn after this one.
    Diff {
        /// What the learner has.
        after: Zxid,
    },
    /// TRUNC, then every committed txn after what is left.
    Trunc {
        /// The last that the learner keeps: it has it.
        to: Zxid,
    },
    /// SNAP.
    Snap,
    /// Memory does not reach back far enough: look into the log, and ask again.
    ReadLog {
        /// The learner's last.
        from: Zxid,
    },
}

/// Decides how a learner whose log ends with `learner` is synchronised.
pub(super) fn plan(learner: Zxid, offer: &Offer<'_>) -> SyncPlan {
    if learner == offer.last {
        return SyncPlan::Diff { after: learner };
    }
    let nothing = [offer.last];
    let recent = if offer.recent.is_empty() { &nothing } else { offer.recent };
    let (oldest, newest) = (recent[0], recent[recent.len() - 1]);
    let is_kept = offer.mutations.has(Mutation::DiffInsteadOfTrunc);
    let kept = |plan| match (plan, is_kept) {
        (SyncPlan::Trunc { .. }, true) => SyncPlan::Diff { after: learner },
        (plan, _) => plan,
    };
    if learner > newest {
        return kept(cut(learner, newest));
    }
    if learner >= oldest {
        return kept(within(learner, recent.iter().copied()));
    }
    if learner <= Zxid::ZERO {
        return SyncPlan::Snap; // no log reaches back to before the first txn
    }
    let logged = match offer.logged {
        Logged::Unread => return SyncPlan::ReadLog { from: learner },
        Logged::Unusable => return SyncPlan::Snap,
        Logged::From(logged) => &logged[..logged.partition_point(|zxid| *zxid <= oldest)],
    };
    let reaches_back = logged.first().is_some_and(|first| *first <= learner);
    // With a gap between log and memory something would be missing (ZOOKEEPER-2418).
    let is_whole = logged.last() == Some(&oldest) || offer.mutations.has(Mutation::DiffAcrossGap);
    if !reaches_back || !is_whole {
        return SyncPlan::Snap;
    }
    kept(within(learner, logged.iter().chain(&recent[1..]).copied()))
}

/// For a learner whose last zxid is between the first and the last of `history`.
fn within(learner: Zxid, history: impl Iterator<Item = Zxid>) -> SyncPlan {
    let mut before = None;
    for zxid in history {
        if zxid >= learner {
            return match before {
                _ if zxid == learner => SyncPlan::Diff { after: learner },
                // It has all that came before its epoch, and nothing of its epoch.
                _ if learner.counter() == 0 => SyncPlan::Diff { after: learner },
                Some(to) if zxid.epoch() == learner.epoch() => cut(learner, to),
                Some(_) | None => SyncPlan::Snap,
            };
        }
        before = Some(zxid);
    }
    SyncPlan::Snap
}

/// Cuts what the leader does not have, if the learner is sure to have what it is cut to.
///
/// COMPAT: Java also cuts across epochs; a Java learner that does not find the zxid exits
/// (`Learner.syncWithLeader`), so here such a learner gets a snapshot.
fn cut(learner: Zxid, to: Zxid) -> SyncPlan {
    // Counter 0 names an epoch, not a txn: there is nothing to cut, or nothing to cut to.
    let are_txns = learner.counter() != 0 && to.counter() != 0;
    if are_txns && to.epoch() == learner.epoch() { SyncPlan::Trunc { to } } else { SyncPlan::Snap }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;

    fn zxid(epoch: i64, counter: u32) -> Zxid {
        Zxid::new(Epoch(epoch), counter)
    }

    /// How many txns a history has of epochs 1, 2 and 3.
    type Counts = [u32; 3];

    fn all_counts() -> impl Iterator<Item = Counts> {
        (0..64).map(|n| [n % 4, n / 4 % 4, n / 16])
    }

    fn history(counts: Counts) -> Vec<Zxid> {
        let of = |(epoch, count): (i64, u32)| (1..=count).map(move |c| zxid(epoch, c));
        (1..).zip(counts).flat_map(of).collect()
    }

    /// Whether both can exist: what is before a zxid that both have is the same in both.
    fn are_compatible(one: Counts, other: Counts) -> bool {
        (0..3).all(|epoch| one[epoch] == 0 || other[epoch] == 0 || one[..epoch] == other[..epoch])
    }

    /// What a learner has after it did as it was told.
    fn synced(learner: &[Zxid], leader: &[Zxid], plan: SyncPlan) -> Vec<Zxid> {
        let (mut kept, after) = match plan {
            SyncPlan::Diff { after } => (learner.to_vec(), after),
            SyncPlan::Trunc { to } => {
                assert!(learner.contains(&to), "a learner is cut to what it has");
                (learner.iter().copied().filter(|zxid| *zxid <= to).collect(), to)
            }
            SyncPlan::Snap => return leader.to_vec(),
            SyncPlan::ReadLog { .. } => panic!("the log was read"),
        };
        kept.extend(leader.iter().filter(|zxid| **zxid > after));
        kept
    }

    /// Every leader and learner of up to three txns in each of three epochs, every size of the
    /// memory, and every part of the log.
    #[test]
    fn after_any_plan_the_learner_has_the_leaders_history() {
        let mut seen = [0; 3];
        for counts in all_counts() {
            let leader = history(counts);
            let last = leader.last().copied().unwrap_or(Zxid::ZERO);
            for learner in all_counts().filter(|learner| are_compatible(counts, *learner)) {
                let learner = history(learner);
                let own = learner.last().copied().unwrap_or(Zxid::ZERO);
                for split in 0..=leader.len() {
                    for from in 0..=split {
                        let logged = Logged::From(&leader[from..(split + 1).min(leader.len())]);
                        let recent = &leader[split..];
                        let plan =
                            plan(own, &Offer { last, recent, logged, mutations: Mutations::NONE });
                        assert_eq!(synced(&learner, &leader, plan), leader, "{own} {plan:?}");
                        seen[match plan {
                            SyncPlan::Diff { .. } => 0,
                            SyncPlan::Trunc { .. } => 1,
                            SyncPlan::Snap | SyncPlan::ReadLog { .. } => 2,
                        }] += 1;
                    }
                }
            }
        }
        assert!(seen.iter().all(|times| *times > 1000), "{seen:?}");
    }

    /// Java reports `epoch << 32` as long as it has nothing of an epoch it has joined.
    #[test]
    fn a_learner_at_the_start_of_an_epoch_has_all_before_it() {
        for counts in all_counts() {
            let leader = history(counts);
            let Some(newest) = leader.last().copied() else { continue };
            for epoch in 1..=4 {
                let last = zxid(epoch, 0);
                let learner: Vec<_> = leader.iter().copied().filter(|it| *it < last).collect();
                for split in 0..leader.len() {
                    let (logged, recent) = (Logged::From(&leader[..=split]), &leader[split..]);
                    let plan = plan(
                        last,
                        &Offer { last: newest, recent, logged, mutations: Mutations::NONE },
                    );
                    assert_eq!(synced(&learner, &leader, plan), leader, "{last} {plan:?}");
                }
            }
        }
    }

    #[test]
    fn decisions_are_those_seen_of_java() {
        let recent: Vec<_> = (1..=5).map(|counter| zxid(1, counter)).collect();
        let with = |learner, logged| {
            plan(
                learner,
                &Offer {
                    last: zxid(1, 5),
                    recent: &recent[1..],
                    logged,
                    mutations: Mutations::NONE,
                },
            )
        };
        let of = |learner| with(learner, Logged::Unusable);
        assert_eq!(of(Zxid::ZERO), SyncPlan::Snap);
        assert_eq!(of(zxid(1, 0)), SyncPlan::Snap);
        assert_eq!(of(zxid(1, 2)), SyncPlan::Diff { after: zxid(1, 2) });
        assert_eq!(of(zxid(1, 5)), SyncPlan::Diff { after: zxid(1, 5) });
        assert_eq!(of(zxid(1, 9)), SyncPlan::Trunc { to: zxid(1, 5) });
        assert_eq!(of(zxid(2, 0)), SyncPlan::Snap);
        assert_eq!(of(Zxid(-1)), SyncPlan::Snap, "a server without data");
        let first = zxid(1, 1);
        assert_eq!(with(first, Logged::Unread), SyncPlan::ReadLog { from: first });
        assert_eq!(with(first, Logged::From(&recent)), SyncPlan::Diff { after: first });
        let gap = Logged::From(&recent[..1]);
        assert_eq!(with(first, gap), SyncPlan::Snap, "ZOOKEEPER-2418");
    }

    /// ZOOKEEPER-4352: nothing in memory, right after a start or an epoch's begin.
    #[test]
    fn an_empty_memory_is_no_reason_for_a_wrong_difference() {
        let last = zxid(2, 0);
        let with = |learner, logged| {
            plan(learner, &Offer { last, recent: &[], logged, mutations: Mutations::NONE })
        };
        assert_eq!(with(last, Logged::Unread), SyncPlan::Diff { after: last });
        assert_eq!(with(zxid(1, 3), Logged::Unusable), SyncPlan::Snap);
        assert_eq!(with(zxid(2, 3), Logged::Unread), SyncPlan::Snap, "no txn to cut to");
    }
}
