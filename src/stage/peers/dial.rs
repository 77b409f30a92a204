//! Reaching a server at whichever of its addresses answers first.
//!
//! Thread: zab. A race for each purpose: its names are resolved, then its addresses are tried one
//! after another, each a little after the one before or as soon as that has failed; the first to
//! connect wins and the rest is dropped. The whole race has one deadline, name servers included.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use super::resolve::{Found, Resolver, Target, Unresolved};
use super::{Wanted, millis};
use crate::ids::{Millis, ServerId};
use crate::limits::DIAL_STAGGER_MS;
use crate::net::{Close, ConnectFailure, ConnectionId, Dial, OsError, Reactor};
use crate::wire::election::PeerAddress;

/// What a connection is made for; one race for each at a time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Purpose {
    /// A peer's election port.
    Election(ServerId),
    /// The leader's quorum port.
    Leader(ServerId),
}

/// Why an attempt came to nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Reason {
    Unresolved(String),
    /// It leads to this server itself, and was not tried.
    Own,
    Failed(ConnectFailure),
    TimedOut(Duration),
    NoSocket(OsError),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(why) => write!(
                f,
                "the name does not resolve here ({why}): add it to the hosts file or DNS of this \
                 server"
            ),
            Self::Own => f.write_str("not tried"),
            Self::Failed(failure) => failure.fmt(f),
            Self::TimedOut(after) => write!(f, "timed out after {} ms", after.as_millis()),
            Self::NoSocket(error) => write!(f, "no socket to be had: {error}"),
        }
    }
}

/// One address or name that was tried in vain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Attempt {
    pub(super) name: PeerAddress,
    /// `None` for a name without an address.
    pub(super) target: Option<Target>,
    pub(super) reason: Reason,
}

impl Attempt {
    fn of(target: Target, reason: Reason) -> Self {
        Self { name: target.name.clone(), target: Some(target), reason }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, target, reason } = self;
        match target {
            Some(target) => write!(f, "{}: {reason}", place(target)),
            None => write!(f, "{}/<unresolved>:{}: {reason}", name.host, name.port),
        }
    }
}

/// As Java prints a socket's address; a literal has no name.
pub(super) fn place(target: &Target) -> String {
    let host = &target.name.host;
    let is_literal = host.parse::<std::net::IpAddr>().is_ok();
    format!("{}/{}", if is_literal { "" } else { host }, target.at)
}

/// What a race came to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A connection stands.
    Won { purpose: Purpose, connection: ConnectionId, target: Target },
    /// None of the addresses.
    Lost { purpose: Purpose, attempts: Vec<Attempt> },
}

/// How connections are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) timeout: Duration,
    pub(super) keep_alive: bool,
}

#[derive(Debug)]
struct Race {
    manner: Manner,
    deadline: Millis,
    /// The look-up that is waited for, and of what.
    asked: Option<(u64, Vec<PeerAddress>)>,
    waiting: VecDeque<Target>,
    open: Vec<(ConnectionId, Target)>,
    /// When the next address has its turn.
    next_at: Millis,
    failed: Vec<Attempt>,
}

/// The races that are on.
#[derive(Debug, Default)]
pub(super) struct Dials {
    races: BTreeMap<Purpose, Race>,
    /// Given up by their own doing; their `Closed` is nobody's business.
    dropped: Vec<ConnectionId>,
}

impl Dials {
    /// Begins a race, unless it is on.
    pub(super) fn begin(
        &mut self,
        purpose: Purpose,
        names: Vec<PeerAddress>,
        manner: Manner,
        resolver: &mut Resolver<Wanted>,
        now: Millis,
    ) {
        if self.is_on(purpose) {
            return;
        }
        let serial = resolver.ask(Wanted::Dial(purpose), names.clone());
        let race = Race {
            manner,
            deadline: Millis(now.0 + millis(manner.timeout)),
            asked: Some((serial, names)),
            waiting: VecDeque::new(),
            open: Vec::new(),
            next_at: now,
            failed: Vec::new(),
        };
        self.races.insert(purpose, race);
    }

