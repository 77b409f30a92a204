//! `currentEpoch` and `acceptedEpoch`: which terms this server entered, and promised to enter.
//!
//! Thread: boot, later zab. Each file is written beside itself, flushed, and renamed, then the
//! directory is flushed, so a crash leaves the old number or the new one. What a server may start
//! with is [`decide`], a pure function. A standalone server neither reads nor writes them.
//! INVARIANT: epoch of the last txn <= current <= accepted, on disk too: Java refuses otherwise.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::error::{Action, Error};
use super::{names, opening};
use crate::ids::{Epoch, Zxid};

const CURRENT: &str = "currentEpoch";
const ACCEPTED: &str = "acceptedEpoch";

/// What the files hold.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EpochFiles {
    /// `currentEpoch`: of the last leader whose NEWLEADER was acked.
    pub current: Option<Epoch>,
    /// `currentEpoch.tmp`, left by a crash between a new epoch's data and its number.
    pub current_unfinished: Option<Epoch>,
    /// `acceptedEpoch`: the last one promised.
    pub accepted: Option<Epoch>,
}

/// What to go on with; what differs from the files has to be written, accepted first.
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
pub fn read(snap_dir: &Path) -> Result<EpochFiles, Error> {
    let unfinished = read_one(snap_dir, &format!("{CURRENT}.tmp"));
    Ok(EpochFiles {
        current: read_one(snap_dir, CURRENT)?,
        current_unfinished: match unfinished {
            // It may have been torn by the crash that left it.
            Err(Error::EpochFile { .. }) => None,
            other => other?,
        },
        accepted: read_one(snap_dir, ACCEPTED)?,
    })
}

/// What a server with these files and this last zxid may go on with (`QuorumPeer.loadDataBase`).
///
/// | the last zxid's epoch is              | current becomes                                    |
/// |---------------------------------------|----------------------------------------------------|
/// | any, and there is no current          | that epoch                                         |
/// | not above current                     | current                                            |
/// | above current, not above its `.tmp`   | the `.tmp`'s: the crash came before the rename     |
/// | above current, not above accepted     | that epoch: since ZOOKEEPER-4643 txns are first    |
/// | above all three                       | refused                                            |
///
/// A missing accepted becomes the last zxid's epoch; then it must not be below current.
///
/// # Errors
/// [`Error::CurrentEpochBehind`], [`Error::AcceptedEpochBehind`]
pub fn decide(files: &EpochFiles, last: Zxid) -> Result<Epochs, Error> {
    let epoch = last.epoch().max(Epoch(0));
    let current = match (files.current, files.current_unfinished) {
        (None, _) => epoch,
        (Some(current), _) if epoch <= current => current,
        (Some(_), Some(unfinished)) if epoch <= unfinished => unfinished,
        (Some(_), _) if files.accepted >= Some(epoch) => epoch,
        (Some(current), _) => return Err(Error::CurrentEpochBehind { current, last }),
    };
    let accepted = files.accepted.unwrap_or(epoch);
    if accepted < current {
        return Err(Error::AcceptedEpochBehind { accepted, current });
    }
    Ok(Epochs { current, accepted })
}

/// Writes `currentEpoch`, durably, all or nothing.
///
/// # Errors
/// [`Error::Io`]
pub fn write_current(snap_dir: &Path, epoch: Epoch) -> Result<(), Error> {
    write_one(snap_dir, CURRENT, epoch)
}

/// Writes `acceptedEpoch`, durably, all or nothing.
///
/// # Errors
/// [`Error::Io`]
pub fn write_accepted(snap_dir: &Path, epoch: Epoch) -> Result<(), Error> {
    write_one(snap_dir, ACCEPTED, epoch)
}

fn read_one(snap_dir: &Path, name: &str) -> Result<Option<Epoch>, Error> {
    let file = snap_dir.join(name);
    let text = match fs::read(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(Action::Read, &file)(error)),
    };
    let line = text.lines().next().unwrap_or_default();
    match line.parse() {
        Ok(number) if number >= 0 => Ok(Some(Epoch(number))),
        Ok(_) | Err(_) => Err(Error::EpochFile { file, line: line.to_owned() }),
    }
}

