//! Clients that are served slowly, because they read slowly or others ask for much: whoever says in
//! time that it lives keeps its session.

use std::io::Read;
use std::time::Duration;

use ringkeeper::clock::Clock;
use ringkeeper::wire::request::{Create, Request};
use ringkeeper::wire::{Acl, OpCode};

use crate::Context;
use crate::support::cases::Case;
use crate::support::client::{append, new_session, read};
use crate::support::{Client, Server, wait_for};

const SESSION_MS: i32 = 1000;

/// Several times the session's timeout.
const WHILE: Duration = Duration::from_secs(4);
const PING_EVERY: Duration = Duration::from_millis(100);

/// Children of one node, to be counted again and again by some connections: seconds of work.
const CHILDREN: usize = 100_000;
const CHILDREN_A_MULTI: usize = 2000;
const COUNTING: usize = 8;
const COUNTS: i32 = 256;

pub const CASES: &[Case<Context>] = &[
    ("a client that reads slowly lives", slow_reader),
    ("a client that waits for others lives", patient_client),
];

fn server(context: &mut Context) -> Server {
    context.another(|spec| {
        let spec = spec.config("tickTime=500").property("ringkeeper.shards", "1");
        spec.property("jute.maxbuffer", "50000000")
    })
}

/// A client whose session is short, and an ephemeral that shows whether it lives.
fn short_lived(server: &Server) -> Client {
    let mut client = Client::attach(server.address, &new_session(SESSION_MS)).unwrap();
    assert_eq!(client.timeout_ms, SESSION_MS);
    client.create("/alive", b"", 1);
    client
}

fn ping(client: &mut Client) {
    let mut out = Vec::new();
    append(&mut out, -2, &Request::Ping);
    client.connection.send(&out).unwrap();
}

/// One reply of 40 MB over a line of 4 MB a second, and a ping now and then.
fn slow_reader(context: &mut Context) {
    let server = server(context);
    let mut keeper = Client::connect(server.address).unwrap();
    keeper.create("/large", &vec![5; 40_000_000], 0);
    let mut client = short_lived(&server);
    let mut out = Vec::new();
    append(&mut out, 1, &read(OpCode::GetData, "/large", false));
    client.connection.send(&out).unwrap();
    let clock = Clock::start();
    let mut chunk = vec![0; 400_000];
    while clock.elapsed() < WHILE {
        client.connection.stream.read_exact(&mut chunk).expect("more of the replies");
        ping(&mut client);
        wait_for(PING_EVERY, || false);
    }
    assert_eq!(keeper.must(&read(OpCode::Exists, "/alive", false)).header.err, 0);
}

fn patient_client(context: &mut Context) {
    let server = server(context);
    let mut keeper = Client::connect(server.address).unwrap();
    keeper.create("/many", b"", 0);
    for first in (0..CHILDREN).step_by(CHILDREN_A_MULTI) {
        let creates = (first..first + CHILDREN_A_MULTI).map(|at| child(&format!("/many/{at}")));
        keeper.must(&Request::Multi(creates.collect()));
    }
    let mut client = short_lived(&server);
    let mut out = Vec::new();
    for xid in 1..=COUNTS {
        append(&mut out, xid, &Request::GetAllChildrenNumber { path: "/many".into() });
    }
    let mut counting: Vec<_> =
        (0..COUNTING).map(|_| Client::connect(server.address).unwrap()).collect();
    for client in &mut counting {
        client.connection.send(&out).unwrap();
    }
    let clock = Clock::start();
    while clock.elapsed() < WHILE {
        ping(&mut client);
        wait_for(PING_EVERY, || false);
    }
    for client in &mut counting {
        for _ in 1..=COUNTS {
            assert_eq!(client.reply().unwrap().expect("a reply").header.err, 0);
        }
    }
    println!("  all counted after {} ms", clock.now().0);
    ping(&mut client);
    assert_eq!(keeper.must(&read(OpCode::Exists, "/alive", false)).header.err, 0);
}

fn child(path: &str) -> Request<'static> {
    let acl = vec![Acl::anyone(31)];
    let path = path.to_owned().into();
    Request::Create(Create { op: OpCode::Create, path, data: None, acl, flags: 0, ttl: -1 })
}
