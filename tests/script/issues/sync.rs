//! A client's `sync`: what was committed before it is seen behind it.

use super::*;

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
