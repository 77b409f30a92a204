//! Election connections: one for each pair of servers, a vote at a time.
//!
//! Thread: zab. Whoever connects is a stranger until its handshake is whole, for a bounded time
//! and in bounded number. One message waits for each peer that does not read, and a newer one
//! takes its place. Who is dialed when is decided here, the dialing is not done here.
//! Source: `QuorumCnxManager`.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;

use super::PeerEvent;
use super::config::Port;
use super::handshake::{Verdict, judge};
use super::report::Remark;
use crate::ids::{Millis, ServerId};
use crate::limits::{
    CALLS_WITHOUT_ANSWER, DIAL_GAP_MS, ELECTION_GUESTS_MAX, ELECTION_OUTBOX_BYTES_MAX,
    ELECTION_STRANGERS_MAX, NOTIFICATIONS_PER_TURN_MAX,
};
use crate::net::{Close, ConnectionId, Reactor};
use crate::wire::election::{self, Handshake, Notification, PeerAddress};
use crate::zab::election::is_kept;

/// So many calls of a peer that is connected, within this time, are not a peer's that starts anew.
const TWIN_CALLS: u32 = 3;
const TWIN_WINDOW_MS: i64 = 60_000;

/// What is known of one peer.
#[derive(Debug, Default)]
struct Peer {
    /// The connection, and where the peer is.
    open: Option<(ConnectionId, SocketAddr)>,
    /// The newest message, while the connection does not take it.
    waiting: Option<Vec<u8>>,
    /// It is to be dialed.
    wanted: bool,
    /// Not sooner.
    not_before: Millis,
    /// Calls it has taken since it called last.
    calls: u32,
    /// Calls though it was connected, and since when they are counted.
    called_while_open: (Millis, u32),
}

/// All election connections.
#[derive(Debug)]
pub(super) struct Elections {
    me: ServerId,
    members: BTreeSet<ServerId>,
    handshake_ms: i64,
    /// By member, and by guest: one that is connected and no member.
    peers: BTreeMap<ServerId, Peer>,
    of: HashMap<ConnectionId, ServerId>,
    /// With when to give each up: all wait equally long.
    strangers: VecDeque<(Millis, ConnectionId, SocketAddr)>,
    /// Guests, the oldest first.
    guests: VecDeque<ServerId>,
    /// The next id for an observer without one.
    anonymous: i64,
    /// As of this turn.
    pub(super) now: Millis,
    pub(super) remarks: Vec<Remark>,
    /// What servers have just said of where they are.
    pub(super) introductions: Vec<Handshake>,
}

impl Elections {
    pub(super) fn new(me: ServerId, members: BTreeSet<ServerId>, handshake_ms: i64) -> Self {
        Self {
            me,
            members,
            handshake_ms,
            peers: BTreeMap::new(),
            of: HashMap::new(),
            strangers: VecDeque::new(),
            guests: VecDeque::new(),
            anonymous: -1,
            now: Millis(0),
            remarks: Vec::new(),
            introductions: Vec::new(),
        }
    }

    /// Somebody has connected. When there are too many strangers the oldest goes: a server says
    /// at once who it is.
    pub(super) fn on_accepted(
        &mut self,
        id: ConnectionId,
        peer: SocketAddr,
        reactor: &mut Reactor,
    ) {
        self.remarks.push(Remark::Request { peer });
        self.strangers.push_back((Millis(self.now.0 + self.handshake_ms), id, peer));
        if self.strangers.len() > ELECTION_STRANGERS_MAX
            && let Some((_, oldest, peer)) = self.strangers.pop_front()
        {
            self.remarks.push(Remark::Crowded { port: Port::Election, peer });
            reactor.close(oldest, Close::Reset);
        }
    }

    /// Bytes have come; whether the connection is one of these.
    pub(super) fn on_received(
        &mut self,
        id: ConnectionId,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) -> bool {
        if let Some(from) = self.of.get(&id).copied() {
            self.take_messages(from, id, reactor, out);
        } else if let Some(at) = self.strangers.iter().position(|(_, one, _)| *one == id) {
            self.listen_to_stranger(at, reactor, out);
        } else {
            return false;
        }
        true
    }

    fn listen_to_stranger(&mut self, at: usize, reactor: &mut Reactor, out: &mut Vec<PeerEvent>) {
        let (_, id, peer) = self.strangers[at];
        let input = reactor.input(id);
        match Handshake::decode(input) {
            Ok(None) => {}
            Ok(Some((handshake, rest))) => {
                let taken = input.len() - rest.len();
                reactor.consume(id, taken);
                self.strangers.remove(at);
                self.welcome(id, peer, handshake, reactor, out);
            }
            Err(error) => {
                self.strangers.remove(at);
                let why = error.to_string();
                self.remarks.push(Remark::Nonsense { port: Port::Election, peer, why });
                reactor.close(id, Close::Reset);
            }
        }
    }

