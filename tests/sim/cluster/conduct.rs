//! What a correct server says only once its disk allows it, and never says of a correct peer.

use ringkeeper::ids::{Epoch, Zxid};
use ringkeeper::wire::election::PeerState;
use ringkeeper::wire::quorum::Packet;
use ringkeeper::zab::election::Ballot;
use ringkeeper::zab::{LinkId, PeerFault, Proposal, Refusal, Why};

use super::Cluster;

impl Cluster {
    /// A promise, or an ack, follows what it is of to the disk.
    pub(super) fn check_said(&mut self, node: usize, link: LinkId, packet: &Packet) {
        self.check_sync(node, link, packet);
        let node_name = node + 1;
        let disk = &self.nodes[node].disk;
        let server = self.nodes[node].server.as_ref().expect("the process runs");
        match packet {
            Packet::LeaderInfo { epoch, .. } => assert!(
                disk.accepted() >= *epoch,
                "node {node_name} opens epoch {}, and its disk has {}",
                epoch.0,
                disk.accepted().0
            ),
            Packet::AckEpoch { .. } => assert!(
                disk.accepted() >= server.opened,
                "node {node_name} promises epoch {}, and its disk has {}",
                server.opened.0,
                disk.accepted().0
            ),
            Packet::Ack { zxid } if zxid.counter() == 0 => assert!(
                disk.current() >= zxid.epoch()
                    && self.checker.histories.is_prefix(server.synced, disk.durable()),
                "node {node_name} acks the history of epoch {}, which its disk has not",
                zxid.epoch().0
            ),
            Packet::Ack { zxid } => assert!(
                self.checker.histories.zxid(disk.durable()) >= *zxid,
                "node {node_name} acks {zxid}, which its disk has not"
            ),
            _ => {}
        }
    }

    /// Takes note of what a learner will have to have on its disk.
    pub(super) fn note_heard(&mut self, node: usize, link: LinkId, packet: &Packet) {
        self.note_sync(node, link, packet);
        let appended = self.nodes[node].disk.appended();
        let Some(server) = &mut self.nodes[node].server else { return };
        match packet {
            Packet::LeaderInfo { epoch, .. } => server.opened = *epoch,
            Packet::NewLeader { .. } => server.synced = appended,
            _ => {}
        }
    }

    /// A server stands for election with the end of its log, all of it durable and applied.
    pub(super) fn check_vote(&self, node: usize, ballot: &Ballot) {
        let Ballot { state, vote, .. } = ballot;
        let it = &self.nodes[node];
        if *state != PeerState::Looking || vote.leader != it.id {
            return;
        }
        let durable = self.checker.histories.zxid(it.disk.durable());
        let applied = it.server.as_ref().map(|server| server.tree.last_zxid());
        assert!(
            it.disk.is_flushed() && (vote.zxid, Some(vote.zxid)) == (durable, applied),
            "node {} votes for itself with {}; its disk has {durable}, its tree {applied:?}",
            node + 1,
            vote.zxid
        );
    }

    /// All servers are correct here: none has a reason to say that another is not.
    pub(super) fn check_why(&self, node: usize, why: &Why) {
        let is_unjust = match why {
            Why::Fault(fault) => {
                !matches!(fault, PeerFault::StaleEpoch { .. } | PeerFault::TooMuch { .. })
            }
            // One that comes back may find its old connection still there.
            Why::Refused(refusal) => {
                !matches!(refusal, Refusal::HistoryAhead { .. } | Refusal::Taken(_))
            }
            _ => false,
        };
        assert!(!is_unjust, "node {} complains of a correct peer: {why}", node + 1);
    }

    /// Each epoch has only so many txns, each with the next number.
    pub(super) fn check_counter(&self, node: usize, proposal: &Proposal) {
        let Proposal { zxid, .. } = proposal;
        let last = self.nodes[node].disk.last();
        assert!(
            zxid.counter() <= self.plan.counter_max && follows(last, *zxid),
            "node {} logs {zxid} behind {last}",
            node + 1
        );
    }
}

fn follows(last: Zxid, next: Zxid) -> bool {
    let is_first = next.epoch() > last.epoch().max(Epoch(0)) && next.counter() == 1;
    last.next() == Some(next) || is_first
}
