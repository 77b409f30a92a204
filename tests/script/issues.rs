//! Known bugs of the protocol, each as the step or the story that shows it.
//!
//! Each that a mutation can put back is told twice: as it is, and in the simulator's build with the
//! bug, where the same story must fail. So none of those passes for want of looking.

use bytes::Bytes;
use ringkeeper::ids::{Epoch, ServerId, SessionId, Xid, Zxid};
use ringkeeper::wire::OpCode;
use ringkeeper::wire::election::PeerState;
use ringkeeper::wire::quorum::{Forwarded, LearnerInfo, Packet};
use ringkeeper::zab::election::Output as Elected;
use ringkeeper::zab::{
    Input, LinkId, Mutation, Mutations, Output, PeerFault, Proposal, Refusal, Standing, Why,
};

use crate::ensemble::Ensemble;
use crate::lone::{
    ACCEPTED, CURRENT, Lone, UP, ack, commit, new, new_leader, old, proposal, proposed,
};

/// The story holds, and does not hold with the bug.
fn shows(bug: Mutation, story: impl Fn(Mutations) + std::panic::RefUnwindSafe) {
    story(Mutations::NONE);
    #[cfg(feature = "sim-mutations")]
    {
        let told = std::panic::catch_unwind(|| story(Mutations::only(bug)));
        assert!(told.is_err(), "{bug:?} went unnoticed");
    }
    #[cfg(not(feature = "sim-mutations"))]
    let _ = bug;
}

/// Runs a story's commands; what must hold is checked after every step.
fn tell(mutations: Mutations, commands: &str) -> Ensemble {
    let mut ensemble = Ensemble::default();
    ensemble.mutate(mutations);
    for line in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
        ensemble.command(line);
    }
    ensemble
}

fn sent(link: u64, packet: Packet) -> Output {
    Output::Send(LinkId(link), packet)
}

fn to_leader(packet: Packet) -> Output {
    Output::Send(UP, packet)
}

