//! Peers that do not keep to the protocol: each costs its own link, and nothing else.

use bytes::Bytes;
use ringkeeper::ids::{Epoch, Round, ServerId, SessionId, Xid, Zxid};
use ringkeeper::wire::election::{PeerState, Vote};
use ringkeeper::wire::quorum::{Forwarded, LearnerInfo, PROTOCOL_VERSION, Packet, Touch};
use ringkeeper::zab::election::Ballot;
use ringkeeper::zab::{Input, LinkId, Mutations, Output, PeerFault, Refusal, Why};

use crate::lone::{
    ACCEPTED, CURRENT, Lone, UP, ack, commit, new, new_leader, old, proposal, proposed,
};

/// What a learner leaves its leader for.
fn fault_of(learner: &mut Lone, packet: Packet) -> PeerFault {
    let out = learner.hears(UP, packet);
    let [Output::Rest(Why::Fault(fault)), Output::Close(UP, _), ..] = &out[..] else {
        panic!("{out:?}")
    };
    fault.clone()
}

#[test]
fn a_leader_that_makes_no_sense_is_left() {
    let info = |epoch, protocol| Packet::LeaderInfo { epoch: Epoch(epoch), protocol };
    let mut learner = Lone::following(3, Mutations::NONE);
    let stale = PeerFault::StaleEpoch { proposed: Epoch(0), accepted: Epoch(1) };
    assert_eq!(fault_of(&mut learner, info(0, PROTOCOL_VERSION)), stale);
    let mut learner = Lone::following(3, Mutations::NONE);
    assert_eq!(fault_of(&mut learner, info(2, 0xffff)), PeerFault::Protocol(0xffff));
    let mut learner = Lone::following(3, Mutations::NONE);
    learner.hears(UP, info(2, PROTOCOL_VERSION));
    learner.persisted(ACCEPTED);
    let cut = PeerFault::Cut { last: old(5), to: old(6) };
    assert_eq!(fault_of(&mut learner, Packet::Trunc { zxid: old(6) }), cut);
    let mut learner = Lone::receiving(3, Mutations::NONE);
    let other = Packet::NewLeader { zxid: Zxid::new(Epoch(3), 0), config: None };
    let fault = PeerFault::OtherEpoch(Zxid::new(Epoch(3), 0));
    assert_eq!(fault_of(&mut learner, other), fault);
    let mut learner = Lone::learning(3, Mutations::NONE);
    learner.hears(UP, proposed(new(1)));
    learner.hears(UP, proposed(new(2)));
    let order = PeerFault::CommitOrder { expected: new(1), zxid: new(2) };
    assert_eq!(fault_of(&mut learner, commit(new(2))), order);
    let mut learner = Lone::learning(3, Mutations::NONE);
    let never = PeerFault::CommitOrder { expected: old(5), zxid: new(1) };
    assert_eq!(fault_of(&mut learner, commit(new(1))), never);
}

/// It would end this server at its next start: the epochs on its disk are older than its history.
#[test]
fn history_of_a_later_epoch_than_the_leaders_is_no_history() {
    let later = Zxid::new(Epoch(3), 1);
    let fault = PeerFault::LaterEpoch { epoch: Epoch(2), zxid: later };
    let inform = Packet::Inform { zxid: later, record: proposal(later).record };
    for packet in [proposed(later), inform] {
        let mut learner = Lone::receiving(3, Mutations::NONE);
        assert_eq!(fault_of(&mut learner, packet.clone()), fault);
        let mut learner = Lone::learning(3, Mutations::NONE);
        assert_eq!(fault_of(&mut learner, packet), fault);
    }
    let mut learner = Lone::following(3, Mutations::NONE);
    learner.hears(UP, Packet::LeaderInfo { epoch: Epoch(2), protocol: PROTOCOL_VERSION });
    learner.persisted(ACCEPTED);
    assert_eq!(fault_of(&mut learner, Packet::Snap { zxid: later }), fault);
}

