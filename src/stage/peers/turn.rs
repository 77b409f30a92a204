//! A turn: what was wished is carried out, what is due is done, what came of it is told.
//!
//! Thread: zab.

use super::config::Port;
use super::dial::{self, Attempt, Manner, Outcome, Purpose};
use super::handshake;
use super::ports::Opening;
use super::report::Remark;
use super::report::mapping::listens_in_vain;
use super::resolve::{Answer, Target};
use super::{PeerEvent, Peers, Wanted};
use crate::ids::{Millis, ServerId};
use crate::net::{ConnectionId, Reactor};
use crate::wire::election::{Handshake, PeerAddress};

impl Peers {
    /// Carries out what was wished, and what is due.
    pub fn on_turn(&mut self, now: Millis, reactor: &mut Reactor, out: &mut Vec<PeerEvent>) {
        self.elections.now = now;
        self.elections.on_time(reactor);
        self.links.on_time(now, reactor, out);
        self.election_door.on_time(now, &mut self.resolver);
        self.quorum_door.on_time(now, &mut self.resolver);
        self.learn();
        self.begin_dials(now);
        while let Some(answer) = self.resolver.pop() {
            self.on_answer(answer, now, reactor, out);
        }
        self.dials.on_time(now, reactor, &mut self.outcomes);
        self.on_outcomes(reactor, out);
        let remarks = self.elections.remarks.drain(..).chain(self.links.remarks.drain(..));
        remarks.for_each(|remark| self.log.tell(now, &remark));
    }

    /// Where members say that they are.
    fn learn(&mut self) {
        for said in self.elections.introductions.drain(..) {
            let addresses = handshake::dialable(&said.addresses);
            if self.config.members.contains_key(&said.server) {
                self.log.forget(said.server);
            }
            self.atlas.claim(said.server, addresses);
        }
    }

    fn begin_dials(&mut self, now: Millis) {
        let keep_alive = self.config.keep_alive;
        // Who is called calls back, so this server's own port comes first.
        let due = if self.election_door.is_opening() { Vec::new() } else { self.elections.due() };
        for to in due {
            let mut names = self.config.addresses(to, Port::Election);
            let claims = self.atlas.claims(to).iter().filter(|claim| !names.contains(claim));
            let claims: Vec<PeerAddress> = claims.cloned().collect();
            names.extend(claims);
            if names.is_empty() {
                self.log.tell(now, &Remark::NoMember { to });
                continue;
            }
            let manner = Manner { timeout: self.config.connect_timeout, keep_alive };
            self.dials.begin(Purpose::Election(to), names, manner, &mut self.resolver, now);
        }
        if let Some((to, timeout)) = self.leader.take() {
            let names = self.config.addresses(to, Port::Quorum);
            let manner = Manner { timeout, keep_alive };
            self.dials.begin(Purpose::Leader(to), names, manner, &mut self.resolver, now);
        }
    }

    fn on_answer(
        &mut self,
        answer: Answer<Wanted>,
        now: Millis,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) {
        let Answer { wanted, serial, found } = answer;
        match wanted {
            Wanted::Listen(Port::Election) => {
                let opening = self.election_door.on_found(serial, &found, reactor, now);
                self.on_opening(Port::Election, opening, now, out);
            }
            Wanted::Listen(Port::Quorum) => {
                let opening = self.quorum_door.on_found(serial, &found, reactor, now);
                self.on_opening(Port::Quorum, opening, now, out);
            }
            Wanted::Dial(purpose @ Purpose::Election(to)) => {
                let configured = self.config.addresses(to, Port::Election);
                self.atlas.resolve(to, &configured, &found.targets);
                self.look_at_oneself(now);
                let atlas = &self.atlas;
                self.dials.on_found(purpose, serial, found, |target| atlas.is_own(target));
            }
            Wanted::Dial(purpose @ Purpose::Leader(_)) => {
                self.dials.on_found(purpose, serial, found, |_| false);
            }
        }
    }

