//! A follower, and what its own clients are told when.

use super::played::{Played, Told, zxid};
use super::*;
use crate::limits::UNFLUSHED_MAX;
use crate::metrics::{Advanced, Counter};
use crate::stage::message::Batch;
use crate::stage::zab::role::Role;

#[test]
fn the_end_of_a_local_session_does_not_overtake_its_sync() {
    let mut played = Played::following();
    let session = played.open_local_session();
    played.write(session, 1, OpCode::Sync);
    played.write(session, 2, OpCode::CloseSession);
    assert_eq!(played.told(), [], "the leader has not answered");
    played.hear(UP.0, Packet::Sync);
    assert_eq!(played.told(), [Told::Reply(1), Told::Closed(2)]);
}

#[test]
fn the_end_of_a_local_session_does_not_overtake_its_write() {
    let mut played = Played::following();
    let session = played.open_local_session();
    played.write(session, 1, OpCode::SetData);
    played.write(session, 2, OpCode::CloseSession);
    let (zxid, record) = (zxid(1), record_of(session, 1, zxid(1)).into());
    played.hear(UP.0, Packet::Proposal { zxid, record });
    played.hear(UP.0, Packet::Commit { zxid });
    assert_eq!(played.told(), [], "it is not on this disk");
    played.flush(zxid);
    assert_eq!(played.told(), [Told::Reply(1), Told::Closed(2)]);
    assert_eq!(played.stage.sessions.local_count(), 0);
}

#[test]
fn the_end_of_a_local_session_that_waits_for_nothing_is_answered_at_once() {
    let mut played = Played::following();
    let session = played.open_local_session();
    played.write(session, 1, OpCode::CloseSession);
    assert_eq!(played.told(), [Told::Closed(1)]);
}

/// Number and sum of the milliseconds.
fn latency(stage: &ZabStage, summary: Advanced) -> (u64, u64) {
    let summary = stage.parts.shared.metrics.read().advanced(summary);
    (summary.count, summary.sum)
}

#[test]
fn it_counts_what_its_leader_sends_and_how_long_ago_that_was_made() {
    let mut played = Played::following();
    let propose = |played: &mut Played, counter| {
        let (zxid, record) = (zxid(counter), record(zxid(counter)).into());
        played.hear(UP.0, Packet::Proposal { zxid, record });
    };
    played.stage.wall = Millis(-1);
    propose(&mut played, 1);
    assert_eq!(latency(&played.stage, Advanced::ProposalLatency), (0, 0), "clocks differ");
    played.stage.wall = Millis(3);
    propose(&mut played, 2);
    assert_eq!(latency(&played.stage, Advanced::ProposalLatency), (1, 2));
    played.stage.wall = Millis(5);
    played.hear(UP.0, Packet::Commit { zxid: zxid(1) });
    played.stage.wall = Millis(20);
    played.hear(UP.0, Packet::Commit { zxid: zxid(2) });
    assert_eq!(latency(&played.stage, Advanced::CommitPropagationLatency), (2, 4 + 19));
    assert_eq!(latency(&played.stage, Advanced::PropagationLatency), (0, 0), "not applied yet");
    played.flush(zxid(2));
    assert_eq!(latency(&played.stage, Advanced::PropagationLatency), (2, 2 * 19));
    let readings = played.stage.parts.shared.metrics.read();
    assert_eq!(readings.counter(Counter::LearnerProposalReceivedCount), 2);
    assert_eq!(readings.counter(Counter::LearnerCommitReceivedCount), 2);
    assert_eq!(readings.counter(Counter::CommitCount), 0, "its leader's");
}

/// It is sent one proposal more than its disk has room for; how many it has room for.
fn fall_behind(played: &mut Played) -> u32 {
    let behind = u32::try_from(UNFLUSHED_MAX).expect("a small number");
    for counter in 1..=behind + 1 {
        let (zxid, record) = (zxid(counter), record(zxid(counter)).into());
        played.hear(UP.0, Packet::Proposal { zxid, record });
    }
    behind
}

