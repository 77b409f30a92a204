//! A bounded lock-free queue with the bell that wakes its reader.
//!
//! A sender pushes what it has and rings once per batch; ringing a thread that is awake costs one
//! atomic. A full queue gives the message back: the sender stops taking work, so back-pressure
//! reaches the client's socket and nothing is lost.
//!
//! INVARIANT: a reader that is about to sleep first says so, then looks into its queues once more;
//! a sender first pushes, then looks whether the reader sleeps. One of the two sees the other, so
//! no message is slept through ([`Sleep`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use crate::net::Sleep;

/// Wakes a thread that may be asleep.
pub trait Bell: Send + Sync {
    /// Wakes it, or does nothing if it is awake.
    fn ring(&self);
}

impl Bell for crate::net::Waker {
    fn ring(&self) {
        self.wake();
    }
}

/// The bell of a thread that has no ring and parks.
#[derive(Debug, Default)]
pub struct ParkBell {
    /// Who sleeps by it; set before its first sleep.
    thread: OnceLock<Thread>,
    sleep: Sleep,
}

impl ParkBell {
    /// The calling thread will be the one that sleeps. A bell has one such thread for life.
    pub fn adopt(&self) {
        let _ = self.thread.set(std::thread::current()); // set already: by this same thread
    }

    /// Sleeps until rung, or until `timeout`, unless `ready` finds something to do.
    pub fn wait_unless(&self, timeout: Option<Duration>, ready: impl FnOnce() -> bool) {
        self.sleep.begin();
        if !ready() {
            match timeout {
                Some(timeout) => std::thread::park_timeout(timeout),
                None => std::thread::park(),
            }
        }
        self.sleep.end();
    }
}

impl Bell for ParkBell {
    fn ring(&self) {
        if self.sleep.interrupt()
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// A bell that remembers: for channels that cannot be looked into without taking something out, so
/// that a reader about to sleep can only ask whether it was rung.
pub struct StickyBell {
    rung: AtomicBool,
    bell: Arc<dyn Bell>,
}

impl StickyBell {
    /// One that wakes by `bell`.
    pub fn new(bell: Arc<dyn Bell>) -> Arc<Self> {
        Arc::new(Self { rung: AtomicBool::new(false), bell })
    }

    /// Whether it was rung since it was last answered.
    pub fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Reader: before it looks into its channels.
    pub fn answer(&self) {
        // The load spares the shared line a write where nobody rang.
        if self.is_rung() {
            self.rung.swap(false, Ordering::AcqRel);
        }
    }
}

impl Bell for StickyBell {
    fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// The end that pushes. One queue may have several senders.
pub struct Sender<T> {
    queue: Arc<ArrayQueue<T>>,
    bell: Arc<dyn Bell>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), bell: Arc::clone(&self.bell) }
    }
}

impl<T> Sender<T> {
    /// Queues a message; the reader learns of it with the next [`Self::ring`].
    ///
    /// # Errors
    /// Gives the message back when the queue is full.
    pub fn push(&self, message: T) -> Result<(), T> {
        self.queue.push(message)
    }

    /// Wakes the reader if it sleeps. Once per batch.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// How many more messages fit. Exact for a queue's only sender, which is who may rely on it.
    pub fn room(&self) -> usize {
        self.queue.capacity() - self.queue.len()
    }
}

/// The end that pops; there is one.
pub struct Receiver<T> {
    queue: Arc<ArrayQueue<T>>,
}

impl<T> Receiver<T> {
    /// The oldest message.
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

/// A queue of `capacity` messages whose reader `bell` wakes.
pub fn bounded<T>(capacity: usize, bell: Arc<dyn Bell>) -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(ArrayQueue::new(capacity));
    (Sender { queue: Arc::clone(&queue), bell }, Receiver { queue })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_gives_the_message_back() {
        let (sender, receiver) = bounded(2, Arc::new(ParkBell::default()));
        assert_eq!((sender.push(1), sender.push(2), sender.push(3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!(sender.room(), 0);
        assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some(1), Some(2), None));
    }

    /// Rung while its reader is awake, as the wake alone would be lost.
    #[test]
    fn a_sticky_bell_is_heard_later() {
        let park = Arc::new(ParkBell::default());
        park.adopt();
        let bell = StickyBell::new(Arc::clone(&park) as Arc<dyn Bell>);
        assert!(!bell.is_rung());
        bell.ring();
        park.wait_unless(None, || bell.is_rung());
        bell.answer();
        assert!(!bell.is_rung());
    }

    /// A hundred thousand messages, one at a time, to a reader that sleeps between them.
    #[test]
    fn no_message_is_slept_through() {
        const MESSAGES: u32 = 100_000;
        let bell = Arc::new(ParkBell::default());
        let (sender, receiver) = bounded(4, Arc::clone(&bell) as Arc<dyn Bell>);
        let reader = std::thread::spawn(move || {
            bell.adopt();
            let mut expected = 0;
            while expected < MESSAGES {
                match receiver.pop() {
                    Some(message) => {
                        assert_eq!(message, expected);
                        expected += 1;
                    }
                    None => bell.wait_unless(None, || !receiver.is_empty()),
                }
            }
        });
        for message in 0..MESSAGES {
            while sender.push(message).is_err() {
                std::thread::yield_now();
            }
            sender.ring();
        }
        reader.join().expect("the reader saw every message in order");
    }
}
