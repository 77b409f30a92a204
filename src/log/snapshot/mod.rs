//! Snapshot files: names, seals, trailers, retention. What is inside is the tree's matter.

mod compress;
mod purge;
mod reader;
mod writer;

use std::path::{Path, PathBuf};

use super::error::Error;
use crate::ids::Zxid;

pub use purge::{Purged, purge};
pub use reader::SnapshotReader;
pub use writer::SnapshotWriter;

/// How a snapshot file is compressed; its extension says so.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// `.gz`
    Gz,
    /// `.snappy`, in the framing of xerial's `SnappyOutputStream`.
    Snappy,
}

/// The tree's digest, behind the tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DigestTrailer {
    /// The last txn it covers; 0 means there is none.
    pub zxid: Zxid,
    /// The algorithm.
    pub version: i32,
    /// Sum of the node digests.
    pub digest: i64,
}

/// What follows the tree; Java must be set up to expect exactly these (server.md 4.4).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Trailers {
    /// With `digest.enabled`.
    pub digest: Option<DigestTrailer>,
    /// With `serializeLastProcessedZxid.enabled`.
    pub last_zxid: Option<Zxid>,
}

/// A snapshot by its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SnapshotFile {
    /// The last txn that is in it for certain.
    pub zxid: Zxid,
    /// The file.
    pub path: PathBuf,
    /// By the extension.
    pub compression: Compression,
}

/// All snapshots in `snap_dir`, newest first: boot tries them in this order.
///
/// # Errors
/// [`Error::Io`] if the directory cannot be listed.
pub fn list(_snap_dir: &Path) -> Result<Vec<SnapshotFile>, Error> {
    unimplemented!("in progress")
}

/// Java's glance at a file before it tries it: does it begin, or end, as a snapshot does?
///
/// # Errors
/// [`Error::Io`] if the file cannot be read.
pub fn quick_check(_file: &SnapshotFile) -> Result<bool, Error> {
    unimplemented!("in progress")
}

/// Reads all of a snapshot and checks its last seal, which covers every byte before it.
///
/// # Errors
/// [`Error::Snapshot`] if it is not valid, [`Error::Io`] if it cannot be read.
pub fn verify(_file: &SnapshotFile) -> Result<(), Error> {
    unimplemented!("in progress")
}