#[test]
fn a_learner_that_cannot_be_had_is_refused_and_the_leader_goes_on() {
    let info = |protocol, version| LearnerInfo {
        server: Some(ServerId(2)),
        protocol,
        config_version: Some(version),
    };
    let (sound, wild) = (Epoch(1), Epoch(i64::from(i32::MAX)));
    let cases = [
        (sound, info(None, 0), Refusal::Protocol(0)),
        (sound, info(Some(PROTOCOL_VERSION), 1), Refusal::ConfigAhead(1)),
        (wild, info(Some(PROTOCOL_VERSION), 0), Refusal::Epoch(wild)),
    ];
    for (accepted, info, refusal) in cases {
        let mut leader = Lone::serving(3, &[1], Mutations::NONE);
        leader.step(Input::LinkUp(LinkId(2)));
        let closed = leader.hears(LinkId(2), Packet::FollowerInfo { accepted, info });
        assert_eq!(closed, [Output::Close(LinkId(2), Why::Refused(refusal))]);
        assert_eq!(leader.zab.epoch(), Some(Epoch(2)));
    }
}

/// Its client may begin to count anew here: what it had asked for elsewhere by the same numbers
/// must not be taken for what it asks for here.
#[test]
fn a_session_comes_behind_what_was_proposed_for_it_elsewhere() {
    let mut learner = Lone::learning(3, Mutations::NONE);
    let packet = Packet::Revalidated { session: SessionId(1), is_valid: true };
    let passed = Output::Pass { link: UP, packet: packet.clone() };
    let at_once = std::slice::from_ref(&passed);
    assert_eq!(learner.hears(UP, packet.clone()), at_once, "nothing is in flight");
    learner.hears(UP, proposed(new(1)));
    learner.hears(UP, proposed(new(2)));
    learner.durable(new(2));
    assert_eq!(learner.hears(UP, packet), []);
    learner.hears(UP, proposed(new(3)));
    assert_eq!(learner.hears(UP, commit(new(1))), [Output::Commit(proposal(new(1)))]);
    let last = [Output::Commit(proposal(new(2))), passed];
    assert_eq!(learner.hears(UP, commit(new(2))), last, "the third came later");
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % n
    }

    fn zxid(&mut self) -> Zxid {
        let counter = u32::try_from(self.below(8)).expect("it is small");
        let wild = [Zxid(-1), Zxid(i64::MAX), Zxid(i64::MIN), Zxid(0)];
        match self.below(12) {
            0 => wild[counter as usize % wild.len()],
            1..4 => old(counter),
            4 => Zxid::new(Epoch(3), counter),
            _ => new(counter),
        }
    }

    fn info(&mut self) -> LearnerInfo {
        let server = i64::try_from(self.below(6)).expect("it is small") - 1;
        LearnerInfo {
            server: (server >= 0).then_some(ServerId(server)),
            protocol: Some(PROTOCOL_VERSION).filter(|_| self.below(9) > 0),
            config_version: Some(0),
        }
    }

    /// Any packet there is.
    fn packet(&mut self) -> Packet {
        let (zxid, record) = (self.zxid(), Bytes::from_static(&[7]));
        let session = SessionId(1);
        match self.below(20) {
            0 => Packet::Request(Forwarded {
                session,
                cxid: Xid(1),
                op: 9,
                body: Bytes::new(),
                identities: None,
            }),
            1..4 => Packet::Proposal { zxid, record },
            4 | 5 => Packet::Ack { zxid },
            6 | 7 => Packet::Commit { zxid },
            8 => Packet::Ping { zxid, touches: None },
            9 => Packet::Revalidate(Touch { session, timeout_ms: 1 }),
            10 => Packet::Inform { zxid, record },
            11 => Packet::FollowerInfo { accepted: zxid.epoch(), info: self.info() },
            12 => Packet::ObserverInfo { accepted: zxid.epoch(), info: self.info() },
            13 => Packet::LeaderInfo { epoch: zxid.epoch(), protocol: PROTOCOL_VERSION },
            14 => Packet::AckEpoch { last_logged: zxid, current: Some(Epoch(1)) },
            15 => Packet::NewLeader { zxid, config: None },
            16 => Packet::UpToDate,
            17 => Packet::Diff { zxid },
            18 if self.below(2) == 0 => Packet::Trunc { zxid },
            18 => Packet::Snap { zxid },
            _ => Packet::Sync,
        }
    }

    fn ballot(&mut self) -> Ballot {
        let states =
            [PeerState::Looking, PeerState::Following, PeerState::Leading, PeerState::Observing];
        let state = states[usize::try_from(self.below(4)).expect("it is small")];
        let leader = ServerId(i64::try_from(self.below(5)).expect("it is small"));
        let (zxid, round) = (self.zxid(), Round(self.zxid().0 % 9));
        Ballot { state, vote: Vote { leader, zxid, round, epoch: zxid.epoch() }, version: 2 }
    }
}

