//! What happened in a history: a hash of all of it, and, for a history that is played again
//! because it failed, its end as text.

use std::collections::VecDeque;
use std::fmt;

use crate::queue::Micros;

/// See the module.
pub struct Trace {
    hash: u64,
    events: u64,
    lines: VecDeque<String>,
    /// 0: only the hash.
    lines_max: usize,
    dropped: u64,
}

impl Trace {
    pub fn new(lines_max: usize) -> Self {
        Self { hash: 0, events: 0, lines: VecDeque::new(), lines_max, dropped: 0 }
    }

    /// Takes note of an event: `hash` tells it from others of its time.
    pub fn mix(&mut self, now: Micros, hash: u64) {
        let mixed = self.hash.rotate_left(5) ^ now.cast_unsigned() ^ hash.rotate_left(32);
        self.hash = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.events += 1;
    }

    /// A line; it is only made if somebody is to read it.
    pub fn say(&mut self, now: Micros, who: impl fmt::Display, what: impl FnOnce() -> String) {
        if self.lines_max == 0 {
            return;
        }
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
            self.dropped += 1;
        }
        let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
        self.lines.push_back(format!("{seconds:5}.{micros:06} {who:<4} {}", what()));
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn events(&self) -> u64 {
        self.events
    }

    pub fn print(&self) {
        if self.dropped > 0 {
            println!("  ... {} lines before these; see all with --trace N", self.dropped);
        }
        for line in &self.lines {
            println!("  {line}");
        }
    }
}
