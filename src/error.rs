//! How things end: the four fates of an error, and the exit codes of the process.
//!
//! Every module has its own error type; whoever stands at its edge turns one into a [`Fate`].
//! A bug is no fate: it is an assertion, and the process aborts.

use std::fmt;
use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::wire::ErrorCode;

/// What an error costs, and whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fate {
    /// The client asked for something it may not have: it is told so, and nothing else happens.
    Reply(ErrorCode),
    /// The bytes or the peer are wrong: that connection is closed, with this line in the log.
    Disconnect(String),
    /// The quorum is lost or the epoch is spent: this server leaves its role, not the ensemble.
    StepDown(String),
    /// The disk or the configuration is wrong: the process ends.
    Exit(ExitCode),
}

/// Exit codes: `ZooKeeper`'s own (`ExitCode.java`), and from 20 on ours.
///
/// Scripts and service managers tell failures apart by them, so a number never changes meaning.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum ExitCode {
    /// A clean stop.
    Normal = 0,
    /// Something unforeseen, a client port that is taken among it.
    Unexpected = 1,
    /// A wrong command line or configuration.
    Invocation = 2,
    /// The data directory cannot be used: missing, not writable, or holding what is not ours.
    DataDirectory = 3,
    /// The admin server could not start.
    AdminServer = 4,
    /// A snapshot could not be written.
    Snapshot = 10,
    /// A commit came for a txn that is not the next one.
    UnmatchedCommit = 12,
    /// A peer sent a packet that has no place here, or the log could not be truncated.
    QuorumPacket = 13,
    /// The election port could not be bound.
    ElectionPort = 14,
    /// The transaction log could not be written or flushed; nothing acknowledged is lost.
    LogFailed = 20,
    /// The kernel has no `io_uring`, or forbids it here.
    RingUnavailable = 21,
}

impl ExitCode {
    /// All of them, for the documentation's table.
    pub const ALL: [Self; 11] = [
        Self::Normal,
        Self::Unexpected,
        Self::Invocation,
        Self::DataDirectory,
        Self::AdminServer,
        Self::Snapshot,
        Self::UnmatchedCommit,
        Self::QuorumPacket,
        Self::ElectionPort,
        Self::LogFailed,
        Self::RingUnavailable,
    ];

    /// The number the parent process sees.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// One line for the operator.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Normal => "stopped cleanly",
            Self::Unexpected => "unexpected error",
            Self::Invocation => "wrong command line or configuration",
            Self::DataDirectory => "the data directory cannot be used",
            Self::AdminServer => "the admin server could not start",
            Self::Snapshot => "a snapshot could not be written",
            Self::UnmatchedCommit => "a commit does not match the next proposal",
            Self::QuorumPacket => "a peer sent a packet that has no place here",
            Self::ElectionPort => "the election port cannot be bound",
            Self::LogFailed => "the transaction log cannot be written or flushed",
            Self::RingUnavailable => "io_uring is not available",
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}

/// The end of the process: why, for a person, and the code, for a script.
#[derive(Debug)]
pub struct Fatal {
    code: ExitCode,
    what: String,
}

impl Fatal {
    /// An end with `code`, explained by `what` (one or a few whole lines).
    pub fn new(code: ExitCode, what: impl fmt::Display) -> Self {
        Self { code, what: what.to_string() }
    }

    /// The code to leave with.
    pub const fn code(&self) -> ExitCode {
        self.code
    }
}

/// What an operator reads last, so it names the reason first and the code at the end. A text of
/// whole lines (usage, help) is complete in itself.
impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.what.ends_with('\n') {
            return f.write_str(&self.what);
        }
        write!(f, "{} (exit code {}: {})", self.what, self.code.code(), self.code.meaning())
    }
}

impl std::error::Error for Fatal {}

/// What to do about a call that failed for want of a descriptor: no fault of what it was about.
/// `None` if it failed for another reason.
pub fn descriptor_advice(error: &io::Error) -> Option<String> {
    let number = error.raw_os_error();
    if number == Some(Errno::NFILE.raw_os_error()) {
        let advice = "the whole system has no file descriptor left: raise sysctl fs.file-max, and \
                      see who has so many files open";
        return Some(advice.to_owned());
    }
    if number != Some(Errno::MFILE.raw_os_error()) {
        return None;
    }
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    Some(format!(
        "this process has no file descriptor left, and RLIMIT_NOFILE is {limit}: raise it (ulimit \
         -n, LimitNOFILE= of the systemd unit) and start the server again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_want_of_descriptors_is_told_from_a_fault_of_the_disk() {
        let advice = |errno: Errno| descriptor_advice(&errno.into());
        let limit = getrlimit(Resource::Nofile).current.unwrap_or_default();
        let process = advice(Errno::MFILE).unwrap();
        assert!(process.contains(&format!("RLIMIT_NOFILE is {limit}")), "{process}");
        assert!(advice(Errno::NFILE).unwrap().contains("fs.file-max"));
        assert_eq!(advice(Errno::NOSPC), None);
    }

    #[test]
    fn the_numbers_are_those_scripts_know() {
        let numbers: Vec<u8> = ExitCode::ALL.iter().map(|code| code.code()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 10, 12, 13, 14, 20, 21]);
    }

    #[test]
    fn the_operators_page_lists_them() {
        let page = include_str!("../docs/OPERATING.md");
        for code in ExitCode::ALL {
            let row = format!("| {} | {}", code.code(), code.meaning());
            assert!(page.contains(&row), "docs/OPERATING.md: {row}");
        }
    }

    #[test]
    fn a_fatal_error_names_reason_and_code() {
        let fatal = Fatal::new(ExitCode::LogFailed, "log.1: write: No space left on device");
        assert_eq!(
            fatal.to_string(),
            "log.1: write: No space left on device \
             (exit code 20: the transaction log cannot be written or flushed)"
        );
        assert_eq!(fatal.code(), ExitCode::LogFailed);
        assert_eq!(Fatal::new(ExitCode::Normal, "Usage: ...\n").to_string(), "Usage: ...\n");
    }
}
