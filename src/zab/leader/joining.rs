//! How a learner joins: it introduces itself, promises the epoch, is synced, and acks that; and
//! what becomes possible when enough of them have.
//! Source: `LearnerHandler.run`, `Leader.waitForEpochAck`, `waitForNewLeaderAck`.

use super::broadcast::Broadcast;
use super::link::{Link, Membership, Stage};
use super::{Leader, LinkId, unexpected};
use crate::ids::{Epoch, ServerId, Zxid};
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, Packet};
use crate::zab::config::Mutation;
use crate::zab::context::Context;
use crate::zab::election::UNINITIALIZED;
use crate::zab::{PeerFault, Refusal, Why};

impl Leader {
    /// `FOLLOWERINFO` or `OBSERVERINFO`.
    pub(super) fn on_introduction(
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
        check(accepted, info, context).map_err(Why::Refused)?;
        let server = info.server.unwrap_or_else(|| self.name());
        self.replace(server, context)?;
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

    /// A learner that has come anew has left its old link, whether that is known yet or not; but
    /// one that answers pings on it has not, and another server has its id.
    fn replace(&mut self, server: ServerId, context: &mut Context<'_>) -> Result<(), Why> {
        let old = self.links.iter().find(|(_, link)| link.server == Some(server));
        let Some((id, link)) = old else { return Ok(()) };
        if link.is_lively(context) {
            return Err(Why::Refused(Refusal::Taken(server)));
        }
        self.close(*id, Why::Replaced(server), context);
        Ok(())
    }

    /// `ACKEPOCH`.
    pub(super) fn on_ack_epoch(
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
        let promises = current.is_some() && last_logged != UNINITIALIZED;
        if let Some(server) = link.server
            && (promises || context.has(Mutation::CountOldPromise))
        {
            self.discovery.on_promise(counted(server, context), context);
        }
        self.advance(context);
        Ok(())
    }

    /// The ack of `NEWLEADER`, which alone ends the waiting for it.
    ///
    /// COMPAT: a Java 3.8 follower logs what it was sent before `NEWLEADER` on another thread, and
    /// acks each: those acks may come first (ZOOKEEPER-4685). Java does not count what comes first
    /// (`Leader.waitForNewLeaderAck`); here it counts once the history is acked, or a proposal
    /// that needs this learner's ack, which comes once, would never be committed.
    pub(super) fn on_history_ack(
        &mut self,
        id: LinkId,
        packet: Packet,
        context: &mut Context<'_>,
    ) -> Result<(), Why> {
        let Packet::Ack { zxid } = packet else {
            return Err(unexpected(Stage::Syncing, packet));
        };
        let epoch = self.discovery.open().expect("nobody is synced before it is open");
        if zxid.epoch() > epoch {
            return Err(Why::Fault(PeerFault::OtherEpoch(zxid)));
        }
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        if zxid != Zxid::new(epoch, 0) {
            if zxid.epoch() == epoch && zxid <= self.broadcast.last_proposed() {
                link.on_early_ack(zxid);
            }
            return Ok(());
        }
        link.enter(Stage::Acked, context);
        let (server, early) = (link.server, link.take_early_acks());
        if let Some(server) = server {
            context.config.quorum.ack(&mut self.acked, counted(server, context));
        }
        self.advance(context);
        for zxid in early {
            if let Some(server) = server {
                self.broadcast.on_ack(server, zxid, &mut self.links, context);
            }
        }
        Ok(())
    }

    /// Whatever has become possible: the epoch told, learners synced, the leader established.
    pub(super) fn advance(&mut self, context: &mut Context<'_>) {
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
}

/// The last epoch that has another after it in 32 bits; a real one is far from it.
const EPOCH_MAX: Epoch = Epoch(i32::MAX as i64 - 1);

fn check(accepted: Epoch, info: LearnerInfo, context: &Context<'_>) -> Result<(), Refusal> {
    let protocol = info.protocol.unwrap_or(0);
    if protocol < PROTOCOL_VERSION {
        return Err(Refusal::Protocol(protocol));
    }
    if let Some(version) = info.config_version.filter(|it| *it > context.config.version) {
        return Err(Refusal::ConfigAhead(version));
    }
    if accepted < Epoch(-1) || accepted > EPOCH_MAX {
        return Err(Refusal::Epoch(accepted));
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
