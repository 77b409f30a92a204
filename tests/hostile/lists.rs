//! Long access lists: one request may ask of one as often as it likes, and nobody waits for it.

use std::time::Duration;

use ringkeeper::clock::Clock;
use ringkeeper::wire::request::{AddWatchMode, Create, Read, Request, WatchKind, Watches};
use ringkeeper::wire::{Acl, OpCode};

use crate::Context;
use crate::support::cases::Case;
use crate::support::client::append;
use crate::support::{Client, Server};

/// As many as a request has room for.
const ENTRIES: usize = 30_000;
const STEPS: usize = 45_000;

/// Looked through at each step, the list would take minutes.
const ONCE: Duration = Duration::from_secs(10);

const READ: i32 = 1;
const WRITE: i32 = 2;

pub const CASES: &[Case<Context>] = &[
    ("a multiRead looks through a long list once", many_reads),
    ("a multi looks through a long list once", many_checks),
    ("events of a multi are held against a long list once", many_events),
];

/// A node whose list names many others, and this client last.
fn create_listed(client: &mut Client, path: &str, perms: i32) {
    let entry = |perms, id: String| Acl { perms, scheme: "ip".into(), id: id.into() };
    let others = (0..ENTRIES).map(|at| entry(31, format!("10.1.{}.{}", at / 250, at % 250)));
    let acl = others.chain([entry(perms, "127.0.0.1".into())]).collect();
    let (op, path) = (OpCode::Create, path.to_owned().into());
    client.must(&Request::Create(Create { op, path, data: None, acl, flags: 0, ttl: -1 }));
}

/// A server all of whose clients are one thread's, and a client with such a node.
fn listed(context: &mut Context, path: &str, perms: i32) -> (Server, Client) {
    let server = context.another(|spec| spec.property("ringkeeper.shards", "1"));
    let mut client = Client::connect(server.address).unwrap();
    create_listed(&mut client, path, perms);
    (server, client)
}

/// Others read and write meanwhile.
fn others_are_served_beside(server: &Server, client: &mut Client, request: &Request<'_>) {
    let mut other = Client::connect(server.address).unwrap();
    let clock = Clock::start();
    let mut out = Vec::new();
    append(&mut out, client.next_xid(), request);
    client.connection.send(&out).unwrap();
    other.create("/lists-other", b"", 1);
    other.must(&Request::GetAllChildrenNumber { path: "/lists-other".into() });
    let reply = client.reply().unwrap().expect("an answer");
    assert_eq!(reply.header.err, 0);
    other.must(&Request::CloseSession); // behind all that others are told of it
    let took = clock.elapsed();
    assert!(took < ONCE, "{took:?}");
}

/// All of them refused: a small reply to much work.
fn many_reads(context: &mut Context) {
    let (server, mut client) = listed(context, "/r", WRITE);
    let read = || Read { op: OpCode::GetData, path: "/r".into(), watch: false };
    let reads = (0..STEPS).map(|_| read()).collect();
    others_are_served_beside(&server, &mut client, &Request::MultiRead(reads));
}

/// All of them granted: the first that fails would be the last that is looked at.
fn many_checks(context: &mut Context) {
    let (server, mut client) = listed(context, "/c", READ);
    let check = || Request::Check { path: "/c".into(), version: -1 };
    let checks = (0..STEPS).map(|_| check()).collect();
    others_are_served_beside(&server, &mut client, &Request::Multi(checks));
}

/// The watcher may not read what it watches: no event is sent, so none is too many.
fn many_events(context: &mut Context) {
    let (server, mut client) = listed(context, "/w", WRITE);
    let mut watcher = Client::connect(server.address).unwrap();
    watcher.must(&Request::AddWatch { path: "/w".into(), mode: AddWatchMode::Persistent });
    let (op, kind) = (OpCode::CheckWatches, WatchKind::Any);
    watcher.must(&Request::Watches(Watches { op, path: "/w".into(), kind }));
    let set = || Request::SetData { path: "/w".into(), data: None, version: -1 };
    let sets = (0..STEPS).map(|_| set()).collect();
    others_are_served_beside(&server, &mut client, &Request::Multi(sets));
    watcher.must(&Request::Ping);
}
