//! The end of a learner's history: proposed, logged, durable, committed, applied.

use std::collections::VecDeque;

use super::Output;
use crate::ids::Zxid;
use crate::wire::quorum::Packet;
use crate::zab::{PeerFault, Proposal};

/// What came from the leader and is not applied yet.
#[derive(Debug)]
pub(super) struct Tail {
    is_observer: bool,
    /// In zxid order: committed ones first, and of all of them the logged ones first.
    waiting: VecDeque<Proposal>,
    committed: usize,
    logged: usize,
    /// What a snapshot held: a fuzzy one is followed by what it holds already.
    held: Option<Zxid>,
    /// The last that came.
    last: Zxid,
    /// Whether anything came: the first may be of any epoch.
    has_come: bool,
    last_logged: Zxid,
    durable: Zxid,
    /// Logged, and to be acked one by one once durable.
    to_ack: VecDeque<Zxid>,
}

impl Tail {
    /// After a history that ends here, all of it durable and applied.
    pub(super) fn new(last: Zxid, is_observer: bool) -> Self {
        Self {
            is_observer,
            held: None,
            waiting: VecDeque::new(),
            committed: 0,
            logged: 0,
            last,
            has_come: false,
            last_logged: last,
            durable: last,
            to_ack: VecDeque::new(),
        }
    }

    /// After a snapshot or a cut that was asked for.
    pub(super) fn rebuilt(last: Zxid, is_observer: bool) -> Self {
        Self { held: Some(last), ..Self::new(last, is_observer) }
    }

    /// Takes what a leader sends in every state from the first difference on.
    pub(super) fn on_packet(
        &mut self,
        packet: Packet,
        state: &'static str,
        out: &mut Vec<Output>,
    ) -> Result<(), PeerFault> {
        match packet {
            Packet::Proposal { zxid, record } => self.propose(Proposal { zxid, record })?,
            Packet::Commit { zxid } => self.commit(zxid)?,
            Packet::Inform { zxid, record } => {
                self.propose(Proposal { zxid, record })?;
                self.commit(zxid)?;
            }
            // A ping before NEWLEADER's ack must not be answered; a second UPTODATE says nothing.
            Packet::Ping { .. } | Packet::UpToDate | Packet::Unknown { .. } => {}
            Packet::Revalidated { .. } | Packet::Sync => out.push(Output::Pass(packet)),
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
        self.apply(out);
        Ok(())
    }

    fn propose(&mut self, proposal: Proposal) -> Result<(), PeerFault> {
        let (last, next) = (self.last, proposal.zxid);
        if Some(next) <= self.held {
            return Ok(());
        }
        // COMPAT: Java 3.9 leaders propose a zxid twice after a request that cannot be decoded,
        // and commit it once (`PrepRequestProcessor`): the first is the one.
        if self.has_come && next == last {
            return Ok(());
        }
        let follows = last.next() == Some(next) || next.epoch() > last.epoch();
        if next <= last || (self.has_come && !follows) {
            return Err(PeerFault::Gap { last, next });
        }
        (self.last, self.has_come) = (next, true);
        self.waiting.push_back(proposal);
        Ok(())
    }

    fn commit(&mut self, zxid: Zxid) -> Result<(), PeerFault> {
        if Some(zxid) <= self.held {
            return Ok(());
        }
        match self.waiting.get(self.committed) {
            Some(oldest) if oldest.zxid == zxid => self.committed += 1,
            Some(oldest) => {
                return Err(PeerFault::CommitOrder { expected: oldest.zxid, zxid });
            }
            // COMPAT: committed before; Java warns (`Follower.processPacket`).
            None if zxid <= self.last => {}
            None => return Err(PeerFault::CommitOrder { expected: self.last, zxid }),
        }
        Ok(())
    }

    /// Logs what is committed: these are not acked, as a quorum has them.
    pub(super) fn append_committed(&mut self, out: &mut Vec<Output>) {
        while self.logged < self.committed {
            self.append(out);
        }
    }

    /// Logs everything; each is acked once it is durable.
    pub(super) fn append_all(&mut self, out: &mut Vec<Output>) {
        while self.logged < self.waiting.len() {
            let zxid = self.append(out);
            if !self.is_observer {
                self.to_ack.push_back(zxid);
            }
        }
    }

    fn append(&mut self, out: &mut Vec<Output>) -> Zxid {
        let proposal = self.waiting[self.logged].clone();
        assert!(proposal.zxid > self.last_logged, "the log is in zxid order");
        self.last_logged = proposal.zxid;
        self.logged += 1;
        out.push(Output::Append(proposal));
        self.last_logged
    }

    /// The only place where a proposal is acked, so no ack can overtake the disk.
    ///
    /// COMPAT: one ACK for each; a Java leader counts them singly (`Leader.processAck`).
    pub(super) fn on_durable(&mut self, upto: Zxid, out: &mut Vec<Output>) {
        assert!(upto <= self.last_logged, "the log holds only what it was given");
        self.durable = self.durable.max(upto);
        while let Some(zxid) = self.to_ack.pop_front_if(|zxid| *zxid <= upto) {
            out.push(Output::Send(Packet::Ack { zxid }));
        }
        self.apply(out);
    }

    /// Nobody is there to be told.
    pub(super) fn forget_acks(&mut self) {
        self.to_ack.clear();
    }

    /// Hands over what is both committed and durable.
    fn apply(&mut self, out: &mut Vec<Output>) {
        while self.committed > 0 && self.waiting.front().is_some_and(|it| it.zxid <= self.durable) {
            let Some(proposal) = self.waiting.pop_front() else { return };
            self.committed -= 1;
            self.logged -= 1;
            out.push(Output::Commit(proposal));
        }
    }

    /// Whether everything that was logged is durable.
    pub(super) fn is_flushed(&self) -> bool {
        self.durable == self.last_logged
    }

    /// What was logged and not handed over.
    pub(super) fn take_unapplied(&mut self) -> Vec<Proposal> {
        self.waiting.drain(..self.logged).collect()
    }
}
