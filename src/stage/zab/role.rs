//! What this server does at the moment, and how it passes from one role to the next.
//!
//! Sessions outlive a role, connections do not: when a role ends every client is cut off, and finds
//! its session again here or elsewhere.

use super::ZabStage;
use super::commit::Awaited;
use super::ensemble::forward::Forwarding;
use super::ensemble::learners::LearnerAsks;
use super::ensemble::{Member, state_name};
use super::intake::Next;
use crate::ids::{Epoch, Millis, Zxid};
use crate::metrics::Basic;
use crate::request::prepare::Preparer;
use crate::stage::control::{LeaderFacts, Place, Standing};
use crate::stage::message::Entry;
use crate::stage::service::Service;
use crate::wire::election::PeerState;
use crate::zab::{LearnerStatus, Membership, Why};

/// See the module.
pub(super) enum Role {
    /// It looks for a leader, or for its quorum.
    Resting,
    /// It prepares and proposes: alone, or as a leader.
    Ordering,
    /// It has a leader.
    Forwarding(Box<Forwarding>),
    /// It has none, and lets those read who know that it may be stale.
    ReadOnly,
}

impl Role {
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self, Self::ReadOnly)
    }
}

impl ZabStage {
    /// The role is established; the tree is as it stands with it.
    pub(super) fn serve(&mut self, epoch: Epoch, to_clients: bool) {
        self.leave_role();
        self.parts.shared.tree.write().set_fuzzy(false); // it is where its leader was
        // The core may be further by now: what it was when it said so counts.
        let state = self.member.as_ref().map_or(PeerState::Leading, |member| member.decided);
        let leader = self.member.as_ref().and_then(|member| member.leader);
        let service = if state == PeerState::Leading {
            self.begin_to_order(epoch);
            match &self.member {
                None => Service::Alone,
                Some(_) if to_clients => Service::Leading,
                Some(_) => Service::Resting,
            }
        } else {
            let Some(leader) = leader else { return }; // gone already
            self.role = Role::Forwarding(Box::new(Forwarding::new(leader, self.now)));
            Service::Forwarding
        };
        if let Some(member) = &mut self.member {
            let since = |at: Millis| u64::try_from(self.now.0 - at.0).unwrap_or(0);
            let unavailable = member.unavailable_since.take().map_or(0, since);
            self.recorder.record(Basic::UnavailableTime, unavailable);
            match state {
                PeerState::Following => {
                    self.recorder.record(Basic::FollowerSyncTime, since(member.decided_at));
                }
                PeerState::Observing => {
                    self.recorder.record(Basic::ObserverSyncTime, since(member.decided_at));
                }
                PeerState::Leading | PeerState::Looking => {
                    self.recorder.record(Basic::LeaderUnavailableTime, unavailable);
                }
            }
            member.serving_since = self.now;
            member.epoch = epoch;
            tracing::info!("Setting leader epoch {:x}", epoch.0);
            tracing::info!("Peer state changed: {} - broadcast", state_name(state));
        }
        self.parts.shared.service.set(service);
    }

    /// Nothing is in flight; each session has its full timeout again.
    fn begin_to_order(&mut self, epoch: Epoch) {
        self.preparer = Preparer::new(self.parts.prepare.clone());
        let tree = self.parts.shared.tree.read();
        self.sessions.take_over(&tree, self.now);
        self.role = Role::Ordering;
        let last = tree.last_zxid();
        tracing::debug!(epoch = epoch.0, %last, sessions = self.sessions.tracker.len(), "ordering");
    }

    /// The role has ended.
    pub(super) fn rest(&mut self, why: &Why) {
        let state = self.member.as_ref().map_or(PeerState::Leading, |member| member.decided);
        tracing::warn!("no longer {}: {why}", state_name(state));
        self.leave_role();
    }

    /// Clients are cut off, and what they waited for is nobody's any more.
    pub(super) fn leave_role(&mut self) {
        if !matches!(std::mem::replace(&mut self.role, Role::Resting), Role::Resting) {
            // Only then: alone, it may have clients before its first role begins.
            self.parts.shared.service.set(Service::Resting);
            for batch in &mut self.batches {
                batch.entries.push(Entry::CutAll);
            }
        }
        self.awaited = Awaited::default();
        self.learner_asks = LearnerAsks::default();
        self.at_hand.retain(|next| matches!(next, Next::OfShard(_)));
        self.bytes_in_flight = 0;
        self.sessions.forget_all();
    }

    /// What a service manager is told that this server is; `None` until peers can reach it.
    pub(super) fn mode(&self) -> Option<&'static str> {
        match &self.member {
            None => Some("standalone"),
            Some(member) if member.peers.is_listening() => Some(state_name(self.zab.state())),
            Some(_) => None,
        }
    }

    /// What the control thread reports.
    pub(super) fn place(&self) -> Place {
        let Some(member) = &self.member else { return Place::default() };
        let state = self.zab.state();
        let standing = match (&self.role, state) {
            (Role::ReadOnly, _) => Standing::ReadOnly,
            (_, PeerState::Looking) => Standing::Looking,
            (_, PeerState::Leading) => Standing::Leading,
            (_, PeerState::Following) => Standing::Following,
            (_, PeerState::Observing) => Standing::Observing,
        };
        let is_established = matches!(self.role, Role::Ordering | Role::Forwarding(_));
        let leads = matches!(self.role, Role::Ordering);
        let phase = if is_established { "broadcast" } else { "discovery" };
        Place {
            serving: self.parts.shared.service.now() != Service::Resting,
            peer_state: match state {
                PeerState::Looking => state_name(state).to_owned(),
                PeerState::Leading | PeerState::Following | PeerState::Observing => {
                    format!("{} - {phase}", state_name(state))
                }
            },
            standing,
            local_sessions: self.sessions.local_count() as u64,
            // COMPAT: what a Java leader has as its last until its first txn
            // (`Leader.startZkServer`).
            epoch_zxid: if leads { Zxid::new(member.epoch, 0) } else { Zxid::ZERO },
            leader: leads.then(|| self.leader_facts(member)),
        }
    }

    fn leader_facts(&self, member: &Member) -> LeaderFacts {
        let learners = self.zab.learners();
        let synced = |membership| {
            let is_one = |one: &&LearnerStatus| one.is_synced && one.membership == membership;
            learners.iter().filter(is_one).count() as u64
        };
        LeaderFacts {
            learners: learners.len() as u64,
            synced_followers: synced(Membership::Participant),
            synced_observers: synced(Membership::Observer),
            pending_syncs: self.zab.pending_syncs() as u64,
            uptime_ms: u64::try_from(self.now.0 - member.serving_since.0).unwrap_or(0),
            proposal_bytes: member.proposal_bytes,
        }
    }
}
