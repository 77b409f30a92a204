//! Appends records to segments and makes them durable, many at a time.
//!
//! Thread: log. In: records with rising zxids. Out: flushes; after one returned, everything
//! appended before it survives the machine. Never appends to a file it did not create: each start
//! begins a new one, as Java does. A segment gets its name `log.<hex>` in the first flush, when
//! header and record are on disk, so no crash leaves an empty log behind.
//! INVARIANT: zxids rise. INVARIANT: after one error every call fails with it: a failed flush may
//! have dropped pages that the page cache still shows as clean.

use std::path::PathBuf;

use super::error::{Action, Error};
use super::names::{self, flush_directory};
use super::record::{END_MARKER, FILE_HEADER, OVERHEAD_BYTES, head};
use super::segment::{Finished, PAGE_BYTES, Prepared, Segment, prepare};
use crate::ids::Zxid;
use crate::limits::{SEGMENT_BYTES_FIRST, SEGMENT_BYTES_MAX};

/// So much of a segment is used before a wish for a new file is granted: the rest is zeros that
/// were written to be cut off.
const ROLL_USED_PERMILLE: u64 = 875;

/// Where and how to log.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// `version-2` of the log directory.
    pub log_dir: PathBuf,
    /// The last zxid recovered: what is appended comes after it.
    pub last: Zxid,
    /// What segments grow to: `preAllocSize`, in bytes.
    pub segment_bytes: u64,
    /// Whether a flush waits for the disk: `forceSync`.
    pub force_sync: bool,
    /// Past this size a flush rolls: `txnLogSizeLimitInKb`, in bytes.
    pub roll_bytes: Option<u64>,
}

/// What a flush made durable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlushReport {
    /// Every record up to this one is durable.
    pub upto: Zxid,
    /// Records since the last flush.
    pub records: u64,
    /// Their bytes, framing included.
    pub bytes: u64,
}

/// How much has been written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sizes {
    /// Bytes in the current log file, its header included; 0 before the first record.
    pub file_bytes: u64,
    /// Bytes appended and not yet flushed.
    pub unflushed_bytes: u64,
    /// Records appended since the writer was opened.
    pub records: u64,
    /// Bytes of records appended since then, framing included.
    pub bytes: u64,
    /// Files begun since then.
    pub files: u64,
}

/// The log's only writer.
#[derive(Debug)]
pub struct Writer {
    options: WriterOptions,
    segment: Option<Current>,
    spare: Option<Prepared>,
    /// A spare was asked for and has not come.
    asked: bool,
    /// The last file, until somebody cuts the zeros off it.
    finished: Option<Finished>,
    /// See [`Self::wish_roll`].
    wishes_roll: bool,
    /// Size of the next segment to prepare.
    segment_bytes: u64,
    last: Zxid,
    pending: FlushReport,
    sizes: Sizes,
    failed: Option<Error>,
}

#[derive(Debug)]
struct Current {
    segment: Segment,
    /// Names the file.
    first: Zxid,
    named: bool,
}

impl Writer {
    /// A writer that goes on after `options.last`. Touches no file yet.
    pub fn open(options: WriterOptions) -> Self {
        let last = options.last;
        Self {
            options,
            segment: None,
            spare: None,
            asked: false,
            finished: None,
            wishes_roll: false,
            segment_bytes: SEGMENT_BYTES_FIRST,
            last,
            pending: FlushReport { upto: last, records: 0, bytes: 0 },
            sizes: Sizes::default(),
            failed: None,
        }
    }

    /// Appends one record. It is durable after the next [`Self::flush`].
    ///
    /// # Errors
    /// [`Error::Io`]; then for ever.
    ///
    /// # Panics
    /// If `zxid` does not rise, or the record is not the bytes of a txn of that zxid.
    pub fn append(&mut self, zxid: Zxid, record: &[u8]) -> Result<(), Error> {
        self.check()?;
        assert!(zxid > self.last, "zxid {zxid} appended after {}", self.last);
        let named = crate::wire::txn::zxid_of(record);
        assert!(named == Some(zxid), "a record of {named:?} appended as {zxid}");
        let done = self.try_append(zxid, record);
        self.keep(done)?;
        self.last = zxid;
        let bytes = (record.len() + OVERHEAD_BYTES) as u64;
        self.pending.upto = zxid;
        self.pending.records += 1;
        self.pending.bytes += bytes;
        self.sizes.records += 1;
        self.sizes.bytes += bytes;
        Ok(())
    }

