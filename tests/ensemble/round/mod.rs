//! Rounds of load, a fault, healing and comparison: what a mixed ensemble must come through.

pub mod compare;
pub mod digest;
pub mod faults;

use std::time::Duration;

use ringkeeper::wire::OpCode;
use ringkeeper::wire::request::Request;

use crate::cluster::{BRISK, Cluster, Kind, Network};
use crate::load::ledger::EPHEMERAL;
use crate::load::walk::{Tree, walk};
use crate::load::writer::Outcome;
use crate::load::{Load, must};
use crate::support::client::{append, create, new_session, read};
use crate::support::{Client, Random, wait_for_every};
use faults::Fault;

const SESSIONS: usize = 6;
/// Writes a second of each session.
const RATE: u64 = 150;
/// A session whose client is gone ends within this after the cluster has healed.
const EXPIRY_PATIENCE: Duration = Duration::from_secs(60);
/// Granted to those that are left to expire.
const SHORT_TIMEOUT_MS: i32 = 1000;
/// Every so many rounds stay in the tree, so that there is something to send to a node that lost
/// its way.
const KEPT_EVERY: u64 = 3;

/// A cluster to play rounds on.
pub struct Game {
    pub cluster: Cluster,
    random: Random,
    /// Writes acknowledged in all rounds.
    pub acknowledged: u64,
}

impl Game {
    /// Starts the cluster.
    pub fn start(
        kinds: &[Kind],
        network: Network,
        seed: u64,
        dir: &std::path::Path,
    ) -> Result<Self, String> {
        let mut cluster = Cluster::prepare(kinds, network, BRISK, dir)?;
        cluster.start()?;
        Ok(Self { cluster, random: Random::new(seed), acknowledged: 0 })
    }

    /// One round; the fault is told, with an error or without.
    pub fn play(&mut self, round: u64) -> (Fault, Result<(), String>) {
        let fault = Fault::pick(&mut self.random, self.cluster.network.can_cut());
        let played = self.strike_and_compare(round, &fault);
        (fault, played)
    }

    fn strike_and_compare(&mut self, round: u64, fault: &Fault) -> Result<(), String> {
        let root = format!("/round{round}");
        let load = Load::start(&self.cluster, &root, SESSIONS, RATE, &mut self.random)?;
        let left = leave_a_session(&self.cluster, &root)?;
        load.wait_progress(20 + self.random.below(100) as u64)?;
        let struck = fault.strike(&mut self.cluster, &load, &mut self.random);
        let healed =
            struck.and_then(|()| self.cluster.wait_serving()).and_then(|()| load.wait_progress(20));
        // what a session has to say tells more than that it stood still
        let mut outcomes = load.stop()?;
        healed?;
        self.acknowledged += outcomes.iter().map(|one| one.ledger.acknowledged()).sum::<u64>();
        expired(&self.cluster, &left)?;
        let tree = self.compare(&mut outcomes)?;
        for outcome in &mut outcomes {
            must(&mut outcome.client, &Request::CloseSession)?;
        }
        if !round.is_multiple_of(KEPT_EVERY) {
            delete(&self.cluster, &root, &tree)?;
        }
        Ok(())
    }

    fn compare(&mut self, outcomes: &mut [Outcome]) -> Result<Tree, String> {
        let tree = compare::same_everywhere(&self.cluster)?;
        for outcome in outcomes.iter() {
            outcome.ledger.verify(&tree)?;
            outcome.owns_its_ephemeral(&tree)?;
        }
        compare::same_counts(&self.cluster)?;
        digest::no_mismatch(&self.cluster)?;
        self.cluster.none_ended()?;
        Ok(tree)
    }
}

/// A session with an ephemeral, whose client goes without a word.
fn leave_a_session(cluster: &Cluster, root: &str) -> Result<String, String> {
    let at = cluster.nodes.len() - 1;
    let request = new_session(SHORT_TIMEOUT_MS);
    let mut client = Client::attach(cluster.nodes[at].place.client, &request)
        .map_err(|err| format!("a session: {err}"))?;
    let path = format!("{root}/left");
    must(&mut client, &create(&path, b"", 1))?;
    Ok(path)
}

/// Waits until the ephemeral of a session that was left is gone.
fn expired(cluster: &Cluster, path: &str) -> Result<(), String> {
    let mut client =
        Client::connect(cluster.nodes[0].place.client).map_err(|err| err.to_string())?;
    let gone = wait_for_every(Duration::from_millis(50), EXPIRY_PATIENCE, || {
        client.call(&read(OpCode::Exists, path, false)).is_ok_and(|reply| reply.header.err != 0)
    });
    must(&mut client, &Request::CloseSession)?;
    if gone { Ok(()) } else { Err(format!("{path} outlives its session by {EXPIRY_PATIENCE:?}")) }
}

/// Deletes what a round made.
fn delete(cluster: &Cluster, root: &str, tree: &Tree) -> Result<(), String> {
    let said = |err: std::io::Error| format!("deleting {root}: {err}");
    let mut client = Client::connect(cluster.nodes[0].place.client).map_err(said)?;
    let mut out = Vec::new();
    let inside = format!("{root}/");
    // the sessions are closed, and their ephemerals gone with them
    let there = |path: &&String| {
        path.starts_with(&inside) && !path.ends_with(EPHEMERAL) || path.as_str() == root
    };
    let paths: Vec<_> = tree.keys().filter(there).collect();
    for some in paths.rchunks(500) {
        out.clear();
        for path in some.iter().rev() {
            let path = path.as_str().into();
            append(&mut out, client.next_xid(), &Request::Delete { path, version: -1 });
        }
        client.connection.send(&out).map_err(said)?;
        for path in some.iter().rev() {
            let reply = client.reply().map_err(said)?.ok_or("the connection broke")?;
            if reply.header.err != 0 {
                return Err(format!("delete {path}: {}", reply.header.err));
            }
        }
    }
    must(&mut client, &Request::CloseSession)?;
    let rest = walk(cluster.nodes[0].place.client)?;
    match rest.keys().find(|path| path.starts_with(&inside)) {
        Some(path) => Err(format!("{path} is still there")),
        None => Ok(()),
    }
}
