//! `--walkthrough`: what somebody who sets up three servers by the book does, and what he sees.
//!
//! Three machines with names, the same configuration on each, started in the order 1, 2, 3 with
//! `zkserver start`, asked with `zkserver status`, stopped with `zkserver stop`. Then with a wrong
//! hosts file. Then the leader dies under load. The same must hold for Java
//! (`--servers J39,J39,J39`), or the test asks for too much.

use std::path::Path;
use std::process::Command;

use crate::cluster::node::said;
use crate::cluster::{Cluster, Role};
use crate::load::Load;
use crate::options::Options;
use crate::round::compare;
use crate::support::{Random, wait_for};
use crate::trial::mapping::wrong_mapping;
use crate::trial::operator::{Operator, PATIENCE};

const SETTINGS: &[&str] = &["tickTime=2000", "initLimit=5", "syncLimit=2"];

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

/// Another thread tells this, before the first time-out as a rule.
const DIALED: &[&[&str]] = &[
    &["new election. my id"],
    &["cannot open channel to 2 at election address slave-02/"],
    &["n.sid:2"],
];

/// What the guide shows too, and Java 3.9 does not or elsewhere.
const ALSO: &[&str] = &["defaulting to majority quorums", "server environment:"];

/// The trial.
pub fn walkthrough(options: &Options, dir: &Path) -> Result<String, String> {
    let kinds = options.servers("R,R,R")?;
    let mut network = crate::network(options, kinds.len())?;
    network.name_hosts("slave-")?;
    let mut cluster = Cluster::prepare(&kinds, network, SETTINGS, dir)?;
    let named = by_the_book(&mut Operator { cluster: &mut cluster })?;
    println!("  a wrong hosts file is named: {named}");
    cluster.start()?;
    let lost = leader_dies_under_load(&mut cluster)?;
    Ok(format!("modes follower, leader, follower; {lost}"))
}

/// Everything that an operator does and sees.
fn by_the_book(operator: &mut Operator<'_>) -> Result<String, String> {
    start_in_order(operator)?;
    let story = story_of_node_1(operator.cluster)?;
    for at in 0..operator.cluster.nodes.len() {
        connects(operator.cluster, at, "zkCli.sh", zk_cli)?;
        connects(operator.cluster, at, "kazoo", kazoo)?;
    }
    println!("  zkCli.sh and kazoo connect to each; node 1's log tells {story} of the story");
    (0..operator.cluster.nodes.len()).try_for_each(|at| operator.stop(at))?;
    let named = wrong_mapping(operator)?;
    (0..2).try_for_each(|at| operator.stop(at))?;
    Ok(named)
}

/// Node 1 alone finds nobody; with 2 there is a quorum, which 2 leads; 3 joins it.
fn start_in_order(operator: &mut Operator<'_>) -> Result<(), String> {
    operator.start(0)?;
    operator.line(0, 0, &["otification time out: 1600"])?;
    operator.start(1)?;
    operator.expect_modes(&[Role::Follower, Role::Leader])?;
    operator.start(2)?;
    operator.expect_modes(&[Role::Follower, Role::Leader, Role::Follower])
}

/// All lines of the story, in order; a stack trace is not one of them.
fn story_of_node_1(cluster: &Cluster) -> Result<String, String> {
    let node = &cluster.nodes[0];
    for story in [STORY, DIALED] {
        let mut missing = None;
        wait_for(PATIENCE, || {
            missing = first_missing(&node.server.log(), story);
            missing.is_none()
        });
        if let Some(at) = missing {
            return Err(format!("node 1's log lacks {:?} after {:?}", story[at], &story[..at]));
        }
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
    Ok(format!("all {} lines", STORY.len() + 1))
}

/// The first line of the story that does not come after those before it.
fn first_missing(log: &str, story: &[&[&str]]) -> Option<usize> {
    let lines: Vec<_> = log.lines().map(str::to_lowercase).collect();
    let mut from = 0;
    for (at, forms) in story.iter().enumerate() {
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
