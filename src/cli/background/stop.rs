//! `stop` and `restart`.
//!
//! INVARIANT: nothing is signalled but a process that was just seen to be this server, through a
//! descriptor that cannot come to mean another.

use std::fs;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::super::instance::Instance;
use super::super::occupant::{Occupant, read_pid};
use super::super::{note, say};
use super::reservation::await_turn;
use super::{Refusal, elsewhere, start};
use crate::limits::STOP_WAIT_MS_MAX;

/// Stops the server that `start` started, and waits until it is gone.
///
/// COMPAT: a success if there is none; the script says `STOPPED` of a stale number too. Not while
/// some process holds the data: it may be a supervisor's, so it is named and left alone. Nor while
/// `start` is at work: the server it runs is stopped, as soon as its number is known.
pub fn stop(instance: &Instance) -> ExitCode {
    say("Stopping zookeeper ... ");
    let patience = Duration::from_millis(STOP_WAIT_MS_MAX);
    let (word, why) = match try_stop(instance, patience) {
        Ok(word) => (word, None),
        Err(Refusal { word, why }) => (word, Some(why)),
    };
    say(&format!("{word}\n"));
    for line in why.iter().flatten() {
        note(line);
    }
    if why.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The word for standard output; `patience` is with a `start` at work.
fn try_stop(instance: &Instance, patience: Duration) -> Result<String, Refusal> {
    let file = &instance.pid_file;
    let failed = |why| Refusal::new("FAILED TO STOP", why);
    let mut is_stopped = false;
    let turn = await_turn(file, patience, || match named(instance) {
        Occupant::Server(pid) if !is_stopped => {
            stop_server(instance, pid)?;
            is_stopped = true;
            Ok(true)
        }
        Occupant::Server(_) | Occupant::Stranger(..) | Occupant::Gone => Ok(false),
    });
    let turn = turn.map_err(failed)?;
    if turn.is_none() && !is_stopped {
        let word = format!("no zookeeper to stop (could not find file {})", file.display());
        return match instance.signs.holder() {
            None => Ok(word),
            Some(pid) => Err(Refusal::new(&word, elsewhere(instance, pid))),
        };
    }
    if !is_stopped {
        stop_named(instance).map_err(failed)?;
    }
    if let Some(pid) = instance.signs.holder() {
        return Err(failed(elsewhere(instance, pid)));
    }
    if turn.is_some()
        && let Err(error) = fs::remove_file(file)
    {
        note(&format!("{}: {error}", file.display()));
    }
    Ok("STOPPED".to_owned())
}

/// Who has the number in the pid file.
fn named(instance: &Instance) -> Occupant {
    let pid = read_pid(&instance.pid_file);
    pid.map_or(Occupant::Gone, |pid| instance.signs.occupant(pid))
}

/// Ends the process that the pid file names, if it is this server.
fn stop_named(instance: &Instance) -> Result<(), String> {
    let file = instance.pid_file.display();
    match named(instance) {
        Occupant::Gone => note(&format!("{file} is stale: its process is gone")),
        Occupant::Stranger(pid, line) => note(&format!(
            "{file} is stale: process {pid} is another one now ({line}) and was left alone"
        )),
        Occupant::Server(pid) => stop_server(instance, pid)?,
    }
    Ok(())
}

/// Ends the server.
fn stop_server(instance: &Instance, pid: Pid) -> Result<(), String> {
    let ended =
        end(instance, pid).map_err(|error| format!("cannot stop process {pid}: {error}"))?;
    if ended {
        return Ok(());
    }
    let seconds = STOP_WAIT_MS_MAX / 1000;
    Err(format!("process {pid} was told to stop and still runs after {seconds} s; see its log"))
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
    use std::io::Read as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::thread::{self, JoinHandle};

    use super::super::super::args::Start;
    use super::super::super::variables::Variables;
    use super::super::reservation::reserve;
    use super::super::write_pid;
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
            let Err(Refusal { why, .. }) = try_stop(&instance, Duration::MAX) else {
                panic!("{named:?}: stopped")
            };
            assert!(why[0].contains(&format!("process {own} holds")), "{named:?}: {why:?}");
            assert_eq!(stop(&instance), ExitCode::FAILURE, "{named:?}");
            assert_eq!(restart(&instance), ExitCode::FAILURE, "{named:?}");
            assert_eq!(start(&instance), ExitCode::FAILURE, "{named:?}");
            assert_eq!(instance.pid_file.exists(), named.is_some(), "as it was");
        }
        drop(held);
        assert_eq!(
            try_stop(&instance, Duration::MAX).ok().as_deref(),
            Some("STOPPED"),
            "it was stale"
        );
        assert!(!instance.pid_file.exists());
        assert_eq!(stop(&instance), ExitCode::SUCCESS, "there is none");
    }

    /// What passes for the server: it has its words by the time it is there, and ends when told to.
    fn server(instance: &Instance) -> Child {
        let mut command = Command::new("/bin/sh");
        command.arg0("zkserver").args(["-c", "echo runs; read line", "start-foreground"]);
        command.arg(instance.file.as_ref().unwrap()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
        child
    }

    /// A `stop` that waits for its turn at the pid file by now.
    fn waiting_stop(instance: &Instance) -> JoinHandle<Option<String>> {
        let inode = fs::metadata(&instance.pid_file).unwrap().ino();
        let this = instance.clone();
        let stopping = thread::spawn(move || try_stop(&this, Duration::MAX).ok());
        // 1: -> FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
        let is_waiter =
            |line: &str| line.contains("-> FLOCK") && line.contains(&format!(":{inode} "));
        while !fs::read_to_string("/proc/locks").unwrap().lines().any(is_waiter) {
            assert!(!stopping.is_finished(), "{:?} while a start is at work", stopping.join());
            thread::yield_now();
        }
        stopping
    }

    #[test]
    fn the_server_of_a_start_at_work_is_stopped_once_its_number_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let instance = instance(dir.path());
        let file = &instance.pid_file;
        for earlier in ["", "4194303"] {
            fs::write(file, earlier).unwrap();
            let start = reserve(file).ok().unwrap();
            let stopping = waiting_stop(&instance);
            assert!(file.exists(), "it is the start's");
            let mut child = server(&instance);
            write_pid(&start, &child, file).ok().unwrap();
            // As the start does, which then removes the file.
            let input = child.stdin.take();
            assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
            drop(input);
            assert!(!stopping.is_finished(), "the start is still at work");
            fs::remove_file(file).unwrap();
            drop(start);
            assert_eq!(stopping.join().unwrap().as_deref(), Some("STOPPED"), "{earlier:?}");
        }
    }

    #[test]
    fn a_start_that_ends_well_or_badly_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let instance = instance(dir.path());
        let file = &instance.pid_file;
        let start = reserve(file).ok().unwrap();
        let stopping = waiting_stop(&instance);
        fs::remove_file(file).unwrap();
        drop(start);
        let word = stopping.join().unwrap().unwrap();
        assert!(word.starts_with("no zookeeper to stop"), "{word}");

        let start = reserve(file).ok().unwrap();
        let stopping = waiting_stop(&instance);
        let mut child = server(&instance);
        write_pid(&start, &child, file).ok().unwrap();
        drop(start);
        assert_eq!(stopping.join().unwrap().as_deref(), Some("STOPPED"));
        assert!(child.try_wait().unwrap().is_some(), "it was ended");
        assert!(!file.exists());
    }

    #[test]
    fn a_start_that_takes_too_long_is_named_and_its_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let instance = instance(dir.path());
        let start = reserve(&instance.pid_file).ok().unwrap();
        let Err(refusal) = try_stop(&instance, Duration::ZERO) else { panic!("stopped") };
        assert_eq!(refusal.word, "FAILED TO STOP");
        assert!(refusal.why[0].contains("'zkserver start'"), "{:?}", refusal.why);
        assert!(instance.pid_file.exists());
        drop(start);
    }
}
