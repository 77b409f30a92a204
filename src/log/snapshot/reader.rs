//! Reads a snapshot: decompresses it, sums it up, and checks what the seals say.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, ErrorKind, Read};
use std::path::PathBuf;

use simd_adler32::Adler32;

use super::seal::{TAIL_BYTES_MAX, decode_tail};
use super::{Compression, FILE_HEADER, SnapshotFile, Trailers, compress};
use crate::log::error::{Action, Damage, Error};
use crate::log::opening;
use crate::log::segment::Mapped;
use crate::log::stop::StopFlag;

/// How much is decompressed, or read ahead, at once.
const WINDOW_BYTES: usize = 256 << 10;

/// A snapshot being read: through [`BufRead`] sessions, ACLs, nodes and the terminator, no byte
/// more; then [`Self::finish`].
pub struct SnapshotReader {
    source: Source,
    /// Bytes of the window that have been consumed, and of these, summed up.
    consumed: usize,
    hashed: usize,
    checksum: Adler32,
    path: PathBuf,
    /// Uncompressed bytes in front of the window.
    offset: u64,
    /// Heeded at every window.
    stop: StopFlag,
}

/// Where the window is.
enum Source {
    /// An uncompressed file, and the window's end in it; it begins at `offset`.
    Mapped { map: Mapped, begin: usize, end: usize },
    /// A compressed one, and what of it is decompressed.
    Stream { input: Box<dyn Read>, window: Vec<u8> },
}

impl SnapshotReader {
    /// Opens it and checks its header.
    ///
    /// # Errors
    /// [`Error::Snapshot`], [`Error::Io`]
    pub fn open(file: &SnapshotFile) -> Result<Self, Error> {
        let input = opening::open(|| File::open(&file.path));
        let input = input.map_err(Error::io(Action::Read, &file.path))?;
        let mut reader = Self {
            source: Source::Mapped { map: Mapped::default(), begin: 0, end: 0 },
            consumed: 0,
            hashed: 0,
            checksum: Adler32::new(),
            path: file.path.clone(),
            offset: 0,
            stop: StopFlag::default(),
        };
        let source = Source::open(input, file.compression);
        reader.source = source.map_err(|error| reader.error(error))?;
        let mut header = [0; FILE_HEADER.len()];
        reader.read_exact(&mut header).map_err(|error| reader.error(error))?;
        // COMPAT: version and dbid are not compared (`FileSnap.deserialize`).
        if header[..4] != FILE_HEADER[..4] {
            return Err(reader.damaged(Damage::Magic));
        }
        Ok(reader)
    }

    /// Reading fails soon after this is raised.
    pub fn heed(&mut self, stop: &StopFlag) {
        self.stop = stop.clone();
    }

    /// Uncompressed bytes read so far.
    pub fn offset(&self) -> u64 {
        self.offset + self.consumed as u64
    }

    /// An error of reading, or of making sense of what was read, as one of this file.
    pub fn error(&self, error: io::Error) -> Error {
        if self.stop.is_raised() {
            return Error::Stopped;
        }
        if error.kind() == ErrorKind::UnexpectedEof {
            return self.damaged(Damage::Truncated);
        }
        if error.raw_os_error().is_none() {
            return self.damaged(Damage::Undecodable(error.into()));
        }
        Error::Io {
            action: Action::Read,
            file: self.path.clone(),
            offset: Some(self.offset()),
            zxid: None,
            source: error,
        }
    }

    /// Checks the seals and reads the trailers behind the terminator.
    ///
    /// # Errors
    /// [`Error::Snapshot`], [`Error::Io`]
    pub fn finish(mut self) -> Result<Trailers, Error> {
        self.hash();
        let checksum = self.checksum.clone();
        let mut tail = Vec::with_capacity(TAIL_BYTES_MAX);
        let limit = TAIL_BYTES_MAX as u64 + 1;
        (&mut self).take(limit).read_to_end(&mut tail).map_err(|error| self.error(error))?;
        decode_tail(checksum, &tail).map_err(|damage| self.damaged(damage))
    }

