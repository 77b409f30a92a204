//! What to ask next: pure, and the same for the same seed.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a latency is counted under.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Get,
    Set,
    Create,
    Ping,
    Open,
    Close,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Get, Self::Set, Self::Create, Self::Ping, Self::Open, Self::Close];

    /// Whether it is what a run is about, not what surrounds it.
    pub(crate) const fn is_load(self) -> bool {
        match self {
            Self::Get | Self::Set | Self::Create | Self::Open => true,
            Self::Ping | Self::Close => false,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Create => "create",
            Self::Ping => "ping",
            Self::Open => "open",
            Self::Close => "close",
        }
    }
}

/// A small generator of random numbers (`SplitMix64`): one addition and a hash for each.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// A stream of its own for each `seed` and `stream`.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        rng.next();
        rng
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`, but for a bias of `bound / 2^64`.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }

    /// Uniform in `(0, 1]`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a float holds")]
    pub(crate) const fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}

/// What a run asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Workload {
    /// Reads and writes of `znodes` random znodes.
    Mixed { read_percent: u8, znodes: u64 },
    /// New znodes, each session in a folder of its own.
    Create,
    /// `znodes` new znodes, dealt out to the sessions.
    Load { znodes: u64 },
}

/// One request to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ask {
    /// getData of this znode.
    Get { key: u64 },
    /// setData of this znode.
    Set { key: u64 },
    /// create of this znode.
    CreateKey { key: u64 },
    /// create of a session's next own znode.
    CreateOwn { number: u64 },
}

impl Ask {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Get { .. } => Kind::Get,
            Self::Set { .. } => Kind::Set,
            Self::CreateKey { .. } | Self::CreateOwn { .. } => Kind::Create,
        }
    }
}

/// A session's choices.
#[derive(Clone, Debug)]
pub(crate) struct Chooser {
    workload: Workload,
    rng: Rng,
    own: u64,
}

impl Chooser {
    pub(crate) fn new(workload: Workload, seed: u64, session: u32) -> Self {
        Self { workload, rng: Rng::new(seed, u64::from(session) + 1), own: 0 }
    }

    /// The next request; `loaded` counts what all sessions of a load have taken.
    /// `None`: there is nothing left to load.
    pub(crate) fn next(&mut self, loaded: &AtomicU64) -> Option<Ask> {
        match self.workload {
            Workload::Mixed { read_percent, znodes } => {
                let key = self.rng.below(znodes);
                let read = match read_percent {
                    100 => true,
                    percent => self.rng.below(100) < u64::from(percent),
                };
                Some(if read { Ask::Get { key } } else { Ask::Set { key } })
            }
            Workload::Create => {
                self.own += 1;
                Some(Ask::CreateOwn { number: self.own })
            }
            Workload::Load { znodes } => {
                let key = loaded.fetch_add(1, Ordering::Relaxed);
                (key < znodes).then_some(Ask::CreateKey { key })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(workload: Workload, seed: u64, count: usize) -> Vec<Ask> {
        let loaded = AtomicU64::new(0);
        let mut chooser = Chooser::new(workload, seed, 0);
        (0..count).map_while(|_| chooser.next(&loaded)).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let mixed = Workload::Mixed { read_percent: 80, znodes: 1000 };
        assert_eq!(asks(mixed, 7, 100), asks(mixed, 7, 100));
        assert_ne!(asks(mixed, 7, 100), asks(mixed, 8, 100));
    }

    #[test]
    fn a_mix_keeps_its_share_and_its_keys() {
        for read_percent in [0, 20, 80, 100] {
            let asks = asks(Workload::Mixed { read_percent, znodes: 10 }, 1, 10_000);
            let reads = asks.iter().filter(|ask| ask.kind() == Kind::Get).count();
            let expected = usize::from(read_percent) * 100;
            assert!(reads.abs_diff(expected) < 200, "{read_percent} % gave {reads} reads");
            for key in 0..10 {
                assert!(asks.iter().any(|ask| [Ask::Get { key }, Ask::Set { key }].contains(ask)));
            }
        }
    }

    #[test]
    fn a_load_asks_for_each_znode_once() {
        let expected: Vec<_> = (0..5).map(|key| Ask::CreateKey { key }).collect();
        assert_eq!(asks(Workload::Load { znodes: 5 }, 1, 100), expected);
    }

    #[test]
    fn unit_is_never_zero() {
        let mut rng = Rng::new(0, 0);
        assert!((0..10_000).map(|_| rng.unit()).all(|unit| unit > 0.0 && unit <= 1.0));
    }
}
