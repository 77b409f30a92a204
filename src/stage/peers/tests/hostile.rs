//! Whatever comes to the ports costs its own connection, and a line.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use super::super::{Config, PeerEvent};
use super::{
    Lines, Node, config, connect, election_address, ensemble, is_closed, listen_to_log,
    quorum_address, until,
};
use crate::clock::Clock;
use crate::ids::ServerId;
use crate::limits::{ELECTION_STRANGERS_MAX, NOTIFICATION_BYTES_MAX, QUORUM_STRANGERS_MAX};
use crate::wire::election::{ANONYMOUS, Handshake, HandshakeForm, PeerAddress};

fn handshake(server: ServerId) -> Vec<u8> {
    let mut bytes = Vec::new();
    Handshake { form: HandshakeForm::Bare, server, addresses: Vec::new() }.encode(&mut bytes);
    bytes
}

/// Of several a second one line is logged, one at least in all.
fn assert_paced(clock: &Clock, lines: &Lines, texts: &[&str]) {
    let said = texts.iter().map(|text| lines.with(text)).sum::<usize>();
    let seconds = usize::try_from(clock.elapsed().as_secs()).unwrap();
    assert!((1..=1 + seconds).contains(&said), "{said} lines: {}", lines.text());
}

/// Servers 1 and 2, connected; what is done to 2 must not part them.
struct Pair {
    members: std::collections::BTreeMap<ServerId, Vec<super::Address>>,
    one: Node,
    two: Node,
}

impl Pair {
    fn new() -> Self {
        let members = ensemble(3);
        let mut one = Node::listening(config(1, &members));
        let mut two = Node::listening(config(2, &members));
        one.dial(2);
        until(&mut [&mut one, &mut two], "they meet", |nodes| {
            !nodes[0].seen.is_empty() && nodes[1].seen.contains(&PeerEvent::ElectionUp(ServerId(1)))
        });
        two.peers.listen_quorum();
        let port = quorum_address(&members, 2);
        let mut pair = Self { members, one, two };
        pair.until("the quorum port is open", |_| std::net::TcpStream::connect(port).is_ok());
        pair
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Node) -> bool) {
        until(&mut [&mut self.one, &mut self.two], what, |nodes| is_so(&*nodes[1]));
    }

    /// Whether 1 and 2 still hear each other.
    fn assert_unharmed(&mut self) {
        let before = (self.one.votes().len(), self.two.votes().len());
        self.one.notify(2, 5);
        self.two.notify(1, 6);
        until(&mut [&mut self.one, &mut self.two], "they still talk", |nodes| {
            nodes[0].votes().len() > before.0 && nodes[1].votes().len() > before.1
        });
        let down = PeerEvent::ElectionDown(ServerId(1));
        assert_eq!(self.two.count(&down), 0, "{:?}", self.two.seen);
    }
}

#[test]
fn bytes_that_are_none_of_the_protocol_s() {
    let (clock, (lines, _guard)) = (Clock::start(), listen_to_log());
    let mut pair = Pair::new();
    let mut oversized = handshake(ServerId(9));
    oversized.extend_from_slice(&(NOTIFICATION_BYTES_MAX + 1).to_be_bytes());
    let mut long_address = (-65536_i64).to_be_bytes().to_vec();
    long_address.extend_from_slice(&9_i64.to_be_bytes());
    long_address.extend_from_slice(&2049_i32.to_be_bytes());
    let cases = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 64],
        vec![0x80, 0, 0, 0, 0, 0, 0, 0],
        handshake(ServerId(-1)),
        long_address,
        oversized,
    ];
    // "GET / HT" is a positive number: a bare handshake of a server that is no member.
    let mut streams: Vec<_> =
        cases.iter().map(|_| connect(election_address(&pair.members, 2))).collect();
    for (stream, bytes) in streams.iter_mut().zip(&cases) {
        stream.write_all(bytes).unwrap();
    }
    for (stream, bytes) in streams.iter_mut().zip(&cases) {
        pair.until(&format!("closed: {bytes:?}"), |_| is_closed(stream));
    }
    pair.assert_unharmed();
    assert_paced(&clock, &lines, &["Closed the election connection of /", "Connection broken for"]);
}

