//! Servers as child processes: started on a free port in a folder of their own, waited for by what
//! they answer, stopped by their pid.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ringkeeper::clock::Clock;
use rustix::fs::statvfs;
use rustix::process::{Pid, Signal, kill_process};

/// More than any test writes to its scratch folder.
const SCRATCH_BYTES_MIN: u64 = 4 << 30;

/// How long a server may take to start or to stop.
const LIFE_PATIENCE: Duration = Duration::from_mins(1);

/// Looks at `done` until it holds; false when `patience` is over.
pub fn wait_for(patience: Duration, done: impl FnMut() -> bool) -> bool {
    wait_for_every(Duration::from_millis(3), patience, done)
}

/// The same, with a pause of `pause` between two looks, for looks that cost something.
#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition")]
pub fn wait_for_every(pause: Duration, patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let clock = Clock::start();
    loop {
        if done() {
            return true;
        }
        if clock.elapsed() > patience {
            return false;
        }
        std::thread::sleep(pause);
    }
}

/// A TCP port that nobody has, and below those that the kernel gives to whoever asks for any: no
/// client can have it when a server comes back to it.
pub fn free_port() -> u16 {
    static TRIED: AtomicUsize = AtomicUsize::new(0);
    const PORTS: Range<u16> = 10_000..32_000;
    // Processes of tests that run side by side begin at different places.
    let start = std::process::id() as usize * 997;
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let next = || {
        let place = start + TRIED.fetch_add(1, Ordering::Relaxed);
        PORTS.clone().nth(place % PORTS.len())
    };
    std::iter::repeat_with(next).take(PORTS.len()).flatten().find(is_free).expect("a free port")
}

/// Copies a folder with all that is in it.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// What to start.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    /// For messages: `ringkeeper`, `java39`, `java38`.
    pub name: String,
    /// Program and leading arguments.
    pub command: Vec<String>,
    /// `-Dname=value` arguments.
    pub properties: Vec<String>,
    /// Lines of zoo.cfg besides ports and folders.
    pub config: Vec<String>,
}

impl ServerSpec {
    /// `ringkeeper`, `java39`, `java38`, or a command line of the same shape.
    pub fn named(name: &str) -> Self {
        let repo = env!("CARGO_MANIFEST_DIR");
        let command = match name {
            "ringkeeper" => vec![
                std::env::var("ZKSERVER")
                    .unwrap_or_else(|_| format!("{repo}/target/release/zkserver")),
                "start-foreground".to_owned(),
            ],
            "java39" | "java38" => vec![format!("{repo}/tests/servers/{name}")],
            command => command.split_whitespace().map(str::to_owned).collect(),
        };
        Self { name: name.to_owned(), command, properties: Vec::new(), config: Vec::new() }
    }

    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push(format!("-D{name}={value}"));
        self
    }

    #[must_use]
    pub fn config(mut self, line: &str) -> Self {
        self.config.push(line.to_owned());
        self
    }
}

/// A running (or stopped) server and its folder.
#[derive(Debug)]
pub struct Server {
    pub spec: ServerSpec,
    pub address: SocketAddr,
    /// Holds zoo.cfg, the log and, unless the spec says otherwise, the data.
    pub dir: PathBuf,
    pub data: PathBuf,
    child: Option<Child>,
    starts: u32,
}

