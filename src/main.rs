//! `zkserver`: parse the command line, run it, turn a failure into an exit code.

use std::process::ExitCode;

use ringkeeper::cli::args::{self, Command};
use ringkeeper::cli::start;
use ringkeeper::error::Fatal;
use ringkeeper::version;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) if fatal.code() == ringkeeper::error::ExitCode::Normal => {
            print!("{fatal}");
            ExitCode::SUCCESS
        }
        Err(fatal) => {
            eprintln!("zkserver: {fatal}");
            ExitCode::from(fatal.code().code())
        }
    }
}

fn run() -> Result<(), Fatal> {
    match args::from_process()? {
        Command::Version => println!("{}", version::LINE),
        Command::StartForeground(start) => start::start_foreground(&start)?,
    }
    Ok(())
}
