//! Where a figure was measured: it means nothing without.

use std::fs;
use std::num::NonZero;
use std::thread;

use serde::Serialize;

/// The machine and the program.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Environment {
    pub(crate) zkbench: &'static str,
    pub(crate) optimized: bool,
    pub(crate) kernel: String,
    pub(crate) machine: String,
    pub(crate) cpu: Option<String>,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) load_average: Option<String>,
    /// Milliseconds since 1970.
    pub(crate) time_ms: i64,
}

impl Environment {
    pub(crate) fn here() -> Self {
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let after = |file: &str, label: &str| {
            let content = fs::read_to_string(file).ok()?;
            let line = content.lines().find_map(|line| line.strip_prefix(label))?;
            Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
        };
        let kib = after("/proc/meminfo", "MemTotal").and_then(|text| {
            text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok())
        });
        let load = fs::read_to_string("/proc/loadavg").ok();
        Self {
            zkbench: env!("CARGO_PKG_VERSION"),
            optimized: !cfg!(debug_assertions),
            kernel: text(uname.release()),
            machine: text(uname.machine()),
            cpu: after("/proc/cpuinfo", "model name"),
            cores: thread::available_parallelism().map_or(1, NonZero::get),
            memory_bytes: kib.map(|kib| kib * 1024),
            load_average: load.map(|load| load.trim().to_owned()),
            time_ms: ringkeeper::clock::wall().0,
        }
    }
}
