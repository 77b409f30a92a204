//! What can go wrong with the files, and what to do about it. Every one of them is an exit.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::recovery::{ALLOW_GAPS_PROPERTY, CUT_DAMAGED_TAIL_PROPERTY};
use crate::error::descriptor_advice;
use crate::ids::{Epoch, Zxid};

/// What was being done to a file when the system refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Making it, or zeroing it ahead of use.
    Create,
    /// Writing to it.
    Write,
    /// Making it durable.
    Flush,
    /// Giving it its name.
    Rename,
    /// Shortening it.
    Cut,
    /// Deleting it.
    Remove,
    /// Reading it.
    Read,
    /// Listing a directory.
    List,
    /// Locking a directory.
    Lock,
}

/// What is wrong with bytes that were read.
#[derive(Debug)]
pub enum Damage {
    /// The checksum of a record or snapshot is not that of its bytes.
    Checksum,
    /// A length that nothing can have.
    Length(i32),
    /// The byte after a record is not its end marker.
    Marker(u8),
    /// Zeros where a record should be, and more bytes after them.
    Hole,
    /// The file ends, or is zero, inside a record.
    Torn,
    /// Too short for a txn header.
    Short,
    /// Not a file of this kind.
    Magic,
    /// The file breaks off.
    Truncated,
    /// What follows the last seal of a snapshot is none of the trailers.
    Trailer(u64),
    /// The bytes are as written, and yet no txn or snapshot.
    Undecodable(Box<dyn std::error::Error + Send + Sync>),
}

/// Why the log layer gave up.
#[derive(Debug)]
pub enum Error {
    /// The system refused. After it nothing is known of what the disk has: exit.
    Io {
        /// Doing what.
        action: Action,
        /// To which file.
        file: PathBuf,
        /// Where in it, if anywhere.
        offset: Option<u64>,
        /// At which txn, if any.
        zxid: Option<Zxid>,
        /// Its reason.
        source: io::Error,
    },
    /// A transaction log holds bytes that no crash explains.
    Corrupt {
        /// Of the log.
        file: PathBuf,
        /// Where the first bad record begins.
        offset: u64,
        /// The last txn before it.
        after: Zxid,
        /// What is wrong.
        damage: Damage,
        /// The next whole record behind it: what cutting would lose.
        next: Option<(u64, Zxid)>,
    },
    /// Txns are missing.
    Gap {
        /// Of the log with the first record behind the gap.
        file: PathBuf,
        /// Of that record.
        offset: u64,
        /// The last txn before the gap.
        after: Zxid,
        /// The first one behind it.
        found: Zxid,
        /// A log before it that breaks off inside a record, and where.
        torn: Option<(PathBuf, u64)>,
    },
    /// A snapshot is not what was once written.
    Snapshot {
        /// Of the snapshot.
        file: PathBuf,
        /// Where, in uncompressed bytes.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// A snapshot that is to take the place of all there is, is not what was once written.
    Installing {
        /// Of the snapshot.
        file: PathBuf,
        /// Where, in uncompressed bytes.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// Somebody wished it to stop before it was done.
    Stopped,
    /// A log of that name is there already, and would be overwritten.
    Exists {
        /// Its name.
        file: PathBuf,
    },
    /// The files do not reach back to a state at exactly this zxid: ask the leader for all of it.
    CannotTruncate {
        /// The zxid wanted.
        to: Zxid,
        /// The newest reachable one before it.
        reached: Zxid,
    },
    /// An epoch file does not hold a number.
    EpochFile {
        /// Its name.
        file: PathBuf,
        /// Its first line.
        line: String,
    },
    /// The last txn belongs to a later epoch than the server ever entered.
    CurrentEpochBehind {
        /// In the file.
        current: Epoch,
        /// On disk.
        last: Zxid,
    },
    /// The server entered an epoch that it never promised to enter.
    AcceptedEpochBehind {
        /// In the file.
        accepted: Epoch,
        /// In the other.
        current: Epoch,
    },
    /// `myid` does not hold a number.
    MyId {
        /// Its name.
        file: PathBuf,
        /// Its first line.
        line: String,
    },
    /// A directory is missing and may not be made.
    MissingDirectory {
        /// Its name.
        directory: PathBuf,
    },
    /// Snapshots where only logs belong.
    LogDirHasSnapshots {
        /// Its name.
        directory: PathBuf,
    },
    /// Logs where only snapshots belong.
    SnapDirHasLogs {
        /// Its name.
        directory: PathBuf,
    },
    /// Another process has the directory.
    Locked {
        /// Its lock file.
        file: PathBuf,
        /// What that process wrote into it: its process id.
        holder: String,
    },
}

impl Error {
    /// For `map_err`: `action` on `file` failed.
    pub(super) fn io(action: Action, file: &Path) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_path_buf();
        move |source| Self::Io { action, file, offset: None, zxid: None, source }
    }

    /// The same error again, for every call after the first that failed.
    ///
    /// # Panics
    /// If it is none that a writer can meet.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Io { action, file, offset, zxid, source } => Self::Io {
                action: *action,
                file: file.clone(),
                offset: *offset,
                zxid: *zxid,
                source: source
                    .raw_os_error()
                    .map_or_else(|| source.kind().into(), io::Error::from_raw_os_error),
            },
            Self::Exists { file } => Self::Exists { file: file.clone() },
            Self::Stopped
            | Self::Corrupt { .. }
            | Self::Gap { .. }
            | Self::Snapshot { .. }
            | Self::Installing { .. }
            | Self::CannotTruncate { .. }
            | Self::EpochFile { .. }
            | Self::CurrentEpochBehind { .. }
            | Self::AcceptedEpochBehind { .. }
            | Self::MyId { .. }
            | Self::MissingDirectory { .. }
            | Self::LogDirHasSnapshots { .. }
            | Self::SnapDirHasLogs { .. }
            | Self::Locked { .. } => unreachable!("a writer only meets errors of the system"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Io { source, .. } = self { Some(source) } else { None }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Write => "write to",
            Self::Flush => "flush",
            Self::Rename => "rename",
            Self::Cut => "shorten",
            Self::Remove => "delete",
            Self::Read => "read",
            Self::List => "list",
            Self::Lock => "lock",
        })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum => f.write_str("the checksum does not match the bytes"),
            Self::Length(len) => write!(f, "the record claims a length of {len} bytes"),
            Self::Marker(byte) => write!(f, "the record ends with {byte:#04x} instead of 0x42"),
            Self::Hole => f.write_str("there are zeros in place of a record, and data after them"),
            Self::Torn => f.write_str("the record is incomplete"),
            Self::Short => f.write_str("the record is too short for a txn"),
            Self::Magic => f.write_str("the file does not begin as such a file does"),
            Self::Truncated => f.write_str("the file breaks off"),
            Self::Trailer(bytes) => {
                write!(f, "{bytes} bytes follow the tree, which no trailer has")
            }
            Self::Undecodable(why) => write!(f, "the bytes are intact but cannot be read: {why}"),
        }
    }
}

