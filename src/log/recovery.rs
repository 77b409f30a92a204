//! Reads the log back at start, and takes it back to an earlier txn.
//!
//! Thread: boot. In: a log directory and the zxid of a snapshot. Out: every later record, once, in
//! order, durable. What a crash leaves behind a log (a torn record, an empty file) is cut away so
//! that Java can read the directory too; anything else is refused, and then no file is touched.
//! INVARIANT: no whole record newer than the snapshot is lost without the operator having said so.

mod history;
mod log_file;
mod memory;
mod padding;
mod truncate;

use std::error::Error as StdError;
use std::fmt;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use super::error::{Action, Damage, Error};
use super::names::{self, LOG, Named};
use super::opening;
use super::record::FILE_HEADER;
use super::stop::StopFlag;
use crate::ids::Zxid;
use crate::limits::FINDINGS_MAX;
use log_file::{LogFile, Source, Step};

pub use history::{History, Stretch, read_history};
pub use memory::{LogBytes, LogEnd, replay_bytes, truncate_bytes};
pub use truncate::{Truncated, truncate};

/// Turns [`ReplayOptions::allow_gaps`] on.
pub const ALLOW_GAPS_PROPERTY: &str = "ringkeeper.recovery.allowGaps";

/// Turns [`ReplayOptions::cut_damaged_tail`] on.
pub const CUT_DAMAGED_TAIL_PROPERTY: &str = "ringkeeper.recovery.cutDamagedTail";

/// What a txn's reader says when it cannot be read.
pub type Refusal = Box<dyn StdError + Send + Sync>;

/// Where to begin, and what to put up with.
#[derive(Clone, Debug, Default)]
pub struct ReplayOptions {
    /// The snapshot's zxid: records up to it are passed over.
    pub after: Zxid,
    /// Go on over missing zxids, saying so.
    pub allow_gaps: bool,
    /// Discard the newest log from the first damaged record on, saying so.
    pub cut_damaged_tail: bool,
    /// Heeded at every record, and at every stretch of zeros.
    pub stop: StopFlag,
}

/// A place in the log where recovery did more than read.
#[derive(Debug)]
pub enum Finding {
    /// A record that was being written when the machine stopped was cut off.
    CutTorn {
        /// The file.
        file: PathBuf,
        /// Its length now.
        offset: u64,
        /// What was cut, trailing zeros not counted.
        bytes: u64,
    },
    /// Everything from a damaged record on was discarded, as the operator wished.
    CutDamaged {
        /// The file.
        file: PathBuf,
        /// Its length now.
        offset: u64,
        /// What was cut, trailing zeros not counted.
        bytes: u64,
    },
    /// A log without a record was deleted.
    RemovedEmpty {
        /// The file.
        file: PathBuf,
    },
    /// Records had a zxid that was not above the one before. COMPAT: a Java server logs a request
    /// it cannot decode with the zxid of the txn before, and goes on over the like
    /// (`FileTxnSnapLog.fastForwardFromEdits`). Of one zxid the first record is history.
    Repeated {
        /// How many.
        records: u64,
        /// The file of the first of them.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// Its zxid.
        zxid: Zxid,
        /// The last txn before it.
        after: Zxid,
    },
    /// Txns are missing, and the operator wished to go on.
    Gap {
        /// The file in which the log goes on.
        file: PathBuf,
        /// The last txn before.
        after: Zxid,
        /// The first behind.
        found: Zxid,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutTorn { file, offset, bytes } => write!(
                f,
                "{} ended in an incomplete record: {bytes} bytes from offset {offset} on were cut \
                 off. A crash while writing leaves such a tail; after a clean stop suspect the disk",
                file.display()
            ),
            Self::CutDamaged { file, offset, bytes } => write!(
                f,
                "{} was damaged: {bytes} bytes from offset {offset} on were discarded because \
                 {CUT_DAMAGED_TAIL_PROPERTY} is set",
                file.display()
            ),
            Self::RemovedEmpty { file } => {
                write!(f, "{} held no record and was deleted", file.display())
            }
            Self::Repeated { records, file, offset, zxid, after } => write!(
                f,
                "{records} records repeat zxids that came before and were passed over, the first at \
                 offset {offset} of {} (zxid {zxid} behind {after})",
                file.display()
            ),
            Self::Gap { file, after, found } => write!(
                f,
                "the txns between zxid {after} and {found} (in {}) are missing; going on because \
                 {ALLOW_GAPS_PROPERTY} is set",
                file.display()
            ),
        }
    }
}

