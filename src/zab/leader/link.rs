//! One learner's connection, as its leader sees it.

use crate::ids::{Millis, ServerId, Zxid};
use crate::zab::context::Context;

/// How a learner takes part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Membership {
    /// Gets proposals and commits. It came with `FOLLOWERINFO`, with or without a vote.
    Participant,
    /// Gets informs.
    Observer,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    /// Once it has introduced itself.
    pub(super) server: Option<ServerId>,
    pub(super) membership: Membership,
    pub(super) stage: Stage,
    /// When it has been silent for too long; `None` while it is not its turn to speak.
    pub(super) silent_at: Option<Millis>,
    /// When something was heard of it last.
    heard_at: Millis,
    /// Until when its leader counts on it, if it is a voter.
    pub(super) counted_until: Millis,
    unacked: Unacked,
    /// Proposals that it acked before the history: the first and the last, and all between.
    early: Option<(Zxid, Zxid)>,
}

/// How far a learner is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// It is to introduce itself.
    Connected,
    /// It waits for the epoch.
    Introduced,
    /// It was told the epoch, and is to promise it.
    Informed,
    /// It waits for the epoch to be open; its log ends here.
    Promised(Zxid),
    /// Its part of the history is being read from the log.
    Reading(Zxid),
    /// It was sent the leader's history, and is to ack it.
    Syncing,
    /// It has acked, and waits for a quorum of others to.
    Acked,
    /// It is up to date.
    Broadcast,
}

impl Stage {
    /// Whether it is told of proposals and commits.
    pub(super) const fn is_forwarding(self) -> bool {
        matches!(self, Self::Syncing | Self::Acked | Self::Broadcast)
    }

    /// For messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connected => "awaiting its introduction",
            Self::Introduced => "gathering epochs",
            Self::Informed => "awaiting its promise",
            Self::Promised(_) => "opening the epoch",
            Self::Reading(_) => "reading the log",
            Self::Syncing => "awaiting its ack of NEWLEADER",
            Self::Acked => "awaiting a quorum",
            Self::Broadcast => "in broadcast",
        }
    }
}

impl Link {
    pub(super) fn new(context: &Context<'_>) -> Self {
        let timing = &context.config.timing;
        Self {
            server: None,
            membership: Membership::Participant,
            stage: Stage::Connected,
            heard_at: context.now,
            silent_at: Some(context.after(timing.init_ms())),
            counted_until: context.after(timing.init_ms().saturating_add(timing.sync_ms())),
            unacked: Unacked::default(),
            early: None,
        }
    }

    /// Moves on; from here it has this long to speak.
    pub(super) fn enter(&mut self, stage: Stage, context: &Context<'_>) {
        self.stage = stage;
        let timing = &context.config.timing;
        self.silent_at = match stage {
            Stage::Connected | Stage::Informed | Stage::Syncing => {
                Some(context.after(timing.init_ms()))
            }
            Stage::Broadcast => Some(context.after(timing.sync_ms())),
            Stage::Introduced | Stage::Promised(_) | Stage::Reading(_) | Stage::Acked => None,
        };
    }

    /// Something came from it, or it takes a snapshot.
    pub(super) fn heard(&mut self, context: &Context<'_>) {
        self.heard_at = context.now;
        self.counted_until = context.after(context.config.timing.sync_ms()).max(self.counted_until);
        if self.silent_at.is_some() {
            self.enter(self.stage, context);
        }
    }

    /// Whether it is up to date, and answers pings.
    pub(super) fn is_lively(&self, context: &Context<'_>) -> bool {
        let silent_ms = context.now.0.saturating_sub(self.heard_at.0);
        self.stage == Stage::Broadcast && silent_ms < context.config.timing.tick_ms
    }

    /// It was sent a proposal that it is to ack.
    pub(super) fn on_proposed(&mut self, zxid: Zxid, now: Millis) {
        if self.stage == Stage::Broadcast {
            self.unacked.on_proposed(zxid, now);
        }
    }

    pub(super) fn on_ack(&mut self, zxid: Zxid) {
        self.unacked.on_ack(zxid);
    }

    /// Its ack of a proposal has come before that of the history: it is to count behind that.
    ///
    /// Acks come in order, so what is kept is where they begin and end.
    pub(super) fn on_early_ack(&mut self, zxid: Zxid) {
        let goes_on = self.early.filter(|(_, last)| last.next() == Some(zxid));
        self.early = Some((goes_on.map_or(zxid, |(first, _)| first), zxid));
    }

    /// The proposals that it acked early, each once.
    pub(super) fn take_early_acks(&mut self) -> impl Iterator<Item = Zxid> + use<> {
        let (first, last) = self.early.take().unzip();
        std::iter::successors(first, |zxid| zxid.next()).take_while(move |it| Some(*it) <= last)
    }

    /// A proposal that was sent before then and is not acked.
    pub(super) fn unacked_since(&self, then: Millis) -> Option<Zxid> {
        self.unacked.since(then)
    }
}

/// Two of the proposals that wait for one server's ack: the one that is timed, and the one to be
/// timed after it. Enough to notice a server that falls behind, however many there are.
///
/// Source: `LearnerHandler.SyncLimitCheck`.
#[derive(Debug, Default)]
pub(super) struct Unacked {
    oldest: Option<(Zxid, Millis)>,
    newest: Option<(Zxid, Millis)>,
}

impl Unacked {
    /// One that was proposed before then.
    pub(super) fn since(&self, then: Millis) -> Option<Zxid> {
        self.oldest.filter(|(_, sent)| *sent <= then).map(|(zxid, _)| zxid)
    }

    pub(super) fn on_proposed(&mut self, zxid: Zxid, now: Millis) {
        let slot = if self.oldest.is_none() { &mut self.oldest } else { &mut self.newest };
        *slot = Some((zxid, now));
    }

    pub(super) fn on_ack(&mut self, acked: Zxid) {
        if self.newest.is_some_and(|(zxid, _)| zxid <= acked) {
            *self = Self::default();
        } else if self.oldest.is_some_and(|(zxid, _)| zxid <= acked) {
            self.oldest = self.newest.take();
        }
    }
}
