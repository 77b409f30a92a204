//! Ensembles of real processes: Ringkeeper, Java 3.8, Java 3.9 and any mix of them.
//!
//! `cargo test --test ensemble -- [--servers R,R,J39] [--rounds N] [--seed N]` plays rounds of
//! load, a fault, healing, comparison. `--loopback`: on 127.0.0.1 and without cut links; else each
//! server has a network namespace (root, `ip`). `--keep`: data and logs stay. Other trials: see
//! `TRIALS` and the head of each.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod cluster;
mod load;
mod measure;
mod options;
mod round;
#[path = "../support/mod.rs"]
mod support;
mod trial;

use std::path::Path;
use std::process::ExitCode;

use ringkeeper::clock::Clock;

use crate::cluster::Network;
use crate::options::Options;
use crate::round::Game;
use crate::support::process::scratch;

/// A trial: its option, and what it does in a folder. It returns what it found.
type Trial = (&'static str, fn(&Options, &Path) -> Result<String, String>);

const TRIALS: &[Trial] = &[
    ("--checkers", trial::checkers::checkers),
    ("--churn", trial::churn::churn),
    ("--failover", measure::failover::failover),
    ("--hostile", trial::hostile::hostile),
    ("--rejoin", measure::rejoin::rejoin),
    ("--roll", trial::roll::roll),
    ("--stop", trial::stop::stop),
    ("--throughput", measure::throughput::throughput),
    ("--walkthrough", trial::walkthrough::walkthrough),
    ("--wiped", trial::wiped::wiped),
    ("--rounds", rounds),
];

/// The network that was asked for.
fn network(options: &Options, count: usize) -> Result<Network, String> {
    if options.has("--loopback") { Ok(Network::Loopback) } else { Network::spaces(count) }
}

fn rounds(options: &Options, dir: &Path) -> Result<String, String> {
    let kinds = options.servers("R,R,R")?;
    let (rounds, seed) = (options.number("--rounds", 5)?, options.number("--seed", 1)?);
    let mut game = Game::start(&kinds, network(options, kinds.len())?, seed, dir)?;
    for round in 1..=rounds {
        let clock = Clock::start();
        let (fault, played) = game.play(round);
        let text = fault.text();
        played.map_err(|why| format!("round {round} ({text}): {why}"))?;
        println!("  round {round}: {text}: {} ms", clock.now().0);
    }
    Ok(format!("{rounds} rounds, {} writes acknowledged, none lost", game.acknowledged))
}

fn main() -> ExitCode {
    let options = Options::read();
    let asked = TRIALS.iter().find(|(name, _)| options.has(name));
    let (name, trial) = asked.or(TRIALS.last()).expect("there are some");
    let dir = scratch("ensemble", true);
    match trial(&options, dir.path()) {
        Ok(found) => {
            println!("ensemble {name}: {found}");
            if options.has("--keep") {
                println!("  data and logs are kept in {}", dir.keep().display());
            }
            println!("1 passed, 0 failed, 0 skipped");
            ExitCode::SUCCESS
        }
        Err(why) => {
            let kept = dir.keep();
            println!("FAILED ensemble {name}: {why}");
            println!("  data and logs are kept in {}", kept.display());
            println!("  replay: {}", options.replay());
            println!("0 passed, 1 failed, 0 skipped");
            ExitCode::FAILURE
        }
    }
}
