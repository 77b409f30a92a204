//! Which histories are played, and what is told of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;

use ringkeeper::clock::Clock;
use ringkeeper::zab::{Mutation, Mutations};

use crate::cluster::{Cluster, Report};
use crate::plan::Plan;
use crate::queue::SECOND;
use crate::random::Random;

/// Lines of the trace that a failure is printed with.
const LINES: usize = 120;

/// Seeds within which a bug that was put back must be found.
const MUTATION_SEEDS: u64 = 1000;

/// What is always played: seeds that once failed.
const FIXED: std::ops::Range<u64> = 1..41;

/// What the last panic said, and where.
static COMPLAINT: Mutex<String> = Mutex::new(String::new());

/// What a run is asked for.
struct Options {
    seconds: i64,
    trace: usize,
    mutations: Mutations,
}

fn option(name: &str) -> Option<String> {
    let args: Vec<_> = std::env::args().collect();
    let at = args.iter().position(|arg| arg == name)?;
    Some(args.get(at + 1).cloned().unwrap_or_default())
}

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    option(name)
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} takes a number, not `{text}`")))
}

/// Plays one history; what was violated, if anything was.
fn play(seed: u64, options: &Options, lines: usize) -> Result<Report, String> {
    let plan = Plan::new(&mut Random::new(seed.wrapping_mul(0x5851_f42d)), options.seconds);
    play_plan(plan, seed, options, lines)
}

fn play_plan(plan: Plan, seed: u64, options: &Options, lines: usize) -> Result<Report, String> {
    if lines > 0 {
        println!("  {plan:?}");
    }
    let mut cluster = Cluster::new(plan, seed, lines, options.mutations);
    let played = catch_unwind(AssertUnwindSafe(|| cluster.play()));
    if lines > 0 {
        cluster.trace.print();
    }
    played.map_err(|_| COMPLAINT.lock().expect("nobody panics with it").clone())
}

/// Says what failed, with the end of the history.
fn tell_failure(seed: u64, complaint: &str, options: &Options) {
    println!("FAILED seed {seed}: {complaint}");
    let lines = if options.trace == 0 { LINES } else { options.trace };
    let again = play(seed, options, lines);
    if again.as_ref().err().map(String::as_str) != Some(complaint) {
        println!("  the second time it came to {again:?}: the history depends on something else");
    }
    println!("  replay: {} --seed {seed} --seconds {}", COMMAND, options.seconds);
}

const COMMAND: &str = "cargo test --profile sim --test sim --";

struct Tally {
    passed: u64,
    failed: u64,
    simulated: i64,
    committed: usize,
    acknowledged: u64,
    leaders: u64,
    faults: u64,
    events: u64,
}

fn play_seeds(
    seeds: impl Iterator<Item = u64>,
    options: &Options,
    goes_on: impl Fn(&Tally) -> bool,
) -> Tally {
    let mut tally = Tally {
        passed: 0,
        failed: 0,
        simulated: 0,
        committed: 0,
        acknowledged: 0,
        leaders: 0,
        faults: 0,
        events: 0,
    };
    for seed in seeds {
        if !goes_on(&tally) {
            break;
        }
        match play(seed, options, 0) {
            Ok(report) => {
                tally.passed += 1;
                tally.simulated += report.simulated / SECOND;
                tally.committed += report.committed;
                tally.acknowledged += report.acknowledged;
                tally.leaders += report.leaders;
                tally.faults += report.faults;
                tally.events += report.events;
            }
            Err(complaint) => {
                tally.failed += 1;
                tell_failure(seed, &complaint, options);
            }
        }
    }
    tally
}

fn tell(tally: &Tally, millis: i64) {
    println!(
        "{} histories, {} s simulated in {}.{:03} s, {} txns, {} writes acknowledged, {} leaders, \
         {} faults, {} events",
        tally.passed + tally.failed,
        tally.simulated,
        millis / 1000,
        millis % 1000,
        tally.committed,
        tally.acknowledged,
        tally.leaders,
        tally.faults,
        tally.events
    );
}

/// The same seed twice, in one process: nothing else may play a part.
fn is_deterministic(options: &Options) -> bool {
    let hashes =
        [1, 1].map(|seed| play(seed, options, 0).map(|report| (report.hash, report.events)));
    if hashes[0] != hashes[1] {
        println!("FAILED: seed 1 is not the same twice: {hashes:?}");
    }
    hashes[0] == hashes[1]
}

