//! `kill -9` under pipelined writes: nothing acknowledged is lost, nothing is half applied.
//!
//! `cargo test --test kill -- [--rounds N] [--seed N] [--server SERVER]` (200 rounds for a
//! release).
//!
//! Each round, 8 sessions write with many requests in flight: creates, sets, deletes, multis, and
//! multis that must fail. At a random moment the server is killed. What each session wrote is one
//! sequence, so after the restart its part of the tree must be exactly what some prefix of that
//! sequence makes, and the prefix must hold every operation that was acknowledged.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::client::{append, create};
use crate::support::process::scratch;
use crate::support::sequence::{Sequence, Tree};
use crate::support::{Client, Random, Server, ServerSpec, wait_for};

const SESSIONS: usize = 8;
const IN_FLIGHT_MAX: u64 = 32;

/// What a session had done when its server died.
struct Outcome {
    client: Client,
    sent: u64,
    acknowledged: u64,
    complaint: Option<String>,
}

/// Writes until the connection breaks.
fn write_until_killed(mut client: Client, sequence: &Sequence, done: &AtomicU64) -> Outcome {
    let (mut sent, mut acknowledged) = (0, 0);
    let mut complaint = None;
    'writing: loop {
        let mut out = Vec::new();
        while sent - acknowledged < IN_FLIGHT_MAX {
            let xid = i32::try_from(sent + 1).unwrap();
            sequence.step(sent).with_request(|request| append(&mut out, xid, request));
            sent += 1;
        }
        if client.connection.send(&out).is_err() {
            break;
        }
        while sent - acknowledged > IN_FLIGHT_MAX / 2 {
            let Ok(Some(reply)) = client.reply() else { break 'writing };
            if let Err(why) = sequence.step(acknowledged).check(&reply) {
                complaint = Some(format!("operation {acknowledged}: {why}"));
                break 'writing;
            }
            acknowledged += 1;
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    Outcome { client, sent, acknowledged, complaint }
}

/// Lets the sessions write until enough is done, and kills the server in the midst of it.
fn load_and_kill(server: &mut Server, sequences: &[Sequence], ops: u64) -> Vec<Outcome> {
    let done = Arc::new(AtomicU64::new(0));
    let broken = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for sequence in sequences {
        let client = Client::connect(server.address).expect("a session");
        let (sequence, done, broken) = (sequence.clone(), done.clone(), broken.clone());
        writers.push(std::thread::spawn(move || {
            let outcome = write_until_killed(client, &sequence, &done);
            broken.store(true, Ordering::Relaxed);
            outcome
        }));
    }
    wait_for(Duration::from_mins(1), || {
        done.load(Ordering::Relaxed) >= ops || broken.load(Ordering::Relaxed)
    });
    server.kill().expect("kill");
    writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
}

/// What is in the tree must be a prefix of what was sent that holds all that was acknowledged.
fn verify(address: SocketAddr, sequence: &Sequence, outcome: &Outcome) -> Result<(), String> {
    if let Some(why) = &outcome.complaint {
        return Err(format!("a wrong reply before the kill: {why}"));
    }
    let mut client = outcome.client.reattach(address).map_err(|err| {
        format!("session {} cannot be re-attached: {err}", outcome.client.session)
    })?;
    let found = Tree::read(&mut client, sequence);
    let mut expected = Tree::default();
    for at in 0..=outcome.sent {
        if at >= outcome.acknowledged && expected == found {
            client.must(&ringkeeper::wire::request::Request::CloseSession);
            return Ok(());
        }
        sequence.step(at).apply(&mut expected);
    }
    let mut acknowledged = Tree::default();
    (0..outcome.acknowledged).for_each(|at| sequence.step(at).apply(&mut acknowledged));
    Err(format!(
        "no prefix of {}..={} operations explains what is there\n  found: {found:?}\n  after \
         the acknowledged ones: {acknowledged:?}",
        outcome.acknowledged, outcome.sent
    ))
}

fn play_round(server: &mut Server, round: u64, random: &mut Random) -> Result<u64, String> {
    let mut keeper = Client::connect(server.address).expect("a session");
    keeper.create(&format!("/round{round}"), b"", 0);
    let mut sequences = Vec::new();
    for writer in 0..SESSIONS {
        let root = format!("/round{round}/{writer}");
        keeper.must(&create(&root, b"", 0));
        sequences.push(Sequence::new(root, random.next()));
    }
    drop(keeper);
    let ops = 200 + random.below(6000) as u64;
    let outcomes = load_and_kill(server, &sequences, ops);
    if random.one_in(4) {
        // and once more, while it recovers
        server.spawn().map_err(|err| err.to_string())?;
        let looks = random.below(200);
        let mut seen = 0;
        wait_for(Duration::from_secs(2), || {
            seen += 1;
            seen > looks
        });
        server.kill().map_err(|err| err.to_string())?;
    }
    server.launch().map_err(|err| format!("the restart failed: {err}"))?;
    for (sequence, outcome) in sequences.iter().zip(&outcomes) {
        verify(server.address, sequence, outcome)
            .map_err(|why| format!("{}: {why}", sequence.root()))?;
    }
    Ok(outcomes.iter().map(|outcome| outcome.acknowledged).sum())
}

fn option(name: &str, default: &str) -> String {
    let args: Vec<_> = std::env::args().collect();
    let at = args.iter().position(|arg| arg == name);
    at.and_then(|at| args.get(at + 1)).map_or_else(|| default.to_owned(), Clone::clone)
}

fn main() -> ExitCode {
    let rounds: u64 = option("--rounds", "10").parse().expect("--rounds takes a number");
    let seed: u64 = option("--seed", "1").parse().expect("--seed takes a number");
    let name = option("--server", "ringkeeper");
    let spec = ServerSpec::named(&name).config("snapCount=2000").config("preAllocSize=1024");
    let dir = scratch("kill", true);
    let mut server = match Server::start(spec, dir.path()) {
        Ok(server) => server,
        Err(err) => {
            eprintln!("kill: {err}");
            return ExitCode::FAILURE;
        }
    };
    let mut random = Random::new(seed);
    let mut acknowledged = 0;
    for round in 1..=rounds {
        match play_round(&mut server, round, &mut random) {
            Ok(count) => acknowledged += count,
            Err(why) => {
                let kept = dir.keep();
                println!("FAILED round {round}: {why}");
                println!("  data and log are kept in {}", kept.display());
                println!(
                    "  replay: cargo test --test kill -- --server '{name}' --seed {seed} \
                     --rounds {round}"
                );
                println!("kill: {} rounds passed, 1 failed", round - 1);
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "kill: {rounds} rounds, {acknowledged} writes acknowledged, none lost, none half applied"
    );
    ExitCode::SUCCESS
}