    pub(super) fn is_on(&self, purpose: Purpose) -> bool {
        self.races.contains_key(&purpose)
    }

    /// Ends races without an outcome.
    pub(super) fn give_up(&mut self, reactor: &mut Reactor, which: impl Fn(Purpose) -> bool) {
        let given_up = self.races.extract_if(.., |purpose, _| which(*purpose));
        for (id, _) in given_up.flat_map(|(_, race)| race.open) {
            self.dropped.push(id);
            reactor.close(id, Close::Now);
        }
    }

    /// The names were looked up. Targets that `is_own` are not tried.
    pub(super) fn on_found(
        &mut self,
        purpose: Purpose,
        serial: u64,
        found: Found,
        is_own: impl Fn(&Target) -> bool,
    ) {
        let Some(race) = self.races.get_mut(&purpose) else { return };
        if race.asked.take_if(|(asked, _)| *asked == serial).is_none() {
            return;
        }
        let (own, others) = found.targets.into_iter().partition::<Vec<_>, _>(is_own);
        race.failed.extend(own.into_iter().map(|target| Attempt::of(target, Reason::Own)));
        race.waiting = others.into();
        race.failed.extend(found.unresolved.into_iter().map(|Unresolved { name, why }| Attempt {
            name,
            target: None,
            reason: Reason::Unresolved(why),
        }));
    }

    /// Whether the connection was one of a race.
    pub(super) fn on_connected(
        &mut self,
        id: ConnectionId,
        reactor: &mut Reactor,
        outcomes: &mut Vec<Outcome>,
    ) -> bool {
        let Some(purpose) = self.purpose_of(id) else { return false };
        let Some(race) = self.races.remove(&purpose) else { return false };
        for (open, target) in race.open {
            if open == id {
                outcomes.push(Outcome::Won { purpose, connection: id, target });
            } else {
                self.dropped.push(open);
                reactor.close(open, Close::Now);
            }
        }
        true
    }

    /// Whether the connection was one of a race.
    pub(super) fn on_failed(
        &mut self,
        id: ConnectionId,
        failure: ConnectFailure,
        now: Millis,
    ) -> bool {
        let Some(purpose) = self.purpose_of(id) else { return false };
        let Some(race) = self.races.get_mut(&purpose) else { return false };
        let Some(at) = race.open.iter().position(|(open, _)| *open == id) else { return false };
        let (_, target) = race.open.remove(at);
        let reason = match failure {
            ConnectFailure::TimedOut => Reason::TimedOut(race.manner.timeout),
            ConnectFailure::Refused | ConnectFailure::Unreachable(_) | ConnectFailure::Other(_) => {
                Reason::Failed(failure)
            }
        };
        race.failed.push(Attempt::of(target, reason));
        race.next_at = now;
        true
    }

    /// Whether it was one that a race has dropped.
    pub(super) fn on_closed(&mut self, id: ConnectionId) -> bool {
        let before = self.dropped.len();
        self.dropped.retain(|dropped| *dropped != id);
        self.dropped.len() < before
    }

    fn purpose_of(&self, id: ConnectionId) -> Option<Purpose> {
        let has = |race: &Race| race.open.iter().any(|(open, _)| *open == id);
        self.races.iter().find(|(_, race)| has(race)).map(|(purpose, _)| *purpose)
    }

    /// Starts what is due, ends what is over.
    pub(super) fn on_time(
        &mut self,
        now: Millis,
        reactor: &mut Reactor,
        outcomes: &mut Vec<Outcome>,
    ) {
        let purposes: Vec<Purpose> = self.races.keys().copied().collect();
        for purpose in purposes {
            let Some(race) = self.races.get_mut(&purpose) else { continue };
            race.start_due(now, reactor);
            if race.is_lost(now)
                && let Some(race) = self.races.remove(&purpose)
            {
                let attempts = self.lose(race, reactor);
                outcomes.push(Outcome::Lost { purpose, attempts });
            }
        }
    }

