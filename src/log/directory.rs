//! The data directories: layout checks, the lock, `myid`, `initialize`.

use std::path::{Path, PathBuf};

use super::error::Error;
use crate::ids::ServerId;

/// The opened and locked data directories of this server; unlocked when dropped.
#[derive(Debug)]
pub struct Directory {
    snap_dir: PathBuf,
    log_dir: PathBuf,
}

impl Directory {
    /// Makes (if `autocreate`), checks and locks `<data_dir>/version-2` and
    /// `<log_dir>/version-2`; deletes unfinished files of an earlier run.
    ///
    /// # Errors
    /// Java exits with 3 on all of them.
    pub fn open(_data_dir: &Path, _log_dir: &Path, _autocreate: bool) -> Result<Self, Error> {
        unimplemented!("in progress")
    }

    /// `version-2` of `dataDir`: snapshots and epoch files.
    pub fn snap_dir(&self) -> &Path {
        &self.snap_dir
    }

    /// `version-2` of `dataLogDir`: logs.
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// Whether there was an `initialize` marker: an empty database is no loss then. Deletes it.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn take_initialize_marker(&self) -> Result<bool, Error> {
        unimplemented!("in progress")
    }
}

/// The number in `<data_dir>/myid`; `None` if there is no such file.
///
/// # Errors
/// [`Error::MyId`], [`Error::Io`]
pub fn my_id(_data_dir: &Path) -> Result<Option<ServerId>, Error> {
    unimplemented!("in progress")
}
