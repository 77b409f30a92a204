//! `--roll`: every node of a Java ensemble is replaced by Ringkeeper, one at a time on the data it
//! has, and back again, under load. Clients of the node that stops are disconnected, and all
//! clients when it leads; more than that is counted, and held against the same roll with Java in
//! Ringkeeper's place.

use std::path::Path;

use crate::cluster::{BRISK, Cluster, Kind, Program};
use crate::load::Load;
use crate::options::Options;
use crate::round::{compare, digest};
use crate::support::Random;

const SESSIONS: usize = 6;
const RATE: u64 = 60;
/// Writes of each session between two replacements.
const WRITES_BETWEEN: u64 = 40;

/// A busy machine adds to one count or the other: then both are rolled once more, and summed up.
const ROLLS_MAX: usize = 2;

/// What a roll came to.
struct Rolled {
    acknowledged: u64,
    disconnects: u64,
    /// Those that a stopping node cannot avoid.
    due: u64,
}

impl Rolled {
    const fn excess(&self) -> u64 {
        self.disconnects.saturating_sub(self.due)
    }

    fn text(&self) -> String {
        let Self { acknowledged, disconnects, due } = self;
        format!("{acknowledged} writes, none lost, {disconnects} disconnects ({due} due)")
    }
}

/// The trial.
pub fn roll(options: &Options, dir: &Path) -> Result<String, String> {
    let kinds = options.servers("J39,J39,J39")?;
    let to = match options.text("--to", "R") {
        "R" => Program::Ringkeeper,
        "J38" => Program::Java38,
        "J39" => Program::Java39,
        other => return Err(format!("--to {other:?} is not one of R, J38, J39")),
    };
    let java = Program::Java39;
    let (mut excess, mut texts) = ((0, 0), Vec::new());
    for time in 0..ROLLS_MAX {
        let dir = dir.join(time.to_string());
        let base = one_roll(options, &kinds, java, &dir.join("java"))
            .map_err(|why| format!("all Java: {why}"))?;
        println!("  all Java: {}", base.text());
        let ours = one_roll(options, &kinds, to, &dir.join("mixed"))?;
        excess = (excess.0 + ours.excess(), excess.1 + base.excess());
        texts.push(format!("{}: {}; all Java: {}", to.name(), ours.text(), base.text()));
        if excess.0 <= excess.1 {
            return Ok(texts.join("; once more: "));
        }
    }
    let texts = texts.join("; once more: ");
    Err(format!("clients saw more disconnects than in all-Java rolls: {texts}"))
}

fn one_roll(options: &Options, kinds: &[Kind], to: Program, dir: &Path) -> Result<Rolled, String> {
    let network = crate::network(options, kinds.len())?;
    let mut cluster = Cluster::prepare(kinds, network, BRISK, dir)?;
    cluster.start()?;
    let mut random = Random::new(options.number("--seed", 1)?);
    let load = Load::start(&cluster, "/roll", SESSIONS, RATE, &mut random)?;
    let back: Vec<_> = kinds.iter().map(|kind| kind.program).collect();
    let there = vec![to; kinds.len()];
    let mut due = 0;
    let rolled: Result<(), String> = [there, back].iter().try_for_each(|programs| {
        due += pass(&mut cluster, &load, programs)?;
        Ok(())
    });
    let outcomes = load.stop()?;
    rolled?;
    let tree = compare::same_everywhere(&mut cluster)?;
    outcomes.iter().try_for_each(|outcome| outcome.ledger.verify(&tree))?;
    compare::same_counts(&cluster)?;
    digest::no_mismatch(&cluster)?;
    Ok(Rolled {
        acknowledged: outcomes.iter().map(|outcome| outcome.ledger.acknowledged()).sum(),
        disconnects: outcomes.iter().map(|outcome| outcome.disconnects).sum(),
        due,
    })
}

/// Replaces every node once: followers first, the leader last, as operators do.
/// Returns how many disconnects were due.
fn pass(cluster: &mut Cluster, load: &Load, programs: &[Program]) -> Result<u64, String> {
    let mut due = 0;
    let mut left: Vec<_> = (0..cluster.nodes.len()).collect();
    while !left.is_empty() {
        load.wait_progress(WRITES_BETWEEN)?;
        let leader = cluster.wait_leader(&[])?;
        let next = left.iter().position(|at| *at != leader).unwrap_or(0);
        let at = left.remove(next);
        due += if at == leader { load.sessions() } else { load.connected_to(at) };
        cluster.stop(at)?;
        cluster.nodes[at].become_program(programs[at]);
        cluster.spawn(at)?;
        cluster.wait_serving()?;
    }
    load.wait_progress(WRITES_BETWEEN)?;
    Ok(due)
}
