//! `zkbench`: a load generator for servers that speak `ZooKeeper`'s client protocol.
//!
//! `run` loads one server or ensemble, `compare` two of them in turn, `disk` measures what a flush
//! costs, `null` is a server that does nothing, to measure the generator itself.
//! The path of a run: `args -> plan -> load (threads) -> report`. `bench/README.md` is the method.

mod args;
mod compare;
mod disk;
mod load;
mod null;
mod plan;
mod report;
mod run;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};

/// What a failed command prints, and nothing more.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Run(args) => run::command(&args),
        Command::Compare(args) => compare::command(&args),
        Command::Disk(args) => disk::command(&args),
        Command::Null(args) => null::command(&args),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("zkbench: {failure}");
            ExitCode::FAILURE
        }
    }
}