    /// A dialer has said who it is.
    fn welcome(
        &mut self,
        id: ConnectionId,
        peer: SocketAddr,
        handshake: Handshake,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) {
        match judge(&handshake, self.me) {
            Verdict::Keep(server) => {
                self.introductions.push(self.believed(handshake, peer));
                self.suspect_twin(server, peer);
                self.keep(server, id, peer, reactor, out);
            }
            Verdict::KeepAnonymous => {
                let server = ServerId(self.anonymous);
                self.anonymous -= 1;
                self.keep(server, id, peer, reactor, out);
            }
            Verdict::DialBack(server) => {
                self.introductions.push(self.believed(handshake, peer));
                self.suspect_twin(server, peer);
                reactor.close(id, Close::Now);
                self.want_guest(server, reactor, out);
                // The connection there may be is replaced when a new one stands, not sooner: this
                // one may have been anybody's.
                self.peers.entry(server).or_default().wanted = true;
            }
            Verdict::OwnId => {
                self.remarks.push(Remark::OwnId { me: self.me, peer });
                reactor.close(id, Close::Now);
            }
            Verdict::NoServer => {
                let why = format!("no server has the id {}", handshake.server);
                self.remarks.push(Remark::Nonsense { port: Port::Election, peer, why });
                reactor.close(id, Close::Reset);
            }
        }
    }

    /// Nobody who is no member has this server dial a third one.
    fn believed(&self, mut handshake: Handshake, peer: SocketAddr) -> Handshake {
        if !self.members.contains(&handshake.server) {
            let is_its_own = |one: &PeerAddress| one.host.parse() == Ok(peer.ip());
            handshake.addresses.retain(is_its_own);
        }
        handshake
    }

    /// The connection is the one to `server`, and replaces another.
    pub(super) fn keep(
        &mut self,
        server: ServerId,
        id: ConnectionId,
        peer: SocketAddr,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) {
        self.lose(server, "the peer connects anew", reactor, out);
        self.want_guest(server, reactor, out);
        let known = self.peers.entry(server).or_default();
        known.open = Some((id, peer));
        known.wanted = false;
        known.calls = 0;
        self.of.insert(id, server);
        out.push(PeerEvent::ElectionUp(server));
        self.flush(server, reactor);
        // What came with the handshake.
        self.take_messages(server, id, reactor, out);
    }

    /// A member calls while its connection is open: from elsewhere, or often. One that has died
    /// without a word does so once, one whose call crosses ours too.
    fn suspect_twin(&mut self, server: ServerId, new: SocketAddr) {
        let now = self.now;
        let Some(known) = self.peers.get_mut(&server) else { return };
        let Some((_, old)) = known.open else { return };
        let (since, calls) = &mut known.called_while_open;
        if now.0 - since.0 >= TWIN_WINDOW_MS {
            (*since, *calls) = (now, 0);
        }
        *calls += 1;
        let is_often = *calls >= TWIN_CALLS;
        if self.members.contains(&server) && (is_often || old.ip() != new.ip()) {
            self.remarks.push(Remark::Twin { server, old, new });
        }
    }

    /// Makes room for a server that is no member; the oldest such goes for it.
    fn want_guest(&mut self, server: ServerId, reactor: &mut Reactor, out: &mut Vec<PeerEvent>) {
        if self.members.contains(&server) || self.guests.contains(&server) {
            return;
        }
        self.guests.push_back(server);
        if self.guests.len() > ELECTION_GUESTS_MAX
            && let Some(oldest) = self.guests.pop_front()
        {
            if let Some((_, peer)) = self.peers.get(&oldest).and_then(|known| known.open) {
                self.remarks.push(Remark::Crowded { port: Port::Election, peer });
            }
            self.lose(oldest, "there are too many that are no members", reactor, out);
            self.peers.remove(&oldest);
        }
    }

