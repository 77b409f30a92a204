//! A learner joins its leader: what it is sent, what is cut, what is refused.

use super::*;

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
fn zookeeper_1154_a_leader_refuses_who_has_history_that_it_lacks() {
    shows(Mutation::TakeLearnerAhead, |mutations| {
        let mut leader = Lone::leading(3, mutations);
        leader.joined(1, false);
        leader.persisted(ACCEPTED);
        let refused = leader.promised(1, old(6));
        assert!(matches!(refused[..], [Output::Close(LinkId(1), _)]), "{refused:?}");
    });
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
    assert_eq!(leader.durable(new(4)), [], "3 has no quorum");
    let third = [1, 2].map(|link| sent(link, commit(new(3))));
    let committed = third.into_iter().chain([Output::Commit(proposal(new(3)))]).collect::<Vec<_>>();
    let only = leader.hears(LinkId(1), ack(new(3)));
    assert_eq!(only, committed, "4 was acked before it was proposed, which says nothing");
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

/// Once a difference has done, the next leader is not asked for a whole snapshot in its stead.
#[test]
fn a_snapshot_that_was_none_is_not_wished_for_after_a_later_sync() {
    let mut learner = Lone::following(3, Mutations::NONE);
    learner.hears(UP, Packet::LeaderInfo { epoch: Epoch(2), protocol: 0x1_0000 });
    learner.persisted(ACCEPTED);
    let said = |last_logged| [to_leader(Packet::AckEpoch { last_logged, current: None })];
    learner.hears(UP, Packet::Snap { zxid: old(9) });
    learner.step(Input::NotRebuilt);
    assert_eq!(learner.returns(Epoch(2)), said(Zxid(-1)), "a cut could not be done either");
    learner.step(Input::LinkDown(UP));
    let accepted = EpochRecord::Accepted(Epoch(3));
    assert_eq!(learner.returns(Epoch(3)), [Output::Persist(accepted)]);
    learner.persisted(accepted);
    learner.hears(UP, Packet::Diff { zxid: old(5) });
    learner.hears(UP, Packet::NewLeader { zxid: Zxid::new(Epoch(3), 0), config: None });
    learner.persisted(EpochRecord::Current(Epoch(3)));
    learner.hears(UP, Packet::UpToDate);
    learner.step(Input::LinkDown(UP));
    assert_eq!(learner.returns(Epoch(3)), said(old(5)));
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
