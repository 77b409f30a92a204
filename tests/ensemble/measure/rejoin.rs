//! `--rejoin TXNS`: a follower that has `--znodes` znodes and missed that many txns comes back: the
//! time from its start until it serves, ours and Java's.

use std::path::Path;
use std::time::Duration;

use ringkeeper::clock::Clock;

use super::{PATIENT, REFERENCE, fill};
use crate::cluster::{Cluster, Kind, Network, Role};
use crate::options::Options;
use crate::round::compare;

/// Java holds a million znodes in this.
const HEAP: &str = "2g";

/// The trial.
pub fn rejoin(options: &Options, dir: &Path) -> Result<String, String> {
    let txns = options.number("--rejoin", 10_000)?;
    let znodes = options.number("--znodes", 1_000_000)?;
    let times = options.number("--times", 3)?;
    let mut medians = Vec::new();
    for list in [options.text("--servers", "R,R,R"), options.text("--against", REFERENCE)] {
        let dir = dir.join(list.replace(',', ""));
        let took = measure(&Kind::parse_list(list)?, znodes, txns, times, &dir)
            .map_err(|why| format!("{list}: {why}"))?;
        println!("  {list}: {took:?}");
        medians.push(took[took.len() / 2]);
        std::fs::remove_dir_all(&dir).map_err(|err| err.to_string())?;
    }
    let ratio = medians[0].as_secs_f64() / medians[1].as_secs_f64();
    Ok(format!("{znodes} znodes, {txns} txns behind: medians {medians:?}, ratio {ratio:.2}"))
}

/// Sorted times from a follower's start until it serves.
fn measure(
    kinds: &[Kind],
    znodes: u64,
    txns: u64,
    times: u64,
    dir: &Path,
) -> Result<Vec<Duration>, String> {
    let mut cluster = Cluster::prepare(kinds, Network::Loopback, PATIENT, dir)?;
    for node in &mut cluster.nodes {
        node.server.spec.command.splice(0..0, ["env".to_owned(), format!("JAVA_HEAP={HEAP}")]);
    }
    cluster.start()?;
    fill(&cluster, "many", znodes)?;
    let mut took = Vec::new();
    for time in 0..times {
        let follows = |at: &usize| cluster.nodes[*at].role() == Some(Role::Follower);
        let victim = (0..kinds.len()).find(follows).ok_or("no follower")?;
        cluster.stop(victim)?;
        fill(&cluster, &format!("more{time}"), txns)?;
        let clock = Clock::start();
        cluster.spawn(victim)?;
        cluster.nodes[victim].wait_serving(Duration::from_mins(5))?;
        took.push(clock.elapsed());
    }
    compare::same_counts(&cluster)?;
    took.sort();
    Ok(took)
}
