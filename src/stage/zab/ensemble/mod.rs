//! What a member of an ensemble has besides: its peers' sockets, and the storage thread.
//!
//! Everything here runs on the zab thread and none of it waits: what peers and disk have to say
//! becomes inputs of the core, what the core says becomes packets and asks.

mod elections;
pub(in crate::stage::zab) mod forward;
pub(in crate::stage::zab) mod learners;
mod local;
mod read_only;
mod records;
mod streams;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use crate::error::{ExitCode, Fatal};
use crate::ids::{Epoch, Millis, ServerId, Zxid};
use crate::limits::{LINK_PACKETS_PER_TURN_MAX, LOG_READS_MAX};
use crate::log::recovery::Stretch;
use crate::metrics::Counter;
use crate::net::{Event, Reactor};
use crate::stage::peers::{self, PeerEvent, Peers};
use crate::stage::queue::{Receiver, StickyBell};
use crate::stage::storage::{StorageAnswer, StorageAsk};
use crate::stage::zab::ZabStage;
use crate::wire::election::PeerState;
use crate::wire::quorum::Packet;
use crate::zab::{self, Input, LinkId, Output, Proposal, Standing, Zab};
use streams::{Incoming, Outgoing};

/// When nothing is due.
const NEVER: Millis = Millis(i64::MAX);

/// What a member is made of.
pub struct MemberParts {
    /// Of its sockets.
    pub peers: peers::Config,
    /// Of the core.
    pub zab: zab::Config,
    /// What it has on disk.
    pub standing: Standing,
    /// The end of its history.
    pub recent: Vec<Proposal>,
    /// To the storage thread.
    pub storage: SyncSender<StorageAsk>,
    /// From it.
    pub answers: Receiver<StorageAnswer>,
    /// What an operator reads in the log when this server first has a role.
    pub environment: Vec<String>,
    /// And each time.
    pub introduction: String,
}

/// Room for so many events is kept from turn to turn.
const EVENTS_KEPT_MAX: usize = 4 * LINK_PACKETS_PER_TURN_MAX;

/// A link as the log names it.
#[derive(Clone, Debug)]
pub(in crate::stage::zab) struct Acquaintance {
    pub(in crate::stage::zab) address: String,
    pub(in crate::stage::zab) server: Option<ServerId>,
    pub(in crate::stage::zab) is_observer: bool,
}

/// See the module.
pub(in crate::stage::zab) struct Member {
    pub(in crate::stage::zab) me: ServerId,
    pub(in crate::stage::zab) peers: Peers,
    /// What peers did and nobody has heard yet.
    pub(in crate::stage::zab) events: Vec<PeerEvent>,
    /// Of these, what happened on links, in order.
    on_links: VecDeque<PeerEvent>,
    pub(in crate::stage::zab) storage: SyncSender<StorageAsk>,
    answers: Receiver<StorageAnswer>,
    /// The members' text, as notifications carry it.
    text: Arc<str>,
    version: i64,
    /// What the last election came to.
    pub(in crate::stage::zab) decided: PeerState,
    /// The link to the leader, of a learner.
    pub(in crate::stage::zab) leader: Option<LinkId>,
    pub(in crate::stage::zab) links: BTreeMap<LinkId, Acquaintance>,
    pub(in crate::stage::zab) outgoing: BTreeMap<LinkId, Outgoing>,
    pub(in crate::stage::zab) incoming: Option<Incoming>,
    /// Rung by the threads at the other ends of these.
    moved: Arc<StickyBell>,
    log_reads: usize,
    /// The election port listens.
    is_open: bool,
    /// The storage thread has been asked for a new tree.
    pub(in crate::stage::zab) is_rebuilding: bool,
    environment: Vec<String>,
    introduction: String,
    /// Since it last said that it looks for a leader.
    pub(in crate::stage::zab) looking_since: Option<Millis>,
    /// Since when clients are not served.
    pub(in crate::stage::zab) unavailable_since: Option<Millis>,
    pub(in crate::stage::zab) decided_at: Millis,
    pub(in crate::stage::zab) serving_since: Millis,
    pub(in crate::stage::zab) epoch: Epoch,
    /// Bytes of the last, the least and the greatest proposal; -1 before the first.
    pub(in crate::stage::zab) proposal_bytes: (i64, i64, i64),
}

