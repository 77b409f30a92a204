//! Quorum connections: packets in order, and the raw bytes of a snapshot between them.
//!
//! Thread: zab. One that came in is a stranger until its first packet has introduced it as a
//! learner; until then it may say next to nothing, for a bounded time, and the driver does not
//! hear of it. What was decoded is told, what was not stays in the socket: a link that is paused,
//! or that streams, holds its peer back.
//!
//! INVARIANT: `LinkUp` or `LeaderUp` is told before any packet of a link, and `LinkDown` after all
//! of them, once, unless the driver closed it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem;
use std::net::SocketAddr;

use super::PeerEvent;
use super::config::Port;
use super::report::Remark;
use crate::ids::Millis;
use crate::limits::{
    LEARNER_QUEUE_BYTES_MAX, LEARNERS_MAX, LINK_PACKETS_PER_TURN_MAX,
    QUORUM_PACKET_BYTES_MAX_STRANGER, QUORUM_STRANGERS_MAX,
};
use crate::net::{Close, ConnectionId, Reactor};
use crate::wire::chunk::Chunk;
use crate::wire::quorum::{Packet, PacketError};
use crate::zab::LinkId;

/// Above it, what is left to send is not worth waiting for when a link is closed.
const LAST_WORDS_BYTES_MAX: usize = 64 << 10;

/// How what comes in is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Intake {
    Packets,
    /// The bytes of a snapshot.
    Stream,
    /// Not at all for now.
    Paused,
}

#[derive(Debug)]
struct Link {
    connection: ConnectionId,
    peer: SocketAddr,
    is_known: bool,
    intake: Intake,
    /// The peer sends no more.
    ended: bool,
    /// Packets behind a snapshot that is being sent.
    held: Option<Vec<u8>>,
}

/// All quorum connections.
#[derive(Debug)]
pub(super) struct Links {
    all: BTreeMap<LinkId, Link>,
    of: HashMap<ConnectionId, LinkId>,
    /// With when to give each up: all wait equally long.
    strangers: VecDeque<(Millis, LinkId)>,
    /// Those with more to decode than one turn takes.
    backlog: VecDeque<LinkId>,
    next: u64,
    packet_bytes_max: u32,
    /// Where what packets hold is kept.
    chunk: Chunk,
    introduction_ms: i64,
    pub(super) remarks: Vec<Remark>,
}

impl Links {
    pub(super) fn new(packet_bytes_max: u32, introduction_ms: i64) -> Self {
        Self {
            all: BTreeMap::new(),
            of: HashMap::new(),
            strangers: VecDeque::new(),
            backlog: VecDeque::new(),
            next: 0,
            packet_bytes_max,
            chunk: Chunk::default(),
            introduction_ms,
            remarks: Vec::new(),
        }
    }

    fn insert(&mut self, connection: ConnectionId, peer: SocketAddr, is_known: bool) -> LinkId {
        self.next += 1;
        let id = LinkId(self.next);
        let intake = Intake::Packets;
        let link = Link { connection, peer, is_known, intake, ended: false, held: None };
        self.all.insert(id, link);
        self.of.insert(connection, id);
        id
    }

    /// A connection to the leader stands.
    pub(super) fn add_leader(&mut self, connection: ConnectionId, peer: SocketAddr) -> LinkId {
        self.insert(connection, peer, true)
    }

    /// Somebody has connected. When there are too many strangers the oldest goes: a learner says
    /// at once who it is.
    pub(super) fn add_stranger(
        &mut self,
        connection: ConnectionId,
        peer: SocketAddr,
        now: Millis,
        reactor: &mut Reactor,
    ) {
        let id = self.insert(connection, peer, false);
        self.strangers.push_back((Millis(now.0 + self.introduction_ms), id));
        if self.strangers.len() > QUORUM_STRANGERS_MAX
            && let Some((_, oldest)) = self.strangers.pop_front()
            && let Some(link) = self.forget(oldest)
        {
            self.remarks.push(Remark::Crowded { port: Port::Quorum, peer: link.peer });
            reactor.close(link.connection, Close::Reset);
        }
    }

    pub(super) fn link_of(&self, connection: ConnectionId) -> Option<LinkId> {
        self.of.get(&connection).copied()
    }

    /// Takes what has come.
    pub(super) fn on_received(
        &mut self,
        id: LinkId,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) {
        let mut left = LINK_PACKETS_PER_TURN_MAX;
        while left > 0 {
            let Some(link) = self.all.get(&id) else { return };
            match link.intake {
                Intake::Packets => {}
                Intake::Stream if reactor.input(link.connection).is_empty() => return,
                Intake::Stream => return out.push(PeerEvent::SnapshotBytes { link: id }),
                Intake::Paused => return,
            }
            let taken = if link.is_known {
                self.take_packets(id, left, reactor, out)
            } else {
                usize::from(self.meet(id, reactor, out))
            };
            if taken == 0 {
                return self.end_if_ended(id, reactor, out);
            }
            left -= taken;
        }
        self.backlog.push_back(id);
    }

