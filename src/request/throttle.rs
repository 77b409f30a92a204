//! How many may come in: tokens for new connections, and what a request in a crowd is told.
//!
//! Pure: the time, and the dice where something is left to chance, come in as arguments. All of it
//! is off unless it is configured. Source: `BlueThrottle`, `RequestThrottler`.

use crate::ids::Millis;

/// `connection_throttle_*`: a bucket of tokens, which each handshake takes some of.
#[derive(Clone, Debug)]
pub struct BucketConfig {
    /// The bucket's size.
    pub tokens_max: u32,
    /// `fill_tokens` come back in this time.
    pub fill_ms: u32,
    /// See `fill_ms`.
    pub fill_tokens: u32,
    /// How often the chance to be dropped changes; `None` leaves nothing to chance.
    pub freeze_ms: Option<u32>,
    /// The chance grows by so much while the bucket is empty.
    pub drop_increase: f64,
    /// It falls by so much while the bucket is full enough.
    pub drop_decrease: f64,
    /// Of the bucket, what may be missing then.
    pub decrease_ratio: f64,
    /// What sessions cost; one token each without.
    pub weights: Option<Weights>,
}

/// Tokens of one handshake.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// Of a new session.
    pub new: u32,
    /// Of one that is attached again.
    pub renewed: u32,
}

/// The bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    config: BucketConfig,
    tokens_max: i64,
    tokens: i64,
    filled: Millis,
    frozen: Millis,
    drop_chance: f64,
}

impl Bucket {
    /// A full one. With weights its size is in new sessions.
    pub fn new(config: BucketConfig, now: Millis) -> Self {
        let unit = config.weights.map_or(1, |weights| i64::from(weights.new));
        let tokens_max = i64::from(config.tokens_max) * unit;
        let (filled, frozen) = (now, now);
        Self { config, tokens_max, tokens: tokens_max, filled, frozen, drop_chance: 0.0 }
    }

    /// Takes what a handshake costs; false if it is turned away. `dice` is from 0 up to 1.
    pub fn take(&mut self, is_new: bool, now: Millis, dice: f64) -> bool {
        self.fill(now);
        if let Some(freeze_ms) = self.config.freeze_ms {
            self.change_chance(freeze_ms, now);
            if dice < self.drop_chance {
                return false;
            }
        }
        let cost = self
            .config
            .weights
            .map_or(1, |weights| i64::from(if is_new { weights.new } else { weights.renewed }));
        if self.tokens < cost {
            return false;
        }
        self.tokens -= cost;
        true
    }

    fn fill(&mut self, now: Millis) {
        let elapsed = now.0 - self.filled.0;
        let fill_ms = i64::from(self.config.fill_ms.max(1));
        if elapsed > fill_ms {
            let unit = self.config.weights.map_or(1, |weights| i64::from(weights.new));
            let filled = elapsed.saturating_mul(i64::from(self.config.fill_tokens) * unit);
            self.tokens = (self.tokens + filled / fill_ms).min(self.tokens_max);
            self.filled = now;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "tokens are fewer than 2^52")]
    fn change_chance(&mut self, freeze_ms: u32, now: Millis) {
        if now.0 - self.frozen.0 <= i64::from(freeze_ms) {
            return;
        }
        let tolerated = (self.tokens_max as f64 * self.config.decrease_ratio).round();
        if self.tokens == 0 {
            self.drop_chance = (self.drop_chance + self.config.drop_increase).min(1.0);
        } else if self.deficit() as f64 <= tolerated {
            self.drop_chance = (self.drop_chance - self.config.drop_decrease).max(0.0);
        }
        self.frozen = now;
    }

    /// Tokens missing from a full bucket.
    pub fn deficit(&self) -> u64 {
        u64::try_from(self.tokens_max - self.tokens).unwrap_or_default()
    }

    /// The chance of a handshake to be turned away whatever is in the bucket.
    pub const fn drop_chance(&self) -> f64 {
        self.drop_chance
    }
}

/// `request_throttle_*` and `throttled_op_wait_time`: what a crowd of requests means for one.
#[derive(Clone, Copy, Debug)]
pub struct CrowdConfig {
    /// Requests on their way, at which the next ones stall.
    pub requests_max: usize,
    /// Whether stale ones are dropped.
    pub drop_stale: bool,
    /// Whether one is stale whose connection is closed.
    pub stale_when_disconnected: bool,
    /// Whether one is stale that has stalled longer than its session may be silent.
    pub stale_when_late: bool,
    /// Past it a request is told so instead of served; `None` for any time.
    pub wait_ms_max: Option<u32>,
}