    /// Makes everything appended so far durable: one write of the pages touched since the last
    /// one; for a new file also its name. With `force_sync` off it only leaves this process.
    ///
    /// # Errors
    /// [`Error::Io`]; then for ever. Nothing since the last good flush may be acked.
    pub fn flush(&mut self) -> Result<FlushReport, Error> {
        self.check()?;
        let done = self.flush_segment();
        self.keep(done)?;
        if self.is_roll_due() {
            let done = self.end_segment();
            self.keep(done)?;
        }
        let report = self.pending;
        self.pending.records = 0;
        self.pending.bytes = 0;
        Ok(report)
    }

    /// Ends the current file: the next record begins a new one. Flushes what is in it first.
    ///
    /// # Errors
    /// [`Error::Io`]; then for ever.
    pub fn roll(&mut self) -> Result<(), Error> {
        self.check()?;
        let done = self.end_segment().and_then(|()| self.cut_finished());
        self.keep(done)
    }

    /// A new file would be welcome, because a snapshot holds what came before. A flush grants it
    /// once most of the file is used and the next is ready: zeros that are laid down only to be
    /// cut off cost the disk twice, and a file made in haste holds up every write.
    pub const fn wish_roll(&mut self) {
        self.wishes_roll = true;
    }

    /// The history was taken back to `last`, or replaced by a snapshot of it: goes on from there,
    /// in a new file.
    ///
    /// # Panics
    /// If a file is open: [`Self::roll`] comes first, so that it could be cut.
    pub fn restart_after(&mut self, last: Zxid) {
        assert!(self.segment.is_none(), "what is being written cannot be cut");
        self.last = last;
        self.pending = FlushReport { upto: last, records: 0, bytes: 0 };
    }

    /// How large a segment the writer would like prepared, asked once for each: pass what
    /// becomes of it to [`Self::offer`]. If none comes it prepares one itself when it must.
    pub fn wants_segment(&mut self) -> Option<u64> {
        if self.asked || self.spare.is_some() || self.failed.is_some() {
            return None;
        }
        self.asked = true;
        Some(self.next_bytes())
    }

    /// Whether it would have to prepare a segment itself to append these `bytes` of data, with the
    /// one that it asked for still to come.
    pub fn is_short_of_segment(&self, bytes: usize) -> bool {
        let bytes = bytes + OVERHEAD_BYTES;
        let fits = self.segment.as_ref().is_some_and(|current| current.segment.fits(bytes));
        self.asked && self.spare.is_none() && !fits
    }

    /// How much of the current segment is used, in thousandths; all of it if there is none.
    pub fn used_permille(&self) -> u64 {
        self.segment
            .as_ref()
            .map_or(1000, |current| current.segment.used() * 1000 / current.segment.bytes().max(1))
    }

    /// A file that was ended and whose zeros should be cut off. Not taken before the next ends,
    /// the writer does it itself.
    pub const fn take_finished(&mut self) -> Option<Finished> {
        self.finished.take()
    }

    /// Takes a segment prepared in the writer's directory.
    ///
    /// # Errors
    /// [`Error::Io`] if there is one already and the surplus cannot be deleted.
    pub fn offer(&mut self, prepared: Prepared) -> Result<(), Error> {
        self.asked = false;
        match self.spare.replace(prepared) {
            Some(surplus) => surplus.discard(),
            None => Ok(()),
        }
    }

    /// Whether a flush waits for the disk.
    pub const fn is_forced(&self) -> bool {
        self.options.force_sync
    }

    /// How much has been written.
    pub fn sizes(&self) -> Sizes {
        let segment = self.segment.as_ref().map(|current| &current.segment);
        Sizes {
            file_bytes: segment.map_or(0, Segment::used),
            unflushed_bytes: segment.map_or(0, Segment::unflushed),
            ..self.sizes
        }
    }

    /// The last zxid appended.
    pub const fn last(&self) -> Zxid {
        self.last
    }

    /// Flushes, cuts the zeros off the current file and deletes the spare: nothing is left that
    /// Java would stumble over.
    ///
    /// # Errors
    /// [`Error::Io`], or the error that stopped the writer before.
    pub fn close(mut self) -> Result<(), Error> {
        self.roll()?;
        self.spare.take().map_or(Ok(()), Prepared::discard)
    }

    fn check(&self) -> Result<(), Error> {
        self.failed.as_ref().map_or(Ok(()), |error| Err(error.again()))
    }

