//! `--wiped ZNODES`: a follower whose disk was replaced comes back while others write as much as
//! they can: it is sent the whole tree, and what is written meanwhile, and then all have the same.
//! The last follower of `--servers` it is. A tree is compared by its count and by the digests that
//! come with each txn.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringkeeper::clock::Clock;

use crate::cluster::node::LOOK_EVERY;
use crate::cluster::{Cluster, Network, Role};
use crate::measure::{BENCH, PATIENT, fill};
use crate::options::Options;
use crate::round::{compare, digest};
use crate::support::wait_for_every;

const JOIN_PATIENCE: Duration = Duration::from_mins(3);

/// Those that the load makes before it writes to them.
const LOAD_ZNODES: i64 = 10_000;

/// Longer than that, so that it does not end by itself.
const LOAD_FOR: &str = "600s";

/// The trial.
pub fn wiped(options: &Options, dir: &Path) -> Result<String, String> {
    let znodes = options.number("--wiped", 300_000)?;
    let kinds = options.servers("R,R,R")?;
    let mut cluster = Cluster::prepare(&kinds, Network::Loopback, PATIENT, dir)?;
    cluster.start()?;
    fill(&cluster, "many", znodes)?;
    let follows = |at: &usize| cluster.nodes[*at].role() == Some(Role::Follower);
    let victim = (0..kinds.len()).rev().find(follows).ok_or("no follower")?;
    cluster.kill(victim)?;
    let data = cluster.nodes[victim].server.data.join("version-2");
    fs::remove_dir_all(&data).map_err(|err| format!("{}: {err}", data.display()))?;
    let leader = cluster.wait_leader(&[victim])?;
    let load = Writing::start(&cluster, leader)?;
    let (before, clock) = (zxid(&cluster, leader)?, Clock::start());
    cluster.spawn(victim)?;
    cluster.nodes[victim].wait_serving(JOIN_PATIENCE)?;
    let took = clock.now().0;
    let meanwhile = zxid(&cluster, leader)? - before;
    load.stop()?;
    compare::same_counts(&cluster)?;
    digest::no_mismatch(&cluster)?;
    cluster.none_ended()?;
    Ok(format!("it serves after {took} ms, {meanwhile} writes meanwhile"))
}

fn zxid(cluster: &Cluster, at: usize) -> Result<i64, String> {
    let text = cluster.nodes[at].server.word("srvr").map_err(|err| err.to_string())?;
    let zxid = text.lines().find_map(|line| line.strip_prefix("Zxid: 0x"));
    zxid.and_then(|zxid| i64::from_str_radix(zxid, 16).ok()).ok_or(format!("no zxid in {text}"))
}

/// A load that goes on until it is told to stop.
struct Writing(Child);

impl Writing {
    /// Returns when it has made its znodes: killed amid that, it would leave creates under way.
    fn start(cluster: &Cluster, leader: usize) -> Result<Self, String> {
        let leader = &cluster.nodes[leader];
        let count = || leader.metric("zk_znode_count");
        let all = count().ok_or("the leader does not count its znodes")? + LOAD_ZNODES;
        let mut command = Command::new(BENCH);
        let server = leader.place.client.to_string();
        command.args(["run", "--servers", &server, "--workload", "set", "--quiet"]);
        command.args(["--znodes", &LOAD_ZNODES.to_string(), "--duration", LOAD_FOR]);
        command.args(["--sessions", "8", "--in-flight", "64", "--timeout", "60s"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let load = Self(child.map_err(|err| format!("{BENCH}: {err}"))?);
        let made = || count().is_some_and(|count| count >= all);
        if wait_for_every(LOOK_EVERY, JOIN_PATIENCE, made) {
            Ok(load)
        } else {
            Err(format!("the load has not made its znodes after {JOIN_PATIENCE:?}"))
        }
    }

    /// It must have been at work until now.
    fn stop(mut self) -> Result<(), String> {
        if let Some(status) = self.0.try_wait().map_err(|err| err.to_string())? {
            return Err(format!("the load ended before it was told to: {status}"));
        }
        let ended = self.0.kill().and_then(|()| self.0.wait());
        ended.map(drop).map_err(|err| err.to_string())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}