/// Where a request that is next on its connection stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Requests on their way in the whole server.
    pub ahead: usize,
    /// How long it has stalled.
    pub waited: Millis,
    /// Of its session.
    pub timeout: Millis,
    /// Whether its connection is closed.
    pub is_disconnected: bool,
    /// closeSession: never stale, never refused.
    pub is_close: bool,
    /// ping: never refused.
    pub is_ping: bool,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Toll {
    /// It goes on.
    Pass,
    /// It waits.
    Stall,
    /// It is told THROTTLEDOP, in its turn.
    Refuse,
    /// It is forgotten, and its connection with it: what comes behind it would be out of order.
    Drop,
}

impl CrowdConfig {
    /// What a request in this place is to do.
    pub fn toll(&self, place: &Place) -> Toll {
        let is_stale = (self.stale_when_disconnected && place.is_disconnected)
            || (self.stale_when_late && place.waited > place.timeout);
        if self.drop_stale && is_stale && !place.is_close {
            return Toll::Drop;
        }
        if place.ahead >= self.requests_max {
            return Toll::Stall;
        }
        let is_late = self.wait_ms_max.is_some_and(|max| place.waited.0 > i64::from(max));
        if is_late && !place.is_close && !place.is_ping { Toll::Refuse } else { Toll::Pass }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: BucketConfig = BucketConfig {
        tokens_max: 2,
        fill_ms: 100,
        fill_tokens: 1,
        freeze_ms: None,
        drop_increase: 0.5,
        drop_decrease: 0.25,
        decrease_ratio: 0.0,
        weights: None,
    };

    #[test]
    fn a_bucket_empties_and_fills() {
        let mut bucket = Bucket::new(BUCKET, Millis(0));
        let takes = [(0, true), (0, true), (50, false), (100, false), (101, true), (150, false)];
        for (now, taken) in takes {
            assert_eq!(bucket.take(true, Millis(now), 0.0), taken, "at {now}");
        }
        assert_eq!(bucket.deficit(), 2);
        assert!(bucket.take(true, Millis(1_000_000), 0.0));
        assert_eq!(bucket.deficit(), 1, "it does not run over");
    }

    #[test]
    fn weights_scale_the_bucket() {
        let weights = Some(Weights { new: 3, renewed: 2 });
        let mut bucket = Bucket::new(BucketConfig { weights, ..BUCKET }, Millis(0));
        let takes: Vec<_> = [true, false, true].map(|new| bucket.take(new, Millis(0), 0.0)).into();
        assert_eq!(takes, [true, true, false], "6 tokens: 3, 2, and 1 is too few");
        assert!(bucket.take(true, Millis(101), 0.0), "3 came back");
    }

    #[test]
    fn chance_grows_while_it_is_empty_and_falls_when_it_is_full() {
        let config = BucketConfig { freeze_ms: Some(10), tokens_max: 1, fill_ms: 1000, ..BUCKET };
        let mut bucket = Bucket::new(config, Millis(0));
        assert!(bucket.take(true, Millis(0), 0.0), "no chance at first");
        assert!(!bucket.take(true, Millis(11), 0.9), "empty");
        assert!((bucket.drop_chance() - 0.5).abs() < 1e-9);
        assert!(!bucket.take(true, Millis(2000), 0.2), "full again, but unlucky");
        assert!((bucket.drop_chance() - 0.25).abs() < 1e-9);
        assert!(bucket.take(true, Millis(2000), 0.3));
    }

    #[test]
    fn tolls() {
        let config = CrowdConfig {
            requests_max: 2,
            drop_stale: true,
            stale_when_disconnected: true,
            stale_when_late: true,
            wait_ms_max: Some(50),
        };
        let place = Place {
            ahead: 0,
            waited: Millis(0),
            timeout: Millis(100),
            is_disconnected: false,
            is_close: false,
            is_ping: false,
        };
        let (late, stale) = (Millis(51), Millis(101));
        let cases = [
            (place, Toll::Pass),
            (Place { ahead: 2, ..place }, Toll::Stall),
            (Place { waited: late, ..place }, Toll::Refuse),
            (Place { waited: late, ahead: 2, ..place }, Toll::Stall),
            (Place { waited: late, is_ping: true, ..place }, Toll::Pass),
            (Place { waited: late, is_close: true, ..place }, Toll::Pass),
            (Place { waited: stale, ..place }, Toll::Drop),
            (Place { waited: stale, is_close: true, ..place }, Toll::Pass),
            (Place { is_disconnected: true, ..place }, Toll::Drop),
        ];
        for (place, toll) in cases {
            assert_eq!(config.toll(&place), toll, "{place:?}");
        }
        let lenient = CrowdConfig { drop_stale: false, wait_ms_max: None, ..config };
        assert_eq!(lenient.toll(&Place { waited: stale, ..place }), Toll::Pass);
    }
}
