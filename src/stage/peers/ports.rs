//! Listening on this server's own addresses.
//!
//! Thread: zab. A port that is wanted is opened: its names are resolved, each address is bound,
//! and what cannot be bound is tried again a little later, because the server before this one may
//! not have let go of it yet. Who waits for that is nobody: connections come when they come.

use super::config::Port;
use super::resolve::{Found, Resolver, Target};
use super::{Wanted, dial};
use crate::ids::Millis;
use crate::net::{Listener, ListenerId, Reactor};
use crate::wire::election::PeerAddress;

/// How many handshakes the kernel completes ahead of us.
const BACKLOG: i32 = 128;

/// What became of an attempt to open a port.
#[derive(Debug)]
pub(super) enum Opening {
    /// Every address is bound: these.
    Open(Vec<Target>),
    /// One could not be; it is tried again.
    Failed { place: String, why: String, is_last: bool },
}

#[derive(Debug)]
enum State {
    Closed,
    Resolving {
        serial: u64,
    },
    /// Until it is tried again.
    Resting {
        until: Millis,
    },
    Open,
    /// Tried as often as was allowed.
    GivenUp,
}

/// One of this server's two ports.
#[derive(Debug)]
pub(super) struct Door {
    port: Port,
    names: Vec<PeerAddress>,
    state: State,
    listeners: Vec<ListenerId>,
    retry_ms: i64,
    /// 0 is for ever.
    tries_max: u32,
    tries: u32,
    keep_alive: bool,
}

impl Door {
    pub(super) fn new(port: Port, names: Vec<PeerAddress>, keep_alive: bool) -> Self {
        let state = State::Closed;
        let listeners = Vec::new();
        Self { port, names, state, listeners, retry_ms: 0, tries_max: 0, tries: 0, keep_alive }
    }

    /// Tried each `retry_ms`, at most `tries_max` times; 0 is for ever.
    pub(super) fn retrying(self, retry_ms: i64, tries_max: u32) -> Self {
        Self { retry_ms, tries_max, ..self }
    }

    /// Wants it open; it is, after a while.
    pub(super) fn open(&mut self, resolver: &mut Resolver<Wanted>) {
        if let State::Closed = self.state {
            self.tries = 0;
            self.look_up(resolver);
        }
    }

    /// Wants it closed.
    pub(super) fn close(&mut self, reactor: &mut Reactor) {
        self.state = State::Closed;
        for listener in self.listeners.drain(..) {
            reactor.unlisten(listener);
        }
    }

    /// Whether connections come in by it.
    pub(super) fn has(&self, listener: ListenerId) -> bool {
        self.listeners.contains(&listener)
    }

    /// Whether it is tried for the first time.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.state, State::Resolving { .. }) && self.tries == 0
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        match self.state {
            State::Resting { until } => Some(until),
            State::Closed | State::Resolving { .. } | State::Open | State::GivenUp => None,
        }
    }

    pub(super) fn on_time(&mut self, now: Millis, resolver: &mut Resolver<Wanted>) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.look_up(resolver);
        }
    }

    fn look_up(&mut self, resolver: &mut Resolver<Wanted>) {
        let serial = resolver.ask(Wanted::Listen(self.port), self.names.clone());
        self.state = State::Resolving { serial };
    }

    /// The names were looked up: binds what they came to.
    pub(super) fn on_found(
        &mut self,
        serial: u64,
        found: &Found,
        reactor: &mut Reactor,
        now: Millis,
    ) -> Option<Opening> {
        match self.state {
            State::Resolving { serial: mine } if mine == serial => {}
            State::Closed
            | State::Resolving { .. }
            | State::Resting { .. }
            | State::Open
            | State::GivenUp => return None,
        }
        if let Some(unresolved) = found.unresolved.first() {
            let place = format!("{}/<unresolved>", unresolved.name);
            return Some(self.rest(place, unresolved.why.clone(), now));
        }
        let targets = one_for_each_name(found);
        for target in &targets {
            if let Err(why) = self.bind(target, reactor) {
                for listener in self.listeners.drain(..) {
                    reactor.unlisten(listener);
                }
                return Some(self.rest(dial::place(target), why, now));
            }
        }
        self.state = State::Open;
        Some(Opening::Open(targets))
    }

    fn bind(&mut self, target: &Target, reactor: &mut Reactor) -> Result<(), String> {
        let listener = Listener::bind(target.at, BACKLOG, false).map_err(|e| e.to_string())?;
        listener.set_keep_alive(self.keep_alive).map_err(|error| error.to_string())?;
        self.listeners.push(reactor.listen(listener).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn rest(&mut self, place: String, why: String, now: Millis) -> Opening {
        self.tries += 1;
        let is_last = self.tries_max != 0 && self.tries >= self.tries_max;
        self.state = if is_last {
            State::GivenUp
        } else {
            State::Resting { until: Millis(now.0 + self.retry_ms) }
        };
        Opening::Failed { place, why, is_last }
    }
}

/// COMPAT: a name that has several addresses stands for its first (`InetSocketAddress`), of IPv4
/// if there is one, as the resolver sorts them.
fn one_for_each_name(found: &Found) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for target in &found.targets {
        if targets.iter().all(|one| one.name != target.name) {
            targets.push(target.clone());
        }
    }
    targets
}
