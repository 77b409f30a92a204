//! What one server is told when it starts: who it is, who votes, how long to wait.

mod mutation;

use std::sync::Arc;

use super::quorum::Quorum;
use crate::ids::{Epoch, ServerId, Zxid};
pub use mutation::{Mutation, Mutations};

/// A server's place in its ensemble: fixed while a configuration lasts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This server.
    pub me: ServerId,
    /// Whether it learns without a vote (`peerType=observer`).
    pub is_observer: bool,
    /// Who votes.
    pub quorum: Quorum,
    /// The configuration's text, as a leader sends it with `NEWLEADER`.
    pub text: Arc<str>,
    /// Its version; a learner with a greater one is refused.
    pub version: i64,
    /// How long to wait.
    pub timing: Timing,
    /// How many committed txns are kept in memory for learners (`commitLogCount`, 500).
    pub recent_max: usize,
    /// Whether the log may serve a learner beyond them (`snapshotSizeFactor` is not negative).
    pub reads_log: bool,
    /// Whether a leader serves clients (`leaderServes`).
    pub leader_serves: bool,
    /// The last counter an epoch has: [`Config::COUNTER_MAX`], or less in tests.
    pub counter_max: u32,
    /// Bugs put back on purpose: none, but in the simulator.
    pub mutations: Mutations,
}

impl Config {
    /// COMPAT: Java never uses the last counter (ZOOKEEPER-1277).
    pub const COUNTER_MAX: u32 = u32::MAX - 1;

    /// An ensemble of one that has no peers, and nobody to wait for.
    pub(super) fn standalone() -> Self {
        Self {
            me: ServerId(0),
            is_observer: false,
            quorum: Quorum::of_one(),
            text: "".into(),
            version: 0,
            timing: Timing {
                tick_ms: 0,
                init_limit: 0,
                sync_limit: 0,
                connect_limit: 0,
                interval_ms_min: 0,
                interval_ms_max: 0,
            },
            recent_max: 0,
            reads_log: false,
            leader_serves: true,
            counter_max: Self::COUNTER_MAX,
            mutations: Mutations::NONE,
        }
    }
}

/// How long to wait for peers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timing {
    /// `tickTime`.
    pub tick_ms: i64,
    /// Ticks to connect and be brought up to date (`initLimit`).
    pub init_limit: i64,
    /// Ticks without a word, or an ack (`syncLimit`).
    pub sync_limit: i64,
    /// Ticks to connect to a leader (`connectToLearnerMasterLimit`); 0: as `initLimit`.
    pub connect_limit: i64,
    /// How soon a vote is sent again (`fastleader.minNotificationInterval`, 200).
    pub interval_ms_min: i64,
    /// How seldom, at most (`fastleader.maxNotificationInterval`, 60 000).
    pub interval_ms_max: i64,
}

impl Timing {
    /// Until a learner has acked `NEWLEADER`.
    pub const fn init_ms(&self) -> i64 {
        self.tick_ms.saturating_mul(self.init_limit)
    }

    /// From then on.
    pub const fn sync_ms(&self) -> i64 {
        self.tick_ms.saturating_mul(self.sync_limit)
    }

    /// For a learner to connect to its leader.
    pub const fn connect_ms(&self) -> i64 {
        match self.connect_limit {
            0 => self.init_ms(),
            ticks => self.tick_ms.saturating_mul(ticks),
        }
    }

    /// Between two pings.
    pub const fn ping_ms(&self) -> i64 {
        if self.tick_ms < 2 { 1 } else { self.tick_ms / 2 }
    }
}

/// What a server has on disk, and has applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// The last epoch it promised to accept.
    pub accepted: Epoch,
    /// The last leader's whose history it has.
    pub current: Epoch,
    /// The end of its log; [`super::election::UNINITIALIZED`] if the data is gone.
    pub last_logged: Zxid,
}
