//! `--checkers`: the checkers themselves, on trees made by hand. Each kind of damage that the
//! rounds look for must be found. And the network of the rounds: made, dropped and made again.

use std::path::Path;

use ringkeeper::wire::Stat;

use crate::load::ledger::{Ledger, Stretch};
use crate::load::walk::{Tree, Znode};
use crate::options::Options;
use crate::round::digest;
use crate::support::sequence::Sequence;

const ROOT: &str = "/r/0";
/// Acknowledged and sent on the first connection, acknowledged on the second.
const FIRST: (u64, u64) = (60, 70);
const SECOND: u64 = 40;
/// Made at once after one another.
const NETWORKS: usize = 5;

/// What is done to a tree that is right, and a word of the complaint that must follow.
type Damage = (&'static str, fn(&mut Tree, &Sequence));

const DAMAGES: &[Damage] = &[
    ("LOST", |tree, sequence| take_away(tree, sequence, 0, 20)),
    ("later ones are there", |tree, sequence| take_away(tree, sequence, FIRST.0, FIRST.1)),
    ("half of its multi", |tree, _| {
        let half = tree.keys().find(|path| path.starts_with("/r/0/p")).expect("a multi").clone();
        tree.remove(&half);
    }),
    ("not what was written", |tree, sequence| {
        let path = first_created(sequence, 0);
        tree.get_mut(&path).expect("it is there").data = Some(b"other".to_vec());
    }),
    ("should not be there", |tree, _| {
        tree.insert(format!("{ROOT}/n99999"), znode(b""));
    }),
    ("should not be there", |tree, sequence| {
        let failed = (0..FIRST.0)
            .find(|at| !sequence.step(*at).sets_root() && sequence.step(*at).created().is_empty());
        tree.insert(format!("{ROOT}/x{}", failed.expect("a failed multi")), znode(b""));
    }),
    ("none of the last sets", |tree, _| {
        tree.get_mut(ROOT).expect("the root").data = Some(b"long ago".to_vec());
    }),
    ("times, not", |tree, _| tree.get_mut(ROOT).expect("the root").stat.version += 11),
    ("is not there", |tree, _| {
        tree.remove(ROOT);
    }),
];

/// The trial.
pub fn checkers(options: &Options, _: &Path) -> Result<String, String> {
    for _ in 0..NETWORKS {
        crate::network(options, 3).map_err(|why| format!("a network after another: {why}"))?;
    }
    let sequence = Sequence::new(ROOT.to_owned(), 7);
    let (acknowledged, sent) = FIRST;
    let mut ledger = Ledger::new(sequence.clone());
    ledger.stretches = vec![
        Stretch { first: 0, sent, acknowledged },
        Stretch { first: sent, sent: SECOND, acknowledged: SECOND },
    ];
    for applied in acknowledged..=sent {
        let tree = tree_of(&sequence, applied);
        ledger.verify(&tree).map_err(|why| format!("{applied} applied: {why}"))?;
    }
    for (word, damage) in DAMAGES {
        let mut tree = tree_of(&sequence, sent);
        damage(&mut tree, &sequence);
        match ledger.verify(&tree) {
            Err(why) if why.contains(word) => {}
            other => return Err(format!("no complaint of {word:?}: {other:?}")),
        }
    }
    digest::check_itself()?;
    Ok(format!("{} kinds of damage are found", DAMAGES.len()))
}

fn znode(data: &[u8]) -> Znode {
    Znode { data: Some(data.to_vec()), stat: Stat::default(), acl: String::new() }
}

/// What the writes make if `applied` of the first connection's were.
fn tree_of(sequence: &Sequence, applied: u64) -> Tree {
    let mut tree = Tree::from([(ROOT.to_owned(), znode(b""))]);
    for at in (0..applied).chain(FIRST.1..FIRST.1 + SECOND) {
        let step = sequence.step(at);
        for name in step.created() {
            tree.insert(format!("{ROOT}/{name}"), znode(step.data()));
        }
        if step.sets_root() {
            let root = tree.get_mut(ROOT).expect("the root");
            root.data = Some(step.data().to_vec());
            root.stat.version += 1;
        }
    }
    tree
}

/// The path of the first thing created by a write from `from` on.
fn first_created(sequence: &Sequence, from: u64) -> String {
    let name = (from..).find_map(|at| sequence.step(at).created().pop()).expect("there are many");
    format!("{ROOT}/{name}")
}

/// Takes away what the first creating write of `from..to` made.
fn take_away(tree: &mut Tree, sequence: &Sequence, from: u64, to: u64) {
    let mut creating = (from..to).filter(|at| !sequence.step(*at).created().is_empty());
    for name in sequence.step(creating.next().expect("a write that creates")).created() {
        tree.remove(&format!("{ROOT}/{name}"));
    }
}
