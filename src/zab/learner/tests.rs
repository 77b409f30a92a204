use super::*;

const FIRST: Zxid = Zxid(0x2_0000_0000);

fn zxid(counter: i64) -> Zxid {
    Zxid(FIRST.0 + counter)
}

fn old(counter: i64) -> Zxid {
    Zxid(0x1_0000_0000 + counter)
}

fn proposal(zxid: Zxid) -> Proposal {
    Proposal { zxid, record: [7].into() }
}

fn proposed(zxid: Zxid) -> Packet {
    let Proposal { zxid, record } = proposal(zxid);
    Packet::Proposal { zxid, record }
}

fn commit(zxid: Zxid) -> Packet {
    Packet::Commit { zxid }
}

fn ack(zxid: Zxid) -> Output {
    Output::Send(Packet::Ack { zxid })
}

const NEW_LEADER: Packet = Packet::NewLeader { zxid: FIRST, config: None };

/// A learner whose log ends with 0x100000005, and what it last put out.
struct Link {
    learner: Learner,
    out: Vec<Output>,
}

impl Link {
    fn new(is_observer: bool, accepted: i64) -> Self {
        let member = Member { me: ServerId(3), is_observer, config_version: 0 };
        let standing =
            Standing { accepted: Epoch(accepted), current: Epoch(1), last_logged: old(5) };
        let mut out = Vec::new();
        let learner = Learner::new(member, standing, &mut out);
        Self { learner, out }
    }

    fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    fn hears(&mut self, packet: Packet) -> Vec<Output> {
        self.learner.on_packet(packet, &mut self.out).expect("a sound packet");
        self.take()
    }

    fn fails(&mut self, packet: Packet) -> PeerFault {
        self.learner.on_packet(packet, &mut self.out).expect_err("an unsound packet")
    }

    fn persisted(&mut self, what: EpochRecord) -> Vec<Output> {
        self.learner.on_persisted(what, &mut self.out);
        self.take()
    }

    fn durable(&mut self, upto: Zxid) -> Vec<Output> {
        self.learner.on_durable(upto, &mut self.out);
        self.take()
    }

    /// Up to the point where the leader says how to synchronise.
    fn choosing(is_observer: bool) -> Self {
        let mut link = Self::new(is_observer, 1);
        link.take();
        link.hears(Packet::LeaderInfo { epoch: Epoch(2), protocol: PROTOCOL_VERSION });
        link.persisted(EpochRecord::Accepted(Epoch(2)));
        link
    }

    fn receiving(is_observer: bool) -> Self {
        let mut link = Self::choosing(is_observer);
        assert_eq!(link.hears(Packet::Diff { zxid: old(5) }), []);
        link
    }

    fn broadcast(is_observer: bool) -> Self {
        let mut link = Self::receiving(is_observer);
        link.hears(NEW_LEADER);
        link.persisted(EpochRecord::Current(Epoch(2)));
        assert_eq!(link.hears(Packet::UpToDate), [ack(FIRST), Output::Serve(Epoch(2))]);
        link
    }
}

#[test]
fn an_epoch_is_promised_only_once_it_is_on_disk() {
    let mut link = Link::new(false, 1);
    let info = LearnerInfo {
        server: Some(ServerId(3)),
        protocol: Some(PROTOCOL_VERSION),
        config_version: Some(0),
    };
    let accepted = Epoch(1);
    assert_eq!(link.take(), [Output::Send(Packet::FollowerInfo { accepted, info })]);
    let leader_info = Packet::LeaderInfo { epoch: Epoch(2), protocol: PROTOCOL_VERSION };
    let record = EpochRecord::Accepted(Epoch(2));
    assert_eq!(link.hears(leader_info), [Output::Persist(record)]);
    let answer = Packet::AckEpoch { last_logged: old(5), current: Some(Epoch(1)) };
    assert_eq!(link.persisted(record), [Output::Send(answer)]);
}

#[test]
fn an_epoch_accepted_before_does_not_count_and_an_older_one_is_refused() {
    let of = |epoch| Packet::LeaderInfo { epoch: Epoch(epoch), protocol: PROTOCOL_VERSION };
    let mut link = Link::new(true, 2);
    link.take();
    let answer = Packet::AckEpoch { last_logged: old(5), current: None };
    assert_eq!(link.hears(of(2)), [Output::Send(answer)]);
    let fault = PeerFault::StaleEpoch { proposed: Epoch(1), accepted: Epoch(2) };
    assert_eq!(Link::new(false, 2).fails(of(1)), fault);
    let old = Packet::LeaderInfo { epoch: Epoch(3), protocol: 0xffff };
    assert_eq!(Link::new(false, 2).fails(old), PeerFault::Protocol(0xffff));
}

/// ZOOKEEPER-3911, 4643, 4646, 4785: history on disk, then the epoch, then the ack.
#[test]
fn a_history_is_acked_only_once_it_and_then_its_epoch_are_on_disk() {
    let mut link = Link::receiving(false);
    assert_eq!(link.hears(proposed(old(6))), []);
    assert_eq!(link.hears(commit(old(6))), [Output::Append(proposal(old(6)))]);
    assert_eq!(link.hears(proposed(zxid(1))), [], "not committed: not yet logged");
    assert_eq!(link.hears(NEW_LEADER), []);
    let record = EpochRecord::Current(Epoch(2));
    let flushed = [Output::Commit(proposal(old(6))), Output::Persist(record)];
    assert_eq!(link.durable(old(6)), flushed);
    assert_eq!(link.hears(commit(zxid(1))), [], "between NEWLEADER and its ack: ZOOKEEPER-4394");
    assert_eq!(link.persisted(record), [ack(FIRST)]);
    assert_eq!(
        link.hears(Packet::UpToDate),
        [ack(FIRST), Output::Serve(Epoch(2)), Output::Append(proposal(zxid(1)))]
    );
    assert_eq!(link.durable(zxid(1)), [ack(zxid(1)), Output::Commit(proposal(zxid(1)))]);
}

