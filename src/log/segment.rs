//! One log file under a mapping, prepared ahead of time; and finished files mapped for reading.
//!
//! [`Preparation`] and [`Finished::cut`] run on a background thread, the rest on the log thread or
//! at boot. The file is written full of zeros, 4 KiB at a time: so its blocks are allocated before
//! the first store, and the page cache holds it in small pages, so that a flush writes only what
//! was touched (a folio of 1 MiB would be written whole). `MADV_RANDOM` keeps read-ahead from
//! growing the pages again.
//! SAFETY of the mappings: they stay within the length the file had when mapped, which nothing
//! shortens while the mapping lives: other servers are kept out by the directory's lock, and
//! `Finished::cut` unmaps first. A page that the file system cannot give (bad disk, or no space
//! where files are copied on write) is asked for by `MADV_POPULATE_*` before it is touched: an
//! error, where touching it would be a SIGBUS.

#![expect(unsafe_code, reason = "memory-mapped files; see the head of this file")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use memmap2::{Advice, Mmap, MmapMut, MmapOptions, UncheckedAdvice};
use rustix::fs::{IFlags, ioctl_setflags};

use super::error::{Action, Error};
use super::names::{self, UNFINISHED};
use crate::limits::{SEGMENT_RELEASE_BYTES, SEGMENT_STRETCH_BYTES};

/// What the kernel writes at least, and the step in which zeros are laid down.
pub const PAGE_BYTES: usize = 4096;

/// Prepared segments there may be before something is surely wrong.
const PREPARED_MAX: u32 = 1024;

/// A file of zeros, durable, waiting to become a log.
#[derive(Debug)]
pub struct Prepared {
    file: File,
    path: PathBuf,
    bytes: u64,
}

/// Makes a file of at least `bytes` zeros in `dir`. Blocks for as long as the disk takes.
///
/// # Errors
/// [`Error::Io`] if the system refuses; nothing is left behind.
pub fn prepare(dir: &Path, bytes: u64) -> Result<Prepared, Error> {
    Preparation::begin(dir, bytes)?.finish()
}

/// A file on its way to [`Prepared`], filled a stretch at a time so that the disk is free for the
/// log between two. Dropped before its end, it leaves nothing behind.
#[derive(Debug)]
pub struct Preparation {
    /// `None` once finished.
    prepared: Option<Prepared>,
    filled: u64,
}

impl Preparation {
    /// Begins a file of at least `bytes` zeros in `dir`.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    pub fn begin(dir: &Path, bytes: u64) -> Result<Self, Error> {
        let (file, path) = create(dir)?;
        // Where the file system copies on write (btrfs), ask it not to; others do not know the
        // flag.
        let _ = ioctl_setflags(&file, IFlags::NOCOW);
        let bytes = bytes.next_multiple_of(PAGE_BYTES as u64);
        Ok(Self { prepared: Some(Prepared { file, path, bytes }), filled: 0 })
    }

    /// Zeros it up to `upto`, on the disk too, in stretches of [`SEGMENT_STRETCH_BYTES`]: a flush
    /// of the log that comes meanwhile waits for no more than one of them.
    ///
    /// # Errors
    /// [`Error::Io`]; drop it then.
    pub fn fill(&mut self, upto: u64) -> Result<(), Error> {
        let Some(Prepared { file, path, bytes }) = &self.prepared else { return Ok(()) };
        let zeros = [0; PAGE_BYTES];
        while self.filled < upto.min(*bytes) {
            let end = (self.filled + SEGMENT_STRETCH_BYTES).min(*bytes);
            while self.filled < end {
                (&*file).write_all(&zeros).map_err(Error::io(Action::Create, path))?;
                self.filled += PAGE_BYTES as u64;
            }
            file.sync_data().map_err(Error::io(Action::Create, path))?;
        }
        Ok(())
    }

    /// Whether all of it is filled.
    pub fn is_full(&self) -> bool {
        self.prepared.as_ref().is_none_or(|prepared| self.filled == prepared.bytes)
    }

    /// Fills what is left, and makes it durable.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing is left behind.
    pub fn finish(mut self) -> Result<Prepared, Error> {
        self.fill(u64::MAX)?;
        let Some(prepared) = &self.prepared else { unreachable!("only this takes it") };
        prepared.file.sync_all().map_err(Error::io(Action::Create, &prepared.path))?;
        let Some(prepared) = self.prepared.take() else { unreachable!("only this takes it") };
        Ok(prepared)
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        // If it cannot be deleted, the next start does it.
        let _ = self.prepared.take().map(Prepared::discard);
    }
}

fn create(dir: &Path) -> Result<(File, PathBuf), Error> {
    let mut number = 0;
    loop {
        let path = dir.join(format!("{UNFINISHED}{}.{number}", names::LOG));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < PREPARED_MAX => {
                number += 1;
            }
            Err(error) => return Err(Error::io(Action::Create, &path)(error)),
        }
    }
}

impl Prepared {
    /// How many bytes of log it takes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Deletes it.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    pub fn discard(self) -> Result<(), Error> {
        names::remove(&self.path)
    }
}