/// What a replay came to.
#[derive(Debug, Default)]
pub struct Replayed {
    /// The last zxid on disk; `after` if there is nothing newer.
    pub last: Zxid,
    /// Records visited.
    pub records: u64,
    /// Records passed over because the snapshot has them.
    pub older: u64,
    /// Records passed over because their zxid had been seen.
    pub duplicates: u64,
    /// Files read.
    pub files: usize,
    /// Places where txns are missing, if that is allowed.
    pub gaps: u64,
    /// Whatever an operator should be told; of the gaps only the first few.
    pub findings: Vec<Finding>,
}

/// Whether there is any log, by name: COMPAT `FileTxnLog.getLastLoggedZxid`.
///
/// # Errors
/// [`Error::Io`]
pub fn has_logs(log_dir: &Path) -> Result<bool, Error> {
    Ok(!names::list(log_dir, LOG)?.is_empty())
}

/// Visits every record after `options.after`, in order, each once; repairs what a crash leaves;
/// makes all of it durable (it may only have been in the page cache) before it returns.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Gap`], [`Error::Io`] or [`Error::Stopped`]; no file has been
/// changed then. An error of `visit` is `Corrupt`, too.
pub fn replay(
    log_dir: &Path,
    options: &ReplayOptions,
    mut visit: impl FnMut(Zxid, &[u8]) -> Result<(), Refusal>,
) -> Result<Replayed, Error> {
    let done = read_all(names::list(log_dir, LOG)?, LogFile::open, options, &mut visit)?;
    options.stop.check()?; // now or not before all is repaired
    repair(&done.findings)?;
    names::flush_directory(log_dir)?;
    Ok(done)
}

/// Visits, and touches nothing.
fn read_all<S: Source>(
    files: Vec<Named>,
    open: impl Fn(&Named) -> Result<LogFile<S>, Error>,
    options: &ReplayOptions,
    visit: &mut impl FnMut(Zxid, &[u8]) -> Result<(), Refusal>,
) -> Result<Replayed, Error> {
    let open = |named: &Named| open(named).map(|file| file.heeding(&options.stop));
    let files = needed(files, options.after);
    let last_written = last_written(&files, open)?;
    let mut replay = Replay::new(options.clone());
    for (index, named) in files.iter().enumerate() {
        replay.is_last = Some(index) == last_written;
        replay.read(&mut open(named)?, visit)?;
    }
    Ok(replay.done)
}

/// The files that hold records after `after`: the newest one that begins at or before it, and all
/// later ones (`FileTxnLog.getLogFiles`).
pub(super) fn needed(mut files: Vec<Named>, after: Zxid) -> Vec<Named> {
    if let Some(begins) = files.iter().map(|file| file.zxid).rfind(|zxid| *zxid <= after) {
        files.retain(|file| file.zxid >= begins);
    }
    files
}

