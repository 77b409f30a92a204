//! Which snapshots and logs are no longer needed.
//!
//! Unlike `PurgeTxnLog`, which looks at a snapshot's first or last bytes: only one that has been
//! read to its end counts, for the others may be all that is left some day.

use std::path::{Path, PathBuf};

use super::{SnapshotFile, list, verify};
use crate::log::error::Error;
use crate::log::names::{self, LOG};
use crate::log::recovery::needed;

/// What was deleted.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Purged {
    /// Snapshots, then logs, oldest first.
    pub removed: Vec<PathBuf>,
}

/// Deletes what a server that goes back no further than `oldest` does not need. Nothing if that
/// snapshot is gone: a cut took it since it was chosen, and what is older may be all there is.
///
/// # Errors
/// [`Error::Io`]; what was deleted until then is no longer needed either.
pub fn purge(snap_dir: &Path, log_dir: &Path, oldest: &SnapshotFile) -> Result<Purged, Error> {
    let snapshots = list(snap_dir)?;
    if !snapshots.contains(oldest) {
        return Ok(Purged::default());
    }
    let older = snapshots.into_iter().rev().filter(|file| file.zxid < oldest.zxid);
    let mut removed: Vec<PathBuf> = older.map(|file| file.path).collect();
    let logs = names::list(log_dir, LOG)?;
    let kept = needed(logs.clone(), oldest.zxid);
    removed.extend(logs.into_iter().filter(|log| !kept.contains(log)).map(|log| log.path));
    for path in &removed {
        names::remove(path)?;
    }
    if !removed.is_empty() {
        names::flush_directory(snap_dir)?;
        names::flush_directory(log_dir)?;
    }
    Ok(Purged { removed })
}

/// The oldest of the newest `keep` valid snapshots; `None` if none is valid. It reads them all.
///
/// # Errors
/// [`Error::Io`].
pub fn oldest_to_keep(snap_dir: &Path, keep: usize) -> Result<Option<SnapshotFile>, Error> {
    let mut oldest = None;
    let mut valid = 0;
    for file in list(snap_dir)? {
        if valid == keep.max(1) {
            break;
        }
        match verify(&file) {
            Ok(_) => (oldest, valid) = (Some(file), valid + 1),
            Err(Error::Snapshot { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(oldest)
}
