//! `--failover N`: `kill -9` of the leader, N times on our ensemble and N times on Java's, in turn,
//! and how long no write was acknowledged to a client of a survivor.

use std::path::Path;
use std::time::Duration;

use super::REFERENCE;
use crate::cluster::{Cluster, Kind, Network, SAMPLE};
use crate::load::prober::Prober;
use crate::options::Options;

/// Gaps of one ensemble.
struct Gaps(Vec<Duration>);

impl Gaps {
    fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted[sorted.len() / 2]
    }

    fn worst(&self) -> Duration {
        *self.0.iter().max().expect("at least one kill")
    }

    fn text(&self) -> String {
        format!("median {} ms, worst {} ms", self.median().as_millis(), self.worst().as_millis())
    }
}

/// The trial.
pub fn failover(options: &Options, dir: &Path) -> Result<String, String> {
    let kills = options.number("--failover", 20)?;
    let reference = Kind::parse_list(options.text("--against", REFERENCE))?;
    let ours = options.servers("R,R,R")?;
    let mut clusters = Vec::new();
    for (name, kinds) in [("ours", ours), ("reference", reference)] {
        let mut cluster = Cluster::prepare(&kinds, Network::Loopback, SAMPLE, &dir.join(name))?;
        cluster.start().map_err(|why| format!("{name}: {why}"))?;
        clusters.push((name, cluster, Gaps(Vec::new())));
    }
    for kill in 1..=kills {
        for (name, cluster, gaps) in &mut clusters {
            let gap =
                one_kill(cluster, kill).map_err(|why| format!("{name}: kill {kill}: {why}"))?;
            println!("  kill {kill} {name}: {} ms", gap.as_millis());
            gaps.0.push(gap);
        }
    }
    let [(_, _, ours), (_, _, reference)] = &clusters[..] else { unreachable!("two of them") };
    let ratio = ours.median().as_secs_f64() / reference.median().as_secs_f64();
    Ok(format!(
        "{kills} kills each; {}: {}; {}: {}; ratio of medians {ratio:.2}",
        options.text("--servers", "R,R,R"),
        ours.text(),
        options.text("--against", REFERENCE),
        reference.text()
    ))
}

fn one_kill(cluster: &mut Cluster, number: u64) -> Result<Duration, String> {
    let leader = cluster.wait_leader(&[])?;
    let survivors = (0..cluster.nodes.len()).filter(|at| *at != leader);
    let servers = survivors.map(|at| cluster.nodes[at].place.client).collect();
    let prober = Prober::start(servers, format!("/probe{number}"))?;
    prober.wait_progress(50)?;
    prober.take_gap();
    cluster.kill(leader)?;
    prober.wait_progress(50)?;
    let gap = prober.take_gap();
    prober.stop()?;
    cluster.spawn(leader)?;
    cluster.wait_serving()?;
    Ok(gap)
}
