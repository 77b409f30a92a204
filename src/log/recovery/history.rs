//! Reads a stretch of the log for a learner, while the log is being written.
//!
//! Thread: storage. Only what is durable is asked for, so whatever a read meets behind it is of no
//! interest, and nothing is repaired.

use std::path::Path;

use super::log_file::{LogFile, Step};
use super::{follows, needed};
use crate::ids::Zxid;
use crate::log::error::Error;
use crate::log::names::{self, LOG};

/// Which stretch, and how much of it at most.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// From the last record that is not after this one.
    pub from: Zxid,
    /// To this one, included.
    pub upto: Zxid,
    /// Bytes of records.
    pub bytes_max: usize,
}

/// Records with their zxids, ascending.
pub type History = Vec<(Zxid, Box<[u8]>)>;

/// The records of a stretch; `None` if the log does not reach back so far, or not up to
/// its end, has a gap, or holds more than was to be read.
///
/// # Errors
/// [`Error::Io`]
pub fn read_history(log_dir: &Path, stretch: &Stretch) -> Result<Option<History>, Error> {
    let mut found = History::new();
    let mut bytes = 0;
    for named in needed(names::list(log_dir, LOG)?, stretch.from) {
        let mut file = LogFile::open(named)?;
        if !file.has_magic() {
            continue;
        }
        while let Step::Record(zxid, range) = file.step()? {
            let last = found.last().map(|(last, _)| *last);
            if zxid <= stretch.from {
                found.clear();
                bytes = 0;
            } else if last.is_some_and(|last| zxid <= last) {
                continue; // a duplicate
            } else if !last.is_some_and(|last| follows(last, zxid)) {
                return Ok(None);
            }
            bytes += range.len();
            if bytes > stretch.bytes_max {
                return Ok(None);
            }
            found.push((zxid, file.data(range).into()));
            if zxid >= stretch.upto {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}
