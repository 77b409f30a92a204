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
use super::{EpochRecord, LinkId, Output, PeerFault, Proposal, Refusal, Why};
use crate::ids::{Epoch, ServerId, Zxid};
use crate::limits::LEARNERS_MAX;
use crate::wire::OpCode;
use crate::wire::quorum::{Forwarded, LearnerInfo, PROTOCOL_VERSION, Packet};
use broadcast::{Broadcast, Links};
use discovery::Discovery;
use link::{Link, Stage};

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
        self.broadcast.propose(proposal, &mut self.links, context);
    }

    /// # Errors
    /// The term ends: the last zxid of the epoch is committed.
    pub(super) fn on_durable(&mut self, upto: Zxid, context: &mut Context<'_>) -> Result<(), Why> {
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

    /// Something the sessions say.
    pub(super) fn say(&self, id: LinkId, packet: Packet, context: &mut Context<'_>) {
        if self.links.get(&id).is_some_and(|link| link.stage == Stage::Broadcast) {
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

    /// `FOLLOWERINFO` or `OBSERVERINFO`.
    fn on_introduction(
        &mut self,
        id: LinkId,
        packet: Packet,
        context: &mut Context<'_>,
    ) -> Result<(), Why> {
        let (accepted, info, membership) = if let Packet::FollowerInfo { accepted, info } = packet {
            (accepted, info, Membership::Participant)
        } else if let Packet::ObserverInfo { accepted, info } = packet {
            (accepted, info, Membership::Observer)
        } else {
            return Err(unexpected(Stage::Connected, packet));
        };
        check(info, context).map_err(Why::Refused)?;
        let server = info.server.unwrap_or_else(|| self.name());
        self.replace(server, context);
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        link.server = Some(server);
        link.membership = membership;
        link.enter(Stage::Introduced, context);
        self.looking.remove(&server);
        self.discovery.on_report(counted(server, context), accepted, context);
        self.advance(context);
        Ok(())
    }

    /// COMPAT: a learner without an id gets one that no server has (`LearnerHandler.run`).
    const fn name(&mut self) -> ServerId {
        let name = ServerId(self.next_nameless);
        self.next_nameless -= 1;
        name
    }

    /// A learner that has come anew has left its old link, whether that is known yet or not.
    fn replace(&mut self, server: ServerId, context: &mut Context<'_>) {
        let old = self.links.iter().find(|(_, link)| link.server == Some(server));
        if let Some(old) = old.map(|(id, _)| *id) {
            self.close(old, Why::Replaced(server), context);
        }
    }

    /// `ACKEPOCH`.
    fn on_ack_epoch(
        &mut self,
        id: LinkId,
        packet: Packet,
        context: &mut Context<'_>,
    ) -> Result<(), Why> {
        let Packet::AckEpoch { last_logged, current } = packet else {
            return Err(unexpected(Stage::Informed, packet));
        };
        // Once a quorum has promised, what the leader lacks was never committed: it is cut off.
        let is_open = !self.discovery.is_promising() || context.has(Mutation::TakeLearnerAhead);
        let ahead = current.filter(|current| (*current, last_logged) > self.own);
        if let Some(epoch) = ahead.filter(|_| !is_open) {
            return Err(Why::Refused(Refusal::HistoryAhead { epoch, zxid: last_logged }));
        }
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        link.enter(Stage::Promised(last_logged), context);
        // One that accepted the epoch before, or has lost its data, promises nothing.
        let promises = current.is_some() && last_logged != super::election::UNINITIALIZED;
        if let Some(server) = link.server
            && (promises || context.has(Mutation::CountOldPromise))
        {
            self.discovery.on_promise(counted(server, context), context);
        }
        self.advance(context);
        Ok(())
    }

    /// The ack of `NEWLEADER`: the first packet after it, and no other.
    fn on_history_ack(
        &mut self,
        id: LinkId,
        packet: Packet,
        context: &mut Context<'_>,
    ) -> Result<(), Why> {
        let Packet::Ack { zxid } = packet else {
            return Err(unexpected(Stage::Syncing, packet));
        };
        let epoch = self.discovery.open().expect("nobody is synced before it is open");
        if zxid != Zxid::new(epoch, 0) {
            return Err(Why::Fault(PeerFault::OtherEpoch(zxid)));
        }
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        link.enter(Stage::Acked, context);
        if let Some(server) = link.server {
            context.config.quorum.ack(&mut self.acked, counted(server, context));
        }
        self.advance(context);
        Ok(())
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
            Packet::Request(Forwarded { op, .. }) if op == OpCode::Sync as i32 => {
                self.broadcast.on_sync(id, context);
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

    /// Whatever has become possible: the epoch told, learners synced, the leader established.
    fn advance(&mut self, context: &mut Context<'_>) {
        let Some(epoch) = self.discovery.told() else { return };
        for (id, link) in &mut self.links {
            if link.stage == Stage::Introduced {
                link.enter(Stage::Informed, context);
                context.send(*id, Packet::LeaderInfo { epoch, protocol: PROTOCOL_VERSION });
            }
        }
        if self.discovery.open().is_none() {
            return;
        }
        let promised = |link: &Link| matches!(link.stage, Stage::Promised(_));
        let due: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| promised(link)).map(|(id, _)| *id).collect();
        for id in due {
            self.sync(id, None, context);
        }
        self.establish(epoch, context);
    }

    /// Once a quorum has the leader's history, itself included, it serves, and whoever has it too.
    fn establish(&mut self, epoch: Epoch, context: &mut Context<'_>) {
        let quorum = &context.config.quorum;
        quorum.ack(&mut self.acked, context.config.me);
        if self.established.is_none() {
            if !quorum.is_met(self.acked) && !context.has(Mutation::ServeUnacked) {
                return;
            }
            self.established = Some(epoch);
            self.broadcast = Broadcast::new(Zxid::new(epoch, 0));
            context.serve(epoch, context.config.leader_serves);
        }
        for (id, link) in self.links.iter_mut().filter(|(_, link)| link.stage == Stage::Acked) {
            link.enter(Stage::Broadcast, context);
            context.send(*id, Packet::UpToDate);
        }
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

fn check(info: LearnerInfo, context: &Context<'_>) -> Result<(), Refusal> {
    let protocol = info.protocol.unwrap_or(0);
    if protocol < PROTOCOL_VERSION {
        return Err(Refusal::Protocol(protocol));
    }
    if let Some(version) = info.config_version.filter(|it| *it > context.config.version) {
        return Err(Refusal::ConfigAhead(version));
    }
    match info.server {
        Some(server) if server == context.config.me => Err(Refusal::MyId(server)),
        Some(_) | None => Ok(()),
    }
}

/// As whom a learner counts: as itself.
fn counted(server: ServerId, context: &Context<'_>) -> ServerId {
    let quorum = &context.config.quorum;
    if context.has(Mutation::CountObservers) && !quorum.is_voter(server) {
        let another = quorum.voters().into_iter().find(|voter| *voter != context.config.me);
        return another.unwrap_or(server);
    }
    server
}
