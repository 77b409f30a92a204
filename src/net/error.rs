//! What can go wrong in `net`, and what to tell the operator about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::error::descriptor_advice;

/// An error number of the operating system.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OsError(i32);

impl OsError {
    /// The kind, as the standard library sorts them.
    pub fn kind(self) -> io::ErrorKind {
        io::Error::from(self).kind()
    }
}

impl From<Errno> for OsError {
    fn from(error: Errno) -> Self {
        Self(error.raw_os_error())
    }
}

impl From<io::Error> for OsError {
    /// An error that did not come from the system has no number and becomes `EIO`.
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))
    }
}

impl From<OsError> for io::Error {
    fn from(error: OsError) -> Self {
        Self::from_raw_os_error(error.0)
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = io::Error::from(*self);
        error.fmt(f)?;
        descriptor_advice(&error).map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

/// What stands between this process and `io_uring`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Obstacle {
    /// The sysctl `kernel.io_uring_disabled` is 1 (privileged only) or 2 (nobody).
    Sysctl {
        /// Its value.
        value: u8,
    },
    /// A policy refuses the call: seccomp of a container runtime, or a security module.
    Policy,
    /// The kernel was built without it, or a sandbox hides it.
    Absent,
    /// The limit on locked memory is too low.
    LockedMemory {
        /// `RLIMIT_MEMLOCK` in bytes; `None` is unlimited.
        limit: Option<u64>,
    },
    /// The kernel lacks a feature that cannot be done without.
    TooOld {
        /// Which.
        missing: &'static str,
    },
    /// Anything else.
    Other(OsError),
}

impl Obstacle {
    /// What `error`, returned when a ring was set up, means on this machine.
    pub(super) fn diagnose(error: Errno) -> Self {
        let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        Self::explain(error, sysctl.as_deref(), getrlimit(Resource::Memlock).current)
    }

    fn explain(error: Errno, sysctl: Option<&str>, memlock: Option<u64>) -> Self {
        let disabled = sysctl.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        match error {
            Errno::PERM | Errno::ACCESS if disabled > 0 => Self::Sysctl { value: disabled },
            Errno::PERM | Errno::ACCESS => Self::Policy,
            Errno::NOSYS => Self::Absent,
            Errno::NOMEM => Self::LockedMemory { limit: memlock },
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysctl { value: 1 } => f.write_str(
                "sysctl kernel.io_uring_disabled is 1, which leaves io_uring to privileged \
                 processes: set it to 0, or name a group of this user in kernel.io_uring_group",
            ),
            Self::Sysctl { value } => write!(
                f,
                "sysctl kernel.io_uring_disabled is {value}, which forbids io_uring to all \
                 processes: set it to 0",
            ),
            Self::Policy => f.write_str(
                "a policy refuses io_uring_setup (EPERM) although kernel.io_uring_disabled \
                 permits it, as the default seccomp profile of Docker and containerd does: use a \
                 profile that allows io_uring_setup, io_uring_enter and io_uring_register, or run \
                 outside the container",
            ),
            Self::Absent => f.write_str(
                "the kernel has no io_uring (ENOSYS): a kernel of 6.0 or later with \
                 CONFIG_IO_URING is needed, and a sandbox such as gVisor must not hide it",
            ),
            Self::LockedMemory { limit } => {
                f.write_str("there is no memory for the ring (ENOMEM) and RLIMIT_MEMLOCK is ")?;
                match limit {
                    Some(bytes) => write!(f, "{bytes} bytes")?,
                    None => f.write_str("unlimited")?,
                }
                f.write_str(": raise it (ulimit -l, LimitMEMLOCK= of the systemd unit)")
            }
            Self::TooOld { missing } => {
                write!(f, "the kernel is too old, it lacks {missing}: 6.0 or later is needed")
            }
            Self::Other(error) => write!(f, "io_uring_setup failed: {error}"),
        }
    }
}

/// Why `net` cannot go on. A connection's own troubles are [`super::Event`]s instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NetError {
    /// There is no `io_uring` to be had.
    Unavailable(Obstacle),
    /// A listening socket could not be made.
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: OsError,
    },
    /// The kernel refused a call that it does not refuse as a rule.
    Call {
        /// Which.
        name: &'static str,
        /// Why.
        error: OsError,
    },
}

impl NetError {
    /// Whether somebody else listens there, or the kernel has not yet taken down who did.
    pub fn is_address_in_use(self) -> bool {
        matches!(self, Self::Bind { error, .. } if error.kind() == io::ErrorKind::AddrInUse)
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(obstacle) => write!(f, "io_uring is not available: {obstacle}"),
            Self::Bind { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::Call { name, error } => write!(f, "{name} failed: {error}"),
        }
    }
}

impl std::error::Error for NetError {}

/// How completions are delivered, which depends on the kernel's age.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TaskRun {
    /// Only while the owner waits (6.1): the least disturbance.
    Deferred,
    /// At the owner's next system call (5.19).
    Cooperative,
    /// By interrupting the owner.
    Interrupting,
}

/// What of the kernel's offer is in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Features {
    pub(super) task_run: TaskRun,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("io_uring: multishot accept, multishot recv, provided buffers, ")?;
        f.write_str(match self.task_run {
            TaskRun::Deferred => "defer_taskrun, single_issuer",
            TaskRun::Cooperative => "coop_taskrun",
            TaskRun::Interrupting => "no coop_taskrun",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_what_stands_in_the_way() {
        let cases = [
            (Errno::PERM, Some("2\n"), "kernel.io_uring_disabled is 2"),
            (Errno::PERM, Some("1\n"), "kernel.io_uring_group"),
            (Errno::PERM, Some("0\n"), "seccomp"),
            (Errno::ACCESS, None, "seccomp"),
            (Errno::NOSYS, None, "ENOSYS"),
            (Errno::NOMEM, None, "RLIMIT_MEMLOCK is 65536 bytes"),
            (Errno::MFILE, None, "RLIMIT_NOFILE is"),
            (Errno::INVAL, None, "Invalid argument"),
        ];
        for (errno, sysctl, expected) in cases {
            let obstacle = Obstacle::explain(errno, sysctl, Some(65536));
            let message = NetError::Unavailable(obstacle).to_string();
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains('\n'), "one line: {message}");
        }
    }
}
