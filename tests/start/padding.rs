//! The zeros behind a log, of which Java lays down as many as `preAllocSize` says.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};

use crate::scene::with_log;
use crate::support::Server;
use crate::support::process::scratch;

/// Less than any of the paddings here, and more than a server takes without them.
const MEMORY_MAX: u64 = 128 << 20;

/// The most memory the process ever had, pages of files included.
fn memory_peak(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Starts on three txns with this behind them; they are served, and few of the zeros were read
/// into memory.
fn starts_on(pad: impl FnOnce(&mut File)) {
    let dir = scratch("padding", true);
    let (mut server, log) = with_log(dir.path(), 3);
    // The buffers of many shards are no padding.
    server.spec = server.spec.clone().property("ringkeeper.shards", "1");
    pad(&mut OpenOptions::new().write(true).open(&log).unwrap());
    server.launch().unwrap();
    let text = server.word("srvr").unwrap();
    assert!(text.contains("Zxid: 0x3\n"), "{text}");
    let peak = memory_peak(&server);
    assert!(peak < MEMORY_MAX, "{} MiB", peak >> 20);
    server.stop().unwrap();
}

/// Java writes the last byte of the padding only (`FilePadding`): the rest is a hole.
#[test]
fn a_hole_behind_a_log_is_not_read() {
    starts_on(|log| {
        log.seek(SeekFrom::Start((2 << 30) - 1)).unwrap();
        log.write_all(&[0]).unwrap();
    });
}

/// A copy of such a log, as a rule, has no holes.
#[test]
fn zeros_behind_a_log_are_read_and_let_go_of() {
    starts_on(|log| {
        log.seek(SeekFrom::End(0)).unwrap();
        for _ in 0..256 {
            log.write_all(&vec![0; 1 << 20]).unwrap();
        }
    });
}
