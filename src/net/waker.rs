//! Waking a reactor from another thread: for nothing while it is awake, with one write when it
//! sleeps.
//!
//! Any thread. The caller first pushes to a queue, then wakes; the reactor first says that it will
//! sleep, then looks at the queue ([`Sleep`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

use super::error::NetError;
use super::sleep::Sleep;

/// What adds one to an eventfd, which takes an integer as the machine writes it.
#[expect(clippy::host_endian_bytes, reason = "the kernel reads a native integer")]
const ONE: [u8; 8] = 1_u64.to_ne_bytes();

#[derive(Debug)]
struct Shared {
    sleep: Sleep,
    /// Written to wake, never read: the ring is told of each write, not of the level.
    eventfd: OwnedFd,
}

/// Ends a [`super::Reactor`]'s wait from any thread.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

impl Waker {
    pub(super) fn new() -> Result<Self, NetError> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| NetError::Call { name: "eventfd", error: error.into() })?;
        Ok(Self { shared: Arc::new(Shared { sleep: Sleep::default(), eventfd }) })
    }

    /// Call it after the push that the reactor's thread shall see. One system call if that thread
    /// sleeps and no other has woken it, none otherwise.
    pub fn wake(&self) {
        if self.shared.sleep.interrupt() {
            // It can only fail with EAGAIN after 2^64 - 2 wakes, none of them read.
            let _ = rustix::io::write(&self.shared.eventfd, &ONE);
        }
    }

    pub(super) fn begin_sleep(&self) {
        self.shared.sleep.begin();
    }

    pub(super) fn end_sleep(&self) {
        self.shared.sleep.end();
    }

    pub(super) fn eventfd(&self) -> BorrowedFd<'_> {
        self.shared.eventfd.as_fd()
    }
}
