//! Frames of a real ZooKeeper, kept as hex: decoding one and encoding it again must give the same
//! bytes. `tests/golden/refresh` captures them anew between our encoder and Java, and between
//! Java's own shell and Java.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod capture;
#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;

use ringkeeper::wire::client::{
    ConnectRequest, ConnectResponse, EVENT_STATE, ReplyHeader, RequestHeader, WatcherEvent,
};
use ringkeeper::wire::request::Request;
use ringkeeper::wire::response::Response;
use ringkeeper::wire::{OpCode, Reader, Writer};

/// One line of a capture: which way, what, and the frame's bytes.
struct Line<'a> {
    number: usize,
    kind: &'a str,
    op: Option<OpCode>,
    frame: Vec<u8>,
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// `KIND OPCODE HEX`, with `#` before a remark.
fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let fields: Vec<_> = line.split_whitespace().collect();
        if let [kind, op, frame] = fields[..]
            && kind != "#"
        {
            let op = op.parse().ok().and_then(OpCode::from_wire);
            lines.push(Line { number: at + 1, kind, op, frame: unhex(frame) });
        }
    }
    lines
}

/// The frame again, by way of our types.
fn round_trip(line: &Line<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    let mut r = Reader::new(&line.frame);
    let op = || line.op.expect("an opcode");
    match line.kind {
        "hello" => ConnectRequest::decode(&line.frame).expect("decodes").encode(&mut w),
        "welcome" => ConnectResponse::decode(&line.frame).expect("decodes").encode(&mut w),
        "request" => {
            RequestHeader::decode(&mut r).expect("decodes").encode(&mut w);
            Request::decode(op(), &mut r).expect("decodes").encode(&mut w);
            assert!(r.is_empty(), "line {}: bytes are left over", line.number);
        }
        "reply" => {
            let header = ReplyHeader::decode(&mut r).expect("decodes");
            header.encode(&mut w);
            if header.err == 0 {
                Response::decode(op(), &mut r).expect("decodes").encode(&mut w);
            }
            assert!(r.is_empty(), "line {}: bytes are left over", line.number);
        }
        "event" => {
            ReplyHeader::decode(&mut r).expect("decodes").encode(&mut w);
            WatcherEvent::decode(&mut r).expect("decodes").encode(&mut w);
            assert_eq!(line.frame[20..24], EVENT_STATE.to_be_bytes());
        }
        other => panic!("line {}: no such kind: {other}", line.number),
    }
    out
}

fn check(name: &str, text: &str) {
    let lines = lines(text);
    assert!(!lines.is_empty(), "{name} is empty");
    for line in &lines {
        assert_eq!(round_trip(line), line.frame, "{name}, line {}", line.number);
    }
}

#[test]
fn frames_with_java_39_read_back() {
    check("java39.hex", include_str!("java39.hex"));
}

#[test]
fn frames_with_java_38_read_back() {
    check("java38.hex", include_str!("java38.hex"));
}

#[test]
fn frames_of_javas_own_client_read_back() {
    check("shell.hex", include_str!("shell.hex"));
}

/// Both directions of each opcode a client may send are in the captures.
#[test]
fn every_record_is_there() {
    let text = [include_str!("java39.hex"), include_str!("java38.hex"), include_str!("shell.hex")]
        .join("\n");
    let lines = lines(&text);
    let mut missing = String::new();
    for op in OpCode::ALL {
        let is_internal = matches!(
            op,
            OpCode::Notification
                | OpCode::Check
                | OpCode::DeleteContainer
                | OpCode::CreateSession
                | OpCode::Error
        );
        for kind in ["request", "reply"] {
            let there = lines.iter().any(|line| line.kind == kind && line.op == Some(*op));
            // reconfig never succeeds stand-alone, but its refusal is a reply too
            if !is_internal && !there {
                let _ = write!(missing, " {kind} of {op:?};");
            }
        }
    }
    for kind in ["hello", "welcome", "event"] {
        assert!(lines.iter().any(|line| line.kind == kind), "no {kind}");
    }
    assert!(missing.is_empty(), "not captured:{missing}");
}

/// Not a check: writes the captures anew (`tests/golden/refresh` runs it).
#[test]
#[ignore = "needs Java; run by tests/golden/refresh"]
fn refresh() {
    capture::refresh();
}
