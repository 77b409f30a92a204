//! The sockets of the election and quorum ports.
//!
//! Thread: zab, on its reactor; a few `resolver` threads wait for name servers. In: the reactor's
//! events, what the protocol wants sent and dialed. Out: [`PeerEvent`]s. Moves bytes, decides who
//! keeps a connection and whom to believe; knows nothing of votes, epochs or history.
//!
//! The driver's turn: [`Peers::on_event`] for each event of its reactor, then whatever it has to
//! say, then [`Peers::on_turn`], last before it sleeps, which carries out what was wished and may
//! tell more. It sleeps until [`Peers::deadline`] at most, and not if [`Peers::is_ready`]. Wishes
//! (`dial_…`, `listen_…`) are carried out in `on_turn` alone.
//!
//! INVARIANT: nothing here waits. What a peer does, or fails to do, costs its own connection.

mod config;
mod dial;
mod elections;
mod handshake;
mod links;
mod ports;
mod report;
mod resolve;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use config::{Address, Config};

use crate::ids::{Millis, ServerId};
use crate::limits::{
    ELECTION_BIND_RETRY_MS, ELECTION_OUTBOX_BYTES_MAX, NOTIFICATION_BYTES_MAX, QUORUM_BIND_RETRY_MS,
};
use crate::net::{Close, CloseReason, ConnectionId, Event, Options, Reactor};
use crate::wire::election::{Notification, PeerAddress};
use crate::wire::quorum::Packet;
use crate::zab::LinkId;
use config::Port;
use dial::{Dials, Outcome, Purpose};
use elections::Elections;
use links::Links;
use ports::Door;
use report::mapping::Atlas;
use report::{Log, Remark};
use resolve::{Resolver, Target};

/// What peers did.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerEvent {
    /// The election port listens.
    ElectionOpen,
    /// It cannot be bound, as often as it was allowed to try: the process ends (exit code 14).
    ElectionFailed {
        /// For the operator.
        why: String,
    },
    /// A vote.
    Notified {
        /// Whose.
        from: ServerId,
        /// What it says.
        notification: Notification<'static>,
    },
    /// An election connection stands, or replaces the one before.
    ElectionUp(ServerId),
    /// It is gone.
    ElectionDown(ServerId),
    /// A learner has introduced itself; its first packet follows.
    LinkUp {
        /// The connection.
        link: LinkId,
        /// Where it comes from.
        peer: SocketAddr,
    },
    /// The leader is reached.
    LeaderUp {
        /// The connection.
        link: LinkId,
        /// As was asked for.
        leader: ServerId,
    },
    /// It is not.
    LeaderUnreachable {
        /// As was asked for.
        leader: ServerId,
        /// Which addresses failed how, for the log.
        why: String,
    },
    /// A packet. After [`Packet::Snap`] the link streams: what follows is told as
    /// [`Self::SnapshotBytes`] until [`Peers::end_intake`].
    Packet {
        /// The connection.
        link: LinkId,
        /// What it says.
        packet: Packet,
    },
    /// There are bytes of a snapshot in [`Peers::stream_bytes`].
    SnapshotBytes {
        /// The connection.
        link: LinkId,
    },
    /// What was to be sent is sent; more of a snapshot may follow.
    Drained {
        /// The connection.
        link: LinkId,
    },
    /// The connection is gone; not told of one that the driver closed.
    LinkDown {
        /// The connection, its last mention.
        link: LinkId,
        /// For the log.
        why: String,
    },
}

/// What a name is looked up for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wanted {
    Dial(Purpose),
    Listen(Port),
}

/// See the module.
pub struct Peers {
    config: Config,
    resolver: Resolver<Wanted>,
    dials: Dials,
    elections: Elections,
    links: Links,
    election_door: Door,
    quorum_door: Door,
    /// To be begun in the next turn.
    leader: Option<(ServerId, Duration)>,
    /// Where this server listens for elections.
    listening: Vec<Target>,
    atlas: Atlas,
    log: Log,
    outcomes: Vec<Outcome>,
}

/// What the reactor of these sockets must have room for.
pub fn reactor_options(packet_bytes_max: u32) -> Options {
    let options = Options::default();
    // Data and identities are bounded one by one; the fields around them are small.
    let packet = 2 * packet_bytes_max as usize;
    let input_bytes_max = packet.max(NOTIFICATION_BYTES_MAX as usize) + (64 << 10);
    Options { input_bytes_max, drained_above: ELECTION_OUTBOX_BYTES_MAX, ..options }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}

