//! Known bugs, to be put back on purpose: the simulator has to find each of them.
//!
//! Only a build with the feature `sim-mutations` can hold one; in every other build
//! [`Mutations::has`] is a constant, and the branches behind it are not in the program.

/// A bug, by what it does wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mutation {
    /// A learner acks `NEWLEADER` before the history is flushed (ZOOKEEPER-3911, 4646, 4785).
    AckHistoryUnflushed,
    /// A learner persists the current epoch before the history is flushed (ZOOKEEPER-4643).
    EpochBeforeHistory,
    /// A learner promises an epoch before it is on disk (ZOOKEEPER-2307).
    PromiseUnpersisted,
    /// A leader tells its epoch before it is on disk.
    InformUnpersisted,
    /// A learner acks a proposal before it is flushed.
    AckUnflushed,
    /// A leader counts its own proposals as durable at once.
    LeaderAcksUnflushed,
    /// A server votes before the end of its log is flushed and applied (ZOOKEEPER-2845).
    LookUnsettled,
    /// A server that leaves a role forgets what it has logged and not applied (ZOOKEEPER-2845).
    ForgetTail,
    /// Acks of observers count.
    CountObservers,
    /// A proposal is committed with its first ack.
    CommitWithoutQuorum,
    /// A proposal is committed before the one proposed earlier.
    CommitOutOfOrder,
    /// A learner does not get what was outstanding when its sync was decided (ZOOKEEPER-3023,
    /// finding 1 of the specification's authors).
    ForwardWithoutOutstanding,
    /// A learner does not get what is committed and not yet applied at the leader.
    ForwardWithoutCommitted,
    /// A difference is taken from the log across a gap (ZOOKEEPER-2418).
    DiffAcrossGap,
    /// A learner that has more than the leader keeps it (ZOOKEEPER-1154).
    DiffInsteadOfTrunc,
    /// A learner takes a proposal that does not follow the last (ZOOKEEPER-4925).
    TakeGaps,
    /// A leader counts a promise of an epoch that was accepted before.
    CountOldPromise,
    /// A leader takes a learner that has history it lacks (ZOOKEEPER-1154).
    TakeLearnerAhead,
    /// Votes are compared without their epoch (ZOOKEEPER-1154).
    VoteWithoutEpoch,
    /// A leader serves before a quorum has acked its history.
    ServeUnacked,
    /// A leader keeps leading without its quorum.
    NeverStepDown,
    /// A leader goes on in its epoch when the counter is spent (ZOOKEEPER-1277).
    WrapCounter,
    /// A learner applies what is committed before its own disk has it.
    ApplyUnflushed,
    /// A learner that comes back and is cut keeps its acks of what is cut off.
    KeepAcksOfCut,
    /// A `sync` is answered before what was proposed earlier is committed.
    SyncAtOnce,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::AckHistoryUnflushed,
        Self::EpochBeforeHistory,
        Self::PromiseUnpersisted,
        Self::InformUnpersisted,
        Self::AckUnflushed,
        Self::LeaderAcksUnflushed,
        Self::LookUnsettled,
        Self::ForgetTail,
        Self::CountObservers,
        Self::CommitWithoutQuorum,
        Self::CommitOutOfOrder,
        Self::ForwardWithoutOutstanding,
        Self::ForwardWithoutCommitted,
        Self::DiffAcrossGap,
        Self::DiffInsteadOfTrunc,
        Self::TakeGaps,
        Self::CountOldPromise,
        Self::TakeLearnerAhead,
        Self::VoteWithoutEpoch,
        Self::ServeUnacked,
        Self::NeverStepDown,
        Self::WrapCounter,
        Self::ApplyUnflushed,
        Self::KeepAcksOfCut,
        Self::SyncAtOnce,
    ];
}

/// Which bug a server has; none, unless the simulator put one in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mutations {
    #[cfg(feature = "sim-mutations")]
    only: Option<Mutation>,
}

impl Mutations {
    /// No bug.
    pub const NONE: Self = Self {
        #[cfg(feature = "sim-mutations")]
        only: None,
    };

    /// This bug.
    #[cfg(feature = "sim-mutations")]
    pub const fn only(mutation: Mutation) -> Self {
        Self { only: Some(mutation) }
    }

    /// Whether a server has this bug.
    #[cfg(feature = "sim-mutations")]
    pub(in crate::zab) fn has(self, mutation: Mutation) -> bool {
        self.only == Some(mutation)
    }

    /// Whether a server has this bug.
    #[cfg(not(feature = "sim-mutations"))]
    #[expect(clippy::unused_self, reason = "the simulator's build needs it")]
    pub(in crate::zab) const fn has(self, _: Mutation) -> bool {
        false
    }
}
