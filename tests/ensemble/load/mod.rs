//! Load on a cluster: sessions that write through every node, and what they know afterwards.

pub mod ledger;
pub mod prober;
pub mod walk;
pub mod writer;

use std::io::{self, ErrorKind};
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
use crate::support::{Client, Random, wait_for, wait_for_every};

/// Writes go on within this once a quorum is there.
const PROGRESS_PATIENCE: Duration = Duration::from_secs(90);

/// Between two attempts of what an election interrupts.
const RETRY_EVERY: Duration = Duration::from_millis(20);
const NODE_EXISTS: i32 = -110;

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
        let roots: Vec<_> = (0..sessions).map(|number| format!("{root}/{number}")).collect();
        let paths = std::iter::once(root).chain(roots.iter().map(String::as_str));
        let creates: Vec<_> = paths.map(|path| create(path, b"", 0)).collect();
        close(settled(servers[0], &creates)?, &servers)?;
        let mut writers = Vec::new();
        for (number, root) in roots.into_iter().enumerate() {
            let mut sequence = Sequence::new(root, random.next());
            if cluster.has(Program::Java38) {
                sequence = sequence.with_plain_creates();
            }
            let shared = Arc::new(Shared::default());
            let at = number % servers.len();
            // the server may not have seen the root yet
            let sync = Request::Sync { path: Some("/".into()) };
            close(settled(servers[at], &[sync])?, &servers)?;
            let writer = Writer::open(servers.clone(), at, sequence, shared.clone(), rate)?;
            writers.push((shared, std::thread::spawn(move || writer.run())));
        }
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

/// A new session whose requests have succeeded. Its connection may go with an election: then they
/// are all made in another session.
fn settled(server: SocketAddr, requests: &[Request<'_>]) -> Result<Client, String> {
    unbroken(|again| {
        let mut client = Client::connect(server)?;
        for request in requests {
            let err = client.call(request)?.header.err;
            // made by the session before, whose reply was lost
            if err != 0 && !(again && err == NODE_EXISTS) {
                return Err(io::Error::other(format!("{request:?}: {err}")));
            }
        }
        Ok(client)
    })
    .map_err(|err| format!("a session on {server}: {err}"))
}

/// Does it anew, and tells it so, until no connection breaks; other errors are final.
pub fn unbroken<T>(mut done: impl FnMut(bool) -> io::Result<T>) -> io::Result<T> {
    let (mut outcome, mut again) = (Err(ErrorKind::NotConnected.into()), false);
    wait_for_every(RETRY_EVERY, PROGRESS_PATIENCE, || {
        outcome = done(again);
        again = true;
        outcome.as_ref().map_or_else(|err| err.kind() == ErrorKind::Other, |_| true)
    });
    outcome
}

/// Ends a session. Its connection may have gone with an election: then another server is asked.
pub fn close(mut client: Client, servers: &[SocketAddr]) -> Result<(), String> {
    let mut in_turn = servers.iter().cycle();
    let is_closed = wait_for_every(RETRY_EVERY, PROGRESS_PATIENCE, || {
        if client.call(&Request::CloseSession).is_ok() {
            return true;
        }
        match client.reattach(*in_turn.next().expect("a cluster has servers")) {
            Ok(again) => client = again,
            // it was closed after all
            Err(err) => return err.kind() == ErrorKind::PermissionDenied,
        }
        false
    });
    if is_closed { Ok(()) } else { Err(format!("session {} cannot be closed", client.session)) }
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
