//! One log file, prepared ahead of time and written past the page cache; and finished files mapped
//! for reading.
//!
//! [`Preparation`] and [`Finished::cut`] run on a background thread, the rest on the log thread or
//! at boot. The file is written full of zeros before it is used: so its blocks are allocated, and
//! a flush is one write of the blocks that it covers, which touches no journal. Where the file
//! system takes `O_DIRECT`, these writes go from a staging buffer straight to the disk and return
//! when they are durable (`O_DSYNC`): of all ways measured that costs the least CPU, by far when
//! the zeros are laid down. Elsewhere, and with `forceSync=no`, the same writes go through the page
//! cache, and a flush asks for them with `fdatasync`. Zeros are laid down 4 KiB at a time there, so
//! that the cache holds small pages: a folio of 1 MiB would be written whole.
//! SAFETY of the mappings: other servers are kept out by the directory's lock, and nobody here
//! shortens a file that may be mapped but [`Finished::cut`], which leaves all pages that a reader
//! looks at once they were there. A page that the disk cannot give, or that is gone, is asked for
//! by `MADV_POPULATE_READ` before it is touched: an error, where touching it would be a SIGBUS.

#![expect(unsafe_code, reason = "memory-mapped files; see the head of this file")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use memmap2::{Advice, Mmap, MmapMut, MmapOptions};
use rustix::fs::{IFlags, OFlags, ioctl_setflags};

use super::error::{Action, Error};
use super::names::{self, UNFINISHED};
use super::opening;
use super::record::HEAD_BYTES;
use crate::limits::{SEGMENT_STAGING_BYTES, SEGMENT_STRETCH_BYTES};

/// What is written at least, and to a multiple of which: what every disk can do directly.
pub const PAGE_BYTES: usize = 4096;

const PAGE: u64 = PAGE_BYTES as u64;

/// Prepared segments there may be before something is surely wrong.
const PREPARED_MAX: u32 = 1024;

/// How bytes get from here to the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// Past the page cache; a write that has returned is durable.
    Direct,
    /// Through the page cache; a flush waits for the disk.
    Synced,
    /// Through the page cache, and from there when the system likes: `forceSync=no`.
    Cached,
}

/// A file of zeros, durable, waiting to become a log.
#[derive(Debug)]
pub struct Prepared {
    file: File,
    path: PathBuf,
    bytes: u64,
    way: Way,
}

/// Makes a file of at least `bytes` zeros in `dir`, see [`Preparation::begin`]. Blocks for as long
/// as the disk takes.
///
/// # Errors
/// [`Error::Io`] if the system refuses; nothing is left behind.
pub fn prepare(dir: &Path, bytes: u64, force_sync: bool) -> Result<Prepared, Error> {
    Preparation::begin(dir, bytes, force_sync)?.finish()
}

/// A file on its way to [`Prepared`], filled a stretch at a time so that the disk is free for the
/// log between two. Dropped before its end, it leaves nothing behind.
#[derive(Debug)]
pub struct Preparation {
    /// `None` once finished.
    prepared: Option<Prepared>,
    filled: u64,
    zeros: MmapMut,
}

