//! Stories with real sockets on loopback: a reactor on one side, the standard library's on the
//! other.

mod closing;
mod connecting;
mod pressure;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::{
    Close, CloseReason, ConnectionId, Event, Listener, NetError, Options, Reactor, Wait, Waker,
};
use crate::clock::Clock;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A reactor with one listener, and all events since the start.
struct Server {
    reactor: Reactor,
    address: SocketAddr,
    batch: Vec<Event>,
    seen: Vec<Event>,
}

impl Server {
    fn new(options: Options) -> Self {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 4096, false).unwrap();
        let address = listener.local_addr();
        let mut reactor = Reactor::new(options).unwrap();
        reactor.listen(listener).unwrap();
        Self { reactor, address, batch: Vec::new(), seen: Vec::new() }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A client and its connection here.
    fn pair(&mut self) -> (TcpStream, ConnectionId) {
        let stream = self.connect();
        let id = self.until(|event| {
            let Event::Accepted { id, .. } = event else { return None };
            Some(id)
        });
        (stream, id)
    }

    fn turn(&mut self, on_event: &mut impl FnMut(&mut Reactor, Event)) {
        self.reactor.turn(Some(Duration::from_millis(100)), &mut self.batch).unwrap();
        for event in self.batch.drain(..) {
            on_event(&mut self.reactor, event);
            self.seen.push(event);
        }
    }

    /// Turns until `found` finds something in a new event.
    fn until<T>(&mut self, found: impl Fn(Event) -> Option<T>) -> T {
        let clock = Clock::start();
        loop {
            let mut result = None;
            self.turn(&mut |_, event| result = result.take().or_else(|| found(event)));
            if let Some(result) = result {
                return result;
            }
            assert!(clock.elapsed() < PATIENCE, "it never came: {:?}", self.seen);
        }
    }

    fn until_closed(&mut self, id: ConnectionId) -> CloseReason {
        self.until(|event| {
            let Event::Closed { id: closed, reason } = event else { return None };
            (closed == id).then_some(reason)
        })
    }

    /// Turns while the client's side, which runs on a thread of its own, lasts.
    fn serve<T: Send + 'static>(
        &mut self,
        client: impl FnOnce() -> T + Send + 'static,
        mut on_event: impl FnMut(&mut Reactor, Event),
    ) -> T {
        let waker = self.reactor.waker();
        let client = thread::spawn(move || (client(), waker.wake()).0);
        while !client.is_finished() {
            self.turn(&mut on_event);
        }
        client.join().unwrap()
    }

    fn count(&self, matches: impl Fn(&Event) -> bool) -> usize {
        self.seen.iter().filter(|event| matches(event)).count()
    }
}