fn last_written<S: Source>(
    files: &[Named],
    open: impl Fn(&Named) -> Result<LogFile<S>, Error>,
) -> Result<Option<usize>, Error> {
    for (index, named) in files.iter().enumerate().rev() {
        if !open(named)?.is_empty()? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// Whether nothing can have been between these two.
///
/// Each write attempt takes the next counter and is logged, failed ones too; the first txn of an
/// epoch has counter 1. How many an earlier epoch had cannot be known.
///
/// COMPAT: a Java server that stands alone counts on into the next epoch, over its counter 0.
pub fn follows(last: Zxid, next: Zxid) -> bool {
    let is_next = last.0.checked_add(1) == Some(next.0);
    is_next || (next.epoch() > last.epoch() && next.counter() == 1)
}

struct Replay {
    options: ReplayOptions,
    done: Replayed,
    /// Whether no later file holds a record.
    is_last: bool,
    /// The last file that broke off inside a record, and where.
    torn: Option<(PathBuf, u64)>,
}

impl Replay {
    fn new(options: ReplayOptions) -> Self {
        let done = Replayed { last: options.after, ..Replayed::default() };
        Self { options, done, is_last: false, torn: None }
    }

    fn read<S: Source>(
        &mut self,
        file: &mut LogFile<S>,
        visit: &mut impl FnMut(Zxid, &[u8]) -> Result<(), Refusal>,
    ) -> Result<(), Error> {
        self.done.files += 1;
        if file.is_empty()? {
            self.done.findings.push(Finding::RemovedEmpty { file: file.path().to_path_buf() });
            return Ok(());
        }
        if !file.has_magic() {
            return Err(self.corrupt(file, 0, Damage::Magic, None));
        }
        loop {
            let offset = file.offset();
            self.options.stop.check()?;
            match file.step()? {
                Step::Record(zxid, _) if zxid <= self.options.after => self.done.older += 1,
                Step::Record(zxid, _) if zxid <= self.done.last => {
                    self.on_repeated(file, offset, zxid);
                }
                Step::Record(zxid, data) => {
                    self.check_gap(file, offset, zxid)?;
                    visit(zxid, file.data(data)).map_err(|why| {
                        self.corrupt(file, offset, Damage::Undecodable(why), None)
                    })?;
                    self.done.last = zxid;
                    self.done.records += 1;
                }
                Step::End => return file.flush(),
                Step::Torn => {
                    let bytes = file.written() - offset;
                    let file = file.path().to_path_buf();
                    self.torn = Some((file.clone(), offset));
                    self.done.findings.push(Finding::CutTorn { file, offset, bytes });
                    return Ok(());
                }
                Step::Damaged { .. } if self.options.cut_damaged_tail && self.is_last => {
                    let bytes = file.written() - offset;
                    let file = file.path().to_path_buf();
                    self.done.findings.push(Finding::CutDamaged { file, offset, bytes });
                    return Ok(());
                }
                Step::Damaged { damage, next } => {
                    return Err(self.corrupt(file, offset, damage, next));
                }
            }
        }
    }

    /// One finding for all of them, however many there are.
    fn on_repeated(&mut self, file: &LogFile<impl Source>, offset: u64, zxid: Zxid) {
        let Replayed { last, duplicates, findings, .. } = &mut self.done;
        *duplicates += 1;
        let mut known = findings.iter_mut().rev();
        let known = known.find_map(|finding| match finding {
            Finding::Repeated { records, .. } => Some(records),
            Finding::CutTorn { .. }
            | Finding::CutDamaged { .. }
            | Finding::RemovedEmpty { .. }
            | Finding::Gap { .. } => None,
        });
        if let Some(records) = known {
            *records = *duplicates;
            return;
        }
        let (file, after, records) = (file.path().to_path_buf(), *last, *duplicates);
        findings.push(Finding::Repeated { records, file, offset, zxid, after });
    }

    fn check_gap(
        &mut self,
        file: &LogFile<impl Source>,
        offset: u64,
        found: Zxid,
    ) -> Result<(), Error> {
        let after = self.done.last;
        if follows(after, found) {
            return Ok(());
        }
        let file = file.path().to_path_buf();
        if !self.options.allow_gaps {
            return Err(Error::Gap { file, offset, after, found, torn: self.torn.take() });
        }
        self.done.gaps += 1;
        if self.done.gaps <= FINDINGS_MAX {
            self.done.findings.push(Finding::Gap { file, after, found });
        }
        Ok(())
    }

    fn corrupt(
        &self,
        file: &LogFile<impl Source>,
        offset: u64,
        damage: Damage,
        next: Option<(u64, Zxid)>,
    ) -> Error {
        let (file, after) = (file.path().to_path_buf(), self.done.last);
        Error::Corrupt { file, offset, after, damage, next }
    }
}

/// Only now, when everything has been read and none of it refused.
fn repair(findings: &[Finding]) -> Result<(), Error> {
    for finding in findings {
        match finding {
            Finding::CutTorn { file, offset, .. } | Finding::CutDamaged { file, offset, .. } => {
                cut(file, *offset)?;
            }
            Finding::RemovedEmpty { file } => names::remove(file)?,
            Finding::Repeated { .. } | Finding::Gap { .. } => {}
        }
    }
    Ok(())
}

/// Shortens a log, durably. One without a record goes altogether: older Java servers fail on it.
fn cut(file: &Path, offset: u64) -> Result<(), Error> {
    if offset <= FILE_HEADER.len() as u64 {
        return names::remove(file);
    }
    let log = opening::open(|| OpenOptions::new().write(true).open(file));
    let log = log.map_err(Error::io(Action::Cut, file))?;
    log.set_len(offset).map_err(Error::io(Action::Cut, file))?;
    log.sync_all().map_err(Error::io(Action::Flush, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_leaves_no_room_for_a_record() {
        const E1: i64 = 1 << 32;
        let cases = [
            (1, 2, true),
            (1, 3, false),
            (2, 2, false),
            (7, E1 + 1, true),
            (7, E1, false),
            (E1 - 1, E1, true),
            (E1 - 1, E1 + 1, true),
            (E1 - 2, E1, false),
            (E1, E1 + 1, true),
            (i64::MAX, i64::MIN, false),
        ];
        for (last, next, expected) in cases {
            assert_eq!(follows(Zxid(last), Zxid(next)), expected, "{last:#x} {next:#x}");
        }
    }
}
