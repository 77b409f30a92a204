//! `--throughput`: setData of 100 bytes, 9 sessions with 16 in flight over three nodes, ours and
//! Java's in turn (`zkbench compare`), with the CPU time of all three servers together.

use std::path::Path;
use std::process::Command;

use super::{BENCH, REFERENCE};
use crate::cluster::{Cluster, Kind, Network, SAMPLE};
use crate::options::Options;

/// The trial.
pub fn throughput(options: &Options, dir: &Path) -> Result<String, String> {
    let ours = options.servers("R,R,R")?;
    let reference = Kind::parse_list(options.text("--against", REFERENCE))?;
    let ours = start(&ours, &dir.join("ours"))?;
    let reference = start(&reference, &dir.join("reference"))?;
    let rounds = options.number("--throughput", 3)?.to_string();
    let duration = options.text("--duration", "10s");
    let output = Command::new(BENCH)
        .args(["compare", "--a", &target(&ours), "--b", &target(&reference)])
        .args(["--rounds", &rounds, "--duration", duration, "--workload", "set", "--quiet"])
        .args(["--sessions", "9", "--in-flight", "16", "--value-bytes", "100"])
        .output()
        .map_err(|err| format!("{BENCH}: {err}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{BENCH}: {}\n{text}{errors}", output.status));
    }
    println!("{text}");
    let warning = text.lines().find(|line| line.starts_with("WARNING"));
    warning.map_or_else(|| Ok("see the table".to_owned()), |warning| Err(warning.to_owned()))
}

fn start(kinds: &[Kind], dir: &Path) -> Result<Cluster, String> {
    let mut cluster = Cluster::prepare(kinds, Network::Loopback, SAMPLE, dir)?;
    cluster.start()?;
    Ok(cluster)
}

/// `host:port,…@pid,…`
fn target(cluster: &Cluster) -> String {
    let join = |parts: Vec<String>| parts.join(",");
    let addresses = cluster.addresses().iter().map(ToString::to_string).collect();
    let pids = cluster.nodes.iter().map(|node| node.server.pid().to_string()).collect();
    format!("{}@{}", join(addresses), join(pids))
}
