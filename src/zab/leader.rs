//! LEADING: open an epoch, bring learners up to date, and broadcast.
//!
//! Each learner's link goes its way through [`link::Stage`]; the leader goes on as soon as a quorum
//! of them has come far enough, and no link ever waits for another one that is slow or silent.
//!
//! INVARIANT: a link is told of proposals from the step on in which its sync is decided, so that
//! nothing falls between; nothing but the sync leaves on it before `NEWLEADER`; `UPTODATE` follows
//! a quorum of acks of `NEWLEADER`.
//! Source: `Leader`, `LearnerHandler`.

mod broadcast;
mod discovery;
mod joining;
mod link;
mod sync;
mod syncing;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

pub use link::Membership;

use super::config::Mutation;
use super::context::Context;
use super::life::LearnerStatus;
use super::quorum::AckSet;
use super::{EpochRecord, LinkId, Output, PeerFault, Proposal, Why};
use crate::ids::{Epoch, ServerId, Zxid};
use crate::limits::LEARNERS_MAX;
use crate::wire::quorum::Packet;
use broadcast::{Broadcast, Links};
use discovery::Discovery;
use link::{Link, Stage, Unacked};

/// One term of this server as leader.
#[derive(Debug)]
pub(super) struct Leader {
    /// From before it led: what no learner may be ahead of.
    own: (Epoch, Zxid),
    discovery: Discovery,
    links: Links,
    /// Who has acked `NEWLEADER`.
    acked: AckSet,
    /// In which epoch it serves.
    established: Option<Epoch>,
    broadcast: Broadcast,
    watch: watch::Watch,
    /// What this server's own disk is timed by.
    unflushed: Unacked,
    /// Voters that look for a leader although this one was elected.
    looking: BTreeSet<ServerId>,
    /// For learners without an id.
    next_nameless: i64,
    /// A standalone server: it has no learners, and opens epochs by itself.
    is_alone: bool,
}

impl Leader {
    /// This server was elected; all of its log is applied, and is its history.
    pub(super) fn new(context: &mut Context<'_>) -> Self {
        context.out.push(Output::Listen);
        let discovery = Discovery::new(context);
        Self::with(discovery, context)
    }

    /// A standalone server: it leads nobody, in the epoch of its log.
    pub(super) fn alone(context: &mut Context<'_>) -> Self {
        let epoch = context.history.last_logged().epoch();
        let discovery = Discovery::opened(epoch, context);
        context.serve(epoch, true);
        Self { established: Some(epoch), is_alone: true, ..Self::with(discovery, context) }
    }

    fn with(discovery: Discovery, context: &Context<'_>) -> Self {
        let last = context.history.last_logged();
        Self {
            own: (context.history.current(), last),
            discovery,
            links: BTreeMap::new(),
            acked: AckSet::default(),
            established: None,
            broadcast: Broadcast::new(last),
            watch: watch::Watch::new(context),
            unflushed: Unacked::default(),
            looking: BTreeSet::new(),
            next_nameless: -1,
            is_alone: false,
        }
    }

    /// The zxid of the next proposal; `None` before it is established, and at the counter's end.
    pub(super) fn next_zxid(&self, config: &super::Config) -> Option<Zxid> {
        self.established?;
        let last = self.broadcast.last_proposed();
        if last.counter() < config.counter_max || (self.is_alone && last.next().is_some()) {
            return last.next();
        }
        let Epoch(epoch) = last.epoch();
        let is_opening = self.is_alone || config.mutations.has(Mutation::WrapCounter);
        is_opening.then(|| Zxid::new(Epoch(epoch.saturating_add(1)), 1))
    }

    pub(super) const fn last_proposed(&self) -> Zxid {
        self.broadcast.last_proposed()
    }

    pub(super) const fn established(&self) -> Option<Epoch> {
        self.established
    }

    pub(super) fn pending_syncs(&self) -> usize {
        self.broadcast.pending_syncs()
    }

    /// The learners that have introduced themselves.
    pub(super) fn learners(&self) -> impl Iterator<Item = LearnerStatus> {
        self.links.iter().filter_map(|(id, link)| {
            let is_synced = matches!(link.stage, Stage::Acked | Stage::Broadcast);
            let (link, server, membership) = (*id, link.server?, link.membership);
            Some(LearnerStatus { link, server, membership, is_synced })
        })
    }

    pub(super) fn propose(&mut self, proposal: &Proposal, context: &mut Context<'_>) {
        let next = self.next_zxid(context.config);
        assert_eq!(Some(proposal.zxid), next, "zxids leave no gap");
        self.unflushed.on_proposed(proposal.zxid, context.now);
        self.broadcast.propose(proposal, &mut self.links, context);
    }

    /// # Errors
    /// The term ends: the last zxid of the epoch is committed.
    pub(super) fn on_durable(&mut self, upto: Zxid, context: &mut Context<'_>) -> Result<(), Why> {
        self.unflushed.on_ack(upto);
        self.broadcast.on_durable(upto, &mut self.links, context);
        self.check_counter(context)
    }