#[test]
fn nothing_but_its_ack_leaves_before_a_history_is_acked() {
    let mut link = Link::receiving(false);
    let ping = || Packet::Ping { zxid: FIRST, touches: None };
    assert_eq!(link.hears(ping()), []);
    assert_eq!(link.hears(NEW_LEADER).len(), 1);
    assert_eq!(link.hears(ping()), []);
    link.persisted(EpochRecord::Current(Epoch(2)));
    assert_eq!(link.hears(ping()), []);
    link.hears(Packet::UpToDate);
    assert_eq!(link.hears(ping()), [Output::Pass(ping())]);
}

#[test]
fn a_proposal_is_acked_once_it_is_durable_each_by_itself() {
    let mut link = Link::broadcast(false);
    for counter in 1..=3 {
        let append = Output::Append(proposal(zxid(counter)));
        assert_eq!(link.hears(proposed(zxid(counter))), [append]);
    }
    assert_eq!(link.hears(commit(zxid(1))), [], "committed by others, and not on this disk");
    assert_eq!(
        link.durable(zxid(2)),
        [ack(zxid(1)), ack(zxid(2)), Output::Commit(proposal(zxid(1)))]
    );
    assert_eq!(link.hears(commit(zxid(2))), [Output::Commit(proposal(zxid(2)))]);
    assert_eq!(link.learner.into_unapplied(), [proposal(zxid(3))], "ZOOKEEPER-2845");
}

#[test]
fn an_observer_logs_what_it_is_informed_of_and_acks_no_txn() {
    let mut link = Link::broadcast(true);
    let Packet::Proposal { zxid: first, record } = proposed(zxid(1)) else { unreachable!() };
    let informed = link.hears(Packet::Inform { zxid: first, record });
    assert_eq!(informed, [Output::Append(proposal(zxid(1)))]);
    assert_eq!(link.durable(zxid(1)), [Output::Commit(proposal(zxid(1)))]);
}

#[test]
fn a_cut_or_a_snapshot_comes_before_anything_else() {
    let mut link = Link::choosing(false);
    assert_eq!(link.hears(Packet::Trunc { zxid: old(3) }), [Output::Truncate { to: old(3) }]);
    assert!(!link.learner.is_reading());
    link.learner.on_rebuilt(old(3));
    link.hears(proposed(old(4)));
    assert_eq!(link.hears(commit(old(4))), [Output::Append(proposal(old(4)))]);
    let mut link = Link::choosing(false);
    let order = [Output::ReceiveSnapshot { zxid: old(9) }];
    assert_eq!(link.hears(Packet::Snap { zxid: old(9) }), order);
    link.learner.on_rebuilt(old(9));
    assert_eq!(link.hears(proposed(old(9))), [], "the snapshot holds it");
    assert_eq!(link.hears(commit(old(9))), []);
    assert_eq!(link.hears(NEW_LEADER), [Output::Persist(EpochRecord::Current(Epoch(2)))]);
}

#[test]
fn holes_and_commits_out_of_order_end_the_link() {
    let mut link = Link::broadcast(false);
    link.hears(proposed(zxid(1)));
    let fault = PeerFault::Gap { last: zxid(1), next: zxid(3) };
    assert_eq!(link.fails(proposed(zxid(3))), fault, "ZOOKEEPER-4925");
    let mut link = Link::broadcast(false);
    link.hears(proposed(zxid(1)));
    link.hears(proposed(zxid(2)));
    let fault = PeerFault::CommitOrder { expected: zxid(1), zxid: zxid(2) };
    assert_eq!(link.fails(commit(zxid(2))), fault);
    let fault = PeerFault::CommitOrder { expected: old(5), zxid: zxid(1) };
    assert_eq!(Link::broadcast(false).fails(commit(zxid(1))), fault);
    let other = Packet::NewLeader { zxid: Zxid(0x3_0000_0000), config: None };
    let fault = PeerFault::OtherEpoch(Zxid(0x3_0000_0000));
    assert_eq!(Link::receiving(false).fails(other), fault);
    let unexpected = Link::choosing(false).fails(Packet::UpToDate);
    assert!(matches!(unexpected, PeerFault::Unexpected { state: "choosing", .. }));
}

/// ZOOKEEPER-2845: a follower that leaves its leader still knows what its log holds.
#[test]
fn a_fault_does_not_forget_what_is_logged_and_not_applied() {
    let mut link = Link::broadcast(false);
    link.hears(proposed(zxid(1)));
    link.hears(proposed(zxid(2)));
    link.durable(zxid(1));
    link.fails(proposed(zxid(9)));
    assert!(!link.learner.is_reading());
    assert_eq!(link.durable(zxid(2)), [], "nothing is acked to a leader that was left");
    assert_eq!(link.learner.into_unapplied(), [proposal(zxid(1)), proposal(zxid(2))]);
}

/// A Java 3.9 leader after a request whose body cannot be decoded.
#[test]
fn a_zxid_proposed_twice_is_logged_once() {
    let mut link = Link::broadcast(false);
    link.hears(proposed(zxid(1)));
    assert_eq!(link.hears(proposed(zxid(1))), []);
    link.hears(commit(zxid(1)));
    link.hears(proposed(zxid(2)));
    let out = [ack(zxid(1)), ack(zxid(2)), Output::Commit(proposal(zxid(1)))];
    assert_eq!(link.durable(zxid(2)), out);
}
