//! A server in the background: `start` and `print-cmd` here, `stop` and `restart` below.
//!
//! `start` runs this same program again, which leaves the terminal's session by itself, and hears
//! from it as a service manager would: [`Notifier`](crate::server::notify::Notifier)'s datagrams
//! say when it serves. All waits are bounded.

mod ready;
mod reservation;
mod stop;

pub use stop::{restart, stop};

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use ready::{Awaited, Listener};
use reservation::reserve;
use rustix::process::Pid;

use super::instance::Instance;
use super::occupant::{Occupant, read_pid};
use super::{note, say};
use crate::server::notify::SOCKET_VARIABLE;

/// Bytes of the log's end that are searched for the reason a server did not start.
const LOG_TAIL_BYTES: u64 = 16 << 10;

/// Starts the server and waits until it serves or, in an ensemble, until its election port listens.
pub fn start(instance: &Instance) -> ExitCode {
    say("Starting zookeeper ... ");
    match try_start(instance) {
        Ok(word) => {
            say(&format!("{word}\n"));
            note(&format!("Logging to: {}", instance.log_file.display()));
            ExitCode::SUCCESS
        }
        Err(Refusal { word, why }) => {
            say(&format!("{word}\n"));
            for line in why {
                note(&line);
            }
            ExitCode::FAILURE
        }
    }
}

/// Why a server was not started: the script's word for it, and what we know besides.
struct Refusal {
    word: String,
    why: Vec<String>,
}

impl Refusal {
    fn new(word: &str, why: String) -> Self {
        Self { word: word.to_owned(), why: vec![why] }
    }

    fn running(pid: Pid, why: Vec<String>) -> Self {
        Self { word: format!("already running as process {pid}."), why }
    }
}

fn try_start(instance: &Instance) -> Result<&'static str, Refusal> {
    refuse_second(instance)?;
    let failed = |error: io::Error, file: &Path| {
        Refusal::new("FAILED TO START", format!("{}: {error}", file.display()))
    };
    let log_file = &instance.log_file;
    let mut log = open_log(log_file).map_err(|error| failed(error, log_file))?;
    let log_start = log.seek(SeekFrom::End(0)).map_err(|error| failed(error, log_file))?;
    let pid_file = reserve(&instance.pid_file)?;
    let mut child = match launch(instance, log) {
        Ok(launched) => launched,
        Err(error) => {
            let _ = fs::remove_file(&instance.pid_file); // empty: it would only puzzle
            return Err(Refusal::new("SERVER DID NOT START", error.to_string()));
        }
    };
    let started = write_pid(&pid_file, &child.process, &instance.pid_file)
        .and_then(|()| wait_until_ready(instance, &mut child, log_start));
    if started.is_err() {
        let _ = child.process.kill(); // it has ended, unless its number could not be written
        let _ = child.process.wait();
        let _ = fs::remove_file(&instance.pid_file); // the number of nobody
    }
    started
}

/// One server for a data directory, however the other was started.
fn refuse_second(instance: &Instance) -> Result<(), Refusal> {
    if let Some(pid) = read_pid(&instance.pid_file) {
        match instance.signs.occupant(pid) {
            Occupant::Server(pid) => return Err(Refusal::running(pid, Vec::new())),
            Occupant::Gone => {}
            Occupant::Stranger(pid, line) => note(&format!(
                "{} is stale: process {pid} is another one now ({line})",
                instance.pid_file.display()
            )),
        }
    }
    match instance.signs.holder() {
        None => Ok(()),
        Some(pid) => Err(Refusal::running(pid, vec![elsewhere(instance, pid)])),
    }
}

fn elsewhere(instance: &Instance, pid: Pid) -> String {
    format!(
        "process {pid} holds {}, and '{}' does not name it: it runs on. Stop it where it was \
         started (systemctl stop ...), or with: kill {pid}",
        instance.config.storage.data_dir.display(),
        instance.pid_file.display()
    )
}

