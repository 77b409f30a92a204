//! The steps of multi and multiRead: a header in front of each, and one that ends them.
//! Source: `MultiOperationRecord`.

use super::{Create, NULL_PATH, Read, Request};
use crate::wire::code::OpCode;
use crate::wire::jute::{DecodeError, Reader, Writer};

/// In front of each step of a multi and of its result.
struct MultiHeader {
    op: i32,
    done: bool,
}

impl MultiHeader {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = Self { op: r.i32()?, done: r.bool()? };
        r.i32()?;
        Ok(header)
    }
}

fn multi_header(w: &mut Writer<'_>, op: i32, done: bool) {
    w.i32(op);
    w.bool(done);
    w.i32(-1);
}

pub(super) fn encode(steps: &[Request<'_>], w: &mut Writer<'_>) {
    for step in steps {
        multi_header(w, step.op().to_wire(), false);
        step.encode(w);
    }
    multi_header(w, -1, true);
}

pub(super) fn encode_reads(steps: &[Read<'_>], w: &mut Writer<'_>) {
    for step in steps {
        multi_header(w, step.op.to_wire(), false);
        step.encode(w);
    }
    multi_header(w, -1, true);
}

/// The steps of a multi.
///
/// COMPAT: one null path and none of them is looked at (`PrepRequestProcessor.getPendingChanges`).
#[expect(clippy::wildcard_enum_match_arm, reason = "a multi holds few of the many opcodes")]
pub(super) fn decode_writes<'a>(r: &mut Reader<'a>) -> Result<Vec<Request<'a>>, DecodeError> {
    let steps = decode(r)?;
    let has_null_path = steps.iter().any(|step| match step {
        Request::Check { path, .. } | Request::SetData { path, .. } => path == NULL_PATH,
        _ => false, // null is no path for them in the first place
    });
    if has_null_path { Err(DecodeError::NullPath) } else { Ok(steps) }
}

/// The write steps a multi may hold; a read among them cannot be decoded.
#[expect(clippy::wildcard_enum_match_arm, reason = "a multi holds few of the many opcodes")]
fn decode<'a>(r: &mut Reader<'a>) -> Result<Vec<Request<'a>>, DecodeError> {
    let mut steps = Vec::new();
    loop {
        let header = MultiHeader::decode(r)?;
        if header.done {
            return Ok(steps);
        }
        let unknown = DecodeError::Unknown { what: "step of a multi", value: header.op };
        let op = OpCode::from_wire(header.op).ok_or(unknown)?;
        steps.push(match op {
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Request::Create(Create::decode_step(op, r)?)
            }
            OpCode::Delete | OpCode::SetData | OpCode::Check => Request::decode(op, r)?,
            _ => return Err(unknown),
        });
    }
}

/// The read steps a multiRead may hold. Reads and writes together cannot be decoded; writes alone
/// can, as a multi, but are of no use here.
pub(super) fn decode_reads<'a>(r: &mut Reader<'a>) -> Result<Vec<Read<'a>>, DecodeError> {
    let mut again = *r;
    reads(r).map_err(|error| {
        let is_multi = decode(&mut again).is_ok();
        if is_multi { DecodeError::WritesInMultiRead } else { error }
    })
}

fn reads<'a>(r: &mut Reader<'a>) -> Result<Vec<Read<'a>>, DecodeError> {
    let mut steps = Vec::new();
    loop {
        let header = MultiHeader::decode(r)?;
        if header.done {
            return Ok(steps);
        }
        let unknown = DecodeError::Unknown { what: "step of a multiRead", value: header.op };
        match OpCode::from_wire(header.op) {
            Some(op @ (OpCode::GetData | OpCode::GetChildren)) => steps.push(Read::decode(op, r)?),
            _ => return Err(unknown),
        }
    }
}
