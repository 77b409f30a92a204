//! A learner's link to its leader, from the first packet on.
//!
//! A life is a chain of states, each spent by leaving it: discovering, promising an epoch, choosing
//! how to be synchronised, rebuilding, receiving, flushing, keeping the epoch, settling, broadcast.
//! What must be on disk before a packet may leave is asked for with an output, and the packet is
//! born where the answer comes in: an order that is not safe cannot be written here.
//! Source: `Learner.registerWithLeader`, `syncWithLeader`.

use std::collections::VecDeque;

use super::tail::Tail;
use crate::ids::{Epoch, Millis, Zxid};
use crate::limits::PACKETS_HELD_MAX;
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, Packet};
use crate::zab::config::Mutation;
use crate::zab::context::Context;
use crate::zab::election::UNINITIALIZED;
use crate::zab::{EpochRecord, LinkId, Output, PeerFault};

/// One link to a leader.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    state: State,
    tail: Tail,
    /// When the leader has been silent for too long, and for how long.
    silent_at: Millis,
    limit_ms: i64,
}

#[derive(Debug)]
enum State {
    /// The leader is to open an epoch.
    Discovering,
    /// Waits for the accepted epoch to be on disk.
    Promising { epoch: Epoch },
    /// Waits for DIFF, TRUNC or SNAP.
    Choosing { epoch: Epoch },
    /// Waits for the snapshot, or for the cut, to be on disk; what comes meanwhile waits too.
    Rebuilding { epoch: Epoch, cut_to: Option<Zxid>, waiting: VecDeque<Packet> },
    /// Takes the leader's history.
    Receiving { epoch: Epoch },
    /// Has all of it, and waits for the disk to have it.
    Flushing { epoch: Epoch, is_kept: bool },
    /// Waits for the current epoch to be on disk.
    Keeping { epoch: Epoch },
    /// Has acked the history, and waits for a quorum of others to.
    Settling { epoch: Epoch },
    /// Up to date.
    Broadcast { epoch: Epoch },
    /// The leader was left.
    Left,
}

impl State {
    const fn name(&self) -> &'static str {
        match self {
            Self::Discovering => "discovering",
            Self::Promising { .. } => "promising",
            Self::Choosing { .. } => "choosing",
            Self::Rebuilding { .. } => "rebuilding",
            Self::Receiving { .. } => "receiving",
            Self::Flushing { .. } => "flushing",
            Self::Keeping { .. } => "keeping the epoch",
            Self::Settling { .. } => "settling",
            Self::Broadcast { .. } => "in broadcast",
            Self::Left => "left",
        }
    }

    /// Whether the leader is to speak, and not this server's disk. A snapshot is taken and put in
    /// place within the time in which its leader waits for the ack.
    const fn is_listening(&self) -> bool {
        match self {
            Self::Discovering
            | Self::Choosing { .. }
            | Self::Rebuilding { cut_to: None, .. }
            | Self::Receiving { .. }
            | Self::Settling { .. }
            | Self::Broadcast { .. } => true,
            Self::Promising { .. }
            | Self::Rebuilding { cut_to: Some(_), .. }
            | Self::Flushing { .. }
            | Self::Keeping { .. }
            | Self::Left => false,
        }
    }
}

impl Link {
    /// The leader is connected: the learner introduces itself.
    pub(super) fn new(id: LinkId, context: &mut Context<'_>) -> Self {
        let config = context.config;
        let info = LearnerInfo {
            server: Some(config.me),
            protocol: Some(PROTOCOL_VERSION),
            config_version: Some(config.version),
        };
        let accepted = context.history.accepted();
        context.send(
            id,
            if config.is_observer {
                Packet::ObserverInfo { accepted, info }
            } else {
                Packet::FollowerInfo { accepted, info }
            },
        );
        let limit_ms = config.timing.init_ms();
        let tail = Tail::new(id, context.history.last_logged(), config.is_observer);
        let silent_at = context.after(limit_ms);
        Self { id, state: State::Discovering, tail, silent_at, limit_ms }
    }

