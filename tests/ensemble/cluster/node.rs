//! One server of a cluster: what program it is, and what it says of itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::network::Place;
use crate::support::process::ServerSpec;
use crate::support::{Server, wait_for_every};

/// A four-letter word is answered within this, or the server is not well.
const WORD_PATIENCE: Duration = Duration::from_secs(2);
/// How often a server is asked whether it serves yet.
pub const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What program a node runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Program {
    Ringkeeper,
    Java38,
    Java39,
}

/// A node as `--servers` names it: `R`, `J38`, `J39`, with `o` behind it for an observer.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub program: Program,
    pub observer: bool,
}

/// What a server says it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    Leader,
    Follower,
    Observer,
}

impl Program {
    /// As `ServerSpec` knows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ringkeeper => "ringkeeper",
            Self::Java38 => "java38",
            Self::Java39 => "java39",
        }
    }

    pub const fn is_java(self) -> bool {
        matches!(self, Self::Java38 | Self::Java39)
    }
}

impl Role {
    /// What stands behind `Mode:`, as `srvr` and `status` print it.
    pub fn told(text: &str) -> Option<Self> {
        match text.lines().find_map(|line| line.strip_prefix("Mode: "))? {
            "leader" => Some(Self::Leader),
            "follower" => Some(Self::Follower),
            "observer" => Some(Self::Observer),
            _ => None,
        }
    }
}

impl Kind {
    /// `R,R,J39o` and the like.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').map(Self::parse).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let program = text.strip_suffix('o').unwrap_or(text);
        let observer = program.len() < text.len();
        let program = match program {
            "R" => Program::Ringkeeper,
            "J38" => Program::Java38,
            "J39" => Program::Java39,
            other => return Err(format!("{other:?} is not one of R, J38, J39")),
        };
        Ok(Self { program, observer })
    }
}

/// A server and its place.
#[derive(Debug)]
pub struct Node {
    /// Its myid.
    pub id: usize,
    pub kind: Kind,
    pub place: Place,
    pub server: Server,
    pub paused: bool,
}

impl Node {
    /// Makes folders, zoo.cfg and myid; starts nothing.
    pub fn prepare(
        id: usize,
        kind: Kind,
        place: Place,
        dir: &Path,
        config: &[String],
    ) -> Result<Self, String> {
        let mut config = config.to_vec();
        if kind.observer {
            config.push("peerType=observer".to_owned());
        }
        let spec = spec(kind.program, &place, config);
        let server =
            Server::prepare(spec, &dir.join(id.to_string()), place.client).map_err(said)?;
        fs::write(server.data.join("myid"), id.to_string()).map_err(said)?;
        Ok(Self { id, kind, place, server, paused: false })
    }

    /// For messages: `node 2 (java39)`.
    pub fn label(&self) -> String {
        format!("node {} ({})", self.id, self.kind.program.name())
    }

    /// Another program on the same data; the server must be down.
    pub fn become_program(&mut self, program: Program) {
        self.kind.program = program;
        let config = std::mem::take(&mut self.server.spec.config);
        self.server.spec = spec(program, &self.place, config);
    }

    /// What it says it is; `None` while it does not serve.
    pub fn role(&self) -> Option<Role> {
        if !self.server.is_started() || self.paused {
            return None;
        }
        let text = self.server.word_within("srvr", WORD_PATIENCE).ok()?;
        Role::told(&text)
    }

    /// A number that `mntr` tells.
    pub fn metric(&self, name: &str) -> Option<i64> {
        let text = self.server.word("mntr").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'))?;
        line.trim().trim_end_matches(".0").parse().ok()
    }

    /// Waits until it serves; an early end of the process ends the wait.
    pub fn wait_serving(&mut self, patience: Duration) -> Result<Role, String> {
        let (mut role, mut exit) = (None, None);
        wait_for_every(LOOK_EVERY, patience, || {
            role = self.role();
            exit = self.server.exited();
            role.is_some() || exit.is_some()
        });
        match (role, exit) {
            (Some(role), None) => Ok(role),
            (_, Some(exit)) => Err(format!("{} ended by itself: {exit}", self.label())),
            (None, None) => Err(format!("{} does not serve after {patience:?}", self.label())),
        }
    }
}

fn spec(program: Program, place: &Place, config: Vec<String>) -> ServerSpec {
    let mut spec = ServerSpec::named(program.name());
    spec.command = [place.prefix.clone(), spec.command].concat();
    spec.config = config;
    spec.property("znode.container.checkIntervalMs", "100000000").property(
        "zookeeper.DigestAuthenticationProvider.superDigest",
        "super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
    )
}

/// An I/O error as text.
pub fn said(err: impl std::fmt::Display) -> String {
    err.to_string()
}
