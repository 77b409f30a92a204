use super::*;
use crate::ids::{Millis, SessionId};
use crate::wire::jute::Reader;
use crate::wire::response::{Response, StepResult};
use crate::wire::txn::{CreateTxn, TxnHeader};

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn record(op: OpCode, txn: Txn<'_>) -> Record<'_> {
    let (session, cxid) = (SessionId(1), Xid(1));
    let header = TxnHeader { session, cxid, zxid: Zxid(2), time: Millis(0), op };
    Record { header, txn, digest: None }
}

fn create_txn(path: &str) -> CreateTxn<'_> {
    CreateTxn { path: path.into(), data: None, acl: vec![], ephemeral: false, parent_cversion: 1 }
}

/// Header and body of the only frame in `out`.
fn split(out: &[u8]) -> (ReplyHeader, &[u8]) {
    let (frame, rest) = frame::split(out, 1 << 20).unwrap().unwrap();
    assert!(rest.is_empty());
    let mut r = Reader::new(frame);
    (ReplyHeader::decode(&mut r).unwrap(), r.rest())
}

#[test]
fn frames_are_the_references() {
    let mut out = vec![];
    let txn = Txn::Create(create_txn("/a"));
    let outcome = Outcome::Created { path: "/a", stat: Stat::default() };
    assert_eq!(written(&mut out, &record(OpCode::Create, txn), &outcome), Fate::Keep);
    assert_eq!(hex(&out), "0000001600000001000000000000000200000000000000022f61");
    out.clear();
    event(&mut out, Zxid(5), EventType::NodeDataChanged, "/a");
    let expected = "0000001effffffff0000000000000005000000000000000300000003000000022f61";
    assert_eq!(hex(&out), expected);
    out.clear();
    empty(&mut out, Xid::PING, Zxid(9), ErrorCode::Ok);
    assert_eq!(hex(&out), "00000010fffffffe000000000000000900000000");
    out.clear();
    connected(&mut out, &ConnectResponse::invalid(None));
    assert_eq!(out.len(), 4 + 36);
}

#[test]
fn a_body_that_fails_is_taken_back() {
    let mut out = b"before".to_vec();
    let code = reply(&mut out, Xid(3), Zxid(4), |out| {
        out.extend_from_slice(b"half a body");
        ErrorCode::NoNode
    });
    assert_eq!(code, ErrorCode::NoNode);
    let (header, body) = split(&out[6..]);
    assert_eq!(header, ReplyHeader::new(Xid(3), Zxid(4), ErrorCode::NoNode));
    assert_eq!(body, b"");
    let mut out = vec![];
    reply(&mut out, Xid(3), Zxid(4), |out| {
        out.push(1);
        ErrorCode::Ok
    });
    assert_eq!(split(&out).1, [1]);
}

#[test]
fn each_write_has_its_reply() {
    let stat = Stat { czxid: 2, ..Stat::default() };
    let created = || Outcome::Created { path: "/a", stat };
    let create = || create_txn("/a");
    let set = || Txn::SetData { path: "/a".into(), data: None, version: 1 };
    let set_acl = || Txn::SetAcl { path: "/a".into(), acl: vec![], version: 1 };
    let delete = || Txn::Delete { path: "/a".into() };
    let close = || Txn::CloseSession { paths: None };
    let with_stat = || Response::PathStat("/a".into(), stat);
    let cases = [
        (OpCode::Create, Txn::Create(create()), created(), Response::Path("/a".into())),
        (OpCode::Create2, Txn::Create(create()), created(), with_stat()),
        (OpCode::CreateContainer, Txn::CreateContainer(create()), created(), with_stat()),
        (OpCode::CreateTtl, Txn::CreateTtl(create(), 5), created(), with_stat()),
        (OpCode::SetData, set(), Outcome::Changed(stat), Response::Stat(stat)),
        (OpCode::SetAcl, set_acl(), Outcome::Changed(stat), Response::Stat(stat)),
        (OpCode::Delete, delete(), Outcome::Deleted, Response::Empty),
        (OpCode::CloseSession, close(), Outcome::SessionClosed, Response::Empty),
    ];
    for (op, txn, outcome, expected) in cases {
        let mut out = vec![];
        let fate = written(&mut out, &record(op, txn), &outcome);
        let (header, body) = split(&out);
        assert_eq!(header, ReplyHeader::new(Xid(1), Zxid(2), ErrorCode::Ok));
        let mut r = Reader::new(body);
        assert_eq!(Response::decode(op, &mut r), Ok(expected), "{op:?}");
        assert!(r.is_empty(), "{op:?}");
        let closes = op == OpCode::CloseSession;
        assert_eq!(fate, if closes { Fate::CloseAfter } else { Fate::Keep });
    }
}