#[test]
fn a_stranger_to_the_quorum_port_may_say_next_to_nothing() {
    let (clock, (lines, _guard)) = (Clock::start(), listen_to_log());
    let mut pair = Pair::new();
    let ping = [0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
    let mut long_data = [0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    long_data.extend_from_slice(&65_i32.to_be_bytes());
    for bytes in [vec![0xff; 64], ping.to_vec(), long_data] {
        let mut stream = connect(quorum_address(&pair.members, 2));
        stream.write_all(&bytes).unwrap();
        pair.until("closed", |_| is_closed(&mut stream));
    }
    pair.assert_unharmed();
    let told = pair.two.seen.iter().any(|event| matches!(event, PeerEvent::LinkUp { .. }));
    assert!(!told, "the protocol never heard of them");
    assert_paced(&clock, &lines, &["Closed the quorum connection of /127.0.0.1:"]);
}

#[test]
fn a_thousand_connections_that_say_nothing() {
    let (lines, _guard) = listen_to_log();
    let mut pair = Pair::new();
    for (address, max) in [
        (election_address(&pair.members, 2), ELECTION_STRANGERS_MAX),
        (quorum_address(&pair.members, 2), QUORUM_STRANGERS_MAX),
    ] {
        let idle = pair.two.reactor.connection_count();
        let mut crowd = Vec::new();
        for _ in 0..1000 {
            crowd.push(connect(address));
            pair.two.turn();
        }
        pair.until("the oldest have gone", |node| node.reactor.connection_count() <= idle + max);
        pair.assert_unharmed();
        assert!(is_closed(&mut crowd[0]) && !is_closed(&mut crowd[999]));
    }
    let mut late = connect(election_address(&pair.members, 2));
    late.write_all(&handshake(ServerId(3))).unwrap();
    pair.until("a server gets through", |node| {
        node.seen.contains(&PeerEvent::ElectionUp(ServerId(3)))
    });
    let requests = lines.with("Received connection request");
    assert!(requests < 60, "{requests} lines for 1000 connections");
}

#[test]
fn handshakes_that_never_end_are_given_up_and_hold_up_nobody() {
    let members = ensemble(2);
    let timeout = Duration::from_millis(200);
    let mut two = Node::listening(Config {
        handshake_timeout: timeout,
        introduction_timeout: timeout,
        ..config(2, &members)
    });
    two.peers.listen_quorum();
    let mut slow = connect(election_address(&members, 2));
    slow.write_all(&[0xff, 0xff]).unwrap();
    let quorum = quorum_address(&members, 2);
    let mut learner = None;
    two.until("the quorum port is open", |_| {
        learner = std::net::TcpStream::connect(quorum).ok();
        learner.is_some()
    });
    let mut learner = learner.unwrap();
    two.until("both are closed", |_| is_closed(&mut slow) && is_closed(&mut learner));
    assert_eq!(two.seen, [PeerEvent::ElectionOpen]);
}

#[test]
fn somebody_with_this_server_s_own_id() {
    let (lines, _guard) = listen_to_log();
    let mut pair = Pair::new();
    let mut twin = connect(election_address(&pair.members, 2));
    let from = twin.local_addr().unwrap();
    twin.write_all(&handshake(ServerId(2))).unwrap();
    pair.until("closed", |_| is_closed(&mut twin));
    pair.assert_unharmed();
    let line = format!("The server at /{from} introduces itself with this server's own id, 2");
    assert_eq!(lines.with(&line), 1, "{}", lines.text());
}

#[test]
fn two_servers_with_the_same_id() {
    let (lines, _guard) = listen_to_log();
    let mut pair = Pair::new();
    let address = election_address(&pair.members, 2);
    let mut calls = Vec::new();
    for count in 1..=4 {
        let mut call = connect(address);
        call.write_all(&handshake(ServerId(3))).unwrap();
        calls.push(call);
        let up = PeerEvent::ElectionUp(ServerId(3));
        pair.until("the newest is kept", |node| node.count(&up) == count);
    }
    pair.until("only the newest is kept", |_| calls[..3].iter_mut().all(is_closed));
    assert!(!is_closed(&mut calls[3]));
    pair.assert_unharmed();
    assert_eq!(lines.with("two servers have the myid 3"), 1, "{}", lines.text());
}

#[test]
fn a_liar_with_a_smaller_id_does_not_part_those_who_are_connected() {
    let mut pair = Pair::new();
    let mut liar = connect(election_address(&pair.members, 2));
    liar.write_all(&handshake(ServerId(1))).unwrap();
    pair.until("closed", |_| is_closed(&mut liar));
    // The server itself is dialed, as it might have started anew, and its connection replaced.
    let up = PeerEvent::ElectionUp(ServerId(1));
    let there = PeerEvent::ElectionUp(ServerId(2));
    until(&mut [&mut pair.one, &mut pair.two], "the true one is dialed", |nodes| {
        nodes[0].count(&there) == 2 && nodes[1].count(&up) == 2
    });
    pair.one.notify(2, 9);
    pair.until("and heard", |node| node.votes().contains(&(ServerId(1), 9)));
}

#[test]
fn an_observer_without_an_id_is_kept_under_one_of_its_own() {
    let mut pair = Pair::new();
    let mut observer = connect(election_address(&pair.members, 2));
    observer.write_all(&handshake(ANONYMOUS)).unwrap();
    let up = PeerEvent::ElectionUp(ServerId(-1));
    pair.until("it is told", |node| node.seen.contains(&up));
    pair.two.notify(-1, 3);
    pair.two.turn();
    let mut answer = [0; 4];
    std::io::Read::read_exact(&mut observer, &mut answer).unwrap();
    assert!(u32::from_be_bytes(answer) < NOTIFICATION_BYTES_MAX);
    pair.assert_unharmed();
}

#[test]
fn nobody_has_this_server_dial_a_third() {
    let (lines, _guard) = listen_to_log();
    let mut pair = Pair::new();
    let third = TcpListener::bind("127.0.0.9:0").unwrap();
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    let call = |listener: &TcpListener| {
        let at = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let addresses = vec![PeerAddress { host: at.ip().to_string(), port: at.port() }];
        let form = HandshakeForm::OneAddress;
        let mut bytes = Vec::new();
        Handshake { form, server: ServerId(0), addresses }.encode(&mut bytes);
        bytes
    };
    let mut joiner = connect(election_address(&pair.members, 2));
    joiner.write_all(&call(&third)).unwrap();
    pair.until("it is refused", |_| lines.with("Invalid server id: 0.") == 1);
    assert!(third.accept().is_err(), "nobody has called");
    let mut joiner = connect(election_address(&pair.members, 2));
    joiner.write_all(&call(&own)).unwrap();
    let mut called = None;
    pair.until("it is called back", |_| {
        called = own.accept().ok();
        called.is_some()
    });
    pair.assert_unharmed();
}