    pub(super) fn on_persisted(&mut self, what: EpochRecord, context: &mut Context<'_>) {
        self.discovery.on_persisted(what, context);
        self.advance(context);
    }

    pub(super) fn on_link_up(&mut self, id: LinkId, context: &mut Context<'_>) {
        if self.links.len() >= LEARNERS_MAX {
            return context.close(id, Why::Crowd);
        }
        self.links.insert(id, Link::new(context));
    }

    /// What a learner has promised or acked it has on its disk.
    pub(super) fn on_link_down(&mut self, id: LinkId, context: &mut Context<'_>) {
        let link = self.links.remove(&id);
        if link.is_some_and(|link| matches!(link.stage, Stage::Reading(_))) {
            context.history.release();
        }
        self.broadcast.forget(id);
    }

    fn close(&mut self, id: LinkId, why: Why, context: &mut Context<'_>) {
        self.on_link_down(id, context);
        context.close(id, why);
    }

    /// The term is over.
    pub(super) fn end(&mut self, context: &mut Context<'_>) {
        for id in std::mem::take(&mut self.links).into_keys() {
            context.close(id, Why::NotLeading);
        }
        context.out.push(Output::Unlisten);
    }

    pub(super) fn on_snapshot_moved(&mut self, id: LinkId, context: &mut Context<'_>) {
        if let Some(link) = self.links.get_mut(&id) {
            link.heard(context);
        }
    }

    /// It is a learner's `sync`'s turn.
    pub(super) fn on_sync(&mut self, id: LinkId, context: &mut Context<'_>) {
        if self.links.get(&id).is_some_and(|link| link.stage == Stage::Broadcast) {
            self.broadcast.on_sync(id, context);
        }
    }

    /// Something the sessions say.
    pub(super) fn say(&mut self, id: LinkId, packet: Packet, context: &mut Context<'_>) {
        if self.links.get(&id).is_none_or(|link| link.stage != Stage::Broadcast) {
            return;
        }
        if matches!(packet, Packet::Revalidated { .. }) {
            self.broadcast.on_revalidated(id, packet, context);
        } else {
            context.send(id, packet);
        }
    }

    /// A packet; what has no place closes its link and nothing else.
    ///
    /// # Errors
    /// The term ends: the last zxid of the epoch is committed.
    pub(super) fn on_packet(
        &mut self,
        id: LinkId,
        packet: Packet,
        context: &mut Context<'_>,
    ) -> Result<(), Why> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        link.heard(context);
        let taken = match link.stage {
            Stage::Connected => self.on_introduction(id, packet, context),
            Stage::Informed => self.on_ack_epoch(id, packet, context),
            Stage::Syncing => self.on_history_ack(id, packet, context),
            Stage::Broadcast => self.on_broadcast(id, packet, context),
            Stage::Acked if matches!(packet, Packet::Ping { .. } | Packet::Ack { .. }) => Ok(()),
            stage @ (Stage::Introduced | Stage::Promised(_) | Stage::Reading(_) | Stage::Acked) => {
                Err(unexpected(stage, packet))
            }
        };
        if let Err(why) = taken {
            self.close(id, why, context);
        }
        self.check_counter(context)
    }

    fn on_broadcast(
        &mut self,
        id: LinkId,
        packet: Packet,
        context: &mut Context<'_>,
    ) -> Result<(), Why> {
        match packet {
            Packet::Ack { zxid } => {
                let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
                link.on_ack(zxid);
                if let Some(server) = link.server.filter(|_| zxid.counter() != 0) {
                    self.broadcast.on_ack(server, zxid, &mut self.links, context);
                }
            }
            Packet::Request(_) | Packet::Revalidate(_) | Packet::Ping { .. } => {
                context.out.push(Output::Pass { link: id, packet });
            }
            // COMPAT: a kind that nobody has defined yet (`LearnerHandler.run`).
            Packet::Unknown { .. } => {}
            Packet::Proposal { .. }
            | Packet::Commit { .. }
            | Packet::Revalidated { .. }
            | Packet::Sync
            | Packet::Inform { .. }
            | Packet::CommitAndActivate { .. }
            | Packet::NewLeader { .. }
            | Packet::FollowerInfo { .. }
            | Packet::ObserverInfo { .. }
            | Packet::UpToDate
            | Packet::Diff { .. }
            | Packet::Trunc { .. }
            | Packet::Snap { .. }
            | Packet::LeaderInfo { .. }
            | Packet::AckEpoch { .. }
            | Packet::InformAndActivate { .. } => return Err(unexpected(Stage::Broadcast, packet)),
        }
        Ok(())
    }

    /// Nothing is lost: the term ends once all of it is committed.
    fn check_counter(&self, context: &Context<'_>) -> Result<(), Why> {
        let is_spent = self.established.is_some() && self.next_zxid(context.config).is_none();
        if is_spent && self.broadcast.is_at_rest() && context.history.unapplied() == 0 {
            return Err(Why::SpentCounter(self.broadcast.last_proposed()));
        }
        Ok(())
    }
}

fn unexpected(stage: Stage, packet: Packet) -> Why {
    Why::Fault(PeerFault::Unexpected { state: stage.name(), packet })
}
