//! Connections between nodes: dialed, replaced, read, lost.

use ringkeeper::limits::QUORUM_PACKET_BYTES_MAX_DEFAULT;
use ringkeeper::wire::election::{self, Notification};
use ringkeeper::wire::quorum::Packet;
use ringkeeper::zab::election::{Ballot, is_kept};
use ringkeeper::zab::{Input, LinkId};

use super::{Cluster, Event};
use crate::network::{Arrival, ConnectionId, Port, Side};
use crate::plan::server;
use crate::queue::Micros;

impl Cluster {
    /// What the core asks for: an election connection to a peer.
    pub(super) fn dial_election(&mut self, from: usize, to: usize) {
        let life = self.nodes[from].life;
        let Some(server) = &mut self.nodes[from].server else { return };
        if server.dialing & (1 << to) == 0 {
            server.dialing |= 1 << to;
            let delay = self.network.delay();
            self.queue.plan_in(delay, Event::DialElection { from, life, to });
        }
    }

    fn is_reachable(&self, from: usize, to: usize) -> bool {
        !self.network.is_cut(from, to) && !self.network.is_cut(to, from)
    }

    pub(super) fn on_dial_election(&mut self, from: usize, life: u32, to: usize) {
        if !self.lives(from, life) {
            return;
        }
        self.nodes[from].server().dialing &= !(1 << to);
        if !self.is_reachable(from, to) || self.nodes[to].server.is_none() {
            return;
        }
        if !is_kept(server(from), server(to)) {
            return self.dial_election(to, from); // it is dialed back
        }
        let delay = self.network.delay();
        let ends = [(from, life), (to, self.nodes[to].life)];
        let dialed = self.now() + delay;
        let id = self.network.connect(Port::Election, ends[0], ends[1], dialed);
        self.queue.plan(dialed, Event::Dialed(id));
        self.election_up(to, from, id, Side::Acceptor);
    }

    /// A connection stands at one of its ends, and takes the place of the one before.
    fn election_up(&mut self, node: usize, peer: usize, id: ConnectionId, side: Side) {
        let old = self.nodes[node].server().election[peer].replace((id, side));
        if let Some((old, side)) = old {
            self.close(old, side);
        }
        self.feed(node, Input::ElectionUp(server(peer)));
    }

    pub(super) fn on_dial_leader(&mut self, from: usize, life: u32, to: usize, timeout: Micros) {
        if !self.lives(from, life) {
            return;
        }
        let delay = self.network.delay();
        if !self.is_reachable(from, to) || !self.nodes[to].is_machine_up {
            return self.queue.plan_in(timeout, Event::Unreachable(from, life));
        }
        if !self.nodes[to].server.as_ref().is_some_and(|server| server.is_listening) {
            return self.queue.plan_in(delay, Event::Unreachable(from, life));
        }
        let dialed = self.now() + delay;
        let acceptor = (to, self.nodes[to].life);
        let id = self.network.connect(Port::Quorum, (from, life), acceptor, dialed);
        self.queue.plan(dialed, Event::Dialed(id));
        let link = self.network.get(id).end(Side::Acceptor).link;
        self.nodes[to].server().links.insert(link, (id, Side::Acceptor));
        self.feed(to, Input::LinkUp(link));
    }

    pub(super) fn on_dialed(&mut self, id: ConnectionId) {
        let connection = self.network.get(id);
        let (port, peer) = (connection.port, connection.end(Side::Acceptor).node);
        let end = connection.end(Side::Dialer);
        let (node, life, link, is_open) = (end.node, end.life, end.link, end.is_open);
        if !is_open {
            return;
        }
        if !self.lives(node, life) {
            return self.close(id, Side::Dialer);
        }
        match port {
            Port::Election => self.election_up(node, peer, id, Side::Dialer),
            Port::Quorum => {
                let server = self.nodes[node].server();
                server.links.insert(link, (id, Side::Dialer));
                server.leader = Some(link);
                self.feed(node, Input::LeaderUp(link));
            }
        }
    }

    /// Closes this end; the other learns of it.
    pub(super) fn close(&mut self, id: ConnectionId, side: Side) {
        let now = self.now();
        if let Some(at) = self.network.close(now, id, side) {
            self.queue.plan(at, Event::Arrive(id, side));
        }
    }

    pub(super) fn send(&mut self, id: ConnectionId, side: Side, encode: impl FnOnce(&mut Vec<u8>)) {
        let now = self.now();
        if let Some(at) = self.network.send(now, id, side, encode) {
            self.queue.plan(at, Event::Arrive(id, side));
        }
    }

