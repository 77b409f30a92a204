//! Rounds of load, a fault, healing and comparison: what a mixed ensemble must come through.

pub mod compare;
pub mod digest;
pub mod faults;

use std::net::SocketAddr;
use std::time::Duration;

use ringkeeper::wire::OpCode;
use ringkeeper::wire::request::Request;

use crate::cluster::{BRISK, Cluster, Kind, Network};
use crate::load::ledger::EPHEMERAL;
use crate::load::walk::Tree;
use crate::load::writer::Outcome;
use crate::load::{Load, close};
use crate::support::client::{append, create, new_session, read};
use crate::support::{Client, Random, wait_for_every};
use faults::Fault;

const SESSIONS: usize = 6;
/// Writes a second of each session.
const RATE: u64 = 150;
/// A session whose client is gone ends within this after the cluster has healed.
const EXPIRY_PATIENCE: Duration = Duration::from_mins(1);
/// Granted to those that are left to expire.
const SHORT_TIMEOUT_MS: i32 = 1000;
/// On a busy machine so short a session may be over before its first request.
const LEAVES_MAX: usize = 3;
/// A busy machine may bring another election while a round is deleted.
const DELETES_MAX: usize = 3;
const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;
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
        let outcomes = load.stop()?;
        healed?;
        self.acknowledged += outcomes.iter().map(|one| one.ledger.acknowledged()).sum::<u64>();
        expired(&self.cluster, &left)?;
        let tree = self.compare(&outcomes)?;
        let servers = self.cluster.addresses();
        outcomes.into_iter().try_for_each(|outcome| close(outcome.client, &servers))?;
        if !round.is_multiple_of(KEPT_EVERY) {
            delete(&mut self.cluster, &root, &tree)?;
        }
        Ok(())
    }

    fn compare(&mut self, outcomes: &[Outcome]) -> Result<Tree, String> {
        let tree = compare::same_everywhere(&mut self.cluster)?;
        for outcome in outcomes {
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
    let server = cluster.nodes[cluster.nodes.len() - 1].place.client;
    let path = format!("{root}/left");
    let mut broken = None;
    for _ in 0..LEAVES_MAX {
        match Client::attach(server, &new_session(SHORT_TIMEOUT_MS))
            .and_then(|mut client| client.call(&create(&path, b"", 1)))
        {
            // made by the one before, whose reply was lost: that one is left as well
            Ok(reply) if [0, NODE_EXISTS].contains(&reply.header.err) => return Ok(path),
            Ok(reply) => broken = Some(reply.header.err.to_string()),
            Err(err) => broken = Some(err.to_string()),
        }
    }
    Err(format!("a session to be left, with {path}: {broken:?}"))
}

/// Waits until the ephemeral of a session that was left is gone.
fn expired(cluster: &Cluster, path: &str) -> Result<(), String> {
    let mut asking: Option<Client> = None;
    let gone = wait_for_every(Duration::from_millis(50), EXPIRY_PATIENCE, || {
        let client =
            asking.take().map_or_else(|| Client::connect(cluster.nodes[0].place.client), Ok);
        let Ok(mut client) = client else { return false };
        let Ok(reply) = client.call(&read(OpCode::Exists, path, false)) else { return false };
        asking = Some(client);
        reply.header.err != 0
    });
    asking.map_or(Ok(()), |client| close(client, &cluster.addresses()))?;
    if gone { Ok(()) } else { Err(format!("{path} outlives its session by {EXPIRY_PATIENCE:?}")) }
}

/// Deletes what a round made, children first.
fn delete(cluster: &mut Cluster, root: &str, tree: &Tree) -> Result<(), String> {
    let inside = format!("{root}/");
    // the sessions are closed, and their ephemerals gone with them
    let there = |path: &&String| {
        path.starts_with(&inside) && !path.ends_with(EPHEMERAL) || path.as_str() == root
    };
    let paths: Vec<_> = tree.keys().filter(there).map(String::as_str).collect();
    let mut broken = None;
    for _ in 0..DELETES_MAX {
        match delete_all(cluster.nodes[0].place.client, &paths) {
            Ok(()) => return Ok(()),
            Err(why) => broken = Some(why),
        }
        cluster.wait_serving()?;
    }
    Err(format!("deleting {root}: {broken:?}"))
}

fn delete_all(server: SocketAddr, paths: &[&str]) -> std::io::Result<()> {
    let mut client = Client::connect(server)?;
    for some in paths.rchunks(500) {
        let mut out = Vec::new();
        for path in some.iter().rev() {
            let path = (*path).into();
            append(&mut out, client.next_xid(), &Request::Delete { path, version: -1 });
        }
        client.connection.send(&out)?;
        for path in some.iter().rev() {
            let reply = client.reply()?.ok_or(std::io::ErrorKind::ConnectionReset)?;
            if reply.header.err != 0 && reply.header.err != NO_NODE {
                let why = format!("delete {path}: {}", reply.header.err);
                return Err(std::io::Error::other(why));
            }
        }
    }
    let _ = client.call(&Request::CloseSession);
    Ok(())
}
