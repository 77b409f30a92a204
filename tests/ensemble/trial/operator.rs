//! Servers as an operator runs them: `zkserver start`, `status` and `stop`, each on its machine.
//!
//! Java's in the same place are run as everywhere else: Debian has the scripts of 3.8 alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::node::said;
use crate::cluster::{Cluster, Node, Role};
use crate::support::wait_for_every;

/// How long anything may take that an operator waits for.
pub const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A cluster in the hands of an operator. Dropped, none of its servers runs on.
pub struct Operator<'a> {
    pub cluster: &'a mut Cluster,
}

impl Operator<'_> {
    /// `zkserver start`.
    pub fn start(&mut self, at: usize) -> Result<(), String> {
        let node = &self.cluster.nodes[at];
        if node.kind.program.is_java() {
            return self.cluster.spawn(at);
        }
        expect(&verb(node, "start")?, "Starting zookeeper ... STARTED")
    }

    /// `zkserver stop`.
    pub fn stop(&mut self, at: usize) -> Result<(), String> {
        let node = &self.cluster.nodes[at];
        if node.kind.program.is_java() {
            return self.cluster.stop(at);
        }
        expect(&verb(node, "stop")?, "Stopping zookeeper ... STOPPED")
    }

    /// The mode that `zkserver status` tells, once a server serves.
    pub fn mode(&self, at: usize) -> Option<Role> {
        let node = &self.cluster.nodes[at];
        if node.kind.program.is_java() {
            return node.role();
        }
        verb(node, "status").ok().and_then(|text| Role::told(&text))
    }

    /// Waits until the first servers tell these modes.
    pub fn expect_modes(&self, expected: &[Role]) -> Result<(), String> {
        let mut modes = Vec::new();
        let told = wait_for_every(LOOK_EVERY, PATIENCE, || {
            modes = (0..expected.len()).map(|at| self.mode(at)).collect();
            modes.iter().zip(expected).all(|(mode, expected)| *mode == Some(*expected))
        });
        if told {
            return Ok(());
        }
        let log = self.cluster.nodes[0].server.log_tail(20);
        Err(format!("the modes are {modes:?}, not {expected:?}; node 1's log ends:\n{log}"))
    }

    /// The first line of a server's log, behind its first `from` bytes, that has all the words.
    pub fn line(&self, at: usize, from: usize, words: &[&str]) -> Result<String, String> {
        let node = &self.cluster.nodes[at];
        let mut found = None;
        wait_for_every(LOOK_EVERY, PATIENCE, || {
            let log = node.server.log();
            let mut lines = log.get(from..).unwrap_or_default().lines();
            let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
            found = lines.find(has_all).map(str::to_owned);
            found.is_some()
        });
        let label = node.label();
        found.ok_or_else(|| format!("{label} does not say {words:?}: {}", node.server.log_tail(20)))
    }
}

impl Drop for Operator<'_> {
    fn drop(&mut self) {
        for node in &self.cluster.nodes {
            if let Some(pid) = running(&node.server.dir, &node.server.data) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// The process that `start` has left behind, if it is still the server of this folder.
fn running(dir: &Path, data: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(data.join("zookeeper_server.pid")).ok()?;
    let command = std::fs::read(PathBuf::from("/proc").join(&text).join("cmdline")).ok()?;
    let folder = dir.to_string_lossy().into_owned();
    String::from_utf8_lossy(&command).contains(&folder).then_some(())?;
    Pid::from_raw(text.parse().ok()?)
}

/// Says a word of `zkServer.sh` where the server lives; its output if it succeeds.
fn verb(node: &Node, word: &str) -> Result<String, String> {
    let server = &node.server;
    let (_, command) = server.spec.command.split_last().expect("its own verb comes last");
    let output = Command::new(&command[0])
        .args(&command[1..])
        .arg(word)
        .arg(server.dir.join("zoo.cfg"))
        .env("SERVER_JVMFLAGS", server.spec.properties.join(" "))
        .env("ZOO_LOG_DIR", &server.dir)
        .env("ZOO_LOG_FILE", server.log_path().file_name().expect("a name"))
        .output()
        .map_err(said)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("zkserver {word} on {}: {}: {text}{why}", node.label(), output.status))
}

fn expect(text: &str, line: &str) -> Result<(), String> {
    let found = text.lines().any(|said| said == line);
    found.then_some(()).ok_or_else(|| format!("not {line:?}, but {text:?}"))
}
