//! `stop` and `restart`.
//!
//! INVARIANT: nothing is signalled but a process that was just seen to be this server, through a
//! descriptor that cannot come to mean another.

use std::fs;
use std::io;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::super::instance::Instance;
use super::super::occupant::{Occupant, read_pid};
use super::super::{note, say};
use super::{elsewhere, start};
use crate::limits::STOP_WAIT_MS_MAX;

/// Stops the server that `start` started, and waits until it is gone.
///
/// COMPAT: a success if there is none; the script says `STOPPED` of a stale number too.
pub fn stop(instance: &Instance) -> ExitCode {
    say("Stopping zookeeper ... ");
    let file = &instance.pid_file;
    if !file.exists() {
        say(&format!("no zookeeper to stop (could not find file {})\n", file.display()));
        if let Some(pid) = instance.signs.holder() {
            note(&elsewhere(instance, pid));
        }
        return ExitCode::SUCCESS;
    }
    if let Err(why) = stop_named(instance) {
        say("FAILED TO STOP\n");
        note(&why);
        return ExitCode::FAILURE;
    }
    if let Err(error) = fs::remove_file(file) {
        note(&format!("{}: {error}", file.display()));
    }
    say("STOPPED\n");
    ExitCode::SUCCESS
}

/// Ends the process that the pid file names, if it is this server.
fn stop_named(instance: &Instance) -> Result<(), String> {
    let file = instance.pid_file.display();
    let named = read_pid(&instance.pid_file);
    match named.map_or(Occupant::Gone, |pid| instance.signs.occupant(pid)) {
        Occupant::Gone => note(&format!("{file} is stale: its process is gone")),
        Occupant::Stranger(pid, line) => note(&format!(
            "{file} is stale: process {pid} is another one now ({line}) and was left alone"
        )),
        Occupant::Server(pid) => {
            let ended = end(instance, pid)
                .map_err(|error| format!("cannot stop process {pid}: {error}"))?;
            if !ended {
                let seconds = STOP_WAIT_MS_MAX / 1000;
                return Err(format!(
                    "process {pid} was told to stop and still runs after {seconds} s; see its log"
                ));
            }
        }
    }
    Ok(())
}

/// Asks the process to stop; whether it is gone in time.
fn end(instance: &Instance, pid: Pid) -> io::Result<bool> {
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(true),
        opened => opened?,
    };
    if !matches!(instance.signs.occupant(pid), Occupant::Server(_)) {
        return Ok(true); // it ended just before its number was held fast
    }
    match pidfd_send_signal(&process, Signal::TERM) {
        Err(Errno::SRCH) => return Ok(true),
        signalled => signalled?,
    }
    let seconds = i64::try_from(STOP_WAIT_MS_MAX / 1000).unwrap_or(i64::MAX);
    let patience = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience))?;
    Ok(ended > 0)
}

/// Stops, then starts, as the script does; the exit code is that of the start.
pub fn restart(instance: &Instance) -> ExitCode {
    let stopped = stop(instance);
    if stopped == ExitCode::SUCCESS { start(instance) } else { stopped }
}
