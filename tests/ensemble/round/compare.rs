//! After a fault: all nodes tell the same tree.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cluster::node::LOOK_EVERY;
use crate::cluster::{Cluster, Node, SERVE_PATIENCE};
use crate::load::walk::{Tree, Znode, walk};
use crate::support::wait_for_every;

/// Differences told of one pair of nodes.
const TOLD_MAX: usize = 8;

/// The nodes do not apply the last txn at the same time.
const COUNTS_PATIENCE: Duration = Duration::from_secs(30);

/// A busy machine may bring another election while a tree is read.
const WALKS_MAX: usize = 3;

/// The tree, if all nodes have the same.
pub fn same_everywhere(cluster: &mut Cluster) -> Result<Tree, String> {
    let mut first: Option<(String, Tree)> = None;
    for node in &mut cluster.nodes {
        let tree = walk_through(node)?;
        match &first {
            None => first = Some((node.label(), tree)),
            Some((other, expected)) => {
                let differences = differences(expected, &tree);
                if !differences.is_empty() {
                    let told = differences.iter().take(TOLD_MAX);
                    return Err(format!(
                        "TREES DIFFER: {} nodes, {} of them not as {} has them\n{}",
                        node.label(),
                        differences.len(),
                        other,
                        told.fold(String::new(), |mut text, one| {
                            let _ = writeln!(text, "    {one}");
                            text
                        })
                    ));
                }
            }
        }
    }
    first.map(|(_, tree)| tree).ok_or_else(|| "no nodes".to_owned())
}

fn walk_through(node: &mut Node) -> Result<Tree, String> {
    let mut last = String::new();
    for _ in 0..WALKS_MAX {
        match walk(node.place.client) {
            Ok(tree) => return Ok(tree),
            Err(why) => last = format!("{}: {why}", node.label()),
        }
        node.wait_serving(SERVE_PATIENCE)?;
    }
    Err(last)
}

fn differences(expected: &Tree, found: &Tree) -> Vec<String> {
    let mut differences = Vec::new();
    for (path, node) in expected {
        match found.get(path) {
            None => differences.push(format!("{path} is missing")),
            Some(other) if canon(path, node) != canon(path, other) => {
                differences.push(format!("{path}\n      {node:?}\n      {other:?}"));
            }
            Some(_) => {}
        }
    }
    let more = found.keys().filter(|path| !expected.contains_key(*path));
    differences.extend(more.map(|path| format!("{path} should not be there")));
    differences
}

/// What must be the same on all nodes. COMPAT: every server writes `/zookeeper/config` itself, at
/// its own start, and keeps quota statistics outside of txns: they drift with a fuzzy snapshot.
fn canon(path: &str, node: &Znode) -> Znode {
    let mut node = node.clone();
    if path == "/zookeeper/config" {
        node.stat = ringkeeper::wire::Stat::default();
    }
    if path.ends_with("/zookeeper_stats") {
        node.data = None;
        node.stat = ringkeeper::wire::Stat::default();
    }
    node
}

/// All nodes come to count the same sessions, znodes and ephemerals.
pub fn same_counts(cluster: &Cluster) -> Result<(), String> {
    for name in ["zk_znode_count", "zk_ephemerals_count", "zk_global_sessions"] {
        let mut counts = Vec::new();
        let same = wait_for_every(LOOK_EVERY, COUNTS_PATIENCE, || {
            counts = cluster.nodes.iter().map(|node| node.metric(name)).collect();
            counts.iter().all(|count| count.is_some() && *count == counts[0])
        });
        if !same {
            return Err(format!("{name} differs: {counts:?}"));
        }
    }
    Ok(())
}
