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
use super::{Refusal, elsewhere, start};
use crate::limits::STOP_WAIT_MS_MAX;

/// Stops the server that `start` started, and waits until it is gone.
///
/// COMPAT: a success if there is none; the script says `STOPPED` of a stale number too. Not while
/// some process holds the data: it may be a supervisor's, so it is named and left alone.
pub fn stop(instance: &Instance) -> ExitCode {
    say("Stopping zookeeper ... ");
    let (word, why) = match try_stop(instance) {
        Ok(word) => (word, None),
        Err(Refusal { word, why }) => (word, Some(why)),
    };
    say(&format!("{word}\n"));
    for line in why.iter().flatten() {
        note(line);
    }
    if why.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The word for standard output.
fn try_stop(instance: &Instance) -> Result<String, Refusal> {
    let file = &instance.pid_file;
    if !file.exists() {
        let word = format!("no zookeeper to stop (could not find file {})", file.display());
        return match instance.signs.holder() {
            None => Ok(word),
            Some(pid) => Err(Refusal::new(&word, elsewhere(instance, pid))),
        };
    }
    let failed = |why| Refusal::new("FAILED TO STOP", why);
    stop_named(instance).map_err(failed)?;
    if let Some(pid) = instance.signs.holder() {
        return Err(failed(elsewhere(instance, pid)));
    }
    if let Err(error) = fs::remove_file(file) {
        note(&format!("{}: {error}", file.display()));
    }
    Ok("STOPPED".to_owned())
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use super::super::super::args::Start;
    use super::super::super::variables::Variables;
    use super::*;

    /// The server of a new data folder.
    fn instance(dir: &Path) -> Instance {
        let file = dir.join("zoo.cfg");
        fs::write(&file, format!("dataDir={}\nclientPort=0\n", dir.display())).unwrap();
        fs::create_dir(dir.join("version-2")).unwrap();
        let start = Start { file: Some(file), ..Start::default() };
        Instance::load(&start, &Variables::default()).unwrap()
    }

    #[test]
    fn while_a_process_holds_the_data_nothing_is_called_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let instance = instance(dir.path());
        let own = std::process::id();
        let lock_file = &instance.signs.lock_file;
        fs::write(lock_file, own.to_string()).unwrap();
        let held = File::open(lock_file).unwrap();
        // None, nobody's, and a stranger's: this process is no zkserver, and lives on.
        for named in [None, Some("4194303".to_owned()), Some("x".to_owned()), Some(own.to_string())]
        {
            if let Some(pid) = &named {
                fs::write(&instance.pid_file, pid).unwrap();
            }
            let Err(Refusal { why, .. }) = try_stop(&instance) else {
                panic!("{named:?}: stopped")
            };
            assert!(why[0].contains(&format!("process {own} holds")), "{named:?}: {why:?}");
            assert_eq!(stop(&instance), ExitCode::FAILURE, "{named:?}");
            assert_eq!(restart(&instance), ExitCode::FAILURE, "{named:?}");
            assert_eq!(start(&instance), ExitCode::FAILURE, "{named:?}");
            assert_eq!(instance.pid_file.exists(), named.is_some(), "as it was");
        }
        drop(held);
        assert_eq!(try_stop(&instance).ok().as_deref(), Some("STOPPED"), "it was stale");
        assert!(!instance.pid_file.exists());
        assert_eq!(stop(&instance), ExitCode::SUCCESS, "there is none");
    }
}
