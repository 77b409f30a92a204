//! How long a write's record becomes: one that no learner takes would cost the leader its learners,
//! and each leader after it, as it is in the log by then (ZOOKEEPER-4306).
//!
//! A record may be longer than its request: `auth` stands for all that a connection has proved to
//! be, a sequential node's path has its number, and bytes that are no UTF-8 become three each. What
//! is counted is never less than what is written, and hardly more.

use crate::wire::request::Request;
use crate::wire::{Acl, ErrorCode, OpCode};

/// Header and digest, with something to spare.
const RECORD_BYTES: usize = 64;

/// Before a step of a multi: its type and its length.
const STEP_BYTES: usize = 8;

/// Before a text, data or a list: how long it is.
const LENGTH_BYTES: usize = 4;

const VERSION_BYTES: usize = 4;

/// Of a create beside the rest: whether it is ephemeral, and its parent's cversion.
const CREATE_BYTES: usize = 1 + 4;

const TTL_BYTES: usize = 8;

/// A step of a multi that failed.
const FAILED_STEP_BYTES: usize = 12;

/// What a sequential node's path has more than was asked for, at most.
pub(super) const SEQUENCE_DIGITS_MAX: usize = 11;

/// Counts one record after the other.
#[derive(Debug)]
pub(super) struct RecordSize {
    bytes: usize,
    bytes_max: usize,
}

impl RecordSize {
    /// Of records of so many bytes at most.
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { bytes: 0, bytes_max }
    }

    /// A new record.
    pub(super) const fn begin(&mut self) {
        self.bytes = RECORD_BYTES;
    }

    /// So many bytes more.
    ///
    /// # Errors
    /// `BadArguments` if that is too much.
    pub(super) const fn add(&mut self, bytes: usize) -> Result<(), ErrorCode> {
        self.bytes += bytes;
        if self.is_too_much() { Err(ErrorCode::BadArguments) } else { Ok(()) }
    }

    /// A step of a multi that is not done, as one before it failed.
    pub(super) const fn add_failed(&mut self) {
        self.bytes += FAILED_STEP_BYTES;
    }

    pub(super) const fn is_too_much(&self) -> bool {
        self.bytes > self.bytes_max
    }
}

/// Of a close's list.
pub(super) fn of_close(paths: &[String]) -> usize {
    paths.iter().map(|path| of_text(path)).sum()
}

/// Of a write that may be a step of a multi. Others are refused.
#[expect(clippy::wildcard_enum_match_arm, reason = "all the others are refused")]
pub(super) fn of_step(request: &Request<'_>) -> usize {
    let more = match request {
        Request::Create(create) => {
            let ttl = if create.op == OpCode::CreateTtl { TTL_BYTES } else { 0 };
            of_text(&create.path) + of_data(create.data) + of_acl(&create.acl) + CREATE_BYTES + ttl
        }
        Request::SetData { path, data, .. } => of_text(path) + of_data(*data) + VERSION_BYTES,
        Request::Delete { path, .. } => of_text(path),
        Request::Check { path, .. } => of_text(path) + VERSION_BYTES,
        _ => return FAILED_STEP_BYTES,
    };
    STEP_BYTES + more
}

/// Of a setACL, which is no step.
pub(super) fn of_acl_change(path: &str, acl: &[Acl<'_>]) -> usize {
    of_text(path) + of_acl(acl) + VERSION_BYTES
}

/// Of a list, in which each entry has what it permits and two texts.
pub(super) fn of_acl(acl: &[Acl<'_>]) -> usize {
    let entry = |acl: &Acl<'_>| size_of::<i32>() + of_text(&acl.scheme) + of_text(&acl.id);
    LENGTH_BYTES + acl.iter().map(entry).sum::<usize>()
}

const fn of_text(text: &str) -> usize {
    LENGTH_BYTES + text.len()
}

fn of_data(data: Option<&[u8]>) -> usize {
    LENGTH_BYTES + data.map_or(0, <[u8]>::len)
}
