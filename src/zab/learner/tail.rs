//! What came from a leader and is not logged yet, and what is logged and not acked.

use std::collections::VecDeque;

use crate::ids::{Epoch, Zxid};
use crate::limits::{UNFLUSHED_BYTES_MAX, UNFLUSHED_MAX, UNLOGGED_MAX};
use crate::wire::quorum::Packet;
use crate::zab::config::Mutation;
use crate::zab::context::Context;
use crate::zab::{LinkId, Output, PeerFault, Proposal};

/// See the module.
#[derive(Debug)]
pub(super) struct Tail {
    link: LinkId,
    is_observer: bool,
    /// The leader's: none of its history is later.
    epoch: Epoch,
    /// In zxid order: committed ones first. Until the leader says that this learner is up to date
    /// only these are logged, as a quorum has them; none while the disk is to have the history,
    /// and then the epoch.
    arrived: VecDeque<Proposal>,
    /// Of their records.
    arrived_bytes: usize,
    committed: usize,
    /// What a snapshot held: a fuzzy one is followed by what it holds already.
    held: Option<Zxid>,
    /// The last that came, or was there before.
    last: Zxid,
    /// Whether anything came.
    has_come: bool,
    /// Logged, and to be acked one by one once durable.
    to_ack: VecDeque<Zxid>,
    /// Answers for the sessions, in order, each behind this txn.
    answers: VecDeque<(Zxid, Packet)>,
}

