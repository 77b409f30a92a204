//! Writes a snapshot: durable and whole before it has a name that Java would look at.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use simd_adler32::Adler32;

use super::compress::Sink;
use super::{Compression, FILE_HEADER, SnapshotFile, Trailers, seal};
use crate::ids::Zxid;
use crate::log::error::{Action, Error};
use crate::log::names::{self, INSTALLING, SNAPSHOT, UNFINISHED};
use crate::log::opening;

/// A snapshot being written: header first, then, through [`io::Write`], sessions, ACLs, nodes and
/// the terminator; then [`Self::finish`]. Dropped before that, it leaves nothing behind.
///
/// Small writes are cheap; errors are also reported by `finish`.
pub struct SnapshotWriter {
    /// `None` once finished or failed.
    sink: Option<Sink>,
    checksum: Adler32,
    snap_dir: PathBuf,
    unfinished: PathBuf,
    file: SnapshotFile,
    /// From then on a file with the unfinished name is somebody else's.
    is_named: bool,
    bytes: u64,
}

impl SnapshotWriter {
    /// Begins the snapshot of `zxid` under a name that Java ignores.
    ///
    /// # Errors
    /// [`Error::Io`]
    ///
    /// # Panics
    /// If `zxid` is negative, for which there is no file name.
    pub fn create(snap_dir: &Path, zxid: Zxid, compression: Compression) -> Result<Self, Error> {
        Self::begin(snap_dir, "", zxid, compression)
    }

    /// Begins one that is to take the place of everything else ([`super::install`]). The names it
    /// has are its own: the same txn's may be written meanwhile, of the history that is to go.
    ///
    /// # Errors
    /// [`Error::Io`]
    ///
    /// # Panics
    /// If `zxid` is negative, for which there is no file name.
    pub fn create_to_install(
        snap_dir: &Path,
        zxid: Zxid,
        compression: Compression,
    ) -> Result<Self, Error> {
        Self::begin(snap_dir, &format!("{INSTALLING}."), zxid, compression)
    }

    fn begin(
        snap_dir: &Path,
        prefix: &str,
        zxid: Zxid,
        compression: Compression,
    ) -> Result<Self, Error> {
        assert!(zxid >= Zxid::ZERO, "no snapshot of {zxid}");
        let name = format!("{prefix}{SNAPSHOT}.{:x}{}", zxid.0, compression.extension());
        let unfinished = snap_dir.join(format!("{UNFINISHED}{name}"));
        let output = opening::open(|| File::create(&unfinished));
        let output = output.map_err(Error::io(Action::Create, &unfinished))?;
        let sink = Sink::new(output, compression).map_err(Error::io(Action::Write, &unfinished))?;
        let mut writer = Self {
            sink: Some(sink),
            checksum: Adler32::new(),
            snap_dir: snap_dir.to_path_buf(),
            unfinished,
            file: SnapshotFile { zxid, path: snap_dir.join(name), compression },
            is_named: false,
            bytes: 0,
        };
        writer.append(&FILE_HEADER)?;
        Ok(writer)
    }

    /// Uncompressed bytes so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// [`io::Write::write_all`] with an error that names the file.
    ///
    /// # Errors
    /// [`Error::Io`]; drop it then.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.write_all(bytes).map_err(Error::io(Action::Write, &self.unfinished))
    }

    /// Has the disk write what there is, so that no burst of it comes at the end.
    ///
    /// # Errors
    /// [`Error::Io`]; drop it then.
    pub fn settle(&mut self) -> Result<(), Error> {
        let Some(sink) = &mut self.sink else { return Ok(()) }; // `finish` will say why
        let file = sink.file_so_far().map_err(Error::io(Action::Write, &self.unfinished))?;
        file.sync_data().map_err(Error::io(Action::Flush, &self.unfinished))
    }

    /// Seals it, writes the trailers, makes it durable and gives it its name. One of the same zxid
    /// that was there before is replaced.
    ///
    /// # Errors
    /// [`Error::Io`]; the unfinished file is deleted.
    pub fn finish(mut self, trailers: &Trailers) -> Result<SnapshotFile, Error> {
        let tail = seal::encode_tail(self.checksum.clone(), trailers);
        self.append(&tail)?;
        let Some(sink) = self.sink.take() else { unreachable!("a write just succeeded") };
        let output = sink.finish().map_err(Error::io(Action::Write, &self.unfinished))?;
        output.sync_all().map_err(Error::io(Action::Flush, &self.unfinished))?;
        let (from, to) = (&self.unfinished, &self.file.path);
        fs::rename(from, to).map_err(Error::io(Action::Rename, from))?;
        self.is_named = true;
        names::flush_directory(&self.snap_dir)?;
        Ok(self.file.clone())
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(sink) = &mut self.sink else {
            return Err(io::Error::other("an earlier write to this snapshot failed"));
        };
        if let Err(error) = sink.write_all(bytes) {
            self.sink = None;
            return Err(error);
        }
        self.checksum.write(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.is_named {
            // If it cannot be deleted, the next start does it.
            let _ = names::remove(&self.unfinished);
        }
    }
}

impl fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotWriter").field("file", &self.file).finish_non_exhaustive()
    }
}
