//! One log file, read record by record, however large it is.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use crate::ids::Zxid;
use crate::log::error::{Action, Damage, Error};
use crate::log::names::Named;
use crate::log::record::{self, FILE_HEADER, Found};
use crate::log::segment::Mapped;

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

#[derive(Debug)]
pub(super) struct LogFile {
    named: Named,
    file: File,
    map: Mapped,
    /// Of the next record.
    offset: usize,
    /// The disk has been read up to here.
    loaded: usize,
    /// The last record of this file.
    last: Zxid,
}

impl LogFile {
    pub(super) fn open(named: Named) -> Result<Self, Error> {
        let file = File::open(&named.path).map_err(Error::io(Action::Read, &named.path))?;
        let map = Mapped::open(&file).map_err(Error::io(Action::Read, &named.path))?;
        let last = Zxid(named.zxid.0 - 1);
        Ok(Self { named, file, map, offset: FILE_HEADER.len(), loaded: 0, last })
    }

    pub(super) fn path(&self) -> &Path {
        &self.named.path
    }

    /// Where the next record begins.
    pub(super) const fn offset(&self) -> u64 {
        self.offset as u64
    }

    pub(super) fn data(&self, range: Range<usize>) -> &[u8] {
        &self.map[range]
    }

    /// Whether no record was ever begun: not even a header, or nothing but zeros behind it.
    pub(super) fn is_empty(&mut self) -> Result<bool, Error> {
        let mut from = 0;
        while from < self.map.len() {
            let to = (from + WINDOW_BYTES).min(self.map.len());
            self.load(to)?;
            let header = if self.has_magic() { FILE_HEADER.len() } else { 0 };
            if record::written(&self.map[from.max(header).min(to)..to]) > 0 {
                // Fewer bytes than a header hold no record, whatever they are.
                return Ok(self.map.len() < FILE_HEADER.len());
            }
            from = to;
        }
        Ok(true)
    }

    /// Whether it begins as a log does; Java looks at no more of the header either.
    pub(super) fn has_magic(&self) -> bool {
        self.map.get(..4) == Some(&FILE_HEADER[..4])
    }

    /// Reads on.
    pub(super) fn step(&mut self) -> Result<Step, Error> {
        self.load(self.offset + record::HEAD_BYTES)?;
        self.load(record::claimed_end(&self.map, self.offset))?;
        let damage = match record::read(&self.map, self.offset) {
            Ok(record) => {
                let end = record.next - 1;
                self.offset = record.next;
                self.last = self.last.max(record.zxid);
                return Ok(Step::Record(record.zxid, end - record.data.len()..end));
            }
            Err(damage) => damage,
        };
        self.load(self.map.len())?;
        Ok(match record::classify(&self.map, self.offset, self.last, damage) {
            Found::End => Step::End,
            Found::Torn => Step::Torn,
            Found::Damaged { damage, next } => {
                Step::Damaged { damage, next: next.map(|(at, zxid)| (at as u64, zxid)) }
            }
        })
    }

    /// Where its last byte is that is not zero.
    pub(super) fn written(&self) -> u64 {
        record::written(&self.map) as u64
    }

    /// Makes durable what may only have been in the page cache when another process wrote it.
    pub(super) fn flush(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::io(Action::Flush, &self.named.path))
    }

    fn load(&mut self, to: usize) -> Result<(), Error> {
        let to = to.min(self.map.len());
        while self.loaded < to {
            let from = self.loaded;
            let bytes = WINDOW_BYTES.min(self.map.len() - from);
            self.map.load(from, bytes).map_err(|source| Error::Io {
                action: Action::Read,
                file: self.named.path.clone(),
                offset: Some(from as u64),
                zxid: Some(self.last),
                source,
            })?;
            self.loaded += bytes;
        }
        Ok(())
    }
}
