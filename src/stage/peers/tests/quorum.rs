//! A leader and its learners: packets, snapshots, and peers that do not read.

use std::io::Write;
use std::time::Duration;

use super::super::{Address, PeerEvent};
use super::{Node, PATIENCE, config, connect, ensemble, is_closed, quorum_address, until};
use crate::ids::{Epoch, ServerId, Zxid};
use crate::limits::LEARNER_QUEUE_BYTES_MAX;
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, Packet};
use crate::zab::LinkId;

fn introduction(server: i64) -> Packet {
    let info = LearnerInfo {
        server: Some(ServerId(server)),
        protocol: Some(PROTOCOL_VERSION),
        config_version: Some(0),
    };
    Packet::FollowerInfo { accepted: Epoch(0), info }
}

fn ping(zxid: i64) -> Packet {
    Packet::Ping { zxid: Zxid(zxid), touches: None }
}

impl Node {
    fn send(&mut self, link: LinkId, packet: &Packet) {
        self.peers.send(link, packet, &mut self.reactor, &mut self.seen);
    }

    fn packets(&self) -> Vec<Packet> {
        let packet = |event: &PeerEvent| {
            let PeerEvent::Packet { packet, .. } = event else { return None };
            Some(packet.clone())
        };
        self.seen.iter().filter_map(packet).collect()
    }

    fn link(&self) -> Option<LinkId> {
        self.seen.iter().find_map(|event| {
            let (PeerEvent::LinkUp { link, .. } | PeerEvent::LeaderUp { link, .. }) = event else {
                return None;
            };
            Some(*link)
        })
    }

    fn down(&self) -> Option<String> {
        self.seen.iter().find_map(|event| {
            let PeerEvent::LinkDown { why, .. } = event else { return None };
            Some(why.clone())
        })
    }
}

/// A leader, a learner, and their link at each end.
fn pair() -> (Node, LinkId, Node, LinkId) {
    let members = ensemble(2);
    let mut leader = Node::new(config(1, &members));
    let mut learner = Node::new(config(2, &members));
    leader.peers.listen_quorum();
    // The port opens within a few turns; a learner tries again, as the protocol has it.
    while learner.link().is_none() {
        leader.turn();
        learner.peers.dial_leader(ServerId(1), PATIENCE, &mut learner.reactor);
        let tried = learner.seen.len();
        learner.until("an answer", |seen| seen.len() > tried);
    }
    let to_leader = learner.link().unwrap();
    learner.send(to_leader, &introduction(2));
    until(&mut [&mut leader, &mut learner], "it is introduced", |nodes| {
        nodes[0].packets() == [introduction(2)]
    });
    let to_learner = leader.link().unwrap();
    (leader, to_learner, learner, to_leader)
}

#[test]
fn packets_go_both_ways_in_order() {
    let (mut leader, to_learner, mut learner, to_leader) = pair();
    let pings: Vec<Packet> = (0..5000).map(ping).collect();
    for packet in &pings {
        leader.send(to_learner, packet);
        learner.send(to_leader, packet);
    }
    until(&mut [&mut leader, &mut learner], "all have come", |nodes| {
        nodes[0].packets().len() == 5001 && nodes[1].packets().len() == 5000
    });
    assert!(learner.packets() == pings && leader.packets()[1..] == pings);
}

#[test]
fn a_leader_that_is_not_there_is_named() {
    let members = ensemble(2);
    let mut learner = Node::new(config(2, &members));
    learner.peers.dial_leader(ServerId(1), PATIENCE, &mut learner.reactor);
    learner.until("an answer", |seen| !seen.is_empty());
    let why = format!("/{}: connection refused", quorum_address(&members, 1));
    let leader = ServerId(1);
    assert_eq!(learner.seen, [PeerEvent::LeaderUnreachable { leader, why }]);
    learner.seen.clear();
    learner.peers.dial_leader(ServerId(9), PATIENCE, &mut learner.reactor);
    learner.until("an answer", |seen| !seen.is_empty());
    let PeerEvent::LeaderUnreachable { why, .. } = &learner.seen[0] else { panic!() };
    assert!(why.contains("not in this server's configuration"), "{why}");
}

#[test]
fn all_addresses_of_the_leader_are_tried_and_the_first_wins() {
    let mut members = ensemble(2);
    let live = members[&ServerId(1)][0].clone();
    let mut leader = Node::new(config(1, &members));
    leader.peers.listen_quorum();
    let refused = Address { quorum_port: super::free_port(), ..live.clone() };
    let dead = Address { host: "192.0.2.1".to_owned(), ..live.clone() };
    members.insert(ServerId(1), vec![refused, dead, live]);
    let mut learner = Node::new(config(2, &members));
    while learner.link().is_none() {
        leader.turn();
        learner.peers.dial_leader(ServerId(1), Duration::from_secs(2), &mut learner.reactor);
        let tried = learner.seen.len();
        learner.until("an answer", |seen| seen.len() > tried);
    }
}

