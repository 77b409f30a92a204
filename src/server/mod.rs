//! A server as a whole: what it is configured to do, how it starts and stops.

pub mod boot;
pub mod config;
pub mod control;
mod ensemble;
mod gather;
mod settings;

use std::sync::Arc;

use crate::error::Fatal;
use crate::stage::queue::ParkBell;
use config::Config;

/// Runs a server until it is asked to stop.
///
/// # Errors
/// [`Fatal`] with the exit code for what prevented or ended it.
pub fn run(config: &Config) -> Result<(), Fatal> {
    let bell = Arc::new(ParkBell::default());
    let asked = control::Asked::watch(&bell)?;
    let running = boot::boot(config, &bell)?;
    control::Control::new(running, config).run(&bell, &asked)
}