    /// What `side` sent is at the other end.
    pub(super) fn on_arrive(&mut self, id: ConnectionId, side: Side) {
        let end = self.network.get(id).end(side.other());
        let (node, life) = (end.node, end.life);
        let (arrival, next) = self.network.arrive(id, side);
        if let Some(at) = next {
            self.queue.plan(at, Event::Arrive(id, side));
        }
        match arrival {
            Arrival::Nothing => {}
            Arrival::Refused => {
                if self.nodes[node].is_machine_up {
                    let delay = self.network.delay();
                    self.queue.plan_in(delay, Event::Lost(id, side));
                }
            }
            _ if !self.lives(node, life) => {
                // Nobody there: a machine that is up says so.
                let is_known = self.nodes[node].is_machine_up;
                self.network.vanish(id, side.other());
                if is_known {
                    let delay = self.network.delay();
                    self.queue.plan_in(delay, Event::Lost(id, side));
                }
            }
            Arrival::End => self.on_lost(id, side.other()),
            Arrival::Bytes => self.read(id, side.other()),
        }
    }

    /// This end is told that the connection is gone.
    pub(super) fn on_lost(&mut self, id: ConnectionId, side: Side) {
        let connection = self.network.get(id);
        let port = connection.port;
        let peer = connection.end(side.other()).node;
        let end = connection.end(side);
        let (node, life, link) = (end.node, end.life, end.link);
        if !std::mem::replace(&mut end.is_open, false) || !self.lives(node, life) {
            return;
        }
        match port {
            Port::Election => {
                let current = &mut self.nodes[node].server().election[peer];
                if *current == Some((id, side)) {
                    *current = None;
                    self.feed(node, Input::ElectionDown(server(peer)));
                }
            }
            Port::Quorum => {
                self.say(node, || format!("the connection to n{} is gone", peer + 1));
                let is_known = self.nodes[node].server().links.remove(&link).is_some();
                if !is_known && side == Side::Dialer {
                    return self.feed(node, Input::LeaderUnreachable); // it did not know yet
                }
                self.feed(node, Input::LinkDown(link));
                self.stop_receiving(node, link);
            }
        }
    }

    /// Reads what is in an end's inbox.
    pub(super) fn read(&mut self, id: ConnectionId, side: Side) {
        let now = self.now();
        let connection = self.network.get(id);
        let port = connection.port;
        let peer = connection.end(side.other()).node;
        let end = connection.end(side);
        let node = end.node;
        self.trace.mix(now, 2 + ((node as u64) << 8) + ((end.inbox.len() as u64) << 16));
        match port {
            Port::Election => self.read_notifications(id, side, node, peer),
            Port::Quorum => self.read_packets(id, side, node),
        }
    }

    fn read_notifications(&mut self, id: ConnectionId, side: Side, node: usize, peer: usize) {
        let bytes = std::mem::take(&mut self.network.get(id).end(side).inbox);
        let mut rest = &bytes[..];
        while let Some((frame, after)) = election::split(rest).expect("peers send frames") {
            rest = after;
            let notification = Notification::decode(frame).expect("peers send notifications");
            let ballot = Ballot::from(&notification);
            if self.nodes[node].server.is_none() {
                return;
            }
            self.feed(node, Input::Notified { from: server(peer), ballot });
        }
        let rest = rest.to_vec();
        self.put_back(id, side, rest);
        self.network.keep(bytes);
    }

    fn put_back(&mut self, id: ConnectionId, side: Side, rest: Vec<u8>) {
        let end = self.network.get(id).end(side);
        if end.is_open {
            end.inbox = rest;
        }
    }

    fn read_packets(&mut self, id: ConnectionId, side: Side, node: usize) {
        let (link, life) = {
            let end = self.network.get(id).end(side);
            (end.link, end.life)
        };
        if self.nodes[node].server().is_streaming(link) {
            return self.read_stream(node, id, side);
        }
        let bytes = std::mem::take(&mut self.network.get(id).end(side).inbox);
        let mut rest = &bytes[..];
        while self.lives(node, life)
            && self.is_reading(node, link)
            && self.network.get(id).end(side).is_open
        {
            let decoded = Packet::decode(rest, QUORUM_PACKET_BYTES_MAX_DEFAULT, &mut self.chunk);
            let Some((packet, after)) = decoded.expect("peers send packets") else { break };
            rest = after;
            self.note_heard(node, &packet);
            self.feed(node, Input::Packet { link, packet });
        }
        let rest = rest.to_vec();
        self.put_back(id, side, rest);
        self.network.keep(bytes);
        if self.lives(node, life) && self.nodes[node].server().is_streaming(link) {
            self.read_stream(node, id, side);
        }
    }

    /// Whether another packet of this link may be read now.
    fn is_reading(&mut self, node: usize, link: LinkId) -> bool {
        let server = self.nodes[node].server();
        let is_leaders = server.leader == Some(link);
        server.links.contains_key(&link)
            && !server.is_streaming(link)
            && (!is_leaders || server.zab.is_reading())
    }

    /// Reads on from the leader, if something waited for the core to be ready.
    pub(super) fn read_on(&mut self, node: usize) {
        let Some(server) = &mut self.nodes[node].server else { return };
        let Some(link) = server.leader else { return };
        let Some((id, side)) = server.links.get(&link).copied() else { return };
        if server.zab.is_reading() && !self.network.get(id).end(side).inbox.is_empty() {
            self.read(id, side);
        }
    }
}