/// A server among peers that say whatever they can say, on connections that come and go. Its disk
/// is sound, and its log takes any record: no word of theirs is a bug of the core's. What must be
/// a txn, as a log and a tree want it, is for the stage to see to before the core hears of it; that
/// has a test of its own in `src/stage/zab/ensemble/tests.rs`.
#[test]
fn nothing_that_peers_say_is_a_panic() {
    for seed in 1..=300 {
        let mut chance = Chance(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let mut server = match seed % 3 {
            0 => Lone::serving(3, &[1], Mutations::NONE),
            1 => Lone::learning(3, Mutations::NONE),
            _ => Lone::looking(3, 3, Mutations::NONE),
        };
        let mut due = Vec::new();
        for _ in 0..600 {
            server.now += i64::try_from(chance.below(300)).expect("it is small");
            let link = LinkId(chance.below(5) + 96);
            let peer = ServerId(i64::try_from(chance.below(5)).expect("it is small"));
            let input = match chance.below(12) {
                0 => Input::LinkUp(link),
                1 => Input::LinkDown(link),
                2 => Input::ElectionDown(peer),
                3 => Input::ElectionUp(peer),
                4 => Input::Notified { from: peer, ballot: chance.ballot() },
                5 => Input::Time,
                6..9 => due.pop().unwrap_or(Input::Time),
                _ => Input::Packet { link, packet: chance.packet() },
            };
            let out = server.step(input);
            answer(&mut due, out, &mut chance);
        }
    }
}

/// What a sound disk and network answer, in order; the list is a queue, its head at the end.
fn answer(due: &mut Vec<Input>, out: Vec<Output>, chance: &mut Chance) {
    for output in out {
        let answer = match output {
            Output::Append(proposal) => Input::Durable(proposal.zxid),
            Output::Persist(record) => Input::Persisted(record),
            Output::Truncate { to } => Input::Rebuilt { last: to },
            Output::ReceiveSnapshot { .. } if chance.below(2) == 0 => Input::NotRebuilt,
            Output::ReceiveSnapshot { zxid, .. } => Input::Rebuilt { last: zxid },
            Output::ReadLog { link, .. } => Input::LogRead { link, history: None },
            Output::DialLeader { .. } if chance.below(3) == 0 => Input::LeaderUnreachable,
            Output::DialLeader { .. } => Input::LeaderUp(LinkId(96 + chance.below(5))),
            Output::Election(_)
            | Output::Listen
            | Output::Unlisten
            | Output::Send(..)
            | Output::Close(..)
            | Output::Commit(_)
            | Output::SendSnapshot { .. }
            | Output::Pass { .. }
            | Output::Serve { .. }
            | Output::Rest(_) => continue,
        };
        due.insert(0, answer);
    }
}

/// Packets of a link that is no more, and answers that come too late, are nothing.
#[test]
fn what_comes_too_late_is_nothing() {
    let mut leader = Lone::serving(3, &[1], Mutations::NONE);
    leader.step(Input::LinkDown(LinkId(1)));
    assert_eq!(leader.hears(LinkId(1), ack(new(1))), []);
    assert_eq!(leader.step(Input::LogRead { link: LinkId(1), history: None }), []);
    assert_eq!(leader.step(Input::Sync(LinkId(1))), []);
    let mut learner = Lone::receiving(3, Mutations::NONE);
    learner.hears(UP, new_leader());
    learner.step(Input::LinkDown(UP));
    assert_eq!(learner.hears(UP, Packet::UpToDate), []);
    learner.persisted(CURRENT);
    let refused = learner.step(Input::LinkUp(LinkId(7)));
    assert_eq!(refused, [Output::Close(LinkId(7), Why::NotLeading)]);
    assert_eq!(learner.zab.state(), PeerState::Looking);
}
