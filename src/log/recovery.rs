//! Reads the log back at start, and cuts it.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};

use super::error::Error;
use crate::ids::Zxid;

/// Turns [`ReplayOptions::allow_gaps`] on.
pub const ALLOW_GAPS_PROPERTY: &str = "ringkeeper.recovery.allowGaps";

/// Turns [`ReplayOptions::cut_damaged_tail`] on.
pub const CUT_DAMAGED_TAIL_PROPERTY: &str = "ringkeeper.recovery.cutDamagedTail";

/// What a txn's reader says when it cannot be read.
pub type Refusal = Box<dyn StdError + Send + Sync>;

/// Where to begin, and what to put up with.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayOptions {
    /// The snapshot's zxid: records up to it are passed over.
    pub after: Zxid,
    /// Go on over missing zxids, saying so.
    pub allow_gaps: bool,
    /// Discard the newest log from the first damaged record on, saying so.
    pub cut_damaged_tail: bool,
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
    /// Whatever an operator should be told.
    pub findings: Vec<Finding>,
}

/// Visits every record after `options.after`, in order, each once; repairs what a crash leaves;
/// makes all of it durable (it may only have been in the page cache) before it returns.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Gap`] or [`Error::Io`]. An error of `visit` is `Corrupt`, too.
pub fn replay(
    _log_dir: &Path,
    _options: &ReplayOptions,
    _visit: impl FnMut(Zxid, &[u8]) -> Result<(), Refusal>,
) -> Result<Replayed, Error> {
    unimplemented!("in progress")
}

/// What [`truncate`] did.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Truncated {
    /// Snapshots and logs deleted.
    pub removed: Vec<PathBuf>,
    /// The log that was shortened, and its length now.
    pub cut: Option<(PathBuf, u64)>,
}

/// Takes the directories back to exactly `to`, durably: what a TRUNC asks. No writer may be open.
///
/// # Errors
/// [`Error::CannotTruncate`] if no snapshot and logs lead to exactly `to`: nothing is changed then.
pub fn truncate(_log_dir: &Path, _snap_dir: &Path, _to: Zxid) -> Result<Truncated, Error> {
    unimplemented!("in progress")
}