#[test]
fn a_snapshot_goes_between_packets_and_holds_the_sender_back() {
    const BYTES: usize = 24 << 20;
    let (mut leader, to_learner, mut learner, to_leader) = pair();
    leader.send(to_learner, &Packet::Snap { zxid: Zxid(9) });
    leader.peers.begin_stream(to_learner);
    leader.send(to_learner, &ping(10));
    let chunk = vec![7; 1 << 20];
    for _ in 0..BYTES / chunk.len() {
        leader.peers.send_bytes(to_learner, &chunk, &mut leader.reactor);
    }
    leader.send(to_learner, &ping(11));
    assert!(leader.peers.outbox_bytes(to_learner, &leader.reactor) > BYTES);
    leader.peers.end_stream(to_learner, &mut leader.reactor);
    leader.send(to_learner, &ping(12));

    for _ in 0..200 {
        leader.turn();
        learner.turn();
    }
    let held = learner.peers.stream_bytes(to_leader, &learner.reactor).len();
    assert!(held < BYTES / 2, "the learner does not take what it does not use: {held}");
    assert!(leader.peers.outbox_bytes(to_learner, &leader.reactor) > 0, "so the leader waits");
    let mut taken = 0;
    while taken < BYTES {
        let bytes = learner.peers.stream_bytes(to_leader, &learner.reactor);
        let len = bytes.len().min(BYTES - taken);
        assert!(bytes[..len].iter().all(|byte| *byte == 7));
        taken += len;
        learner.peers.consume(to_leader, len, &mut learner.reactor);
        leader.turn();
        learner.turn();
    }
    assert_eq!(learner.packets(), [Packet::Snap { zxid: Zxid(9) }]);
    learner.peers.end_intake(to_leader);
    until(&mut [&mut leader, &mut learner], "the packets behind it", |nodes| {
        nodes[1].packets().len() == 4
    });
    assert_eq!(learner.packets()[1..], [ping(10), ping(11), ping(12)]);
    assert!(leader.seen.contains(&PeerEvent::Drained { link: to_learner }));
}

#[test]
fn a_paused_link_keeps_its_packets_until_it_is_resumed() {
    let (mut leader, to_learner, mut learner, to_leader) = pair();
    leader.peers.pause(to_learner, &mut leader.reactor);
    for zxid in 0..100 {
        learner.send(to_leader, &ping(zxid));
    }
    learner.peers.close(to_leader, &mut learner.reactor);
    for _ in 0..50 {
        learner.turn();
        leader.turn();
    }
    assert_eq!((leader.packets().len(), leader.down()), (1, None));
    leader.peers.resume(to_learner, &mut leader.reactor);
    until(&mut [&mut leader, &mut learner], "all, and the end", |nodes| nodes[0].down().is_some());
    assert_eq!(leader.packets().len(), 101);
    assert_eq!(leader.down().as_deref(), Some("the peer closed the connection"));
    assert_eq!(learner.down(), None, "it knows, as it closed it itself");
}

#[test]
fn a_learner_that_does_not_read_is_closed_and_nobody_waits_for_it() {
    let members = ensemble(2);
    let mut leader = Node::new(config(1, &members));
    leader.peers.listen_quorum();
    let address = quorum_address(&members, 1);
    let mut stream = None;
    leader.until("the port is open", |_| {
        stream = std::net::TcpStream::connect(address).ok();
        stream.is_some()
    });
    let mut silent = stream.unwrap();
    let mut bytes = Vec::new();
    introduction(2).encode(&mut bytes);
    silent.write_all(&bytes).unwrap();
    leader.until("it is introduced", |seen| seen.len() == 2);
    let link = leader.link().unwrap();
    let record = vec![0; 1 << 20].into();
    let proposal = Packet::Proposal { zxid: Zxid(1), record };
    for _ in 0..(LEARNER_QUEUE_BYTES_MAX >> 20) + 32 {
        leader.send(link, &proposal);
        leader.turn();
    }
    let why = leader.down().unwrap();
    assert!(why.starts_with("it is too slow: "), "{why}");
    assert_eq!(leader.peers.outbox_bytes(link, &leader.reactor), 0);
}

#[test]
fn bytes_that_are_no_packet_end_the_link() {
    let members = ensemble(2);
    let mut leader = Node::new(config(1, &members));
    leader.peers.listen_quorum();
    let address = quorum_address(&members, 1);
    let mut open = None;
    leader.until("the port is open", |_| {
        open = std::net::TcpStream::connect(address).ok();
        open.is_some()
    });
    drop(open);
    let mut bytes = Vec::new();
    introduction(2).encode(&mut bytes);
    ping(1).encode(&mut bytes);
    bytes.extend_from_slice(&[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]);
    let mut stream = connect(address);
    stream.write_all(&bytes).unwrap();
    leader.until("the end", |seen| seen.len() == 4);
    assert_eq!(leader.packets(), [introduction(2), ping(1)], "what came before counts");
    assert!(leader.down().unwrap().contains("length 2147483647 of data"));
    leader.until("the connection is closed", |_| is_closed(&mut stream));
}

#[test]
fn a_port_can_be_closed_and_opened_again_at_once() {
    let (mut leader, to_learner, mut learner, to_leader) = pair();
    leader.peers.unlisten_quorum(&mut leader.reactor);
    leader.peers.listen_quorum();
    leader.send(to_learner, &ping(1));
    until(&mut [&mut leader, &mut learner], "links stay", |nodes| nodes[1].packets() == [ping(1)]);
    learner.peers.close(to_leader, &mut learner.reactor);
    learner.seen.clear();
    while learner.link().is_none() {
        leader.turn();
        learner.peers.dial_leader(ServerId(1), PATIENCE, &mut learner.reactor);
        let tried = learner.seen.len();
        learner.until("an answer", |seen| seen.len() > tried);
    }
}
