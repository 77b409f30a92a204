//! Which snapshots and logs are no longer needed.

use std::path::{Path, PathBuf};

use crate::log::error::Error;

/// What was deleted.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Purged {
    /// Snapshots and logs.
    pub removed: Vec<PathBuf>,
}

/// Deletes what the newest `keep` valid snapshots do not need.
///
/// # Errors
/// [`Error::Io`]
pub fn purge(_snap_dir: &Path, _log_dir: &Path, _keep: usize) -> Result<Purged, Error> {
    unimplemented!("in progress")
}