impl Peers {
    /// Sockets on `reactor`, which is the one to be passed to all calls, and on which nobody else
    /// listens; none are open yet.
    pub fn new(config: Config, reactor: &Reactor) -> Self {
        let members: BTreeSet<ServerId> = config.members.keys().copied().collect();
        let door = |port| Door::new(port, own_names(&config, port), config.keep_alive);
        Self {
            resolver: Resolver::new(Arc::new(reactor.waker())),
            dials: Dials::default(),
            log: Log::new(members.clone()),
            elections: Elections::new(config.me, members, millis(config.handshake_timeout)),
            links: Links::new(config.packet_bytes_max, millis(config.introduction_timeout)),
            election_door: door(Port::Election)
                .retrying(ELECTION_BIND_RETRY_MS, config.bind_tries_max),
            quorum_door: door(Port::Quorum).retrying(QUORUM_BIND_RETRY_MS, 0),
            leader: None,
            listening: Vec::new(),
            atlas: Atlas::default(),
            outcomes: Vec::new(),
            config,
        }
    }

    /// Opens the election port: [`PeerEvent::ElectionOpen`] or `ElectionFailed` follows.
    pub fn listen_election(&mut self) {
        self.election_door.open(&mut self.resolver);
    }

    /// Whether the election port is open.
    pub fn is_listening(&self) -> bool {
        !self.listening.is_empty()
    }

    /// Opens the quorum port, and keeps trying.
    pub fn listen_quorum(&mut self) {
        self.quorum_door.open(&mut self.resolver);
    }

    /// Closes the quorum port and those who have not introduced themselves. Links stay.
    pub fn unlisten_quorum(&mut self, reactor: &mut Reactor) {
        self.quorum_door.close(reactor);
        self.links.close_strangers(reactor);
    }

    /// Wants a connection to a peer's election port, unless there is one. What comes of it is an
    /// `ElectionUp`, sooner or later, or nothing; the log says why.
    pub fn dial_election(&mut self, to: ServerId) {
        self.elections.dial(to);
    }

    /// Sends a peer a vote, or as soon as it is connected; a newer one replaces one that waits.
    pub fn notify(&mut self, to: ServerId, what: &Notification<'_>, reactor: &mut Reactor) {
        self.elections.notify(to, what, reactor);
    }

    /// Connects to the leader: `LeaderUp` or `LeaderUnreachable` follows, within `timeout`. An
    /// attempt that is under way is given up.
    pub fn dial_leader(&mut self, to: ServerId, timeout: Duration, reactor: &mut Reactor) {
        self.give_up_leader(reactor);
        self.leader = Some((to, timeout));
    }

    /// Gives up connecting to the leader; nothing more is told of it.
    pub fn give_up_leader(&mut self, reactor: &mut Reactor) {
        self.leader = None;
        self.dials.give_up(reactor, |purpose| matches!(purpose, Purpose::Leader(_)));
    }

    /// Queues a packet. A peer that has let too much queue up is closed: `LinkDown`.
    pub fn send(
        &mut self,
        link: LinkId,
        packet: &Packet,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) {
        self.links.send(link, packet, reactor, out);
    }

    /// The raw bytes of a snapshot come next: packets wait until [`Self::end_stream`].
    pub fn begin_stream(&mut self, link: LinkId) {
        self.links.begin_stream(link);
    }

    /// Queues bytes of a snapshot, without a bound: look at [`Self::stream_outbox_bytes`] before.
    /// `Drained` follows when it is empty after it held more than 64 KiB.
    ///
    /// # Panics
    /// If no stream was begun.
    pub fn send_bytes(&mut self, link: LinkId, bytes: &[u8], reactor: &mut Reactor) {
        self.links.send_bytes(link, bytes, reactor);
    }

    /// The snapshot is complete: sends the packets that waited for it.
    pub fn end_stream(&mut self, link: LinkId, reactor: &mut Reactor) {
        self.links.end_stream(link, reactor);
    }

    /// Bytes that wait to be sent.
    pub fn outbox_bytes(&self, link: LinkId, reactor: &Reactor) -> usize {
        self.links.outbox_bytes(link, reactor)
    }

    /// Bytes that wait to be sent, without those that wait for a snapshot's end.
    pub fn stream_outbox_bytes(&self, link: LinkId, reactor: &Reactor) -> usize {
        self.links.stream_outbox_bytes(link, reactor)
    }

