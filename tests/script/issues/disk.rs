//! What is promised, voted with, acked and applied: only what is on the disk.

use super::*;

#[test]
fn zookeeper_3911_4646_4785_a_history_is_acked_only_once_it_is_on_disk() {
    shows(Mutation::AckHistoryUnflushed, |mutations| {
        let mut learner = Lone::receiving(3, mutations);
        learner.hears(UP, proposed(old(6)));
        assert_eq!(learner.hears(UP, commit(old(6))), [Output::Append(proposal(old(6)))]);
        assert_eq!(learner.hears(UP, new_leader()), []);
        let flushed = [Output::Persist(CURRENT), Output::Commit(proposal(old(6)))];
        assert_eq!(learner.durable(old(6)), flushed);
        assert_eq!(learner.persisted(CURRENT), [to_leader(ack(new(0)))]);
    });
}

#[test]
fn zookeeper_2307_an_epoch_is_promised_only_once_it_is_on_disk() {
    shows(Mutation::PromiseUnpersisted, |mutations| {
        let mut learner = Lone::following(3, mutations);
        let info = Packet::LeaderInfo { epoch: Epoch(2), protocol: 0x1_0000 };
        assert_eq!(learner.hears(UP, info), [Output::Persist(ACCEPTED)]);
        let promise = Packet::AckEpoch { last_logged: old(5), current: Some(Epoch(1)) };
        assert_eq!(learner.persisted(ACCEPTED), [to_leader(promise)]);
    });
}

#[test]
fn an_epoch_is_told_only_once_its_leader_has_it_on_disk() {
    shows(Mutation::InformUnpersisted, |mutations| {
        let mut leader = Lone::leading(3, mutations);
        assert_eq!(leader.joined(1, false), [Output::Persist(ACCEPTED)]);
        let info = Packet::LeaderInfo { epoch: Epoch(2), protocol: 0x1_0000 };
        assert_eq!(leader.persisted(ACCEPTED), [sent(1, info)]);
    });
}

#[test]
fn a_proposal_is_acked_only_once_it_is_on_disk_each_by_itself() {
    shows(Mutation::AckUnflushed, |mutations| {
        let mut learner = Lone::learning(3, mutations);
        for counter in 1..=3 {
            let append = [Output::Append(proposal(new(counter)))];
            assert_eq!(learner.hears(UP, proposed(new(counter))), append);
        }
        let acks = [to_leader(ack(new(1))), to_leader(ack(new(2)))];
        assert_eq!(learner.durable(new(2)), acks);
    });
}

#[test]
fn a_leader_acks_its_proposals_only_once_they_are_on_its_disk() {
    shows(Mutation::LeaderAcksUnflushed, |mutations| {
        let mut leader = Lone::serving(3, &[1], mutations);
        leader.propose();
        assert_eq!(leader.hears(LinkId(1), ack(new(1))), []);
        let committed = [sent(1, commit(new(1))), Output::Commit(proposal(new(1)))];
        assert_eq!(leader.durable(new(1)), committed);
    });
}

#[test]
fn zookeeper_2845_a_server_votes_with_what_is_on_its_disk_all_of_it_applied() {
    for bug in [Mutation::LookUnsettled, Mutation::ForgetTail] {
        shows(bug, |mutations| {
            let mut learner = Lone::learning(3, mutations);
            learner.hears(UP, proposed(new(1)));
            let left = learner.step(Input::LinkDown(UP));
            assert!(!left.iter().any(is_said), "its disk still owes an answer: {left:?}");
            let settled = learner.durable(new(1));
            assert_eq!(settled[0], Output::Commit(proposal(new(1))));
            assert!(settled[1..].iter().all(is_said) && settled.len() > 1, "{settled:?}");
            assert_eq!(learner.zab.vote().map(|vote| vote.zxid), Some(new(1)));
        });
    }
}

#[test]
fn zookeeper_2355_a_tree_is_never_ahead_of_its_log() {
    shows(Mutation::ApplyUnflushed, |mutations| {
        let mut learner = Lone::learning(3, mutations);
        learner.hears(UP, proposed(new(1)));
        assert_eq!(learner.hears(UP, commit(new(1))), [], "its disk has not got it");
        let flushed = [to_leader(ack(new(1))), Output::Commit(proposal(new(1)))];
        assert_eq!(learner.durable(new(1)), flushed);
    });
}

