//! Too much of something: input, output, connections, open files.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::super::{Event, Options};
use super::{Server, echo, pattern};
use crate::clock::Clock;

#[test]
fn input_larger_than_all_buffers_arrives_whole_and_in_order() {
    let options = Options { buffers: 4, buffer_bytes: 512, ..Options::default() };
    let mut server = Server::new(options);
    let mut client = server.connect();
    server.serve(
        move || {
            client.write_all(&pattern(1 << 20)).unwrap();
            client.read_exact(&mut [0]).unwrap();
        },
        |reactor, event| {
            let Event::Received { id } = event else { return };
            if reactor.input(id).len() == 1 << 20 {
                assert!(reactor.input(id) == pattern(1 << 20));
                reactor.outbox(id).unwrap().push(1);
            }
        },
    );
}

/// Writes until the kernel takes no more; how much it took.
fn fill(client: &mut TcpStream) -> usize {
    client.set_nonblocking(true).unwrap();
    let mut total = 0;
    loop {
        match client.write(&[1; 16 << 10]) {
            Ok(bytes) => total += bytes,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return total;
            }
        }
    }
}

#[test]
fn a_paused_connection_holds_its_peer_back() {
    let options = Options { input_bytes_max: usize::MAX, ..Options::default() };
    let mut server = Server::new(options);
    let (mut client, id) = server.pair();
    server.reactor.pause(id);
    let mut sent = fill(&mut client);
    for _ in 0..20 {
        server.reactor.turn(Some(Duration::ZERO), &mut server.batch).unwrap();
        sent += fill(&mut client);
    }
    let held = server.reactor.input(id).len();
    assert!(held < 3 << 20, "no more than what one turn finds: {held}");
    assert!(sent > held, "the rest waits in the kernel");
    server.reactor.resume(id);
    while server.reactor.input(id).len() < sent {
        server.turn(&mut |_, _| ());
    }
    server.reactor.consume(id, sent);
    assert_eq!(server.reactor.input(id), b"");
}

#[test]
fn pausing_and_resuming_in_one_turn_costs_nothing() {
    let mut server = Server::new(Options::default());
    let (mut client, id) = server.pair();
    for _ in 0..100 {
        server.reactor.pause(id);
        server.reactor.resume(id);
    }
    let before = server.reactor.counters().completions;
    client.write_all(b"x").unwrap();
    server.until(|event| (event == Event::Received { id }).then_some(()));
    assert_eq!(server.reactor.counters().completions - before, 1);
}

#[test]
fn too_much_input_pauses_of_itself_and_goes_on_when_consumed() {
    let options = Options { input_bytes_max: 64 << 10, buffers: 8, ..Options::default() };
    let mut server = Server::new(options);
    let (mut client, id) = server.pair();
    let mut sent = fill(&mut client);
    for _ in 0..50 {
        server.reactor.turn(Some(Duration::ZERO), &mut server.batch).unwrap();
        sent += fill(&mut client);
    }
    let bound = (64 << 10) + 2 * 8 * 4096;
    assert!(server.reactor.input(id).len() <= bound, "{}", server.reactor.input(id).len());
    let mut received = 0;
    while received < sent {
        let bytes = server.reactor.input(id).len();
        assert!(bytes <= bound);
        server.reactor.consume(id, bytes);
        received += bytes;
        server.turn(&mut |_, _| ());
    }
}

#[test]
fn a_slow_reader_gets_all_of_a_large_outbox_in_order() {
    const BYTES: usize = 10 << 20;
    let mut server = Server::new(Options::default());
    let (mut client, id) = server.pair();
    let (first, second) = (pattern(BYTES), pattern(BYTES));
    server.reactor.outbox(id).unwrap().extend_from_slice(&first);
    server.turn(&mut |_, _| ());
    server.reactor.outbox(id).unwrap().extend_from_slice(&second);
    assert!(server.reactor.outbox_bytes(id) > BYTES);
    server.serve(
        move || {
            let mut chunk = vec![0; 30_000];
            let mut at = 0;
            while at < 2 * BYTES {
                let bytes = client.read(&mut chunk).unwrap();
                for byte in &chunk[..bytes] {
                    assert!(usize::from(*byte) == at % BYTES % 251, "at {at}");
                    at += 1;
                }
            }
        },
        |_, _| (),
    );
    while server.reactor.outbox_bytes(id) > 0 {
        server.turn(&mut |_, _| ());
    }
    assert_eq!(server.count(|event| *event == Event::Drained { id }), 1);
}

#[test]
fn two_thousand_connections_with_few_buffers_and_a_small_ring() {
    let options = Options { ring_entries: 16, buffers: 8, ..Options::default() };
    let mut server = Server::new(options);
    let address = server.address;
    server.serve(
        move || {
            let mut clients: Vec<_> =
                (0..2000).map(|_| TcpStream::connect(address).unwrap()).collect();
            for client in &mut clients {
                client.write_all(b"hello").unwrap();
            }
            for client in &mut clients {
                let mut answer = [0; 5];
                client.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"hello");
            }
        },
        echo,
    );
    while server.count(|event| matches!(event, Event::Closed { .. })) < 2000 {
        server.turn(&mut echo);
    }
    assert_eq!(server.count(|event| matches!(event, Event::Accepted { .. })), 2000);
    assert_eq!(server.reactor.connection_count(), 0);
    assert!(server.reactor.counters().enobufs > 0, "the story was about that");
}

/// In a process of its own, since it lowers a limit of the process.
#[test]
fn too_many_open_files_are_reported_without_spinning() {
    let name = "net::tests::pressure::a_process_without_descriptors";
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--quiet"])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "run by the test above"]
fn a_process_without_descriptors() {
    let mut server = Server::new(Options::default());
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let limit = |current| Rlimit { current: Some(current), maximum: Some(4096) };
    setrlimit(Resource::Nofile, limit(open - 1)).unwrap();
    let error = server.until(|event| {
        let Event::AcceptFailed { error, .. } = event else { return None };
        Some(error)
    });
    assert!(error.to_string().contains("Too many open files"), "{error}");
    let (before, clock) = (server.reactor.counters().enters, Clock::start());
    while clock.elapsed() < Duration::from_millis(500) {
        server.turn(&mut |_, _| ());
    }
    let enters = server.reactor.counters().enters - before;
    assert!(enters < 40, "{enters} system calls in half a second");
    setrlimit(Resource::Nofile, limit(4096)).unwrap();
    for client in &mut clients {
        client.write_all(b"hello").unwrap();
    }
    while server.count(|event| matches!(event, Event::Received { .. })) < 3 {
        server.turn(&mut |_, _| ());
    }
}
