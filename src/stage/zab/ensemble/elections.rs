//! Elections: votes on their way out, and what an operator reads of them.
//!
//! COMPAT: the words are those of Java's log, for whoever greps for them.

use super::state_name;
use crate::ids::ServerId;
use crate::metrics::{Basic, Counter};
use crate::stage::zab::ZabStage;
use crate::wire::election::{Notification, PeerState};
use crate::zab::election::{Ballot, Output as Election};

fn shout(state: PeerState) -> String {
    state_name(state).to_uppercase()
}

impl ZabStage {
    pub(in crate::stage::zab) fn carry_out_election(&mut self, output: Election) {
        let Some(member) = &mut self.member else { return };
        match output {
            Election::Send { to, ballot } => {
                let config = Some((&*member.text).into());
                let Ballot { state, vote, version } = ballot;
                let notification = Notification { state, vote, version, config };
                member.peers.notify(to, &notification, &mut self.parts.reactor);
            }
            Election::Dial(to) => member.peers.dial_election(to),
            Election::TimedOut { interval_ms } => {
                tracing::info!("Notification time out: {interval_ms} ms");
            }
            Election::UnknownLeader { from, leader } => {
                tracing::warn!(
                    "server {from} follows {leader}, which is no member here: compare the server.N \
                     lines of both configurations"
                );
            }
            Election::Decided { state, .. } => {
                let took = member.looking_since.take().map_or(0, |since| self.now.0 - since.0);
                let took = u64::try_from(took).unwrap_or(0);
                self.recorder.record(Basic::ElectionTime, took);
                member.decided_at = self.now;
                tracing::info!("{}", shout(state));
                for line in std::mem::take(&mut member.environment) {
                    tracing::info!("{line}");
                }
                tracing::info!("{}", member.introduction);
                tracing::info!("{} - LEADER ELECTION TOOK - {took} MS", shout(state));
                member.decided = state;
                self.leave_role(); // readers have somewhere else to go
            }
        }
    }

    /// Says so when a new election has begun.
    pub(super) fn notice_state(&mut self) {
        let state = self.zab.state();
        let Some(member) = &mut self.member else { return };
        // Others are told where to vote before it is said that this server looks.
        if state != PeerState::Looking || member.looking_since.is_some() || !member.is_open {
            return;
        }
        member.looking_since = Some(self.now);
        member.unavailable_since.get_or_insert(self.now);
        self.recorder.add(Counter::LookingCount, 1);
        let Some(vote) = self.zab.vote() else { return };
        tracing::info!("LOOKING");
        tracing::info!("New election. My id = {}, proposed zxid={}", member.me, vote.zxid);
        let (me, version) = (member.me, Notification::VERSION);
        let config = Some(format!("version={:x}", member.version).into());
        self.log_notification(me, &Notification { state, vote, version, config });
    }

    pub(super) fn log_notification(&self, from: ServerId, notification: &Notification<'_>) {
        let Notification { state, vote, version, config } = notification;
        let text = config.as_deref().unwrap_or_default();
        let config = text.rsplit("version=").next().filter(|_| text.contains("version="));
        tracing::info!(
            "Notification: my state:{}; n.sid:{from}, n.state:{}, n.leader:{}, n.round:{}, \
             n.peerEpoch:{:#x}, n.zxid:{}, message format version:{version:#x}, \
             n.config version:0x{}",
            shout(self.zab.state()),
            shout(*state),
            vote.leader,
            vote.round,
            vote.epoch.0,
            vote.zxid,
            config.unwrap_or("0"),
        );
    }
}
