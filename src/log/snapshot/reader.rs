//! Reads a snapshot.

use std::io;

use super::{SnapshotFile, Trailers};
use crate::log::error::Error;

/// A snapshot being read: through [`io::BufRead`] sessions, ACLs, nodes and the terminator, no
/// byte more; then [`Self::finish`].
#[derive(Debug)]
pub struct SnapshotReader {
    _private: (),
}

impl SnapshotReader {
    /// Opens it and checks its header.
    ///
    /// # Errors
    /// [`Error::Snapshot`], [`Error::Io`]
    pub fn open(_file: &SnapshotFile) -> Result<Self, Error> {
        unimplemented!("in progress")
    }

    /// Checks the seals and reads the trailers behind the terminator.
    ///
    /// # Errors
    /// [`Error::Snapshot`], [`Error::Io`]
    pub fn finish(self) -> Result<Trailers, Error> {
        unimplemented!("in progress")
    }
}

impl io::Read for SnapshotReader {
    fn read(&mut self, _out: &mut [u8]) -> io::Result<usize> {
        unimplemented!("in progress")
    }
}

impl io::BufRead for SnapshotReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        unimplemented!("in progress")
    }

    fn consume(&mut self, _bytes: usize) {
        unimplemented!("in progress")
    }
}
