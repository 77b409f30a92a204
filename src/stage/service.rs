//! What a server does for clients at the moment, as all its threads see it.
//!
//! Written by the zab thread when a role begins or ends; read by the shards at each handshake and
//! request. A shard that sees an old value for a moment does no harm: whatever it passes on, the
//! zab thread judges by its own.

use std::sync::atomic::{AtomicU8, Ordering};

/// See the module.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Service {
    /// Nothing: it looks for a leader. Whoever connects is closed at once, but for words.
    Resting = 0,
    /// It orders writes, and is no member of an ensemble.
    Alone = 1,
    /// It orders writes as a leader: its tree may be behind what its learners have shown.
    Leading = 2,
    /// It passes writes and syncs to its leader.
    Forwarding = 3,
    /// It has no leader, and lets those read who know that it may be stale.
    ReadOnly = 4,
}

impl Service {
    /// Whether writes are ordered here.
    pub const fn is_ordering(self) -> bool {
        matches!(self, Self::Alone | Self::Leading)
    }
}

/// A [`Service`] that changes.
#[derive(Debug)]
pub struct ServiceCell(AtomicU8);

impl Default for ServiceCell {
    fn default() -> Self {
        Self(AtomicU8::new(Service::Resting as u8))
    }
}

impl ServiceCell {
    /// What it is.
    pub fn now(&self) -> Service {
        match self.0.load(Ordering::Acquire) {
            1 => Service::Alone,
            2 => Service::Leading,
            3 => Service::Forwarding,
            4 => Service::ReadOnly,
            _ => Service::Resting,
        }
    }

    /// What it is from here on.
    pub fn set(&self, service: Service) {
        self.0.store(service as u8, Ordering::Release);
    }
}
