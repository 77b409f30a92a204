//! What is between servers: what is on its way, who is connected, what is cut.

use std::collections::{BTreeMap, BTreeSet};

use ringkeeper::ids::ServerId;
use ringkeeper::wire::quorum::Packet;
use ringkeeper::zab::{Input, LinkId, Proposal};

#[derive(Debug)]
pub(crate) enum Event {
    Input(ServerId, Input),
    Connect { from: ServerId, to: ServerId },
    Packet { to: ServerId, link: LinkId, packet: Packet },
    Snapshot { to: ServerId, link: LinkId, history: Vec<Proposal> },
    Disk(ServerId),
}

#[derive(Clone, Copy)]
struct End {
    owner: ServerId,
    peer: (ServerId, LinkId),
}

/// Messages all take the same time, so those of one connection keep their order.
#[derive(Default)]
pub(crate) struct Network {
    events: BTreeMap<(i64, u64), Event>,
    sequence: u64,
    links: BTreeMap<LinkId, End>,
    next_link: u64,
    /// Election connections: pairs, the smaller first.
    connected: BTreeSet<(ServerId, ServerId)>,
    listening: BTreeSet<ServerId>,
    cut: BTreeSet<(ServerId, ServerId)>,
    muted: BTreeSet<(ServerId, ServerId)>,
    /// Of what was sent on them something is lost, so nothing more can arrive.
    torn: BTreeSet<LinkId>,
}

fn pair(one: ServerId, other: ServerId) -> (ServerId, ServerId) {
    (one.min(other), one.max(other))
}

impl Network {
    pub(crate) fn later(&mut self, at: i64, event: Event) {
        if let Event::Input(to, Input::Notified { from, .. }) = event
            && self.muted.contains(&(from, to))
        {
            return;
        }
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    pub(crate) fn next_at(&self) -> Option<i64> {
        self.events.keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn pop(&mut self) -> Event {
        self.events.pop_first().expect("something is on its way").1
    }

    pub(crate) fn listen(&mut self, server: ServerId, listens: bool) {
        if listens {
            self.listening.insert(server);
        } else {
            self.listening.remove(&server);
        }
    }

    /// Whether they are connected now and were not before.
    pub(crate) fn connect_election(&mut self, from: ServerId, to: ServerId) -> bool {
        let is_open = !self.cut.contains(&pair(from, to));
        is_open && self.connected.insert(pair(from, to))
    }

    /// A learner dials; what both ends are told.
    pub(crate) fn connect(&mut self, from: ServerId, to: ServerId) -> Vec<(ServerId, Input)> {
        let is_silent = self.muted.contains(&(from, to)) || self.muted.contains(&(to, from));
        if !self.listening.contains(&to) || self.cut.contains(&pair(from, to)) || is_silent {
            return vec![(from, Input::LeaderUnreachable)];
        }
        let (near, far) = (LinkId(self.next_link), LinkId(self.next_link + 1));
        self.next_link += 2;
        self.links.insert(near, End { owner: from, peer: (to, far) });
        self.links.insert(far, End { owner: to, peer: (from, near) });
        vec![(to, Input::LinkUp(far)), (from, Input::LeaderUp(near))]
    }

    pub(crate) fn is_up(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    /// Who is at the other end, and by which name.
    pub(crate) fn peer(&self, link: LinkId) -> Option<(ServerId, LinkId)> {
        self.links.get(&link).map(|end| end.peer)
    }

    pub(crate) fn send(&mut self, link: LinkId, packet: Packet) -> Option<Event> {
        let (to, link) = self.reach(link)?;
        Some(Event::Packet { to, link, packet })
    }

    /// The other end of a link, if what is sent now arrives there.
    pub(crate) fn reach(&mut self, link: LinkId) -> Option<(ServerId, LinkId)> {
        let End { owner, peer: (to, far) } = *self.links.get(&link)?;
        if self.muted.contains(&(owner, to)) {
            self.torn.insert(far);
        }
        (!self.torn.contains(&far)).then_some((to, far))
    }

    /// One end closes: what it sent before still arrives; the other end is told behind that.
    pub(crate) fn close(&mut self, link: LinkId) -> Option<Event> {
        let (to, far) = self.links.remove(&link)?.peer;
        Some(Event::Input(to, Input::LinkDown(far)))
    }

    pub(crate) fn mute(&mut self, from: ServerId, to: ServerId) {
        self.muted.insert((from, to));
    }

    /// What was lost breaks its connection.
    pub(crate) fn heal(&mut self, one: ServerId, other: ServerId) -> Vec<Event> {
        self.cut.remove(&pair(one, other));
        self.muted.remove(&(one, other));
        self.muted.remove(&(other, one));
        let is_between = |end: &End| pair(end.owner, end.peer.0) == pair(one, other);
        let torn =
            self.links.values().any(|end| is_between(end) && self.torn.contains(&end.peer.1));
        if torn { self.part(|a, b| pair(a, b) == pair(one, other)) } else { Vec::new() }
    }

    /// What was on its way is lost; who is told that a connection is gone.
    pub(crate) fn cut(&mut self, one: ServerId, other: ServerId) -> Vec<Event> {
        self.cut.insert(pair(one, other));
        self.part(|a, b| pair(a, b) == pair(one, other))
    }

    /// A crash: nothing that was meant for it arrives.
    pub(crate) fn stop(&mut self, server: ServerId) -> Vec<Event> {
        self.listening.remove(&server);
        self.events.retain(|_, event| match event {
            Event::Input(to, _)
            | Event::Connect { from: to, .. }
            | Event::Packet { to, .. }
            | Event::Snapshot { to, .. }
            | Event::Disk(to) => *to != server,
        });
        self.part(|a, b| a == server || b == server)
    }

    /// Every connection between them breaks, with what is on its way.
    fn part(&mut self, is_lost: impl Fn(ServerId, ServerId) -> bool) -> Vec<Event> {
        self.events.retain(|_, event| match event {
            Event::Input(to, Input::Notified { from, .. }) => !is_lost(*from, *to),
            Event::Input(..)
            | Event::Connect { .. }
            | Event::Packet { .. }
            | Event::Snapshot { .. }
            | Event::Disk(_) => true,
        });
        let mut told = Vec::new();
        for (one, other) in self.connected.extract_if(.., |(one, other)| is_lost(*one, *other)) {
            told.push(Event::Input(one, Input::ElectionDown(other)));
            told.push(Event::Input(other, Input::ElectionDown(one)));
        }
        for (link, end) in self.links.extract_if(.., |_, end| is_lost(end.owner, end.peer.0)) {
            told.push(Event::Input(end.owner, Input::LinkDown(link)));
        }
        told
    }
}