/// As Java's log and `mntr` spell it.
pub(in crate::stage::zab) fn state_name(state: PeerState) -> &'static str {
    match state {
        PeerState::Looking => "looking",
        PeerState::Following => "following",
        PeerState::Leading => "leading",
        PeerState::Observing => "observing",
    }
}

fn brings_packet(event: &PeerEvent, of: LinkId) -> bool {
    if let PeerEvent::Packet { link, .. } = event { *link == of } else { false }
}

impl Member {
    pub(in crate::stage::zab) fn new(
        parts: MemberParts,
        reactor: &Reactor,
        now: Millis,
        out: &mut Vec<Output>,
    ) -> (Self, Zab) {
        let mut peers = Peers::new(parts.peers, reactor);
        peers.listen_election();
        let (me, text, version) = (parts.zab.me, Arc::clone(&parts.zab.text), parts.zab.version);
        let zab = Zab::new(parts.zab, parts.standing, parts.recent, now, out);
        let member = Self {
            me,
            peers,
            events: Vec::new(),
            on_links: VecDeque::new(),
            storage: parts.storage,
            answers: parts.answers,
            text,
            version,
            decided: PeerState::Looking,
            leader: None,
            links: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            incoming: None,
            moved: StickyBell::new(Arc::new(reactor.waker())),
            log_reads: 0,
            is_open: false,
            is_rebuilding: false,
            environment: parts.environment,
            introduction: parts.introduction,
            looking_since: None,
            unavailable_since: None,
            decided_at: now,
            serving_since: now,
            epoch: Epoch(0),
            proposal_bytes: (-1, -1, -1),
        };
        (member, zab)
    }

    /// Whether there is something to hear that no event tells of.
    pub(in crate::stage::zab) fn is_ready(&self) -> bool {
        !self.answers.is_empty() || self.moved.is_rung() || self.peers.is_ready()
    }

    /// Who is on a link, for the log.
    pub(in crate::stage::zab) fn name_of(&self, link: LinkId) -> String {
        match self.links.get(&link) {
            Some(Acquaintance { server: Some(server), address, .. }) if address.is_empty() => {
                format!("leader {server}")
            }
            Some(Acquaintance { server: Some(server), address, .. }) => {
                format!("server {server} ({address})")
            }
            Some(Acquaintance { server: None, address, .. }) => format!("peer {address}"),
            None => format!("link {}", link.0),
        }
    }

    pub(in crate::stage::zab) fn count_proposal(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let (_, min, max) = self.proposal_bytes;
        let min = if min < 0 { bytes } else { min.min(bytes) };
        self.proposal_bytes = (bytes, min, max.max(bytes));
    }

    /// Whether a link is no more, be it that the core is not told yet.
    fn has_lost(&self, link: LinkId) -> bool {
        let is_its_end = |event: &PeerEvent| {
            if let PeerEvent::LinkDown { link: of, .. } = event { *of == link } else { false }
        };
        !self.links.contains_key(&link) || self.on_links.iter().any(is_its_end)
    }

    fn meet(&mut self, link: LinkId, address: SocketAddr, server: Option<ServerId>) {
        let address = address.to_string();
        self.links.insert(link, Acquaintance { address, server, is_observer: false });
    }

    /// What a learner says of itself is noted, what a leader decides is logged.
    fn note(&mut self, link: LinkId, packet: &Packet) {
        if let Packet::FollowerInfo { info, .. } | Packet::ObserverInfo { info, .. } = packet {
            if let Some(known) = self.links.get_mut(&link) {
                known.server = info.server;
                known.is_observer = matches!(packet, Packet::ObserverInfo { .. });
            }
            tracing::info!("{} has connected", self.name_of(link));
        } else if let Packet::Diff { zxid } = packet {
            tracing::info!("Getting a diff from the leader {zxid}");
        } else if let Packet::Snap { zxid } = packet {
            tracing::info!("Getting a snapshot from leader {zxid}");
        } else if let Packet::Trunc { zxid } = packet {
            tracing::warn!("Truncating log to get in sync with the leader {zxid}");
        } else if let Packet::NewLeader { zxid, .. } = packet {
            tracing::info!("Learner received NEWLEADER message, zxid: {zxid}");
        } else if let Packet::UpToDate = packet {
            tracing::info!("Learner received UPTODATE message");
        }
    }
}

impl ZabStage {
    /// Does something with the peers' sockets.
    pub(in crate::stage::zab) fn peers(&mut self, act: impl FnOnce(&mut Peers, &mut Reactor)) {
        if let Some(member) = &mut self.member {
            act(&mut member.peers, &mut self.parts.reactor);
        }
    }