/// Nothing else would wake it: all that the log was given is flushed.
#[test]
fn it_goes_on_at_once_when_a_flush_lets_it_read_again() {
    let mut played = Played::following();
    let behind = fall_behind(&mut played);
    let on_links = |played: &Played| played.stage.member.as_ref().map(|one| one.on_links.len());
    assert_eq!(on_links(&played), Some(1), "one is too many for a disk that lags");
    assert!(!played.turn(Zxid::ZERO), "nothing can be done");
    assert!(played.turn(zxid(behind)), "and now it can");
    assert!(!played.turn(zxid(behind)));
    assert_eq!(on_links(&played), Some(0));
}

/// The leader's pings stay unread behind proposals that its disk has no room for.
#[test]
fn a_leader_is_told_who_was_heard_of_while_its_pings_are_not_read() {
    let mut played = Played::following();
    let told = |played: &Played| match &played.stage.role {
        Role::Forwarding(forwarding) => forwarding.touched,
        Role::Resting | Role::Ordering | Role::ReadOnly => panic!("it follows"),
    };
    let tick_ms = i64::from(settings().tick_time_ms);
    let start = told(&played);
    let turn_at = |played: &mut Played, after_ms: i64| {
        played.stage.now = Millis(start.0 + after_ms);
        played.stage.attend(&mut Vec::new());
        told(played).0 - start.0
    };
    let gone = played.attach_and_leave(SessionId(5));
    assert_eq!(turn_at(&mut played, tick_ms), 0, "its leader asks when it wants to know");
    fall_behind(&mut played);
    assert_eq!(turn_at(&mut played, tick_ms / 2 - 1), 0);
    assert_eq!(played.stage.touches_due(), Some(Millis(start.0 + tick_ms / 2)));
    assert!(played.stage.sessions.last_heard(gone).is_some());
    for halves in 1..=3 {
        assert_eq!(turn_at(&mut played, halves * tick_ms / 2), halves * tick_ms / 2);
        let is_told = played.stage.sessions.last_heard(gone).is_none();
        assert!(is_told, "of who has left it is told once more, then forgets them");
    }
}

/// What a log thread does from the first ring on. True once it is told to stop, false if nobody
/// is left to say so.
fn drain(
    asks: &Receiver<LogAsk>,
    park: &ParkBell,
    bell: &StickyBell,
    is_over: &StickyBell,
) -> bool {
    park.adopt();
    while !bell.is_rung() {
        park.wait_unless(None, || bell.is_rung());
    }
    loop {
        // In this order: what it was told last, it was told before the end.
        let was_over = is_over.is_rung();
        match asks.pop() {
            Some(LogAsk::Stop) => return true,
            Some(_) => {}
            None if was_over => return false,
            None => park.wait_unless(None, || !asks.is_empty() || is_over.is_rung()),
        }
    }
}

/// The log thread would never end, nor the server before the patience with it is over.
#[test]
fn it_tells_the_log_to_stop_once_there_is_room_to_say_so() {
    let played = Played::following();
    let park = Arc::new(ParkBell::default());
    let sticky = || StickyBell::new(Arc::clone(&park) as Arc<dyn Bell>);
    let (bell, is_over) = (sticky(), sticky());
    let (log, asks) = bounded(1, Arc::clone(&bell) as Arc<dyn Bell>);
    assert!(log.push(LogAsk::Roll).is_ok(), "and now it is full");
    let is_told = std::thread::scope(|scope| {
        let told = scope.spawn(|| drain(&asks, &park, &bell, &is_over));
        played.stop(log);
        is_over.ring();
        told.join().expect("a log that drains")
    });
    assert!(is_told);
}

/// The shards have yet to take what they were told last.
#[test]
fn the_log_is_woken_where_a_turn_finds_no_room_for_replies() {
    let Played { mut stage, .. } = Played::following();
    let bell = StickyBell::new(Arc::new(ParkBell::default()));
    let (log, logged) = bounded(1, Arc::clone(&bell) as Arc<dyn Bell>);
    stage.parts.log = log;
    while stage.parts.batches[0].push(Batch::default()).is_ok() {}
    let proposal = Packet::Proposal { zxid: zxid(1), record: record(zxid(1)).into() };
    stage.member.as_mut().unwrap().events.push(packet(proposal));
    assert!(!stage.turn(&mut Vec::new()));
    assert!(matches!(logged.pop(), Some(LogAsk::Append(_))));
    assert!(bell.is_rung());
}
