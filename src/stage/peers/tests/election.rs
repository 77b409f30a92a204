//! Servers that look for each other.

use std::net::TcpListener;
use std::time::Duration;

use super::super::{Address, PeerEvent};
use super::{Node, config, connect, election_address, ensemble, is_closed, listen_to_log, until};
use crate::ids::ServerId;
use crate::wire::election::{Handshake, HandshakeForm, PeerAddress};

fn up(server: i64) -> PeerEvent {
    PeerEvent::ElectionUp(ServerId(server))
}

fn down(server: i64) -> PeerEvent {
    PeerEvent::ElectionDown(ServerId(server))
}

#[test]
fn whoever_dials_the_greater_keeps_the_connection_and_votes_go_both_ways() {
    for dialer in [1, 2] {
        let members = ensemble(2);
        let mut one = Node::listening(config(1, &members));
        let mut two = Node::listening(config(2, &members));
        one.notify(2, 11);
        two.notify(1, 22);
        let (from, to) = if dialer == 1 { (&mut one, 2) } else { (&mut two, 1) };
        from.dial(to);
        until(&mut [&mut one, &mut two], "both are told", |nodes| {
            nodes[0].votes() == [(ServerId(2), 22)] && nodes[1].votes() == [(ServerId(1), 11)]
        });
        assert_eq!((one.count(&up(2)), two.count(&up(1))), (1, 1), "dialed by {dialer}");
        assert_eq!((one.count(&down(2)), two.count(&down(1))), (0, 0));
        assert_eq!(one.reactor.connection_count() + two.reactor.connection_count(), 2, "one each");
    }
}

#[test]
fn both_dial_at_once_and_one_connection_stays() {
    let members = ensemble(3);
    let mut nodes: Vec<Node> = (1..=3).map(|id| Node::listening(config(id, &members))).collect();
    let mut nodes: Vec<&mut Node> = nodes.iter_mut().collect();
    for (at, node) in nodes.iter_mut().enumerate() {
        for other in (1..=3).filter(|other| *other != at + 1) {
            let other = i64::try_from(other).unwrap();
            node.dial(other);
            node.notify(other, 1);
        }
    }
    until(&mut nodes, "everybody has heard everybody", |nodes| {
        nodes.iter().all(|node| {
            let mut from: Vec<_> = node.votes().iter().map(|(from, _)| *from).collect();
            from.sort_unstable();
            from.dedup();
            from.len() == 2
        })
    });
    until(&mut nodes, "two connections each", |nodes| {
        nodes.iter().all(|node| node.reactor.connection_count() == 2)
    });
}

#[test]
fn the_newest_vote_waits_for_the_connection() {
    let members = ensemble(2);
    let mut two = Node::listening(config(2, &members));
    for round in 1..=5 {
        two.notify(1, round);
    }
    let mut one = Node::listening(config(1, &members));
    two.dial(1);
    until(&mut [&mut one, &mut two], "a vote", |nodes| !nodes[0].votes().is_empty());
    assert_eq!(one.votes(), [(ServerId(2), 5)]);
    one.notify(2, 6);
    one.notify(2, 7);
    until(&mut [&mut one, &mut two], "two more", |nodes| nodes[1].votes().len() == 2);
    assert_eq!(two.votes(), [(ServerId(1), 6), (ServerId(1), 7)], "an open connection takes all");
}

#[test]
fn a_peer_that_restarts_is_told_as_down_and_up() {
    let members = ensemble(2);
    let mut one = Node::listening(config(1, &members));
    let mut two = Node::listening(config(2, &members));
    one.dial(2);
    until(&mut [&mut one, &mut two], "they meet", |nodes| nodes[0].count(&up(2)) == 1);
    drop(two);
    one.until("it is missed", |seen| seen.contains(&down(2)));
    let mut two = Node::listening(config(2, &members));
    two.dial(1);
    until(&mut [&mut one, &mut two], "they meet again", |nodes| nodes[0].count(&up(2)) == 2);
}