impl Server {
    /// Starts `spec` with its data in `dir/data`, and waits until it serves.
    pub fn start(spec: ServerSpec, dir: &Path) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut server = Self::prepare(spec, dir, address)?;
        server.launch()?;
        Ok(server)
    }

    /// Makes the folders and zoo.cfg, and starts nothing.
    pub fn prepare(spec: ServerSpec, dir: &Path, address: SocketAddr) -> io::Result<Self> {
        let data = dir.join("data");
        fs::create_dir_all(&data)?;
        let server = Self { spec, address, dir: dir.to_owned(), data, child: None, starts: 0 };
        server.write_config()?;
        Ok(server)
    }

    fn write_config(&self) -> io::Result<()> {
        let mut file = File::create(self.dir.join("zoo.cfg"))?;
        let defaults = [
            ("tickTime", "2000"),
            ("maxClientCnxns", "0"),
            ("admin.enableServer", "false"),
            ("4lw.commands.whitelist", "*"),
        ];
        for (key, value) in defaults {
            if !self.spec.config.iter().any(|line| line.starts_with(&format!("{key}="))) {
                writeln!(file, "{key}={value}")?;
            }
        }
        writeln!(file, "dataDir={}", self.data.display())?;
        let (ip, port) = (self.address.ip(), self.address.port());
        writeln!(file, "clientPortAddress={ip}\nclientPort={port}")?;
        for line in &self.spec.config {
            writeln!(file, "{line}")?;
        }
        Ok(())
    }

    /// Starts the process without waiting.
    pub fn spawn(&mut self) -> io::Result<()> {
        self.starts += 1;
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let child = Command::new(&self.spec.command[0])
            .args(&self.spec.command[1..])
            .args(&self.spec.properties)
            .arg(self.dir.join("zoo.cfg"))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts the process and waits until it serves.
    pub fn launch(&mut self) -> io::Result<()> {
        self.spawn()?;
        let mut exit = None;
        let served = wait_for(LIFE_PATIENCE, || {
            exit = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            exit.is_some() || self.word("srvr").is_ok_and(|text| text.contains("Mode: "))
        });
        if !served || exit.is_some() {
            let why = format!(
                "{} did not start ({exit:?}); the end of {}:\n{}",
                self.spec.name,
                self.log_path().display(),
                self.log_tail(60)
            );
            return Err(io::Error::other(why));
        }
        Ok(())
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// Whether the process has ended by itself.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    fn signal(&mut self, signal: Signal) -> io::Result<ExitStatus> {
        let Some(mut child) = self.child.take() else {
            return Err(io::Error::other("the server is not running"));
        };
        let pid = Pid::from_child(&child);
        kill_process(pid, signal)?;
        let ended = wait_for(LIFE_PATIENCE, || !matches!(child.try_wait(), Ok(None)));
        if !ended {
            child.kill()?;
        }
        let status = child.wait()?;
        if ended { Ok(status) } else { Err(io::Error::other("the server did not stop in time")) }
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> io::Result<ExitStatus> {
        let status = self.signal(Signal::TERM)?;
        if self.log().contains("not everything stopped in time") {
            return Err(io::Error::other("a thread did not hear of the end"));
        }
        Ok(status)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL)
    }

    /// `SIGSTOP`: it stands still, its sockets stay open.
    pub fn pause(&self) -> io::Result<()> {
        Ok(kill_process(self.process().ok_or(io::ErrorKind::NotFound)?, Signal::STOP)?)
    }

    /// `SIGCONT`.
    pub fn resume(&self) -> io::Result<()> {
        Ok(kill_process(self.process().ok_or(io::ErrorKind::NotFound)?, Signal::CONT)?)
    }

    fn process(&self) -> Option<Pid> {
        self.child.as_ref().map(Pid::from_child)
    }

    /// Whether it was started and not stopped by us since.
    pub const fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// Sends a four-letter word, returns the answer.
    pub fn word(&self, word: &str) -> io::Result<String> {
        self.word_within(word, Duration::from_secs(5))
    }

    /// The same, with less patience.
    pub fn word_within(&self, word: &str, patience: Duration) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(word.as_bytes())?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A scratch folder: in memory where the machine has enough of that, unless `on_disk`.
pub fn scratch(name: &str, on_disk: bool) -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    // A container has 64 MB of it as a rule.
    let is_large =
        || statvfs(memory).is_ok_and(|it| it.f_bavail * it.f_frsize >= SCRATCH_BYTES_MIN);
    let base = if !on_disk && is_large() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new()
        .prefix(&format!("ringkeeper-{name}-"))
        .tempdir_in(base)
        .expect("a scratch folder")
}
