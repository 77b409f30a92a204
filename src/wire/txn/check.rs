//! Whether bytes are a txn, for less than decoding them costs: a learner asks this of every record
//! of its leader's before it logs it.
//!
//! INVARIANT: takes exactly what [`super::Record::decode`] takes: the same fields in the same
//! order. Nothing is allocated, and no text is looked into, as any bytes are one.

use super::{TxnHeader, lists_nothing};
use crate::wire::code::OpCode;
use crate::wire::jute::{DecodeError, Reader};
use crate::wire::record::Acl;

/// The header of a record that can be decoded.
///
/// # Errors
/// What [`super::Record::decode`] would say.
pub fn check(record: &[u8]) -> Result<TxnHeader, DecodeError> {
    let mut r = Reader::new(record);
    let header = TxnHeader::decode(&mut r)?;
    pass_body(header.op, &mut r)?;
    if !r.is_empty() {
        r.i32()?;
        r.i64()?;
    }
    Ok(header)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "few of the many opcodes are txns")]
fn pass_body(op: OpCode, r: &mut Reader<'_>) -> Result<(), DecodeError> {
    match op {
        OpCode::Create | OpCode::Create2 => pass_create(r, true)?,
        OpCode::CreateContainer => pass_create(r, false)?,
        OpCode::CreateTtl => {
            pass_create(r, false)?;
            r.i64()?;
        }
        OpCode::Delete | OpCode::DeleteContainer => pass_text(r)?,
        OpCode::SetData | OpCode::Reconfig => {
            pass_text(r)?;
            r.buffer()?;
            r.i32()?;
        }
        OpCode::SetAcl => {
            pass_text(r)?;
            pass_acl(r)?;
            r.i32()?;
        }
        OpCode::Check => {
            pass_text(r)?;
            r.i32()?;
        }
        OpCode::Multi => pass_steps(r)?,
        OpCode::CloseSession if lists_nothing(r) => {}
        OpCode::CloseSession => {
            let count = r.count(4)?.ok_or(DecodeError::Null)?;
            (0..count).try_for_each(|_| pass_text(r))?;
        }
        OpCode::CreateSession | OpCode::Error => {
            r.i32()?;
        }
        _ => return Err(DecodeError::Unknown { what: "txn type", value: op.to_wire() }),
    }
    Ok(())
}

fn pass_create(r: &mut Reader<'_>, with_ephemeral: bool) -> Result<(), DecodeError> {
    pass_text(r)?;
    r.buffer()?;
    pass_acl(r)?;
    if with_ephemeral {
        r.bool()?;
    }
    if !(with_ephemeral && r.is_empty()) {
        r.i32()?;
    }
    Ok(())
}

fn pass_text(r: &mut Reader<'_>) -> Result<(), DecodeError> {
    r.buffer()?.map(drop).ok_or(DecodeError::Null)
}

fn pass_acl(r: &mut Reader<'_>) -> Result<(), DecodeError> {
    for _ in 0..r.count(Acl::BYTES_MIN)?.unwrap_or(0) {
        r.i32()?;
        r.buffer()?;
        r.buffer()?;
    }
    Ok(())
}

fn pass_steps(r: &mut Reader<'_>) -> Result<(), DecodeError> {
    for _ in 0..r.count(8)?.ok_or(DecodeError::Null)? {
        let value = r.i32()?;
        let op = OpCode::from_wire(value).filter(|op| *op != OpCode::Multi);
        let op = op.ok_or(DecodeError::Unknown { what: "txn type in a multi", value })?;
        let body = r.buffer()?.ok_or(DecodeError::Null)?;
        pass_body(op, &mut Reader::new(body))?;
    }
    Ok(())
}
