//! When enough voters have acked: more than half, or more than half of the weight in more than
//! half of the groups.
//!
//! While a configuration replaces another, both must be satisfied: a [`Quorum`] is the rules that
//! must all be met, today one.
//! Source: `QuorumMaj`, `QuorumHierarchical`, `SyncedLearnerTracker`.

use std::fmt;

use crate::ids::ServerId;

/// Voters of one rule: its acks are one word.
pub const VOTERS_MAX: usize = 64;

/// The committed configuration, and the one that is to replace it.
const RULES_MAX: usize = 2;

/// Which voters have acked, by their place in each rule's list of voters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AckSet([u64; RULES_MAX]);

/// The rules that must all be met.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Quorum {
    /// The committed configuration's.
    rule: Rule,
    /// The next one's.
    next: Option<Rule>,
}

/// One configuration's idea of enough.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Sorted, 1 to [`VOTERS_MAX`].
    voters: Vec<ServerId>,
    kind: Kind,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    Majority,
    Hierarchical {
        /// By a voter's place in the list.
        weights: Vec<u64>,
        /// Those that weigh something.
        groups: Vec<Group>,
    },
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Group {
    /// Its voters' bits.
    members: u64,
    /// Of all that are in it.
    weight: u128,
}

/// What is wrong with voters, groups or weights.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RuleError {
    /// None, or more than [`VOTERS_MAX`].
    Voters {
        /// How many.
        count: usize,
    },
    /// Every voter is in a group.
    NotInGroup(ServerId),
    /// And only in one.
    InTwoGroups(ServerId),
    /// A member of a group that is no voter and has no weight.
    NoWeight(ServerId),
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Voters { count } => write!(f, "{count} voters are not in 1..={VOTERS_MAX}"),
            Self::NotInGroup(server) => write!(f, "server {server} is not in a group"),
            Self::InTwoGroups(server) => write!(f, "server {server} is in multiple groups"),
            Self::NoWeight(server) => write!(f, "server {server} of a group has no weight"),
        }
    }
}

impl std::error::Error for RuleError {}

impl Rule {
    /// More than half of the voters.
    ///
    /// # Errors
    /// [`RuleError::Voters`].
    pub fn majority(voters: impl IntoIterator<Item = ServerId>) -> Result<Self, RuleError> {
        Ok(Self { voters: sorted(voters)?, kind: Kind::Majority })
    }

    /// More than half of the weight in more than half of the groups that weigh something.
    ///
    /// A voter that is not in `weights` weighs 1.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn hierarchical(
        voters: impl IntoIterator<Item = ServerId>,
        groups: &[Vec<ServerId>],
        weights: &[(ServerId, u64)],
    ) -> Result<Self, RuleError> {
        let voters = sorted(voters)?;
        let given = |of: ServerId| weights.iter().find(|(id, _)| *id == of).map(|(_, it)| *it);
        check_groups(&voters, groups)?;
        let mut weighty = Vec::new();
        for group in groups {
            let mut members = 0;
            let mut weight = 0;
            for server in group {
                // COMPAT: an observer with a weight makes its group heavier and can never ack
                // (`QuorumHierarchical.computeGroupWeight`).
                let place = voters.binary_search(server).ok();
                let of_voter = place.map(|_| 1);
                weight +=
                    u128::from(given(*server).or(of_voter).ok_or(RuleError::NoWeight(*server))?);
                members |= place.map_or(0, bit);
            }
            if weight > 0 {
                weighty.push(Group { members, weight });
            }
        }
        let weights = voters.iter().map(|voter| given(*voter).unwrap_or(1)).collect();
        Ok(Self { voters, kind: Kind::Hierarchical { weights, groups: weighty } })
    }

    /// How much a server's word counts; one of weight 0 is never elected.
    ///
    /// COMPAT: a majority weighs whomever it is asked about (`QuorumMaj.getWeight`).
    pub fn weight(&self, server: ServerId) -> u64 {
        match &self.kind {
            Kind::Majority => 1,
            Kind::Hierarchical { weights, .. } => {
                self.voters.binary_search(&server).map_or(0, |place| weights[place])
            }
        }
    }

    /// Its voters, sorted.
    pub fn voters(&self) -> &[ServerId] {
        &self.voters
    }

    fn bit_of(&self, server: ServerId) -> Option<u64> {
        self.voters.binary_search(&server).ok().map(bit)
    }

    fn is_met(&self, acks: u64) -> bool {
        match &self.kind {
            Kind::Majority => acks.count_ones() as usize > self.voters.len() / 2,
            Kind::Hierarchical { weights, groups } => {
                let of = |acks: u64| -> u128 {
                    let acked = |(place, _): &(usize, _)| acks & bit(*place) != 0;
                    weights.iter().enumerate().filter(acked).map(|(_, it)| u128::from(*it)).sum()
                };
                let is_satisfied = |group: &&Group| of(acks & group.members) > group.weight / 2;
                groups.iter().filter(is_satisfied).count() > groups.len() / 2
            }
        }
    }
}

