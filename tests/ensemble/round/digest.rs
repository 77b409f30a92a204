//! No node may have found its tree's digest to differ from the one in a txn.
//!
//! COMPAT: a Java leader under load sends a fuzzy snapshot: it holds txns newer than its zxid, and
//! the learner that replays them meanwhile counts mismatches until it is through. Seen in all-Java
//! ensembles. They are let pass if, and only if, the snapshot can have come from a Java server and
//! the txns lie before the learner's own snapshot at the end of that sync.

use crate::cluster::{Cluster, Node};

/// What is said when a txn made another tree than its author's, in lower case.
const MISMATCH: &str = "digests are not matching";
const SNAP_BEGINS: &str = "Getting a snapshot from leader 0x";
const SNAP_ENDS: &str = "Snapshotting: 0x";

/// Checks the counters and the logs of all nodes.
pub fn no_mismatch(cluster: &Cluster) -> Result<(), String> {
    let java = cluster.nodes.iter().filter(|node| node.kind.program.is_java()).count();
    for node in &cluster.nodes {
        let by_java = java > usize::from(node.kind.program.is_java());
        let text = node.server.log();
        let excused = is_excused(&text, by_java).map_err(|line| told(node, &line))?;
        let count = node.metric("zk_digest_mismatches_count");
        if count != Some(0) && !(excused && count.is_some()) {
            return Err(told(node, &format!("digest_mismatches_count is {count:?}")));
        }
    }
    Ok(())
}

fn told(node: &Node, what: &str) -> String {
    format!("DIGEST MISMATCH: {}: {what}", node.label())
}

/// Whether there are mismatches and all of them are those of fuzzy snapshots; else the first line
/// that is not.
fn is_excused(log: &str, by_java: bool) -> Result<bool, String> {
    // how far the learner was at the end of each sync that began with a snapshot
    let mut ends: Vec<i64> = Vec::new();
    let mut mismatches = Vec::new();
    for line in log.lines() {
        if line.contains(SNAP_BEGINS) {
            ends.push(i64::MAX);
        } else if let Some(zxid) = hex_behind(line, SNAP_ENDS)
            && let Some(end) = ends.last_mut()
        {
            *end = zxid.min(*end);
        } else if line.to_lowercase().contains(MISMATCH) {
            mismatches.push((line, ends.len()));
        }
    }
    for (line, syncs) in &mismatches {
        let inside = |zxid: i64| *syncs > 0 && zxid <= ends[syncs - 1];
        if !by_java || !zxid_of(line).is_some_and(inside) {
            return Err((*line).to_owned());
        }
    }
    Ok(!mismatches.is_empty())
}

/// The last number of Java's line. Ours ends otherwise: nothing of ours is let pass.
fn zxid_of(line: &str) -> Option<i64> {
    line.rsplit([':', ' ']).next()?.parse().ok()
}

fn hex_behind(line: &str, label: &str) -> Option<i64> {
    let (_, rest) = line.split_once(label)?;
    let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
    i64::from_str_radix(&rest[..end], 16).ok()
}

/// Logs by hand, and whether they are let pass.
pub fn check_itself() -> Result<(), String> {
    let snap = "INFO Getting a snapshot from leader 0x100000010\n";
    let inside = "WARN Message:Digests are not matching. Value is Zxid. Value:4294967314\n";
    let behind = "WARN [9 times] Message: Digests are not matching. Last value:4294967999\n";
    let end = "INFO Snapshotting: 0x100000020 to /x/snapshot.100000020\n";
    let cases = [
        (String::new(), true, Ok(false)),
        (format!("{snap}{inside}{end}"), true, Ok(true)),
        (format!("{snap}{inside}{end}"), false, Err(())),
        (format!("{inside}{snap}{end}"), true, Err(())),
        (format!("{snap}{end}{behind}"), true, Err(())),
    ];
    for (log, by_java, expected) in cases {
        let found = is_excused(&log, by_java).map_err(|_| ());
        if found != expected {
            return Err(format!("{found:?}, not {expected:?}, for {log}"));
        }
    }
    Ok(())
}
