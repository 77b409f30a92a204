//! A keyed hash for paths that clients choose.
//!
//! The key is drawn at random once by the process, or someone could choose paths that collide;
//! pure layers draw nothing, so it is handed to them.

use std::hash::Hasher as _;

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

/// Hashes strings under one key.
#[derive(Clone, Debug)]
pub struct PathHash {
    seed: u64,
    shared: SharedSeed,
}

impl PathHash {
    /// With this key.
    pub fn new(seed: u64) -> Self {
        Self { seed, shared: SharedSeed::from_u64(seed) }
    }

    /// The hash of `path`.
    pub fn of(&self, path: &str) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(path.as_bytes());
        hasher.finish()
    }

    /// The hash of a pair of small numbers.
    pub fn of_pair(&self, first: u32, second: u32) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write_u64(u64::from(first) << 32 | u64::from(second));
        hasher.finish()
    }
}