    fn on_opening(
        &mut self,
        port: Port,
        opening: Option<Opening>,
        now: Millis,
        out: &mut Vec<PeerEvent>,
    ) {
        match opening {
            None => {}
            Some(Opening::Open(targets)) => {
                for target in &targets {
                    let (me, place) = (self.config.me, dial::place(target));
                    self.log.tell(now, &Remark::Bound { me, port, place });
                }
                if port == Port::Election {
                    self.atlas.own = targets.iter().map(|target| target.at).collect();
                    self.listening = targets;
                    out.push(PeerEvent::ElectionOpen);
                }
            }
            Some(Opening::Failed { place, why, is_last }) => {
                if is_last {
                    let why = format!("cannot listen on the {port} port {place}: {why}");
                    out.push(PeerEvent::ElectionFailed { why });
                }
                self.log.tell(now, &Remark::NotBound { port, place, why, is_last });
            }
        }
    }

    /// Warns if nobody else can reach this server.
    fn look_at_oneself(&mut self, now: Millis) {
        let warn = |own| listens_in_vain(own, &self.atlas.elsewhere());
        if let Some(what) = self.listening.iter().find_map(warn) {
            self.log.tell(now, &Remark::InVain { me: self.config.me, what });
        }
    }

    /// How this server introduces itself.
    fn introduction(&self) -> Handshake {
        let literal = |target: &Target| PeerAddress {
            host: target.at.ip().to_string(),
            port: target.at.port(),
        };
        // A wildcard says nothing to others: they are told the configured name then.
        let own = self.listening.iter().map(literal).filter(|own| !own.is_wildcard());
        self.config.handshake(&own.collect::<Vec<_>>())
    }

    pub(super) fn on_outcomes(&mut self, reactor: &mut Reactor, out: &mut Vec<PeerEvent>) {
        for outcome in std::mem::take(&mut self.outcomes) {
            self.on_outcome(outcome, reactor, out);
        }
    }

    fn on_outcome(&mut self, outcome: Outcome, reactor: &mut Reactor, out: &mut Vec<PeerEvent>) {
        match outcome {
            Outcome::Won { purpose: Purpose::Leader(leader), connection, target } => {
                self.log.forget(leader);
                let link = self.links.add_leader(connection, target.at);
                out.push(PeerEvent::LeaderUp { link, leader });
            }
            Outcome::Won { purpose: Purpose::Election(to), connection, target } => {
                self.on_reached(to, connection, &target, reactor, out);
            }
            Outcome::Lost { purpose: Purpose::Leader(leader), attempts } => {
                let list: Vec<String> = attempts.iter().map(Attempt::to_string).collect();
                let why = if list.is_empty() {
                    format!("server {leader} is not in this server's configuration")
                } else {
                    list.join(", ")
                };
                let attempts = doubted(attempts, |at| self.atlas.suspicion_of_leader(leader, at));
                self.elections.remarks.push(Remark::NoLeader { leader, attempts });
                out.push(PeerEvent::LeaderUnreachable { leader, why });
            }
            Outcome::Lost { purpose: Purpose::Election(to), attempts } => {
                let attempts = doubted(attempts, |at| self.atlas.suspicion(to, at));
                self.elections.remarks.push(Remark::NoChannel { to, attempts });
            }
        }
    }

    /// A peer's election port has taken a call.
    fn on_reached(
        &mut self,
        to: ServerId,
        connection: ConnectionId,
        target: &Target,
        reactor: &mut Reactor,
        out: &mut Vec<PeerEvent>,
    ) {
        if self.atlas.is_of_another(to, target)
            && let Some(what) = self.atlas.suspicion(to, target)
        {
            self.elections.remarks.push(Remark::Mapping { to, what });
        }
        if let Some(outbox) = reactor.outbox(connection) {
            self.introduction().encode(outbox);
        }
        self.elections.on_called(to, connection, target.at, reactor, out);
        if let Some(calls) = self.elections.calls_in_vain(to) {
            let place = dial::place(target);
            self.elections.remarks.push(Remark::NoCallBack { to, place, calls });
        }
    }
}

/// Each attempt, with what is odd about its address.
fn doubted(
    attempts: Vec<Attempt>,
    suspicion: impl Fn(&Target) -> Option<String>,
) -> Vec<(Attempt, Option<String>)> {
    let doubt = |attempt: Attempt| {
        let hint = attempt.target.as_ref().and_then(&suspicion);
        (attempt, hint)
    };
    attempts.into_iter().map(doubt).collect()
}