/// COMPAT: decimal, no newline, through `<name>.tmp` (`AtomicFileWritingIdiom`).
fn write_one(snap_dir: &Path, name: &str, epoch: Epoch) -> Result<(), Error> {
    let file = snap_dir.join(name);
    let unfinished = snap_dir.join(format!("{name}.tmp"));
    let output = opening::open(|| File::create(&unfinished));
    let mut output = output.map_err(Error::io(Action::Create, &unfinished))?;
    output
        .write_all(epoch.0.to_string().as_bytes())
        .map_err(Error::io(Action::Write, &unfinished))?;
    output.sync_all().map_err(Error::io(Action::Flush, &unfinished))?;
    fs::rename(&unfinished, &file).map_err(Error::io(Action::Rename, &unfinished))?;
    names::flush_directory(snap_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(current: Option<i64>, unfinished: Option<i64>, accepted: Option<i64>) -> EpochFiles {
        EpochFiles {
            current: current.map(Epoch),
            current_unfinished: unfinished.map(Epoch),
            accepted: accepted.map(Epoch),
        }
    }

    fn outcome(files: &EpochFiles, last: Zxid) -> Result<(i64, i64), &'static str> {
        match decide(files, last) {
            Ok(epochs) => Ok((epochs.current.0, epochs.accepted.0)),
            Err(Error::CurrentEpochBehind { .. }) => Err("current"),
            Err(Error::AcceptedEpochBehind { .. }) => Err("accepted"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn stories() {
        let cases = [
            ("a new server", files(None, None, None), 0, Ok((0, 0))),
            ("standalone becomes an ensemble", files(None, None, None), 3, Ok((3, 3))),
            ("an ordinary restart", files(Some(3), None, Some(4)), 3, Ok((3, 4))),
            ("a leader elected, nothing written", files(Some(4), None, Some(4)), 3, Ok((4, 4))),
            ("a crash before the rename", files(Some(2), Some(3), Some(3)), 3, Ok((3, 3))),
            ("a leftover of an older rename", files(Some(2), Some(2), Some(2)), 3, Err("current")),
            ("4643: txns before the number", files(Some(2), None, Some(3)), 3, Ok((3, 3))),
            ("the log of another server", files(Some(2), None, Some(2)), 3, Err("current")),
            ("2307: accepted not written", files(Some(3), None, Some(2)), 3, Err("accepted")),
            ("accepted lost", files(Some(4), None, None), 3, Err("accepted")),
        ];
        for (story, files, epoch, expected) in cases {
            assert_eq!(outcome(&files, Zxid::new(Epoch(epoch), 7)), expected, "{story}");
        }
    }

    /// All inputs up to epoch 3: whoever starts keeps every promise, and whoever is refused has a
    /// file that contradicts what is on disk.
    #[test]
    fn every_case_keeps_the_invariants() {
        let numbers = || [None, Some(0), Some(1), Some(2), Some(3)].into_iter();
        for current in numbers() {
            for unfinished in numbers() {
                for accepted in numbers() {
                    for epoch in 0..4 {
                        let files = files(current, unfinished, accepted);
                        check(&files, epoch, outcome(&files, Zxid::new(Epoch(epoch), 1)));
                    }
                }
            }
        }
    }

    fn check(files: &EpochFiles, epoch: i64, outcome: Result<(i64, i64), &str>) {
        let number = |epoch: Option<Epoch>| epoch.map_or(-1, |epoch| epoch.0);
        let story = format!("{files:?} {epoch}: {outcome:?}");
        match outcome {
            Ok((current, accepted)) => {
                assert!(epoch <= current && current <= accepted, "{story}");
                assert!(current >= number(files.current), "{story}");
                assert!(accepted >= number(files.accepted), "{story}");
                assert!(files.accepted.is_none() || accepted == number(files.accepted), "{story}");
            }
            Err("current") => {
                assert!(number(files.current) < epoch && number(files.accepted) < epoch, "{story}");
            }
            Err(_) => {
                let promised = files.accepted.map_or(epoch, |accepted| accepted.0);
                let entered = number(files.current).max(number(files.current_unfinished));
                assert!(promised < entered.max(epoch), "{story}");
            }
        }
    }

    #[test]
    fn files_read_back_and_leave_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), EpochFiles::default());
        write_accepted(dir.path(), Epoch(12)).unwrap();
        write_current(dir.path(), Epoch(11)).unwrap();
        assert_eq!(read(dir.path()).unwrap(), files(Some(11), None, Some(12)));
        assert_eq!(fs::read(dir.path().join(CURRENT)).unwrap(), b"11");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_number_is_an_error_save_in_a_leftover() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "x", "1 ", " 1", "-1"] {
            fs::write(dir.path().join("currentEpoch.tmp"), text).unwrap();
            assert_eq!(read(dir.path()).unwrap().current_unfinished, None);
            fs::write(dir.path().join(ACCEPTED), text).unwrap();
            assert!(matches!(read(dir.path()), Err(Error::EpochFile { .. })), "{text:?}");
            fs::remove_file(dir.path().join(ACCEPTED)).unwrap();
        }
        fs::write(dir.path().join("currentEpoch.tmp"), "5\n").unwrap();
        assert_eq!(read(dir.path()).unwrap().current_unfinished, Some(Epoch(5)));
    }
}