fn open_log(file: &Path) -> io::Result<File> {
    make_parent(file)?;
    OpenOptions::new().create(true).append(true).open(file)
}

fn make_parent(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)
}

/// COMPAT: the number alone, without a line's end.
fn write_pid(mut open: &File, child: &Child, file: &Path) -> Result<(), Refusal> {
    let written = open.set_len(0).and_then(|()| write!(open, "{}", child.id()));
    written.map_err(|error| {
        Refusal::new("FAILED TO WRITE PID", format!("{}: {error}", file.display()))
    })
}

/// A server that was started, and where it tells how it gets on.
struct Launched {
    process: Child,
    listener: Listener,
}

fn launch(instance: &Instance, log: File) -> io::Result<Launched> {
    let listener = Listener::open()?;
    let process = Command::new(std::env::current_exe()?)
        .args(arguments(instance, true))
        .env(SOCKET_VARIABLE, listener.name())
        .env_remove("WATCHDOG_USEC") // a manager of ours watches us, not it
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok(Launched { process, listener })
}

fn arguments(instance: &Instance, detached: bool) -> Vec<String> {
    let mut words = vec!["start-foreground".to_owned()];
    words.extend(detached.then(|| "--detached".to_owned()));
    words.extend(instance.properties.iter().map(|(name, value)| format!("-D{name}={value}")));
    words.extend(instance.file.as_ref().map(|file| file.display().to_string()));
    words
}

fn wait_until_ready(
    instance: &Instance,
    child: &mut Launched,
    log_start: u64,
) -> Result<&'static str, Refusal> {
    let Launched { process, listener } = child;
    match listener.wait(process, &instance.log_file) {
        Awaited::Ready => Ok("STARTED"),
        Awaited::Ended(status) => Err(ended(instance, status, log_start)),
        Awaited::NotYet(doing) => {
            let log = instance.log_file.display();
            note(&format!("it runs but does not serve yet ({doing}); watch {log}"));
            Ok("STARTED")
        }
    }
}

fn ended(instance: &Instance, status: ExitStatus, log_start: u64) -> Refusal {
    let log = instance.log_file.display();
    let end = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    };
    let why = last_words(&instance.log_file, log_start)
        .unwrap_or_else(|| format!("the server ended with {end}"));
    let more = format!("all of its log: {log}");
    Refusal { word: "FAILED TO START".to_owned(), why: vec![why, more] }
}

/// The last line the server logged since `start`: it says why it ended.
fn last_words(log: &Path, start: u64) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let end = file.seek(SeekFrom::End(0)).ok()?;
    file.seek(SeekFrom::Start(start.max(end.saturating_sub(LOG_TAIL_BYTES)))).ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
}

/// Prints what `start` runs, for a shell.
pub fn print_command(instance: &Instance) -> ExitCode {
    let program = std::env::current_exe().map(|path| path.display().to_string());
    let mut words = vec![program.unwrap_or_else(|_| "zkserver".to_owned())];
    words.extend(arguments(instance, false));
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let log = quoted(&instance.log_file.display().to_string());
    say(&format!("{} >> {log} 2>&1 < /dev/null\n", words.join(" ")));
    ExitCode::SUCCESS
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        let cases = [("/a/zoo.cfg", "/a/zoo.cfg"), ("a b", "'a b'"), ("it's", r"'it'\''s'")];
        for (word, expected) in cases {
            assert_eq!(quoted(word), expected);
        }
        assert_eq!(quoted("-Dx=*"), "'-Dx=*'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn the_last_words_are_of_this_start() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "an old failure\n").unwrap();
        assert_eq!(last_words(&log, 15), None);
        fs::write(&log, "an old failure\nnew\nzkserver: why\n\n").unwrap();
        assert_eq!(last_words(&log, 15).as_deref(), Some("zkserver: why"));
        assert_eq!(last_words(&dir.path().join("none"), 0), None);
    }
}
