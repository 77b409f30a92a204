//! `zkserver`: parse the command line, run it, turn a failure into an exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use ringkeeper::cli;
use ringkeeper::cli::args::{self, Command};
use ringkeeper::error::Fatal;
use ringkeeper::version;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(fatal) if fatal.code() == ringkeeper::error::ExitCode::Normal => {
            print!("{fatal}");
            ExitCode::SUCCESS
        }
        Err(fatal) => {
            let _ = writeln!(io::stderr(), "zkserver: {fatal}"); // a closed one: the code says it
            ExitCode::from(fatal.code().code())
        }
    }
}

fn run() -> Result<ExitCode, Fatal> {
    match args::from_process()? {
        Command::Version => println!("{}", version::LINE),
        Command::Run(verb, start) => return cli::run(verb, start),
    }
    Ok(ExitCode::SUCCESS)
}
