//! Writes a snapshot.

use std::io;
use std::path::Path;

use super::{Compression, SnapshotFile, Trailers};
use crate::ids::Zxid;
use crate::log::error::Error;

/// A snapshot being written: header first, then, through [`io::Write`], sessions, ACLs, nodes and
/// the terminator; then [`Self::finish`].
#[derive(Debug)]
pub struct SnapshotWriter {
    _private: (),
}

impl SnapshotWriter {
    /// Begins the snapshot of `zxid` under a name that Java ignores.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn create(_snap_dir: &Path, _zxid: Zxid, _compression: Compression) -> Result<Self, Error> {
        unimplemented!("in progress")
    }

    /// Seals it, writes the trailers, makes it durable and gives it its name.
    ///
    /// # Errors
    /// [`Error::Io`]; the unfinished file is deleted.
    pub fn finish(self, _trailers: Trailers) -> Result<SnapshotFile, Error> {
        unimplemented!("in progress")
    }
}

impl io::Write for SnapshotWriter {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        unimplemented!("in progress")
    }

    fn flush(&mut self) -> io::Result<()> {
        unimplemented!("in progress")
    }
}
