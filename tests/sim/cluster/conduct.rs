//! What a correct server says only once its disk allows it, and never says of a correct peer.

use ringkeeper::ids::{Epoch, Zxid};
use ringkeeper::wire::election::PeerState;
use ringkeeper::wire::quorum::Packet;
use ringkeeper::zab::election::Ballot;
use ringkeeper::zab::{EpochRecord, LinkId, PeerFault, Proposal, Refusal, Why};

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

    /// A learner enters an epoch with the history that it begins with (ZOOKEEPER-4643).
    pub(super) fn check_epoch(&self, node: usize, what: EpochRecord) {
        let it = &self.nodes[node];
        let (EpochRecord::Current(epoch), Some(server)) = (what, &it.server) else { return };
        assert!(
            server.zab.state() == PeerState::Leading
                || self.checker.histories.is_prefix(server.synced, it.disk.durable()),
            "node {} enters epoch {} before its disk has the history of it",
            node + 1,
            epoch.0
        );
    }

    /// Takes note of what a learner will have to have on its disk.
    pub(super) fn note_heard(&mut self, node: usize, packet: &Packet) {
        let appended = self.nodes[node].disk.appended();
        let Some(server) = &mut self.nodes[node].server else { return };
        match packet {
            Packet::LeaderInfo { epoch, .. } => server.opened = *epoch,
            Packet::NewLeader { .. } => server.synced = appended,
            _ => {}
        }
    }

    /// A server stands for election with the end of its log, all of it durable and applied.
    ///
    /// COMPAT: a round's number may come twice, as with Java (`FastLeaderElection` goes back to the
    /// leader's when it joins one). So a server may hear of itself with what it stood with before a
    /// leader cut it, and take that up. Should it be elected for it, its term ends in discovery:
    /// those who have more refuse it (`HistoryAhead`). What it never had it must not claim.
    pub(super) fn check_vote(&mut self, node: usize, ballot: &Ballot) {
        let Ballot { state, vote, .. } = ballot;
        let it = &self.nodes[node];
        if *state != PeerState::Looking || vote.leader != it.id {
            return;
        }
        let durable = self.checker.histories.zxid(it.disk.durable());
        let applied = it.server.as_ref().map(|server| server.tree.last_zxid());
        let is_its_own = it.disk.is_flushed() && (vote.zxid, Some(vote.zxid)) == (durable, applied);
        let stand = (node, vote.round, vote.zxid);
        if is_its_own {
            self.checker.stands.insert(stand);
        }
        assert!(
            is_its_own || self.checker.stands.contains(&stand),
            "node {} votes for itself with {}; its disk has {durable}, its tree {applied:?}",
            node + 1,
            vote.zxid
        );
    }

    /// All servers are correct here: none has a reason to say that another is not.
    pub(super) fn check_why(&self, node: usize, why: &Why) {
        let is_unjust = match why {
            Why::Fault(PeerFault::StaleEpoch { .. }) => false,
            Why::Fault(PeerFault::Gap { .. }) => !self.plan.has_holes,
            Why::Fault(_) => true,
            // One that comes back may find its old connection still there.
            Why::Refused(refusal) => {
                !matches!(refusal, Refusal::HistoryAhead { .. } | Refusal::Taken(_))
            }
            _ => false,
        };
        assert!(!is_unjust, "node {} complains of a correct peer: {why}", node + 1);
    }

    /// Whether a leader with holes leaves this out: a txn, with its commit, between two of its
    /// epoch that are committed.
    pub(super) fn leaves_out(&mut self, node: usize, link: LinkId, packet: &Packet) -> bool {
        if !self.plan.has_holes {
            return false;
        }
        let committed = self.checker.histories.zxid(self.checker.committed());
        let is_hole = self.is_chaos && self.random.one_in(200);
        let left_out = &mut self.nodes[node].server().left_out;
        match packet {
            Packet::Proposal { zxid, .. } => {
                let is_between = zxid.epoch() == committed.epoch() && *zxid < committed;
                let is_left_out = is_hole && is_between && zxid.counter() > 1;
                if is_left_out {
                    left_out.insert(link, *zxid);
                }
                is_left_out
            }
            Packet::Commit { zxid } => left_out.get(&link) == Some(zxid),
            _ => false,
        }
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