#[cfg(feature = "sim-mutations")]
const fn mutations_of(mutation: Mutation) -> Mutations {
    Mutations::only(mutation)
}

#[cfg(not(feature = "sim-mutations"))]
fn mutations_of(mutation: Mutation) -> Mutations {
    panic!("{mutation:?} needs the simulator's build: --features sim-mutations")
}

fn find_mutation(name: &str, mutation: Mutation, options: &Options) -> bool {
    let mutations = mutations_of(mutation);
    let options = Options { seconds: options.seconds, trace: 0, mutations };
    let first: u64 = number("--first").unwrap_or(1);
    for seed in first..first + MUTATION_SEEDS {
        if let Err(complaint) = play(seed, &options, 0) {
            let complaint: String = complaint.chars().take(150).collect();
            println!("{name}: found by seed {seed}: {complaint}");
            if let Some(lines) = number("--trace") {
                let _ = play(seed, &options, lines);
            }
            return true;
        }
    }
    println!("FAILED {name}: not found in {MUTATION_SEEDS} seeds");
    false
}

fn find_mutations(options: &Options) -> (u64, u64) {
    let wanted = option("--mutation");
    let mut counts = (0, 0);
    for mutation in Mutation::ALL {
        let name = format!("{mutation:?}");
        if wanted.as_ref().is_some_and(|wanted| *wanted != name) {
            continue;
        }
        if find_mutation(&name, mutation, options) {
            counts.0 += 1;
        } else {
            counts.1 += 1;
        }
    }
    counts
}

fn measure(seconds: i64) -> ExitCode {
    let options = Options { seconds, trace: 0, mutations: Mutations::NONE };
    let clock = Clock::start();
    let report = play_plan(Plan::quiet(seconds), 1, &options, 0);
    let millis = clock.now().0.max(1);
    match report {
        Ok(report) => {
            let simulated = report.simulated / SECOND;
            println!(
                "3 nodes under load: {simulated} s simulated in {millis} ms: {} x real time; {} \
                 txns/s, {} events/s",
                simulated * 1000 / millis,
                report.committed as i64 / simulated.max(1),
                report.events as i64 / simulated.max(1)
            );
            ExitCode::SUCCESS
        }
        Err(complaint) => {
            println!("FAILED: {complaint}");
            ExitCode::FAILURE
        }
    }
}

pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        *COMPLAINT.lock().expect("nobody panics with it") = panic.to_string();
    }));
    let options = Options {
        seconds: number("--seconds").unwrap_or(100),
        trace: number("--trace").unwrap_or(0),
        mutations: Mutations::NONE,
    };
    if let Some(seconds) = number("--measure") {
        return measure(seconds);
    }
    let (passed, failed) = if option("--mutation").is_some() || has("--mutations") {
        find_mutations(&options)
    } else {
        play_asked_for(&options)
    };
    println!("{passed} passed, {failed} failed, 0 skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn has(name: &str) -> bool {
    std::env::args().any(|arg| arg == name)
}

fn play_asked_for(options: &Options) -> (u64, u64) {
    let clock = Clock::start();
    let tally = if let Some(seed) = number("--seed") {
        play_seeds(std::iter::once(seed), options, |_| true)
    } else if let Some(limit) = number::<i64>("--for") {
        let first = number("--first").unwrap_or_else(clock_seed);
        println!("fresh seeds from {first} on, for {limit} s");
        let seeds = FIXED.chain(first..);
        play_seeds(seeds, options, |tally| tally.failed < 5 && clock.now().0 < limit * 1000)
    } else {
        let first: u64 = number("--first").unwrap_or(1);
        let count: u64 = number("--seeds").unwrap_or(20);
        play_seeds(first..first + count, options, |tally| tally.failed < 5)
    };
    tell(&tally, clock.now().0);
    let same = is_deterministic(options);
    (tally.passed + u64::from(same), tally.failed + u64::from(!same))
}

/// So that every run plays other histories.
fn clock_seed() -> u64 {
    ringkeeper::clock::wall().0.cast_unsigned() * 1000
}