#[test]
fn a_failed_write_says_only_why() {
    let error = |err| (record(OpCode::Error, Txn::Error { err }), Outcome::Error(err));
    let mut out = vec![];
    let (failed, outcome) = error(-110);
    assert_eq!(written(&mut out, &failed, &outcome), Fate::Keep);
    assert_eq!(split(&out), (ReplyHeader::new(Xid(1), Zxid(2), ErrorCode::NodeExists), &b""[..]));
    out.clear();
    let (moved, outcome) = error(-118);
    assert_eq!(written(&mut out, &moved, &outcome), Fate::CloseSilently);
    assert!(out.is_empty());
}

#[test]
fn a_multi_answers_step_by_step() {
    let stat = Stat { mzxid: 2, ..Stat::default() };
    let path = || "/a".into();
    let txn = || {
        Txn::Multi(vec![
            (OpCode::Create, Txn::Create(create_txn("/a"))),
            (OpCode::Create2, Txn::Create(create_txn("/a"))),
            (OpCode::CreateContainer, Txn::CreateContainer(create_txn("/a"))),
            (OpCode::CreateTtl, Txn::CreateTtl(create_txn("/a"), 5)),
            (OpCode::SetData, Txn::SetData { path: path(), data: None, version: 1 }),
            (OpCode::Check, Txn::Check { path: path(), version: 1 }),
            (OpCode::Delete, Txn::Delete { path: path() }),
        ])
    };
    let created = || Outcome::Created { path: "/a", stat };
    let outcome = Outcome::Multi(vec![
        created(),
        created(),
        created(),
        created(),
        Outcome::Changed(stat),
        Outcome::Checked,
        Outcome::Deleted,
    ]);
    let steps = |record: &Record<'_>, outcome: &Outcome<'_>| {
        let mut out = vec![];
        assert_eq!(written(&mut out, record, outcome), Fate::Keep);
        let (header, body) = split(&out);
        assert_eq!(header.err, 0, "the failure is in the list only");
        match Response::decode(OpCode::Multi, &mut Reader::new(body)) {
            Ok(Response::Multi(steps)) => format!("{steps:?}"),
            other => panic!("{other:?}"),
        }
    };
    let with_stat = || StepResult::Create2(path(), stat);
    let expected = vec![
        StepResult::Create(path()),
        with_stat(),
        with_stat(),
        with_stat(),
        StepResult::SetData(stat),
        StepResult::Check,
        StepResult::Delete,
    ];
    assert_eq!(steps(&record(OpCode::Multi, txn()), &outcome), format!("{expected:?}"));

    let errors = [0, -103, -2, -2, -2, -2, -2];
    let failed = Outcome::Multi(errors.map(Outcome::Error).to_vec());
    let expected: Vec<_> = errors.map(StepResult::Error).to_vec();
    assert_eq!(steps(&record(OpCode::Multi, txn()), &failed), format!("{expected:?}"));

    let empty = record(OpCode::Multi, Txn::Multi(vec![]));
    assert_eq!(steps(&empty, &Outcome::Multi(vec![])), "[]");

    let moved = Outcome::Multi([-118, -2, -2, -2, -2, -2, -2].map(Outcome::Error).to_vec());
    let mut out = vec![];
    assert_eq!(written(&mut out, &record(OpCode::Multi, txn()), &moved), Fate::CloseSilently);
    assert!(out.is_empty());
}