/// The log file being written.
#[derive(Debug)]
pub(super) struct Segment {
    map: MmapMut,
    file: File,
    path: PathBuf,
    /// Where the next byte goes.
    used: usize,
    /// Everything before is durable.
    flushed: usize,
    /// Pages before this have been made writable since the last flush.
    writable: usize,
    /// Pages before this are not the process's any more.
    released: usize,
}

impl Segment {
    pub(super) fn open(prepared: Prepared) -> Result<Self, Error> {
        let Prepared { file, path, bytes } = prepared;
        // SAFETY: the file was created by `prepare` of this process, is `bytes` long, and nothing
        // shortens it while this mapping lives (head of this file).
        let map = unsafe { MmapOptions::new().map_mut(&file) }
            .map_err(Error::io(Action::Create, &path))?;
        assert!(map.len() as u64 == bytes, "a prepared segment changed its length");
        map.advise(Advice::Random).map_err(Error::io(Action::Create, &path))?;
        Ok(Self { map, file, path, used: 0, flushed: 0, writable: 0, released: 0 })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self) -> u64 {
        self.map.len() as u64
    }

    pub(super) const fn used(&self) -> u64 {
        self.used as u64
    }

    pub(super) const fn unflushed(&self) -> u64 {
        (self.used - self.flushed) as u64
    }

    pub(super) fn fits(&self, bytes: usize) -> bool {
        bytes <= self.map.len() - self.used
    }

    /// Puts `parts` behind each other at the end.
    pub(super) fn append(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        assert!(self.fits(bytes), "the writer makes sure of room");
        self.make_writable(self.used + bytes)?;
        for part in parts {
            self.map[self.used..self.used + part.len()].copy_from_slice(part);
            self.used += part.len();
        }
        Ok(())
    }

    /// Has the kernel do what the first store into a page would make it do, where it can say no.
    fn make_writable(&mut self, end: usize) -> io::Result<()> {
        if end <= self.writable {
            return Ok(());
        }
        let from = self.used.max(self.writable);
        match self.map.advise_range(Advice::PopulateWrite, from, end - from) {
            // Kernels before 5.14 do not know it; the blocks are there all the same.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => return Err(as_io(&error)),
            Ok(()) | Err(_) => {}
        }
        self.writable = end.next_multiple_of(PAGE_BYTES);
        Ok(())
    }

    /// Makes everything appended durable.
    ///
    /// After an error nothing is known of the page cache: the segment must not be used again.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.flushed < self.used {
            self.file.sync_data()?;
            self.forget_unflushed();
        }
        self.release()
    }

    /// Lets go of pages that nobody will touch again, or all of the segment would count as this
    /// process's memory. They stay in the page cache, which is the system's.
    fn release(&mut self) -> io::Result<()> {
        let end = self.flushed / PAGE_BYTES * PAGE_BYTES;
        let (from, bytes) = (self.released, end - self.released);
        if bytes < SEGMENT_RELEASE_BYTES {
            return Ok(());
        }
        self.released = end;
        // SAFETY: the mapping is a shared one of a file, of which this loses nothing: a page that
        // is looked at again comes from the page cache or the disk. Nothing borrows the range.
        unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, from, bytes) }
    }

    /// Takes what was appended for flushed.
    pub(super) const fn forget_unflushed(&mut self) {
        self.flushed = self.used;
        self.writable = self.used;
    }

    /// Gives it the name of a log. The caller flushes the directory.
    pub(super) fn rename(&mut self, to: PathBuf) -> Result<(), Error> {
        if to.exists() {
            return Err(Error::Exists { file: to });
        }
        fs::rename(&self.path, &to).map_err(Error::io(Action::Rename, &self.path))?;
        self.path = to;
        Ok(())
    }

    /// Ends it.
    pub(super) fn finish(self) -> Finished {
        assert!(self.flushed == self.used, "a segment is ended after its last flush");
        Finished { segment: self }
    }
}

/// A log to which nothing more is appended, with the zeros that were left.
#[derive(Debug)]
pub struct Finished {
    segment: Segment,
}

impl Finished {
    /// Cuts off the zeros behind the last record. They do no harm while they are there.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    pub fn cut(self) -> Result<(), Error> {
        let Segment { map, file, path, used, .. } = self.segment;
        drop(map);
        file.set_len(used as u64).map_err(Error::io(Action::Cut, &path))
    }
}

/// A finished file, mapped for reading.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
}

impl Mapped {
    pub(super) fn open(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Ok(Self { map: None });
        }
        // SAFETY: no one writes to finished files or shortens them (head of this file).
        let map = unsafe { MmapOptions::new().map(file) }?;
        map.advise(Advice::Sequential)?;
        Ok(Self { map: Some(map) })
    }

    /// Reads these bytes from the disk now, so that a bad sector is an error.
    pub(super) fn load(&self, from: usize, bytes: usize) -> io::Result<()> {
        let Some(map) = &self.map else { return Ok(()) };
        match map.advise_range(Advice::PopulateRead, from, bytes.min(map.len() - from)) {
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(as_io(&error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

/// `EFAULT` is what `madvise` says where a plain access would be a SIGBUS: an I/O error.
fn as_io(error: &io::Error) -> io::Error {
    let fault = rustix::io::Errno::FAULT.raw_os_error();
    match error.raw_os_error() {
        Some(number) if number != fault => io::Error::from_raw_os_error(number),
        Some(_) | None => rustix::io::Errno::IO.into(),
    }
}