impl Tail {
    /// Behind a history that ends here. Nothing comes before the leader's epoch is known.
    pub(super) fn new(link: LinkId, last: Zxid, is_observer: bool) -> Self {
        Self {
            link,
            is_observer,
            epoch: Epoch(0),
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            committed: 0,
            held: None,
            last,
            has_come: false,
            to_ack: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// The leader has said which epoch it opens.
    pub(super) const fn begin(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// Whether a leader of this epoch can have it: this server could not start with later history
    /// than the epochs on its disk allow.
    pub(super) fn check_epoch(&self, zxid: Zxid) -> Result<(), PeerFault> {
        if zxid.epoch() > self.epoch {
            return Err(PeerFault::LaterEpoch { epoch: self.epoch, zxid });
        }
        Ok(())
    }

    /// After a snapshot or a cut that was asked for.
    pub(super) fn rebuilt(&mut self, last: Zxid) {
        (self.last, self.held) = (last, Some(last));
    }

    /// Takes what a leader sends in every state from the first difference on.
    pub(super) fn on_packet(
        &mut self,
        packet: Packet,
        state: &'static str,
        context: &mut Context<'_>,
    ) -> Result<(), PeerFault> {
        match packet {
            Packet::Proposal { zxid, record } => {
                self.propose(Proposal { zxid, record }, context)?;
            }
            Packet::Commit { zxid } => self.commit(zxid, context)?,
            Packet::Inform { zxid, record } => {
                self.propose(Proposal { zxid, record }, context)?;
                self.commit(zxid, context)?;
            }
            // A ping before NEWLEADER's ack must not be answered; a second UPTODATE says nothing.
            Packet::Ping { .. } | Packet::UpToDate | Packet::Unknown { .. } => {}
            Packet::Revalidated { .. } => self.answer_behind(self.last, packet, context),
            Packet::Sync => {
                self.answer_behind(context.history.last_committed(), packet, context);
            }
            Packet::Request(_)
            | Packet::Ack { .. }
            | Packet::Revalidate(_)
            | Packet::CommitAndActivate { .. }
            | Packet::InformAndActivate { .. }
            | Packet::NewLeader { .. }
            | Packet::FollowerInfo { .. }
            | Packet::ObserverInfo { .. }
            | Packet::Diff { .. }
            | Packet::Trunc { .. }
            | Packet::Snap { .. }
            | Packet::LeaderInfo { .. }
            | Packet::AckEpoch { .. } => return Err(PeerFault::Unexpected { state, packet }),
        }
        Ok(())
    }

    fn propose(&mut self, proposal: Proposal, context: &Context<'_>) -> Result<(), PeerFault> {
        let (last, next) = (self.last, proposal.zxid);
        self.check_epoch(next)?;
        if Some(next) <= self.held {
            return Ok(());
        }
        // COMPAT: Java 3.9 leaders propose a zxid twice after a request that cannot be decoded,
        // and commit it once (`PrepRequestProcessor`): the first is the one.
        if self.has_come && next == last {
            return Ok(());
        }
        let is_first = next.epoch() > last.epoch() && next.counter() == 1;
        let follows = last.next() == Some(next)
            || is_first
            || (context.has(Mutation::TakeGaps) && next > last);
        if !follows {
            return Err(PeerFault::Gap { last, next });
        }
        if self.arrived.len() >= UNLOGGED_MAX {
            return Err(PeerFault::TooMuch { max: UNLOGGED_MAX });
        }
        (self.last, self.has_come) = (next, true);
        self.arrived_bytes += proposal.record.len();
        self.arrived.push_back(proposal);
        Ok(())
    }

    fn commit(&mut self, zxid: Zxid, context: &mut Context<'_>) -> Result<(), PeerFault> {
        if Some(zxid) <= self.held {
            return Ok(());
        }
        let logged = context.history.oldest_uncommitted();
        let arrived = || self.arrived.get(self.committed).map(|oldest| oldest.zxid);
        match logged.or_else(arrived) {
            Some(oldest) if oldest == zxid => {}
            Some(expected) => return Err(PeerFault::CommitOrder { expected, zxid }),
            // COMPAT: committed before; Java warns (`Follower.processPacket`).
            None if zxid <= self.last => return Ok(()),
            None => return Err(PeerFault::CommitOrder { expected: self.last, zxid }),
        }
        if logged.is_some() {
            context.history.commit();
            context.history.apply(context.out);
            self.answer(context);
        } else {
            self.committed += 1;
        }
        Ok(())
    }

    /// Logs what is committed: these are not acked, as a quorum has them.
    pub(super) fn append_committed(&mut self, context: &mut Context<'_>) {
        while self.committed > 0 {
            self.append(context);
        }
    }

    /// The same, and each is acked once it is durable.
    ///
    /// COMPAT: a Java leader times the acks of what it sends once it has the ack of the history
    /// (`LearnerHandler.SyncLimitCheck`), whether it is committed meanwhile or not.
    pub(super) fn append_committed_to_ack(&mut self, context: &mut Context<'_>) {
        while self.committed > 0 {
            self.append_to_ack(context);
        }
    }

    /// Logs everything; each is acked once it is durable.
    pub(super) fn append_all(&mut self, context: &mut Context<'_>) {
        while !self.arrived.is_empty() {
            self.append_to_ack(context);
        }
    }

    fn append_to_ack(&mut self, context: &mut Context<'_>) {
        let Some(zxid) = self.append(context).filter(|_| !self.is_observer) else { return };
        if context.has(Mutation::AckUnflushed) {
            context.send(self.link, Packet::Ack { zxid });
        } else {
            self.to_ack.push_back(zxid);
        }
    }

    /// Whether so much came and is not logged that no more is to be taken while it cannot be.
    pub(super) fn is_full(&self) -> bool {
        self.arrived.len() >= UNFLUSHED_MAX || self.arrived_bytes >= UNFLUSHED_BYTES_MAX
    }

    fn append(&mut self, context: &mut Context<'_>) -> Option<Zxid> {
        let proposal = self.arrived.pop_front()?;
        self.arrived_bytes -= proposal.record.len();
        let zxid = proposal.zxid;
        context.history.append(proposal, context.out);
        if self.committed > 0 {
            self.committed -= 1;
            context.history.commit();
            context.history.apply(context.out);
        }
        Some(zxid)
    }

    /// The only place where a proposal is acked, so no ack can overtake the disk.
    ///
    /// COMPAT: one ACK for each; a Java leader counts them singly (`Leader.processAck`).
    pub(super) fn on_durable(&mut self, upto: Zxid, context: &mut Context<'_>) {
        while let Some(zxid) = self.to_ack.pop_front_if(|zxid| *zxid <= upto) {
            context.send(self.link, Packet::Ack { zxid });
        }
    }

    fn answer_behind(&mut self, txn: Zxid, packet: Packet, context: &mut Context<'_>) {
        self.answers.push_back((txn, packet));
        self.answer(context);
    }

    /// A `sync` shows what was committed before it. A session that has come here may have been
    /// proposed for elsewhere, by numbers that its client begins anew with: what was is applied
    /// before the session is its client's here, or it would be taken for what that asks for next.
    pub(super) fn answer(&mut self, context: &mut Context<'_>) {
        let applied = context.history.last_applied();
        while let Some((_, packet)) = self.answers.pop_front_if(|(behind, _)| *behind <= applied) {
            context.out.push(Output::Pass { link: self.link, packet });
        }
    }
}
