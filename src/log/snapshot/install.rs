//! Puts a leader's snapshot in the place of all there was: of logs and snapshots of another history
//! nothing may be left, or a start would read one behind the other and not notice.
//!
//! The snapshot is first whole and durable under a name of its own. From then on a crash changes
//! nothing: the next start finds it, and goes on from here. That start reads it first: behind a
//! file that cannot be loaded there would be nothing to start from.

use std::fs;
use std::path::{Path, PathBuf};

use super::reader::verify_unless;
use super::{SnapshotFile, list};
use crate::log::error::{Action, Error};
use crate::log::names::{self, INSTALLING, LOG};
use crate::log::stop::StopFlag;

/// Deletes every log and snapshot, and gives the one that is to be installed its name, durably.
/// `None` if there is none, and then nothing is touched. No writer may be open.
///
/// # Errors
/// [`Error::Io`]; [`resume`] is to be called then, by the next start.
pub fn install(snap_dir: &Path, log_dir: &Path) -> Result<Option<SnapshotFile>, Error> {
    let Some((waiting, path)) = waiting(snap_dir)? else { return Ok(None) };
    for log in names::list(log_dir, LOG)?.into_iter().rev() {
        names::remove(&log.path)?;
    }
    names::flush_directory(log_dir)?;
    for snapshot in list(snap_dir)? {
        names::remove(&snapshot.path)?;
    }
    // Before the rename: if only that outlived a power failure, an old one could be the newest.
    names::flush_directory(snap_dir)?;
    fs::rename(&waiting, &path).map_err(Error::io(Action::Rename, &waiting))?;
    names::flush_directory(snap_dir)?;
    Ok(Some(SnapshotFile::at(path)))
}

/// [`install`] of one that was left from before, which is looked at first: it was whole when it got
/// its name, so if it is not, the disk has changed it. An older snapshot is no way out, for an
/// install that was broken off has deleted logs, of the newest txns first.
///
/// # Errors
/// [`Error::Installing`] if it is damaged, or [`Error::Stopped`] soon after `stop` was raised:
/// nothing was touched then. [`Error::Io`]
pub fn resume(
    snap_dir: &Path,
    log_dir: &Path,
    stop: &StopFlag,
) -> Result<Option<SnapshotFile>, Error> {
    let Some((waiting, _)) = waiting(snap_dir)? else { return Ok(None) };
    match verify_unless(&SnapshotFile::at(waiting), stop) {
        Ok(_) => install(snap_dir, log_dir),
        Err(Error::Snapshot { file, offset, damage }) => {
            Err(Error::Installing { file, offset, damage })
        }
        Err(error) => Err(error),
    }
}

