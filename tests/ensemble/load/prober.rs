//! One session with one write under way, which measures how long the service was away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ringkeeper::clock::Clock;
use ringkeeper::wire::request::Request;

use super::must;
use crate::support::client::{create, new_session};
use crate::support::{Client, Connection, wait_for, wait_for_every};

const REPLY_PATIENCE: Duration = Duration::from_secs(5);
const RETRY_EVERY: Duration = Duration::from_millis(5);
const PROGRESS_PATIENCE: Duration = Duration::from_mins(1);
const SESSION_TIMEOUT_MS: i32 = 120_000;

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    /// The longest time between two acknowledged writes, in microseconds.
    gap_us: AtomicU64,
}

/// A prober at work.
pub struct Prober {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<(), String>>,
}

impl Prober {
    /// Writes to `path`, which it makes, through any of `servers`; the first one first.
    pub fn start(servers: Vec<SocketAddr>, path: String) -> Result<Self, String> {
        let connection = Connection::open_within(servers[0], REPLY_PATIENCE);
        let client =
            connection.and_then(|open| Client::over(open, &new_session(SESSION_TIMEOUT_MS)));
        let mut client = client.map_err(|err| format!("a session on {}: {err}", servers[0]))?;
        must(&mut client, &create(&path, b"", 1))?;
        let shared = Arc::new(Shared::default());
        let seen = shared.clone();
        let thread = std::thread::spawn(move || write_on(client, &servers, &path, &seen));
        Ok(Self { shared, thread })
    }

    /// Waits until `count` more writes have been acknowledged.
    pub fn wait_progress(&self, count: u64) -> Result<(), String> {
        let before = self.shared.acknowledged.load(Ordering::Relaxed);
        let went_on = wait_for(PROGRESS_PATIENCE, || {
            self.thread.is_finished()
                || self.shared.acknowledged.load(Ordering::Relaxed) >= before + count
        });
        if went_on { Ok(()) } else { Err(format!("no write in {PROGRESS_PATIENCE:?}")) }
    }

    /// The longest gap since the last call.
    pub fn take_gap(&self) -> Duration {
        Duration::from_micros(self.shared.gap_us.swap(0, Ordering::Relaxed))
    }

    /// Ends it; its session must have lived through all, and its ephemeral with it.
    pub fn stop(self) -> Result<(), String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a prober")
    }
}

fn write_on(
    mut client: Client,
    servers: &[SocketAddr],
    path: &str,
    shared: &Shared,
) -> Result<(), String> {
    let clock = Clock::start();
    let (mut at, mut last) = (0, clock.micros());
    while !shared.stop.load(Ordering::Relaxed) {
        let set = Request::SetData { path: path.into(), data: Some(b"probe"), version: -1 };
        match client.call(&set) {
            Ok(reply) if reply.header.err == 0 => {
                let now = clock.micros();
                shared.gap_us.fetch_max(now - last, Ordering::Relaxed);
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                last = now;
            }
            Ok(reply) => return Err(format!("set {path}: {}", reply.header.err)),
            Err(_) => client = move_on(&client, servers, &mut at)?,
        }
    }
    must(&mut client, &Request::CloseSession)
}

fn move_on(client: &Client, servers: &[SocketAddr], at: &mut usize) -> Result<Client, String> {
    let mut found = Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    wait_for_every(RETRY_EVERY, PROGRESS_PATIENCE, || {
        *at = (*at + 1) % servers.len();
        let connection = Connection::open_within(servers[*at], REPLY_PATIENCE);
        found = connection.and_then(|connection| client.reattach_over(connection));
        let expired = std::io::ErrorKind::PermissionDenied;
        found.as_ref().map_or_else(|err| err.kind() == expired, |_| true)
    });
    found.map_err(|err| format!("session {} on {}: {err}", client.session, servers[*at]))
}
