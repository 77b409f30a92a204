//! Stories with real sockets on loopback: servers that meet, and those that should not.

mod election;
mod hostile;
mod quorum;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Address, Config, PeerEvent, Peers, reactor_options};
use crate::clock::Clock;
use crate::ids::{Epoch, Round, ServerId, Zxid};
use crate::net::{Event, Reactor};
use crate::wire::election::{Notification, PeerState, Vote};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// One server: its sockets, and all they have told.
struct Node {
    peers: Peers,
    reactor: Reactor,
    clock: Clock,
    batch: Vec<Event>,
    seen: Vec<PeerEvent>,
}

impl Node {
    fn new(config: Config) -> Self {
        let reactor = Reactor::new(reactor_options(config.packet_bytes_max)).unwrap();
        let peers = Peers::new(config, &reactor);
        Self { peers, reactor, clock: Clock::start(), batch: Vec::new(), seen: Vec::new() }
    }

    /// One whose election port listens.
    fn listening(config: Config) -> Self {
        let mut node = Self::new(config);
        node.peers.listen_election();
        node.until("it listens", |seen| seen.contains(&PeerEvent::ElectionOpen));
        node
    }

    fn turn(&mut self) {
        let now = self.clock.now();
        self.peers.on_turn(now, &mut self.reactor, &mut self.seen);
        let due = self.peers.deadline().map_or(5, |at| (at.0 - now.0).clamp(0, 5));
        let timeout = Duration::from_millis(due.unsigned_abs());
        let ready = || self.peers.is_ready();
        self.reactor.turn_unless(Some(timeout), ready, &mut self.batch).unwrap();
        let now = self.clock.now();
        for event in self.batch.drain(..) {
            self.peers.on_event(event, now, &mut self.reactor, &mut self.seen);
        }
        self.peers.on_turn(now, &mut self.reactor, &mut self.seen);
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&[PeerEvent]) -> bool) {
        let clock = Clock::start();
        while !is_so(&self.seen) {
            assert!(clock.elapsed() < PATIENCE, "never: {what}; {:?}", self.seen);
            self.turn();
        }
    }

    fn count(&self, wanted: &PeerEvent) -> usize {
        self.seen.iter().filter(|event| *event == wanted).count()
    }

    fn votes(&self) -> Vec<(ServerId, i64)> {
        let vote = |event: &PeerEvent| {
            let PeerEvent::Notified { from, notification } = event else { return None };
            Some((*from, notification.vote.round.0))
        };
        self.seen.iter().filter_map(vote).collect()
    }

    fn dial(&mut self, to: i64) {
        self.peers.dial_election(ServerId(to));
    }

    fn notify(&mut self, to: i64, round: i64) {
        self.peers.notify(ServerId(to), &vote(round), &mut self.reactor);
    }
}

/// Turns all of them until something is so.
fn until(nodes: &mut [&mut Node], what: &str, mut is_so: impl FnMut(&[&mut Node]) -> bool) {
    let clock = Clock::start();
    while !is_so(nodes) {
        let seen = || nodes.iter().map(|node| &node.seen).collect::<Vec<_>>();
        assert!(clock.elapsed() < PATIENCE, "never: {what}; {:?}", seen());
        for node in nodes.iter_mut() {
            node.turn();
        }
    }
}

fn vote(round: i64) -> Notification<'static> {
    let (leader, zxid, epoch) = (ServerId(3), Zxid(7), Epoch(0));
    Notification {
        state: PeerState::Looking,
        vote: Vote { leader, zxid, round: Round(round), epoch },
        version: Notification::VERSION,
        config: Some("server.1=a:1:2:participant\nversion=0".into()),
    }
}

/// A port that nobody has, and below those that the kernel gives to whoever asks for any: the
/// tests beside this one ask for many.
fn free_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 10_000..32_000;
    static TRIED: AtomicUsize = AtomicUsize::new(0);
    // Processes of tests that run side by side begin at different places.
    let start = std::process::id() as usize * 997;
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let next = || {
        let place = start + TRIED.fetch_add(1, Ordering::Relaxed);
        PORTS.clone().nth(place % PORTS.len())
    };
    std::iter::repeat_with(next).take(PORTS.len()).flatten().find(is_free).expect("a free port")
}

/// The members 1 to `count`, all on loopback.
fn ensemble(count: i64) -> BTreeMap<ServerId, Vec<Address>> {
    let address = || Address {
        host: "127.0.0.1".to_owned(),
        quorum_port: free_port(),
        election_port: free_port(),
    };
    (1..=count).map(|id| (ServerId(id), vec![address()])).collect()
}

fn config(me: i64, members: &BTreeMap<ServerId, Vec<Address>>) -> Config {
    Config {
        me: ServerId(me),
        members: members.clone(),
        listen_on_all: false,
        multi_address: false,
        keep_alive: false,
        connect_timeout: Duration::from_secs(5),
        handshake_timeout: Duration::from_secs(10),
        introduction_timeout: Duration::from_secs(10),
        bind_tries_max: 3,
        packet_bytes_max: 1 << 21,
    }
}

fn election_address(members: &BTreeMap<ServerId, Vec<Address>>, of: i64) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], members[&ServerId(of)][0].election_port))
}

fn quorum_address(members: &BTreeMap<ServerId, Vec<Address>>, of: i64) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], members[&ServerId(of)][0].quorum_port))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whether the far end has closed the connection, whatever it said before.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut chunk = [0; 1024];
    let over = loop {
        match stream.read(&mut chunk) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) => break error.kind() != std::io::ErrorKind::WouldBlock,
        }
    };
    stream.set_nonblocking(false).unwrap();
    over
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Lines that hold `text`.
    fn with(&self, text: &str) -> usize {
        self.text().lines().filter(|line| line.contains(text)).count()
    }
}

/// Keeps what is logged while the guard lives.
fn listen_to_log() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    (lines, tracing::subscriber::set_default(subscriber))
}
