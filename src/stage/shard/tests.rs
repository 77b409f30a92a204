//! A shard with real sockets, whose zab thread is played by a test.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::sync_channel;

use super::*;
use crate::clock::Clock;
use crate::ids::Zxid;
use crate::limits::QUESTIONS_QUEUE_MAX;
use crate::net::{Listener, Options};
use crate::request::throttle::BucketConfig;
use crate::stage::message::{Entry, SessionCell};
use crate::stage::queue::{Bell, ParkBell, bounded};
use crate::stage::service::Service;
use crate::stage::shared::Settings;
use crate::tree::Tree;
use crate::wire::client::ConnectRequest;
use crate::wire::{Writer, frame};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

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

    /// Turns until `done`.
    fn turn_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let clock = self.shard.parts.shared.clock;
        let deadline = clock.elapsed() + PATIENCE;
        while !done(self) {
            assert!(clock.elapsed() < deadline, "nothing comes of it");
            self.shard.hear_all(&mut self.events).unwrap();
            self.shard.serve_ready();
        }
    }

    /// A client that has sent its connect request.
    fn connect(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 4000,
            session: SessionId::NONE,
            password: Some(&[0; 16]),
            read_only: Some(false),
        };
        let mut out = Vec::new();
        frame::write(&mut out, |out| request.encode(&mut Writer::new(out)));
        stream.write_all(&out).unwrap();
        stream
    }
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
