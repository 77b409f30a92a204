//! `currentEpoch` and `acceptedEpoch`.

use std::path::Path;

use super::error::Error;
use crate::ids::{Epoch, Zxid};

/// What the files hold.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EpochFiles {
    /// `currentEpoch`: of the last leader whose NEWLEADER was acked.
    pub current: Option<Epoch>,
    /// `currentEpoch.tmp`, left by a crash.
    pub current_unfinished: Option<Epoch>,
    /// `acceptedEpoch`: the last one promised.
    pub accepted: Option<Epoch>,
}

/// What to go on with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Epochs {
    /// See [`EpochFiles::current`].
    pub current: Epoch,
    /// See [`EpochFiles::accepted`].
    pub accepted: Epoch,
}

/// Reads the files.
///
/// # Errors
/// [`Error::EpochFile`], [`Error::Io`]
pub fn read(_snap_dir: &Path) -> Result<EpochFiles, Error> {
    unimplemented!("in progress")
}

/// What a server with these files and this last zxid may go on with (`QuorumPeer.loadDataBase`).
///
/// # Errors
/// [`Error::CurrentEpochBehind`], [`Error::AcceptedEpochBehind`]
pub fn decide(_files: &EpochFiles, _last: Zxid) -> Result<Epochs, Error> {
    unimplemented!("in progress")
}

/// Writes `currentEpoch`, durably, all or nothing.
///
/// # Errors
/// [`Error::Io`]
pub fn write_current(_snap_dir: &Path, _epoch: Epoch) -> Result<(), Error> {
    unimplemented!("in progress")
}

/// Writes `acceptedEpoch`, durably, all or nothing.
///
/// # Errors
/// [`Error::Io`]
pub fn write_accepted(_snap_dir: &Path, _epoch: Epoch) -> Result<(), Error> {
    unimplemented!("in progress")
}
