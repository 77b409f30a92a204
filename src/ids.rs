//! Numbers that name things: never bare integers beyond the wire.

use std::fmt;

/// A txn's place in history: epoch in the high half, counter in the low.
///
/// Signed, as `ZooKeeper` compares it; a real one is never negative.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Zxid(pub i64);

impl Zxid {
    /// Before the first txn.
    pub const ZERO: Self = Self(0);

    /// The zxid of `counter` in `epoch`.
    pub const fn new(epoch: Epoch, counter: u32) -> Self {
        Self((epoch.0 << 32) | counter as i64)
    }

    /// Which leader's term it belongs to.
    pub const fn epoch(self) -> Epoch {
        Epoch(self.0 >> 32)
    }

    /// Its number within the epoch; 0 names the epoch itself, not a txn.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the low half")]
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// `None` when the counter is spent: the leader must step down to open a new epoch.
    pub const fn next(self) -> Option<Self> {
        if self.counter() == u32::MAX { None } else { Some(Self(self.0 + 1)) }
    }
}

/// As every tool prints it: lower-case hex with `0x`.
impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A leader's term.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub i64);

/// A client's session. 0 asks for a new one and is never valid.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(pub i64);

impl SessionId {
    /// "Give me a new one" in a connect request; also the author of the server's own txns.
    pub const NONE: Self = Self(0);
}

/// As every tool prints it: lower-case hex with `0x`, no padding.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A request's number, chosen by the client; `cxid` once logged.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Xid(pub i32);

impl Xid {
    /// A watch notification.
    pub const NOTIFICATION: Self = Self(-1);
    /// A ping, and every reply to one.
    pub const PING: Self = Self(-2);
    /// An auth packet.
    pub const AUTH: Self = Self(-4);
    /// `setWatches` as the C client sends it.
    pub const SET_WATCHES: Self = Self(-8);
}

/// A member of the ensemble (`myid`).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServerId(pub i64);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One attempt to elect a leader: the logical clock of `FastLeaderElection`, counted in memory.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Round(pub i64);

/// As every tool prints it: lower-case hex with `0x`.
impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Milliseconds: since the epoch where a txn carries it, since start where a deadline does.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Millis(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zxid_splits_and_joins() {
        let zxid = Zxid::new(Epoch(3), 7);
        assert_eq!(zxid, Zxid(0x3_0000_0007));
        assert_eq!((zxid.epoch(), zxid.counter()), (Epoch(3), 7));
        assert_eq!(zxid.to_string(), "0x300000007");
    }

    #[test]
    fn a_spent_counter_has_no_successor() {
        assert_eq!(Zxid::new(Epoch(1), u32::MAX).next(), None);
        assert_eq!(Zxid::new(Epoch(1), 1).next(), Some(Zxid::new(Epoch(1), 2)));
    }

    #[test]
    fn session_ids_print_as_java_prints_longs() {
        assert_eq!(SessionId(0x0100_0014_3c91_000d).to_string(), "0x10000143c91000d");
        assert_eq!(SessionId(-1).to_string(), "0xffffffffffffffff");
    }
}
