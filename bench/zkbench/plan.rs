//! What a run will do: the command line checked, its defaults filled in, its names resolved.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use ringkeeper::clock;

use crate::Failure;
use crate::args::{LoadArgs, WorkloadName};
use crate::load::pacing::Arrivals;
use crate::load::workload::Workload;

const IN_FLIGHT_CLOSED: u32 = 16;
const IN_FLIGHT_OPEN: u32 = 1024;
const IN_FLIGHT_SESSIONS: u32 = 64;

/// What kind of load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Load {
    /// Requests.
    Ask(Workload),
    /// Nothing but sessions.
    Open,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) servers: Vec<SocketAddr>,
    /// As the command line calls it.
    pub(crate) workload: &'static str,
    pub(crate) load: Load,
    pub(crate) sessions: u32,
    pub(crate) in_flight: u32,
    pub(crate) rate: Option<f64>,
    pub(crate) arrivals: Arrivals,
    pub(crate) duration: Duration,
    pub(crate) ops: Option<u64>,
    pub(crate) warmup: Duration,
    pub(crate) value_bytes: u32,
    pub(crate) seed: u64,
    /// The run's folder; everything that it makes is below.
    pub(crate) root: String,
    /// The folder around it.
    pub(crate) path: String,
    pub(crate) keep: bool,
    pub(crate) hold: Duration,
    pub(crate) timeout: Duration,
    pub(crate) session_timeout_ms: i32,
    pub(crate) threads: u32,
    pub(crate) pin: Vec<usize>,
    pub(crate) quiet: bool,
}

impl Plan {
    /// What `args` ask for, of these servers.
    pub(crate) fn new(args: &LoadArgs, servers: &[String]) -> Result<Self, Failure> {
        let load = match args.workload {
            WorkloadName::Get => mixed(args, 100),
            WorkloadName::Set => mixed(args, 0),
            WorkloadName::Mixed => mixed(args, args.read_percent),
            WorkloadName::Create => Load::Ask(Workload::Create),
            WorkloadName::Load => Load::Ask(Workload::Load { znodes: args.znodes }),
            WorkloadName::Open => Load::Open,
        };
        if args.rate.is_some_and(|rate| !rate.is_finite() || rate < 0.001) {
            return Err("--rate must be above 0.001 requests a second".into());
        }
        // The znodes of a load, and sessions, are numbers already.
        let counted = matches!(load, Load::Open | Load::Ask(Workload::Load { .. }));
        if counted && (args.rate.is_some() || args.ops.is_some()) {
            return Err("--workload load and open take no --rate and no --ops".into());
        }
        let in_flight = args.in_flight.unwrap_or(match (load, args.rate) {
            (Load::Open, _) => IN_FLIGHT_SESSIONS,
            (Load::Ask(_), Some(_)) => IN_FLIGHT_OPEN,
            (Load::Ask(_), None) => IN_FLIGHT_CLOSED,
        });
        Ok(Self {
            servers: resolve(servers)?,
            workload: args.workload.name(),
            load,
            sessions: args.sessions,
            in_flight,
            rate: args.rate,
            arrivals: args.arrivals,
            duration: args.duration,
            ops: args.ops.or(counted.then_some(u64::MAX)),
            warmup: if counted { Duration::ZERO } else { args.warmup },
            value_bytes: args.value_bytes,
            seed: args.seed,
            root: format!("{}/{}", checked(&args.path)?, folder(args)?),
            path: args.path.clone(),
            keep: args.keep,
            hold: args.hold,
            timeout: args.timeout,
            session_timeout_ms: i32::try_from(args.session_timeout.as_millis())
                .map_err(|_| "--session-timeout is too long")?,
            threads: args.threads.min(args.sessions),
            pin: args.pin.clone(),
            quiet: args.quiet,
        })
    }

    /// Numbers of a thread's sessions.
    pub(crate) fn sessions_of(&self, thread: u32) -> impl Iterator<Item = u32> {
        (thread..self.sessions).step_by(self.threads as usize)
    }

    /// How long a session may say nothing: servers forget one after its timeout.
    pub(crate) fn ping_every(&self) -> Duration {
        Duration::from_millis(u64::from(self.session_timeout_ms.unsigned_abs()) / 3)
    }
}

fn mixed(args: &LoadArgs, read_percent: u8) -> Load {
    Load::Ask(Workload::Mixed { read_percent, znodes: args.znodes })
}

/// A path that a folder's name can be appended to.
fn checked(path: &str) -> Result<&str, Failure> {
    let parts_are_names = path.split('/').skip(1).all(|part| !part.is_empty());
    if path.starts_with('/') && path.len() > 1 && parts_are_names {
        return Ok(path);
    }
    Err(format!("--path {path:?} must be like /zkbench").into())
}

fn folder(args: &LoadArgs) -> Result<String, Failure> {
    match &args.folder {
        None => Ok(format!("run-{:x}", clock::wall().0)),
        Some(name) if !name.is_empty() && !name.contains('/') => Ok(name.clone()),
        Some(name) => Err(format!("--folder {name:?} must be one name").into()),
    }
}

fn resolve(servers: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    let mut addresses = Vec::new();
    for server in servers {
        let found = server.to_socket_addrs().map_err(|error| format!("{server}: {error}"))?;
        // One each: a name with an address of either family would count twice.
        addresses.extend(found.take(1));
    }
    if addresses.is_empty() {
        return Err("no server".into());
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::RunArgs;

    fn plan(args: &str) -> Result<Plan, String> {
        let args = RunArgs::parse_from(["run"].into_iter().chain(args.split_whitespace()));
        Plan::new(&args.load, &args.servers).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_fit_the_loop() {
        for (args, in_flight) in
            [("", 16), ("--rate 5", 1024), ("-w open", 64), ("-w open -m 2", 2), ("-m 1", 1)]
        {
            assert_eq!(plan(args).map(|plan| plan.in_flight), Ok(in_flight), "{args}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for args in ["--rate 0", "--path zk", "--path /", "--path /a/", "--folder a/b"] {
            assert!(plan(args).is_err(), "{args}");
        }
        assert!(plan("-w load --rate 5").is_err());
    }

    #[test]
    fn sessions_are_dealt_out_once_each() {
        let plan = plan("--sessions 7 --threads 3").unwrap();
        let mut sessions: Vec<_> = (0..3).flat_map(|thread| plan.sessions_of(thread)).collect();
        sessions.sort_unstable();
        assert_eq!(sessions, (0..7).collect::<Vec<_>>());
    }
}