    fn damaged(&self, damage: Damage) -> Error {
        Error::Snapshot { file: self.path.clone(), offset: self.offset(), damage }
    }

    /// Moves the window on if all of it has been consumed.
    fn refill(&mut self) -> io::Result<()> {
        if self.consumed == self.source.window().len() {
            self.hash();
            self.offset += self.consumed as u64;
            (self.consumed, self.hashed) = (0, 0);
            self.stop.check().map_err(io::Error::other)?;
            self.source.advance()?;
        }
        Ok(())
    }

    fn hash(&mut self) {
        self.checksum.write(&self.source.window()[self.hashed..self.consumed]);
        self.hashed = self.consumed;
    }
}

/// Reads all of a snapshot and checks its seals, the last of which covers every byte before it.
///
/// # Errors
/// [`Error::Snapshot`] if it is not valid, [`Error::Io`] if it cannot be read.
pub fn verify(file: &SnapshotFile) -> Result<Trailers, Error> {
    verify_unless(file, &StopFlag::default())
}

/// The same, and given up soon after `stop` was raised.
///
/// # Errors
/// Those, and [`Error::Stopped`].
pub(super) fn verify_unless(file: &SnapshotFile, stop: &StopFlag) -> Result<Trailers, Error> {
    let mut reader = SnapshotReader::open(file)?;
    reader.heed(stop);
    // Where the tree ends is not known here. All but the longest possible tail is summed up, then
    // each place is tried where a tail may begin; a wrong one has no fitting seal.
    reader.hash();
    let mut checksum = reader.checksum.clone();
    let mut kept = Vec::new();
    loop {
        reader.refill().map_err(|error| reader.error(error))?;
        let window = &reader.source.window()[reader.consumed..];
        if window.is_empty() {
            break;
        }
        kept.extend_from_slice(window);
        reader.consumed += window.len();
        let sure = kept.len().saturating_sub(TAIL_BYTES_MAX);
        checksum.write(&kept[..sure]);
        kept.drain(..sure);
    }
    for at in 0..kept.len() {
        let mut tree = checksum.clone();
        tree.write(&kept[..at]);
        if let Ok(trailers) = decode_tail(tree, &kept[at..]) {
            return Ok(trailers);
        }
    }
    Err(reader.damaged(Damage::Checksum))
}

impl Source {
    fn open(input: File, compression: Compression) -> io::Result<Self> {
        let stream = |input| Self::Stream { input, window: Vec::new() };
        match compression {
            Compression::None => Ok(Self::Mapped { map: Mapped::open(&input)?, begin: 0, end: 0 }),
            Compression::Gz => compress::source(input, false).map(stream),
            Compression::Snappy => compress::source(input, true).map(stream),
        }
    }

    fn window(&self) -> &[u8] {
        match self {
            Self::Mapped { map, begin, end } => &map[*begin..*end],
            Self::Stream { window, .. } => window,
        }
    }

    /// Moves the window on; it is empty at the end of the file.
    fn advance(&mut self) -> io::Result<()> {
        match self {
            Self::Mapped { map, begin, end } => {
                let bytes = WINDOW_BYTES.min(map.len() - *end);
                map.load(*end, bytes)?;
                (*begin, *end) = (*end, *end + bytes);
            }
            Self::Stream { input, window } => {
                window.clear();
                input.take(WINDOW_BYTES as u64).read_to_end(window)?;
            }
        }
        Ok(())
    }
}

impl BufRead for SnapshotReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.refill()?;
        Ok(&self.source.window()[self.consumed..])
    }

    fn consume(&mut self, bytes: usize) {
        self.consumed += bytes;
        assert!(self.consumed <= self.source.window().len(), "consumed what was not there");
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut window = self.fill_buf()?;
        let bytes = window.read(out)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

impl fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader").field("path", &self.path).finish_non_exhaustive()
    }
}