impl Preparation {
    /// Begins a file of at least `bytes` zeros in `dir`. With `force_sync` what is written to it
    /// later is to be durable when it is flushed.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    pub fn begin(dir: &Path, bytes: u64, force_sync: bool) -> Result<Self, Error> {
        let (file, path, way) = create(dir, force_sync)?;
        // Where the file system copies on write (btrfs), ask it not to; others do not know the
        // flag.
        let _ = ioctl_setflags(&file, IFlags::NOCOW);
        let bytes = bytes.next_multiple_of(PAGE);
        let zeros = staging(SEGMENT_STRETCH_BYTES).map_err(Error::io(Action::Create, &path))?;
        Ok(Self { prepared: Some(Prepared { file, path, bytes, way }), filled: 0, zeros })
    }

    /// Zeros it up to `upto`, on the disk too, in stretches of [`SEGMENT_STRETCH_BYTES`]: a flush
    /// of the log that comes meanwhile waits for no more than one of them.
    ///
    /// # Errors
    /// [`Error::Io`]; drop it then.
    pub fn fill(&mut self, upto: u64) -> Result<(), Error> {
        let Some(prepared) = &mut self.prepared else { return Ok(()) };
        while self.filled < upto.min(prepared.bytes) {
            let end = (self.filled + SEGMENT_STRETCH_BYTES).min(prepared.bytes);
            if self.filled == 0 {
                prepared.lay_first_page(&self.zeros[..PAGE_BYTES])?;
                self.filled = PAGE;
            }
            prepared.lay(&self.zeros, self.filled, end)?;
            self.filled = end;
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

fn create(dir: &Path, force_sync: bool) -> Result<(File, PathBuf, Way), Error> {
    let mut number = 0;
    let mut way = if force_sync { Way::Direct } else { Way::Cached };
    loop {
        let path = dir.join(format!("{UNFINISHED}{}.{number}", names::LOG));
        match opening::open(|| options(way).create_new(true).open(&path)) {
            Ok(file) => return Ok((file, path, way)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < PREPARED_MAX => {
                number += 1;
            }
            Err(error) if way == Way::Direct && is_not_taken(&error) => {
                names::remove(&path)?; // some have created it all the same
                way = Way::Synced;
            }
            Err(error) => return Err(Error::io(Action::Create, &path)(error)),
        }
    }
}

fn options(way: Way) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if way == Way::Direct {
        let flags = (OFlags::DIRECT | OFlags::DSYNC).bits();
        options.custom_flags(flags.cast_signed());
    }
    options
}

/// What a file system says that has no direct writes, or none of a page.
fn is_not_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput || error.kind() == io::ErrorKind::Unsupported
}

/// Memory that begins with a page, as direct writes want it.
fn staging(bytes: u64) -> io::Result<MmapMut> {
    MmapMut::map_anon(usize::try_from(bytes).map_err(io::Error::other)?)
}

impl Prepared {
    /// Lays down the first page of zeros: if it cannot be written directly, none can.
    fn lay_first_page(&mut self, zeros: &[u8]) -> Result<(), Error> {
        match self.file.write_all_at(zeros, 0) {
            Err(error) if self.way == Way::Direct && is_not_taken(&error) => {
                self.way = Way::Synced;
                self.file = opening::open(|| options(self.way).open(&self.path))
                    .map_err(Error::io(Action::Create, &self.path))?;
                self.file.write_all_at(zeros, 0)
            }
            done => done,
        }
        .map_err(Error::io(Action::Create, &self.path))
    }

    /// Lays down zeros from here to there, durably.
    fn lay(&self, zeros: &[u8], from: u64, end: u64) -> Result<(), Error> {
        let step = if self.way == Way::Direct { zeros.len() } else { PAGE_BYTES };
        let mut at = from;
        let mut lay = || {
            while at < end {
                let bytes = step.min(usize::try_from(end - at).unwrap_or(step));
                self.file.write_all_at(&zeros[..bytes], at)?;
                at += bytes as u64;
            }
            if self.way == Way::Direct { Ok(()) } else { self.file.sync_data() }
        };
        lay().map_err(Error::io(Action::Create, &self.path))
    }

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
///
/// INVARIANT: what is staged follows what was written, which is whole pages; behind it, to the end
/// of its page, the staging buffer holds zeros when it is written.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    bytes: u64,
    way: Way,
    /// Up to here everything has gone to the file.
    written: u64,
    staging: MmapMut,
    /// Bytes in it.
    staged: usize,
    /// Everything before is durable.
    flushed: u64,
}

impl Segment {
    pub(super) fn open(prepared: Prepared) -> Result<Self, Error> {
        let Prepared { file, path, bytes, way } = prepared;
        let staging = staging(SEGMENT_STAGING_BYTES).map_err(Error::io(Action::Create, &path))?;
        Ok(Self { file, path, bytes, way, written: 0, staging, staged: 0, flushed: 0 })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn used(&self) -> u64 {
        self.written + self.staged as u64
    }

    pub(super) const fn unflushed(&self) -> u64 {
        self.used() - self.flushed
    }

    pub(super) const fn fits(&self, bytes: usize) -> bool {
        bytes as u64 <= self.bytes - self.used()
    }

    /// Puts `parts` behind each other at the end. What the staging buffer has no room for is
    /// written.
    pub(super) fn append(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        assert!(self.fits(bytes), "the writer makes sure of room");
        for mut part in parts.iter().copied() {
            while !part.is_empty() {
                let (now, rest) = part.split_at(part.len().min(self.staging.len() - self.staged));
                self.staging[self.staged..][..now.len()].copy_from_slice(now);
                self.staged += now.len();
                part = rest;
                if self.staged == self.staging.len() {
                    self.write()?;
                }
            }
        }
        Ok(())
    }

    /// Hands everything staged to the file, and keeps the page that is not full yet.
    fn write(&mut self) -> io::Result<()> {
        let end = self.staged.next_multiple_of(PAGE_BYTES);
        self.staging[self.staged..end].fill(0);
        self.file.write_all_at(&self.staging[..end], self.written)?;
        let full = self.staged / PAGE_BYTES * PAGE_BYTES;
        self.staging.copy_within(full..self.staged, 0);
        self.written += full as u64;
        self.staged -= full;
        Ok(())
    }

    /// Makes everything appended durable; with `forceSync=no` it only leaves this process.
    ///
    /// After an error nothing is known of what the disk has: the segment must not be used again.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.unflushed() == 0 {
            return Ok(());
        }
        if self.staged > 0 {
            self.write()?;
        }
        if self.way == Way::Synced {
            self.file.sync_data()?;
        }
        self.flushed = self.used();
        Ok(())
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
        assert!(self.unflushed() == 0, "a segment is ended after its last flush");
        Finished { segment: self }
    }
}