/// The one that is to be installed, and the name it is to have.
fn waiting(snap_dir: &Path) -> Result<Option<(PathBuf, PathBuf)>, Error> {
    let prefix = format!("{INSTALLING}.");
    let names = names::names(snap_dir)?;
    let waiting = names.iter().find_map(|name| Some((name, name.strip_prefix(&prefix)?)));
    Ok(waiting.map(|(waiting, name)| (snap_dir.join(waiting), snap_dir.join(name))))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::{Compression, SnapshotWriter, Trailers, verify};
    use super::*;
    use crate::ids::Zxid;

    fn names_in(dir: &Path) -> Vec<String> {
        let mut names = names::names(dir).unwrap();
        names.sort();
        names
    }

    fn writer(dir: &Path, zxid: i64) -> SnapshotWriter {
        SnapshotWriter::create_to_install(dir, Zxid(zxid), Compression::None).unwrap()
    }

    fn put_waiting(dir: &Path, zxid: i64) {
        let mut file = writer(dir, zxid);
        file.write_all(b"a tree").unwrap();
        file.finish(&Trailers::default()).unwrap();
    }

    #[test]
    fn what_is_installed_takes_the_place_of_everything() {
        let (snaps, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["snapshot.0", "snapshot.200000009", "acceptedEpoch"] {
            fs::write(snaps.path().join(name), b"old").unwrap();
        }
        for name in ["log.1", "log.200000001"] {
            fs::write(logs.path().join(name), b"old").unwrap();
        }
        assert_eq!(install(snaps.path(), logs.path()).unwrap(), None, "nothing waits");
        assert_eq!(names_in(logs.path()).len(), 2, "and nothing is touched");
        put_waiting(snaps.path(), 5);
        assert_eq!(list(snaps.path()).unwrap().len(), 2, "nobody takes it for a snapshot yet");
        let installed = install(snaps.path(), logs.path()).unwrap().expect("one waits");
        assert_eq!(installed.zxid, Zxid(5));
        assert_eq!(names_in(snaps.path()), ["acceptedEpoch", "snapshot.5"]);
        assert_eq!(names_in(logs.path()), [""; 0]);
        assert_eq!(install(snaps.path(), logs.path()).unwrap(), None, "once");
    }

    /// A crash between any two steps: the next start goes on.
    #[test]
    fn an_install_that_a_crash_broke_off_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("snapshot.1"), b"old").unwrap();
        fs::write(dir.path().join("log.2"), b"left behind").unwrap();
        put_waiting(dir.path(), 0x2a);
        fs::remove_file(dir.path().join("log.2")).unwrap();
        install(dir.path(), dir.path()).unwrap().expect("one waits");
        assert_eq!(names_in(dir.path()), ["snapshot.2a"]);
    }

    /// What a learner has may be of the leader's last txn, and be written when that one's comes.
    #[test]
    fn one_to_be_installed_and_one_of_the_same_txn_are_two_files() {
        for compression in [Compression::None, Compression::Gz, Compression::Snappy] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path();
            let mut own = SnapshotWriter::create(path, Zxid(5), compression).unwrap();
            own.write_all(&[1; 3000]).unwrap();
            own.settle().unwrap();
            let mut theirs = SnapshotWriter::create_to_install(path, Zxid(5), compression).unwrap();
            theirs.write_all(&[2; 2000]).unwrap();
            theirs.finish(&Trailers::default()).unwrap();
            own.write_all(&[1; 3000]).unwrap();
            let own = own.finish(&Trailers::default()).unwrap();
            assert!(verify(&own).is_ok(), "{compression:?}");
            let bytes = fs::read(path.join(names_in(path).remove(0))).unwrap();
            let installed = install(path, path).unwrap().expect("one waits");
            assert!(verify(&installed).is_ok(), "{compression:?}");
            assert_eq!(installed, own, "of the same name");
            assert_eq!(fs::read(&installed.path).unwrap(), bytes, "and the leader's");
            assert_eq!(names_in(path).len(), 1, "nothing is left");
        }
    }

    #[test]
    fn one_that_is_given_up_takes_no_other_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let own = SnapshotWriter::create(dir.path(), Zxid(5), Compression::None).unwrap();
        drop(writer(dir.path(), 5));
        assert_eq!(names_in(dir.path()), ["unfinished.snapshot.5"]);
        let theirs = writer(dir.path(), 5);
        drop(own);
        assert_eq!(names_in(dir.path()), ["unfinished.installing.snapshot.5"]);
        theirs.finish(&Trailers::default()).unwrap();
        assert_eq!(names_in(dir.path()), ["installing.snapshot.5"]);
    }

    /// All that is there may be needed to mend it by hand.
    #[test]
    fn one_that_is_damaged_takes_the_place_of_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let old = ["log.1", "log.2", "snapshot.1"];
        for name in old {
            fs::write(path.join(name), b"old").unwrap();
        }
        put_waiting(path, 7);
        let file = path.join("installing.snapshot.7");
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            for damaged in [&bad[..], &whole[..at]] {
                fs::write(&file, damaged).unwrap();
                let error = resume(path, path, &StopFlag::default()).unwrap_err();
                assert!(matches!(error, Error::Installing { .. }), "{at}: {error}");
                let said = error.to_string();
                let name = file.display().to_string();
                assert!(said.contains(&name) && said.contains("version-2 aside"), "{said}");
            }
        }
        assert_eq!(names_in(path), [&["installing.snapshot.7"], &old[..]].concat());
        let stop = StopFlag::default();
        fs::write(&file, &whole).unwrap();
        stop.raise();
        let stopped = resume(path, path, &stop);
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
        assert_eq!(names_in(path).len(), 4);
        resume(path, path, &StopFlag::default()).unwrap().expect("it is whole again");
        assert_eq!(names_in(path), ["snapshot.7"]);
    }
}