    /// What there is to say of a race that is over.
    fn lose(&mut self, race: Race, reactor: &mut Reactor) -> Vec<Attempt> {
        let mut attempts = race.failed;
        let after = race.manner.timeout;
        for (id, target) in race.open {
            self.dropped.push(id);
            reactor.close(id, Close::Now);
            attempts.push(Attempt::of(target, Reason::TimedOut(after)));
        }
        let slow = race.asked.into_iter().flat_map(|(_, names)| names);
        attempts.extend(slow.map(|name| Attempt {
            name,
            target: None,
            reason: Reason::Unresolved(format!("no answer in {} ms", after.as_millis())),
        }));
        let untried = race.waiting.into_iter();
        attempts.extend(untried.map(|target| Attempt::of(target, Reason::TimedOut(after))));
        attempts
    }

    /// When [`Self::on_time`] has something to do.
    pub(super) fn deadline(&self) -> Option<Millis> {
        self.races.values().map(Race::deadline).min()
    }
}

impl Race {
    fn start_due(&mut self, now: Millis, reactor: &mut Reactor) {
        while self.next_at <= now || self.open.is_empty() {
            let Some(target) = self.waiting.pop_front() else { return };
            // The race's deadline ends it; the reactor's is the longest the dial may take.
            let Manner { timeout, keep_alive } = self.manner;
            let dial = Dial { to: target.at, from: None, timeout, keep_alive };
            match reactor.connect(dial) {
                Ok(id) => {
                    self.open.push((id, target));
                    self.next_at = Millis(now.0 + DIAL_STAGGER_MS);
                }
                Err(error) => self.failed.push(Attempt::of(target, Reason::NoSocket(error))),
            }
        }
    }

    fn is_lost(&self, now: Millis) -> bool {
        let all_tried = self.asked.is_none() && self.waiting.is_empty() && self.open.is_empty();
        all_tried || now >= self.deadline
    }

    fn deadline(&self) -> Millis {
        match () {
            () if self.asked.is_none() && self.open.is_empty() => Millis(0),
            () if self.waiting.is_empty() => self.deadline,
            () => self.deadline.min(self.next_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Options;
    use crate::stage::queue::ParkBell;
    use std::sync::Arc;

    #[test]
    fn a_name_server_that_does_not_answer_is_what_the_race_is_lost_to() {
        let mut resolver = Resolver::new(Arc::new(ParkBell::default()));
        let mut reactor = Reactor::new(Options::default()).unwrap();
        let (mut dials, mut outcomes) = (Dials::default(), Vec::new());
        let purpose = Purpose::Election(ServerId(2));
        let name = PeerAddress { host: "localhost".to_owned(), port: 3888 };
        let manner = Manner { timeout: Duration::from_millis(50), keep_alive: false };
        dials.begin(purpose, vec![name.clone()], manner, &mut resolver, Millis(0));
        assert_eq!(dials.deadline(), Some(Millis(50)));
        dials.on_time(Millis(49), &mut reactor, &mut outcomes);
        assert!(outcomes.is_empty() && dials.is_on(purpose));
        dials.on_time(Millis(50), &mut reactor, &mut outcomes);
        let [Outcome::Lost { attempts, .. }] = &outcomes[..] else { panic!("{outcomes:?}") };
        let text = attempts[0].to_string();
        assert!(text.starts_with("localhost/<unresolved>:3888: "), "{text}");
        assert!(text.contains("no answer in 50 ms"), "{text}");
        assert_eq!((attempts.len(), dials.deadline()), (1, None));
        dials.on_found(purpose, 1, Found::default(), |_| false); // late, and for nobody
    }
}