/// A log to which nothing more is appended, with the zeros that were left.
#[derive(Debug)]
pub struct Finished {
    segment: Segment,
}

impl Finished {
    /// Cuts off the zeros behind the last record. They do no harm while they are there. Somebody
    /// may be reading the file, and looks for one more record: where that look would be on a page
    /// of its own, so many zeros stay.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    pub fn cut(self) -> Result<(), Error> {
        let Segment { file, path, flushed, .. } = self.segment;
        let looked_at = flushed + HEAD_BYTES as u64;
        let is_on_page = flushed.div_ceil(PAGE) == looked_at.div_ceil(PAGE);
        let bytes = if is_on_page { flushed } else { looked_at };
        file.set_len(bytes).map_err(Error::io(Action::Cut, &path))
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
        // SAFETY: what of it is looked at stays (head of this file).
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes around those of pages and of the staging buffer, among small ones.
    const SIZES: [usize; 12] =
        [1, 100, 4095, 4096, 4097, 130, 8192, 70_000, (1 << 20) - 1, 1 << 20, 3 << 20, 5];

    /// Bytes that repeat at no page's distance.
    fn bytes(number: usize, count: usize) -> Vec<u8> {
        (0..count).map(|at| u8::try_from((at * 7 + number) % 251 + 1).unwrap()).collect()
    }

    fn file_of_whatever_was_flushed(way: Way) {
        let dir = tempfile::tempdir().unwrap();
        let whole = SIZES.iter().sum::<usize>() * 2;
        let mut prepared = prepare(dir.path(), whole as u64, way == Way::Direct).unwrap();
        if way == Way::Synced {
            prepared.way = way;
        }
        let mut segment = Segment::open(prepared).unwrap();
        let mut expected = Vec::new();
        for (number, size) in SIZES.repeat(2).into_iter().enumerate() {
            let part = bytes(number, size);
            let (first, rest) = part.split_at(size / 3);
            segment.append(&[first, rest]).unwrap();
            expected.extend(part);
            if number % 3 == 0 {
                segment.flush().unwrap();
                assert_eq!((segment.used(), segment.unflushed()), (expected.len() as u64, 0));
                let file = fs::read(segment.path()).unwrap();
                assert_eq!(file.len() as u64, segment.bytes());
                let (flushed, zeros) = file.split_at(expected.len());
                assert!(flushed == expected, "after part {number}");
                assert!(zeros.iter().all(|zero| *zero == 0), "after part {number}");
            }
        }
        assert!(!segment.fits(whole - expected.len() + PAGE_BYTES));
        segment.flush().unwrap();
        let path = segment.path().to_path_buf();
        segment.finish().cut().unwrap();
        assert!(fs::read(path).unwrap() == expected);
    }

    #[test]
    fn a_file_holds_what_was_flushed_and_zeros_behind_it() {
        file_of_whatever_was_flushed(Way::Direct);
    }

    #[test]
    fn so_it_does_through_the_page_cache() {
        file_of_whatever_was_flushed(Way::Synced);
        file_of_whatever_was_flushed(Way::Cached);
    }

    /// As where pages are no blocks, or the file system has no direct writes: here because these
    /// zeros begin at no page.
    #[test]
    fn a_disk_that_refuses_direct_writes_is_written_through_the_page_cache() {
        let dir = tempfile::tempdir().unwrap();
        let mut preparation = Preparation::begin(dir.path(), PAGE, true).unwrap();
        let prepared = preparation.prepared.as_mut().unwrap();
        let zeros = staging(2 * PAGE).unwrap();
        let refused = prepared.file.write_all_at(&zeros[1..=PAGE_BYTES], 0).is_err();
        prepared.lay_first_page(&zeros[1..=PAGE_BYTES]).unwrap();
        assert_eq!(prepared.way, if refused { Way::Synced } else { Way::Direct });
        assert_eq!(fs::read(&prepared.path).unwrap(), [0; PAGE_BYTES]);
    }
}
