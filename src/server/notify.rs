//! What a service manager is told: the datagrams of `sd_notify(3)`, and the watchdog.
//!
//! Thread: control. In: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`. Out: datagrams, each sent
//! within a bound. Without `NOTIFY_SOCKET` it does nothing. `zkserver start` waits for its server
//! by the same datagrams. A manager that cannot be reached never stops the server.
//! INVARIANT: `READY=1` once and only after [`boot`](super::boot::boot) has returned, so while
//! clients are served or, in an ensemble, the election port listens.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use crate::ids::Millis;
use crate::limits::NOTIFY_WAIT_MS_MAX;
use crate::stage::control::Inquiry;
use crate::stage::queue::Sender;

/// Names the socket of whoever wants to know; also set by `zkserver start`.
pub const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";

/// Beats in the time the manager waits for one: two would do, four forgive a busy machine.
const BEATS_PER_TIMEOUT: u64 = 4;

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
    beat: Option<Duration>,
}

impl Notifier {
    /// Reads the environment; what is wrong with it is logged, and nobody is told anything then.
    pub fn from_environment() -> Self {
        let Ok(name) = env::var(SOCKET_VARIABLE) else { return Self::default() };
        let beat = beat(
            env::var("WATCHDOG_USEC").ok().as_deref(),
            env::var("WATCHDOG_PID").ok().as_deref(),
        );
        match open(&name) {
            Ok(manager) => Self { manager: Some(manager), beat },
            Err(error) => {
                tracing::warn!(socket = name, %error, "cannot notify the service manager");
                Self::default()
            }
        }
    }

    /// What the server is doing, for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={text}"));
    }

    /// The server has started.
    pub fn ready(&self, text: &str) {
        self.send(&format!("READY=1\nMAINPID={}\nSTATUS={text}", std::process::id()));
    }

    /// The server has begun to stop.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// The watchdog the manager wants, if any; its first beat is due at once.
    pub fn watchdog(&self) -> Option<Watchdog> {
        let beat = i64::try_from(self.beat?.as_millis()).unwrap_or(i64::MAX);
        Some(Watchdog { beat: Millis(beat.max(1)), next: Millis(0), asked: None })
    }

    fn send(&self, text: &str) {
        let Some((socket, manager)) = &self.manager else { return };
        if let Err(error) = socket.send_to_addr(text.as_bytes(), manager) {
            tracing::debug!(%error, text, "the service manager does not listen");
        }
    }
}

/// Tells the manager that the server lives, for as long as the zab thread answers.
///
/// Each beat sends `WATCHDOG=1` if the question of the beat before was answered, and asks anew: a
/// thread that is stuck is noticed one time-out after its last answer.
#[derive(Debug)]
pub struct Watchdog {
    beat: Millis,
    next: Millis,
    asked: Option<Receiver<()>>,
}

impl Watchdog {
    /// Beats if it is due; returns how long until the next beat.
    pub fn look(&mut self, now: Millis, zab: &Sender<Inquiry>, notifier: &Notifier) -> Duration {
        if self.next <= now {
            self.next = Millis(now.0.saturating_add(self.beat.0));
            if self.was_answered() {
                notifier.send("WATCHDOG=1");
                self.ask(zab);
            }
        }
        Duration::from_millis((self.next.0 - now.0).unsigned_abs())
    }

    /// At the first beat nothing was asked yet; a thread that has gone is as good as stuck.
    fn was_answered(&self) -> bool {
        match self.asked.as_ref().map(Receiver::try_recv) {
            None | Some(Ok(())) => true,
            Some(Err(TryRecvError::Empty | TryRecvError::Disconnected)) => false,
        }
    }

    /// A full queue is a question that is not answered.
    fn ask(&mut self, zab: &Sender<Inquiry>) {
        let (answer, answered) = sync_channel(1);
        let _ = zab.push(Inquiry::Alive(answer));
        zab.ring();
        self.asked = Some(answered);
    }
}

