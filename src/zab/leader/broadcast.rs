//! What an established leader does: propose, count acks, commit in order.
//!
//! INVARIANT: a commit follows a quorum of acks, in zxid order; this server's own ack comes from
//! its log alone. Others may be told of a commit before this server's disk has it, as a quorum of
//! theirs has; its own tree waits for its own disk.

use std::collections::{BTreeMap, VecDeque};

use super::link::{Link, Membership};
use crate::ids::{ServerId, Zxid};
use crate::wire::quorum::Packet;
use crate::zab::config::Mutation;
use crate::zab::context::Context;
use crate::zab::quorum::AckSet;
use crate::zab::{LinkId, Output, Proposal};

/// See the module.
#[derive(Debug)]
pub(super) struct Broadcast {
    /// Acks of what is proposed and not committed, in zxid order.
    outstanding: VecDeque<(Zxid, AckSet)>,
    /// How many of them this server's own disk has acked.
    acked_here: usize,
    last_proposed: Zxid,
    last_committed: Zxid,
    /// Answers that wait for what was proposed before they were asked for, oldest first.
    answers: VecDeque<(Zxid, LinkId, Packet)>,
}

/// Learners by their connection.
pub(super) type Links = BTreeMap<LinkId, Link>;

impl Broadcast {
    /// After a history that ends here.
    pub(super) const fn new(last: Zxid) -> Self {
        Self {
            outstanding: VecDeque::new(),
            acked_here: 0,
            last_proposed: last,
            last_committed: last,
            answers: VecDeque::new(),
        }
    }

    pub(super) const fn last_proposed(&self) -> Zxid {
        self.last_proposed
    }

    /// Whether everything that was proposed is committed.
    pub(super) fn is_at_rest(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// How many learners wait for the answer to a `sync`.
    pub(super) fn pending_syncs(&self) -> usize {
        self.answers.iter().filter(|(_, _, packet)| *packet == Packet::Sync).count()
    }

    pub(super) fn propose(
        &mut self,
        proposal: &Proposal,
        links: &mut Links,
        context: &mut Context<'_>,
    ) {
        self.last_proposed = proposal.zxid;
        self.outstanding.push_back((proposal.zxid, AckSet::default()));
        context.history.append(proposal.clone(), context.out);
        for (id, link) in links.iter_mut().filter(|(_, link)| link.stage.is_forwarding()) {
            if link.membership == Membership::Participant {
                link.on_proposed(proposal.zxid, context.now);
                context.send(*id, proposed(proposal));
            }
        }
        if context.has(Mutation::LeaderAcksUnflushed) {
            self.ack_here(self.last_proposed, context);
            self.commit_acked(links, context);
        }
    }

    /// A learner's ack of one proposal.
    ///
    /// COMPAT: acks of an epoch's start, of what is committed, and of what was never proposed
    /// say nothing (`Leader.processAck`).
    pub(super) fn on_ack(
        &mut self,
        from: ServerId,
        zxid: Zxid,
        links: &mut Links,
        context: &mut Context<'_>,
    ) {
        let Some((first, _)) = self.outstanding.front() else { return };
        // Zxids leave no gap, so the distance to the first is the place.
        let Ok(place) = usize::try_from(zxid.0.wrapping_sub(first.0)) else { return };
        let Some((_, acks)) = self.outstanding.get_mut(place).filter(|(it, _)| *it == zxid) else {
            return;
        };
        context.config.quorum.ack(acks, from);
        self.commit_acked(links, context);
    }

    /// A learner comes back: what it had acked and is not committed it is told to cut off, or to
    /// replace by a snapshot, and acks again once it has it again.
    ///
    /// Java counts the acks from before the cut (`Leader.Proposal.ackSetTracker`), and commits what
    /// may be on the disks of a minority.
    pub(super) fn withdraw_acks(&mut self, of: ServerId, context: &Context<'_>) {
        if context.has(Mutation::KeepAcksOfCut) {
            return;
        }
        for (_, acks) in &mut self.outstanding {
            context.config.quorum.withdraw(acks, of);
        }
    }

    /// The only place where this server acks its own proposals, so no ack can overtake the disk.
    pub(super) fn on_durable(&mut self, upto: Zxid, links: &mut Links, context: &mut Context<'_>) {
        context.history.flushed(upto);
        self.ack_here(upto, context);
        self.commit_acked(links, context);
        context.history.apply(context.out);
    }

    fn ack_here(&mut self, upto: Zxid, context: &Context<'_>) {
        while let Some((zxid, acks)) = self.outstanding.get_mut(self.acked_here)
            && *zxid <= upto
        {
            context.config.quorum.ack(acks, context.config.me);
            self.acked_here += 1;
        }
    }

    fn commit_acked(&mut self, links: &Links, context: &mut Context<'_>) {
        while self.outstanding.front().is_some_and(|(_, acks)| is_enough(*acks, context)) {
            self.outstanding.pop_front();
            self.acked_here = self.acked_here.saturating_sub(1);
            let Context { history, out, .. } = context;
            let proposal = history.commit();
            self.last_committed = proposal.zxid;
            for (id, link) in links.iter().filter(|(_, link)| link.stage.is_forwarding()) {
                let packet = match link.membership {
                    Membership::Participant => Packet::Commit { zxid: proposal.zxid },
                    Membership::Observer => informed(proposal),
                };
                out.push(Output::Send(*id, packet));
            }
            history.apply(out);
            self.answer(context);
        }
    }

    /// A learner's `sync`: answered once what is proposed by now is committed.
    pub(super) fn on_sync(&mut self, from: LinkId, context: &mut Context<'_>) {
        let is_hasty = context.has(Mutation::SyncAtOnce);
        let upto = if is_hasty { self.last_committed } else { self.last_proposed };
        self.answers.push_back((upto, from, Packet::Sync));
        self.answer(context);
    }

    /// A session is another learner's from now on: it is told once what is proposed by now is
    /// committed, behind that.
    ///
    /// A client may begin to count anew there. An observer, which sees no proposals, would take an
    /// `INFORM` of what the client had asked for elsewhere for what it asks for next.
    pub(super) fn on_revalidated(&mut self, to: LinkId, packet: Packet, context: &mut Context<'_>) {
        self.answers.push_back((self.last_proposed, to, packet));
        self.answer(context);
    }

    /// Nobody waits there any more.
    pub(super) fn forget(&mut self, link: LinkId) {
        self.answers.retain(|(_, to, _)| *to != link);
    }

    fn answer(&mut self, context: &mut Context<'_>) {
        let last_committed = self.last_committed;
        while let Some((_, to, packet)) =
            self.answers.pop_front_if(|(upto, ..)| *upto <= last_committed)
        {
            context.send(to, packet);
        }
    }
}

fn is_enough(acks: AckSet, context: &Context<'_>) -> bool {
    let is_hasty = context.has(Mutation::CommitWithoutQuorum) && acks != AckSet::default();
    context.config.quorum.is_met(acks) || is_hasty
}

pub(super) fn proposed(Proposal { zxid, record }: &Proposal) -> Packet {
    Packet::Proposal { zxid: *zxid, record: record.clone() }
}

fn informed(Proposal { zxid, record }: &Proposal) -> Packet {
    Packet::Inform { zxid: *zxid, record: record.clone() }
}