impl Error {
    /// Whether the disk had no room.
    pub fn is_full_disk(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

impl fmt::Display for Error {
    #[expect(clippy::too_many_lines, reason = "one message for each variant")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, file, offset, zxid, source } => {
                write!(f, "cannot {action} {}", file.display())?;
                if let Some(offset) = offset {
                    write!(f, " at offset {offset}")?;
                }
                if let Some(zxid) = zxid {
                    write!(f, " (zxid {zxid})")?;
                }
                match descriptor_advice(source) {
                    Some(advice) => write!(f, ": {source}; {advice}"),
                    None => write!(f, ": {source}; {}", advice(*action, source.kind())),
                }
            }
            Self::Corrupt { file, offset, after, damage, next } => {
                write!(f, "{} is corrupt at offset {offset}", file.display())?;
                write!(f, ", after zxid {after}: {damage}. ")?;
                if let Some((at, zxid)) = next {
                    write!(f, "A whole record, zxid {zxid}, follows at offset {at}. ")?;
                }
                write!(
                    f,
                    "Acknowledged writes may be affected, so the server does not start. In an \
                     ensemble, move version-2 aside and start: the leader sends everything. \
                     Otherwise restore a backup; or, if power was lost while writing, start once \
                     with {CUT_DAMAGED_TAIL_PROPERTY}=true, which discards everything in the newest \
                     log from that offset on"
                )
            }
            Self::Gap { file, offset, after, found, torn } => {
                write!(f, "txns are missing: zxid {after} is followed by {found} in ")?;
                write!(f, "{} at offset {offset}. ", file.display())?;
                if let Some((file, at)) = torn {
                    write!(f, "{} breaks off at offset {at}. ", file.display())?;
                }
                write!(
                    f,
                    "A log file or a newer snapshot was removed, or an old server skipped numbers \
                     (ZOOKEEPER-4925). Put the missing file back; in an ensemble, move version-2 \
                     aside and start: the leader sends everything; or start once with \
                     {ALLOW_GAPS_PROPERTY}=true to go on without those txns"
                )
            }
            Self::Snapshot { file, offset, damage } => write!(
                f,
                "snapshot {} is not valid at byte {offset}: {damage}; an older one may be used \
                 instead if the logs since then are complete",
                file.display()
            ),
            Self::Installing { file, offset, damage } => write!(
                f,
                "{} is not valid at byte {offset}: {damage}. It is a leader's snapshot that was \
                 about to take the place of all logs and snapshots, and was whole when it got this \
                 name: check the disk. What it was to replace may be incomplete, so the server does \
                 not start; this start has deleted nothing. Move version-2 aside and start: the leader sends \
                 everything",
                file.display()
            ),
            Self::Stopped => f.write_str("asked to stop"),
            Self::Exists { file } => write!(
                f,
                "{} exists and will not be overwritten; it holds no txn this server has read: \
                 move it aside and start again",
                file.display()
            ),
            Self::CannotTruncate { to, reached } => write!(
                f,
                "cannot go back to zxid {to}: snapshots and logs only reach {reached} before it; \
                 a full copy from the leader is needed"
            ),
            Self::EpochFile { file, line } => write!(
                f,
                "Found {line} in {}, which is no epoch; restore the file, or in an ensemble move \
                 version-2 aside and start",
                file.display()
            ),
            Self::CurrentEpochBehind { current, last } => {
                write!(
                    f,
                    "The current epoch, {}, is older than the last zxid, {}",
                    current.0, last.0
                )
            }
            Self::AcceptedEpochBehind { accepted, current } => write!(
                f,
                "The accepted epoch, {} is less than the current epoch, {}",
                accepted.0, current.0
            ),
            Self::MyId { file, line } => write!(
                f,
                "{} holds {line:?}; it must hold this server's number and nothing else",
                file.display()
            ),
            Self::MissingDirectory { directory } => write!(
                f,
                "Missing data directory {}, automatic data directory creation is disabled \
                 (zookeeper.datadir.autocreate is false). Please create this directory manually.",
                directory.display()
            ),
            Self::LogDirHasSnapshots { directory } => write!(
                f,
                "Log directory has snapshot files. Check if dataLogDir and dataDir configuration \
                 is correct. ({})",
                directory.display()
            ),
            Self::SnapDirHasLogs { directory } => write!(
                f,
                "Snapshot directory has log files. Check if dataLogDir and dataDir configuration \
                 is correct. ({})",
                directory.display()
            ),
            Self::Locked { file, holder } => write!(
                f,
                "{} is locked by process {holder}: another server uses this directory; stop it, \
                 or give this one a dataDir of its own",
                file.display()
            ),
        }
    }
}

fn advice(action: Action, kind: io::ErrorKind) -> &'static str {
    match (kind, action) {
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => {
            "free space on that file system and start the server again; nothing acknowledged is lost"
        }
        (io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem, _) => {
            "let the server's user read and write there, then start it again"
        }
        (io::ErrorKind::NotADirectory, _) => {
            "something on that path is a file and not a directory: move it away, or set dataDir (or \
             dataLogDir) to a directory"
        }
        (_, Action::Write | Action::Flush) => {
            "the server must stop, for what reached the disk is unknown; check the disk and the \
             kernel log, then start it again: everything acknowledged is on disk"
        }
        (_, _) => "check the disk and the kernel log, then start the server again",
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn without_descriptors_the_disk_is_not_blamed() {
        for (errno, part) in [(Errno::MFILE, "RLIMIT_NOFILE"), (Errno::NFILE, "fs.file-max")] {
            let said = Error::io(Action::Create, Path::new("/d/log.1"))(errno.into()).to_string();
            assert!(said.contains("cannot create /d/log.1") && said.contains(part), "{said}");
            assert!(!said.contains("disk"), "{said}");
        }
    }
}
