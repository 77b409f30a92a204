//! Who leads, and what counts as a quorum's word.

use super::*;

#[test]
fn observers_are_no_quorum() {
    shows(Mutation::CountObservers, |mutations| {
        let mut leader = Lone::leading(3, mutations);
        assert_eq!(leader.joined(9, true), [], "nobody with a vote has connected");
    });
}

#[test]
fn a_commit_follows_a_quorum_of_acks() {
    shows(Mutation::CommitWithoutQuorum, |mutations| {
        let mut leader = Lone::serving(5, &[1, 2], mutations);
        leader.propose();
        assert_eq!(leader.durable(new(1)), [], "one of five");
        assert_eq!(leader.hears(LinkId(1), ack(new(1))), [], "two of five");
        assert_eq!(leader.hears(LinkId(1), ack(new(1))), [], "the same once more");
        assert_eq!(leader.hears(LinkId(2), ack(new(1))).len(), 3);
    });
}

#[test]
fn commits_are_in_zxid_order() {
    shows(Mutation::CommitOutOfOrder, |mutations| {
        let mut leader = Lone::serving(3, &[1], mutations);
        leader.propose();
        leader.propose();
        leader.durable(new(2));
        leader.hears(LinkId(1), ack(new(2)));
        let committed = leader.hears(LinkId(1), ack(new(1)));
        let in_order = [1, 2]
            .map(|counter| [sent(1, commit(new(counter))), Output::Commit(proposal(new(counter)))]);
        assert_eq!(committed, in_order.concat());
    });
}

#[test]
fn a_promise_of_an_epoch_accepted_before_does_not_count() {
    shows(Mutation::CountOldPromise, |mutations| {
        let mut leader = Lone::leading(3, mutations);
        leader.joined(1, false);
        leader.persisted(ACCEPTED);
        let promise = Packet::AckEpoch { last_logged: old(5), current: None };
        assert_eq!(leader.hears(LinkId(1), promise), []);
    });
}

/// Servers 2 and 3 have a newer leader's history, without a txn of its epoch; server 1 has txns of
/// the older epoch that nobody else has.
#[test]
fn zookeeper_1154_a_vote_is_by_epoch_before_zxid() {
    shows(Mutation::VoteWithoutEpoch, |mutations| {
        let ensemble = tell(
            mutations,
            "ensemble 1 2 3
            start 1 log=1:9 epoch=1
            start 2 log=1:5 epoch=2
            start 3 log=1:5 epoch=2
            run 3000",
        );
        assert_eq!(ensemble.zab(3).state(), PeerState::Leading);
        assert_eq!(ensemble.zab(1).standing().last_logged, old(5), "its own are cut off");
    });
}

#[test]
fn nobody_is_served_before_a_quorum_has_its_leaders_history() {
    shows(Mutation::ServeUnacked, |mutations| {
        let mut leader = Lone::leading(3, mutations);
        leader.joined(1, false);
        leader.persisted(ACCEPTED);
        leader.promised(1, old(5));
        leader.persisted(CURRENT);
        assert_eq!(leader.zab.epoch(), None);
        let serving = Output::Serve { epoch: Epoch(2), to_clients: true };
        let up_to_date = sent(1, Packet::UpToDate);
        assert_eq!(leader.hears(LinkId(1), ack(new(0))), [serving, up_to_date]);
    });
}

#[test]
fn zookeeper_3240_a_leader_without_its_quorum_steps_down() {
    shows(Mutation::NeverStepDown, |mutations| {
        let mut leader = Lone::serving(3, &[1], mutations);
        leader.step(Input::LinkDown(LinkId(1)));
        leader.at(1000);
        leader.at(2000);
        assert_eq!(leader.zab.state(), PeerState::Looking);
    });
}

#[test]
fn zookeeper_1277_a_spent_counter_is_a_new_epoch() {
    shows(Mutation::WrapCounter, |mutations| {
        let mut leader = Lone::serving(3, &[1], mutations);
        for _ in 1..=5 {
            leader.propose();
        }
        assert_eq!(leader.zab.next_zxid(), None, "the last one was proposed");
        leader.durable(new(5));
        for counter in 1..=5 {
            assert_eq!(leader.zab.state(), PeerState::Leading);
            leader.hears(LinkId(1), ack(new(counter)));
        }
        assert_eq!(leader.zab.state(), PeerState::Looking, "nothing is outstanding");
    });
}

