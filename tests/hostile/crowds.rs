//! Too many, too slow, too much: limits of connections, and clients that do not read.

use std::net::TcpStream;
use std::time::Duration;

use ringkeeper::clock::Clock;
use ringkeeper::wire::request::{AddWatchMode, Create, Request, SetWatches};
use ringkeeper::wire::{Acl, OpCode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Context;
use crate::support::cases::Case;
use crate::support::client::{Connection, append, create, new_session, read};
use crate::support::{Client, wait_for};
use crate::throttles::metric;

const HALF_OPEN: usize = 10_000;
const FILES_NEEDED: u64 = 12_000;

/// Sessions that come back at once, what each watches, and in how many packets it says so.
const WATCHFUL: usize = 2000;
const WATCHED: usize = 500;
const PACKETS: usize = 5;

/// So often it is asked what is in flight, in each of a few floods.
const LOOKS: usize = 20;

pub const CASES: &[Case<Context>] = &[
    ("maxClientCnxns", max_client_connections),
    ("maxCnxns", max_connections),
    ("four-letter words count as connections", words_count),
    ("globalOutstandingLimit slows, is kept to, and loses nothing", outstanding_limit),
    ("a client that never reads its replies", deaf_reader),
    ("a client that never reads its events", deaf_watcher),
    ("ten thousand half-open connections", half_open_crowd),
    ("two thousand sessions come back with 500 watches each", watchful_crowd),
];

/// Raises the limit of open files, for us and the servers we start.
pub fn allow_many_files() -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < FILES_NEEDED) {
        return Err(format!("needs {FILES_NEEDED} open files (ulimit -Hn), has {limit:?}"));
    }
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, wanted).map_err(|err| format!("cannot raise ulimit -n: {err}"))
}

/// Opens connections until one is refused; returns how many were served.
fn served(address: std::net::SocketAddr, tries: usize) -> usize {
    let mut clients = Vec::new();
    for _ in 0..tries {
        match Client::connect(address) {
            Ok(client) => clients.push(client),
            Err(_) => break,
        }
    }
    for client in &mut clients {
        client.must(&Request::Ping);
    }
    clients.len()
}

fn max_client_connections(context: &mut Context) {
    let unlimited = context.another(|spec| spec.config("maxClientCnxns=-1"));
    let conf = unlimited.word("conf").unwrap();
    assert!(conf.contains("\nmaxClientCnxns=-1\n"), "{conf}");
    let server = context.another(|spec| spec.config("maxClientCnxns=5"));
    // the connections that asked `srvr` may not have gone yet
    assert!(wait_for(Duration::from_secs(5), || served(server.address, 8) == 5));
}

fn max_connections(context: &mut Context) {
    let server = context.another(|spec| spec.config("maxCnxns=6"));
    assert!(wait_for(Duration::from_secs(5), || served(server.address, 9) == 6));
}

fn words_count(context: &mut Context) {
    let server = context.another(|spec| spec.config("maxClientCnxns=2"));
    let room = || server.word("ruok").is_ok_and(|text| text == "imok");
    let [first, _second] = [(), ()].map(|()| {
        let mut client = None;
        // the connections that asked `srvr` may not have gone yet
        let is_served = || {
            client = Client::connect(server.address).ok();
            client.is_some()
        };
        assert!(wait_for(Duration::from_secs(5), is_served));
        client
    });
    assert!(!room(), "a third connection is answered");
    drop(first);
    assert!(wait_for(Duration::from_secs(5), room), "and one that has room is not");
}

/// A connection of its own asks again and again how many of a flood's writes are in flight.
fn outstanding_limit(context: &mut Context) {
    let server = context.another(|spec| spec.config("globalOutstandingLimit=3"));
    let mut client = Client::connect(server.address).unwrap();
    let mut most = 0;
    for first in (1..10_000).step_by(2000) {
        let mut out = Vec::new();
        for xid in first..first + 2000 {
            append(&mut out, xid, &create(&format!("/n{xid}"), b"x", 0));
        }
        client.connection.send(&out).unwrap();
        for _ in 0..LOOKS {
            most = most.max(metric(&server, "outstanding_requests"));
        }
        for xid in first..first + 2000 {
            let reply = client.reply().unwrap().expect("a reply");
            assert_eq!((reply.header.xid.0, reply.header.err), (xid, 0));
        }
    }
    if context.is_ours() {
        assert!((1..=3).contains(&most), "{most} were in flight");
    }
}

/// 1 GB of replies to someone who does not listen, then does.
fn deaf_reader(context: &mut Context) {
    let mut client = Client::connect(context.server.address).unwrap();
    let data = vec![5; 1_000_000];
    client.create("/deaf", &data, 0);
    let before = context.server.resident();
    let asked = 1000;
    let mut out = Vec::new();
    for xid in 1..=asked {
        append(&mut out, xid + 1, &read(OpCode::GetData, "/deaf", false));
    }
    client.connection.send(&out).unwrap();
    let mut other = Client::connect(context.server.address).unwrap();
    for _ in 0..200 {
        other.must(&read(OpCode::GetData, "/deaf", false));
    }
    let grown = context.server.resident().saturating_sub(before);
    if context.is_ours() {
        assert!(grown < 150 << 20, "the server grew by {grown} bytes");
    }
    for xid in 1..=asked {
        let reply = client.reply().unwrap().expect("a reply");
        assert_eq!((reply.header.xid.0, reply.header.err), (xid + 1, 0));
        assert!(reply.body.len() > 1_000_000);
    }
}

