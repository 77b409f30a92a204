//! Snapshot files: names, compression, seals, trailers, retention. What is inside is the tree's
//! matter.
//!
//! Threads: snapshot (writing, purging), boot (reading). A snapshot gets its name when all of it
//! is on disk, so one that Java can see is whole. A seal is an Adler-32 of every uncompressed byte
//! before it and the path `/`; one follows the tree and each trailer.

mod compress;
mod install;
mod purge;
mod reader;
mod seal;
mod writer;

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::error::{Action, Error};
use super::names;
use crate::ids::Zxid;

pub use install::{install, resume};
pub use purge::{Purged, oldest_to_keep, purge};
pub use reader::{SnapshotReader, verify};
pub use writer::SnapshotWriter;

/// Begins every snapshot: magic `ZKSN`, version 2, dbid -1.
pub const FILE_HEADER: [u8; 16] = *b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff";

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

impl Compression {
    /// COMPAT: by the last part of the name, whatever its case (`SnapStream.getStreamMode`).
    fn of_name(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(extension) if extension.eq_ignore_ascii_case("gz") => Self::Gz,
            Some(extension) if extension.eq_ignore_ascii_case("snappy") => Self::Snappy,
            Some(_) | None => Self::None,
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gz => ".gz",
            Self::Snappy => ".snappy",
        }
    }
}

/// In place of a digest's zxid: the tree may hold parts of txns that follow it, nobody knows of how
/// many. Java compares nothing then until its next snapshot, as that txn never comes.
pub const UNKNOWN: Zxid = Zxid(i64::MAX);

/// The tree's digest, behind the tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DigestTrailer {
    /// The last txn it covers, or [`UNKNOWN`]; 0 means there is none.
    pub zxid: Zxid,
    /// The algorithm.
    pub version: i32,
    /// Sum of the node digests.
    pub digest: i64,
}

/// What follows the tree; Java must be set up to expect exactly these.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Trailers {
    /// With `digest.enabled`.
    pub digest: Option<DigestTrailer>,
    /// With `serializeLastProcessedZxid.enabled`.
    pub last_zxid: Option<Zxid>,
}

impl Trailers {
    /// The last txn of which something may be in the tree, as far as they tell.
    pub fn newest(&self) -> Option<Zxid> {
        self.last_zxid.max(self.digest.map(|digest| digest.zxid))
    }
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

impl SnapshotFile {
    /// A file of any name, to look into.
    pub fn at(path: PathBuf) -> Self {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let zxid = names::zxid_in_name(name, names::SNAPSHOT).unwrap_or_default();
        let compression = Compression::of_name(&path);
        Self { zxid, path, compression }
    }
}

/// All snapshots in `snap_dir`, newest first: boot tries them in this order.
///
/// # Errors
/// [`Error::Io`] if the directory cannot be listed.
pub fn list(snap_dir: &Path) -> Result<Vec<SnapshotFile>, Error> {
    let named = names::list(snap_dir, names::SNAPSHOT)?;
    Ok(named.into_iter().rev().map(|named| SnapshotFile::at(named.path)).collect())
}

/// Java's glance at a file before it tries it: does it begin, or end, as a snapshot does?
///
/// # Errors
/// [`Error::Io`] if the file cannot be read.
pub fn quick_check(file: &SnapshotFile) -> Result<bool, Error> {
    let glance = || {
        let mut input = File::open(&file.path)?;
        let (place, expected): (_, &[u8]) = match file.compression {
            Compression::None => {
                if input.metadata()?.len() < 10 {
                    return Ok(false);
                }
                (SeekFrom::End(-5), seal::PATH.as_slice())
            }
            Compression::Gz => (SeekFrom::Start(0), &[0x1f, 0x8b]),
            Compression::Snappy => (SeekFrom::Start(0), &compress::SNAPPY_HEADER[..8]),
        };
        input.seek(place)?;
        let mut found = [0; 8];
        match input.read_exact(&mut found[..expected.len()]) {
            Ok(()) => Ok(found.starts_with(expected)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    };
    glance().map_err(Error::io(Action::Read, &file.path))
}