    pub(in crate::stage::zab) fn send_packet(&mut self, link: LinkId, packet: &Packet) {
        let Some(member) = &mut self.member else { return };
        if let Packet::Diff { .. } = packet {
            self.recorder.add(Counter::DiffCount, 1);
        }
        member.peers.send(link, packet, &mut self.parts.reactor, &mut member.events);
    }

    /// A turn's beginning: takes what sockets and disk brought, and what is due.
    pub(in crate::stage::zab) fn attend(&mut self, events: &mut Vec<Event>) {
        let Some(member) = &mut self.member else {
            events.clear();
            return;
        };
        for event in events.drain(..) {
            member.peers.on_event(event, self.now, &mut self.parts.reactor, &mut member.events);
        }
        self.hear_storage();
        self.hear_peers();
        if self.zab.deadline().is_some_and(|due| due <= self.now) {
            self.step(Input::Time);
        }
        self.tell_touches_unasked();
        self.notice_state();
        self.consider_read_only();
    }

    /// A turn's end: carries out what was wished of the sockets. True if more has happened.
    pub(in crate::stage::zab) fn finish_attending(&mut self) -> bool {
        self.pump_streams();
        self.notice_state();
        let Some(member) = &mut self.member else { return false };
        member.peers.on_turn(self.now, &mut self.parts.reactor, &mut member.events);
        // The flush that this turn heard of may be what the core had to wait for: none may follow.
        let can_go_on = !member.on_links.is_empty() && self.zab.is_reading();
        !member.events.is_empty() || can_go_on
    }

    pub(in crate::stage::zab) fn member_due(&self) -> Millis {
        let Some(member) = &self.member else { return NEVER };
        let core = [self.zab.deadline(), self.touches_due()];
        let due = core.into_iter().chain([member.peers.deadline(), self.read_only_due()]);
        due.flatten().min().unwrap_or(NEVER)
    }

    fn hear_peers(&mut self) {
        loop {
            let Some(member) = &mut self.member else { return };
            if member.events.is_empty() {
                break;
            }
            let mut events = std::mem::take(&mut member.events);
            events.drain(..).for_each(|event| self.hear(event));
            if let Some(member) = &mut self.member
                && member.events.is_empty()
            {
                events.shrink_to(EVENTS_KEPT_MAX);
                member.events = events;
            }
        }
        self.hear_links();
    }

    fn hear(&mut self, event: PeerEvent) {
        let Some(member) = &mut self.member else { return };
        match event {
            PeerEvent::ElectionOpen => member.is_open = true,
            PeerEvent::ElectionFailed { why } => {
                self.parts.shared.fail(Fatal::new(ExitCode::ElectionPort, why));
            }
            PeerEvent::Notified { from, notification } => {
                self.log_notification(from, &notification);
                let ballot = (&notification).into();
                self.step(Input::Notified { from, ballot });
            }
            PeerEvent::ElectionUp(peer) => self.step(Input::ElectionUp(peer)),
            PeerEvent::ElectionDown(peer) => self.step(Input::ElectionDown(peer)),
            PeerEvent::LinkDown { link, .. } => {
                // Nothing more comes of its snapshot; the core is told behind its packets.
                member.incoming.take_if(|incoming| incoming.link == link);
                member.on_links.push_back(event);
            }
            PeerEvent::LinkUp { .. }
            | PeerEvent::LeaderUp { .. }
            | PeerEvent::LeaderUnreachable { .. }
            | PeerEvent::Packet { .. } => member.on_links.push_back(event),
            PeerEvent::SnapshotBytes { .. } | PeerEvent::Drained { .. } => {} // looked at each turn
        }
    }

    /// In order, as far as the core takes packets of its leader.
    fn hear_links(&mut self) {
        loop {
            let Some(member) = &mut self.member else { return };
            let leader = member.leader;
            if !self.zab.is_reading()
                && let Some(link) = leader
                && member.on_links.front().is_some_and(|event| brings_packet(event, link))
            {
                member.peers.pause(link, &mut self.parts.reactor);
                return;
            }
            let Some(event) = member.on_links.pop_front() else { break };
            self.hear_link(event);
        }
        if let Some(member) = &mut self.member
            && let Some(link) = member.leader
            && self.zab.is_reading()
        {
            member.peers.resume(link, &mut self.parts.reactor);
        }
    }

