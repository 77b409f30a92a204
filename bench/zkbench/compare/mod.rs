//! `zkbench compare`: two servers under the same load in turn, and what may be said about them.
//!
//! One round is a run of each; who goes first alternates (ABBA), so that a machine that drifts
//! favours neither. The ratio is taken within a round, its spread over all of them.

mod launch;
mod verdict;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::Failure;
use crate::args::{CompareArgs, LoadArgs};
use crate::load::worker;
use crate::plan::Plan;
use crate::report::{self, Report, text};
use crate::run::{self, Interrupt};
use launch::{Launch, Launched};
use verdict::{Better, Comparison};

/// One of the two.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Target {
    /// Servers that run.
    Running { servers: Vec<String>, pids: Vec<u32> },
    /// A command that becomes one.
    Command(String),
}

impl Target {
    /// `host:port[,…][@PID[,…]]`, or else a command.
    fn parse(text: &str) -> Self {
        let (servers, pids) = match text.rsplit_once('@') {
            Some((servers, pids)) => (servers, pids.split(',').map(str::parse).collect()),
            None => (text, Ok(Vec::new())),
        };
        let is_address = |server: &str| {
            !server.contains(['/', ' '])
                && server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        };
        if let Ok(pids) = pids
            && servers.split(',').all(is_address)
        {
            return Self::Running {
                servers: servers.split(',').map(str::to_owned).collect(),
                pids,
            };
        }
        Self::Command(text.to_owned())
    }
}

/// A target, and its process if it is ours.
struct Contestant {
    target: Target,
    name: &'static str,
    launched: Option<Launched>,
}

impl Contestant {
    fn new(name: &'static str, text: &str) -> Self {
        Self { target: Target::parse(text), name, launched: None }
    }

    /// Runs the load against it once.
    fn measure(
        &mut self,
        args: &CompareArgs,
        template: &str,
        interrupt: &Interrupt,
    ) -> Result<Report, Failure> {
        let (servers, pids) = match &self.target {
            Target::Running { servers, pids } => (servers.clone(), pids.clone()),
            Target::Command(command) => {
                if args.restart {
                    self.launched = None;
                }
                if self.launched.is_none() {
                    let launch = Launch { command, template, data: &args.data, name: self.name };
                    self.launched = Some(launch.start()?);
                }
                let launched = self.launched.as_ref().expect("it was started just now");
                (vec![launched.address()], vec![launched.pid()])
            }
        };
        // A server on data of its own needs no cleaning up that would cost it as much as the run.
        let keep = args.load.keep || (args.restart && self.launched.is_some());
        let plan = Plan::new(&LoadArgs { keep, ..args.load.clone() }, &servers)?;
        run::measure(&plan, &pids, interrupt)
    }
}

#[derive(Serialize)]
struct CompareReport {
    a: String,
    b: String,
    rounds: u32,
    comparisons: Vec<Comparison>,
    client_was_the_limit: bool,
    runs_a: Vec<Report>,
    runs_b: Vec<Report>,
}

