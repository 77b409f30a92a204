//! Load on a cluster: sessions that write through every node, and what they know afterwards.

pub mod ledger;
pub mod prober;
pub mod walk;
pub mod writer;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use ringkeeper::wire::request::Request;
use writer::{Outcome, Shared, Writer};

use crate::cluster::{Cluster, Program};
use crate::support::client::create;
use crate::support::sequence::Sequence;
use crate::support::{Client, Random, wait_for};

/// Writes go on within this once a quorum is there.
const PROGRESS_PATIENCE: Duration = Duration::from_secs(90);

const CLOSE_TRIES: usize = 30;

/// Sessions that write, each on a thread.
pub struct Load {
    writers: Vec<(Arc<Shared>, JoinHandle<Outcome>)>,
}

impl Load {
    /// `sessions` writers below `root`, dealt out over the nodes, each at `rate` writes a second.
    pub fn start(
        cluster: &Cluster,
        root: &str,
        sessions: usize,
        rate: u64,
        random: &mut Random,
    ) -> Result<Self, String> {
        let servers = cluster.addresses();
        let mut keeper = Client::connect(servers[0]).map_err(|err| err.to_string())?;
        must(&mut keeper, &create(root, b"", 0))?;
        let mut writers = Vec::new();
        for number in 0..sessions {
            let root = format!("{root}/{number}");
            must(&mut keeper, &create(&root, b"", 0))?;
            let mut sequence = Sequence::new(root, random.next());
            if cluster.has(Program::Java38) {
                sequence = sequence.with_plain_creates();
            }
            let shared = Arc::new(Shared::default());
            let at = number % servers.len();
            // the server may not have seen the root yet
            let mut ahead = Client::connect(servers[at]).map_err(|err| err.to_string())?;
            must(&mut ahead, &Request::Sync { path: Some("/".into()) })?;
            close(ahead, &servers)?;
            let writer = Writer::open(servers.clone(), at, sequence, shared.clone(), rate)?;
            writers.push((shared, std::thread::spawn(move || writer.run())));
        }
        close(keeper, &servers)?;
        Ok(Self { writers })
    }

    /// Waits until every writer has had `count` more writes acknowledged.
    pub fn wait_progress(&self, count: u64) -> Result<(), String> {
        let acknowledged = |shared: &Shared| shared.acknowledged.load(Ordering::Relaxed);
        let before: Vec<_> = self.writers.iter().map(|(shared, _)| acknowledged(shared)).collect();
        let went_on = wait_for(PROGRESS_PATIENCE, || {
            let mut now = self.writers.iter().map(|(shared, _)| acknowledged(shared)).zip(&before);
            self.has_failed() || now.all(|(now, before)| now >= before + count)
        });
        if went_on {
            Ok(())
        } else {
            Err(format!("a writer stood still for {PROGRESS_PATIENCE:?}"))
        }
    }

    /// Whether a writer has a complaint; `stop` tells it.
    pub fn has_failed(&self) -> bool {
        self.writers.iter().any(|(shared, _)| shared.failed.load(Ordering::Relaxed))
    }

    /// How many sessions are connected to the server of index `at`.
    pub fn connected_to(&self, at: usize) -> u64 {
        let there = |shared: &Shared| shared.at.load(Ordering::Relaxed) == at;
        self.writers.iter().map(|(shared, _)| u64::from(there(shared))).sum()
    }

    pub fn sessions(&self) -> u64 {
        self.writers.len() as u64
    }

    /// Ends the load. The first complaint of a writer is an error.
    pub fn stop(self) -> Result<Vec<Outcome>, String> {
        for (shared, _) in &self.writers {
            shared.stop.store(true, Ordering::Relaxed);
        }
        let outcomes: Vec<_> =
            self.writers.into_iter().map(|(_, thread)| thread.join().expect("a writer")).collect();
        match outcomes.iter().find_map(|outcome| outcome.complaint.clone()) {
            Some(complaint) => Err(complaint),
            None => Ok(outcomes),
        }
    }
}

/// Ends a session. Its connection may have gone with an election: then another server is asked.
pub fn close(mut client: Client, servers: &[SocketAddr]) -> Result<(), String> {
    for server in servers.iter().cycle().take(CLOSE_TRIES) {
        if client.call(&Request::CloseSession).is_ok() {
            return Ok(());
        }
        match client.reattach(*server) {
            Ok(again) => client = again,
            // it was closed after all
            Err(err) if err.kind() == ErrorKind::PermissionDenied => return Ok(()),
            Err(_) => {}
        }
    }
    Err(format!("session {} cannot be closed", client.session))
}

/// A request that must succeed.
pub fn must(client: &mut Client, request: &Request<'_>) -> Result<(), String> {
    let (peer, session) = (client.connection.stream.peer_addr(), client.session);
    let told = |what: String| format!("{request:?} of session {session} at {peer:?}: {what}");
    match client.call(request) {
        Ok(reply) if reply.header.err == 0 => Ok(()),
        Ok(reply) => Err(told(reply.header.err.to_string())),
        Err(err) => Err(told(err.to_string())),
    }
}
