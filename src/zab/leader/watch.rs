//! A leader's time: pings, learners that are silent or slow, the quorum that has to be there.
//! Source: `Leader.lead`, `LearnerHandler.ping`.

use super::link::{Link, Stage};
use super::{Leader, LinkId};
use crate::ids::{Millis, ServerId};
use crate::limits::FORSAKEN_AFTER_MS;
use crate::wire::quorum::Packet;
use crate::zab::Why;
use crate::zab::config::Mutation;
use crate::zab::context::Context;

/// When to look next.
#[derive(Debug)]
pub(super) struct Watch {
    /// Twice in each tick.
    ping_at: Millis,
    /// The quorum is counted with every other ping.
    counts: bool,
    /// From when on a voter that looks does so although it has heard of this leader.
    forsaken_from: Millis,
}

impl Watch {
    pub(super) fn new(context: &Context<'_>) -> Self {
        Self {
            ping_at: context.after(context.config.timing.ping_ms()),
            counts: false,
            forsaken_from: context.after(FORSAKEN_AFTER_MS),
        }
    }
}

impl Leader {
    /// When [`Self::on_time`] has something to do.
    pub(in crate::zab) fn deadline(&self) -> Option<Millis> {
        (!self.is_alone).then_some(self.watch.ping_at)
    }

    /// Time has passed.
    ///
    /// # Errors
    /// The term ends: the quorum is not there, or this server's own disk.
    pub(in crate::zab) fn on_time(&mut self, context: &mut Context<'_>) -> Result<(), Why> {
        if self.is_alone || context.now < self.watch.ping_at {
            return Ok(());
        }
        self.watch.ping_at = context.after(context.config.timing.ping_ms());
        self.watch.counts = !self.watch.counts;
        self.close_silent(context);
        self.ping(context);
        if self.established.is_none() {
            return self.check_patience(context);
        }
        if self.watch.counts && !self.has_quorum(context) && !context.has(Mutation::NeverStepDown) {
            return Err(Why::QuorumLost);
        }
        self.check_disk(context)
    }

    /// A leader whose own disk does not answer lets its learners commit for a while, but applies
    /// nothing, and so serves nobody; if others can do without it, they should.
    ///
    /// COMPAT: Java leads on, and keeps in memory what it cannot log.
    fn check_disk(&self, context: &Context<'_>) -> Result<(), Why> {
        let limit_ms = context.config.timing.sync_ms();
        let since = Millis(context.now.0.saturating_sub(limit_ms));
        match self.unflushed.since(since) {
            Some(zxid) if context.config.quorum.is_met_by(self.counted(context)) => {
                Err(Why::DiskSilent { zxid, limit_ms })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A voter looks for a leader. This one does not wait for voters that will not come.
    ///
    /// COMPAT: Java waits for `initLimit`, or with `leader.maxTimeToWaitForEpoch` less
    /// (ZOOKEEPER-3109).
    ///
    /// # Errors
    /// The term ends: those who do not look are no quorum.
    pub(in crate::zab) fn on_looking(
        &mut self,
        from: ServerId,
        is_connected: impl Fn(ServerId) -> bool,
        context: &Context<'_>,
    ) -> Result<(), Why> {
        let is_here = |voter| self.links.values().any(|link| link.server == Some(voter));
        let is_early = context.now < self.watch.forsaken_from;
        if is_here(from) || is_early || !self.discovery.is_gathering() {
            return Ok(());
        }
        self.looking.insert(from);
        let (quorum, me) = (&context.config.quorum, context.config.me);
        // One that voted was connected; if it is not any more, it does not follow either.
        let may_come = |voter| is_connected(voter) && !self.looking.contains(&voter);
        let is_loyal = |voter: &ServerId| *voter == me || is_here(*voter) || may_come(*voter);
        let loyal = quorum.voters().into_iter().filter(is_loyal);
        if quorum.is_met_by(loyal) { Ok(()) } else { Err(Why::Forsaken) }
    }

    fn close_silent(&mut self, context: &mut Context<'_>) {
        let timing = context.config.timing;
        let limit_ms = |link: &Link| {
            if link.stage == Stage::Broadcast { timing.sync_ms() } else { timing.init_ms() }
        };
        let sent_before = Millis(context.now.0.saturating_sub(timing.sync_ms()));
        let late: Vec<(LinkId, Why)> = self
            .links
            .iter()
            .filter_map(|(id, link)| {
                if link.silent_at.is_some_and(|at| at <= context.now) {
                    return Some((*id, Why::Silent { limit_ms: limit_ms(link) }));
                }
                let zxid = link.unacked_since(sent_before)?;
                Some((*id, Why::Unacked { zxid, limit_ms: timing.sync_ms() }))
            })
            .collect();
        for (id, why) in late {
            self.close(id, why, context);
        }
    }

    /// Not before `NEWLEADER`: a Java learner that gets a ping in place of its sync exits.
    fn ping(&self, context: &mut Context<'_>) {
        let zxid = self.last_proposed();
        for (id, _) in self.links.iter().filter(|(_, link)| link.stage.is_forwarding()) {
            context.send(*id, Packet::Ping { zxid, touches: None });
        }
    }

    /// Each phase before it is established has its time.
    fn check_patience(&self, context: &Context<'_>) -> Result<(), Why> {
        let limit_ms = context.config.timing.init_ms();
        match self.discovery.awaited() {
            Some((since, phase)) if since.0.saturating_add(limit_ms) <= context.now.0 => {
                Err(Why::NoQuorum { phase, limit_ms })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn has_quorum(&self, context: &Context<'_>) -> bool {
        context.config.quorum.is_met_by(self.counted(context).chain([context.config.me]))
    }

    /// Learners that are heard of.
    fn counted(&self, context: &Context<'_>) -> impl Iterator<Item = ServerId> {
        let now = context.now;
        let counted = self.links.values().filter(move |link| link.counted_until > now);
        counted.filter_map(|link| link.server)
    }
}