fn is_said(output: &Output) -> bool {
    matches!(output, Output::Election(Elected::Send { .. }))
}

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
fn zookeeper_4643_the_current_epoch_follows_its_history() {
    shows(Mutation::EpochBeforeHistory, |mutations| {
        let mut learner = Lone::receiving(3, mutations);
        learner.hears(UP, proposed(old(6)));
        learner.hears(UP, commit(old(6)));
        let out = learner.hears(UP, new_leader());
        assert!(!out.contains(&Output::Persist(CURRENT)), "the history is not on disk: {out:?}");
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

/// Finding 1 of the authors of the specification.
#[test]
fn zookeeper_3023_4394_a_learner_gets_what_was_outstanding_when_its_sync_was_decided() {
    shows(Mutation::ForwardWithoutOutstanding, |mutations| {
        let mut leader = Lone::serving(3, &[1], mutations);
        leader.propose();
        leader.joined(2, false);
        let synced = leader.promised(2, old(5));
        let order = [Packet::Diff { zxid: old(5) }, proposed(new(1)), new_leader()];
        assert_eq!(synced, order.map(|packet| sent(2, packet)));
    });
}

#[test]
fn a_learner_gets_what_is_committed_and_not_yet_on_its_leaders_own_disk() {
    shows(Mutation::ForwardWithoutCommitted, |mutations| {
        let mut leader = Lone::serving(5, &[1, 2, 4], mutations);
        leader.propose();
        for follower in [1, 2, 4] {
            leader.hears(LinkId(follower), ack(new(1)));
        }
        leader.joined(3, false);
        let synced = leader.promised(3, old(5));
        let committed = [Packet::Diff { zxid: new(1) }, proposed(new(1)), commit(new(1))];
        assert_eq!(synced[..3], committed.map(|packet| sent(3, packet)));
    });
}

#[test]
fn zookeeper_2418_a_difference_has_no_hole() {
    shows(Mutation::DiffAcrossGap, |mutations| {
        let mut leader = Lone::serving(3, &[1], mutations);
        leader.joined(2, false);
        let asked = leader.promised(2, old(1));
        assert!(matches!(asked[..], [Output::ReadLog { .. }]), "{asked:?}");
        let history = Some(vec![proposal(old(1)), proposal(old(2))]);
        let synced = leader.step(Input::LogRead { link: LinkId(2), history });
        let snap =
            [sent(2, Packet::Snap { zxid: old(5) }), Output::SendSnapshot { link: LinkId(2) }];
        assert_eq!(synced[..2], snap, "0x100000003 is missing");
    });
}

#[test]
fn zookeeper_1154_what_a_quorum_never_had_is_cut() {
    shows(Mutation::DiffInsteadOfTrunc, |mutations| {
        let mut leader = Lone::serving(3, &[1], mutations);
        leader.joined(2, false);
        let synced = leader.promised(2, old(9));
        assert_eq!(synced[0], sent(2, Packet::Trunc { zxid: old(5) }));
    });
}

#[test]
fn zookeeper_4925_a_learner_takes_no_gap() {
    shows(Mutation::TakeGaps, |mutations| {
        let mut learner = Lone::learning(3, mutations);
        learner.hears(UP, proposed(new(1)));
        let left = learner.hears(UP, proposed(new(3)));
        assert!(matches!(left[0], Output::Rest(_)), "{left:?}");
        let mut learner = Lone::receiving(3, mutations);
        let left = learner.hears(UP, proposed(old(7)));
        assert!(matches!(left[0], Output::Rest(_)), "the first one follows too: {left:?}");
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

#[test]
fn zookeeper_1154_a_leader_refuses_who_has_history_that_it_lacks() {
    shows(Mutation::TakeLearnerAhead, |mutations| {
        let mut leader = Lone::leading(3, mutations);
        leader.joined(1, false);
        leader.persisted(ACCEPTED);
        let refused = leader.promised(1, old(6));
        assert!(matches!(refused[..], [Output::Close(LinkId(1), _)]), "{refused:?}");
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

#[test]
fn a_sync_is_answered_once_what_was_proposed_before_it_is_committed() {
    shows(Mutation::SyncAtOnce, |mutations| {
        let ensemble = tell(
            mutations,
            "ensemble 1 2 3
            start 1
            start 2
            start 3
            run 1000
            stall 1
            stall 2
            write 3
            sync 1
            run 10",
        );
        assert_eq!(ensemble.zab(3).pending_syncs(), 1);
    });
}

/// What is committed by others and not on this learner's disk is not to be seen yet; nor is the
/// answer that promises it.
#[test]
fn a_sync_is_answered_behind_what_was_committed_before_it() {
    let mut learner = Lone::learning(3, Mutations::NONE);
    learner.hears(UP, proposed(new(1)));
    learner.hears(UP, commit(new(1)));
    assert_eq!(learner.hears(UP, Packet::Sync), []);
    let answered = Output::Pass { link: UP, packet: Packet::Sync };
    let applied = [to_leader(ack(new(1))), Output::Commit(proposal(new(1))), answered.clone()];
    assert_eq!(learner.durable(new(1)), applied);
    assert_eq!(learner.hears(UP, Packet::Sync), [answered]);
}

/// At a leader too a `sync` must not overtake what was asked before it on the same link: it is
/// passed on like a write, and answered between the commits of what came before and after it.
#[test]
fn a_sync_keeps_its_place_among_requests() {
    let mut leader = Lone::serving(3, &[1], Mutations::NONE);
    let forwarded = Forwarded {
        session: SessionId(1),
        cxid: Xid(1),
        op: OpCode::Sync as i32,
        body: Bytes::new(),
        identities: None,
    };
    let (link, packet) = (LinkId(1), Packet::Request(forwarded));
    assert_eq!(leader.hears(link, packet.clone()), [Output::Pass { link, packet }]);
    leader.propose();
    assert_eq!(leader.step(Input::Sync(link)), []);
    leader.propose();
    leader.durable(new(2));
    let first = leader.hears(link, ack(new(1)));
    let order = [sent(1, commit(new(1))), Output::Commit(proposal(new(1))), sent(1, Packet::Sync)];
    assert_eq!(first, order);
    assert_eq!(leader.hears(link, ack(new(2)))[0], sent(1, commit(new(2))));
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

/// A Java 3.8 follower logs what came before `NEWLEADER` on another thread: its acks may be first.
#[test]
fn zookeeper_4685_only_its_ack_ends_the_waiting_for_newleaders() {
    let mut leader = Lone::leading(3, Mutations::NONE);
    leader.joined(1, false);
    leader.persisted(ACCEPTED);
    leader.promised(1, old(5));
    leader.persisted(CURRENT);
    for early in [old(5), new(1)] {
        assert_eq!(leader.hears(LinkId(1), ack(early)), [], "the link stays");
        assert_eq!(leader.zab.epoch(), None, "and nobody has the history");
    }
    let later = Zxid::new(Epoch(3), 0);
    let other = Why::Fault(PeerFault::OtherEpoch(later));
    assert_eq!(leader.hears(LinkId(1), ack(later)), [Output::Close(LinkId(1), other)]);
}

/// Such an ack comes once: if none but this follower can make up the quorum, it is needed.
#[test]
fn zookeeper_4685_an_early_ack_counts_once_the_history_is_acked() {
    let mut leader = Lone::serving(3, &[1], Mutations::NONE);
    for _ in 1..=3 {
        leader.propose();
    }
    leader.durable(new(3));
    leader.joined(2, false);
    leader.promised(2, old(5));
    for early in [old(5), new(1), new(2), new(4)] {
        assert_eq!(leader.hears(LinkId(2), ack(early)), [], "{early}");
    }
    let committed = [1, 2].map(|counter| Output::Commit(proposal(new(counter))));
    let up = leader.hears(LinkId(2), ack(new(0)));
    assert_eq!(up[0], sent(2, Packet::UpToDate));
    let applied: Vec<_> = up.iter().filter(|it| matches!(it, Output::Commit(_))).collect();
    assert_eq!(applied, committed.iter().collect::<Vec<_>>());
    leader.propose();
    leader.durable(new(4));
    leader.hears(LinkId(1), ack(new(3)));
    let unsent = leader.step(Input::Time);
    assert_eq!(unsent, [], "4 was acked before it was proposed, which says nothing");
    let both = leader.hears(LinkId(2), ack(new(4)));
    assert!(both.contains(&sent(2, commit(new(4)))), "{both:?}");
}

/// Two packets after `NEWLEADER`: a Java leader would take the second for the first.
#[test]
fn zookeeper_4685_the_first_word_after_newleader_is_its_ack() {
    let mut learner = Lone::receiving(3, Mutations::NONE);
    let ping = Packet::Ping { zxid: new(0), touches: None };
    learner.hears(UP, proposed(new(1)));
    assert_eq!(learner.hears(UP, ping.clone()), [], "a learner answers no ping before it");
    learner.hears(UP, new_leader());
    assert_eq!(learner.hears(UP, ping.clone()), []);
    assert_eq!(learner.persisted(CURRENT), [to_leader(ack(new(0)))]);
    assert_eq!(learner.hears(UP, ping), [], "nor before it is up to date");
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

/// ZOOKEEPER-3642, 5094: a sync that broke off leaves log and tree as they are on the disk.
#[test]
fn zookeeper_3642_5094_a_broken_sync_is_forgotten() {
    for (answer, last) in [(Input::NotRebuilt, old(5)), (Input::Rebuilt { last: old(9) }, old(9))] {
        let mut learner = Lone::following(3, Mutations::NONE);
        let info = Packet::LeaderInfo { epoch: Epoch(2), protocol: 0x1_0000 };
        learner.hears(UP, info);
        learner.persisted(ACCEPTED);
        let taken = learner.hears(UP, Packet::Snap { zxid: old(9) });
        assert_eq!(taken, [Output::ReceiveSnapshot { link: UP, zxid: old(9) }]);
        let left = learner.step(Input::LinkDown(UP));
        assert!(!left.iter().any(is_said), "the disk is being rebuilt: {left:?}");
        assert!(learner.step(answer).iter().any(is_said));
        assert_eq!(learner.zab.vote().map(|vote| vote.zxid), Some(last));
    }
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

/// A leader whose machine is gone while it sends a snapshot breaks no connection.
#[test]
fn a_snapshot_that_gets_stuck_is_not_waited_for() {
    let mut learner = Lone::following(3, Mutations::NONE);
    learner.hears(UP, Packet::LeaderInfo { epoch: Epoch(2), protocol: 0x1_0000 });
    learner.persisted(ACCEPTED);
    learner.hears(UP, Packet::Snap { zxid: old(9) });
    learner.now = 9000;
    learner.step(Input::SnapshotMoved(UP));
    assert_eq!(learner.at(18_000), [], "it gets on");
    let silent = Why::Silent { limit_ms: 10_000 };
    assert_eq!(learner.at(19_000), [Output::Rest(silent.clone()), Output::Close(UP, silent)]);
    assert!(learner.step(Input::NotRebuilt).iter().any(is_said));
}

#[test]
fn a_server_without_data_is_brought_up_by_a_snapshot() {
    let standing = Standing { accepted: Epoch(0), current: Epoch(0), last_logged: Zxid(-1) };
    let mut leader = Lone::serving(3, &[1], Mutations::NONE);
    leader.joined(2, false);
    let synced = leader.promised(2, standing.last_logged);
    assert_eq!(synced[0], sent(2, Packet::Snap { zxid: old(5) }));
}

#[test]
fn history_read_from_the_log_goes_on_in_memory_however_much_is_committed_meanwhile() {
    let mut leader = Lone::serving(3, &[1], Mutations::NONE);
    leader.joined(2, false);
    leader.promised(2, old(1));
    leader.propose();
    leader.durable(new(1));
    leader.hears(LinkId(1), ack(new(1)));
    let history: Vec<Proposal> = (1..=4).map(|counter| proposal(old(counter))).collect();
    let synced = leader.step(Input::LogRead { link: LinkId(2), history: Some(history) });
    let zxids = [old(2), old(3), old(4), old(5), new(1)];
    let pairs = zxids.iter().flat_map(|zxid| [proposed(*zxid), commit(*zxid)]);
    let all = [Packet::Diff { zxid: new(1) }].into_iter().chain(pairs).chain([new_leader()]);
    assert_eq!(synced, all.map(|packet| sent(2, packet)).collect::<Vec<_>>());
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

/// Finding X6 of the reference: what a cut was to leave is not there, so something is missing.
#[test]
fn a_cut_to_what_was_never_there_is_no_history() {
    for (last, is_sound) in [(old(3), true), (old(2), false)] {
        let mut learner = Lone::following(3, Mutations::NONE);
        learner.hears(UP, Packet::LeaderInfo { epoch: Epoch(2), protocol: 0x1_0000 });
        learner.persisted(ACCEPTED);
        let cut = learner.hears(UP, Packet::Trunc { zxid: old(3) });
        assert_eq!(cut, [Output::Truncate { to: old(3) }]);
        assert_eq!(learner.hears(UP, new_leader()), [], "it waits for the disk");
        let rebuilt = learner.step(Input::Rebuilt { last });
        assert_eq!(rebuilt.contains(&Output::Persist(CURRENT)), is_sound, "{rebuilt:?}");
    }
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

/// What a quorum has need not wait for `UPTODATE`, which is queued behind much more of it.
#[test]
fn what_is_committed_is_logged_from_the_ack_of_the_history_on() {
    let mut learner = Lone::receiving(3, Mutations::NONE);
    learner.hears(UP, new_leader());
    for packet in [proposed(new(1)), proposed(new(2)), commit(new(1))] {
        assert_eq!(learner.hears(UP, packet), [], "the epoch is not on disk");
    }
    let logged = [to_leader(ack(new(0))), Output::Append(proposal(new(1)))];
    assert_eq!(learner.persisted(CURRENT), logged);
    assert_eq!(learner.hears(UP, commit(new(2))), [Output::Append(proposal(new(2)))]);
    assert_eq!(learner.hears(UP, proposed(new(3))), [], "no quorum is known to have it");
    let acks = [1, 2].map(|counter| to_leader(ack(new(counter))));
    let applied = [1, 2].map(|counter| Output::Commit(proposal(new(counter))));
    assert_eq!(learner.durable(new(2)), [acks, applied].concat());
    let up = learner.hears(UP, Packet::UpToDate);
    assert_eq!(up.first(), Some(&to_leader(ack(new(0)))));
    assert_eq!(up.last(), Some(&Output::Append(proposal(new(3)))));
}

/// Under load more is proposed behind a snapshot than any leader has outstanding.
#[test]
fn a_learner_joins_however_much_is_proposed_meanwhile() {
    let mut learner = Lone::receiving(3, Mutations::NONE);
    learner.hears(UP, proposed(old(6)));
    learner.hears(UP, commit(old(6)));
    learner.hears(UP, new_leader());
    let mut last = 0;
    let more = |learner: &mut Lone, last: &mut u32| {
        *last += 1;
        learner.hears(UP, proposed(new(*last)));
        learner.hears(UP, commit(new(*last)));
    };
    while learner.zab.is_reading() {
        more(&mut learner, &mut last);
        assert!(last < 10_000, "a busy disk is waited for");
    }
    assert!(learner.durable(old(6)).contains(&Output::Persist(CURRENT)));
    assert!(!learner.zab.is_reading());
    learner.persisted(CURRENT);
    while last < 100_000 {
        learner.durable(new(last));
        assert!(learner.zab.is_reading(), "what is to be heard is in the socket");
        more(&mut learner, &mut last);
    }
    learner.hears(UP, Packet::UpToDate);
    assert_eq!(learner.zab.epoch(), Some(Epoch(2)));
}
