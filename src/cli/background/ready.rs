//! How `start` hears from the server it started.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use super::super::note;
use crate::clock::Clock;
use crate::limits::START_WAIT_MS_MAX;

/// How often the server is looked at while it says nothing.
const LOOK: Duration = Duration::from_millis(50);
/// After this long a person is told what is being waited for.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// What became of a server that was started.
#[derive(Debug)]
pub(super) enum Awaited {
    /// It serves.
    Ready,
    /// It has ended.
    Ended(ExitStatus),
    /// It runs, and is at this.
    NotYet(String),
}

/// A socket for the datagrams of one server.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixDatagram,
    name: String,
}

impl Listener {
    /// Opens a socket without a file, under a name nobody guesses.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open() -> io::Result<Self> {
        let random = RandomState::new().hash_one(std::process::id());
        let name = format!("ringkeeper-start-{}-{random:x}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        socket.set_read_timeout(Some(LOOK))?;
        Ok(Self { socket, name })
    }

    /// What the server finds in its environment.
    pub(super) fn name(&self) -> String {
        format!("@{}", self.name)
    }

    /// Waits until the server serves or has ended, within a bound; `log` is for the person who
    /// waits too.
    pub(super) fn wait(&self, server: &mut Child, log: &Path) -> Awaited {
        let clock = Clock::start();
        let patience = Duration::from_millis(START_WAIT_MS_MAX);
        let (mut doing, mut told) = ("starting".to_owned(), false);
        while clock.elapsed() < patience {
            for line in self.heard().lines() {
                match line.split_once('=') {
                    Some(("READY", "1")) => return Awaited::Ready,
                    Some(("STATUS", text)) => text.clone_into(&mut doing),
                    Some(_) | None => {}
                }
            }
            if let Ok(Some(status)) = server.try_wait() {
                return Awaited::Ended(status);
            }
            if !told && clock.elapsed() > SILENCE_MAX {
                told = true;
                note(&format!("waiting for it to serve; it is {doing}; see {}", log.display()));
            }
        }
        Awaited::NotYet(doing)
    }

    /// The next datagram, or nothing after a look's time.
    fn heard(&self) -> String {
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }
}