    fn hear_link(&mut self, event: PeerEvent) {
        let Some(member) = &mut self.member else { return };
        let input = match event {
            PeerEvent::LinkUp { link, peer } => {
                member.meet(link, peer, None);
                Input::LinkUp(link)
            }
            PeerEvent::LeaderUp { link, leader } => {
                let address = String::new();
                let known = Acquaintance { address, server: Some(leader), is_observer: false };
                member.links.insert(link, known);
                member.leader = Some(link);
                Input::LeaderUp(link)
            }
            PeerEvent::LeaderUnreachable { leader, why } => {
                // the log is told by `stage/peers`, at its pace
                tracing::debug!("leader {leader} cannot be reached: {why}");
                Input::LeaderUnreachable
            }
            PeerEvent::Packet { link, packet } => {
                if let Some((zxid, flaw)) = member.flaw_of(link, &packet) {
                    return self.break_link(link, zxid, &flaw);
                }
                member.note(link, &packet);
                self.count_packet(&packet);
                Input::Packet { link, packet }
            }
            PeerEvent::LinkDown { link, why } => {
                tracing::info!("connection to {} is gone: {why}", member.name_of(link));
                self.forget_link(link);
                Input::LinkDown(link)
            }
            PeerEvent::ElectionOpen
            | PeerEvent::ElectionFailed { .. }
            | PeerEvent::Notified { .. }
            | PeerEvent::ElectionUp(_)
            | PeerEvent::ElectionDown(_)
            | PeerEvent::SnapshotBytes { .. }
            | PeerEvent::Drained { .. } => return,
        };
        self.step(input);
    }

    /// A link is no more.
    pub(in crate::stage::zab) fn forget_link(&mut self, link: LinkId) {
        let Some(member) = &mut self.member else { return };
        member.links.remove(&link);
        member.outgoing.remove(&link);
        member.incoming.take_if(|incoming| incoming.link == link);
        member.leader.take_if(|leader| *leader == link);
        let is_of = |event: &PeerEvent| {
            let of = match event {
                PeerEvent::Packet { link, .. } | PeerEvent::LinkDown { link, .. } => Some(*link),
                PeerEvent::ElectionOpen
                | PeerEvent::ElectionFailed { .. }
                | PeerEvent::Notified { .. }
                | PeerEvent::ElectionUp(_)
                | PeerEvent::ElectionDown(_)
                | PeerEvent::LinkUp { .. }
                | PeerEvent::LeaderUp { .. }
                | PeerEvent::LeaderUnreachable { .. }
                | PeerEvent::SnapshotBytes { .. }
                | PeerEvent::Drained { .. } => None,
            };
            of == Some(link)
        };
        member.on_links.retain(|event| !is_of(event));
    }

    fn hear_storage(&mut self) {
        while let Some(answer) = self.member.as_ref().and_then(|member| member.answers.pop()) {
            match answer {
                StorageAnswer::Persisted(record) => self.step(Input::Persisted(record)),
                StorageAnswer::Rebuilt(tree, cost) => {
                    if let Some(cost) = cost {
                        cost.count(&self.recorder);
                    }
                    self.set_rebuilding(false);
                    let last = self.replace_tree(tree);
                    self.step(Input::Rebuilt { last });
                }
                StorageAnswer::NotRebuilt => {
                    self.set_rebuilding(false);
                    self.step(Input::NotRebuilt);
                }
                StorageAnswer::LogRead(link, history) => {
                    if let Some(member) = &mut self.member {
                        member.log_reads -= 1;
                    }
                    self.step(Input::LogRead { link, history });
                }
            }
        }
    }

    /// While a new tree is made, what the log has of the old history is of no interest.
    pub(in crate::stage::zab) fn is_rebuilding(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.is_rebuilding)
    }

    pub(in crate::stage::zab) fn set_rebuilding(&mut self, is_rebuilding: bool) {
        if let Some(member) = &mut self.member {
            member.is_rebuilding = is_rebuilding;
        }
    }

    pub(in crate::stage::zab) fn read_log(
        &mut self,
        link: LinkId,
        from: Zxid,
        upto: Zxid,
        bytes_max: usize,
    ) {
        let Some(member) = &mut self.member else { return };
        if member.log_reads >= LOG_READS_MAX {
            self.step(Input::LogRead { link, history: None });
            return;
        }
        member.log_reads += 1;
        self.ask_storage(StorageAsk::ReadLog(link, Stretch { from, upto, bytes_max }));
    }
}