    /// Tells what has come. Of very much at once only the last: what a peer wants now counts.
    fn take_messages(
        &mut self,
        from: ServerId,
        id: ConnectionId,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) {
        let mut frames = VecDeque::new();
        let mut rest = reactor.input(id);
        let bytes = rest.len();
        let broken = loop {
            match election::split(rest) {
                Ok(Some((frame, after))) => {
                    frames.push_back(frame);
                    if frames.len() > NOTIFICATIONS_PER_TURN_MAX {
                        frames.pop_front();
                    }
                    rest = after;
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        // COMPAT: a message that makes no sense costs the message (`WorkerReceiver`).
        out.extend(frames.iter().filter_map(|frame| Notification::decode(frame).ok()).map(
            |notification| PeerEvent::Notified { from, notification: notification.into_owned() },
        ));
        let taken = bytes - rest.len();
        reactor.consume(id, taken);
        if let Some(error) = broken {
            self.lose(from, &error.to_string(), reactor, out);
        }
    }

    /// The connection is gone; whether it was one of these.
    pub(super) fn on_closed(
        &mut self,
        id: ConnectionId,
        why: &str,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) -> bool {
        if let Some(from) = self.of.get(&id).copied() {
            self.take_messages(from, id, reactor, out);
            // A message that is no message has ended it already.
            self.lose(from, why, reactor, out);
            return true;
        }
        let before = self.strangers.len();
        let left = self.strangers.iter().find(|(_, one, _)| *one == id).map(|(.., peer)| *peer);
        self.strangers.retain(|(_, one, _)| *one != id);
        if let Some(peer) = left {
            self.remarks.push(Remark::Silent { port: Port::Election, peer });
            reactor.close(id, Close::Now);
        }
        self.strangers.len() < before
    }

    fn lose(
        &mut self,
        server: ServerId,
        why: &str,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) {
        let Some(known) = self.peers.get_mut(&server) else { return };
        let Some((id, peer)) = known.open.take() else { return };
        self.of.remove(&id);
        reactor.close(id, Close::Now);
        let (to, me, why) = (server, self.me, why.to_owned());
        self.remarks.push(Remark::Broken { to, me, peer, why });
        out.push(PeerEvent::ElectionDown(server));
    }

    /// A dial to `to` has come through, and it was told who this server is. Whoever is the smaller
    /// is then closed, and dialed back.
    pub(super) fn on_called(
        &mut self,
        to: ServerId,
        id: ConnectionId,
        peer: SocketAddr,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) {
        if is_kept(self.me, to) {
            return self.keep(to, id, peer, reactor, out);
        }
        reactor.close(id, Close::AfterFlush);
        self.peers.entry(to).or_default().calls += 1;
    }

    /// Calls that `to` has taken and not answered, when they are so many that it is odd.
    pub(super) fn calls_in_vain(&self, to: ServerId) -> Option<u32> {
        let calls = self.peers.get(&to)?.calls;
        (calls >= CALLS_WITHOUT_ANSWER).then_some(calls)
    }

    /// Tells a peer; what waits for it is out of date.
    pub(super) fn notify(&mut self, to: ServerId, what: &Notification<'_>, reactor: &mut Reactor) {
        if !self.members.contains(&to) && !self.peers.contains_key(&to) {
            return;
        }
        let waiting = self.peers.entry(to).or_default().waiting.get_or_insert_default();
        waiting.clear();
        what.encode_frame(waiting);
        self.flush(to, reactor);
    }

    /// Sends what waits for a peer, if its connection takes it.
    fn flush(&mut self, to: ServerId, reactor: &mut Reactor) {
        let Some(known) = self.peers.get_mut(&to) else { return };
        let Some((id, _)) = known.open else { return };
        if reactor.outbox_bytes(id) > ELECTION_OUTBOX_BYTES_MAX {
            return;
        }
        if let Some(waiting) = known.waiting.take()
            && let Some(outbox) = reactor.outbox(id)
        {
            outbox.extend_from_slice(&waiting);
        }
    }

    /// A connection takes bytes again; whether it is one of these.
    pub(super) fn on_drained(&mut self, id: ConnectionId, reactor: &mut Reactor) -> bool {
        let Some(to) = self.of.get(&id).copied() else { return false };
        self.flush(to, reactor);
        true
    }

    /// Wants a connection to a peer, unless there is one.
    pub(super) fn dial(&mut self, to: ServerId) {
        if to != self.me && (self.members.contains(&to) || self.guests.contains(&to)) {
            let known = self.peers.entry(to).or_default();
            known.wanted = known.open.is_none();
        }
    }

    /// Peers whose turn it is to be dialed.
    pub(super) fn due(&mut self) -> Vec<ServerId> {
        let now = self.now;
        let mut due = Vec::new();
        for (server, known) in &mut self.peers {
            if known.wanted && known.not_before <= now {
                known.wanted = false;
                known.not_before = Millis(now.0 + DIAL_GAP_MS);
                due.push(*server);
            }
        }
        due
    }

    /// Gives up strangers that keep silent.
    pub(super) fn on_time(&mut self, reactor: &mut Reactor) {
        while let Some((at, id, peer)) = self.strangers.front().copied() {
            if at > self.now {
                return;
            }
            self.strangers.pop_front();
            self.remarks.push(Remark::Silent { port: Port::Election, peer });
            reactor.close(id, Close::Reset);
        }
    }

    /// When [`Self::due`] has something to say.
    pub(super) fn wishes_due(&self) -> Option<Millis> {
        let wanted = self.peers.values().filter(|known| known.wanted);
        wanted.map(|known| known.not_before).min()
    }

    /// When [`Self::on_time`] has something to do.
    pub(super) fn deadline(&self) -> Option<Millis> {
        self.strangers.front().map(|(at, ..)| *at)
    }
}