    /// How many there were, at most `max`; a link whose bytes are none is closed.
    fn take_packets(
        &mut self,
        id: LinkId,
        max: usize,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) -> usize {
        let Some(link) = self.all.get_mut(&id) else { return 0 };
        let input = reactor.input(link.connection);
        let (mut rest, mut taken, mut wrong) = (input, 0, None);
        while taken < max && link.intake == Intake::Packets {
            match Packet::decode(rest, self.packet_bytes_max, &mut self.chunk) {
                Ok(None) => break,
                Ok(Some((packet, behind))) => {
                    (rest, taken) = (behind, taken + 1);
                    if packet.opens_stream() {
                        link.intake = Intake::Stream;
                    }
                    out.push(PeerEvent::Packet { link: id, packet });
                }
                Err(error) => {
                    wrong = Some(error);
                    break;
                }
            }
        }
        let bytes = input.len() - rest.len();
        reactor.consume(link.connection, bytes);
        if let Some(error) = wrong {
            self.refuse(id, &error, reactor, out);
            return 0;
        }
        taken
    }

    /// Whether a stranger has introduced itself; one that says anything else is closed.
    fn meet(&mut self, id: LinkId, reactor: &mut Reactor, out: &mut Vec<PeerEvent>) -> bool {
        let known = self.all.len() - self.strangers.len();
        let Some(link) = self.all.get_mut(&id) else { return false };
        let (port, peer) = (Port::Quorum, link.peer);
        let input = reactor.input(link.connection);
        let packet = match Packet::decode(input, QUORUM_PACKET_BYTES_MAX_STRANGER, &mut self.chunk)
        {
            Ok(None) => return false,
            Ok(Some((packet, rest))) => {
                let bytes = input.len() - rest.len();
                reactor.consume(link.connection, bytes);
                packet
            }
            Err(error) => {
                self.refuse(id, &error, reactor, out);
                return false;
            }
        };
        let refusal = match () {
            () if known >= LEARNERS_MAX => Some(Remark::Crowded { port, peer }),
            () if packet.introduces() => None,
            () => {
                let why = "its first packet is not that of a learner".to_owned();
                Some(Remark::Nonsense { port, peer, why })
            }
        };
        if let Some(refusal) = refusal {
            self.remarks.push(refusal);
            self.close(id, reactor);
            return false;
        }
        link.is_known = true;
        self.strangers.retain(|(_, stranger)| *stranger != id);
        out.push(PeerEvent::LinkUp { link: id, peer });
        out.push(PeerEvent::Packet { link: id, packet });
        true
    }

    fn refuse(
        &mut self,
        id: LinkId,
        error: &PacketError,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) {
        let Some(link) = self.forget(id) else { return };
        reactor.close(link.connection, Close::Reset);
        let why = error.to_string();
        if link.is_known {
            out.push(PeerEvent::LinkDown { link: id, why });
        } else {
            self.remarks.push(Remark::Nonsense { port: Port::Quorum, peer: link.peer, why });
        }
    }

    /// The peer sends no more: the link is down when what it sent was taken.
    pub(super) fn on_end_of_input(
        &mut self,
        id: LinkId,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) {
        let Some(link) = self.all.get_mut(&id) else { return };
        link.ended = true;
        match link.intake {
            Intake::Packets => self.on_received(id, reactor, out),
            Intake::Stream => self.end_if_ended(id, reactor, out),
            Intake::Paused => {}
        }
    }

    fn end_if_ended(&mut self, id: LinkId, reactor: &mut Reactor, out: &mut Vec<PeerEvent>) {
        if self.all.get(&id).is_some_and(|link| link.ended) {
            self.lose(id, "the peer closed the connection", reactor, out);
        }
    }

    /// The connection is gone. What it brought before that is still told.
    pub(super) fn on_closed(
        &mut self,
        id: LinkId,
        why: &str,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) {
        self.on_received(id, reactor, out);
        self.lose(id, why, reactor, out);
    }

    fn lose(&mut self, id: LinkId, why: &str, reactor: &mut Reactor, out: &mut Vec<PeerEvent>) {
        let Some(link) = self.forget(id) else { return };
        reactor.close(link.connection, Close::Now);
        if link.is_known {
            out.push(PeerEvent::LinkDown { link: id, why: why.to_owned() });
        }
    }

    fn forget(&mut self, id: LinkId) -> Option<Link> {
        let link = self.all.remove(&id)?;
        self.of.remove(&link.connection);
        if !link.is_known {
            self.strangers.retain(|(_, stranger)| *stranger != id);
        }
        Some(link)
    }

    /// Closes a link; nothing more is told of it. The last words are sent, if they are few.
    pub(super) fn close(&mut self, id: LinkId, reactor: &mut Reactor) {
        let Some(link) = self.forget(id) else { return };
        let is_little = reactor.outbox_bytes(link.connection) <= LAST_WORDS_BYTES_MAX;
        reactor.close(link.connection, if is_little { Close::AfterFlush } else { Close::Now });
    }