    /// When it has been silent for too long; `None` while it is not its turn to speak.
    pub(super) fn silent_at(&self) -> Option<Millis> {
        self.state.is_listening().then_some(self.silent_at)
    }

    pub(super) const fn limit_ms(&self) -> i64 {
        self.limit_ms
    }

    /// The leader speaks, or sends its snapshot, or this server's disk has done its part.
    pub(super) fn heard(&mut self, context: &Context<'_>) {
        let timing = &context.config.timing;
        let has_acked = matches!(self.state, State::Settling { .. } | State::Broadcast { .. });
        self.limit_ms = if has_acked { timing.sync_ms() } else { timing.init_ms() };
        self.silent_at = context.after(self.limit_ms);
    }

    pub(super) const fn is_in_broadcast(&self) -> bool {
        matches!(self.state, State::Broadcast { .. })
    }

    /// Whether another packet is to come: not while this server's disk has to do its part first
    /// and enough waits for it. What the leader is to say must be heard, behind whatever it is.
    pub(super) fn is_reading(&self) -> bool {
        match self.state {
            State::Rebuilding { .. } => false,
            State::Flushing { .. } | State::Keeping { .. } => !self.tail.is_full(),
            State::Discovering
            | State::Promising { .. }
            | State::Choosing { .. }
            | State::Receiving { .. }
            | State::Settling { .. }
            | State::Broadcast { .. }
            | State::Left => true,
        }
    }

    /// The epoch, once this server is up to date.
    pub(super) const fn established(&self) -> Option<Epoch> {
        if let State::Broadcast { epoch } = self.state { Some(epoch) } else { None }
    }

    /// A packet of the leader's.
    ///
    /// # Errors
    /// The leader is to be left.
    pub(super) fn on_packet(
        &mut self,
        packet: Packet,
        context: &mut Context<'_>,
    ) -> Result<(), PeerFault> {
        let state = std::mem::replace(&mut self.state, State::Left);
        self.state = match state {
            State::Discovering => self.on_epoch(packet, context)?,
            State::Choosing { epoch } => self.on_choice(epoch, packet, context)?,
            State::Rebuilding { epoch, cut_to, mut waiting } => {
                if waiting.len() >= PACKETS_HELD_MAX {
                    return Err(PeerFault::TooMuch { max: PACKETS_HELD_MAX });
                }
                waiting.push_back(packet);
                State::Rebuilding { epoch, cut_to, waiting }
            }
            State::Receiving { epoch } => self.on_history(epoch, packet, context)?,
            State::Settling { epoch } => self.on_settling(epoch, packet, context)?,
            state @ (State::Flushing { .. } | State::Keeping { .. }) => {
                self.tail.on_packet(packet, state.name(), context)?;
                state
            }
            State::Broadcast { epoch } => self.on_broadcast(epoch, packet, context)?,
            State::Promising { .. } | State::Left => return Err(unexpected(&state, packet)),
        };
        self.heard(context);
        Ok(())
    }

    fn on_epoch(&mut self, packet: Packet, context: &mut Context<'_>) -> Result<State, PeerFault> {
        let Packet::LeaderInfo { epoch, protocol } = packet else {
            return Err(unexpected(&State::Discovering, packet));
        };
        if protocol < PROTOCOL_VERSION {
            return Err(PeerFault::Protocol(protocol));
        }
        let accepted = context.history.accepted();
        if epoch < accepted {
            return Err(PeerFault::StaleEpoch { proposed: epoch, accepted });
        }
        self.tail.begin(epoch);
        if epoch == accepted {
            // Accepted before, perhaps from another leader: this answer must not count. So it may
            // also say that there is no data, if a cut has failed: who has none gets a snapshot.
            let history = &context.history;
            let last = if history.wants_snapshot() { UNINITIALIZED } else { history.last_logged() };
            self.promise(last, None, context);
            return Ok(State::Choosing { epoch });
        }
        context.persist(EpochRecord::Accepted(epoch));
        if context.has(Mutation::PromiseUnpersisted) {
            let history = &context.history;
            self.promise(history.last_logged(), Some(history.current()), context);
            return Ok(State::Choosing { epoch });
        }
        Ok(State::Promising { epoch })
    }

