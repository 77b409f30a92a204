//! Recovery of logs that are in memory: the same reader and the same rules, and no file.
//!
//! For whoever keeps a disk of its own, as the simulator does: what would be repaired is told, and
//! left to it.

use std::path::Path;

use super::log_file::LogFile;
use super::truncate::find_end;
use super::{Refusal, ReplayOptions, Replayed, read_all};
use crate::ids::Zxid;
use crate::log::error::Error;
use crate::log::names::{self, Named};

/// One log: what would be in `log.<hex>`, and is called so in findings and errors.
#[derive(Clone, Copy, Debug)]
pub struct LogBytes<'a> {
    /// In its name: its first record's.
    pub first: Zxid,
    /// Header, records, and whatever a crash left behind them.
    pub bytes: &'a [u8],
}

/// Where logs have to end to be taken back to a txn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogEnd {
    /// Names the log.
    pub first: Zxid,
    /// Its length then; `None` if it goes altogether.
    pub bytes: Option<u64>,
}

/// [`super::replay`] of these logs, in rising order, without its repairs.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Gap`].
pub fn replay_bytes(
    logs: &[LogBytes<'_>],
    options: &ReplayOptions,
    mut visit: impl FnMut(Zxid, &[u8]) -> Result<(), Refusal>,
) -> Result<Replayed, Error> {
    read_all(named(logs), |it| Ok(open(logs, it)), options, &mut visit)
}

/// What [`super::truncate`] would do to these logs behind a snapshot of `base`, the oldest first.
///
/// # Errors
/// [`Error::CannotTruncate`] if snapshot and logs do not lead to exactly `to`.
pub fn truncate_bytes(logs: &[LogBytes<'_>], base: Zxid, to: Zxid) -> Result<Vec<LogEnd>, Error> {
    let end = find_end(named(logs), base, to, |it| Ok(open(logs, it)))?;
    let cut = end.cut.iter().filter_map(|(path, bytes)| {
        let log = named(logs).into_iter().find(|log| log.path == *path)?;
        Some(LogEnd { first: log.zxid, bytes: Some(*bytes) })
    });
    let later = end.later.iter().map(|log| LogEnd { first: log.zxid, bytes: None });
    Ok(cut.chain(later).collect())
}

fn named(logs: &[LogBytes<'_>]) -> Vec<Named> {
    let of = |zxid| Named { zxid, path: names::log_path(Path::new(""), zxid) };
    logs.iter().map(|log| of(log.first)).collect()
}

fn open<'a>(logs: &[LogBytes<'a>], named: &Named) -> LogFile<&'a [u8]> {
    let log = logs.iter().find(|log| log.first == named.zxid);
    LogFile::new(named, log.map_or(&[], |log| log.bytes))
}
