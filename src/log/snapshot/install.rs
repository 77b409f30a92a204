//! Puts a leader's snapshot in the place of all there was: of logs and snapshots of another history
//! nothing may be left, or a start would read one behind the other and not notice.
//!
//! The snapshot is first whole and durable under a name of its own. From then on a crash changes
//! nothing: the next start finds it, and goes on from here.

use std::fs;
use std::path::Path;

use super::{SnapshotFile, list};
use crate::log::error::{Action, Error};
use crate::log::names::{self, INSTALLING, LOG};

/// Deletes every log and snapshot, and gives the one that is to be installed its name, durably.
/// `None` if there is none, and then nothing is touched. No writer may be open.
///
/// # Errors
/// [`Error::Io`]; to be called again then, by the next start.
pub fn install(snap_dir: &Path, log_dir: &Path) -> Result<Option<SnapshotFile>, Error> {
    let prefix = format!("{INSTALLING}.");
    let names = names::names(snap_dir)?;
    let Some(waiting) = names.iter().find(|name| name.starts_with(&prefix)) else {
        return Ok(None);
    };
    for log in names::list(log_dir, LOG)?.into_iter().rev() {
        names::remove(&log.path)?;
    }
    names::flush_directory(log_dir)?;
    for snapshot in list(snap_dir)? {
        names::remove(&snapshot.path)?;
    }
    let path = snap_dir.join(&waiting[prefix.len()..]);
    let waiting = snap_dir.join(waiting);
    fs::rename(&waiting, &path).map_err(Error::io(Action::Rename, &waiting))?;
    names::flush_directory(snap_dir)?;
    Ok(Some(SnapshotFile::at(path)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::{Compression, SnapshotWriter, Trailers};
    use super::*;
    use crate::ids::Zxid;

    fn names_in(dir: &Path) -> Vec<String> {
        let mut names = names::names(dir).unwrap();
        names.sort();
        names
    }

    fn waiting(dir: &Path, zxid: i64) {
        let mut file = SnapshotWriter::create(dir, Zxid(zxid), Compression::None).unwrap();
        file.write_all(b"a tree").unwrap();
        file.finish_to_install(&Trailers::default()).unwrap();
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
        waiting(snaps.path(), 5);
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
        waiting(dir.path(), 0x2a);
        fs::remove_file(dir.path().join("log.2")).unwrap();
        install(dir.path(), dir.path()).unwrap().expect("one waits");
        assert_eq!(names_in(dir.path()), ["snapshot.2a"]);
    }
}