    fn promise(&self, last_logged: Zxid, current: Option<Epoch>, context: &mut Context<'_>) {
        context.send(self.id, Packet::AckEpoch { last_logged, current });
    }

    fn on_choice(
        &mut self,
        epoch: Epoch,
        packet: Packet,
        context: &mut Context<'_>,
    ) -> Result<State, PeerFault> {
        let last = context.history.last_logged();
        let (order, cut_to) = if let Packet::Diff { .. } = packet {
            return Ok(State::Receiving { epoch });
        } else if let Packet::Trunc { zxid: to } = packet {
            if to > last {
                return Err(PeerFault::Cut { last, to });
            }
            (Output::Truncate { to }, Some(to))
        } else if let Packet::Snap { zxid } = packet {
            self.tail.check_epoch(zxid)?;
            (Output::ReceiveSnapshot { link: self.id, zxid }, None)
        } else if let Packet::Unknown { .. } = packet {
            return Ok(State::Choosing { epoch });
        } else {
            return Err(unexpected(&State::Choosing { epoch }, packet));
        };
        context.out.push(order);
        context.history.begin_rebuilding();
        Ok(State::Rebuilding { epoch, cut_to, waiting: VecDeque::new() })
    }

    fn on_history(
        &mut self,
        epoch: Epoch,
        packet: Packet,
        context: &mut Context<'_>,
    ) -> Result<State, PeerFault> {
        let state = State::Receiving { epoch };
        let Packet::NewLeader { zxid, .. } = packet else {
            self.tail.on_packet(packet, state.name(), context)?;
            self.tail.append_committed(context);
            return Ok(state);
        };
        if zxid != Zxid::new(epoch, 0) {
            return Err(PeerFault::OtherEpoch(zxid));
        }
        if context.has(Mutation::AckHistoryUnflushed) {
            context.persist(EpochRecord::Current(epoch));
            return Ok(self.ack_history(epoch, context));
        }
        if context.has(Mutation::EpochBeforeHistory) {
            context.persist(EpochRecord::Current(epoch));
            return Ok(State::Keeping { epoch });
        }
        Ok(self.flush(epoch, false, context))
    }

    /// The current epoch is asked for only once the history it stands for is on disk.
    fn flush(&mut self, epoch: Epoch, is_kept: bool, context: &mut Context<'_>) -> State {
        if !context.history.is_flushed() {
            return State::Flushing { epoch, is_kept };
        }
        if is_kept {
            return self.ack_history(epoch, context);
        }
        context.persist(EpochRecord::Current(epoch));
        State::Keeping { epoch }
    }

    /// The only place where a leader's history is acked. From here on what is committed is logged,
    /// and not only at `UPTODATE`: under load that is queued behind any number of proposals.
    fn ack_history(&mut self, epoch: Epoch, context: &mut Context<'_>) -> State {
        context.send(self.id, Packet::Ack { zxid: Zxid::new(epoch, 0) });
        self.tail.append_committed_to_ack(context);
        State::Settling { epoch }
    }

    /// All proposals take the usual way once this server is up to date.
    fn on_settling(
        &mut self,
        epoch: Epoch,
        packet: Packet,
        context: &mut Context<'_>,
    ) -> Result<State, PeerFault> {
        let state = State::Settling { epoch };
        if packet != Packet::UpToDate {
            self.tail.on_packet(packet, state.name(), context)?;
            self.tail.append_committed_to_ack(context);
            return Ok(state);
        }
        context.send(self.id, Packet::Ack { zxid: Zxid::new(epoch, 0) });
        context.serve(epoch, true);
        self.tail.append_all(context);
        Ok(State::Broadcast { epoch })
    }

