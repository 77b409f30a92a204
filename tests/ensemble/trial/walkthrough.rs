//! `--walkthrough`: what somebody who sets up three servers by the book does, and what he sees.
//!
//! Three machines with names, the same configuration on each, started in the order 1, 2, 3. The
//! same must hold for Java (`--servers J39,J39,J39`), or the test asks for too much.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::cluster::node::said;
use crate::cluster::{Cluster, Role};
use crate::load::Load;
use crate::options::Options;
use crate::round::compare;
use crate::support::{Random, wait_for, wait_for_every};

const SETTINGS: &[&str] = &["tickTime=2000", "initLimit=5", "syncLimit=2"];
const PATIENCE: Duration = Duration::from_mins(1);

/// What the log of node 1 tells, in this order: of each line one of its forms, in any case.
const STORY: &[&[&str]] = &[
    &["reading configuration from"],
    &["starting quorum peer"],
    &["binding to port"],
    &["ticktime set to 2000"],
    &["minsessiontimeout set to"],
    &["maxsessiontimeout set to"],
    &["initlimit set to 5"],
    &[":3888"],
    &["looking"],
    &["new election. my id"],
    &["notification: my state:looking; n.sid:1"],
    &["cannot open channel to 2 at election address slave-02/"],
    &["notification time out: 400"],
    &["notification time out: 800"],
    &["notification time out: 1600"],
    &["n.sid:2"],
    &["following"],
    &["tcp nodelay set to"],
    &["created server with ticktime 2000 ms minsessiontimeout 4000 ms maxsessiontimeout 40000"],
    &["getting a diff from the leader", "getting a snapshot from leader"],
    &["n.sid:3"],
];

/// What the guide shows too, and Java 3.9 does not or elsewhere.
const ALSO: &[&str] = &["defaulting to majority quorums", "server environment:"];

/// The trial.
pub fn walkthrough(options: &Options, dir: &Path) -> Result<String, String> {
    let kinds = options.servers("R,R,R")?;
    let mut network = crate::network(options, kinds.len())?;
    network.name_hosts("slave-")?;
    let mut cluster = Cluster::prepare(&kinds, network, SETTINGS, dir)?;
    start_in_order(&mut cluster)?;
    let story = story_of_node_1(&cluster)?;
    for at in 0..cluster.nodes.len() {
        connects(&cluster, at, "zkCli.sh", zk_cli)?;
        connects(&cluster, at, "kazoo", kazoo)?;
    }
    println!("  zkCli.sh and kazoo connect to each; node 1's log tells {story} of the story");
    let lost = leader_dies_under_load(&mut cluster)?;
    Ok(format!("modes follower, leader, follower; {lost}"))
}

/// Node 1 alone finds nobody; with 2 there is a quorum, which 2 leads; 3 joins it.
fn start_in_order(cluster: &mut Cluster) -> Result<(), String> {
    cluster.spawn(0)?;
    let alone = &cluster.nodes[0];
    let waited = wait_for_every(Duration::from_millis(50), PATIENCE, || {
        alone.server.log().to_lowercase().contains("notification time out: 1600")
    });
    if !waited {
        return Err(format!("node 1 alone does not look on: {}", alone.server.log_tail(20)));
    }
    for at in 1..cluster.nodes.len() {
        cluster.spawn(at)?;
        for started in 0..=at {
            cluster.nodes[started].wait_serving(PATIENCE)?;
        }
    }
    let expected = [Some(Role::Follower), Some(Role::Leader), Some(Role::Follower)];
    let roles = cluster.roles();
    if roles == expected { Ok(()) } else { Err(format!("the modes are {roles:?}")) }
}

/// All lines of the story, in order; a stack trace is not one of them.
fn story_of_node_1(cluster: &Cluster) -> Result<String, String> {
    let node = &cluster.nodes[0];
    let mut missing = None;
    wait_for(PATIENCE, || {
        missing = first_missing(&node.server.log());
        missing.is_none()
    });
    if let Some(at) = missing {
        return Err(format!("node 1's log lacks {:?} after {:?}", STORY[at], &STORY[..at]));
    }
    let log = node.server.log();
    if !node.kind.program.is_java() {
        if log.lines().any(|line| line.starts_with("\tat ")) {
            return Err("there is a stack trace in node 1's log".to_owned());
        }
        let told = log.to_lowercase();
        if let Some(line) = ALSO.iter().find(|line| !told.contains(**line)) {
            return Err(format!("node 1's log lacks {line:?}"));
        }
    }
    Ok(format!("all {} lines", STORY.len()))
}

/// The first line of the story that does not come after those before it.
fn first_missing(log: &str) -> Option<usize> {
    let lines: Vec<_> = log.lines().map(str::to_lowercase).collect();
    let mut from = 0;
    for (at, forms) in STORY.iter().enumerate() {
        let found =
            lines[from..].iter().position(|line| forms.iter().any(|form| line.contains(form)));
        match found {
            // the next may stand on the same line
            Some(found) => from += found,
            None => return Some(at),
        }
    }
    None
}

fn connects(
    cluster: &Cluster,
    at: usize,
    name: &str,
    client: fn(&str) -> Command,
) -> Result<(), String> {
    let address = cluster.nodes[at].place.client.to_string();
    let output = client(&address).output().map_err(|err| format!("{name}: {err}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && text.lines().any(|line| line == "[zookeeper]") {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name} on {}: {text}\n{errors}", cluster.nodes[at].label()))
}

fn zk_cli(address: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["60", "/usr/share/zookeeper/bin/zkCli.sh", "-server", address, "ls", "/"]);
    command
}

fn kazoo(address: &str) -> Command {
    let setup = format!("{}/tests/setup", env!("CARGO_MANIFEST_DIR"));
    let code = "import sys\nfrom kazoo.client import KazooClient\n\
                z = KazooClient(sys.argv[1]); z.start(30)\n\
                print('[' + ', '.join(z.get_children('/')) + ']'); z.stop()";
    let script = r#"exec timeout 60 "$("$0" --cache)/kazoo/bin/python" -c "$1" "$2""#;
    let mut command = Command::new("bash");
    command.args(["-c", script, &setup, code, address]);
    command
}

/// Somebody else leads, and every session lives on with its ephemeral.
fn leader_dies_under_load(cluster: &mut Cluster) -> Result<String, String> {
    let mut random = Random::new(1);
    let load = Load::start(cluster, "/walkthrough", 6, 100, &mut random)?;
    load.wait_progress(100)?;
    let old = cluster.wait_leader(&[])?;
    cluster.kill(old)?;
    let new = cluster.wait_leader(&[old])?;
    load.wait_progress(100)?;
    cluster.spawn(old)?;
    cluster.wait_serving()?;
    let outcomes = load.stop()?;
    let tree = compare::same_everywhere(cluster)?;
    for outcome in &outcomes {
        outcome.ledger.verify(&tree)?;
        outcome.owns_its_ephemeral(&tree)?;
    }
    cluster.none_ended().map_err(said)?;
    let (old, new) = (cluster.nodes[old].id, cluster.nodes[new].id);
    Ok(format!("node {new} leads after node {old}; sessions and ephemerals survive"))
}
