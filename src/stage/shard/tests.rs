//! A shard with real sockets, whose zab thread is played by a test.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::sync_channel;

use super::*;
use crate::clock::Clock;
use crate::ids::{Xid, Zxid};
use crate::limits::{QUESTIONS_QUEUE_MAX, SERVING_PER_TURN_US_MAX};
use crate::net::{Listener, Options};
use crate::request::session;
use crate::request::throttle::BucketConfig;
use crate::stage::message::{Entry, SessionCell};
use crate::stage::queue::{Bell, ParkBell, bounded};
use crate::stage::service::Service;
use crate::stage::shared::Settings;
use crate::tree::Tree;
use crate::wire::client::{ConnectRequest, RequestHeader};
use crate::wire::request::{Read, Request};
use crate::wire::{OpCode, Writer, frame};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// When a session was last heard of that was not: a fast test is over in its clock's first
/// millisecond.
const BEFORE: Millis = Millis(-1);

/// See the module.
struct Stage {
    shard: Shard,
    address: SocketAddr,
    events: Vec<Event>,
    asks: Receiver<Ask>,
    batches: Sender<Batch>,
}

impl Stage {
    /// With room for so many asks.
    fn new(settings: Settings, asks_max: usize) -> Self {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 64, false).unwrap();
        let address = listener.local_addr();
        let mut reactor = Reactor::new(Options::default()).unwrap();
        reactor.listen(listener).unwrap();
        let bell: Arc<dyn Bell> = Arc::new(ParkBell::default());
        let (asks, asked) = bounded(asks_max, Arc::clone(&bell));
        let (batches_out, batches) = bounded(16, Arc::clone(&bell));
        let (_, questions) = bounded(QUESTIONS_QUEUE_MAX, Arc::clone(&bell));
        let (words, _) = bounded(1, Arc::clone(&bell));
        let failures = sync_channel(1).0;
        let shared = Shared::new(Tree::new(), settings, 1, Clock::start(), (failures, bell));
        shared.service.set(Service::Alone);
        let shared = Arc::new(shared);
        let parts = Parts { index: 0, reactor, shared, asks, batches, questions, words };
        let shard = Shard::new(parts);
        Self { shard, address, events: Vec::new(), asks: asked, batches: batches_out }
    }

    /// Hears what comes, and serves nobody, until `done`.
    fn hear_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let clock = self.shard.parts.shared.clock;
        let deadline = clock.elapsed() + PATIENCE;
        while !done(self) {
            assert!(clock.elapsed() < deadline, "nothing comes of it");
            self.shard.hear_all(&mut self.events).unwrap();
        }
    }

    /// Turns until `done`.
    fn turn_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        self.hear_until(|stage| {
            stage.shard.serve_ready();
            done(stage)
        });
    }

    /// A session's connection.
    fn attached(&mut self, session: SessionId) -> Attached {
        let stream = self.connect();
        let mut connection = None;
        self.turn_until(|stage| {
            if let Some(Ask::Connect(ask)) = stage.asks.pop() {
                connection = Some(ask.origin.connection);
            }
            connection.is_some()
        });
        let id = connection.unwrap();
        let cell = SessionCell::new(session, BEFORE);
        let entries = vec![Entry::Attached(id, Arc::clone(&cell), 0..0)];
        assert!(self.batches.push(Batch { entries, bytes: Vec::new() }).is_ok());
        self.turn_until(|stage| stage.shard.clients[&id].phase == Phase::Open);
        Attached { stream, id, cell, sent: 0 }
    }

    /// What was sent is in their inputs.
    fn receive(&mut self, senders: &[&Attached]) {
        self.hear_until(|Self { shard, .. }| {
            senders.iter().all(|one| shard.parts.reactor.input(one.id).len() == one.sent)
        });
    }

    /// Serves as if all that is served took long.
    fn serve_slowly(&mut self) {
        let clock = self.shard.parts.shared.clock;
        while clock.micros() <= SERVING_PER_TURN_US_MAX {
            std::thread::yield_now();
        }
        self.shard.now_us = 0;
        self.shard.serve_ready();
    }

    /// Requests that were answered.
    fn served(&self, of: &Attached) -> u64 {
        self.shard.clients[&of.id].tally.latencies - 1 // its session is counted as one
    }

    /// A client that has asked for a new session.
    fn connect(&self) -> TcpStream {
        self.connect_with(SessionId::NONE, &[0; 16])
    }

    /// A client that has sent its connect request.
    fn connect_with(&self, session: SessionId, password: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 4000,
            session,
            password: Some(password),
            read_only: Some(false),
        };
        let mut out = Vec::new();
        frame::write(&mut out, |out| request.encode(&mut Writer::new(out)));
        stream.write_all(&out).unwrap();
        stream
    }
}

/// See [`Stage::attached`].
struct Attached {
    stream: TcpStream,
    id: ConnectionId,
    cell: Arc<SessionCell>,
    sent: usize,
}

impl Attached {
    /// Sends so many of one request at once.
    fn send(&mut self, request: &Request<'_>, count: i32) {
        let mut out = Vec::new();
        for xid in 1..=count {
            frame::write(&mut out, |out| {
                let mut w = Writer::new(out);
                RequestHeader { xid: Xid(xid), op: request.op().to_wire() }.encode(&mut w);
                request.encode(&mut w);
            });
        }
        self.stream.write_all(&out).unwrap();
        self.sent += out.len();
    }
}

fn read(op: OpCode) -> Request<'static> {
    Request::Read(Read { op, path: "/".into(), watch: false })
}

