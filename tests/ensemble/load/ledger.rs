//! What a session knows it wrote, and whether a tree agrees.
//!
//! A session's writes are one sequence, cut into stretches where its connection broke. Of a
//! stretch all that was acknowledged must be there, and of the rest a beginning: requests of one
//! connection are applied in order, and none after a later connection's.

use super::walk::{Tree, Znode};
use crate::support::sequence::{Sequence, Step};

/// The name of the ephemeral that every session owns.
pub const EPHEMERAL: &str = "ephemeral";

/// The writes of one connection, by number.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    pub first: u64,
    pub sent: u64,
    pub acknowledged: u64,
}

/// How many of a stretch's writes can have been applied: from, to.
type Applied = (u64, u64);

/// All that one session wrote.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub sequence: Sequence,
    pub stretches: Vec<Stretch>,
}

impl Stretch {
    const fn begin(first: u64) -> Self {
        Self { first, sent: 0, acknowledged: 0 }
    }

    /// Between what was acknowledged and what was sent; then by what is there and what is not.
    fn applied(&self, sequence: &Sequence, tree: &Tree) -> Result<Applied, String> {
        let (mut least, mut most) = (self.acknowledged, self.sent);
        for at in 0..self.sent {
            let step = sequence.step(self.first + at);
            match presence(&step, sequence.root(), tree)? {
                Some(true) => least = least.max(at + 1),
                Some(false) => most = most.min(at),
                None => {}
            }
        }
        if least <= most {
            return Ok((least, most));
        }
        let number = self.first + most;
        Err(if most < self.acknowledged {
            format!("{}: LOST: write {number} was acknowledged", sequence.root())
        } else {
            format!("{}: write {number} is missing, later ones are there", sequence.root())
        })
    }
}

/// Whether what a step creates is there; `None` if it creates nothing.
fn presence(step: &Step, root: &str, tree: &Tree) -> Result<Option<bool>, String> {
    let mut found = None;
    for name in step.created() {
        let path = format!("{root}/{name}");
        let node = tree.get(&path);
        if node.is_some_and(|node| node.data.as_deref() != Some(step.data())) {
            return Err(format!("{path}: its data is not what was written"));
        }
        if found.is_some_and(|found| found != node.is_some()) {
            return Err(format!("{path}: half of its multi is there"));
        }
        found = Some(node.is_some());
    }
    Ok(found)
}

impl Ledger {
    pub fn new(sequence: Sequence) -> Self {
        Self { sequence, stretches: vec![Stretch::begin(0)] }
    }

    /// The writes of the connection of now.
    pub fn current(&mut self) -> &mut Stretch {
        self.stretches.last_mut().expect("there is always one")
    }

    /// The connection has broken: what was not acknowledged stays unknown.
    pub fn break_off(&mut self) {
        let next = self.current().first + self.current().sent;
        self.stretches.push(Stretch::begin(next));
    }

    pub fn acknowledged(&self) -> u64 {
        self.stretches.iter().map(|stretch| stretch.acknowledged).sum()
    }

    /// Whether `tree` is one that these writes can have made.
    pub fn verify(&self, tree: &Tree) -> Result<(), String> {
        let root = self.sequence.root();
        let node = tree.get(root).ok_or_else(|| format!("{root} is not there"))?;
        let mut applied = Vec::new();
        for stretch in &self.stretches {
            applied.push(stretch.applied(&self.sequence, tree)?);
        }
        self.nothing_else(tree)?;
        self.root_is_the_last_set(node, &applied)
    }

    /// Every child was made by a step that may leave it.
    fn nothing_else(&self, tree: &Tree) -> Result<(), String> {
        let prefix = format!("{}/", self.sequence.root());
        let sent = self.stretches.last().map_or(0, |stretch| stretch.first + stretch.sent);
        for (path, _) in tree.range(prefix.clone()..) {
            let Some(name) = path.strip_prefix(&prefix) else { break };
            let number = name.get(1..).and_then(|digits| digits.parse().ok());
            let known = number.is_some_and(|number: u64| {
                number < sent && self.sequence.step(number).created().iter().any(|one| one == name)
            });
            if !known && name != EPHEMERAL {
                return Err(format!("{path} should not be there"));
            }
        }
        Ok(())
    }

    /// The root's data is that of the last set that was applied; its version counts them.
    fn root_is_the_last_set(&self, node: &Znode, applied: &[Applied]) -> Result<(), String> {
        let root = self.sequence.root();
        let sets = |stretch: &Stretch, count: u64| {
            let numbers = stretch.first..stretch.first + count;
            numbers.filter(|number| self.sequence.step(*number).sets_root()).collect::<Vec<_>>()
        };
        let (mut least, mut most) = (0, 0);
        let mut last: Vec<Option<u64>> = vec![None];
        for (stretch, (from, to)) in self.stretches.iter().zip(applied) {
            let (sure, possible) = (sets(stretch, *from), sets(stretch, *to));
            let maybe = &possible[sure.len()..];
            if let Some(number) = sure.last() {
                last = vec![Some(*number)];
            }
            last.extend(maybe.iter().copied().map(Some));
            least += sure.len();
            most += possible.len();
        }
        let version = usize::try_from(node.stat.version).unwrap_or(usize::MAX);
        if version < least || version > most {
            return Err(format!("{root}: set {version} times, not {least} to {most}"));
        }
        let data = node.data.as_deref().unwrap_or_default();
        let is_last = |number: &Option<u64>| match number {
            Some(number) => self.sequence.step(*number).data() == data,
            None => data.is_empty(),
        };
        if last.iter().any(is_last) {
            return Ok(());
        }
        Err(format!("{root}: its data is none of the last sets {last:?}"))
    }
}