    fn on_broadcast(
        &mut self,
        epoch: Epoch,
        packet: Packet,
        context: &mut Context<'_>,
    ) -> Result<State, PeerFault> {
        let state = State::Broadcast { epoch };
        if let Packet::Ping { .. } = packet {
            context.out.push(Output::Pass { link: self.id, packet });
        } else {
            self.tail.on_packet(packet, state.name(), context)?;
            self.tail.append_all(context);
        }
        Ok(state)
    }

    /// Tree, log and snapshots are what the leader wants, and end here.
    ///
    /// # Errors
    /// What came meanwhile has no place: the leader is to be left.
    pub(super) fn on_rebuilt(
        &mut self,
        last: Zxid,
        context: &mut Context<'_>,
    ) -> Result<(), PeerFault> {
        let state = std::mem::replace(&mut self.state, State::Left);
        let State::Rebuilding { epoch, cut_to, waiting } = state else {
            panic!("nothing was to be rebuilt, while {}", state.name())
        };
        // What it was to end with was never there, and what is before that may not be either. An
        // epoch's beginning is no txn: all before it is there if the epoch was.
        let is_there = |to: Zxid| last == to || (to.counter() == 0 && last < to);
        if let Some(to) = cut_to.filter(|to| !is_there(*to)) {
            return Err(PeerFault::Cut { last, to });
        }
        self.tail.rebuilt(last);
        self.state = State::Receiving { epoch };
        self.heard(context);
        waiting.into_iter().try_for_each(|packet| self.on_packet(packet, context))
    }

    /// An epoch is on disk.
    pub(super) fn on_persisted(&mut self, what: EpochRecord, context: &mut Context<'_>) {
        let is_promising = matches!(self.state, State::Promising { .. });
        let is_early = context.has(Mutation::PromiseUnpersisted) && !is_promising;
        if is_early && matches!(what, EpochRecord::Accepted(_)) {
            return; // promised before
        }
        self.state = match std::mem::replace(&mut self.state, State::Left) {
            State::Promising { epoch } => {
                assert_eq!(what, EpochRecord::Accepted(epoch), "what was asked for");
                let history = &context.history;
                self.promise(history.last_logged(), Some(history.current()), context);
                State::Choosing { epoch }
            }
            State::Keeping { epoch } => {
                assert_eq!(what, EpochRecord::Current(epoch), "what was asked for");
                if context.has(Mutation::EpochBeforeHistory) {
                    self.flush(epoch, true, context)
                } else {
                    assert!(context.history.is_flushed(), "the history is on disk");
                    self.ack_history(epoch, context)
                }
            }
            state @ (State::Discovering
            | State::Choosing { .. }
            | State::Rebuilding { .. }
            | State::Receiving { .. }
            | State::Flushing { .. }
            | State::Settling { .. }
            | State::Broadcast { .. }
            | State::Left) => {
                let is_expected = context.has(Mutation::AckHistoryUnflushed);
                assert!(is_expected, "no epoch was to be kept, and {what:?} was");
                state
            }
        };
        self.heard(context);
    }

    /// Something was applied.
    pub(super) fn answer(&mut self, context: &mut Context<'_>) {
        self.tail.answer(context);
    }

    /// The log is durable up to here.
    pub(super) fn on_durable(&mut self, upto: Zxid, context: &mut Context<'_>) {
        self.tail.on_durable(upto, context);
        if let State::Flushing { epoch, is_kept } = self.state {
            self.state = self.flush(epoch, is_kept, context);
            self.heard(context);
        }
    }
}

fn unexpected(state: &State, packet: Packet) -> PeerFault {
    PeerFault::Unexpected { state: state.name(), packet }
}
