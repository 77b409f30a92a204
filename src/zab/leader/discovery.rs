//! Which epoch a new leader opens, and when: `FOLLOWERINFO`, `LEADERINFO`, `ACKEPOCH`.
//!
//! A quorum says which epochs it has accepted; the leader opens a greater one, and a quorum
//! promises to accept no smaller one and shows that it has no history the leader lacks.
//!
//! INVARIANT: nobody is told the epoch before it is on the leader's disk as accepted; nobody is
//! synced before a quorum has promised and it is on the leader's disk as current.
//! Source: `Leader.getEpochToPropose`, `waitForEpochAck`.

use crate::ids::{Epoch, Millis, ServerId};
use crate::zab::EpochRecord;
use crate::zab::config::Mutation;
use crate::zab::context::Context;
use crate::zab::quorum::AckSet;

/// The leader's side of one epoch's beginning.
#[derive(Debug)]
pub(super) struct Discovery {
    phase: Phase,
    since: Millis,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Servers say what they have accepted.
    Gathering { reports: AckSet, epoch: Epoch },
    /// The leader accepts its own epoch.
    Accepting { epoch: Epoch },
    /// A quorum is to promise.
    Promising { epoch: Epoch, promises: AckSet },
    /// The leader makes it its current one.
    Keeping { epoch: Epoch },
    /// Learners are synced as they come.
    Open { epoch: Epoch },
}

impl Discovery {
    /// This server was elected, with what it has on disk.
    pub(super) fn new(context: &mut Context<'_>) -> Self {
        let mut reports = AckSet::default();
        context.config.quorum.ack(&mut reports, context.config.me);
        let phase = Phase::Gathering { reports, epoch: next(context.history.accepted()) };
        let mut discovery = Self { phase, since: context.now };
        discovery.accept_if_met(context);
        discovery
    }

    /// A standalone server has nobody to agree with.
    pub(super) const fn opened(epoch: Epoch, context: &Context<'_>) -> Self {
        Self { phase: Phase::Open { epoch }, since: context.now }
    }

    /// The epoch, once learners may be told.
    pub(super) const fn told(&self) -> Option<Epoch> {
        match self.phase {
            Phase::Gathering { .. } | Phase::Accepting { .. } => None,
            Phase::Promising { epoch, .. } | Phase::Keeping { epoch } | Phase::Open { epoch } => {
                Some(epoch)
            }
        }
    }

    /// The epoch, once learners may be synced.
    pub(super) const fn open(&self) -> Option<Epoch> {
        match self.phase {
            Phase::Open { epoch } => Some(epoch),
            Phase::Gathering { .. }
            | Phase::Accepting { .. }
            | Phase::Promising { .. }
            | Phase::Keeping { .. } => None,
        }
    }

    /// Whether it is not known yet who follows.
    pub(super) const fn is_gathering(&self) -> bool {
        matches!(self.phase, Phase::Gathering { .. })
    }

    /// Whether a quorum has still to promise.
    pub(super) const fn is_promising(&self) -> bool {
        matches!(self.phase, Phase::Promising { .. })
    }

    /// Since when the voters are waited for, and to do what.
    pub(super) const fn awaited(&self) -> Option<(Millis, &'static str)> {
        match self.phase {
            Phase::Gathering { .. } => Some((self.since, "has connected")),
            Phase::Promising { .. } => Some((self.since, "has promised the epoch")),
            Phase::Open { .. } => Some((self.since, "has acked the leader's history")),
            Phase::Accepting { .. } | Phase::Keeping { .. } => None,
        }
    }

    /// A learner has accepted this epoch before. Too late to raise the leader's, it leaves by
    /// itself if that is smaller.
    pub(super) fn on_report(&mut self, from: ServerId, accepted: Epoch, ctx: &mut Context<'_>) {
        if let Phase::Gathering { reports, epoch } = &mut self.phase {
            *epoch = next(accepted).max(*epoch);
            ctx.config.quorum.ack(reports, from);
            self.accept_if_met(ctx);
        }
    }

    /// A voter has promised the epoch, on its disk.
    pub(super) fn on_promise(&mut self, from: ServerId, context: &mut Context<'_>) {
        if let Phase::Promising { promises, .. } = &mut self.phase {
            context.config.quorum.ack(promises, from);
            self.keep_if_met(context);
        }
    }

    /// An epoch is on the leader's disk.
    pub(super) fn on_persisted(&mut self, what: EpochRecord, context: &mut Context<'_>) {
        match self.phase {
            Phase::Accepting { epoch } => {
                assert_eq!(what, EpochRecord::Accepted(epoch), "what was asked for");
                self.await_promises(epoch, context);
            }
            Phase::Keeping { epoch } if what == EpochRecord::Current(epoch) => {
                self.enter(Phase::Open { epoch }, context);
            }
            Phase::Gathering { .. }
            | Phase::Promising { .. }
            | Phase::Keeping { .. }
            | Phase::Open { .. } => {
                let is_expected = context.has(Mutation::InformUnpersisted);
                assert!(is_expected, "no epoch was to be kept, and {what:?} was");
            }
        }
    }

    fn accept_if_met(&mut self, context: &mut Context<'_>) {
        if let Phase::Gathering { reports, epoch } = self.phase
            && context.config.quorum.is_met(reports)
        {
            self.enter(Phase::Accepting { epoch }, context);
            context.persist(EpochRecord::Accepted(epoch));
            if context.has(Mutation::InformUnpersisted) {
                self.await_promises(epoch, context);
            }
        }
    }

    fn await_promises(&mut self, epoch: Epoch, context: &mut Context<'_>) {
        let mut promises = AckSet::default();
        context.config.quorum.ack(&mut promises, context.config.me);
        self.enter(Phase::Promising { epoch, promises }, context);
        self.keep_if_met(context);
    }

    fn keep_if_met(&mut self, context: &mut Context<'_>) {
        if let Phase::Promising { epoch, promises } = self.phase
            && context.config.quorum.is_met(promises)
        {
            self.enter(Phase::Keeping { epoch }, context);
            context.persist(EpochRecord::Current(epoch));
        }
    }

    fn enter(&mut self, phase: Phase, context: &Context<'_>) {
        self.phase = phase;
        self.since = context.now;
    }
}

const fn next(accepted: Epoch) -> Epoch {
    Epoch(accepted.0.saturating_add(1))
}
