//! A leader, and what its own clients are told when.

use super::played::{Played, Told, zxid};
use super::*;
use crate::metrics::{Advanced, Counter};
use crate::stage::service::Service;
use crate::wire::quorum::Touch;

/// A quorum without its own disk may have shown others what was proposed before the sync.
#[test]
fn a_sync_waits_until_what_was_proposed_before_it_is_on_its_own_disk_and_committed() {
    for is_own_disk_last in [true, false] {
        let mut played = Played::leading();
        let service = played.stage.parts.shared.service.now();
        assert_eq!(service, Service::Leading, "its shards pass on a sync");
        let session = played.open_local_session();
        played.write(session, 1, OpCode::SetData);
        played.write(session, 2, OpCode::Sync);
        assert_eq!(played.told(), []);
        if is_own_disk_last {
            played.hear_acks(zxid(1));
        }
        played.turn(if is_own_disk_last { Zxid::ZERO } else { zxid(1) });
        assert_eq!(played.told(), [], "own disk last: {is_own_disk_last}");
        if !is_own_disk_last {
            played.hear_acks(zxid(1));
        }
        played.turn(zxid(1));
        assert_eq!(played.told(), [Told::Reply(1), Told::Reply(2)]);
        assert_eq!(played.stage.parts.shared.tree.read().last_zxid(), zxid(1));
    }
}

/// The shard takes each reply for the oldest request's, and closes behind the last.
#[test]
fn the_end_of_a_local_session_does_not_overtake_its_sync_or_its_write() {
    let cases = [
        (&[OpCode::SetData][..], &[Told::Reply(1), Told::Closed(2)][..]),
        (&[OpCode::SetData, OpCode::Sync], &[Told::Reply(1), Told::Reply(2), Told::Closed(3)]),
    ];
    for (asked, told) in cases {
        let mut played = Played::leading();
        let session = played.open_local_session();
        let ops = asked.iter().chain([&OpCode::CloseSession]);
        (1..).zip(ops).for_each(|(xid, op)| played.write(session, xid, *op));
        assert_eq!(played.told(), [], "{asked:?}: a proposal is in flight");
        played.hear_acks(zxid(1));
        played.flush(zxid(1));
        assert_eq!(played.told(), told, "{asked:?}");
        assert_eq!(played.stage.sessions.local_count(), 0);
    }
}

#[test]
fn the_end_of_a_local_session_that_waits_for_nothing_is_answered_at_once() {
    let mut played = Played::leading();
    let session = played.open_local_session();
    played.write(session, 1, OpCode::CloseSession);
    assert_eq!(played.told(), [Told::Closed(1)]);
}

#[test]
fn how_long_a_quorum_took_is_counted_once_and_without_its_own_disk() {
    let mut played = Played::leading();
    let session = played.open_local_session();
    let quorum = |played: &Played| {
        let readings = played.stage.parts.shared.metrics.read();
        let summary = readings.advanced(Advanced::QuorumAckLatency);
        (summary.count, summary.sum)
    };
    for (xid, counter) in [(1, 1), (2, 2)] {
        played.stage.wall = Millis(100);
        played.write(session, xid, OpCode::SetData);
        played.stage.wall = Millis(107);
        assert_eq!(quorum(&played), (u64::from(counter - 1), u64::from(counter - 1) * 7));
        played.hear_acks(zxid(counter));
    }
    assert_eq!(quorum(&played), (2, 14));
    played.flush(zxid(2));
    assert_eq!(quorum(&played), (2, 14));
    let readings = played.stage.parts.shared.metrics.read();
    assert_eq!(readings.counter(Counter::CommitCount), 2);
}

#[test]
fn it_counts_the_sessions_that_learners_ask_for() {
    let mut played = Played::leading();
    let touch = Touch { session: SessionId(5), timeout_ms: 4000 };
    played.hear(1, Packet::Revalidate(touch));
    assert_eq!(played.stage.take_in(1), 1);
    let readings = played.stage.parts.shared.metrics.read();
    assert_eq!(readings.counter(Counter::RevalidateCount), 1);
}

/// An observer whose history this leader does not have asks for a snapshot, while the tree lacks
/// something of the log.
fn before_a_snapshot(link: u64) -> Played {
    let mut played = Played::leading();
    played.introduce(link, None);
    played.stage.committed.push_back(Proposal { zxid: Zxid(1), record: Vec::new().into() });
    played.hear(link, Packet::AckEpoch { last_logged: Zxid(5), current: Some(Epoch(0)) });
    let waits = |output: &Output| *output == Output::SendSnapshot { link: LinkId(link) };
    assert!(played.stage.outputs.iter().any(waits));
    played
}

fn snapshots_sent(played: &Played) -> (u64, usize) {
    let count = played.stage.parts.shared.metrics.read().counter(Counter::SnapCount);
    (count, played.stage.member.as_ref().map_or(0, |member| member.outgoing.len()))
}

#[test]
fn a_snapshot_is_sent_once_the_tree_has_caught_up() {
    let mut played = before_a_snapshot(9);
    assert_eq!(snapshots_sent(&played), (0, 0));
    catch_up(&mut played.stage);
    assert_eq!(snapshots_sent(&played), (1, 1));
}

/// It would take an image, of which there are few, and a thread that reads the tree for nobody.
#[test]
fn a_snapshot_for_a_learner_lost_meanwhile_is_not_begun() {
    let mut played = before_a_snapshot(9);
    let why = "reset".to_owned();
    hear(&mut played.stage, PeerEvent::LinkDown { link: LinkId(9), why });
    catch_up(&mut played.stage);
    assert_eq!(snapshots_sent(&played), (0, 0));
    assert!(played.stage.outputs.is_empty());
}

/// Its request to go on waits behind others, while disks of a quorum stall.
#[test]
fn a_session_that_came_back_in_time_does_not_expire_before_its_turn() {
    let mut played = Played::leading();
    let [to_learner, to_leader, local, silent] = [6, 7, 8, 9].map(SessionId);
    let (timeout_ms, now) = (4000, played.stage.now);
    for id in [to_learner, to_leader, silent] {
        played.stage.sessions.tracker.add(id, timeout_ms, now);
    }
    let locals = played.stage.sessions.local.as_mut().expect("there are such");
    locals.add(local, timeout_ms, now);
    let due = played.stage.sessions.next_due();
    played.stage.now = Millis(due.0 - 1);
    played.hear(1, Packet::Revalidate(Touch { session: to_learner, timeout_ms }));
    for id in [to_leader, local] {
        assert!(played.stage.parts.shared.returning.push(id).is_ok());
    }
    played.turn_at(due);
    let is_alive = |id| played.stage.sessions.tracker.is_alive(id);
    assert_eq!([to_learner, to_leader, silent].map(is_alive), [true, true, false]);
    assert!(played.stage.sessions.is_local(local));
}
