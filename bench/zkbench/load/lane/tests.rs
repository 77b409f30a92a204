//! A session's requests against made-up replies, on a made-up clock.

use ringkeeper::ids::Zxid;
use ringkeeper::wire::Writer;

use super::super::workload::Workload;
use super::*;

const WINDOW: Window = Window { open: 0, start: 100, end: 200 };

fn rules(in_flight_max: usize) -> Rules {
    Rules {
        in_flight_max,
        ops: None,
        timeout_ns: 1_000,
        ping_ns: 300,
        templates: Arc::new(Templates::new("/r", b"v")),
        shared: Arc::default(),
    }
}

fn lane(rules: Rules, pace: Pace) -> Lane {
    let mixed = Workload::Mixed { read_percent: 100, znodes: 10 };
    let mut lane = Lane::new(0, rules, pace, Chooser::new(mixed, 1, 0));
    lane.begin(WINDOW);
    lane
}

fn reply(out: &mut Vec<u8>, xid: i32, code: ErrorCode) {
    let header = ReplyHeader::new(Xid(xid), Zxid(7), code);
    frame::write(out, |out| header.encode(&mut Writer::new(out)));
}

fn replies(xids: impl IntoIterator<Item = i32>) -> Vec<u8> {
    let mut out = Vec::new();
    xids.into_iter().for_each(|xid| reply(&mut out, xid, ErrorCode::Ok));
    out
}

#[test]
fn a_closed_loop_keeps_its_requests_in_flight() {
    let (mut lane, mut tally, mut out) = (lane(rules(3), Pace::Closed), Tally::new(), Vec::new());
    lane.fill(100, &mut out);
    assert_eq!(lane.in_flight.len(), 3);
    let input = replies([1, 2]);
    assert_eq!(lane.on_input(&input, 150, &mut tally), Ok(input.len()));
    lane.fill(150, &mut out);
    assert_eq!(lane.in_flight.len(), 3);
    assert_eq!((tally.ok(), lane.credentials.last_zxid), (2, Zxid(7)));
}

#[test]
fn half_a_frame_waits_for_the_rest() {
    let (mut lane, mut tally) = (lane(rules(2), Pace::Closed), Tally::new());
    lane.fill(100, &mut Vec::new());
    let input = replies([1, 2]);
    let cut = input.len() - 1;
    let used = lane.on_input(&input[..cut], 110, &mut tally).unwrap();
    assert_eq!(used, input.len() / 2);
    assert_eq!(lane.on_input(&input[used..], 120, &mut tally), Ok(input.len() - used));
    assert_eq!(tally.ok(), 2);
}

#[test]
fn what_is_due_outside_the_window_does_not_count() {
    let (mut lane, mut tally) = (lane(rules(1), Pace::Closed), Tally::new());
    lane.fill(99, &mut Vec::new());
    lane.on_input(&replies([1]), 150, &mut tally).unwrap();
    lane.fill(150, &mut Vec::new());
    lane.on_input(&replies([2]), 250, &mut tally).unwrap();
    lane.fill(250, &mut Vec::new());
    assert!(lane.is_done(250));
    assert_eq!(tally.ok(), 1);
}

#[test]
fn a_reply_out_of_order_is_a_fault_and_nothing_in_flight_is_forgotten() {
    let (mut lane, mut tally) = (lane(rules(2), Pace::Closed), Tally::new());
    lane.fill(100, &mut Vec::new());
    let fault = lane.on_input(&replies([2]), 110, &mut tally);
    assert_eq!(fault, Err(ReplyFault::Order { expected: Some(Xid(1)), found: Xid(2) }));
    lane.on_lost(120, &mut tally);
    let errors: Vec<_> = tally.kind(Kind::Get).errors.clone().into_iter().collect();
    assert_eq!(errors, [(ErrorCode::ConnectionLoss.to_wire(), 2)]);
}

#[test]
fn errors_and_lost_requests_are_counted_by_code() {
    let (mut lane, mut tally) = (lane(rules(3), Pace::Closed), Tally::new());
    lane.fill(100, &mut Vec::new());
    let mut input = Vec::new();
    reply(&mut input, 1, ErrorCode::NoNode);
    lane.on_input(&input, 110, &mut tally).unwrap();
    lane.on_lost(500, &mut tally);
    lane.fill(150, &mut Vec::new());
    assert!(!lane.is_late(1_149) && lane.is_late(1_150));
    lane.on_lost(1_150, &mut tally);
    let errors: Vec<_> = tally.kind(Kind::Get).errors.clone().into_iter().collect();
    assert_eq!(errors, [(-101, 1), (-7, 3), (-4, 2)]);
}

#[test]
fn the_number_of_requests_can_be_the_bound() {
    let rules = Rules { ops: Some(5), ..rules(3) };
    let (mut lane, mut tally) = (lane(rules, Pace::Closed), Tally::new());
    let mut next = 1;
    while !lane.is_done(100) {
        lane.fill(100, &mut Vec::new());
        let count = i32::try_from(lane.in_flight.len()).unwrap();
        lane.on_input(&replies(next..next + count), 110, &mut tally).unwrap();
        next += count;
    }
    assert_eq!(tally.ok(), 5);
}

#[test]
fn an_idle_session_pings() {
    let inbox = Rc::new(Inbox::default());
    let (mut lane, mut tally) = (lane(rules(3), Pace::Open(inbox)), Tally::new());
    let mut out = Vec::new();
    lane.fill(299, &mut out);
    assert!(out.is_empty());
    assert_eq!(lane.deadline(), 300);
    lane.fill(300, &mut out);
    assert_eq!(lane.in_flight.len(), 1);
    lane.on_input(&replies([-2]), 310, &mut tally).unwrap();
    assert!(lane.in_flight.is_empty());
}

#[test]
fn an_open_loop_counts_from_when_a_request_was_due() {
    let inbox = Rc::new(Inbox::default());
    let (mut lane, mut tally) = (lane(rules(1), Pace::Open(inbox.clone())), Tally::new());
    for due in [100, 110, 120] {
        assert!(inbox.push(due));
    }
    inbox.close();
    let mut sent = 10_100;
    for xid in 1..=3 {
        lane.fill(sent, &mut Vec::new());
        assert_eq!(lane.in_flight.len(), 1, "one at a time");
        sent += 10_000;
        lane.on_input(&replies([xid]), sent, &mut tally).unwrap();
    }
    assert!(lane.is_done(sent));
    let get = tally.kind(Kind::Get);
    assert!(get.service.max().abs_diff(10_000) < 128);
    assert!(get.latency.max().abs_diff(39_980) < 128);
    assert!(tally.lag.max().abs_diff(29_980) < 128);
}

#[test]
fn what_was_never_sent_is_counted_too() {
    let inbox = Rc::new(Inbox::default());
    let (mut lane, mut tally) = (lane(rules(1), Pace::Open(inbox.clone())), Tally::new());
    for due in [99, 100, 110, 120] {
        inbox.push(due);
    }
    lane.fill(130, &mut Vec::new());
    assert!(lane.is_late(1_200), "the time to wait after the window is over");
    lane.on_lost(1_200, &mut tally);
    assert_eq!(tally.unsent, 3);
    assert!(lane.is_done(1_200));
}
