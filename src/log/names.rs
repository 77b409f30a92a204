//! File names: which are logs and snapshots, as Java's `Util` sees it, and which are ours alone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::error::{Action, Error};
use super::opening;
use crate::ids::Zxid;

/// Begins the name of a log.
pub(super) const LOG: &str = "log";
/// Begins the name of a snapshot.
pub(super) const SNAPSHOT: &str = "snapshot";
/// Begins the name of a snapshot that is whole and to take the place of everything else.
pub(super) const INSTALLING: &str = "installing";
/// Begins the names of files of ours that are not finished; Java does not look at them.
pub(super) const UNFINISHED: &str = "unfinished.";

/// A log or snapshot by its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Named {
    pub(super) zxid: Zxid,
    pub(super) path: PathBuf,
}

/// The zxid in `<prefix>.<hex>[.anything]`.
///
/// COMPAT: whatever follows the number is ignored (`Util.getZxidFromName`), save `.tmp`.
pub(super) fn zxid_in_name(name: &str, prefix: &str) -> Option<Zxid> {
    let mut parts = name.split('.');
    if parts.next() != Some(prefix) {
        return None;
    }
    let number = i64::from_str_radix(parts.next()?, 16).ok()?;
    if parts.next_back() == Some("tmp") {
        return None;
    }
    (number >= 0).then_some(Zxid(number))
}

/// `log.<hex>`.
pub(super) fn log_path(dir: &Path, zxid: Zxid) -> PathBuf {
    dir.join(format!("{LOG}.{:x}", zxid.0))
}

/// All files in `dir` with this prefix, by rising zxid.
pub(super) fn list(dir: &Path, prefix: &str) -> Result<Vec<Named>, Error> {
    let mut found: Vec<Named> = names(dir)?
        .into_iter()
        .filter_map(|name| {
            zxid_in_name(&name, prefix).map(|zxid| Named { zxid, path: dir.join(name) })
        })
        .collect();
    found.sort_by(|a, b| (a.zxid, &a.path).cmp(&(b.zxid, &b.path)));
    Ok(found)
}

/// All names in `dir` that are text.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in opening::open(|| fs::read_dir(dir)).map_err(Error::io(Action::List, dir))? {
        let entry = entry.map_err(Error::io(Action::List, dir))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Makes creations, renames and deletions in `dir` durable, which Java leaves to chance.
pub(super) fn flush_directory(dir: &Path) -> Result<(), Error> {
    let opened = opening::open(|| File::open(dir));
    opened.and_then(|dir| dir.sync_all()).map_err(Error::io(Action::Flush, dir))
}

/// Deletes a file; that it is gone already is no error.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(Action::Remove, path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_java_reads_them() {
        let cases = [
            ("log.1", LOG, Some(1)),
            ("log.100000001", LOG, Some(0x1_0000_0001)),
            ("log.5.bak", LOG, Some(5)),
            ("snapshot.15.gz", SNAPSHOT, Some(0x15)),
            ("snapshot.15.tmp", SNAPSHOT, None),
            ("snapshot.ffffffffffffffff", SNAPSHOT, None),
            ("snapshot.-1", SNAPSHOT, None),
            ("snapshot.", SNAPSHOT, None),
            ("snapshot", SNAPSHOT, None),
            ("logs.1", LOG, None),
            ("unfinished.log.0", LOG, None),
            ("log.x", LOG, None),
        ];
        for (name, prefix, zxid) in cases {
            assert_eq!(zxid_in_name(name, prefix), zxid.map(Zxid), "{name}");
        }
    }
}
