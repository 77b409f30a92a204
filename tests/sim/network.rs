//! Connections between nodes: bytes in order on each, nothing promised between two.
//!
//! Bytes take their time; where a link is cut they wait, as TCP sends them again until the link is
//! mended or somebody gives up. A connection ends at one end first, and the other may learn of it
//! late or never. A new connection to the same peer does not know of the old one.

use std::collections::VecDeque;

use ringkeeper::zab::LinkId;

use crate::checker::Place;
use crate::queue::{MILLI, Micros};
use crate::random::Random;

/// Names a connection for ever.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(pub u32);

/// Which port was dialed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Port {
    Election,
    Quorum,
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    Dialer = 0,
    Acceptor = 1,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Dialer, Self::Acceptor];

    pub const fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Acceptor,
            Self::Acceptor => Self::Dialer,
        }
    }
}

/// One end of a connection: a node in one of its lives.
pub struct End {
    pub node: usize,
    /// The node's life; in another one it knows nothing of this connection.
    pub life: u32,
    pub is_open: bool,
    /// Came, and was not read.
    pub inbox: Vec<u8>,
    /// The node's name for it: a link, or a peer.
    pub link: LinkId,
}

/// Bytes, or the end of them, on their way.
struct Chunk {
    at: Micros,
    sent: Micros,
    bytes: Vec<u8>,
    is_end: bool,
}

/// One direction.
struct Flow {
    chunks: VecDeque<Chunk>,
    last_at: Micros,
    /// An arrival is planned, or waits for a cut link.
    is_planned: bool,
    is_held: bool,
}

impl Flow {
    fn new() -> Self {
        Self { chunks: VecDeque::new(), last_at: 0, is_planned: false, is_held: false }
    }
}

/// See the module.
pub struct Connection {
    pub port: Port,
    pub ends: [End; 2],
    /// By who sends.
    flows: [Flow; 2],
    /// The history of the snapshot that was sent last.
    pub streamed: Place,
}

impl Connection {
    pub fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }
}

/// Something came.
pub enum Arrival {
    /// Bytes, in the inbox of this end by now.
    Bytes,
    /// The other end is closed.
    End,
    /// This end is closed: the sender is told.
    Refused,
    /// Nothing that anybody would notice.
    Nothing,
}

/// All connections between nodes.
pub struct Network {
    connections: Vec<Connection>,
    /// By sender: a bit for each node that nothing reaches.
    cut: Vec<u64>,
    latency: Micros,
    jitter: Micros,
    random: Random,
    spare: Vec<Vec<u8>>,
}

impl Network {
    pub fn new(nodes: usize, latency: Micros, jitter: Micros, random: Random) -> Self {
        let cut = vec![0; nodes];
        Self { connections: Vec::new(), cut, latency, jitter, random, spare: Vec::new() }
    }

    pub fn get(&mut self, id: ConnectionId) -> &mut Connection {
        &mut self.connections[id.0 as usize]
    }

