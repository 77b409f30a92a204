//! Connections that the reactor makes: those that stand, those that do not, those given up.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};

use super::super::{Close, CloseReason, ConnectFailure, ConnectionId, Dial, Event, Options};
use super::{PATIENCE, Server};

fn to(address: SocketAddr) -> Dial {
    Dial { to: address, from: None, timeout: PATIENCE, keep_alive: false }
}

fn failure(server: &mut Server, id: ConnectionId) -> ConnectFailure {
    server.until(|event| {
        let Event::ConnectFailed { id: failed, reason } = event else { return None };
        (failed == id).then_some(reason)
    })
}

fn loopback_listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A listener whose backlog is full: the kernel drops what asks for more.
struct Deaf {
    address: SocketAddr,
    _listener: std::os::fd::OwnedFd,
    _waiting: Vec<TcpStream>,
}

impl Deaf {
    fn new() -> Self {
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&listener, 0).unwrap();
        let address = SocketAddr::try_from(getsockname(&listener).unwrap()).unwrap();
        let wait = Duration::from_millis(100);
        let waiting = (0..8).map_while(|_| TcpStream::connect_timeout(&address, wait).ok());
        let waiting: Vec<_> = waiting.collect();
        assert!(waiting.len() < 8, "the backlog was full before");
        Self { address, _listener: listener, _waiting: waiting }
    }
}

#[test]
fn bytes_go_both_ways_with_the_options_asked_for() {
    let (listener, address) = loopback_listener();
    let mut server = Server::new(Options::default());
    let from: IpAddr = "127.0.0.2".parse().unwrap();
    let dial = Dial { from: Some(from), keep_alive: true, ..to(address) };
    let id = server.reactor.connect(dial).unwrap();
    assert!(server.reactor.outbox(id).is_none(), "not before it stands");
    server.until(|event| (event == Event::Connected { id }).then_some(()));
    let socket = &server.reactor.connections[id.index()].socket;
    assert!(rustix::net::sockopt::tcp_nodelay(socket).unwrap());
    assert!(rustix::net::sockopt::socket_keepalive(socket).unwrap());
    let (mut far, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), from);
    far.write_all(b"who is there").unwrap();
    server.until(|event| (event == Event::Received { id }).then_some(()));
    assert_eq!(server.reactor.input(id), b"who is there");
    server.reactor.outbox(id).unwrap().extend_from_slice(b"me");
    server.reactor.close(id, Close::AfterFlush);
    server.turn(&mut |_, _| ());
    let mut answer = [0; 2];
    far.read_exact(&mut answer).unwrap();
    drop(far);
    assert_eq!((&answer, server.until_closed(id)), (b"me", CloseReason::Local));
    assert_eq!(server.reactor.connection_count(), 0);
}

#[test]
fn nobody_listens() {
    let (listener, address) = loopback_listener();
    drop(listener);
    let mut server = Server::new(Options::default());
    let id = server.reactor.connect(to(address)).unwrap();
    assert_eq!(failure(&mut server, id), ConnectFailure::Refused);
    assert_eq!(server.reactor.connection_count(), 0);
}

#[test]
fn no_way_there() {
    let mut server = Server::new(Options::default());
    // No stream goes to many hosts.
    let id = server.reactor.connect(to("224.0.0.1:2888".parse().unwrap())).unwrap();
    let failure = failure(&mut server, id);
    assert!(matches!(failure, ConnectFailure::Unreachable(_)), "{failure:?}");
}

#[test]
fn a_source_that_is_not_ours() {
    let mut server = Server::new(Options::default());
    let dial = Dial { from: Some("192.0.2.1".parse().unwrap()), ..to(server.address) };
    let error = server.reactor.connect(dial).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
    assert_eq!(server.reactor.connection_count(), 0);
}

#[test]
fn nobody_answers() {
    let deaf = Deaf::new();
    let mut server = Server::new(Options::default());
    let timeout = Duration::from_millis(30);
    let id = server.reactor.connect(Dial { timeout, ..to(deaf.address) }).unwrap();
    assert_eq!(failure(&mut server, id), ConnectFailure::TimedOut);
    while server.reactor.connection_count() > 0 {
        server.turn(&mut |_, _| ());
    }
    assert!(server.reactor.dialing.is_empty());
}

#[test]
fn a_connect_can_be_given_up_and_its_place_is_used_again() {
    let deaf = Deaf::new();
    let mut server = Server::new(Options::default());
    for how in [Close::AfterFlush, Close::Now, Close::Reset] {
        let id = server.reactor.connect(to(deaf.address)).unwrap();
        server.reactor.turn(Some(Duration::ZERO), &mut server.batch).unwrap();
        server.reactor.close(id, how);
        assert_eq!(server.until_closed(id), CloseReason::Local);
        server.turn(&mut |_, _| ());
        assert_eq!(server.reactor.connection_count(), 0);
    }
    assert_eq!(server.count(|event| matches!(event, Event::ConnectFailed { .. })), 0);
}

#[test]
fn two_ends_of_one_reactor() {
    let mut server = Server::new(Options::default());
    let id = server.reactor.connect(to(server.address)).unwrap();
    let accepted = server.until(|event| {
        let Event::Accepted { id, .. } = event else { return None };
        Some(id)
    });
    assert_ne!(id, accepted);
    assert_eq!(server.count(|event| *event == Event::Connected { id }), 1);
}

#[test]
fn a_reactor_can_be_dropped_while_it_connects() {
    let deaf = Deaf::new();
    for _ in 0..3 {
        let mut server = Server::new(Options::default());
        server.reactor.connect(to(deaf.address)).unwrap();
        server.turn(&mut |_, _| ());
        server.reactor.connect(to(deaf.address)).unwrap();
        drop(server);
    }
}