fn one_token() -> BucketConfig {
    BucketConfig {
        tokens_max: 1,
        fill_ms: 1_000_000,
        fill_tokens: 1,
        freeze_ms: None,
        drop_increase: 0.0,
        drop_decrease: 0.0,
        decrease_ratio: 0.0,
        weights: None,
    }
}

#[test]
fn a_handshake_that_waits_for_room_takes_one_token_and_counts_once() {
    let settings = Settings { bucket: Some(one_token()), ..Settings::plain() };
    let mut stage = Stage::new(settings, 1);
    stage.shard.ask(Ask::Intruder(SessionId(7)));
    let _client = stage.connect();
    let mut waits = 0;
    stage.turn_until(|stage| {
        waits += usize::from(stage.shard.is_stalled);
        waits > 3
    });
    assert!(matches!(stage.asks.pop(), Some(Ask::Intruder(_))));
    let mut asked = None;
    stage.turn_until(|stage| {
        asked = stage.asks.pop();
        asked.is_some()
    });
    assert!(matches!(asked, Some(Ask::Connect(_))));
    let readings = stage.shard.parts.shared.metrics.read();
    assert_eq!(readings.counter(Counter::ConnectionRequestCount), 1);
}

/// The zab thread may wait for a quorum, and its queue be full. Whoever is cut off asks for one
/// more session.
#[test]
fn a_handshake_waits_as_long_as_its_session_would_live() {
    const SESSIONLESS_MS: i64 = 100;
    for has_room in [true, false] {
        let settings = Settings { sessionless_ms: SESSIONLESS_MS, ..Settings::plain() };
        let mut stage = Stage::new(settings, 1);
        if !has_room {
            stage.shard.ask(Ask::Intruder(SessionId(7)));
        }
        let _client = stage.connect();
        let of_client = |stage: &Stage| {
            let client = stage.shard.clients.values().next();
            client.map_or((Phase::Fresh, Millis(0)), |client| (client.phase, client.patient_until))
        };
        stage.turn_until(|stage| of_client(stage).1 != Millis(0));
        let (phase, until) = of_client(&stage);
        assert_eq!(phase == Phase::Connecting, has_room);
        let mut is_waiting_at = |now| {
            stage.shard.now = now;
            stage.shard.sweep();
            of_client(&stage).0 == phase
        };
        assert!(is_waiting_at(Millis(until.0 - SESSIONLESS_MS)), "longer than without a request");
        assert!(is_waiting_at(Millis(until.0 - 1)));
        assert!(!is_waiting_at(Millis(until.0 + SESSIONLESS_MS)));
    }
}

#[test]
fn a_session_that_comes_back_is_told_of_once_and_before_there_is_room_for_its_handshake() {
    let mut stage = Stage::new(Settings::plain(), 1);
    stage.shard.ask(Ask::Intruder(SessionId(7)));
    let _clients = [
        stage.connect_with(SessionId(8), &session::password(SessionId(8))),
        stage.connect_with(SessionId(9), &[1; 16]),
    ];
    let is_heard = |client: &Client| client.patient_until != Millis(0);
    stage.turn_until(|stage| stage.shard.clients.values().filter(|one| is_heard(one)).count() == 2);
    let mut turns = 0;
    stage.turn_until(|_| {
        turns += 1;
        turns > 3
    });
    let returning = &stage.shard.parts.shared.returning;
    assert_eq!((returning.pop(), returning.pop()), (Some(SessionId(8)), None));
}

#[test]
fn a_turn_that_takes_long_ends_after_one_costly_request_or_a_few_cheap_ones() {
    let mut stage = Stage::new(Settings::plain(), 16);
    for (op, expected) in [(OpCode::GetChildren, 1), (OpCode::GetData, 8)] {
        let mut client = stage.attached(SessionId(1));
        client.send(&read(op), 20);
        stage.receive(&[&client]);
        stage.serve_slowly();
        assert_eq!(stage.served(&client), expected, "{op:?}");
    }
}

#[test]
fn whoever_is_left_to_the_next_turn_is_heard_in_this_one_and_those_that_come_then_as_they_come() {
    let mut stage = Stage::new(Settings::plain(), 16);
    let mut clients = [1, 2, 3].map(|id| stage.attached(SessionId(id)));
    for client in &mut clients[..2] {
        client.send(&read(OpCode::GetChildren), 2);
    }
    stage.receive(&[&clients[0], &clients[1]]);
    let heard = |client: &Attached| client.cell.last_heard() > BEFORE;
    assert!(!clients.iter().any(heard), "nothing of the kind is needed while the shard is fast");
    stage.serve_slowly();
    let served = clients.each_ref().map(|client| stage.served(client));
    assert_eq!(served.iter().sum::<u64>(), 1, "{served:?}");
    assert_eq!(clients.each_ref().map(heard), [true, true, false]);
    clients[2].send(&read(OpCode::GetChildren), 1);
    stage.receive(&[&clients[2]]);
    assert!(heard(&clients[2]));
}

/// A leader's tree may lack what its learners have shown, and a learner's what its leader has.
#[test]
fn a_sync_is_answered_from_the_tree_only_where_a_server_is_alone() {
    let mut stage = Stage::new(Settings::plain(), 16);
    for service in [Service::Alone, Service::Leading, Service::Forwarding] {
        stage.shard.parts.shared.service.set(service);
        let mut client = stage.attached(SessionId(1));
        client.send(&Request::Sync { path: Some("/".into()) }, 1);
        stage.turn_until(|stage| !stage.asks.is_empty() || stage.served(&client) > 0);
        let asked = stage.asks.pop();
        let is_passed_on = matches!(asked, Some(Ask::Write(ask)) if ask.op == OpCode::Sync);
        assert_eq!(is_passed_on, service != Service::Alone, "{service:?}");
    }
}
