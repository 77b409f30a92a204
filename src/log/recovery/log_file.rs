//! One log, read record by record, however large it is: a file, or bytes in memory.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;

use super::padding;
use crate::ids::Zxid;
use crate::log::error::{Action, Damage, Error};
use crate::log::names::Named;
use crate::log::opening;
use crate::log::record::{self, FILE_HEADER, Found};
use crate::log::segment::Mapped;
use crate::log::stop::StopFlag;

/// How far ahead of the reader the disk is read.
const WINDOW_BYTES: usize = 4 << 20;

/// What is next in a log.
#[derive(Debug)]
pub(super) enum Step {
    /// A record: its zxid and where its data is.
    Record(Zxid, Range<usize>),
    /// Nothing more.
    End,
    /// A record that was not written to its end; nothing more.
    Torn,
    /// See [`Found::Damaged`].
    Damaged { damage: Damage, next: Option<(u64, Zxid)> },
}

/// Where the bytes of a log are.
pub(super) trait Source: Deref<Target = [u8]> {
    /// Reads these bytes now, so that a bad sector is an error.
    fn load(&self, from: usize, bytes: usize) -> io::Result<()>;
    /// Behind the last byte from `from` on that is not zero; `from` if there is none.
    fn written(&self, from: usize, stop: &StopFlag) -> io::Result<usize>;
    /// Makes durable what may only have been in the page cache.
    fn flush(&self) -> io::Result<()>;
}

/// A log in a directory.
#[derive(Debug)]
pub(super) struct OnDisk {
    file: File,
    map: Mapped,
}

impl Deref for OnDisk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl Source for OnDisk {
    fn load(&self, from: usize, bytes: usize) -> io::Result<()> {
        self.map.load(from, bytes)
    }

    fn written(&self, from: usize, stop: &StopFlag) -> io::Result<usize> {
        let end = padding::written(&self.file, from as u64, stop)?;
        Ok(usize::try_from(end).map_or(self.len(), |end| end.min(self.len())))
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl Source for &[u8] {
    fn load(&self, _: usize, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn written(&self, from: usize, _: &StopFlag) -> io::Result<usize> {
        Ok(from + self.get(from..).map_or(0, record::written))
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct LogFile<S> {
    named: Named,
    source: S,
    /// Of the next record.
    offset: usize,
    /// The disk has been read up to here.
    loaded: usize,
    /// The last record of this file.
    last: Zxid,
    /// Behind the last byte that is not zero, once the records have ended.
    written: usize,
    stop: StopFlag,
}

impl LogFile<OnDisk> {
    pub(super) fn open(named: &Named) -> Result<Self, Error> {
        let file = opening::open(|| File::open(&named.path));
        let file = file.map_err(Error::io(Action::Read, &named.path))?;
        let map = Mapped::open(&file).map_err(Error::io(Action::Read, &named.path))?;
        Ok(Self::new(named, OnDisk { file, map }))
    }
}

impl<S: Source> LogFile<S> {
    pub(super) fn new(named: &Named, source: S) -> Self {
        let last = Zxid(named.zxid.0 - 1);
        let (named, offset) = (named.clone(), FILE_HEADER.len());
        Self { named, source, offset, loaded: 0, last, written: 0, stop: StopFlag::default() }
    }

    /// Reading fails soon after this is raised.
    pub(super) fn heeding(mut self, stop: &StopFlag) -> Self {
        self.stop = stop.clone();
        self
    }

    pub(super) fn path(&self) -> &Path {
        &self.named.path
    }

    /// Where the next record begins.
    pub(super) const fn offset(&self) -> u64 {
        self.offset as u64
    }

    pub(super) fn data(&self, range: Range<usize>) -> &[u8] {
        &self.source[range]
    }

    /// Whether no record was ever begun: not even a header, or nothing but zeros behind it. Zeros
    /// in place of the header are damage: a file has its name only once there is something in it.
    pub(super) fn is_empty(&mut self) -> Result<bool, Error> {
        if self.source.len() < FILE_HEADER.len() {
            return Ok(true); // they hold no record, whatever they are
        }
        let from = FILE_HEADER.len();
        let to = (from + record::HEAD_BYTES).min(self.source.len());
        self.load(to)?;
        if !self.has_magic() || record::written(&self.source[from..to]) > 0 {
            return Ok(false);
        }
        Ok(self.written_from(from)? == from)
    }

    /// Whether it begins as a log does; Java looks at no more of the header either.
    pub(super) fn has_magic(&self) -> bool {
        self.source.get(..4) == Some(&FILE_HEADER[..4])
    }

    /// Reads on.
    pub(super) fn step(&mut self) -> Result<Step, Error> {
        self.load(self.offset + record::HEAD_BYTES)?;
        self.load(record::claimed_end(&self.source, self.offset))?;
        let damage = match record::read(&self.source, self.offset) {
            Ok(record) => {
                let end = record.next - 1;
                self.offset = record.next;
                self.last = self.last.max(record.zxid);
                return Ok(Step::Record(record.zxid, end - record.data.len()..end));
            }
            Err(damage) => damage,
        };
        self.written = self.written_from(self.offset)?;
        let end = self.written.max(self.offset + record::HEAD_BYTES).min(self.source.len());
        self.load(end)?;
        Ok(match record::classify(&self.source[..end], self.offset, self.last, damage) {
            Found::End => Step::End,
            Found::Torn => Step::Torn,
            Found::Damaged { damage, next } => {
                Step::Damaged { damage, next: next.map(|(at, zxid)| (at as u64, zxid)) }
            }
        })
    }

    /// Behind its last byte that is not zero; to be asked when there was no record.
    pub(super) const fn written(&self) -> u64 {
        self.written as u64
    }

    /// Makes durable what may only have been in the page cache when another process wrote it.
    pub(super) fn flush(&self) -> Result<(), Error> {
        self.source.flush().map_err(Error::io(Action::Flush, &self.named.path))
    }

    fn load(&mut self, to: usize) -> Result<(), Error> {
        let to = to.min(self.source.len());
        while self.loaded < to {
            self.stop.check()?;
            let from = self.loaded;
            let bytes = WINDOW_BYTES.min(self.source.len() - from);
            self.source.load(from, bytes).map_err(|source| self.unreadable(from, source))?;
            self.loaded += bytes;
        }
        Ok(())
    }

    /// Nothing of the zeros is loaded for it.
    fn written_from(&self, from: usize) -> Result<usize, Error> {
        let written = self.source.written(from, &self.stop);
        self.stop.check()?;
        written.map_err(|source| self.unreadable(from, source))
    }

    fn unreadable(&self, from: usize, source: io::Error) -> Error {
        Error::Io {
            action: Action::Read,
            file: self.named.path.clone(),
            offset: Some(from as u64),
            zxid: Some(self.last),
            source,
        }
    }
}
