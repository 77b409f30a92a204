//! `doctor`: what stands between a configuration and a server that serves.
//!
//! Looks and asks, within bounds, and changes nothing: it may be run beside a server that serves.
//! One line for each finding, with what to do about it; fails if one is a problem.

mod data;
mod machine;
mod members;
mod ports;

use std::process::ExitCode;

use super::args::Start;
use super::instance::Instance;
use super::say;
use super::variables::Variables;

/// Checks the configuration that `start` names, and what it needs of this machine and of others.
pub fn doctor(start: &Start, variables: &Variables) -> ExitCode {
    let mut report = Report::default();
    match Instance::load(start, variables) {
        Ok(instance) => {
            report.fine("configuration", "it can be read");
            for warning in &instance.warnings {
                report.warn("configuration", &warning.to_string(), "see conf/zoo_sample.cfg");
            }
            data::check(&instance, &mut report);
            ports::check(&instance, &mut report);
            members::check(&instance, &mut report);
        }
        Err(fatal) => {
            let advice = "mend it first: the rest of the configuration was not looked at";
            report.problem("configuration", &fatal.to_string(), advice);
        }
    }
    machine::check(&mut report);
    report.end()
}

/// Says what was found, and counts.
#[derive(Debug, Default)]
struct Report {
    fine: u32,
    warnings: u32,
    problems: u32,
}

impl Report {
    /// As it should be.
    fn fine(&mut self, what: &str, found: &str) {
        self.fine += 1;
        say(&format!("ok       {what}: {found}\n"));
    }

    /// It works, but may not be what was meant.
    fn warn(&mut self, what: &str, found: &str, advice: &str) {
        self.warnings += 1;
        say(&format!("WARNING  {what}: {found}: {advice}\n"));
    }

    /// It keeps the server, or the ensemble, from serving.
    fn problem(&mut self, what: &str, found: &str, advice: &str) {
        self.problems += 1;
        say(&format!("PROBLEM  {what}: {found}: {advice}\n"));
    }

    fn end(&self) -> ExitCode {
        let Self { fine, warnings, problems } = self;
        say(&format!("{fine} fine, {warnings} warnings, {problems} problems\n"));
        if self.problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
