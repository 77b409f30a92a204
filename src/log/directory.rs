//! The data directories: layout checks, the lock, `myid`, the `initialize` marker.
//!
//! Thread: boot; dropped at the very end. Java knows no lock, so two of its servers, or one and
//! one of ours, can ruin each other's files; two of ours cannot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::error::{Action, Error};
use super::names::{self, LOG, SNAPSHOT, UNFINISHED};
use crate::ids::ServerId;

/// Of the on-disk format; the directory below `dataDir` is named after it.
const VERSION: &str = "version-2";
const LOCK: &str = "ringkeeper.lock";
const INITIALIZE: &str = "initialize";

/// The opened and locked data directories of this server; unlocked when dropped.
#[derive(Debug)]
pub struct Directory {
    data_dir: PathBuf,
    data_log_dir: PathBuf,
    snap_dir: PathBuf,
    log_dir: PathBuf,
    _locks: Vec<Lock>,
}

/// A directory's lock. Undone by name, not only by closing the file: a process that this one is
/// just forking holds the file open too, until it executes its program.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // The file is closed next, which is enough if nobody else holds it.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Directory {
    /// Makes (if `autocreate`), checks and locks `<data_dir>/version-2` and
    /// `<data_log_dir>/version-2`; no file in them is touched but the lock's.
    ///
    /// # Errors
    /// Java exits with 3 on all of them: [`Error::MissingDirectory`], [`Error::Io`] where the
    /// directory cannot be written, [`Error::LogDirHasSnapshots`], [`Error::SnapDirHasLogs`]; and
    /// [`Error::Locked`], which Java has not.
    pub fn open(data_dir: &Path, data_log_dir: &Path, autocreate: bool) -> Result<Self, Error> {
        let (log_dir, snap_dir) = (data_log_dir.join(VERSION), data_dir.join(VERSION));
        let mut locks = Vec::new();
        make(&log_dir, autocreate)?;
        make(&snap_dir, autocreate)?;
        locks.push(lock(&log_dir)?);
        if !same(&log_dir, &snap_dir)? {
            locks.push(lock(&snap_dir)?);
            check_content(&log_dir, &snap_dir)?;
        }
        let (data_dir, data_log_dir) = (data_dir.to_path_buf(), data_log_dir.to_path_buf());
        Ok(Self { data_dir, data_log_dir, snap_dir, log_dir, _locks: locks })
    }

    /// Deletes unfinished files of an earlier run. Those of a running Java server, which knows
    /// nothing of the lock, look the same: none may be running.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn remove_unfinished(&self) -> Result<(), Error> {
        remove_unfinished(&self.log_dir)?;
        remove_unfinished(&self.snap_dir)
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
    /// COMPAT: Java looks beside the logs, its script writes beside the snapshots; both count.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn take_initialize_marker(&self) -> Result<bool, Error> {
        let mut found = false;
        for dir in [&self.data_log_dir, &self.data_dir] {
            let marker = dir.join(INITIALIZE);
            if marker.exists() {
                names::remove(&marker)?;
                names::flush_directory(dir)?;
                found = true;
            }
        }
        Ok(found)
    }
}

/// The file that the server of `data_dir` holds locked, and writes its process's number to.
pub fn lock_file(data_dir: &Path) -> PathBuf {
    data_dir.join(VERSION).join(LOCK)
}

/// The number in `<data_dir>/myid`; `None` if there is no such file.
///
/// # Errors
/// [`Error::MyId`], [`Error::Io`]
pub fn my_id(data_dir: &Path) -> Result<Option<ServerId>, Error> {
    let file = data_dir.join("myid");
    let text = match fs::read(&file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(Action::Read, &file)(error)),
    };
    let line = text.lines().next().unwrap_or_default().trim();
    match line.parse() {
        Ok(number) => Ok(Some(ServerId(number))),
        Err(_) => Err(Error::MyId { file, line: line.to_owned() }),
    }
}

fn make(dir: &Path, autocreate: bool) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    if !autocreate {
        return Err(Error::MissingDirectory { directory: dir.to_path_buf() });
    }
    fs::create_dir_all(dir).map_err(Error::io(Action::Create, dir))?;
    dir.parent().map_or(Ok(()), names::flush_directory)
}

fn same(one: &Path, other: &Path) -> Result<bool, Error> {
    let real = |path: &Path| fs::canonicalize(path).map_err(Error::io(Action::Read, path));
    Ok(real(one)? == real(other)?)
}

fn check_content(log_dir: &Path, snap_dir: &Path) -> Result<(), Error> {
    if !names::list(log_dir, SNAPSHOT)?.is_empty() {
        return Err(Error::LogDirHasSnapshots { directory: log_dir.to_path_buf() });
    }
    if !names::list(snap_dir, LOG)?.is_empty() {
        return Err(Error::SnapDirHasLogs { directory: snap_dir.to_path_buf() });
    }
    Ok(())
}

