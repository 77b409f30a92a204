//! What a service manager is told: the datagrams of `sd_notify(3)`, and the watchdog.
//!
//! Thread: control. In: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`. Out: datagrams, each sent
//! within a bound. Without `NOTIFY_SOCKET` it does nothing. `zkserver start` waits for its server
//! by the same datagrams. A manager that cannot be reached never stops the server.
//! INVARIANT: `READY=1` once, and only when the zab thread has said which mode the server is in: so
//! clients are served or, in an ensemble, the election port listens.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
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

/// How often the zab thread is asked whether the server can be reached, at its start.
const READY_LOOK: Millis = Millis(20);
/// Further than any clock goes.
const NEVER: Millis = Millis(i64::MAX);

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    manager: Option<(UnixDatagram, UnixAddress)>,
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

    fn ready(&self, text: &str) {
        self.send(&format!("READY=1\nMAINPID={}\nSTATUS={text}", std::process::id()));
    }

    /// The server has begun to stop.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// What tells the manager that the server is ready and lives; `None` if nobody wants to know.
    pub fn pulse(&self, address: Option<SocketAddr>) -> Option<Pulse> {
        self.manager.as_ref()?;
        let beat =
            self.beat.map(|beat| Millis(i64::try_from(beat.as_millis()).unwrap_or(i64::MAX)));
        let status = address.map_or_else(
            || "no client can connect".to_owned(),
            |address| format!("clients connect to {address}"),
        );
        Some(Pulse { beat, status, mode: None, next: Millis(0), asked: None })
    }

    fn send(&self, text: &str) {
        let Some((socket, manager)) = &self.manager else { return };
        if let Err(error) = socket.send_to_addr(text.as_bytes(), manager) {
            tracing::debug!(%error, text, "the service manager does not listen");
        }
    }
}

/// Tells the manager that the server is ready, and from then on that it lives: each beat sends
/// `WATCHDOG=1` if the zab thread has answered the question of the beat before. A thread that is
/// stuck is noticed one time-out after its last answer.
#[derive(Debug)]
pub struct Pulse {
    /// `None` without a watchdog: then the pulse ends with readiness.
    beat: Option<Millis>,
    status: String,
    /// What the manager was last told; `None` before it was told that the server is ready.
    mode: Option<&'static str>,
    next: Millis,
    asked: Option<Receiver<Option<&'static str>>>,
}

impl Pulse {
    /// Beats if it is due; returns how long until the next beat.
    pub fn look(&mut self, now: Millis, zab: &Sender<Inquiry>, notifier: &Notifier) -> Duration {
        if self.next <= now {
            match self.asked.as_ref().map(Receiver::try_recv) {
                Some(Ok(mode)) => {
                    self.on_answer(mode, notifier);
                    self.ask(zab);
                }
                // At first; or the zab thread's queue was full, and the question lost.
                None | Some(Err(TryRecvError::Disconnected)) => self.ask(zab),
                Some(Err(TryRecvError::Empty)) => {}
            }
            self.next = Millis(now.0.saturating_add(self.pause().0));
        }
        Duration::from_millis((self.next.0 - now.0).unsigned_abs())
    }

    fn on_answer(&mut self, mode: Option<&'static str>, notifier: &Notifier) {
        let Some(mode) = mode else { return };
        let text = format!("{mode}; {}", self.status);
        match self.mode.replace(mode) {
            None => return notifier.ready(&text),
            Some(told) if told == mode => {}
            Some(_) => notifier.status(&text),
        }
        if self.beat.is_some() {
            notifier.send("WATCHDOG=1");
        }
    }

    fn pause(&self) -> Millis {
        match (self.mode, self.beat) {
            (None, _) => READY_LOOK,
            (Some(_), Some(beat)) => beat,
            (Some(_), None) => NEVER,
        }
    }

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
fn address(name: &str) -> io::Result<UnixAddress> {
    match name.strip_prefix('@') {
        Some(name) => UnixAddress::from_abstract_name(name),
        None if name.starts_with('/') => UnixAddress::from_pathname(name),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "neither an absolute path nor an abstract name (@...)",
        )),
    }
}

fn open(name: &str) -> io::Result<(UnixDatagram, UnixAddress)> {
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

    /// A pulse with its manager and its zab thread, which this test plays.
    struct Scene {
        manager: UnixDatagram,
        notifier: Notifier,
        pulse: Pulse,
        zab: Sender<Inquiry>,
        questions: crate::stage::queue::Receiver<Inquiry>,
    }

    impl Scene {
        fn new(name: &str, beat: Option<u64>) -> Self {
            let (manager, mut notifier) =
                pair(&format!("@ringkeeper-{name}-{}", std::process::id()));
            notifier.beat = beat.map(Duration::from_millis);
            let pulse = notifier.pulse(Some(([127, 0, 0, 1], 2181).into())).expect("it is wanted");
            manager.set_nonblocking(true).unwrap();
            let (zab, questions) = bounded(4, Arc::new(ParkBell::default()) as Arc<dyn Bell>);
            Self { manager, notifier, pulse, zab, questions }
        }

        fn look(&mut self, now: i64) -> Duration {
            self.pulse.look(Millis(now), &self.zab, &self.notifier)
        }

        fn answer(&mut self, mode: Option<&'static str>) {
            let Some(Inquiry::Alive(answer)) = self.questions.pop() else { panic!("it asks") };
            answer.try_send(mode).expect("it waits for the answer");
        }

        fn heard(&self) -> Vec<String> {
            let mut bytes = [0; 512];
            let next = || self.manager.recv(&mut bytes).ok().map(|count| bytes[..count].to_vec());
            let texts = std::iter::from_fn(next);
            texts.map(|text| String::from_utf8_lossy(&text).into_owned()).collect()
        }
    }

    #[test]
    fn ready_once_the_zab_thread_says_so() {
        let mut scene = Scene::new("ready", None);
        assert_eq!(scene.look(10), Duration::from_millis(20));
        scene.look(30);
        scene.answer(None); // its election port is not bound yet
        scene.look(50);
        assert_eq!(scene.heard(), [""; 0]);
        scene.answer(Some("looking"));
        assert!(scene.look(70) > Duration::from_hours(24), "without a watchdog that was all");
        let heard = scene.heard();
        assert!(heard[0].starts_with("READY=1\n"), "{heard:?}");
        assert!(heard[0].ends_with("\nSTATUS=looking; clients connect to 127.0.0.1:2181"));
        assert_eq!(heard.len(), 1);
    }

    #[test]
    fn the_watchdog_beats_while_the_zab_thread_answers() {
        let mut scene = Scene::new("dog", Some(100));
        scene.look(0);
        scene.answer(Some("looking"));
        assert_eq!(scene.look(20), Duration::from_millis(100));
        scene.heard();
        scene.answer(Some("following"));
        assert_eq!(scene.look(60), Duration::from_millis(60), "not due");
        scene.look(120);
        assert_eq!(
            scene.heard(),
            ["STATUS=following; clients connect to 127.0.0.1:2181", "WATCHDOG=1"]
        );
        scene.answer(Some("following"));
        scene.look(220);
        assert_eq!(scene.heard(), ["WATCHDOG=1"]);
        scene.look(320);
        scene.look(420);
        assert_eq!(scene.heard(), [""; 0], "a stuck thread is not vouched for");
        scene.answer(Some("following"));
        scene.look(520);
        assert_eq!(scene.heard(), ["WATCHDOG=1"], "it was only slow");
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
