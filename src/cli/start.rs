//! `zkserver start-foreground`.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::EnvFilter;

use super::args::Start;
use crate::error::Fatal;
use crate::server::{self, config::Config};

/// The variable that says what to log, for instance `debug` or `ringkeeper::log=debug`.
const LOG_VARIABLE: &str = "RINGKEEPER_LOG";

/// Reads the configuration and runs the server in this process.
///
/// # Errors
/// [`Fatal`] with its exit code.
pub fn start_foreground(start: &Start) -> Result<(), Fatal> {
    if start.is_detached {
        let _ = rustix::process::setsid(); // refused if it has a session of its own: as good
    }
    log_to_stdout();
    let name = start.file.as_ref().map(|file| file.display().to_string());
    tracing::info!("Reading configuration from: {}", name.as_deref().unwrap_or("(built in)"));
    for flag in &start.ignored_flags {
        tracing::debug!(flag, "a flag for a Java machine means nothing here");
    }
    let (config, warnings) = Config::load(start.file.as_deref(), &start.properties)?;
    for warning in warnings {
        match warning.level {
            Level::ERROR => tracing::error!("{warning}"),
            Level::WARN => tracing::warn!("{warning}"),
            Level::INFO => tracing::info!("{warning}"),
            Level::DEBUG | Level::TRACE => tracing::debug!("{warning}"),
        }
    }
    server::run(&config)
}

fn log_to_stdout() {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_thread_names(true)
        .with_ansi(std::io::stdout().is_terminal())
        .log_internal_errors(false) // whoever read the log may have gone; the server serves on
        .init();
}
