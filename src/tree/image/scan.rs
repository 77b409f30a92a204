//! Finds the end of an image in a stream, without keeping any of it.
//!
//! A leader sends an image on the connection that its packets come on, and neither has a length in
//! front. Whoever reads the connection has to know where the image ends before anybody has made a
//! tree of it.

use std::fmt;

use super::TERMINATOR;
use crate::tree::node::StatPersisted;
use crate::wire::quorum::SNAPSHOT_SIGNATURE;

/// A session's id and timeout.
const SESSION_BYTES: u64 = 12;

/// What an ACL list's entries have in front of their texts.
const PERMS_BYTES: u64 = 4;

/// The id of an ACL list.
const ACL_ID_BYTES: u64 = 8;

/// A length that no field may have, or an image without its signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ScanError {
    /// Of what.
    pub what: &'static str,
    /// As read.
    pub len: i32,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, len } = self;
        write!(f, "snapshot stream: unreasonable length {len} of {what}")
    }
}

impl std::error::Error for ScanError {}

/// Where in a stream the scan is.
#[derive(Clone, Debug)]
pub struct Scanner {
    step: Step,
    /// Bytes to be passed over before the step's number.
    skip: u64,
    /// What has come of that number.
    number: [u8; 4],
    come: usize,
    /// ACL lists to come, and entries of the list at hand.
    lists: u64,
    entries: u64,
}

/// Whose length, or count, is next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Sessions,
    AclTable,
    AclList,
    AclScheme,
    AclId,
    Path,
    /// The one byte of a path that may be the terminator.
    ShortPath,
    Data,
    Signature,
    End,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { step: Step::Sessions, skip: 0, number: [0; 4], come: 0, lists: 0, entries: 0 }
    }
}

impl Scanner {
    /// Looks at what has come; how much of it belongs to the image. Less than all only at the end.
    ///
    /// # Errors
    /// [`ScanError`] if it is no image.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<usize, ScanError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.skip > 0 {
                let skipped = rest.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                self.skip -= skipped as u64;
                rest = &rest[skipped..];
                continue;
            }
            let width = match self.step {
                Step::End => break,
                Step::ShortPath => 1,
                Step::Sessions
                | Step::AclTable
                | Step::AclList
                | Step::AclScheme
                | Step::AclId
                | Step::Path
                | Step::Data
                | Step::Signature => 4,
            };
            self.number[self.come] = rest[0];
            self.come += 1;
            rest = &rest[1..];
            if self.come == width {
                self.come = 0;
                self.advance()?;
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Whether the end, and the signature behind it, has come.
    pub fn is_done(&self) -> bool {
        self.step == Step::End && self.skip == 0
    }

    /// The step's number is there.
    fn advance(&mut self) -> Result<(), ScanError> {
        match self.step {
            Step::Sessions => {
                self.go(Step::AclTable, self.length("sessions")? * SESSION_BYTES);
            }
            Step::AclTable => {
                self.lists = self.length("ACL table")?;
                self.next_list();
            }
            Step::AclList => {
                self.entries = self.length("ACL")?;
                self.next_entry();
            }
            Step::AclScheme => self.go(Step::AclId, self.length("ACL scheme")?),
            Step::AclId => {
                let id = self.length("ACL id")?;
                self.next_entry();
                self.skip += id;
            }
            Step::Path => match self.length("path")? {
                1 => self.go(Step::ShortPath, 0),
                len => self.go(Step::Data, len),
            },
            Step::ShortPath if self.number[0] == TERMINATOR.as_bytes()[0] => {
                self.go(Step::Signature, 0);
            }
            Step::ShortPath => self.go(Step::Data, 0),
            Step::Data => {
                let none = i32::from_be_bytes(self.number) == -1;
                let data = if none { 0 } else { self.length("data")? };
                self.go(Step::Path, data + ACL_ID_BYTES + StatPersisted::BYTES as u64);
            }
            Step::Signature => {
                let len = self.length("signature")?;
                if len != SNAPSHOT_SIGNATURE.len() as u64 {
                    return Err(self.error("signature"));
                }
                self.go(Step::End, len);
            }
            Step::End => {}
        }
        Ok(())
    }

    fn go(&mut self, step: Step, skip: u64) {
        (self.step, self.skip) = (step, skip);
    }

    fn next_list(&mut self) {
        match self.lists.checked_sub(1) {
            Some(left) => {
                self.lists = left;
                self.go(Step::AclList, ACL_ID_BYTES);
            }
            None => self.go(Step::Path, 0),
        }
    }

    fn next_entry(&mut self) {
        match self.entries.checked_sub(1) {
            Some(left) => {
                self.entries = left;
                self.go(Step::AclScheme, PERMS_BYTES);
            }
            None => self.next_list(),
        }
    }

    fn length(&self, what: &'static str) -> Result<u64, ScanError> {
        let len = i32::from_be_bytes(self.number);
        u64::try_from(len).map_err(|_| self.error(what))
    }

    fn error(&self, what: &'static str) -> ScanError {
        ScanError { what, len: i32::from_be_bytes(self.number) }
    }
}
