//! Which snapshots and logs are no longer needed.
//!
//! Unlike `PurgeTxnLog`, which looks at a snapshot's first or last bytes: only one that has been
//! read to its end counts, for the others may be all that is left some day.

use std::path::{Path, PathBuf};

use super::{list, verify};
use crate::ids::Zxid;
use crate::log::error::Error;
use crate::log::names::{self, LOG};
use crate::log::recovery::needed;

/// What was deleted.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Purged {
    /// Snapshots, then logs, oldest first.
    pub removed: Vec<PathBuf>,
}

/// Deletes what the newest `keep` valid snapshots do not need; nothing if none is valid.
///
/// # Errors
/// [`Error::Io`]; what was deleted until then is no longer needed either.
pub fn purge(snap_dir: &Path, log_dir: &Path, keep: usize) -> Result<Purged, Error> {
    let Some(oldest) = oldest_kept(snap_dir, keep.max(1))? else { return Ok(Purged::default()) };
    let mut removed: Vec<PathBuf> = list(snap_dir)?
        .into_iter()
        .rev()
        .filter(|file| file.zxid < oldest)
        .map(|file| file.path)
        .collect();
    let logs = names::list(log_dir, LOG)?;
    let kept = needed(logs.clone(), oldest);
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

/// The oldest of the newest `keep` valid snapshots.
fn oldest_kept(snap_dir: &Path, keep: usize) -> Result<Option<Zxid>, Error> {
    let mut oldest = None;
    let mut valid = 0;
    for file in list(snap_dir)? {
        if valid == keep {
            break;
        }
        match verify(&file) {
            Ok(_) => (oldest, valid) = (Some(file.zxid), valid + 1),
            Err(Error::Snapshot { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(oldest)
}
