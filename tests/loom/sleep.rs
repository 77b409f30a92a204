//! `net/sleep.rs` in every order that the memory model allows: no push is slept through.
//!
//! loom runs all interleavings, and calls it a deadlock when the reader sleeps for good.

#![cfg(all(test, loom))]

#[path = "../../src/net/sleep.rs"]
#[expect(unreachable_pub, dead_code, reason = "the server's own file")]
mod protocol;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread::{self, Thread};

use protocol::Sleep;

/// A queue is no more than what was pushed, and relaxed, as the protocol may lean on nothing else.
#[derive(Default)]
struct Queue {
    pushed: AtomicUsize,
    sleep: Sleep,
}

impl Queue {
    /// A sender: pushes, then rings.
    fn push(&self, reader: &Thread) {
        self.pushed.fetch_add(1, Ordering::Relaxed);
        if self.sleep.interrupt() {
            reader.unpark();
        }
    }

    /// The reader, until it has seen so many.
    fn read(&self, expected: usize) {
        while self.pushed.load(Ordering::Relaxed) < expected {
            self.sleep.begin();
            if self.pushed.load(Ordering::Relaxed) < expected {
                thread::park();
            }
            self.sleep.end();
        }
    }
}

fn all_are_read(senders: usize, each: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = (senders > 1).then_some(3);
    model.check(move || {
        let queue = Arc::new(Queue::default());
        let reader = thread::current();
        for _ in 0..senders {
            let (queue, reader) = (Arc::clone(&queue), reader.clone());
            thread::spawn(move || {
                for _ in 0..each {
                    queue.push(&reader);
                }
            });
        }
        queue.read(senders * each);
    });
}

#[test]
fn one_sender_one_message() {
    all_are_read(1, 1);
}

#[test]
fn one_sender_two_messages() {
    all_are_read(1, 2);
}

#[test]
fn two_senders() {
    all_are_read(2, 1);
}