/// COMPAT: `sd_watchdog_enabled(3)`: nothing for another process's watchdog, nothing for 0.
fn beat(micros: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(std::process::id())) {
        return None;
    }
    let micros: u64 = micros?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros / BEATS_PER_TIMEOUT))
}

/// The address behind a value of `NOTIFY_SOCKET`: a path, or after `@` an abstract name.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None if name.starts_with('/') => SocketAddr::from_pathname(name),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "neither an absolute path nor an abstract name (@...)",
        )),
    }
}

fn open(name: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let manager = address(name)?;
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(Duration::from_millis(NOTIFY_WAIT_MS_MAX)))?;
    Ok((socket, manager))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stage::queue::{Bell, ParkBell, bounded};

    /// A manager, and a notifier that speaks to it.
    fn pair(name: &str) -> (UnixDatagram, Notifier) {
        let manager = UnixDatagram::bind_addr(&address(name).unwrap()).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let notifier = Notifier { manager: Some(open(name).unwrap()), beat: None };
        (manager, notifier)
    }

    fn next(manager: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let count = manager.recv(&mut bytes).expect("a datagram");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    #[test]
    fn both_kinds_of_sockets_hear_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify").display().to_string();
        for name in [path, format!("@ringkeeper-notify-test-{}", std::process::id())] {
            let (manager, notifier) = pair(&name);
            notifier.ready("serving");
            let expected = format!("READY=1\nMAINPID={}\nSTATUS=serving", std::process::id());
            assert_eq!(next(&manager), expected, "{name}");
            notifier.stopping();
            assert_eq!(next(&manager), "STOPPING=1\nSTATUS=stopping", "{name}");
        }
        assert!(address("relative").is_err() && address("vsock:2:1").is_err());
    }

    #[test]
    fn a_manager_that_has_gone_costs_nothing() {
        let name = format!("@ringkeeper-gone-{}", std::process::id());
        let (manager, notifier) = pair(&name);
        drop(manager);
        notifier.ready("serving");
        Notifier::default().status("nobody asked");
    }

    #[test]
    fn the_watchdog_beats_while_the_zab_thread_answers() {
        let (manager, notifier) = pair(&format!("@ringkeeper-dog-{}", std::process::id()));
        let bell = Arc::new(ParkBell::default()) as Arc<dyn Bell>;
        let (zab, questions) = bounded(4, bell);
        let mut dog = Watchdog { beat: Millis(100), next: Millis(0), asked: None };
        assert_eq!(dog.look(Millis(10), &zab, &notifier), Duration::from_millis(100));
        assert_eq!(next(&manager), "WATCHDOG=1");
        assert_eq!(dog.look(Millis(60), &zab, &notifier), Duration::from_millis(50), "not due");
        let Some(Inquiry::Alive(answer)) = questions.pop() else { panic!("it asks") };
        answer.try_send(()).unwrap();
        dog.look(Millis(110), &zab, &notifier);
        assert_eq!(next(&manager), "WATCHDOG=1");
        let stuck = questions.pop();
        dog.look(Millis(210), &zab, &notifier);
        dog.look(Millis(310), &zab, &notifier);
        manager.set_nonblocking(true).unwrap();
        assert!(manager.recv(&mut [0; 16]).is_err(), "a stuck thread is not vouched for");
        let Some(Inquiry::Alive(answer)) = stuck else { panic!("it asked once more") };
        answer.try_send(()).unwrap();
        dog.look(Millis(410), &zab, &notifier);
        assert_eq!(next(&manager), "WATCHDOG=1", "it was only slow");
    }

    #[test]
    fn the_beat_is_a_share_of_the_time_out() {
        let own = std::process::id().to_string();
        let cases = [
            (Some("8000000"), None, Some(2000)),
            (Some("8000000"), Some(own.as_str()), Some(2000)),
            (Some("8000000"), Some("1"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
            (None, None, None),
        ];
        for (micros, pid, expected) in cases {
            assert_eq!(
                beat(micros, pid),
                expected.map(Duration::from_millis),
                "{micros:?} {pid:?}"
            );
        }
    }
}