const fn bit(place: usize) -> u64 {
    1 << place
}

fn sorted(voters: impl IntoIterator<Item = ServerId>) -> Result<Vec<ServerId>, RuleError> {
    let mut voters: Vec<ServerId> = voters.into_iter().collect();
    voters.sort_unstable();
    voters.dedup();
    let count = voters.len();
    if (1..=VOTERS_MAX).contains(&count) { Ok(voters) } else { Err(RuleError::Voters { count }) }
}

fn check_groups(voters: &[ServerId], groups: &[Vec<ServerId>]) -> Result<(), RuleError> {
    let mut grouped: Vec<ServerId> = groups.iter().flatten().copied().collect();
    grouped.sort_unstable();
    if let Some(twice) = grouped.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(RuleError::InTwoGroups(twice[0]));
    }
    let alone = voters.iter().find(|voter| grouped.binary_search(voter).is_err());
    alone.map_or(Ok(()), |voter| Err(RuleError::NotInGroup(*voter)))
}

impl Quorum {
    /// The rule of the committed configuration alone.
    pub const fn new(rule: Rule) -> Self {
        Self { rule, next: None }
    }

    /// The rules of the committed configuration and of the one that is to replace it.
    pub const fn joint(rule: Rule, next: Rule) -> Self {
        Self { rule, next: Some(next) }
    }

    /// A standalone server's: itself.
    pub fn of_one() -> Self {
        Self::new(Rule { voters: vec![ServerId(0)], kind: Kind::Majority })
    }

    /// The committed configuration's rule.
    pub const fn committed(&self) -> &Rule {
        &self.rule
    }

    /// Adds a voter's ack; false if it votes in none of the rules, or had acked.
    pub fn ack(&self, acks: &mut AckSet, from: ServerId) -> bool {
        let before = *acks;
        for (rule, acks) in self.rules().zip(&mut acks.0) {
            *acks |= rule.bit_of(from).unwrap_or(0);
        }
        *acks != before
    }

    /// Takes a voter's ack back.
    pub fn withdraw(&self, acks: &mut AckSet, from: ServerId) {
        for (rule, acks) in self.rules().zip(&mut acks.0) {
            *acks &= !rule.bit_of(from).unwrap_or(0);
        }
    }

    /// Whether these acks are enough for every rule.
    pub fn is_met(&self, acks: AckSet) -> bool {
        self.rules().zip(acks.0).all(|(rule, acks)| rule.is_met(acks))
    }

    /// Whether these servers are enough.
    pub fn is_met_by(&self, servers: impl IntoIterator<Item = ServerId>) -> bool {
        let mut acks = AckSet::default();
        for server in servers {
            self.ack(&mut acks, server);
        }
        self.is_met(acks)
    }