    /// Closes those that have not said who they are.
    pub(super) fn close_strangers(&mut self, reactor: &mut Reactor) {
        for (_, id) in mem::take(&mut self.strangers) {
            self.close(id, reactor);
        }
    }

    /// Goes on where a turn stopped, and gives up strangers that keep silent.
    pub(super) fn on_time(&mut self, now: Millis, reactor: &mut Reactor, out: &mut Vec<PeerEvent>) {
        for _ in 0..self.backlog.len() {
            let Some(id) = self.backlog.pop_front() else { break };
            self.on_received(id, reactor, out);
        }
        while let Some((_, id)) = self.strangers.front().copied().filter(|(at, _)| *at <= now) {
            if let Some(link) = self.forget(id) {
                self.remarks.push(Remark::Silent { port: Port::Quorum, peer: link.peer });
                reactor.close(link.connection, Close::Reset);
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        if !self.backlog.is_empty() {
            return Some(Millis(0));
        }
        self.strangers.front().map(|(at, _)| *at)
    }

    /// Queues a packet, behind a snapshot if one is being sent. A peer that takes too little for
    /// too long is closed.
    pub(super) fn send(
        &mut self,
        id: LinkId,
        packet: &Packet,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) {
        let Some(link) = self.all.get_mut(&id) else { return };
        match &mut link.held {
            Some(held) => packet.encode(held),
            None => {
                if let Some(outbox) = reactor.outbox(link.connection) {
                    packet.encode(outbox);
                }
            }
        }
        self.bound(id, reactor, out);
    }

    /// Queues bytes of a snapshot.
    pub(super) fn send_bytes(&mut self, id: LinkId, bytes: &[u8], reactor: &mut Reactor) {
        let Some(link) = self.all.get(&id) else { return };
        assert!(link.held.is_some(), "bytes belong to a stream");
        if let Some(outbox) = reactor.outbox(link.connection) {
            outbox.extend_from_slice(bytes);
        }
    }

    fn bound(&mut self, id: LinkId, reactor: &mut Reactor, out: &mut Vec<PeerEvent>) {
        let bytes = self.outbox_bytes(id, reactor);
        if bytes > LEARNER_QUEUE_BYTES_MAX {
            let why = format!("it is too slow: {bytes} bytes wait to be sent to it");
            self.lose(id, &why, reactor, out);
        }
    }

    /// From now on packets wait until the stream ends.
    pub(super) fn begin_stream(&mut self, id: LinkId) {
        if let Some(link) = self.all.get_mut(&id) {
            link.held.get_or_insert_default();
        }
    }

    /// Sends what has waited for it.
    pub(super) fn end_stream(&mut self, id: LinkId, reactor: &mut Reactor) {
        let Some(link) = self.all.get_mut(&id) else { return };
        let held = link.held.take().unwrap_or_default();
        if let Some(outbox) = reactor.outbox(link.connection) {
            outbox.extend_from_slice(&held);
        }
    }

    /// Bytes that the kernel has not taken, those that wait behind a stream included.
    pub(super) fn outbox_bytes(&self, id: LinkId, reactor: &Reactor) -> usize {
        let Some(link) = self.all.get(&id) else { return 0 };
        reactor.outbox_bytes(link.connection) + link.held.as_ref().map_or(0, Vec::len)
    }

    /// Bytes that the kernel has not taken.
    pub(super) fn stream_outbox_bytes(&self, id: LinkId, reactor: &Reactor) -> usize {
        self.all.get(&id).map_or(0, |link| reactor.outbox_bytes(link.connection))
    }

    /// Bytes of a stream that have come and were not consumed.
    pub(super) fn stream_bytes<'a>(&self, id: LinkId, reactor: &'a Reactor) -> &'a [u8] {
        match self.all.get(&id) {
            Some(link) if link.intake == Intake::Stream => reactor.input(link.connection),
            Some(_) | None => &[],
        }
    }

    pub(super) fn consume(&mut self, id: LinkId, bytes: usize, reactor: &mut Reactor) {
        let Some(link) = self.all.get(&id) else { return };
        assert!(link.intake == Intake::Stream, "packets are consumed here");
        reactor.consume(link.connection, bytes);
    }

    /// The snapshot is complete: packets again.
    pub(super) fn end_intake(&mut self, id: LinkId) {
        if let Some(link) = self.all.get_mut(&id)
            && link.intake == Intake::Stream
        {
            link.intake = Intake::Packets;
            self.backlog.push_back(id);
        }
    }

    /// Takes nothing more from the peer, which is held back by its socket.
    pub(super) fn pause(&mut self, id: LinkId, reactor: &mut Reactor) {
        if let Some(link) = self.all.get_mut(&id)
            && link.intake == Intake::Packets
        {
            link.intake = Intake::Paused;
            reactor.pause(link.connection);
        }
    }

    /// Takes packets again.
    pub(super) fn resume(&mut self, id: LinkId, reactor: &mut Reactor) {
        if let Some(link) = self.all.get_mut(&id)
            && link.intake == Intake::Paused
        {
            link.intake = Intake::Packets;
            reactor.resume(link.connection);
            self.backlog.push_back(id);
        }
    }
}
