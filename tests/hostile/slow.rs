//! Clients that are served slowly, because they read slowly or others ask for much: whoever says in
//! time that it lives keeps its session.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringkeeper::clock::Clock;
use ringkeeper::limits::SERVING_PER_TURN_US_MAX;
use ringkeeper::wire::request::{Create, Request};
use ringkeeper::wire::{Acl, OpCode};

use crate::Context;
use crate::support::cases::Case;
use crate::support::client::{Reply, append, new_session, read};
use crate::support::{Client, Server, wait_for};

const SESSION_MS: i32 = 2000;
/// Longer than a case takes on any machine.
const LONG_MS: i32 = 300_000;

/// Several times the session's timeout.
const WHILE: Duration = Duration::from_secs(8);
const PING_EVERY: Duration = Duration::from_millis(100);

/// Children of one node, to be counted again and again by many connections: it takes them all
/// longer than the session's timeout to have one turn each, however fast a count is.
const CHILDREN: usize = 100_000;
const CHILDREN_A_MULTI: usize = 2000;
const COUNTING: u32 = 600;

/// How many counts a count is timed with: one alone is mostly the way there and back, and many are
/// interrupted by what else the machine does.
const COUNTS_TIMED: i32 = 20;
const TIMED: usize = 50;

/// How many turns each connection's counts are enough for; one is needed, and a count may be
/// faster than the timed ones.
const TURNS: u32 = 2;

/// How long the shard serves before it looks at its sockets.
const TURN: Duration = Duration::from_micros(SERVING_PER_TURN_US_MAX);

pub const CASES: &[Case<Context>] = &[
    ("a client that reads slowly lives", slow_reader),
    ("a client that waits for others lives", patient_client),
];

/// Its sessions expire a tick late at most.
fn server(context: &mut Context, tick_ms: u32) -> Server {
    context.another(|spec| {
        let spec = spec.config(&format!("tickTime={tick_ms}")).config("maxSessionTimeout=300000");
        spec.property("ringkeeper.shards", "1").property("jute.maxbuffer", "50000000")
    })
}

/// A client whose session is short, and an ephemeral that shows whether it lives.
fn short_lived(server: &Server) -> Client {
    let mut client = attach(server, SESSION_MS);
    client.create("/alive", b"", 1);
    client
}

fn attach(server: &Server, timeout_ms: i32) -> Client {
    let client = Client::attach(server.address, &new_session(timeout_ms)).unwrap();
    assert_eq!(client.timeout_ms, timeout_ms);
    client
}

fn ping(client: &mut Client) {
    let mut out = Vec::new();
    append(&mut out, -2, &Request::Ping);
    client.connection.send(&out).unwrap();
}

/// One reply of 40 MB over a line of 4 MB a second, and a ping now and then.
fn slow_reader(context: &mut Context) {
    let server = server(context, 500);
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

/// One client pings while others count; another asks for one thing at their beginning, late in its
/// session's life, and waits. Both wait longer for their turn than their session lives unheard.
fn patient_client(context: &mut Context) {
    let server = server(context, 100);
    let mut keeper = attach(&server, LONG_MS);
    create_many(&mut keeper);
    let count = (0..TIMED).map(|_| time_of_a_count(&mut keeper)).min().unwrap();
    let rotation = COUNTING * count.max(TURN);
    assert!(rotation > Duration::from_millis(2800), "{rotation:?}");
    let mut counting: Vec<_> = (0..COUNTING).map(|_| attach(&server, LONG_MS)).collect();
    // On a busy machine a rotation takes several times as long; less than this session's timeout.
    let mut waiting = attach(&server, i32::try_from(4 * rotation.as_millis()).unwrap());
    wait_for(7 * rotation / 2, || false);

    let mut pinging = short_lived(&server);
    let clock = Clock::start();
    let counts = (TURNS * TURN).as_nanos().div_ceil(count.as_nanos());
    let counts = i32::try_from(counts).unwrap();
    send_counts(&mut counting, counts);
    send_counts(std::slice::from_mut(&mut waiting), 1);
    let done = AtomicBool::new(false);
    let is_done = || done.load(Ordering::Relaxed);
    let (waited, counted) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !wait_for(PING_EVERY, is_done) {
                ping(&mut pinging);
            }
        });
        let waited = are_answered(&mut waiting, 1).then(|| clock.elapsed());
        let counted = counting.iter_mut().all(|client| are_answered(client, counts));
        done.store(true, Ordering::Relaxed);
        (waited, counted)
    });
    println!("  {counts} counts of {count:?} each, all after {} ms", clock.now().0);
    let waited = waited.expect("who waits lives");
    assert!(waited > 3 * rotation / 4, "it waited for {waited:?} only");
    assert!(counted);
    assert_eq!(keeper.must(&read(OpCode::Exists, "/alive", false)).header.err, 0);
}

fn create_many(keeper: &mut Client) {
    keeper.create("/many", b"", 0);
    for first in (0..CHILDREN).step_by(CHILDREN_A_MULTI) {
        let creates = (first..first + CHILDREN_A_MULTI).map(|at| child(&format!("/many/{at}")));
        keeper.must(&Request::Multi(creates.collect()));
    }
}

fn time_of_a_count(keeper: &mut Client) -> Duration {
    let clock = Clock::start();
    send_counts(std::slice::from_mut(keeper), COUNTS_TIMED);
    assert!(are_answered(keeper, COUNTS_TIMED));
    clock.elapsed() / COUNTS_TIMED.cast_unsigned()
}

fn count() -> Request<'static> {
    Request::GetAllChildrenNumber { path: "/many".into() }
}

fn send_counts(clients: &mut [Client], counts: i32) {
    let mut out = Vec::new();
    for xid in 1..=counts {
        append(&mut out, xid, &count());
    }
    for client in clients {
        client.connection.send(&out).unwrap();
    }
}

fn are_answered(client: &mut Client, counts: i32) -> bool {
    let is_answered = |reply: Reply| reply.header.err == 0;
    (0..counts).all(|_| client.reply().is_ok_and(|reply| reply.is_some_and(is_answered)))
}

fn child(path: &str) -> Request<'static> {
    let acl = vec![Acl::anyone(31)];
    let path = path.to_owned().into();
    Request::Create(Create { op: OpCode::Create, path, data: None, acl, flags: 0, ttl: -1 })
}