    /// Remembers an error, so that no later call can succeed.
    fn keep(&mut self, done: Result<(), Error>) -> Result<(), Error> {
        if let Err(error) = &done {
            self.failed = Some(error.again());
        }
        done
    }

    fn try_append(&mut self, zxid: Zxid, record: &[u8]) -> Result<(), Error> {
        let bytes = record.len() + OVERHEAD_BYTES;
        if let Some(current) = &self.segment
            && !current.segment.fits(bytes)
        {
            self.end_segment()?;
            self.segment_bytes = (self.segment_bytes * 2).min(self.segment_bytes_max());
        }
        let mut current = match self.segment.take() {
            Some(current) => current,
            None => self.begin_segment(zxid, bytes)?,
        };
        let at = current.segment.used();
        let done = current.segment.append(&[&head(record), record, &[END_MARKER]]);
        let done = done.map_err(|source| write_error(&current.segment, at, zxid, source));
        self.segment = Some(current);
        done
    }

    fn begin_segment(&mut self, first: Zxid, bytes: usize) -> Result<Current, Error> {
        let needed = (bytes + FILE_HEADER.len()) as u64;
        let spare = self.spare.take_if(|spare| spare.bytes() >= needed);
        let prepared = if let Some(spare) = spare {
            spare
        } else {
            self.asked = false; // what was asked for has not come, or is too small
            self.prepare(needed)?
        };
        let mut segment = Segment::open(prepared)?;
        segment
            .append(&[&FILE_HEADER])
            .map_err(|source| write_error(&segment, 0, first, source))?;
        self.sizes.files += 1;
        Ok(Current { segment, first, named: false })
    }

    /// As large as it would like, or as the disk has room for.
    fn prepare(&self, needed: u64) -> Result<Prepared, Error> {
        let WriterOptions { log_dir, force_sync, .. } = &self.options;
        let mut bytes = needed.max(self.next_bytes());
        loop {
            match prepare(log_dir, bytes, *force_sync) {
                Err(error) if error.is_full_disk() && bytes > needed => {
                    bytes = needed.max(bytes / 2);
                }
                prepared => return prepared,
            }
        }
    }

    fn flush_segment(&mut self) -> Result<(), Error> {
        let Some(current) = &mut self.segment else { return Ok(()) };
        let (zxid, offset) = (Some(self.last), current.segment.used());
        current.segment.flush().map_err(|source| Error::Io {
            action: Action::Flush,
            file: current.segment.path().to_path_buf(),
            offset: Some(offset - current.segment.unflushed()),
            zxid,
            source,
        })?;
        if !current.named {
            current.segment.rename(names::log_path(&self.options.log_dir, current.first))?;
            current.named = true;
            if self.options.force_sync {
                flush_directory(&self.options.log_dir)?;
            }
        }
        Ok(())
    }

    fn is_roll_due(&self) -> bool {
        let is_too_long =
            self.options.roll_bytes.is_some_and(|limit| self.sizes().file_bytes > limit);
        let is_worth_it = self.spare.is_some() && self.used_permille() >= ROLL_USED_PERMILLE;
        is_too_long || self.wishes_roll && is_worth_it
    }

    fn end_segment(&mut self) -> Result<(), Error> {
        self.flush_segment()?;
        self.wishes_roll = false;
        self.cut_finished()?;
        self.finished = self.segment.take().map(|current| current.segment.finish());
        Ok(())
    }

    fn cut_finished(&mut self) -> Result<(), Error> {
        self.finished.take().map_or(Ok(()), Finished::cut)
    }

    fn segment_bytes_max(&self) -> u64 {
        self.options.segment_bytes.clamp(SEGMENT_BYTES_FIRST, SEGMENT_BYTES_MAX)
    }

    /// What the next segment should hold: twice as much if this one runs full.
    fn next_bytes(&self) -> u64 {
        let full = self
            .segment
            .as_ref()
            .is_some_and(|current| current.segment.bytes() >= self.segment_bytes);
        let bytes = if full { self.segment_bytes * 2 } else { self.segment_bytes };
        bytes.min(self.segment_bytes_max()).next_multiple_of(PAGE_BYTES as u64)
    }
}

fn write_error(segment: &Segment, at: u64, zxid: Zxid, source: std::io::Error) -> Error {
    let file = segment.path().to_path_buf();
    Error::Io { action: Action::Write, file, offset: Some(at), zxid: Some(zxid), source }
}
