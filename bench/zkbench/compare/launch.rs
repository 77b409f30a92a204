//! Starts a server from a command, on a fresh folder, and takes both away again.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ringkeeper::clock;
use rustix::process::{Pid, Signal, kill_process};

use crate::Failure;
use crate::load::tree::Admin;
use crate::load::worker;

/// The `zoo.cfg` of a launched server, unless `--config` gives another.
pub(super) const TEMPLATE: &str = "\
tickTime=2000
dataDir={data}
clientPort={port}
clientPortAddress=127.0.0.1
maxClientCnxns=0
admin.enableServer=false
";

/// A server that takes longer is not coming.
const START_TIMEOUT: Duration = Duration::from_mins(1);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const RETRY_EVERY: Duration = Duration::from_millis(100);
const SESSION_TIMEOUT_MS: i32 = 10_000;

/// How to start it.
pub(super) struct Launch<'a> {
    pub(super) command: &'a str,
    pub(super) template: &'a str,
    pub(super) data: &'a Path,
    pub(super) name: &'a str,
}

/// A server of ours. Dropping it stops it and removes its folder.
pub(super) struct Launched {
    child: Option<Child>,
    pid: u32,
    address: SocketAddr,
    folder: PathBuf,
}

impl Launch<'_> {
    /// Starts it and waits until it serves.
    pub(super) fn start(&self) -> Result<Launched, Failure> {
        let unique = format!("zkbench-{}-{}-{:x}", std::process::id(), self.name, clock::wall().0);
        let folder = std::path::absolute(self.data)?.join(unique);
        let data = folder.join("data");
        fs::create_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
        // Free now; should another process take it before the server does, the start fails.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = self
            .template
            .replace("{port}", &address.port().to_string())
            .replace("{data}", &data.to_string_lossy());
        let config_path = folder.join("zoo.cfg");
        fs::write(&config_path, config)?;
        let log = File::create(folder.join("log"))?;
        // `exec env`: the shell splits the command, which may begin with settings, and is gone.
        let child = Command::new("sh")
            .args(["-c", &format!("exec env {} \"$0\"", self.command)])
            .arg(&config_path)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut launched = Launched { pid: child.id(), child: Some(child), address, folder };
        launched.wait_until_serving().map_err(|failure| {
            let log = fs::read_to_string(launched.folder.join("log")).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(5).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            format!("{}: {failure}\n{}", self.command, tail.join("\n"))
        })?;
        Ok(launched)
    }
}

impl Launched {
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    fn wait_until_serving(&mut self) -> Result<(), Failure> {
        let address = self.address;
        let child = self.child.as_mut().expect("it is there until dropped");
        worker::in_ring(1, async {
            let retries = async {
                loop {
                    if let Some(status) = child.try_wait()? {
                        return Err::<(), Failure>(format!("ended with {status}").into());
                    }
                    let opening = Admin::open_at(address, SESSION_TIMEOUT_MS, START_TIMEOUT);
                    if let Ok(admin) = opening.await {
                        return admin.close().await;
                    }
                    tokio::time::sleep(RETRY_EVERY).await;
                }
            };
            tokio::time::timeout(START_TIMEOUT, retries).await?
        })
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = Pid::from_child(&child);
        // It may be gone already.
        let _ = kill_process(pid, Signal::TERM);
        let (sender, ended) = mpsc::channel();
        let waiter = thread::spawn(move || {
            drop(child.wait());
            let _ = sender.send(());
        });
        if ended.recv_timeout(STOP_TIMEOUT).is_err() {
            let _ = kill_process(pid, Signal::KILL);
        }
        drop(waiter.join());
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("zkbench: {} is left behind: {error}", self.folder.display());
        }
    }
}