/// Found by the simulator; Java counts the acks from before the cut (`Leader.Proposal`).
#[test]
fn acks_of_what_is_cut_off_count_no_more() {
    shows(Mutation::KeepAcksOfCut, |mutations| {
        let mut leader = Lone::serving(5, &[1, 2, 4], mutations);
        leader.propose();
        leader.hears(LinkId(1), ack(new(1)));
        leader.hears(LinkId(2), ack(new(1)));
        leader.step(Input::LinkDown(LinkId(2)));
        let link = LinkId(21);
        leader.step(Input::LinkUp(link));
        let info = LearnerInfo {
            server: Some(ServerId(2)),
            protocol: Some(0x1_0000),
            config_version: Some(0),
        };
        leader.hears(link, Packet::FollowerInfo { accepted: Epoch(2), info });
        let promise = Packet::AckEpoch { last_logged: new(1), current: None };
        let synced = leader.hears(link, promise);
        assert_eq!(synced[0], Output::Send(link, Packet::Snap { zxid: old(5) }));
        leader.hears(link, ack(new(0)));
        assert_eq!(leader.hears(LinkId(4), ack(new(1))), [], "servers 1 and 4 have it");
        assert!(!leader.hears(link, ack(new(1))).is_empty(), "and now server 2 has it again");
    });
}

/// ZOOKEEPER-3109: a leader does not wait out initLimit for voters that look for another.
#[test]
fn zookeeper_3109_a_leader_that_is_forsaken_looks_again() {
    let mut leader = Lone::leading(3, Mutations::NONE);
    leader.now = 300;
    leader.vote(1, 1, PeerState::Looking);
    leader.vote(2, 1, PeerState::Looking);
    assert_eq!(leader.zab.state(), PeerState::Leading, "they may not have decided yet");
    leader.now = 700;
    leader.vote(1, 1, PeerState::Looking);
    assert_eq!(leader.zab.state(), PeerState::Leading, "the other one may still come");
    leader.vote(2, 1, PeerState::Looking);
    assert_eq!(leader.zab.state(), PeerState::Looking);
    let mut leader = Lone::leading(3, Mutations::NONE);
    leader.now = 700;
    leader.step(Input::ElectionDown(ServerId(2)));
    leader.vote(1, 1, PeerState::Looking);
    assert_eq!(leader.zab.state(), PeerState::Looking, "the other one is gone");
}

/// What a server says while its last role ends must not bring another one to its old leader.
#[test]
fn zookeeper_3537_who_has_left_its_leader_does_not_answer_for_it() {
    let mut learner = Lone::learning(1, Mutations::NONE);
    learner.hears(UP, proposed(new(1)));
    learner.step(Input::LinkDown(UP));
    assert_eq!(learner.vote(3, 3, PeerState::Looking), [], "it settles");
    let looks = learner.durable(new(1));
    assert!(looks.iter().any(is_said), "and then says what it wants itself: {looks:?}");
}

/// The one that is there stays; it is replaced only when it is not heard of any more.
#[test]
fn a_second_server_with_one_id_is_refused() {
    let mut leader = Lone::serving(3, &[1], Mutations::NONE);
    let come = |leader: &mut Lone, link: LinkId, server: i64| {
        leader.step(Input::LinkUp(link));
        let (protocol, config_version) = (Some(0x1_0000), Some(0));
        let info = LearnerInfo { server: Some(ServerId(server)), protocol, config_version };
        leader.hears(link, Packet::FollowerInfo { accepted: Epoch(2), info }).swap_remove(0)
    };
    let taken = Why::Refused(Refusal::Taken(ServerId(1)));
    assert_eq!(come(&mut leader, LinkId(50), 1), Output::Close(LinkId(50), taken));
    let own = Why::Refused(Refusal::MyId(ServerId(3)));
    assert_eq!(come(&mut leader, LinkId(51), 3), Output::Close(LinkId(51), own));
    leader.now += 1000;
    let replaced = Why::Replaced(ServerId(1));
    assert_eq!(come(&mut leader, LinkId(52), 1), Output::Close(LinkId(1), replaced));
    assert_eq!(leader.zab.state(), PeerState::Leading);
}

/// COMPAT: such a server joins at the next election, as in Java. Until then it costs nobody much.
#[test]
fn a_server_that_cannot_join_pauses_before_it_tries_again() {
    let mut ensemble = tell(
        Mutations::NONE,
        "ensemble 1 2 3
        start 2
        start 3
        run 1000
        start 1 accepted=7
        forget
        run 60000",
    );
    let dialed = ensemble.take_trace().matches("1: dials 3").count();
    assert!((36..50).contains(&dialed), "{dialed} times in a minute");
    ensemble.command("stop 3");
    ensemble.command("run 5000");
    assert_eq!(ensemble.zab(1).epoch(), Some(Epoch(8)), "the next epoch is above all accepted");
}
