//! How long txns take, from the leader's stamp to where they are looked at: for metrics.
//!
//! COMPAT: by the wall clocks of two servers; where the one behind is ahead nothing is counted
//! (`Request.logLatency`).

use super::ZabStage;
use super::role::Role;
use crate::ids::{Millis, Zxid};
use crate::metrics::{Advanced, Counter};
use crate::wire::Reader;
use crate::wire::quorum::Packet;
use crate::wire::txn::TxnHeader;
use crate::zab::Proposal;

/// When the leader has made it; a record that cannot be read is found out when it is applied.
fn stamp_of(record: &[u8]) -> Option<Millis> {
    TxnHeader::decode(&mut Reader::new(record)).ok().map(|header| header.time)
}

impl ZabStage {
    fn count_since(&self, summary: Advanced, stamp: Option<Millis>) {
        if let Some(stamp) = stamp
            && let Ok(millis) = u64::try_from(self.wall.0 - stamp.0)
        {
            self.recorder.record_advanced(summary, millis);
        }
    }

    /// A txn is applied. COMPAT: what brings a learner into step is none that spread
    /// (`FinalRequestProcessor`).
    pub(super) fn count_propagation(&self, stamp: Millis) {
        match self.role {
            Role::Ordering | Role::Forwarding(_) => {
                self.count_since(Advanced::PropagationLatency, Some(stamp));
            }
            Role::Resting | Role::ReadOnly => {}
        }
    }

    /// What a learner that is in step is sent of txns (`Follower.processPacket`,
    /// `Observer.processPacket`).
    pub(super) fn count_packet(&self, packet: &Packet) {
        if !matches!(self.role, Role::Forwarding(_)) {
            return;
        }
        if let Packet::Proposal { record, .. } = packet {
            self.recorder.add(Counter::LearnerProposalReceivedCount, 1);
            self.count_since(Advanced::ProposalLatency, stamp_of(record));
        } else if let Packet::Commit { zxid } = packet {
            self.recorder.add(Counter::LearnerCommitReceivedCount, 1);
            let of_it = |proposal: &&Proposal| proposal.zxid == *zxid;
            let proposal = self.zab.next_to_commit().filter(of_it);
            let stamp = proposal.and_then(|proposal| stamp_of(&proposal.record));
            self.count_since(Advanced::CommitPropagationLatency, stamp);
        } else if let Packet::Inform { record, .. } = packet {
            self.recorder.add(Counter::LearnerCommitReceivedCount, 1);
            self.count_since(Advanced::CommitPropagationLatency, stamp_of(record));
        }
    }

    /// How far a quorum is, of a leader of others.
    pub(super) fn committed_as_leader(&self) -> Option<Zxid> {
        let leads = self.member.is_some() && matches!(self.role, Role::Ordering);
        leads.then(|| self.zab.last_committed())
    }

    /// What a quorum has acked behind `before` (`Leader.tryToCommit`).
    pub(super) fn count_quorum_acks(&self, before: Zxid) {
        for proposal in self.zab.committed_behind(before) {
            self.count_since(Advanced::QuorumAckLatency, stamp_of(&proposal.record));
        }
    }
}
