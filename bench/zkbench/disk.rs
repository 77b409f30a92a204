//! `zkbench disk`: what making bytes durable costs on a disk, without any server.
//!
//! As a server's log should do it: a file of zeros that are on the disk already, bytes written over
//! them in order, `fdatasync` after each. What it shows is the least that a write can take.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hdrhistogram::Histogram;
use ringkeeper::clock::Clock;
use serde::Serialize;

use crate::Failure;
use crate::args::DiskArgs;
use crate::load::pacing::now;
use crate::report::environment::Environment;
use crate::report::{self, Latency};

/// Zeros are written in pages, so that no flush has to write more than it covers.
const ZERO_BYTES: usize = 4096;
/// The file holds so many writes at most, then they begin anew.
const FILE_BYTES_MAX: u64 = 64 << 20;

#[derive(Serialize)]
struct DiskReport {
    dir: PathBuf,
    bytes: u32,
    flushes: u32,
    flush_us: Option<Latency>,
    environment: Environment,
}

/// A file that goes when dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may have gone already; there is nothing to be done about another error.
        drop(fs::remove_file(&self.0));
    }
}

/// Runs the command.
pub(crate) fn command(args: &DiskArgs) -> Result<ExitCode, Failure> {
    let histogram = measure(&args.dir, args.flushes, args.bytes)
        .map_err(|error| format!("{}: {error}", args.dir.display()))?;
    let flush_us = Latency::of(&histogram);
    let mut text = String::new();
    if let Some(us) = &flush_us {
        text = format!(
            "flush of {} bytes in {}, {} times: p50 {:.0} p90 {:.0} p99 {:.0} p99.9 {:.0} \
             max {:.0} us\n",
            args.bytes,
            args.dir.display(),
            args.flushes,
            us.p50,
            us.p90,
            us.p99,
            us.p999,
            us.max
        );
    }
    let report = DiskReport {
        dir: args.dir.clone(),
        bytes: args.bytes,
        flushes: args.flushes,
        flush_us,
        environment: Environment::here(),
    };
    report::write(&report, &text, args.json.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

fn measure(dir: &Path, flushes: u32, bytes: u32) -> std::io::Result<Histogram<u64>> {
    let scratch = Scratch(dir.join(format!("zkbench-disk-{}", std::process::id())));
    let file = File::options().create_new(true).read(true).write(true).open(&scratch.0)?;
    let bytes = u64::from(bytes);
    let slots = u64::from(flushes).min(FILE_BYTES_MAX / bytes).max(1);
    for offset in (0..slots * bytes).step_by(ZERO_BYTES) {
        file.write_all_at(&[0; ZERO_BYTES], offset)?;
    }
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    let mut histogram =
        Histogram::new_with_bounds(64, 3_600_000_000_000, 3).expect("the bounds are in order");
    let clock = Clock::start();
    let mut data = vec![0u8; usize::try_from(bytes).expect("a u32 fits")];
    for turn in 0..u64::from(flushes) {
        data.fill(u8::try_from(turn % 255).expect("below 255") + 1);
        let start = now(clock);
        file.write_all_at(&data, turn % slots * bytes)?;
        file.sync_data()?;
        histogram.saturating_record(now(clock) - start);
    }
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flush_is_measured_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let histogram = measure(dir.path(), 5, 4096).unwrap();
        assert_eq!(histogram.len(), 5);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