/// A leader's snapshot took the place of all older ones, and another leader cuts to before it.
#[test]
fn zookeeper_4837_a_cut_that_no_snapshot_reaches_back_to_is_answered_by_one() {
    let ensemble = tell(
        Mutations::NONE,
        "ensemble 1 2 3
        start 1 log=1:4 cuts=no
        start 2 log=1:2
        start 3 log=1:2
        mute 1 2
        mute 1 3
        run 1000
        heal 1 2
        heal 1 3
        run 10000",
    );
    let served = [1, 2, 3].map(|server| ensemble.zab(server).epoch());
    assert_eq!(served, [Some(Epoch(2)); 3]);
    assert_eq!(ensemble.zab(1).standing().last_logged, old(2));
}

/// A server that was told nothing of its own data's loss takes part again once it has a snapshot.
#[test]
fn zookeeper_261_a_server_without_data_promises_nothing() {
    let mut leader = Lone::leading(3, Mutations::NONE);
    leader.joined(1, false);
    leader.persisted(ACCEPTED);
    assert_eq!(leader.promised(1, Zxid(-1)), []);
}

#[test]
fn zookeeper_4712_the_next_role_begins_when_the_disk_has_answered() {
    let mut learner = Lone::following(3, Mutations::NONE);
    let info = Packet::LeaderInfo { epoch: Epoch(2), protocol: 0x1_0000 };
    learner.hears(UP, info);
    let left = learner.step(Input::LinkDown(UP));
    assert!(!left.iter().any(is_said), "an epoch is on its way to the disk: {left:?}");
    assert!(learner.persisted(ACCEPTED).iter().any(is_said));
    assert_eq!(learner.zab.standing().accepted, Epoch(2));
}

/// A Java 3.9 leader after a request that cannot be decoded (finding X1 of the reference).
#[test]
fn a_zxid_proposed_twice_is_logged_once() {
    let mut learner = Lone::learning(3, Mutations::NONE);
    learner.hears(UP, proposed(new(1)));
    let twin = Packet::Proposal { zxid: new(1), record: Bytes::from_static(&[1]) };
    assert_eq!(learner.hears(UP, twin), []);
    learner.hears(UP, commit(new(1)));
    learner.hears(UP, proposed(new(2)));
    let out = [to_leader(ack(new(1))), to_leader(ack(new(2))), Output::Commit(proposal(new(1)))];
    assert_eq!(learner.durable(new(2)), out);
}

/// A commit that is behind in the socket is no reason not to read it.
#[test]
fn a_learner_reads_on_while_its_disk_keeps_up() {
    let mut learner = Lone::learning(3, Mutations::NONE);
    for counter in 1..=10_000 {
        assert!(learner.zab.is_reading(), "{counter} without a commit");
        learner.hears(UP, proposed(new(counter)));
        learner.durable(new(counter));
    }
    for counter in 10_001..=20_000 {
        learner.hears(UP, proposed(new(counter)));
    }
    assert!(!learner.zab.is_reading(), "its disk is far behind");
    learner.durable(new(20_000));
    assert!(learner.zab.is_reading());
}

/// Of large records fewer are held: they are bounded by their bytes too.
#[test]
fn a_learner_whose_disk_hangs_does_not_take_gigabytes() {
    let record = Bytes::from(vec![7; 1 << 20]);
    let large = |counter| Packet::Proposal { zxid: new(counter), record: record.clone() };
    let takes = |learner: &mut Lone, counters: std::ops::RangeInclusive<u32>| {
        counters.fold(0, |taken, counter| {
            let is_taken = learner.zab.is_reading();
            if is_taken {
                learner.hears(UP, large(counter));
            }
            taken + u32::from(is_taken)
        })
    };
    let mut learner = Lone::learning(3, Mutations::NONE);
    assert_eq!(takes(&mut learner, 1..=100), 64, "they are logged, and not on disk");
    learner.durable(new(1));
    assert_eq!(takes(&mut learner, 65..=100), 1, "one is on disk");
    learner.durable(new(65));
    assert_eq!(takes(&mut learner, 66..=200), 64, "all are");
    let mut learner = Lone::receiving(3, Mutations::NONE);
    learner.hears(UP, new_leader());
    assert_eq!(takes(&mut learner, 1..=100), 64, "they wait for the epoch to be on disk");
    learner.persisted(CURRENT);
    assert_eq!(takes(&mut learner, 65..=100), 36, "a commit, or UPTODATE, is in the socket");
    learner.hears(UP, Packet::UpToDate);
    assert!(!learner.zab.is_reading(), "they are logged");
    learner.durable(new(100));
    assert!(learner.zab.is_reading());
}