    /// Bytes of a snapshot that have come and were not consumed; while there are many, the peer is
    /// held back.
    pub fn stream_bytes<'a>(&self, link: LinkId, reactor: &'a Reactor) -> &'a [u8] {
        self.links.stream_bytes(link, reactor)
    }

    /// Forgets the first `bytes` of them.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn consume(&mut self, link: LinkId, bytes: usize, reactor: &mut Reactor) {
        self.links.consume(link, bytes, reactor);
    }

    /// The snapshot is complete: what follows in the stream are packets again.
    pub fn end_intake(&mut self, link: LinkId) {
        self.links.end_intake(link);
    }

    /// Takes no more packets from a peer, which is held back by its socket.
    pub fn pause(&mut self, link: LinkId, reactor: &mut Reactor) {
        self.links.pause(link, reactor);
    }

    /// Takes packets again.
    pub fn resume(&mut self, link: LinkId, reactor: &mut Reactor) {
        self.links.resume(link, reactor);
    }

    /// Closes a link; nothing more is told of it.
    pub fn close(&mut self, link: LinkId, reactor: &mut Reactor) {
        self.links.close(link, reactor);
    }

    /// Whether there is something for [`Self::on_turn`] that the reactor does not know of.
    pub fn is_ready(&self) -> bool {
        self.resolver.has_answer()
    }

    /// When [`Self::on_turn`] has something to do; it may have passed.
    pub fn deadline(&self) -> Option<Millis> {
        if self.leader.is_some() || self.is_ready() {
            return Some(Millis(0));
        }
        let doors = [self.election_door.deadline(), self.quorum_door.deadline()];
        let wishes = self.elections.wishes_due().filter(|_| !self.election_door.is_opening());
        let elections = self.elections.deadline();
        let rest = [self.dials.deadline(), wishes, elections, self.links.deadline()];
        doors.into_iter().chain(rest).flatten().min()
    }

    /// Takes an event of the reactor; whether it was of a socket of these.
    pub fn on_event(
        &mut self,
        event: Event,
        now: Millis,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) -> bool {
        self.elections.now = now;
        match event {
            Event::Accepted { id, listener, peer } if self.election_door.has(listener) => {
                self.elections.on_accepted(id, peer, reactor);
                true
            }
            Event::Accepted { id, listener, peer } if self.quorum_door.has(listener) => {
                self.links.add_stranger(id, peer, now, reactor);
                true
            }
            Event::AcceptFailed { listener, error } => {
                let doors =
                    [(&self.election_door, Port::Election), (&self.quorum_door, Port::Quorum)];
                let port = doors.iter().find(|(door, _)| door.has(listener)).map(|(_, port)| *port);
                port.map(|port| self.log.tell(now, &Remark::NotAccepting { port, error })).is_some()
            }
            Event::Connected { id } => {
                let is_ours = self.dials.on_connected(id, reactor, &mut self.outcomes);
                // At once, for more may have happened to it already.
                self.on_outcomes(reactor, out);
                is_ours
            }
            Event::ConnectFailed { id, reason } => self.dials.on_failed(id, reason, now),
            Event::Received { id } => match self.links.link_of(id) {
                Some(link) => (self.links.on_received(link, reactor, out), true).1,
                None => self.elections.on_received(id, reactor, out),
            },
            Event::EndOfInput { id } => match self.links.link_of(id) {
                Some(link) => (self.links.on_end_of_input(link, reactor, out), true).1,
                None => self.elections.on_closed(id, "the peer closed it", reactor, out),
            },
            Event::Drained { id } => match self.links.link_of(id) {
                Some(link) => (out.push(PeerEvent::Drained { link }), true).1,
                None => self.elections.on_drained(id, reactor),
            },
            Event::Closed { id, reason } => self.on_closed(id, reason, reactor, out),
            // By a port that was closed in the meantime.
            Event::Accepted { id, .. } => (reactor.close(id, Close::Now), true).1,
            Event::Woken => false,
        }
    }

    fn on_closed(
        &mut self,
        id: ConnectionId,
        reason: CloseReason,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) -> bool {
        let why = match reason {
            CloseReason::Local => "it was closed".to_owned(),
            CloseReason::Unfinished => "it did not take what was sent".to_owned(),
            CloseReason::Broken(error) => error.to_string(),
        };
        match self.links.link_of(id) {
            Some(link) => {
                self.links.on_closed(link, &why, reactor, out);
                true
            }
            None => self.dials.on_closed(id) || self.elections.on_closed(id, &why, reactor, out),
        }
    }
}

/// What this server listens on.
fn own_names(config: &Config, port: Port) -> Vec<PeerAddress> {
    let mut names = config.addresses(config.me, port);
    if config.listen_on_all {
        for name in &mut names {
            "0.0.0.0".clone_into(&mut name.host);
        }
        names.dedup();
    }
    names
}
