//! When enough voters have acked. Source: `QuorumMaj`.

use crate::ids::ServerId;

/// Voters an ensemble may have: an [`AckSet`] is one word.
pub const VOTERS_MAX: usize = 64;

/// Which voters have acked, by their place in the list of voters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AckSet(u64);

/// More than half of the voters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Majority {
    /// Sorted, at most [`VOTERS_MAX`].
    voters: Vec<ServerId>,
}

impl Majority {
    /// The quorum rule of these voters.
    ///
    /// # Panics
    /// If there are none, or more than [`VOTERS_MAX`]: the configuration was checked before.
    pub fn new(mut voters: Vec<ServerId>) -> Self {
        voters.sort_unstable();
        voters.dedup();
        assert!((1..=VOTERS_MAX).contains(&voters.len()), "an ensemble has 1 to 64 voters");
        Self { voters }
    }

    /// A standalone server's: itself.
    pub fn of_one() -> Self {
        Self::new(vec![ServerId(0)])
    }

    /// Adds a voter's ack; false if it is no voter, or had acked.
    pub fn ack(&self, acks: &mut AckSet, from: ServerId) -> bool {
        let Ok(index) = self.voters.binary_search(&from) else { return false };
        let bit = 1 << index;
        let new = acks.0 & bit == 0;
        acks.0 |= bit;
        new
    }

    /// Whether these acks are enough.
    pub fn is_met(&self, acks: AckSet) -> bool {
        acks.0.count_ones() as usize > self.voters.len() / 2
    }

    /// The voters, sorted.
    pub fn voters(&self) -> &[ServerId] {
        &self.voters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_and_voters_only() {
        for (voters, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)] {
            let majority = Majority::new((1..=voters).map(ServerId).collect());
            let mut acks = AckSet::default();
            assert!(!majority.ack(&mut acks, ServerId(99)), "not a voter");
            for id in 1..=voters {
                assert_eq!(majority.is_met(acks), id > needed, "{id} of {voters}");
                assert!(majority.ack(&mut acks, ServerId(id)));
                assert!(!majority.ack(&mut acks, ServerId(id)), "an ack counts once");
            }
            assert!(majority.is_met(acks));
        }
    }
}