/// Runs the command.
pub(crate) fn command(args: &CompareArgs) -> Result<ExitCode, Failure> {
    worker::probe_ring()?;
    worker::raise_descriptor_limit();
    let interrupt = run::interrupt()?;
    let template = match &args.config {
        Some(path) => read(path)?,
        None => launch::TEMPLATE.to_owned(),
    };
    let mut contestants = [Contestant::new("a", &args.a), Contestant::new("b", &args.b)];
    let mut runs = [Vec::new(), Vec::new()];
    for round in 0..args.rounds {
        for who in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let contestant = &mut contestants[who];
            let report = contestant.measure(args, &template, &interrupt)?;
            eprintln!(
                "zkbench: round {} of {}, {}: {:.0} ops/s, {} errors",
                round + 1,
                args.rounds,
                contestant.name,
                report.ops_per_s,
                report.errors
            );
            runs[who].push(report);
            if interrupt.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
        }
    }
    drop(contestants);
    let [runs_a, runs_b] = runs;
    let report = CompareReport {
        a: args.a.clone(),
        b: args.b.clone(),
        rounds: args.rounds,
        comparisons: compare(&runs_a, &runs_b),
        client_was_the_limit: was_the_limit(&runs_a) || was_the_limit(&runs_b),
        runs_a,
        runs_b,
    };
    report::write(&report, &render(&report), args.load.json.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn was_the_limit(runs: &[Report]) -> bool {
    runs.iter().any(|run| run.client.client_was_the_limit)
}

/// Every figure that all runs of both have.
fn compare(runs_a: &[Report], runs_b: &[Report]) -> Vec<Comparison> {
    let Some(first) = runs_a.first() else { return Vec::new() };
    let of = |runs: &[Report], name: &str| -> Option<Vec<f64>> {
        let figure = |run: &Report| metrics(run).into_iter().find(|metric| metric.0 == name);
        runs.iter().map(|run| figure(run).map(|metric| metric.2)).collect()
    };
    let both = |(name, better, _): (String, Better, f64)| {
        let (a, b) = (of(runs_a, &name)?, of(runs_b, &name)?);
        Comparison::new(name, better, &a, &b)
    };
    metrics(first).into_iter().filter_map(both).collect()
}

fn metrics(run: &Report) -> Vec<(String, Better, f64)> {
    let mut metrics = Vec::new();
    for (name, kind) in &run.kinds {
        metrics.push((format!("{name} ops/s"), Better::Higher, kind.ops_per_s));
        if let Some(us) = &kind.latency_us {
            for (quantile, value) in [("p50", us.p50), ("p99", us.p99), ("p99.9", us.p999)] {
                metrics.push((format!("{name} {quantile} us"), Better::Lower, value));
            }
        }
    }
    if let Some(server) = &run.server {
        if let Some(cpu) = server.cpu_us_per_op {
            metrics.push(("server CPU us/op".into(), Better::Lower, cpu));
        }
        let mib = report::ratio(server.rss_peak_bytes, 1 << 20);
        metrics.push(("server memory MiB".into(), Better::Lower, mib));
    }
    metrics
}

fn render(report: &CompareReport) -> String {
    let mut lines = vec![format!("A  {}", report.a), format!("B  {}", report.b)];
    if let Some(run) = report.runs_a.first() {
        let options: Vec<_> =
            run.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (rounds, options) = (report.rounds, options.join(" "));
        lines.push(format!("{rounds} rounds of: {options} seed={}", run.seed));
    }
    lines.push(verdict::table(&report.comparisons));
    let errors = |runs: &[Report]| runs.iter().map(|run| run.errors).sum::<u64>();
    let (a, b) = (errors(&report.runs_a), errors(&report.runs_b));
    if a + b > 0 {
        lines.push(format!("WARNING   errors: A {a}, B {b}"));
    }
    if report.client_was_the_limit {
        lines.push(text::CLIENT_LIMIT.to_owned());
    }
    if report.runs_a.iter().chain(&report.runs_b).any(|run| !run.environment.optimized) {
        lines.push(text::DEBUG_BUILD.to_owned());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_commands_are_told_apart() {
        let running = |servers: &[&str], pids: &[u32]| Target::Running {
            servers: servers.iter().map(|server| (*server).to_owned()).collect(),
            pids: pids.to_vec(),
        };
        assert_eq!(Target::parse("127.0.0.1:2181"), running(&["127.0.0.1:2181"], &[]));
        assert_eq!(Target::parse("localhost:2181@77"), running(&["localhost:2181"], &[77]));
        assert_eq!(Target::parse("a:1,b:2"), running(&["a:1", "b:2"], &[]));
        assert_eq!(Target::parse("a:1,b:2@7,8"), running(&["a:1", "b:2"], &[7, 8]));
        for command in ["/opt/zk.sh", "zkserver start-foreground", "a:x", "env A=b:1 x", "a:1@x"] {
            assert_eq!(Target::parse(command), Target::Command(command.into()), "{command}");
        }
    }
}
