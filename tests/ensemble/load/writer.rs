//! A session that writes until told to stop, and moves to another server when it must.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ringkeeper::clock::Clock;
use ringkeeper::wire::request::Request;

use super::ledger::{EPHEMERAL, Ledger};
use super::unbroken;
use super::walk::Tree;
use crate::support::client::{append, create, new_session};
use crate::support::sequence::Sequence;
use crate::support::{Client, Connection, wait_for, wait_for_every};

/// A server that does not answer for so long is given up for another.
const REPLY_PATIENCE: Duration = Duration::from_secs(4);
/// A session that finds no server for so long has failed.
const SERVER_PATIENCE: Duration = Duration::from_mins(2);
/// Between two attempts to find one.
const RETRY_EVERY: Duration = Duration::from_millis(20);
/// It outlives every fault of a round.
const SESSION_TIMEOUT_MS: i32 = 300_000;
/// Requests sent in one go, and their bound in flight.
const BATCH: u64 = 8;
const IN_FLIGHT_MAX: u64 = 16;

/// What the test sees of a writer while it writes.
#[derive(Debug, Default)]
pub struct Shared {
    pub stop: AtomicBool,
    pub failed: AtomicBool,
    /// Writes acknowledged.
    pub acknowledged: AtomicU64,
    /// The index of the server it is connected to.
    pub at: AtomicUsize,
}

/// How a writer ended.
#[derive(Debug)]
pub struct Outcome {
    pub client: Client,
    pub ledger: Ledger,
    /// Connections that broke.
    pub disconnects: u64,
    pub complaint: Option<String>,
}

impl Outcome {
    /// A session that lives has its ephemeral.
    pub fn owns_its_ephemeral(&self, tree: &Tree) -> Result<(), String> {
        let path = format!("{}/{EPHEMERAL}", self.ledger.sequence.root());
        let owner = tree.get(&path).map(|node| node.stat.ephemeral_owner);
        let session = self.client.session;
        if owner == Some(session.0) {
            return Ok(());
        }
        Err(format!("{path}: its session {session} lives, its owner is {owner:?}"))
    }
}

/// A session, its servers and its writes.
pub struct Writer {
    servers: Vec<SocketAddr>,
    at: usize,
    client: Client,
    ledger: Ledger,
    shared: Arc<Shared>,
    disconnects: u64,
    /// Writes a second.
    rate: u64,
}

impl Writer {
    /// A new session on `servers[at]`, with an ephemeral of its own below the sequence's root.
    pub fn open(
        servers: Vec<SocketAddr>,
        at: usize,
        sequence: Sequence,
        shared: Arc<Shared>,
        rate: u64,
    ) -> Result<Self, String> {
        let path = format!("{}/{EPHEMERAL}", sequence.root());
        let opened = unbroken(|again| {
            let connection = Connection::open_within(servers[at], REPLY_PATIENCE)?;
            let mut client = Client::over(connection, &new_session(SESSION_TIMEOUT_MS))?;
            if again {
                // that of the session before, should there be one
                client.call(&Request::Delete { path: path.as_str().into(), version: -1 })?;
            }
            match client.call(&create(&path, b"", 1))?.header.err {
                0 => Ok(client),
                err => Err(std::io::Error::other(format!("create {path}: {err}"))),
            }
        });
        let mut client = opened.map_err(|err| format!("a session on {}: {err}", servers[at]))?;
        client.xid = 0;
        shared.at.store(at, Ordering::Relaxed);
        let ledger = Ledger::new(sequence);
        Ok(Self { servers, at, client, ledger, shared, disconnects: 0, rate })
    }

    /// Writes until told to stop, then waits for what is under way.
    pub fn run(mut self) -> Outcome {
        let clock = Clock::start();
        let mut complaint = None;
        while complaint.is_none() && !self.shared.stop.load(Ordering::Relaxed) {
            let turn = self.send().and_then(|()| self.receive(IN_FLIGHT_MAX - BATCH));
            complaint = self.settle(turn).err();
            self.keep_pace(clock);
        }
        while complaint.is_none() && self.in_flight() > 0 {
            let turn = self.receive(0);
            complaint = self.settle(turn).err();
        }
        self.shared.failed.fetch_or(complaint.is_some(), Ordering::Relaxed);
        let Self { client, ledger, disconnects, .. } = self;
        Outcome { client, ledger, disconnects, complaint }
    }

    fn in_flight(&mut self) -> u64 {
        let stretch = self.ledger.current();
        stretch.sent - stretch.acknowledged
    }

    fn send(&mut self) -> Result<(), Broken> {
        let mut out = Vec::new();
        for _ in 0..BATCH {
            let stretch = self.ledger.current();
            let number = stretch.first + stretch.sent;
            stretch.sent += 1;
            let xid = i32::try_from(number + 1).expect("a short sequence");
            self.ledger.sequence.step(number).with_request(|r| append(&mut out, xid, r));
        }
        self.client.connection.send(&out).map_err(|_| Broken::Connection)
    }

    /// Reads replies until no more than `rest` are under way.
    fn receive(&mut self, rest: u64) -> Result<(), Broken> {
        while self.in_flight() > rest {
            let seen = self.client.seen;
            let Ok(Some(reply)) = self.client.reply() else { return Err(Broken::Connection) };
            let number = self.ledger.current().first + self.ledger.current().acknowledged;
            self.ledger.sequence.step(number).check(&reply).map_err(Broken::Reply)?;
            if reply.header.zxid <= seen {
                let why = format!("{} acknowledged after {seen}", reply.header.zxid);
                return Err(Broken::Reply(why));
            }
            self.ledger.current().acknowledged += 1;
            self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A broken connection is replaced; anything else is a complaint.
    fn settle(&mut self, turn: Result<(), Broken>) -> Result<(), String> {
        match turn {
            Ok(()) => Ok(()),
            Err(Broken::Reply(why)) => Err(format!("{}: {why}", self.ledger.sequence.root())),
            Err(Broken::Connection) => {
                self.ledger.break_off();
                self.disconnects += 1;
                self.move_on()
            }
        }
    }

    /// Takes the session to the next server that will have it.
    fn move_on(&mut self) -> Result<(), String> {
        let session = self.client.session;
        let mut expired = false;
        let found = wait_for_every(RETRY_EVERY, SERVER_PATIENCE, || {
            self.at = (self.at + 1) % self.servers.len();
            let connection = Connection::open_within(self.servers[self.at], REPLY_PATIENCE);
            match connection.and_then(|connection| self.client.reattach_over(connection)) {
                Ok(client) => self.client = client,
                Err(err) => {
                    expired = err.kind() == std::io::ErrorKind::PermissionDenied;
                    return expired;
                }
            }
            true
        });
        if expired {
            let server = self.servers[self.at];
            return Err(format!("{server} says that session {session} has expired"));
        }
        self.shared.at.store(self.at, Ordering::Relaxed);
        if found { Ok(()) } else { Err(format!("no server took session {session}")) }
    }

    /// Waits until the next batch is due.
    fn keep_pace(&mut self, clock: Clock) {
        let stretch = self.ledger.current();
        let sent = stretch.first + stretch.sent;
        let due = Duration::from_millis(sent * 1000 / self.rate);
        wait_for(REPLY_PATIENCE, || {
            clock.elapsed() >= due || self.shared.stop.load(Ordering::Relaxed)
        });
    }
}

/// Why a turn ended early.
enum Broken {
    Connection,
    Reply(String),
}
