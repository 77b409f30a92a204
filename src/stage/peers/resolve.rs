//! Names to addresses: anew each time, never remembered, never on the zab thread.
//!
//! Threads: the zab thread asks; a few `resolver` threads, started when the first name needs
//! them, wait for the system's answer. One slow name does not hold up another until all of them
//! are busy; then asks queue up to a bound. What is being looked up for a purpose is not asked for
//! it again. Literals are answered at once, without a thread.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver as Asks, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::{DIAL_ADDRESSES_MAX, RESOLVER_QUEUE_MAX, RESOLVER_THREADS_MAX};
use crate::net;
use crate::stage::queue::{Bell, Receiver, Sender, bounded};
use crate::wire::election::PeerAddress;

/// A place to connect to or listen on, and the name it was found by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    pub(super) name: PeerAddress,
    pub(super) at: SocketAddr,
    /// The address is one of this host.
    pub(super) is_local: bool,
}

/// A name that has no address, and the system's words for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unresolved {
    pub(super) name: PeerAddress,
    pub(super) why: String,
}

/// What names came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Found {
    pub(super) targets: Vec<Target>,
    pub(super) unresolved: Vec<Unresolved>,
}

/// A question; `W` says what it is asked for.
struct Ask<W> {
    wanted: W,
    serial: u64,
    names: Vec<PeerAddress>,
}

/// The answer to the ask of that serial number.
pub(super) struct Answer<W> {
    pub(super) wanted: W,
    pub(super) serial: u64,
    pub(super) found: Found,
}

/// Asks names of the system.
pub(super) struct Resolver<W> {
    asks: SyncSender<Ask<W>>,
    /// Shared by the threads; whoever holds it waits for the next ask.
    waiting: Arc<Mutex<Asks<Ask<W>>>>,
    answers: (Sender<Answer<W>>, Receiver<Answer<W>>),
    /// Answered without a thread.
    at_once: VecDeque<Answer<W>>,
    threads: usize,
    /// Asks whose answers were not taken; no queue is asked to hold more.
    unfinished: Vec<(W, u64)>,
    serial: u64,
}

impl<W: Copy + PartialEq + Send + 'static> Resolver<W> {
    /// One whose answers wake `bell`'s thread.
    pub(super) fn new(bell: Arc<dyn Bell>) -> Self {
        let (asks, waiting) = sync_channel(RESOLVER_QUEUE_MAX);
        Self {
            asks,
            waiting: Arc::new(Mutex::new(waiting)),
            answers: bounded(RESOLVER_QUEUE_MAX, bell),
            at_once: VecDeque::new(),
            threads: 0,
            unfinished: Vec::new(),
            serial: 0,
        }
    }

    /// Asks for the addresses of `names`; returns the answer's number.
    pub(super) fn ask(&mut self, wanted: W, names: Vec<PeerAddress>) -> u64 {
        if let Some((_, serial)) = self.unfinished.iter().find(|(asked, _)| *asked == wanted) {
            return *serial;
        }
        self.serial += 1;
        let ask = Ask { wanted, serial: self.serial, names };
        let is_literal = |name: &PeerAddress| name.host.parse::<IpAddr>().is_ok();
        if ask.names.iter().all(is_literal) {
            self.at_once.push_back(answer(ask));
            return self.serial;
        }
        if self.unfinished.len() >= RESOLVER_QUEUE_MAX {
            self.refuse(ask, "too many names are being looked up already");
            return self.serial;
        }
        let all_busy = self.unfinished.len() >= self.threads;
        if all_busy && self.threads < RESOLVER_THREADS_MAX && self.start().is_ok() {
            self.threads += 1;
        }
        if self.threads == 0 {
            self.refuse(ask, "no thread to look it up with");
            return self.serial;
        }
        self.unfinished.push((wanted, self.serial));
        let queued = self.asks.try_send(ask);
        assert!(queued.is_ok(), "the queue holds as many as may be unfinished");
        self.serial
    }

    fn refuse(&mut self, ask: Ask<W>, why: &str) {
        let unresolved = |name| Unresolved { name, why: why.to_owned() };
        let unresolved = ask.names.into_iter().map(unresolved).collect();
        let found = Found { targets: Vec::new(), unresolved };
        self.at_once.push_back(Answer { wanted: ask.wanted, serial: ask.serial, found });
    }

    /// The next answer that is there.
    pub(super) fn pop(&mut self) -> Option<Answer<W>> {
        if let Some(answer) = self.at_once.pop_front() {
            return Some(answer);
        }
        let answer = self.answers.1.pop()?;
        self.unfinished.retain(|(_, serial)| *serial != answer.serial);
        Some(answer)
    }

    /// Whether [`Self::pop`] has one.
    pub(super) fn has_answer(&self) -> bool {
        !self.at_once.is_empty() || !self.answers.1.is_empty()
    }

    fn start(&self) -> io::Result<()> {
        let waiting = Arc::clone(&self.waiting);
        let answers = self.answers.0.clone();
        let work = move || {
            while let Some(ask) = next(&waiting) {
                let full = answers.push(answer(ask)).is_err();
                assert!(!full, "no more answers than unfinished asks");
                answers.ring();
            }
        };
        std::thread::Builder::new().name("resolver".to_owned()).spawn(work).map(drop)
    }
}

