//! What a run found, as numbers (JSON) and as a table.

pub(crate) mod environment;
pub(crate) mod process;
pub(crate) mod progress;
pub(crate) mod tally;
pub(crate) mod text;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::Failure;
use crate::load::tree;
use crate::load::workload::Kind;
use environment::Environment;
use process::{ServerUse, ThreadCpu};
use tally::Tally;

/// A thread busier than this was what the run measured.
const CLIENT_BUSY_MAX: f64 = 0.95;

/// The quotient of two counts; nothing here comes near 2^53.
#[expect(clippy::cast_precision_loss, reason = "a report's digits are far fewer than a float's")]
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Latencies in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    #[serde(rename = "p99.9")]
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Latency {
    /// `None` of nothing.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let micros = |nanos: u64| ratio(nanos, 1000);
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Some(Self {
            mean: histogram.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(histogram.max()),
        })
    }
}

/// Of one kind of request.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KindReport {
    pub(crate) ok: u64,
    pub(crate) ops_per_s: f64,
    /// From due to reply (in a closed loop requests are sent when due).
    pub(crate) latency_us: Option<Latency>,
    /// From sent to reply; only of an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_us: Option<Latency>,
    pub(crate) errors: BTreeMap<String, u64>,
}

/// How the generator itself fared.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ClientUse {
    /// Share of the time that each thread ran.
    pub(crate) thread_busy: Vec<f64>,
    /// Share of the time that each thread was ready and something else ran on its core.
    pub(crate) thread_waiting: Vec<f64>,
    pub(crate) cpu_us_per_op: Option<f64>,
    /// A thread was busy all the time: the figures are the generator's, not the server's.
    pub(crate) client_was_the_limit: bool,
    /// From due to sent; only of an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lag_us: Option<Latency>,
    /// Requests that were due and never sent.
    pub(crate) unsent: u64,
}

/// What became of the connections.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Connections {
    pub(crate) lost: u64,
    pub(crate) connects_failed: u64,
    pub(crate) sessions_expired: u64,
    pub(crate) protocol_faults: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_fault: Option<String>,
}

/// Everything about one run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) options: BTreeMap<&'static str, serde_json::Value>,
    pub(crate) seed: u64,
    pub(crate) servers: Vec<String>,
    pub(crate) server_version: Option<String>,
    pub(crate) environment: Environment,
    /// Cut short by a signal.
    pub(crate) interrupted: bool,
    pub(crate) seconds: f64,
    pub(crate) ok: u64,
    pub(crate) ops_per_s: f64,
    pub(crate) errors: u64,
    pub(crate) kinds: BTreeMap<&'static str, KindReport>,
    pub(crate) connections: Connections,
    pub(crate) server: Option<ServerUse>,
    pub(crate) client: ClientUse,
    /// Replies in each second of the measurement, errors too.
    pub(crate) per_second: Vec<u64>,
}

/// One entry for each kind that happened; `seconds` is the time that it happened in.
pub(crate) fn kinds(
    tally: &Tally,
    seconds: impl Fn(Kind) -> f64,
) -> BTreeMap<&'static str, KindReport> {
    let happened = Kind::ALL.into_iter().filter(|kind| {
        let kind = tally.kind(*kind);
        !(kind.latency.is_empty() && kind.errors.is_empty())
    });
    happened.map(|kind| (kind.name(), kind_report(tally, kind, seconds(kind)))).collect()
}

fn kind_report(tally: &Tally, kind: Kind, seconds: f64) -> KindReport {
    let kind = tally.kind(kind);
    let errors = kind.errors.iter().map(|(code, count)| (tree::name(*code), *count));
    KindReport {
        ok: kind.latency.len(),
        ops_per_s: ratio(kind.latency.len(), 1) / seconds,
        latency_us: Latency::of(&kind.latency),
        service_us: Latency::of(&kind.service),
        errors: errors.collect(),
    }
}

/// How the generator fared, its threads' times given.
pub(crate) fn client(tally: &Tally, threads: &[ThreadCpu]) -> ClientUse {
    let share = |part: u64, cpu: &ThreadCpu| ratio(part, cpu.span.max(1));
    let busy: Vec<_> = threads.iter().map(|cpu| share(cpu.busy, cpu)).collect();
    let cpu_ns: u64 = threads.iter().map(|cpu| cpu.busy).sum();
    ClientUse {
        client_was_the_limit: busy.iter().any(|busy| *busy > CLIENT_BUSY_MAX),
        thread_busy: busy,
        thread_waiting: threads.iter().map(|cpu| share(cpu.waiting, cpu)).collect(),
        cpu_us_per_op: (tally.ok() > 0).then(|| ratio(cpu_ns, tally.ok()) / 1000.0),
        lag_us: Latency::of(&tally.lag),
        unsent: tally.unsent,
    }
}

/// What became of the connections.
pub(crate) fn connections(tally: &Tally) -> Connections {
    Connections {
        lost: tally.connections_lost,
        connects_failed: tally.connects_failed,
        sessions_expired: tally.sessions_expired,
        protocol_faults: tally.protocol_faults,
        first_fault: tally.first_fault.clone(),
    }
}

/// Writes a report for people to standard output, and as JSON where asked; when that is standard
/// output, the one for people goes to standard error.
pub(crate) fn write(
    report: &impl Serialize,
    text: &str,
    json: Option<&Path>,
) -> Result<(), Failure> {
    match json {
        Some(path) if path.as_os_str() == "-" => {
            eprint!("{text}");
            let mut out = io::stdout().lock();
            serde_json::to_writer_pretty(&mut out, report)?;
            writeln!(out)?;
        }
        Some(path) => {
            print!("{text}");
            let mut file =
                File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
            serde_json::to_writer_pretty(&mut file, report)?;
            writeln!(file)?;
        }
        None => print!("{text}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_values() {
        let mut tally = Tally::new();
        (1..=1000).for_each(|micros| tally.record(Kind::Get, micros * 1000));
        tally.error(Kind::Get, -4);
        let kinds = kinds(&tally, |_| 2.0);
        let get = &kinds["get"];
        assert_eq!((kinds.len(), get.ok, get.errors["ConnectionLoss"]), (1, 1000, 1));
        assert!((get.ops_per_s - 500.0).abs() < 1e-9);
        let latency = get.latency_us.clone().unwrap();
        let near = |found: f64, expected: f64| (found - expected).abs() / expected < 0.002;
        assert!(near(latency.p50, 500.0) && near(latency.p90, 900.0) && near(latency.p99, 990.0));
        assert!(near(latency.p999, 999.0) && near(latency.max, 1000.0));
        assert!(get.service_us.is_none());
    }

    #[test]
    fn a_busy_thread_is_the_limit() {
        for (busy, limit) in [(940, false), (960, true)] {
            let cpu = ThreadCpu { busy, waiting: 0, span: 1000 };
            assert_eq!(client(&Tally::new(), &[cpu]).client_was_the_limit, limit);
        }
    }
}
