//! The differential test: the same seeded story told to two servers, every answer compared.
//!
//! `cargo test --test differential -- [--seeds N] [--first SEED] [--ops N] [--left SERVER]
//! [--right SERVER] [--variant NAME] [--restarts N] [--differences N] [--property NAME=VALUE]`,
//! where a SERVER is `java39`, `java38`, `ringkeeper`, a command of the same shape, or the address
//! of one that runs already.
//! A difference prints its seed and the command that tells that story again.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod accepted;
mod canon;
mod generate;
mod lapse;
mod op;
mod run;
mod side;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use ringkeeper::clock::Clock;

use crate::accepted::ACCEPTED;
use crate::run::{Difference, Run};
use crate::side::Side;
use crate::support::ServerSpec;
use crate::support::process::scratch;

/// A configuration under which seeds are played.
struct Variant {
    name: &'static str,
    config: &'static [&'static str],
    properties: &'static [(&'static str, &'static str)],
}

const VARIANTS: &[Variant] = &[
    Variant { name: "plain", config: &["extendedTypesEnabled=true"], properties: &[] },
    Variant {
        name: "quota",
        config: &["extendedTypesEnabled=true", "enforceQuota=true"],
        properties: &[],
    },
    Variant { name: "bare", config: &["reconfigEnabled=true"], properties: &[] },
    Variant {
        name: "open",
        config: &["extendedTypesEnabled=true"],
        properties: &[
            ("zookeeper.skipACL", "yes"),
            ("zookeeper.DigestAuthenticationProvider.digestAlg", "SHA-256"),
        ],
    },
];

/// What time does by itself is played apart, one thing after another: in a seed its moment would be
/// chance.
const LAPSE: Variant = Variant {
    name: "lapse",
    config: &[
        "extendedTypesEnabled=true",
        "tickTime=500",
        "minSessionTimeout=1000",
        "maxSessionTimeout=60000",
    ],
    properties: &[
        ("znode.container.checkIntervalMs", "1000"),
        ("znode.container.maxNeverUsedIntervalMs", "500"),
    ],
};
const LAPSE_ROUNDS: usize = 3;

/// Reaping is left to [`LAPSE`], durability to a test of its own.
/// Snapshots are frequent, so that a restart loads one, and logs small, because they are copied.
const PROPERTIES: &[(&str, &str)] = &[
    ("zookeeper.snapCount", "2000"),
    ("zookeeper.preAllocSize", "4096"),
    ("znode.container.checkIntervalMs", "100000000"),
    ("zookeeper.forceSync", "no"),
    ("zookeeper.DigestAuthenticationProvider.superDigest", "super:D/InIHSb7yEEbrWz8b9l71RjZJU="),
];

struct Options {
    seeds: u64,
    first: u64,
    ops: u64,
    restarts: u64,
    /// How many differences of one seed are shown; what follows the first may follow from it.
    shown: usize,
    left: String,
    right: String,
    variant: Option<String>,
    /// For both servers, besides the variant's.
    properties: Vec<(String, String)>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        seeds: 4,
        first: 1,
        ops: 5000,
        restarts: 1,
        shown: 1,
        left: "java39".to_owned(),
        right: "ringkeeper".to_owned(),
        variant: None,
        properties: Vec::new(),
    };
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--nocapture");
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|err| format!("{name} {value}: {err}"));
        match name.as_str() {
            "--seeds" => options.seeds = number()?,
            "--first" => options.first = number()?,
            "--ops" => options.ops = number()?,
            "--restarts" => options.restarts = number()?,
            "--differences" => options.shown = usize::try_from(number()?).unwrap_or(1),
            "--left" => options.left = value,
            "--right" => options.right = value,
            "--variant" => options.variant = Some(value),
            "--property" => {
                let (name, value) = value.split_once('=').ok_or("--property wants NAME=VALUE")?;
                options.properties.push((name.to_owned(), value.to_owned()));
            }
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}

/// What all seeds came to.
#[derive(Default)]
struct Tally {
    ops: u64,
    seeds: u64,
    differences: u64,
    accepted: Vec<u64>,
}

fn start_sides(options: &Options, variant: &Variant, dir: &std::path::Path) -> [Side; 2] {
    [&options.left, &options.right].map(|target| {
        let mut spec = ServerSpec::named(target);
        for line in variant.config {
            spec = spec.config(line);
        }
        for (name, value) in PROPERTIES.iter().chain(variant.properties) {
            spec = spec.property(name, value);
        }
        for (name, value) in &options.properties {
            spec = spec.property(name, value);
        }
        let unique = format!("{target}-{}", support::process::free_port()).replace('/', "_");
        Side::start(target, spec, &dir.join(unique)).unwrap_or_else(|err| panic!("{err}"))
    })
}

fn play_variant(options: &Options, variant: &Variant, seeds: &[u64], tally: &mut Tally) {
    let dir = scratch("differential", false);
    let mut sides = start_sides(options, variant, dir.path());
    for seed in seeds {
        let mut run = Run::new(&mut sides, *seed, variant.name == "quota");
        run.found_max = options.shown;
        let outcome = if variant.name == LAPSE.name {
            run.lapse(LAPSE_ROUNDS)
        } else {
            tally.seeds += 1;
            run.play(options.ops, options.restarts)
        };
        tally.ops += run.ops;
        tally.accepted.resize(ACCEPTED.len(), 0);
        for (sum, count) in tally.accepted.iter_mut().zip(&run.accepted) {
            *sum += count;
        }
        let mut found = std::mem::take(&mut run.found);
        if let Err(difference) = outcome {
            found.push(difference);
        }
        if found.is_empty() {
            continue;
        }
        tally.differences += found.len() as u64;
        for Difference(text) in found {
            println!("DIFFERENCE seed {seed} variant {}: {text}", variant.name);
        }
        println!(
            "  replay: cargo test --test differential -- --first {seed} --seeds 1 --ops {} \
                 --restarts {} --variant {} --left '{}' --right '{}'",
            options.ops, options.restarts, variant.name, options.left, options.right
        );
        drop(sides);
        sides = start_sides(options, variant, dir.path()); // the trees have parted
    }
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("differential: {why}");
            return ExitCode::from(2);
        }
    };
    let clock = Clock::start();
    let mut tally = Tally::default();
    for (at, variant) in VARIANTS.iter().enumerate() {
        let chosen = |seed: &u64| match &options.variant {
            Some(name) => name == variant.name,
            None => usize::try_from(*seed).unwrap() % VARIANTS.len() == at,
        };
        let seeds: Vec<_> = (options.first..options.first + options.seeds).filter(chosen).collect();
        if !seeds.is_empty() {
            play_variant(&options, variant, &seeds, &mut tally);
        }
    }
    let is_lapse = |name: &String| *name == LAPSE.name;
    if options.variant.as_ref().is_none_or(is_lapse) {
        play_variant(&options, &LAPSE, &[options.first], &mut tally);
    }
    for (accepted, count) in ACCEPTED.iter().zip(&tally.accepted) {
        println!("accepted {count} times: {} ({})", accepted.name, accepted.reason);
    }
    println!(
        "differential: {} against {}: {} operations, {} seeds, {} differences, {} s",
        options.right,
        options.left,
        tally.ops,
        tally.seeds,
        tally.differences,
        clock.elapsed().as_secs()
    );
    let all_played = tally.seeds == options.seeds || options.variant.as_ref().is_some_and(is_lapse);
    ExitCode::from(u8::from(tally.differences > 0 || !all_played))
}