/// Events for someone who does not listen: they wait, up to a limit; then he is cut off.
fn deaf_watcher(context: &mut Context) {
    if !context.is_ours() {
        return; // Java keeps them all
    }
    let mut deaf = Client::connect(context.server.address).unwrap();
    deaf.must(&Request::AddWatch { path: "/".into(), mode: AddWatchMode::Recursive });
    let mut client = Client::connect(context.server.address).unwrap();
    let path = format!("/{}", "w".repeat(100_000));
    client.create(&path, b"", 0);
    let before = context.server.resident();
    let set = Request::SetData { path: path.as_str().into(), data: Some(b"x"), version: -1 };
    for _ in 0..40 {
        let mut out = Vec::new();
        for xid in 1..=25 {
            append(&mut out, xid, &set);
        }
        client.connection.send(&out).unwrap();
        for _ in 1..=25 {
            assert_eq!(client.reply().unwrap().expect("a reply").header.err, 0);
        }
    }
    let grown = context.server.resident().saturating_sub(before);
    assert!(grown < 150 << 20, "the server grew by {grown} bytes for 100 MB of events");
    client.must(&Request::Delete { path: path.as_str().into(), version: -1 });
}

fn half_open_crowd(context: &mut Context) {
    let server = context.another(|spec| spec.config("clientPortListenBacklog=4096"));
    let mut crowd = Vec::with_capacity(HALF_OPEN);
    let clock = Clock::start();
    for at in 0..HALF_OPEN {
        let mut connection = Connection::open(server.address).expect("a connection");
        if at % 2 == 0 {
            connection.send(&[0, 0]).expect("half a length");
        }
        crowd.push(connection);
    }
    println!("  {HALF_OPEN} connections after {} ms", clock.now().0);
    let clock = Clock::start();
    let mut client = Client::connect(server.address).expect("the 10,001st");
    client.create("/served", b"", 0);
    assert!(clock.elapsed() < Duration::from_secs(5), "it took {:?}", clock.elapsed());
    assert!(server.word("srvr").expect("srvr").contains("Mode: "));
    drop::<Vec<Connection>>(crowd);
    println!("  dropped after {} ms", clock.now().0);
    // and they must be forgotten
    let address = server.address;
    let gone = || {
        let text = server.word("srvr").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Connections: "));
        line.and_then(|count| count.parse::<usize>().ok()).is_some_and(|count| count < 10)
    };
    assert!(wait_for(Duration::from_secs(20), gone), "their connections are still counted");
    TcpStream::connect(address).expect("room");
}

fn watched(at: usize) -> String {
    format!("/watchful/node-{at:03}")
}

/// A server was away, and all clients find it again in the same moment. Each says what it watches
/// in the same breath as who it is; each packet is answered, and each watch is there: what has
/// changed meanwhile is told before the answer, what changes then is told once.
fn watchful_crowd(context: &mut Context) {
    let mut server = context.another(|spec| spec);
    let mut keeper = Client::connect(server.address).unwrap();
    keeper.create("/watchful", b"", 0);
    let node = |at| Create { path: watched(at).into(), ..plain() };
    keeper.must(&Request::Multi((0..WATCHED).map(|at| Request::Create(node(at))).collect()));
    let sessions: Vec<_> = (0..WATCHFUL)
        .map(|_| Client::attach(server.address, &new_session(60_000)).unwrap())
        .collect();
    let seen = keeper.seen;
    keeper.must(&set_data(0));
    server.kill().expect("a running server");
    server.launch().expect("it starts");
    let before = server.resident();

    let packets = watch_packets(seen);
    let clock = Clock::start();
    let mut crowd: Vec<_> =
        sessions.iter().map(|client| client.reattach(server.address).unwrap()).collect();
    for client in &mut crowd {
        client.connection.send(&packets).unwrap();
    }
    let mut keeper = Client::connect(server.address).expect("there is room for others");
    keeper.must(&read(OpCode::GetData, "/watchful", false));
    for client in &mut crowd {
        for packet in 1..=PACKETS {
            let header = client.reply().unwrap().expect("each is answered").header;
            assert_eq!((header.xid.0, header.err), (-8, 0), "packet {packet}");
        }
        assert_eq!(client.events.len(), 1, "one node has changed meanwhile");
    }
    println!("  all have their watches after {} ms", clock.now().0);
    keeper.must(&set_data(WATCHED - 1));
    for client in &mut crowd {
        client.must(&read(OpCode::GetData, "/watchful", false));
        assert_eq!(client.events.len(), 2, "and one now");
    }
    let grown = server.resident().saturating_sub(before);
    println!(
        "  {} bytes for each of {} watches",
        grown / (WATCHFUL * WATCHED) as u64,
        WATCHFUL * WATCHED
    );
    if context.is_ours() {
        assert!(grown < 200 << 20, "the server grew by {grown} bytes");
    }
}

/// All that one client watches.
fn watch_packets(relative_zxid: ringkeeper::ids::Zxid) -> Vec<u8> {
    let mut out = Vec::new();
    for packet in 0..PACKETS {
        let paths = (0..WATCHED).filter(|at| at % PACKETS == packet);
        let request = SetWatches {
            op: OpCode::SetWatches2,
            relative_zxid,
            data: paths.map(|at| watched(at).into()).collect(),
            exist: Vec::new(),
            child: Vec::new(),
            persistent: Vec::new(),
            recursive: Vec::new(),
        };
        append(&mut out, -8, &Request::SetWatches(request));
    }
    out
}

fn set_data(at: usize) -> Request<'static> {
    Request::SetData { path: watched(at).into(), data: Some(b"changed"), version: -1 }
}

fn plain() -> Create<'static> {
    let acl = vec![Acl::anyone(31)];
    Create { op: OpCode::Create, path: "".into(), data: None, acl, flags: 0, ttl: -1 }
}