#[test]
fn a_peer_that_is_away_is_named_with_its_address_and_the_reason() {
    let (lines, _guard) = listen_to_log();
    let mut members = ensemble(3);
    members.insert(
        ServerId(3),
        vec![Address {
            host: "no-such-host.invalid".to_owned(),
            quorum_port: 2888,
            election_port: 3888,
        }],
    );
    let mut one = Node::listening(config(1, &members));
    one.dial(2);
    one.dial(3);
    let nowhere = "Cannot open channel to 3 at election address no-such-host.invalid/<unresolved>";
    one.until("both are logged", |_| lines.with("to 2 at") == 1 && lines.with(nowhere) == 1);
    let address = election_address(&members, 2);
    let refused =
        format!("Cannot open channel to 2 at election address /{address}: connection refused");
    assert_eq!(lines.with(&refused), 1, "{}", lines.text());
    assert_eq!(lines.with("the name does not resolve here ("), 1, "{}", lines.text());
    assert_eq!(lines.with("1 is accepting connections now, my election bind port: /127.0.0.1:"), 1);
}

#[test]
fn a_name_that_leads_to_this_server_itself_is_not_dialed_and_named() {
    let (lines, _guard) = listen_to_log();
    let mut members = ensemble(2);
    let mut own = members[&ServerId(1)].clone();
    "localhost".clone_into(&mut own[0].host);
    members.insert(ServerId(2), own);
    let mut one = Node::listening(config(1, &members));
    one.dial(2);
    one.until("it is logged", |_| lines.with("Cannot open channel to 2") == 1);
    let at = election_address(&members, 1);
    let hint = format!("resolves to {at} here, which is where this server itself listens");
    assert_eq!(lines.with(&hint), 1, "{}", lines.text());
    assert_eq!(lines.with("introduces itself"), 0, "{}", lines.text());
}

#[test]
fn a_server_that_takes_calls_and_never_returns_them_is_named() {
    let (lines, _guard) = listen_to_log();
    let members = ensemble(2);
    let other = TcpListener::bind(election_address(&members, 2)).unwrap();
    let mut one = Node::listening(config(1, &members));
    let mut calls = Vec::new();
    other.set_nonblocking(true).unwrap();
    one.dial(2);
    while lines.with("has taken 3 calls and has not called back") == 0 {
        if let Ok((call, _)) = other.accept() {
            calls.push(call);
            one.dial(2);
        }
        one.turn();
        assert!(calls.len() < 10, "{}", lines.text());
    }
    assert_eq!(lines.with(&format!("/{}", election_address(&members, 2))), 1, "{}", lines.text());
}

#[test]
fn a_peer_is_dialed_back_where_it_says_it_is_if_its_name_is_wrong_here() {
    let members = ensemble(2);
    let mut mapped_wrongly = members.clone();
    mapped_wrongly.get_mut(&ServerId(1)).unwrap()[0].election_port = super::free_port();
    let mut one = Node::listening(config(1, &members));
    let mut two = Node::listening(config(2, &mapped_wrongly));
    one.dial(2);
    one.notify(2, 1);
    until(&mut [&mut one, &mut two], "they meet all the same", |nodes| {
        nodes[1].votes() == [(ServerId(1), 1)]
    });
}

#[test]
fn an_address_that_does_not_answer_holds_up_no_other() {
    let mut members = ensemble(2);
    let own = members[&ServerId(1)][0].clone();
    // The first is a network that nobody has.
    let dead = Address { host: "192.0.2.1".to_owned(), ..own.clone() };
    members.insert(ServerId(1), vec![dead, own.clone()]);
    let mut here = members.clone();
    here.insert(ServerId(1), vec![own]);
    let mut one = Node::listening(config(1, &here));
    let mut two = Node::listening(config(2, &members));
    two.dial(1);
    until(&mut [&mut one, &mut two], "they meet", |nodes| nodes[1].count(&up(1)) == 1);
}