/// Locks a directory for as long as the file is open; also shows that it can be written.
fn lock(dir: &Path) -> Result<Lock, Error> {
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(Error::io(Action::Create, &path))?;
    let mut lock = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Lock(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // Only for the message.
            let _ = file.read_to_string(&mut holder);
            return Err(Error::Locked { file: path, holder });
        }
        Err(error) => return Err(Error::io(Action::Lock, &path)(error.into())),
    };
    let id = std::process::id().to_string();
    (lock.0.set_len(0))
        .and_then(|()| lock.0.write_all(id.as_bytes()))
        .map_err(Error::io(Action::Write, &path))?;
    Ok(lock)
}

/// Ours, and a snapshot that Java was receiving; not `currentEpoch.tmp`, which means something.
fn remove_unfinished(dir: &Path) -> Result<(), Error> {
    for name in names::names(dir)? {
        let path = Path::new(&name);
        let temporary = path.extension().is_some_and(|extension| extension == "tmp");
        if name.starts_with(UNFINISHED) || (temporary && name.starts_with("snapshot.")) {
            names::remove(&dir.join(&name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn one_directory_holds_both_and_only_one_process() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let missing = Directory::open(&data, &data, false);
        assert!(matches!(missing, Err(Error::MissingDirectory { .. })));
        let directory = Directory::open(&data, &data, true).unwrap();
        assert_eq!(directory.snap_dir(), directory.log_dir());
        let Err(Error::Locked { holder, .. }) = Directory::open(&data, &data, true) else {
            panic!("opened twice");
        };
        assert_eq!(holder, std::process::id().to_string());
        drop(directory);
        Directory::open(&data, &data, false).unwrap();
    }

    #[test]
    fn a_file_that_a_fork_still_holds_is_unlocked_all_the_same() {
        let root = tempfile::tempdir().unwrap();
        let held = lock(root.path()).unwrap();
        let forked = held.0.try_clone().unwrap();
        assert!(matches!(lock(root.path()), Err(Error::Locked { .. })));
        drop(held);
        lock(root.path()).unwrap();
        drop(forked);
    }

    #[test]
    fn a_shared_log_directory_is_locked_too() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let _first = Directory::open(&path("a"), &path("logs"), true).unwrap();
        let second = Directory::open(&path("b"), &path("logs"), true);
        assert!(matches!(second, Err(Error::Locked { .. })));
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_named_as_such() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("data");
        touch(&file);
        let error = Directory::open(&file, &file, true).unwrap_err().to_string();
        let path = file.join("version-2");
        assert!(error.contains(&format!("cannot create {}", path.display())), "{error}");
        assert!(error.contains("is a file and not a directory"), "{error}");
    }

    #[test]
    fn files_in_the_wrong_directory_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let (data, logs) = (root.path().join("data"), root.path().join("logs"));
        touch(&logs.join("version-2/snapshot.0"));
        let opened = Directory::open(&data, &logs, true);
        assert!(matches!(opened, Err(Error::LogDirHasSnapshots { .. })));
        fs::remove_file(logs.join("version-2/snapshot.0")).unwrap();
        touch(&data.join("version-2/log.1"));
        let opened = Directory::open(&data, &logs, true);
        assert!(matches!(opened, Err(Error::SnapDirHasLogs { .. })));
        Directory::open(&data, &data, true).unwrap();
    }

    #[test]
    fn only_unfinished_files_are_deleted() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("version-2");
        let kept = ["currentEpoch.tmp", "installing.snapshot.8", "log.1", "notes", "snapshot.0"];
        let unfinished = [
            "snapshot.6.tmp",
            "unfinished.installing.snapshot.7",
            "unfinished.log.0",
            "unfinished.snapshot.5.gz",
        ];
        for name in kept.iter().chain(&unfinished) {
            touch(&dir.join(name));
        }
        let names = || {
            let mut names = names::names(&dir).unwrap();
            names.retain(|name| name != LOCK);
            names.sort();
            names
        };
        let directory = Directory::open(root.path(), root.path(), false).unwrap();
        assert_eq!(names(), [&kept[..], &unfinished].concat());
        directory.remove_unfinished().unwrap();
        assert_eq!(names(), kept);
    }

    #[test]
    fn the_marker_counts_once_wherever_it_is() {
        let root = tempfile::tempdir().unwrap();
        let (data, logs) = (root.path().join("data"), root.path().join("logs"));
        let directory = Directory::open(&data, &logs, true).unwrap();
        for dir in [&data, &logs] {
            touch(&dir.join(INITIALIZE));
            assert!(directory.take_initialize_marker().unwrap());
            assert!(!directory.take_initialize_marker().unwrap());
        }
    }

    #[test]
    fn myid_is_a_number() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(my_id(root.path()).unwrap(), None);
        for (text, expected) in [("3", Some(3)), ("12\nrest", Some(12)), (" 4 \n", Some(4))] {
            fs::write(root.path().join("myid"), text).unwrap();
            assert_eq!(my_id(root.path()).unwrap(), expected.map(ServerId));
        }
        for text in ["", "one", "1x"] {
            fs::write(root.path().join("myid"), text).unwrap();
            assert!(matches!(my_id(root.path()), Err(Error::MyId { .. })), "{text}");
        }
    }
}
