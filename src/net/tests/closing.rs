//! How connections end, by whosever wish, and what is left of them.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use super::super::{Close, CloseReason, Event, Options};
use super::{Server, pattern};

#[test]
fn a_peer_that_has_half_closed_still_gets_its_answer() {
    let mut server = Server::new(Options::default());
    let (mut client, id) = server.pair();
    client.write_all(b"srvr").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    server.until(|event| (event == Event::EndOfInput { id }).then_some(()));
    assert_eq!(server.reactor.input(id), b"srvr");
    server.reactor.outbox(id).unwrap().extend_from_slice(b"answer");
    server.reactor.close(id, Close::AfterFlush);
    assert!(server.reactor.outbox(id).is_none(), "closing: nothing can be added");
    assert_eq!(server.until_closed(id), CloseReason::Local);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
}

#[test]
fn unread_bytes_do_not_turn_the_answer_into_a_reset() {
    let mut server = Server::new(Options::default());
    let (mut client, id) = server.pair();
    client.write_all(b"ruok\n").unwrap();
    server.until(|event| (event == Event::Received { id }).then_some(()));
    server.reactor.consume(id, 4);
    server.reactor.outbox(id).unwrap().extend_from_slice(b"imok");
    server.reactor.close(id, Close::AfterFlush);
    client.write_all(b"and so on\n").unwrap();
    server.turn(&mut |_, _| ());
    client.write_all(b"and on\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "imok");
    assert_eq!(server.count(|event| matches!(event, Event::Closed { .. })), 0, "it waits for us");
    drop(client);
    assert_eq!(server.until_closed(id), CloseReason::Local);
}

#[test]
fn a_peer_that_neither_reads_nor_closes_is_given_up() {
    let options = Options { close_stall: Duration::from_millis(20), ..Options::default() };
    for outbox_bytes in [0, 16 << 20] {
        let mut server = Server::new(options);
        let (_client, id) = server.pair();
        server.reactor.outbox(id).unwrap().resize(outbox_bytes, 7);
        server.reactor.close(id, Close::AfterFlush);
        assert_eq!(server.until_closed(id), CloseReason::Unfinished);
    }
}

#[test]
fn a_peer_that_sends_on_and_on_is_given_up() {
    let mut server = Server::new(Options::default());
    let (mut client, id) = server.pair();
    server.reactor.close(id, Close::AfterFlush);
    server.serve(move || while client.write_all(&[0; 4096]).is_ok() {}, |_, _| ());
    let reason = CloseReason::Unfinished;
    assert_eq!(server.count(|event| *event == Event::Closed { id, reason }), 1);
}

#[test]
fn a_reset_reaches_the_peer_as_such() {
    let mut server = Server::new(Options::default());
    let (mut client, id) = server.pair();
    server.reactor.close(id, Close::Reset);
    assert_eq!(server.until_closed(id), CloseReason::Local);
    server.turn(&mut |_, _| ());
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(server.reactor.connection_count(), 0);
}

#[test]
fn what_a_peer_sent_before_it_reset_can_be_read_once() {
    let mut server = Server::new(Options::default());
    let (mut client, id) = server.pair();
    server.reactor.outbox(id).unwrap().extend_from_slice(b"unread");
    server.turn(&mut |_, _| ());
    client.write_all(b"last words").unwrap();
    client.peek(&mut [0]).unwrap();
    drop(client); // with unread input: a reset
    let mut words = Vec::new();
    while server.count(|event| matches!(event, Event::Closed { .. })) == 0 {
        server.turn(&mut |reactor, event| {
            if event == (Event::Received { id }) {
                words = reactor.input(id).to_vec();
            }
        });
    }
    assert_eq!(words, b"last words");
    let Some(Event::Closed { reason: CloseReason::Broken(error), .. }) = server.seen.last() else {
        panic!("{:?}", server.seen)
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    server.turn(&mut |_, _| ());
    assert_eq!((server.reactor.input(id).len(), server.reactor.connection_count()), (0, 0));
}

#[test]
fn stale_ids_are_harmless() {
    let mut server = Server::new(Options::default());
    let (client, stale) = server.pair();
    server.reactor.close(stale, Close::Now);
    drop(client);
    server.until_closed(stale);
    server.turn(&mut |_, _| ());
    let (mut client, id) = server.pair();
    assert_eq!(id.index(), stale.index(), "the slot has a new tenant");
    assert_ne!(id, stale);
    client.write_all(b"new").unwrap();
    server.until(|event| (event == Event::Received { id }).then_some(()));
    assert_eq!(server.reactor.input(stale), b"");
    server.reactor.consume(stale, 3);
    assert!(server.reactor.outbox(stale).is_none());
    assert_eq!(server.reactor.outbox_bytes(stale), 0);
    server.reactor.pause(stale);
    server.reactor.resume(stale);
    for how in [Close::AfterFlush, Close::Now, Close::Reset] {
        server.reactor.close(stale, how);
    }
    server.turn(&mut |_, _| ());
    assert_eq!(server.reactor.input(id), b"new");
    assert_eq!(server.count(|event| matches!(event, Event::Closed { .. })), 1);
}

#[test]
fn a_reactor_can_be_dropped_in_the_middle_of_everything() {
    for _ in 0..5 {
        let mut server = Server::new(Options::default());
        let (mut client, id) = server.pair();
        let _silent = server.pair();
        client.write_all(&pattern(100_000)).unwrap();
        server.reactor.outbox(id).unwrap().resize(8 << 20, 7);
        server.turn(&mut |_, _| ());
        server.reactor.outbox(id).unwrap().resize(1000, 7);
        server.reactor.close(id, Close::AfterFlush);
        drop(server);
        // A reset if the reactor had not read all, the end otherwise; never silence.
        let _ = client.read_to_end(&mut Vec::new());
    }
}
