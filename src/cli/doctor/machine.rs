//! What a server needs of the machine: `io_uring`, descriptors, a clock.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::Report;
use crate::clock;
use crate::ids::Millis;
use crate::server;

/// Fewer descriptors than this are soon used up by clients.
const DESCRIPTORS_MIN: u64 = 4096;
/// The beginning of 2025: a clock before it was never set.
const CLOCK_MIN: Millis = Millis(1_735_689_600_000);
const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";

pub(super) fn check(report: &mut Report) {
    check_ring(report);
    let what = "open files (nofile)";
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < DESCRIPTORS_MIN => report.warn(
            what,
            &format!("at most {most}, and each client takes one"),
            "raise it with 'ulimit -Hn', or LimitNOFILE= of the service",
        ),
        Some(most) => report.fine(what, &format!("at most {most}")),
        None => report.fine(what, "not limited"),
    }
    if clock::wall() < CLOCK_MIN {
        let advice = "set it, and keep it with chrony or systemd-timesyncd: TTLs and logs go by it";
        report.problem("clock", "it stands before 2025", advice);
    }
}

fn check_ring(report: &mut Report) {
    let switch = fs::read_to_string(SWITCH).unwrap_or_default();
    let Err(why) = server::try_ring() else {
        return report.fine("io_uring", "a ring can be made");
    };
    let advice = match switch.trim() {
        "2" => "it is turned off: sysctl kernel.io_uring_disabled=0",
        "1" => "only members of the group in kernel.io_uring_group may use it, see there",
        _ if is_short_of_memlock() => "raise the locked memory with 'ulimit -l', or LimitMEMLOCK=",
        _ => "a container or SystemCallFilter= forbids it (seccomp), or the kernel is too old",
    };
    report.problem("io_uring", &why.to_string(), advice);
}

fn is_short_of_memlock() -> bool {
    getrlimit(Resource::Memlock).current.is_some_and(|bytes| bytes < 8 << 20)
}
