//! The pid file as `start` and `stop` share it: whoever has its lock is at work on the server.
//!
//! `start` has the lock before it runs a server and until that serves, so an empty file is no stale
//! one: its number is yet to come. `stop` has it while it removes the file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::{Refusal, make_parent};
use crate::clock::Clock;

/// How often the file is looked at while another call has it.
const LOOK: Duration = Duration::from_millis(20);

/// Opens the pid file and keeps other calls out for as long as it is open.
pub(super) fn reserve(file: &Path) -> Result<File, Refusal> {
    let failed = |why: String| Refusal::new("FAILED TO WRITE PID", why);
    let opened = make_parent(file)
        .and_then(|()| OpenOptions::new().create(true).truncate(false).write(true).open(file));
    let open = opened.map_err(|error| failed(format!("{}: {error}", file.display())))?;
    let taken = |why: &str| {
        let file = file.display();
        failed(format!("{file}: another 'zkserver start' or 'stop' is at work on it ({why})"))
    };
    open.try_lock().map_err(|error| taken(&error.to_string()))?;
    if is_at(&open, file) { Ok(open) } else { Err(taken("it was removed")) }
}

/// Opens the pid file as soon as no other call has it, and keeps others out; `None` if there is no
/// such file, or whoever had it removed it.
///
/// `look` runs now and then while another call has it. What it does may take its time: the wait
/// starts anew when it says that it did something.
///
/// # Errors
/// Those of `look`; or that the other call had it for too long.
pub(super) fn await_turn(
    file: &Path,
    patience: Duration,
    mut look: impl FnMut() -> Result<bool, String>,
) -> Result<Option<File>, String> {
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    let open = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    match open.try_lock() {
        Err(TryLockError::WouldBlock) => {}
        // Where nothing can be locked no `start` of ours has been.
        Ok(()) | Err(TryLockError::Error(_)) => return Ok(is_at(&open, file).then_some(open)),
    }
    let (sender, locked) = channel();
    let waiting = open.try_clone().map_err(failed)?;
    thread::spawn(move || sender.send(waiting.lock()));
    let mut clock = Clock::start();
    loop {
        match locked.recv_timeout(LOOK) {
            Ok(result) => {
                result.map_err(failed)?;
                return Ok(is_at(&open, file).then_some(open));
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if look()? {
            clock = Clock::start();
        } else if clock.elapsed() >= patience {
            return Err(format!(
                "{}: another 'zkserver start' or 'stop' is still at work on it after {} s; try again",
                file.display(),
                patience.as_secs()
            ));
        }
    }
}

/// Whether the file is the one that has this name now.
fn is_at(open: &File, file: &Path) -> bool {
    let place = |about: fs::Metadata| (about.dev(), about.ino());
    let (open, named) = (open.metadata().map(place), fs::metadata(file).map(place));
    open.is_ok_and(|open| named.is_ok_and(|named| open == named))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> Result<bool, String> {
        panic!("nobody has the file")
    }

    #[test]
    fn one_call_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sub/server.pid");
        assert!(await_turn(&file, Duration::ZERO, never).unwrap().is_none(), "no file");
        let first = reserve(&file).ok().expect("nobody else");
        let Err(second) = reserve(&file) else { panic!("reserved twice") };
        assert_eq!(second.word, "FAILED TO WRITE PID");
        let why = await_turn(&file, Duration::ZERO, || Ok(false)).unwrap_err();
        assert!(why.contains("'zkserver start'"), "{why}");
        let why = await_turn(&file, Duration::MAX, || Err("no".to_owned())).unwrap_err();
        assert_eq!(why, "no");
        drop(first);
        let turn = await_turn(&file, Duration::MAX, || Ok(false)).unwrap();
        assert!(turn.is_some() && reserve(&file).is_err(), "a stop keeps a start out");
        drop(turn);
        // A child that another test starts has the file, too, until it runs its own program.
        while reserve(&file).is_err() {
            thread::yield_now();
        }
    }

    #[test]
    fn a_file_that_was_removed_is_nobodys_turn() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.pid");
        let mut first = reserve(&file).ok();
        let turn = await_turn(&file, Duration::MAX, || {
            if let Some(open) = first.take() {
                assert!(is_at(&open, &file));
                fs::remove_file(&file).unwrap();
                assert!(!is_at(&open, &file), "no file");
                fs::write(&file, "").unwrap();
                assert!(!is_at(&open, &file), "another file");
            }
            Ok(false)
        });
        assert!(turn.unwrap().is_none());
    }
}