    /// How long a packet takes, this time.
    pub fn delay(&mut self) -> Micros {
        let jitter = usize::try_from(self.jitter).unwrap_or(0) + 1;
        // Now and then one is sent a second time.
        let late = if self.random.one_in(500) { 200 * MILLI } else { 0 };
        self.latency + self.random.below(jitter) as Micros + late
    }

    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut[from] & (1 << to) != 0
    }

    /// Nothing gets from one node to the other, until [`Self::mend`].
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut[from] |= 1 << to;
    }

    /// Everything gets through again; gives what waited, to be planned.
    pub fn mend(&mut self) -> Vec<(ConnectionId, Side, Micros)> {
        self.cut.fill(0);
        let mut waited = Vec::new();
        for (number, connection) in (0..).zip(&mut self.connections) {
            for side in Side::BOTH {
                let flow = &mut connection.flows[side as usize];
                if std::mem::take(&mut flow.is_held) {
                    waited.push((ConnectionId(number), side, self.latency));
                }
            }
        }
        waited
    }

    /// A connection that both ends know of from now on.
    ///
    /// The acceptor knows at once, the dialer when `dialed` is come; nothing reaches it before.
    pub fn connect(
        &mut self,
        port: Port,
        dialer: (usize, u32),
        acceptor: (usize, u32),
        dialed: Micros,
    ) -> ConnectionId {
        let number = self.connections.len() as u64;
        let end = |(node, life), link| End {
            node,
            life,
            is_open: true,
            inbox: Vec::new(),
            link: LinkId(link),
        };
        let ends = [end(dialer, 2 * number), end(acceptor, 2 * number + 1)];
        let mut flows = [Flow::new(), Flow::new()];
        flows[Side::Acceptor as usize].last_at = dialed;
        self.connections.push(Connection { port, ends, flows, streamed: Place::START });
        ConnectionId(u32::try_from(number).expect("not so many"))
    }

    /// Sends bytes; what is sent in one moment arrives together. When to plan an arrival, if one
    /// is to be planned.
    pub fn send(
        &mut self,
        now: Micros,
        id: ConnectionId,
        side: Side,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Option<Micros> {
        let delay = self.delay();
        let connection = &mut self.connections[id.0 as usize];
        if !connection.ends[side as usize].is_open {
            return None;
        }
        let flow = &mut connection.flows[side as usize];
        match flow.chunks.back_mut() {
            Some(last) if last.sent == now && !last.is_end => encode(&mut last.bytes),
            _ => {
                let mut bytes = self.spare.pop().unwrap_or_default();
                encode(&mut bytes);
                let at = flow.last_at.max(now + delay);
                flow.chunks.push_back(Chunk { at, sent: now, bytes, is_end: false });
                flow.last_at = at;
            }
        }
        Self::plan(flow)
    }

    /// Closes one end: what was sent arrives, then the end of it. When to plan an arrival.
    pub fn close(&mut self, now: Micros, id: ConnectionId, side: Side) -> Option<Micros> {
        let delay = self.delay();
        let connection = &mut self.connections[id.0 as usize];
        let end = connection.end(side);
        if !std::mem::replace(&mut end.is_open, false) {
            return None;
        }
        end.inbox = Vec::new();
        let flow = &mut connection.flows[side as usize];
        let at = flow.last_at.max(now + delay);
        flow.chunks.push_back(Chunk { at, sent: now, bytes: Vec::new(), is_end: true });
        flow.last_at = at;
        Self::plan(flow)
    }

    /// Everything that is on its way is lost.
    pub fn forget(&mut self, id: ConnectionId) {
        for flow in &mut self.connections[id.0 as usize].flows {
            flow.chunks.clear();
        }
    }

    /// An end is gone without a word, with all that was on its way to and from it.
    pub fn vanish(&mut self, id: ConnectionId, side: Side) {
        let connection = &mut self.connections[id.0 as usize];
        connection.end(side).is_open = false;
        connection.flows[side as usize].chunks.clear();
        connection.flows[side.other() as usize].chunks.clear();
    }

    fn plan(flow: &mut Flow) -> Option<Micros> {
        let first = flow.chunks.front()?;
        (!std::mem::replace(&mut flow.is_planned, true)).then_some(first.at)
    }

    /// What was sent by `side` is there: into the inbox of the other end. Gives also when to plan
    /// the next arrival.
    pub fn arrive(&mut self, id: ConnectionId, side: Side) -> (Arrival, Option<Micros>) {
        let connection = &mut self.connections[id.0 as usize];
        let [from, to] = [side, side.other()].map(|side| connection.ends[side as usize].node);
        let flow = &mut connection.flows[side as usize];
        if self.cut[from] & (1 << to) != 0 {
            flow.is_held = true;
            return (Arrival::Nothing, None);
        }
        flow.is_planned = false;
        let Some(mut chunk) = flow.chunks.pop_front() else { return (Arrival::Nothing, None) };
        if chunk.bytes.len() > 1 && self.random.one_in(32) {
            // What is sent at once need not come at once.
            let rest = chunk.bytes.split_off(1 + self.random.below(chunk.bytes.len() - 1));
            let at = chunk.at + self.latency / 2;
            flow.chunks.push_front(Chunk { at, sent: chunk.sent, bytes: rest, is_end: false });
            flow.last_at = flow.last_at.max(at);
        }
        let next = Self::plan(flow);
        let end = connection.end(side.other());
        let arrival = match chunk {
            Chunk { is_end: true, .. } if !end.is_open => Arrival::Nothing,
            _ if !end.is_open => Arrival::Refused,
            Chunk { is_end: true, .. } => Arrival::End,
            Chunk { bytes, .. } if end.inbox.is_empty() => {
                let old = std::mem::replace(&mut end.inbox, bytes);
                self.keep(old);
                Arrival::Bytes
            }
            Chunk { bytes, .. } => {
                end.inbox.extend_from_slice(&bytes);
                self.keep(bytes);
                Arrival::Bytes
            }
        };
        (arrival, next)
    }

    /// A vector to be used again.
    pub fn keep(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < 64 && bytes.capacity() > 0 {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Connections of which this node has an end open, in this life.
    pub fn open_ends(&self, node: usize, life: u32) -> Vec<(ConnectionId, Side)> {
        let mut found = Vec::new();
        for (number, connection) in (0..).zip(&self.connections) {
            for side in Side::BOTH {
                let end = &connection.ends[side as usize];
                if end.is_open && (end.node, end.life) == (node, life) {
                    found.push((ConnectionId(number), side));
                }
            }
        }
        found
    }
}
