//! Virtual time: what is to happen, in order of when, and of when it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Microseconds since a history began.
pub type Micros = i64;

/// A millisecond.
pub const MILLI: Micros = 1000;

/// A second.
pub const SECOND: Micros = 1_000_000;

struct Planned<E> {
    at: Micros,
    number: u64,
    event: E,
}

impl<E> Planned<E> {
    fn key(&self) -> (Micros, u64) {
        (self.at, self.number)
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Planned<E> {}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Planned<E> {
    /// The heap has its greatest on top: that is to be the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

/// See the module.
pub struct Queue<E> {
    heap: BinaryHeap<Planned<E>>,
    now: Micros,
    number: u64,
}

impl<E> Queue<E> {
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), now: 0, number: 0 }
    }

    pub fn now(&self) -> Micros {
        self.now
    }

    /// Events of one time happen in the order in which they were planned.
    pub fn plan(&mut self, at: Micros, event: E) {
        self.number += 1;
        self.heap.push(Planned { at: at.max(self.now), number: self.number, event });
    }

    pub fn plan_in(&mut self, delay: Micros, event: E) {
        self.plan(self.now + delay, event);
    }

    /// The next event before `end`; time goes on to it, or to `end`.
    pub fn pop(&mut self, end: Micros) -> Option<E> {
        if self.heap.peek().is_none_or(|planned| planned.at >= end) {
            self.now = self.now.max(end);
            return None;
        }
        let planned = self.heap.pop()?;
        self.now = planned.at;
        Some(planned.event)
    }
}