/// Waits for an ask; `None` when nobody asks any more.
fn next<W>(waiting: &Mutex<Asks<Ask<W>>>) -> Option<Ask<W>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn answer<W>(ask: Ask<W>) -> Answer<W> {
    let mut found = Found::default();
    for name in ask.names {
        match net::addresses_of(&name.host, name.port) {
            Ok(addresses) => {
                for at in addresses {
                    add(&mut found.targets, &name, at);
                }
            }
            Err(error) => found.unresolved.push(Unresolved { name, why: error.to_string() }),
        }
    }
    Answer { wanted: ask.wanted, serial: ask.serial, found }
}

fn add(targets: &mut Vec<Target>, name: &PeerAddress, at: SocketAddr) {
    let is_new = targets.iter().all(|target| target.at != at);
    if is_new && targets.len() < DIAL_ADDRESSES_MAX {
        targets.push(Target { name: name.clone(), at, is_local: is_local(at.ip()) });
    }
}

/// Only a host's own addresses can be bound.
fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::queue::ParkBell;

    fn name(host: &str) -> PeerAddress {
        PeerAddress { host: host.to_owned(), port: 3888 }
    }

    fn wait(resolver: &mut Resolver<u8>, bell: &ParkBell) -> Answer<u8> {
        loop {
            if let Some(answer) = resolver.pop() {
                return answer;
            }
            bell.wait_unless(None, || resolver.has_answer());
        }
    }

    #[test]
    fn literals_need_no_thread() {
        let mut resolver = Resolver::new(Arc::new(ParkBell::default()));
        let serial = resolver.ask(7_u8, vec![name("127.0.0.1"), name("::1"), name("192.0.2.1")]);
        let answer = resolver.pop().expect("at once");
        assert_eq!((answer.wanted, answer.serial, resolver.threads), (7, serial, 0));
        let local: Vec<bool> = answer.found.targets.iter().map(|target| target.is_local).collect();
        assert_eq!((local[0], local.last()), (true, Some(&false)));
    }

    #[test]
    fn names_are_asked_of_the_system_and_failures_have_words() {
        let bell = Arc::new(ParkBell::default());
        bell.adopt();
        let mut resolver = Resolver::new(Arc::clone(&bell) as Arc<dyn Bell>);
        let serial = resolver.ask(1, vec![name("localhost")]);
        assert_eq!(resolver.ask(1, vec![name("localhost")]), serial, "one look-up at a time");
        let answer = wait(&mut resolver, &bell);
        assert!(answer.found.targets[0].at.ip().is_loopback(), "{:?}", answer.found);
        assert_eq!(answer.found.targets[0].name, name("localhost"));
        resolver.ask(2, vec![name("no-such-host.invalid"), name("127.0.0.1")]);
        let answer = wait(&mut resolver, &bell);
        assert_eq!((answer.wanted, answer.found.targets.len()), (2, 1), "one of two");
        assert_eq!(answer.found.unresolved[0].name.host, "no-such-host.invalid");
        assert!(!answer.found.unresolved[0].why.is_empty());
    }

    #[test]
    fn too_many_asks_are_refused_not_queued() {
        let mut resolver = Resolver::new(Arc::new(ParkBell::default()));
        resolver.unfinished = vec![(0, 0); RESOLVER_QUEUE_MAX];
        resolver.ask(1, vec![name("localhost")]);
        let answer = resolver.pop().expect("at once");
        assert!(answer.found.unresolved[0].why.contains("too many"));
    }
}
