//! The data directories: there, ours, writable, with room.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, access, statfs, statvfs};

use super::Report;
use crate::cli::instance::Instance;

/// Below this a log segment may not find its place.
const FREE_BYTES_LEAST: u64 = 256 << 20;
/// Below this share it is time to act.
const FREE_PERCENT_LEAST: u64 = 5;
const OWNERSHIP: &str =
    "give it to the user that runs the server (chown -R), or run doctor as that user";
/// `TMPFS_MAGIC` of `statfs(2)`.
const TMPFS: u64 = 0x0102_1994;

pub(super) fn check(instance: &Instance, report: &mut Report) {
    let storage = &instance.config.storage;
    check_directory("dataDir", &storage.data_dir, storage.directories_autocreate, report);
    if storage.data_log_dir != storage.data_dir {
        let autocreate = storage.directories_autocreate;
        check_directory("dataLogDir", &storage.data_log_dir, autocreate, report);
    }
}

fn check_directory(key: &str, dir: &Path, autocreate: bool, report: &mut Report) {
    let what = format!("{key} {}", dir.display());
    let version = dir.join("version-2");
    let Some(there) = [version.as_path(), dir].into_iter().find(|path| path.is_dir()) else {
        return check_missing(&what, dir, autocreate, report);
    };
    if !is_writable(there) {
        return report.problem(&what, &format!("not writable for {}", user()), OWNERSHIP);
    }
    check_owner(&what, there, report);
    check_room(&what, there, report);
}

fn check_missing(what: &str, dir: &Path, autocreate: bool, report: &mut Report) {
    if !autocreate {
        return report.problem(what, "missing, and datadir.autocreate=false", "make it");
    }
    let parent = dir.ancestors().skip(1).find(|path| path.exists());
    match parent.map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path }) {
        Some(parent) if !parent.is_dir() || !is_writable(parent) => {
            let found = format!("missing, and {} cannot make it in {}", user(), parent.display());
            report.problem(what, &found, OWNERSHIP);
        }
        Some(_) | None => report.fine(what, "missing; the server makes it at its start"),
    }
}

fn is_writable(dir: &Path) -> bool {
    access(dir, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

fn user() -> String {
    format!("user {}", rustix::process::geteuid().as_raw())
}

/// Root may write everywhere, and what it writes others may not: a mixture is found out late.
fn check_owner(what: &str, dir: &Path, report: &mut Report) {
    let Ok(owner) = fs::metadata(dir).map(|metadata| metadata.uid()) else { return };
    if owner != rustix::process::geteuid().as_raw() {
        let found = format!("belongs to user {owner}, and this is {}", user());
        report.warn(what, &found, "start the server as its owner, or files of both will be in it");
    }
}

fn check_room(what: &str, dir: &Path, report: &mut Report) {
    let Ok(space) = statvfs(dir) else { return };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let percent = space.f_bavail.saturating_mul(100) / space.f_blocks.max(1);
    let size = space.f_blocks.saturating_mul(space.f_frsize);
    let found = format!("{} MB free of {} MB, {percent} %", free >> 20, size >> 20);
    if size < FREE_BYTES_LEAST {
        let advice = "too small for a log and its snapshots: give it a larger file system";
        report.problem(what, &found, advice);
    } else if free < FREE_BYTES_LEAST {
        let advice = "make room: a server that cannot write its log ends with exit code 20";
        report.problem(what, &found, advice);
    } else if percent < FREE_PERCENT_LEAST {
        report.warn(what, &found, "make room; autopurge.purgeInterval=1 removes old snapshots");
    } else {
        report.fine(what, &found);
    }
    let kind = statfs(dir).map(|system| u64::try_from(system.f_type).unwrap_or_default());
    if kind == Ok(TMPFS) {
        report.warn(what, "it is in memory (tmpfs)", "all data is lost when the machine restarts");
    }
}
