//! Whole frames: replies, events, the answer to a handshake.
//!
//! Appends to a connection's outbox. Runs on the zab thread for writes, on shards for the rest.
//! Source: `FinalRequestProcessor`, `ServerCnxn`.

use crate::ids::{Xid, Zxid};
use crate::tree::Outcome;
use crate::wire::client::{ConnectResponse, EventType, ReplyHeader, WatcherEvent};
use crate::wire::frame;
use crate::wire::response::{step_error, step_header, steps_end};
use crate::wire::txn::{Record, Txn};
use crate::wire::{ErrorCode, OpCode, Stat, Writer};

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It goes on.
    Keep,
    /// It is closed once the reply is sent.
    CloseAfter,
    /// It is closed; nothing was written. Clients know no code for a session that moved.
    CloseSilently,
}

/// The zxid in replies that no txn stands behind: auth, sasl, and requests before authentication.
pub const ZXID_ASIDE: Zxid = Zxid(0);

/// The zxid in the reply to an opcode nobody knows, and in events that setWatches catches up on.
pub const ZXID_UNKNOWN: Zxid = Zxid(-1);

const ERR_OFFSET: usize = frame::LENGTH_BYTES + ReplyHeader::BYTES - size_of::<i32>();

/// A reply whose body `body` appends; what it appended is taken back unless it returns Ok.
pub fn reply(
    out: &mut Vec<u8>,
    xid: Xid,
    zxid: Zxid,
    body: impl FnOnce(&mut Vec<u8>) -> ErrorCode,
) -> ErrorCode {
    let start = frame::begin(out);
    ReplyHeader::new(xid, zxid, ErrorCode::Ok).encode(&mut Writer::new(out));
    let mut code = body(out);
    if i32::try_from(out.len() - start).is_err() {
        code = ErrorCode::MarshallingError; // no frame can hold it
    }
    if code != ErrorCode::Ok {
        out.truncate(start + frame::LENGTH_BYTES + ReplyHeader::BYTES);
        let err = start + ERR_OFFSET;
        out[err..err + size_of::<i32>()].copy_from_slice(&code.to_wire().to_be_bytes());
    }
    frame::end(out, start);
    code
}

/// A reply that says what went wrong, or Ok, and nothing else.
pub fn empty(out: &mut Vec<u8>, xid: Xid, zxid: Zxid, code: ErrorCode) {
    header_only(out, ReplyHeader::new(xid, zxid, code));
}

fn header_only(out: &mut Vec<u8>, header: ReplyHeader) {
    frame::write(out, |out| header.encode(&mut Writer::new(out)));
}

/// A watch event.
pub fn event(out: &mut Vec<u8>, zxid: Zxid, kind: EventType, path: &str) {
    frame::write(out, |out| {
        let mut w = Writer::new(out);
        ReplyHeader::new(Xid::NOTIFICATION, zxid, ErrorCode::Ok).encode(&mut w);
        WatcherEvent { kind, path: path.into() }.encode(&mut w);
    });
}

/// The answer to a handshake.
pub fn connected(out: &mut Vec<u8>, response: &ConnectResponse) {
    frame::write(out, |out| response.encode(&mut Writer::new(out)));
}

/// The body of the reply to an addWatch that succeeded.
pub fn add_watch_body(out: &mut Vec<u8>) {
    Writer::new(out).i32(ErrorCode::Ok.to_wire());
}

/// The reply to a reconfig that succeeded: the new configuration.
pub fn reconfigured(out: &mut Vec<u8>, record: &Record<'_>, config: &[u8], stat: &Stat) {
    reply(out, record.header.cxid, record.header.zxid, |out| {
        let mut w = Writer::new(out);
        w.buffer(Some(config));
        stat.encode(&mut w);
        ErrorCode::Ok
    });
}

/// The reply to the write whose txn `record` came to `outcome`.
///
/// A createSession is answered by [`connected`], a reconfig by [`reconfigured`].
pub fn written(out: &mut Vec<u8>, record: &Record<'_>, outcome: &Outcome<'_>) -> Fate {
    if is_session_error(outcome) {
        return Fate::CloseSilently;
    }
    let header = &record.header;
    let (xid, zxid) = (header.cxid, header.zxid);
    if let Outcome::Error(err) = outcome {
        header_only(out, ReplyHeader { xid, zxid, err: *err });
        return Fate::Keep;
    }
    reply(out, xid, zxid, |out| {
        body(&mut Writer::new(out), header.op, &record.txn, outcome);
        ErrorCode::Ok
    });
    match outcome {
        Outcome::SessionClosed => Fate::CloseAfter,
        Outcome::Created { .. }
        | Outcome::Deleted
        | Outcome::Changed(_)
        | Outcome::Checked
        | Outcome::Multi(_)
        | Outcome::SessionOpened
        | Outcome::Error(_) => Fate::Keep,
    }
}

/// No client is told that its session moved; in a multi, nor that it expired.
fn is_session_error(outcome: &Outcome<'_>) -> bool {
    let moved = ErrorCode::SessionMoved.to_wire();
    let expired = ErrorCode::SessionExpired.to_wire();
    match outcome {
        Outcome::Error(err) => *err == moved,
        Outcome::Multi(steps) => steps
            .iter()
            .any(|step| matches!(step, Outcome::Error(err) if *err == moved || *err == expired)),
        Outcome::Created { .. }
        | Outcome::Deleted
        | Outcome::Changed(_)
        | Outcome::Checked
        | Outcome::SessionOpened
        | Outcome::SessionClosed => false,
    }
}

fn body(w: &mut Writer<'_>, op: OpCode, txn: &Txn<'_>, outcome: &Outcome<'_>) {
    match outcome {
        Outcome::Created { path, stat } => {
            w.string(path);
            if op != OpCode::Create {
                stat.encode(w);
            }
        }
        Outcome::Changed(stat) => stat.encode(w),
        Outcome::Multi(outcomes) => steps(w, txn, outcomes),
        Outcome::Deleted
        | Outcome::Checked
        | Outcome::SessionOpened
        | Outcome::SessionClosed
        | Outcome::Error(_) => {}
    }
}

fn steps(w: &mut Writer<'_>, txn: &Txn<'_>, outcomes: &[Outcome<'_>]) {
    let Txn::Multi(steps) = txn else { unreachable!("only a multi comes to a multi") };
    assert_eq!(steps.len(), outcomes.len(), "one outcome for each step");
    for ((op, txn), outcome) in steps.iter().zip(outcomes) {
        if let Outcome::Error(err) = outcome {
            step_error(w, *err);
            continue;
        }
        // COMPAT: all creates with a stat are answered as create2 (`OpResult.CreateResult`).
        let with_stat = matches!(op, OpCode::CreateContainer | OpCode::CreateTtl);
        let kind = if with_stat { OpCode::Create2 } else { *op };
        step_header(w, kind.to_wire(), 0);
        body(w, *op, txn, outcome);
    }
    steps_end(w);
}

#[cfg(test)]
mod tests;