/// Sends everything back, and closes when the peer is through.
fn echo(reactor: &mut Reactor, event: Event) {
    match event {
        Event::Received { id } => {
            let input = reactor.input(id).to_vec();
            reactor.consume(id, input.len());
            reactor.outbox(id).unwrap().extend_from_slice(&input);
        }
        Event::EndOfInput { id } => reactor.close(id, Close::AfterFlush),
        Event::Accepted { .. }
        | Event::Connected { .. }
        | Event::ConnectFailed { .. }
        | Event::Drained { .. }
        | Event::Closed { .. }
        | Event::AcceptFailed { .. }
        | Event::Woken => {}
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn a_pipelined_echo_needs_few_system_calls() {
    const MESSAGES: usize = 20_000;
    let mut server = Server::new(Options::default());
    let mut client = server.connect();
    let before = server.reactor.counters();
    server.serve(
        move || {
            let (batch, mut answer) = (pattern(100 * 64), vec![0; 100 * 64]);
            for _ in 0..MESSAGES / 64 {
                client.write_all(&batch).unwrap();
                client.read_exact(&mut answer).unwrap();
                assert_eq!(answer, batch);
            }
        },
        echo,
    );
    let after = server.reactor.counters();
    let enters = after.enters - before.enters;
    assert!(enters * 10 < MESSAGES as u64, "{enters} system calls for {MESSAGES} messages");
    assert_eq!(after.bytes_in, after.bytes_out);
    assert_eq!(after.accepts, 1);
}

#[test]
fn a_frame_that_comes_byte_by_byte_is_kept_until_it_is_whole() {
    let mut server = Server::new(Options::default());
    let mut client = server.connect();
    let answer = server.serve(
        move || {
            for byte in pattern(50) {
                client.write_all(&[byte]).unwrap();
            }
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            answer
        },
        |reactor, event| {
            let Event::Received { id } = event else { return echo(reactor, event) };
            while let Some(frame) = reactor.input(id).first_chunk::<10>().copied() {
                reactor.consume(id, 10);
                reactor.outbox(id).unwrap().extend_from_slice(&frame);
            }
        },
    );
    assert_eq!(answer, pattern(50));
    let closed = server.count(|event| matches!(event, Event::Closed { .. }));
    assert_eq!(closed, 1, "{:?}", server.seen);
    assert_eq!(server.reactor.connection_count(), 0);
}

#[test]
fn no_wake_is_slept_through() {
    const ROUNDS: u32 = 5000;
    let pushed = Arc::new(AtomicU32::new(0));
    let (wakers, from_reactor) = mpsc::channel::<Waker>();
    let (answers, seen) = mpsc::sync_channel::<u32>(1);
    let producer = {
        let pushed = Arc::clone(&pushed);
        thread::spawn(move || {
            let waker = from_reactor.recv().unwrap();
            for round in 1..=ROUNDS {
                pushed.store(round, Ordering::Release);
                waker.wake();
                assert_eq!(seen.recv().unwrap(), round);
            }
        })
    };
    let mut reactor = Reactor::new(Options::default()).unwrap();
    wakers.send(reactor.waker()).unwrap();
    let mut events = Vec::new();
    for round in 1..=ROUNDS {
        let is_ready = || pushed.load(Ordering::Acquire) == round;
        while !is_ready() {
            // Without a timeout: a lost wake would hang here.
            reactor.turn_unless(None, is_ready, &mut events).unwrap();
        }
        answers.send(round).unwrap();
    }
    producer.join().unwrap();
    assert!(reactor.counters().wakes <= u64::from(ROUNDS));
}

#[test]
fn a_wake_of_an_awake_reactor_is_not_a_system_call() {
    let mut server = Server::new(Options::default());
    let waker = server.reactor.waker();
    waker.wake();
    server.reactor.turn(Some(Duration::ZERO), &mut server.batch).unwrap();
    assert_eq!(server.batch, [], "nothing was written");
    let before = server.reactor.counters().enters;
    for _ in 0..100 {
        server.reactor.turn(Some(Duration::ZERO), &mut server.batch).unwrap();
    }
    assert_eq!(server.reactor.counters().enters, before, "polling an idle ring is free");
}

/// A thread that expects an answer soon is awake when it comes: nobody has to wake it.
#[test]
fn a_patient_wait_is_ended_without_a_system_call() {
    let mut reactor = Reactor::new(Options::default()).unwrap();
    let mut events = Vec::new();
    reactor.turn(Some(Duration::ZERO), &mut events).unwrap();
    let (answer, is_waiting) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (before, waker) = (reactor.counters(), reactor.waker());
    let answerer = thread::spawn({
        let (answer, is_waiting) = (Arc::clone(&answer), Arc::clone(&is_waiting));
        move || {
            while is_waiting.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            answer.store(1, Ordering::SeqCst);
            waker.wake();
        }
    });
    let ready = || {
        is_waiting.store(1, Ordering::SeqCst);
        answer.load(Ordering::SeqCst) > 0
    };
    let wait = Wait { timeout: None, patience: PATIENCE };
    reactor.turn_unless(wait, ready, &mut events).unwrap();
    answerer.join().unwrap();
    assert_eq!(answer.load(Ordering::SeqCst), 1);
    assert_eq!(reactor.counters().enters, before.enters);
    // And it sees its sockets meanwhile.
    let mut server = Server::new(Options::default());
    let _client = server.connect();
    let wait = Wait { timeout: Some(PATIENCE), patience: PATIENCE };
    server.reactor.turn_unless(wait, || false, &mut events).unwrap();
    assert!(matches!(events[..], [Event::Accepted { .. }]), "{events:?}");
}

/// What a thread has to send stays together with what it adds after a look.
#[test]
fn who_only_looks_sends_nothing_yet() {
    let mut server = Server::new(Options::default());
    let (mut client, id) = server.pair();
    let mut events = Vec::new();
    server.reactor.turn(Some(Duration::ZERO), &mut events).unwrap(); // it listens to the client
    assert!(!server.reactor.has_unsent());
    server.reactor.outbox(id).unwrap().extend_from_slice(b"first ");
    assert!(server.reactor.has_unsent());
    assert!(!server.reactor.look(&mut events).unwrap(), "nothing has come");

    let before = server.reactor.counters().bytes_out;
    client.write_all(b"x").unwrap();
    let clock = Clock::start();
    while !server.reactor.look(&mut events).unwrap() || events.is_empty() {
        assert!(clock.elapsed() < PATIENCE, "what has come is not seen");
    }
    assert_eq!(events, [Event::Received { id }]);
    assert!(server.reactor.has_unsent());
    assert_eq!(server.reactor.counters().bytes_out, before);
    server.reactor.consume(id, 1);
    server.reactor.outbox(id).unwrap().extend_from_slice(b"second");
    server.reactor.turn(Some(Duration::ZERO), &mut events).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"first second");
}

#[test]
fn accepted_sockets_inherit_the_listener_s_options() {
    let listener = Listener::bind(SocketAddr::from(([0, 0, 0, 0], 0)), -1, false).unwrap();
    listener.set_keep_alive(true).unwrap();
    let port = listener.local_addr().port();
    let mut reactor = Reactor::new(Options::default()).unwrap();
    let listening = reactor.listen(listener).unwrap();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut events = Vec::new();
    while events.is_empty() {
        reactor.turn(None, &mut events).unwrap();
    }
    let [Event::Accepted { id, listener, peer }] = events[..] else { panic!("{events:?}") };
    assert_eq!((listener, peer), (listening, client.local_addr().unwrap()), "shown as IPv4");
    let socket = &reactor.connections[id.index()].socket;
    assert!(rustix::net::sockopt::tcp_nodelay(socket).unwrap());
    assert!(rustix::net::sockopt::socket_keepalive(socket).unwrap());

    reactor.unlisten(listening);
    while !reactor.listeners.is_empty() {
        reactor.turn(None, &mut events).unwrap();
    }
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_connection_made_elsewhere_is_adopted() {
    let mut server = Server::new(Options::default());
    let (mut far, id) = server.pair();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(other.local_addr().unwrap()).unwrap();
    let adopted = server.reactor.adopt(near);
    assert_ne!(adopted, id);
    let (mut peer, _) = other.accept().unwrap();
    peer.write_all(b"hello").unwrap();
    server.until(|event| (event == Event::Received { id: adopted }).then_some(()));
    assert_eq!(server.reactor.input(adopted), b"hello");
    far.write_all(b"x").unwrap();
    server.until(|event| (event == Event::Received { id }).then_some(()));
}

#[test]
fn errors_are_one_line() {
    let features = Reactor::new(Options::default()).map(|reactor| reactor.features().to_string());
    assert!(features.unwrap().contains("multishot recv"));
    let error = NetError::Call { name: "io_uring_enter", error: std::io::Error::other("x").into() };
    assert!(!error.to_string().contains('\n'));
}
