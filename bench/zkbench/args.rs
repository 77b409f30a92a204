//! The command line, as `clap` sees it. What it means is settled in `plan`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::load::pacing::Arrivals;

/// A load generator for servers that speak `ZooKeeper`'s client protocol.
#[derive(Debug, Parser)]
#[command(name = "zkbench", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load one server or ensemble and report throughput and latency.
    Run(RunArgs),
    /// Load two servers in turn (ABBA) and report the ratios with their spread.
    Compare(CompareArgs),
    /// Measure what making 4 KiB durable costs on a disk.
    Disk(DiskArgs),
    /// Serve: answer everything at once and keep nothing, to measure the generator itself.
    Null(NullArgs),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum WorkloadName {
    /// getData of a random znode.
    Get,
    /// setData of a random znode.
    Set,
    /// create of a new znode.
    Create,
    /// get and set, see --read-percent.
    Mixed,
    /// Create --znodes znodes once, as fast as the server takes them.
    Load,
    /// Open --sessions sessions, hold them, close them.
    Open,
}

impl WorkloadName {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Create => "create",
            Self::Mixed => "mixed",
            Self::Load => "load",
            Self::Open => "open",
        }
    }
}

/// Options of `run` that do not say what to do but to whom.
#[derive(Clone, Debug, Parser)]
pub(crate) struct RunArgs {
    /// Servers, comma-separated; sessions are dealt out in turn.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:2181")]
    pub(crate) servers: Vec<String>,
    /// The servers' processes, comma-separated, to report their CPU time per operation and their
    /// memory, summed up.
    #[arg(long, value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// What load to make; shared by `run` and `compare`.
#[derive(Clone, Debug, Parser)]
pub(crate) struct LoadArgs {
    /// What to ask.
    #[arg(long, short, value_enum, default_value = "get")]
    pub(crate) workload: WorkloadName,
    /// Client sessions.
    #[arg(
        long, short,
        default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=99_999)
    )]
    pub(crate) sessions: u32,
    /// Requests in flight per session (closed loop, default 16), their bound (open loop, default
    /// 1024), or handshakes under way at a time (--workload open, default 64).
    #[arg(long, short = 'm', value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) in_flight: Option<u32>,
    /// Open loop: this many requests a second in all, latency counted from when each was due.
    #[arg(long, short)]
    pub(crate) rate: Option<f64>,
    /// Spacing of an open loop's requests.
    #[arg(long, value_enum, default_value = "uniform")]
    pub(crate) arrivals: Arrivals,
    /// How long to measure.
    #[arg(long, short, default_value = "10s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// Measure this many requests, however long they take.
    #[arg(long, conflicts_with_all = ["duration", "rate"])]
    pub(crate) ops: Option<u64>,
    /// Load before the measurement begins (none for load and open).
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub(crate) warmup: Duration,
    /// Bytes of data in a znode.
    #[arg(
        long,
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000)
    )]
    pub(crate) value_bytes: u32,
    /// Znodes that get and set choose from, or that load creates.
    #[arg(
        long, short = 'n',
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..=99_999_999)
    )]
    pub(crate) znodes: u64,
    /// Share of gets in --workload mixed.
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) read_percent: u8,
    /// Seed of every random choice.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Where the run makes its own folder of znodes.
    #[arg(long, default_value = "/zkbench")]
    pub(crate) path: String,
    /// Name of that folder; one that exists is used again.
    #[arg(long, value_name = "NAME")]
    pub(crate) folder: Option<String>,
    /// Leave the folder behind.
    #[arg(long)]
    pub(crate) keep: bool,
    /// How long --workload open holds its sessions, with pings.
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub(crate) hold: Duration,
    /// A reply later than this counts as lost, and its connection with it.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Session timeout to ask for.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub(crate) session_timeout: Duration,
    /// Threads of the generator, each with its own ring; sessions are dealt out in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) threads: u32,
    /// Pin the threads to these cores, comma-separated.
    #[arg(long, value_name = "CORE", value_delimiter = ',')]
    pub(crate) pin: Vec<usize>,
    /// Write the report as JSON; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// No progress.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Debug, Parser)]
pub(crate) struct CompareArgs {
    /// First server: host:port, host:port@PID (several: host:port,…@PID,…), or a launch command
    /// that gets a zoo.cfg as its last argument and becomes the server (`exec`).
    #[arg(long)]
    pub(crate) a: String,
    /// Second server, likewise.
    #[arg(long)]
    pub(crate) b: String,
    /// Runs of each server.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Template of zoo.cfg for launch commands, with {port} and {data}.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where launched servers keep their data; a folder below it is made and removed.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    pub(crate) data: PathBuf,
    /// Start a launched server anew, on empty data, for each of its runs.
    #[arg(long)]
    pub(crate) restart: bool,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

#[derive(Clone, Debug, Parser)]
pub(crate) struct DiskArgs {
    /// A folder on the disk.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// How many flushes.
    #[arg(
        long,
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub(crate) flushes: u32,
    /// Bytes made durable by each.
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) bytes: u32,
    /// Write the report as JSON; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Debug, Parser)]
pub(crate) struct NullArgs {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:2190")]
    pub(crate) listen: String,
    /// Bytes of data in a reply to getData.
    #[arg(long, default_value_t = 100)]
    pub(crate) value_bytes: u32,
    /// Cut each connection after this many requests.
    #[arg(long)]
    pub(crate) cut_after: Option<u64>,
}

/// `500ms`, `10s`, `2m`, `1h`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{unit:?} is not one of ms, s, m, h")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{number:?} is not a number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, millis) in [("10s", 10_000), ("500ms", 500), ("2m", 120_000), ("1.5", 1_500)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "1e400s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }
}
