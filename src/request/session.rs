//! Sessions: their ids, their passwords, how long they live, and who holds them.
//!
//! Pure: time is an argument. [`tracker::SessionTracker`] runs on the thread that expires them.
//! Source: `SessionTrackerImpl`, `ZooKeeperServer.generatePasswd`.

pub mod tracker;

pub use tracker::{Owner, SessionTracker};

use crate::ids::{Millis, SessionId};
use crate::wire::client::PASSWORD_BYTES;

/// Hands out session ids: the server's id, when it started, and a counter.
#[derive(Clone, Debug)]
pub struct SessionIds {
    next: i64,
}

impl SessionIds {
    /// Ids of the server with this id, started at this wall time.
    ///
    /// Java takes a monotonic clock here; wall time keeps ids unique across reboots. A standalone
    /// server uses server id 1.
    #[expect(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "bits are moved")]
    pub const fn new(server: u8, wall: Millis) -> Self {
        let clock = ((wall.0 << 24) as u64 >> 8) as i64;
        let next = clock | ((server as i64) << 56);
        Self { next: if next == i64::MIN { next + 1 } else { next } }
    }

    /// The next one.
    pub const fn next_id(&mut self) -> SessionId {
        let id = SessionId(self.next);
        self.next = self.next.wrapping_add(1);
        id
    }
}

/// A pure function of the id, the same on every server: it tells clients apart, and is no secret
/// from who knows the id.
pub fn password(session: SessionId) -> [u8; PASSWORD_BYTES] {
    let mut random = JavaRandom::new(session.0 ^ 0xB341_5C00);
    let mut password = [0; PASSWORD_BYTES];
    for four in password.chunks_exact_mut(4) {
        let mut bytes = random.next().to_be_bytes();
        bytes.reverse(); // COMPAT: `Random.nextBytes` gives the low byte first
        four.copy_from_slice(&bytes);
    }
    password
}

/// Whether a client that re-attaches may.
pub fn password_matches(session: SessionId, given: Option<&[u8]>) -> bool {
    session != SessionId::NONE && given == Some(&password(session)[..])
}

/// `java.util.Random`.
struct JavaRandom {
    state: u64,
}

impl JavaRandom {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;

    #[expect(clippy::cast_sign_loss, reason = "bits are mixed")]
    const fn new(seed: i64) -> Self {
        Self { state: (seed as u64 ^ Self::MULTIPLIER) & Self::MASK }
    }

    #[expect(clippy::cast_possible_truncation, reason = "48 bits less 16 are 32")]
    const fn next(&mut self) -> u32 {
        self.state = self.state.wrapping_mul(Self::MULTIPLIER).wrapping_add(0xB) & Self::MASK;
        (self.state >> 16) as u32
    }
}

/// What session timeouts a server grants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimeoutRange {
    /// `minSessionTimeout`; by default two ticks.
    pub min_ms: i32,
    /// `maxSessionTimeout`; by default twenty ticks.
    pub max_ms: i32,
}

impl TimeoutRange {
    /// What is granted to who asks for `asked_ms`.
    pub fn grant(self, asked_ms: i32) -> i32 {
        asked_ms.max(self.min_ms).min(self.max_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(password: [u8; PASSWORD_BYTES]) -> String {
        format!("{:032x}", u128::from_be_bytes(password))
    }

    #[test]
    fn passwords_are_javas() {
        let cases = [
            (0x100_0037_93e3_0000, "7f659040a08254b8f529d83ce9433ad7"),
            (0x100_0037_93e3_0001, "92868a4040ce33fdea6c3f68bdcc4ea4"),
            (0x1, "054cc74a37327db215e702e20c73f005"),
            (0x100_001f_137e_0000, "209c35042d6b2d6ffedb1da0be2727a8"),
        ];
        for (id, expected) in cases {
            let session = SessionId(id);
            assert_eq!(hex(password(session)), expected);
            assert!(password_matches(session, Some(&password(session))));
            assert!(!password_matches(session, Some(&password(session)[..15])));
            assert!(!password_matches(session, None));
        }
        assert!(!password_matches(SessionId::NONE, Some(&password(SessionId::NONE))));
    }

    #[test]
    fn ids_carry_server_and_time() {
        let mut ids = SessionIds::new(1, Millis(0x12_3456_789a));
        assert_eq!(ids.next_id(), SessionId(0x0112_3456_789a_0000));
        assert_eq!(ids.next_id(), SessionId(0x0112_3456_789a_0001));
        // Time above its forty bits does not reach the server's.
        let mut ids = SessionIds::new(5, Millis(0x0fff_1234_5678_9abc));
        assert_eq!(ids.next_id().0 >> 56, 5);
        assert_eq!(SessionIds::new(0x80, Millis(0)).next_id(), SessionId(i64::MIN + 1));
        assert!(SessionIds::new(0xfe, Millis(1)).next_id().0 < 0);
    }

    #[test]
    fn timeouts_are_clamped() {
        let range = TimeoutRange { min_ms: 4000, max_ms: 40_000 };
        for (asked, granted) in
            [(-1, 4000), (0, 4000), (3999, 4000), (10_000, 10_000), (i32::MAX, 40_000)]
        {
            assert_eq!(range.grant(asked), granted);
        }
    }
}