    /// Whether a server votes in any of the rules.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.rules().any(|rule| rule.bit_of(server).is_some())
    }

    /// The voters of all rules, sorted.
    pub fn voters(&self) -> Vec<ServerId> {
        let mut voters: Vec<ServerId> = self.rules().flat_map(Rule::voters).copied().collect();
        voters.sort_unstable();
        voters.dedup();
        voters
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        std::iter::once(&self.rule).chain(&self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[i64]) -> Vec<ServerId> {
        ids.iter().copied().map(ServerId).collect()
    }

    fn hierarchical(groups: &[&[i64]], weights: &[(i64, u64)]) -> Result<Rule, RuleError> {
        let groups: Vec<_> = groups.iter().map(|group| ids(group)).collect();
        let weights: Vec<_> = weights.iter().map(|(id, it)| (ServerId(*id), *it)).collect();
        Rule::hierarchical(groups.concat(), &groups, &weights)
    }

    /// The subsets of `1..=voters`, as bits and as servers.
    fn subsets(voters: usize) -> impl Iterator<Item = (u64, Vec<ServerId>)> {
        (0..1u64 << voters).map(move |bits| {
            let servers = (1..).map(ServerId).take(voters).enumerate();
            let members = servers.filter(|(place, _)| bits & bit(*place) != 0);
            (bits, members.map(|(_, server)| server).collect())
        })
    }

    #[test]
    fn an_ack_that_is_taken_back_counts_no_more() {
        let quorum = Quorum::new(Rule::majority(ids(&[1, 2, 3])).unwrap());
        let mut acks = AckSet::default();
        quorum.ack(&mut acks, ServerId(1));
        quorum.ack(&mut acks, ServerId(2));
        quorum.withdraw(&mut acks, ServerId(9));
        assert!(quorum.is_met(acks));
        quorum.withdraw(&mut acks, ServerId(1));
        assert!(!quorum.is_met(acks));
    }

    #[test]
    fn more_than_half_and_voters_only() {
        for (voters, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)] {
            let majority = Quorum::new(Rule::majority((1..=voters).map(ServerId)).unwrap());
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

    /// Three groups of three, the last of them without weight: two groups of two remain.
    #[test]
    fn a_hierarchy_needs_most_of_the_weight_in_most_of_the_groups() {
        let rule =
            hierarchical(&[&[1, 2, 3], &[4, 5, 6], &[7]], &[(1, 3), (7, 0)]).expect("it is sound");
        let quorum = Quorum::new(rule);
        for (_, servers) in subsets(7) {
            let has = |id: i64| u32::from(servers.contains(&ServerId(id)));
            let first = 3 * has(1) + has(2) + has(3) > 2;
            let second = has(4) + has(5) + has(6) > 1;
            assert_eq!(quorum.is_met_by(servers.clone()), first && second, "{servers:?}");
        }
        assert_eq!(quorum.committed().weight(ServerId(1)), 3);
        assert_eq!(quorum.committed().weight(ServerId(2)), 1, "the default");
        assert_eq!(quorum.committed().weight(ServerId(7)), 0);
        assert!(!quorum.is_met_by(ids(&[99])));
    }

    /// Every way to put up to four voters of weight 0 to 2 into up to three groups.
    #[test]
    fn two_quorums_always_share_a_server_and_more_acks_never_hurt() {
        for voters in 1..=4u32 {
            for groups_of in 0..3usize.pow(voters) {
                for weights_of in 0..3u64.pow(voters) {
                    let mut groups = [vec![], vec![], vec![]];
                    let mut weights = Vec::new();
                    for place in 0..voters {
                        let id = ServerId(i64::from(place) + 1);
                        groups[groups_of / 3usize.pow(place) % 3].push(id);
                        weights.push((id, weights_of / 3u64.pow(place) % 3));
                    }
                    let groups: Vec<_> = groups.into_iter().filter(|it| !it.is_empty()).collect();
                    let rule = Rule::hierarchical(groups.concat(), &groups, &weights).unwrap();
                    check_intersection(&rule);
                }
            }
        }
    }

    fn check_intersection(rule: &Rule) {
        let all = bit(rule.voters.len()) - 1;
        for acks in 0..=all {
            if rule.is_met(acks) {
                assert!(!rule.is_met(all & !acks), "{acks:b} and the rest: {rule:?}");
                let more = (0..rule.voters.len()).all(|place| rule.is_met(acks | bit(place)));
                assert!(more, "{acks:b}: {rule:?}");
            }
        }
        assert!(!rule.is_met(0), "nobody is no quorum");
    }

    #[test]
    fn without_any_weight_nothing_is_a_quorum() {
        let quorum = Quorum::new(hierarchical(&[&[1, 2]], &[(1, 0), (2, 0)]).unwrap());
        assert!(!quorum.is_met_by(ids(&[1, 2])));
    }

    #[test]
    fn an_observer_with_a_weight_makes_its_group_heavier() {
        let groups = [ids(&[1, 2, 3])];
        let weights = [(ServerId(3), 5)];
        let rule = Rule::hierarchical(ids(&[1, 2]), &groups, &weights).unwrap();
        assert!(!Quorum::new(rule).is_met_by(ids(&[1, 2, 3])), "2 of 7");
        assert_eq!(
            Rule::hierarchical(ids(&[1, 2]), &groups, &[]),
            Err(RuleError::NoWeight(ServerId(3)))
        );
    }

    #[test]
    fn unsound_groups_are_refused() {
        let of = |groups: &[Vec<ServerId>]| Rule::hierarchical(ids(&[1, 2, 3]), groups, &[]);
        assert_eq!(of(&[ids(&[1, 2])]), Err(RuleError::NotInGroup(ServerId(3))));
        assert_eq!(of(&[ids(&[1, 2]), ids(&[2, 3])]), Err(RuleError::InTwoGroups(ServerId(2))));
        assert_eq!(Rule::majority([]), Err(RuleError::Voters { count: 0 }));
        assert_eq!(Rule::majority((0..65).map(ServerId)), Err(RuleError::Voters { count: 65 }));
    }

    /// From 1, 2, 3 to 3, 4, 5: a quorum is one of both.
    #[test]
    fn two_rules_must_both_be_met() {
        let rule = Rule::majority(ids(&[1, 2, 3])).unwrap();
        let joint = Quorum::joint(rule, Rule::majority(ids(&[3, 4, 5])).unwrap());
        for (bits, servers) in subsets(5) {
            let old = (bits & 0b00111).count_ones() > 1;
            let new = (bits & 0b11100).count_ones() > 1;
            assert_eq!(joint.is_met_by(servers), old && new, "{bits:b}");
        }
        assert_eq!(joint.voters(), ids(&[1, 2, 3, 4, 5]));
        assert!(joint.is_voter(ServerId(5)) && !joint.is_voter(ServerId(6)));
    }
}
