//! Trials that measure: the same on our ensemble and on Java's, in one run. They tell, and judge
//! nothing: on a machine with other work a figure proves little.

pub mod failover;
pub mod rejoin;
pub mod throughput;

use std::process::Command;

use crate::cluster::Cluster;

/// What ours is measured against.
const REFERENCE: &str = "J39,J39,J39";

/// As in the sample, but patient with a large tree.
pub const PATIENT: &[&str] = &["tickTime=2000", "initLimit=60", "syncLimit=10"];

/// The load generator, as released.
pub const BENCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/release/zkbench");

/// Creates so many znodes of 100 bytes through the leader.
pub fn fill(cluster: &Cluster, folder: &str, znodes: u64) -> Result<(), String> {
    let leader = cluster.wait_leader(&[])?;
    let server = cluster.nodes[leader].place.client.to_string();
    let output = Command::new(BENCH)
        .args(["run", "--servers", &server, "--workload", "load", "--keep", "--quiet"])
        .args(["--znodes", &znodes.to_string(), "--folder", folder, "--timeout", "60s"])
        .args(["--sessions", "8", "--in-flight", "64"])
        .output()
        .map_err(|err| format!("{BENCH}: {err}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{BENCH}: {}", String::from_utf8_lossy(&output.stderr)))
}
