//! What others may ask about a server: the driver, metrics, four-letter words.

use super::{Role, Zab};
use crate::ids::{Epoch, ServerId, Zxid};
use crate::wire::election::{PeerState, Vote};
use crate::zab::config::Standing;
use crate::zab::election::Election;
use crate::zab::{LinkId, Membership, Proposal};

/// A learner, as its leader sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LearnerStatus {
    /// Its connection.
    pub link: LinkId,
    /// Who it is.
    pub server: ServerId,
    /// How it takes part.
    pub membership: Membership,
    /// Whether it has acked the leader's history.
    pub is_synced: bool,
}

impl Zab {
    /// What this server is doing.
    pub fn state(&self) -> PeerState {
        match &self.role {
            Role::Leading(_) => PeerState::Leading,
            Role::Learning(_) if self.config.is_observer => PeerState::Observing,
            Role::Learning(_) => PeerState::Following,
            Role::Looking | Role::Settling => PeerState::Looking,
        }
    }

    /// Its vote; a standalone server has none.
    pub fn vote(&self) -> Option<Vote> {
        self.election.as_ref().map(Election::vote)
    }

    /// The epoch it serves in; `None` while it does not serve.
    pub fn epoch(&self) -> Option<Epoch> {
        match &self.role {
            Role::Leading(leader) => leader.established(),
            Role::Learning(learner) => learner.established(),
            Role::Looking | Role::Settling => None,
        }
    }

    /// Whom it follows, or is about to.
    pub fn leader(&self) -> Option<ServerId> {
        match &self.role {
            Role::Leading(_) => Some(self.config.me),
            Role::Learning(learner) => Some(learner.leader()),
            Role::Looking | Role::Settling => None,
        }
    }

    /// The link to the leader, at a learner that is connected.
    pub fn leader_link(&self) -> Option<LinkId> {
        match &self.role {
            Role::Learning(learner) => learner.link_id(),
            Role::Leading(_) | Role::Looking | Role::Settling => None,
        }
    }

    /// The zxid that the next proposal must have; `None` if this server proposes nothing: it does
    /// not lead, is not established, or its counter is spent.
    pub fn next_zxid(&self) -> Option<Zxid> {
        match &self.role {
            Role::Leading(leader) => leader.next_zxid(&self.config),
            Role::Learning(_) | Role::Looking | Role::Settling => None,
        }
    }

    /// The last proposal's zxid; at a learner the last it has logged.
    pub fn last_proposed(&self) -> Zxid {
        match &self.role {
            Role::Leading(leader) => leader.last_proposed(),
            Role::Learning(_) | Role::Looking | Role::Settling => self.history.last_logged(),
        }
    }

    /// How many proposals were appended and not yet given out as commits.
    pub fn outstanding(&self) -> usize {
        self.history.unapplied()
    }

    /// The last that a quorum has, as far as this server knows.
    pub fn last_committed(&self) -> Zxid {
        self.history.last_committed()
    }

    /// What a quorum has behind this zxid, as far as it is in memory, the last first.
    pub fn committed_behind(&self, zxid: Zxid) -> impl Iterator<Item = &Proposal> {
        self.history.committed().rev().take_while(move |proposal| proposal.zxid > zxid)
    }

    /// The logged one that is to be committed next.
    pub fn next_to_commit(&self) -> Option<&Proposal> {
        self.history.uncommitted().next()
    }

    /// How many proposals were appended and are not flushed: what the log's queue has room for.
    pub fn unflushed(&self) -> usize {
        self.history.unflushed()
    }

    /// The epochs on this server's disk, and the end of its log.
    pub fn standing(&self) -> Standing {
        Standing {
            accepted: self.history.accepted(),
            current: self.history.current(),
            last_logged: self.history.last_logged(),
        }
    }

    /// The learners of this leader that have introduced themselves.
    pub fn learners(&self) -> Vec<LearnerStatus> {
        match &self.role {
            Role::Leading(leader) => leader.learners().collect(),
            Role::Learning(_) | Role::Looking | Role::Settling => Vec::new(),
        }
    }

    /// How many learners' `sync`s wait for what was proposed before them.
    pub fn pending_syncs(&self) -> usize {
        match &self.role {
            Role::Leading(leader) => leader.pending_syncs(),
            Role::Learning(_) | Role::Looking | Role::Settling => 0,
        }
    }

    /// Whether a learner takes another packet of its leader's: not while its tree is rebuilt, its
    /// disk is far behind, or much waits until the epoch is on disk. Its socket is not read until
    /// then; what was read already may come.
    pub fn is_reading(&self) -> bool {
        match &self.role {
            Role::Learning(learner) => learner.is_reading() && !self.history.is_far_behind(),
            Role::Leading(_) | Role::Looking | Role::Settling => true,
        }
    }
}
