//! A report for people.

use std::fmt::Write as _;

use super::process::ServerUse;
use super::{ClientUse, KindReport, Latency, Report};

/// A figure of one is no figure.
pub(crate) const DEBUG_BUILD: &str = "WARNING   zkbench is a debug build";
/// Nor is one of a server that was never pressed.
pub(crate) const CLIENT_LIMIT: &str =
    "WARNING   zkbench itself was the limit: give it more --threads";

/// The table of a run.
pub(crate) fn render(report: &Report) -> String {
    let mut out = String::new();
    let version = report.server_version.as_deref().unwrap_or("version not told");
    line(&mut out, format_args!("servers   {} ({version})", report.servers.join(",")));
    let options: Vec<_> =
        report.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
    line(&mut out, format_args!("run       {} seed={}", options.join(" "), report.seed));
    let environment = &report.environment;
    let cpu = environment.cpu.as_deref().unwrap_or("unknown CPU");
    line(
        &mut out,
        format_args!("machine   {} x {cpu}, Linux {}", environment.cores, environment.kernel),
    );
    if !environment.optimized {
        line(&mut out, format_args!("{DEBUG_BUILD}"));
    }
    if report.interrupted {
        line(&mut out, format_args!("WARNING   interrupted"));
    }
    line(
        &mut out,
        format_args!(
            "total     {} ok in {:.2} s = {} ops/s, {} errors",
            report.ok,
            report.seconds,
            round(report.ops_per_s),
            report.errors
        ),
    );
    table(&mut out, report);
    notes(&mut out, report);
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a string takes everything");
}

/// Three digits are enough for people.
fn round(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn table(out: &mut String, report: &Report) {
    line(
        out,
        format_args!(
            "{:<16}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "us", "ops/s", "p50", "p90", "p99", "p99.9", "max", "errors"
        ),
    );
    for (name, kind) in &report.kinds {
        row(out, name, Some(kind), kind.latency_us.as_ref());
        if kind.service_us.is_some() {
            row(out, &format!("  {name} service"), None, kind.service_us.as_ref());
        }
        for (code, count) in &kind.errors {
            line(out, format_args!("  {name} {code}: {count}"));
        }
    }
}

fn row(out: &mut String, name: &str, kind: Option<&KindReport>, latency: Option<&Latency>) {
    let rate = kind.map_or_else(String::new, |kind| round(kind.ops_per_s));
    let errors =
        kind.map_or_else(String::new, |kind| kind.errors.values().sum::<u64>().to_string());
    let cells = latency.map_or_else(
        || ["-"; 5].map(str::to_owned),
        |us| [us.p50, us.p90, us.p99, us.p999, us.max].map(round),
    );
    let [p50, p90, p99, p999, max] = cells;
    line(
        out,
        format_args!(
            "{name:<16}{rate:>10}{p50:>10}{p90:>10}{p99:>10}{p999:>10}{max:>10}{errors:>10}"
        ),
    );
}

fn notes(out: &mut String, report: &Report) {
    let connections = &report.connections;
    if connections.lost + connections.connects_failed + connections.sessions_expired > 0 {
        line(
            out,
            format_args!(
                "connections {} lost, {} attempts failed, {} sessions expired",
                connections.lost, connections.connects_failed, connections.sessions_expired
            ),
        );
    }
    if let Some(fault) = &connections.first_fault {
        line(out, format_args!("            the first: {fault}"));
    }
    if connections.protocol_faults > 0 {
        line(out, format_args!("WARNING   {} protocol faults", connections.protocol_faults));
    }
    if let Some(server) = &report.server {
        server_use(out, server);
    }
    client_use(out, &report.client);
}

fn server_use(out: &mut String, server: &ServerUse) {
    let mib = |bytes: u64| round(super::ratio(bytes, 1 << 20));
    let cpu = server.cpu_us_per_op.map_or_else(|| "-".into(), |cpu| format!("{cpu:.2}"));
    line(
        out,
        format_args!(
            "server    {cpu} us CPU/op, {:.2} cores; memory {} MiB before, {} peak, {} after{}",
            server.cores,
            mib(server.rss_before_bytes),
            mib(server.rss_peak_bytes),
            mib(server.rss_after_bytes),
            if server.gone { "; GONE" } else { "" }
        ),
    );
    if let Some(bytes) = server.disk_written_bytes_per_op.filter(|bytes| *bytes > 0.0) {
        line(out, format_args!("          {} bytes written to disk/op", round(bytes)));
    }
}

fn client_use(out: &mut String, client: &ClientUse) {
    let percents = |shares: &[f64]| {
        let texts: Vec<_> = shares.iter().map(|share| format!("{:.0}", share * 100.0)).collect();
        texts.join("/")
    };
    let cpu = client.cpu_us_per_op.map_or_else(|| "-".into(), |cpu| format!("{cpu:.2}"));
    line(
        out,
        format_args!(
            "zkbench   {cpu} us CPU/op, threads {} % busy, {} % waiting for a core",
            percents(&client.thread_busy),
            percents(&client.thread_waiting)
        ),
    );
    if let Some(lag) = &client.lag_us {
        line(
            out,
            format_args!(
                "          due to sent: p50 {} p99 {} max {} us; {} never sent",
                round(lag.p50),
                round(lag.p99),
                round(lag.max),
                client.unsent
            ),
        );
    }
    if client.client_was_the_limit {
        line(out, format_args!("{CLIENT_LIMIT}"));
    }
}
