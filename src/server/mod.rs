//! A server as a whole: what it is configured to do, how it starts and stops.

pub mod boot;
pub mod config;
pub mod control;
mod descriptors;
mod ensemble;
mod gather;
pub mod notify;
mod settings;
mod wiring;

use std::sync::Arc;

use crate::error::{ExitCode, Fatal};
use crate::net::{Options, Reactor};
use crate::stage::queue::ParkBell;
use config::Config;
use notify::Notifier;

pub use crate::net::addresses_of;

/// Makes a ring as a server would, and lets it go.
///
/// # Errors
/// [`Fatal`] as the server would end with.
pub fn try_ring() -> Result<(), Fatal> {
    let made = Reactor::new(Options::default());
    made.map(drop).map_err(|error| Fatal::new(ExitCode::RingUnavailable, error))
}

/// Runs a server until it is asked to stop.
///
/// # Errors
/// [`Fatal`] with the exit code for what prevented or ended it.
pub fn run(config: &Config) -> Result<(), Fatal> {
    let bell = Arc::new(ParkBell::default());
    let asked = control::Asked::watch(&bell)?;
    let notifier = Notifier::from_environment();
    notifier.status("recovering");
    let running = match boot::boot(config, &bell, asked.flag()) {
        Err(fatal) if fatal.code() == ExitCode::Normal => {
            notifier.stopping();
            tracing::info!("stopped before it served");
            return Ok(());
        }
        booted => booted?,
    };
    control::Control::new(running, config, notifier).run(&bell, &asked)
}
