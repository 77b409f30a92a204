//! Takes the directories back to an earlier txn, as a leader's TRUNC asks.
//!
//! Unlike `FileTxnLog.truncate`: nothing newer than the target is kept (a following record,
//! a newer snapshot: ZOOKEEPER-4837), nothing is touched unless the target can be reached, and the
//! result is durable. Deletions go from new to old, so a crash in between leaves a shorter log,
//! never one with a hole.

use std::path::{Path, PathBuf};

use super::log_file::{LogFile, Source, Step};
use super::{cut, follows, needed};
use crate::ids::Zxid;
use crate::log::error::Error;
use crate::log::names::{self, LOG, Named};
use crate::log::snapshot::{self, SnapshotFile};

/// What [`truncate`] did.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Truncated {
    /// Snapshots and logs deleted.
    pub removed: Vec<PathBuf>,
    /// The logs that were shortened, if only by their padding, and their length now.
    pub cut: Vec<(PathBuf, u64)>,
}

/// Takes the directories back to exactly `to`, durably. No writer may be open.
///
/// # Errors
/// [`Error::CannotTruncate`] if no snapshot and logs lead to exactly `to`: nothing is changed then.
pub fn truncate(log_dir: &Path, snap_dir: &Path, to: Zxid) -> Result<Truncated, Error> {
    let (base, newer) = snapshots(snap_dir, to)?;
    let end = find_end(names::list(log_dir, LOG)?, base, to, LogFile::open)?;
    let mut done = Truncated::default();
    for snapshot in newer {
        names::remove(&snapshot.path)?;
        done.removed.push(snapshot.path);
    }
    names::flush_directory(snap_dir)?;
    for named in end.later.into_iter().rev() {
        names::remove(&named.path)?;
        names::flush_directory(log_dir)?;
        done.removed.push(named.path);
    }
    for (file, offset) in end.cut.into_iter().rev() {
        cut(&file, offset)?;
        done.cut.push((file, offset));
    }
    names::flush_directory(log_dir)?;
    Ok(done)
}

/// The newest snapshot with nothing after `to` in it, and all that have.
fn snapshots(snap_dir: &Path, to: Zxid) -> Result<(Zxid, Vec<SnapshotFile>), Error> {
    let mut newer = Vec::new();
    for file in snapshot::list(snap_dir)? {
        if file.zxid > to {
            newer.push(file);
            continue;
        }
        match snapshot::verify(&file) {
            // COMPAT: a fuzzy snapshot of Java's holds txns newer than its name.
            Ok(trailers) if trailers.newest().is_some_and(|zxid| zxid > to) => newer.push(file),
            Ok(_) => return Ok((file.zxid, newer)),
            Err(Error::Snapshot { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::CannotTruncate { to, reached: Zxid::ZERO })
}

/// Where the logs have to end.
#[derive(Default)]
pub(super) struct End {
    /// More than one only if logs overlap.
    pub(super) cut: Vec<(PathBuf, u64)>,
    pub(super) later: Vec<Named>,
}

pub(super) fn find_end<S: Source>(
    files: Vec<Named>,
    base: Zxid,
    to: Zxid,
    open: impl Fn(&Named) -> Result<LogFile<S>, Error>,
) -> Result<End, Error> {
    let mut reached = base;
    let mut end = End::default();
    for named in needed(files, base) {
        if named.zxid > to {
            end.later.push(named);
            continue;
        }
        let mut file = open(&named)?;
        if file.is_empty()? || !file.has_magic() {
            continue;
        }
        let offset = walk(&mut file, &mut reached, to)?;
        end.cut.push((named.path, offset));
    }
    if reached == to { Ok(end) } else { Err(Error::CannotTruncate { to, reached }) }
}

/// The offset behind the last record up to `to`.
fn walk(file: &mut LogFile<impl Source>, reached: &mut Zxid, to: Zxid) -> Result<u64, Error> {
    loop {
        let offset = file.offset();
        match file.step()? {
            Step::Record(zxid, _) if zxid > to => return Ok(offset),
            Step::Record(zxid, _) if zxid <= *reached => {}
            Step::Record(zxid, _) if follows(*reached, zxid) => *reached = zxid,
            Step::Record(..) => return Err(Error::CannotTruncate { to, reached: *reached }),
            Step::End | Step::Torn | Step::Damaged { .. } => return Ok(offset),
        }
    }
}