#[test]
fn the_handshake_is_as_the_configuration_has_it() {
    for multi_address in [false, true] {
        let members = ensemble(2);
        let far = TcpListener::bind(election_address(&members, 2)).unwrap();
        far.set_nonblocking(true).unwrap();
        let mut one = Node::listening(super::Config { multi_address, ..config(1, &members) });
        one.dial(2);
        let mut call = loop {
            one.turn();
            if let Ok((call, _)) = far.accept() {
                break call;
            }
        };
        let mut bytes = Vec::new();
        while !is_closed_into(&mut call, &mut bytes) {
            one.turn();
        }
        let (said, rest) = Handshake::decode(&bytes).unwrap().unwrap();
        let form = if multi_address { HandshakeForm::Addresses } else { HandshakeForm::OneAddress };
        let own = election_address(&members, 1);
        let own = PeerAddress { host: own.ip().to_string(), port: own.port() };
        assert_eq!(said, Handshake { form, server: ServerId(1), addresses: vec![own] });
        assert_eq!(rest, b"");
    }
}

/// Reads what there is; whether that was all.
fn is_closed_into(stream: &mut std::net::TcpStream, bytes: &mut Vec<u8>) -> bool {
    use std::io::Read;
    stream.set_nonblocking(true).unwrap();
    match stream.read_to_end(bytes) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[test]
fn a_port_in_use_is_tried_again_and_then_given_up() {
    let (lines, _guard) = listen_to_log();
    let members = ensemble(1);
    let taken = TcpListener::bind(election_address(&members, 1)).unwrap();
    let mut one = Node::new(super::Config { bind_tries_max: 2, ..config(1, &members) });
    one.peers.listen_election();
    one.until("given up", |seen| {
        seen.iter().any(|event| matches!(event, PeerEvent::ElectionFailed { .. }))
    });
    assert_eq!(lines.with("Exception while listening on the election port"), 2, "{}", lines.text());
    assert_eq!(lines.with("in use"), 2, "{}", lines.text());
    drop(taken);

    let taken = TcpListener::bind(election_address(&members, 1)).unwrap();
    let mut patient = Node::new(super::Config { bind_tries_max: 0, ..config(1, &members) });
    patient.peers.listen_election();
    patient.until("one try", |_| lines.with("Exception while listening") == 3);
    drop(taken);
    patient.until("it listens", |seen| seen.contains(&PeerEvent::ElectionOpen));
}

#[test]
fn all_addresses_or_ipv6_if_so_configured() {
    let members = ensemble(1);
    let port = members[&ServerId(1)][0].election_port;
    let on_all = super::Config { listen_on_all: true, ..config(1, &members) };
    let mut everywhere = Node::listening(on_all);
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    let addresses = [format!("127.0.0.2:{port}"), format!("[::1]:{port}")];
    for address in addresses.iter().take(1 + usize::from(has_ipv6)) {
        let mut stranger = connect(address.parse().unwrap());
        everywhere.turn();
        assert!(!is_closed(&mut stranger));
    }
    drop(everywhere);
    if !has_ipv6 {
        println!("left out: IPv6, which this machine does not have");
        return;
    }
    let mut members = ensemble(2);
    for addresses in members.values_mut() {
        "::1".clone_into(&mut addresses[0].host);
    }
    let mut one = Node::listening(config(1, &members));
    let mut two = Node::listening(config(2, &members));
    one.dial(2);
    until(&mut [&mut one, &mut two], "they meet", |nodes| nodes[0].count(&up(2)) == 1);
}

#[test]
fn a_dial_that_nobody_answers_ends_in_time_and_says_so() {
    let (lines, _guard) = listen_to_log();
    let mut members = ensemble(2);
    let deaf = crate::net::Listener::bind("127.0.0.1:0".parse().unwrap(), 1, false).unwrap();
    let address = deaf.local_addr();
    members.get_mut(&ServerId(2)).unwrap()[0].election_port = address.port();
    let wait = Duration::from_millis(100);
    let full = (0..8).map_while(|_| std::net::TcpStream::connect_timeout(&address, wait).ok());
    let _waiting: Vec<_> = full.collect();
    let connect_timeout = Duration::from_millis(50);
    let mut one = Node::listening(super::Config { connect_timeout, ..config(1, &members) });
    one.dial(2);
    one.until("it is logged", |_| lines.with("Cannot open channel to 2") == 1);
    let line = format!("election address /{address}: timed out after 50 ms");
    assert_eq!(lines.with(&line), 1, "{}", lines.text());
}
