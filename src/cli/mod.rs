//! What a person types: the command lines of `zkserver`, and what each of them does.
//!
//! COMPAT: verbs, words and exit codes are those of `zkServer.sh`; what we have to add to them goes
//! to standard error, so that scripts find on standard output what they know.

pub mod args;
pub mod background;
pub mod doctor;
pub mod flags;
pub mod instance;
pub mod occupant;
pub mod start;
pub mod status;
pub mod variables;

use std::io::{self, Write as _};
use std::process::ExitCode;

use args::{Start, Verb};
use instance::Instance;
use variables::Variables;

use crate::error::Fatal;

/// Does what was asked for; the exit code is the verb's own.
///
/// # Errors
/// [`Fatal`] if the configuration is wrong, or as a server in the foreground ends.
pub fn run(verb: Verb, mut start: Start) -> Result<ExitCode, Fatal> {
    let variables = Variables::from_process();
    start.file = variables.config_file(start.file.as_deref(), start.config_dir.as_deref());
    if !start.is_detached {
        let file = start.file.as_ref().map(|file| file.display().to_string());
        note(&format!("Using config: {}", file.as_deref().unwrap_or("(built in)")));
    }
    let starts = matches!(verb, Verb::Start | Verb::StartForeground | Verb::Restart);
    if variables.no_autocreate && starts {
        if let Some(complaint) = Instance::load(&start, &variables)?.missing_directory() {
            say(&format!("{complaint}\n"));
            return Ok(ExitCode::FAILURE);
        }
        start.properties.push(("zookeeper.datadir.autocreate".to_owned(), "false".to_owned()));
    }
    let instance = || Instance::load(&start, &variables);
    Ok(match verb {
        Verb::StartForeground => start::start_foreground(&start).map(|()| ExitCode::SUCCESS)?,
        Verb::Start => background::start(&instance()?),
        Verb::Stop => background::stop(&instance()?),
        Verb::Restart => background::restart(&instance()?),
        Verb::Status => status::status(&instance()?),
        Verb::PrintCommand => background::print_command(&instance()?),
        Verb::Doctor => doctor::doctor(&start, &variables),
    })
}

/// Words for standard output, whole lines or not; a reader that has gone misses them.
fn say(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A line for standard error.
fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
