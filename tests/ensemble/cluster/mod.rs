//! A cluster of real processes: started, hurt and healed, and asked what it says of itself.

pub mod network;
pub mod node;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ringkeeper::clock::Clock;

pub use network::Network;
pub use node::{Kind, Node, Program, Role};
use node::{LOOK_EVERY, said};

use crate::support::wait_for_every;

/// How long a cluster may take to serve, on a machine busy with other tests.
pub const SERVE_PATIENCE: Duration = Duration::from_secs(90);

/// Servers that form one ensemble. Dropped, they are killed.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub network: Network,
}

/// The lines of zoo.cfg that all nodes share, besides folders, ports and `server.N`.
pub type Settings<'a> = &'a [&'a str];

/// Fast enough for rounds of faults, slow enough for a busy machine.
pub const BRISK: Settings<'static> = &[
    "tickTime=500",
    "initLimit=20",
    "syncLimit=8",
    "maxSessionTimeout=600000",
    "extendedTypesEnabled=true",
    "snapCount=2500",
    "preAllocSize=1024",
];

/// Those of ZooKeeper's sample, as users have them.
pub const SAMPLE: Settings<'static> =
    &["tickTime=2000", "initLimit=5", "syncLimit=2", "maxSessionTimeout=600000"];

impl Cluster {
    /// Makes folders and configurations below `dir`; starts nothing.
    pub fn prepare(
        kinds: &[Kind],
        network: Network,
        settings: Settings<'_>,
        dir: &Path,
    ) -> Result<Self, String> {
        let places: Vec<_> = (0..kinds.len()).map(|at| network.place(at)).collect();
        let mut config: Vec<String> = settings.iter().map(|line| (*line).to_owned()).collect();
        for (at, (place, kind)) in places.iter().zip(kinds).enumerate() {
            let role = if kind.observer { ":observer" } else { "" };
            let (host, quorum, election) = (&place.host, place.quorum_port, place.election_port);
            config.push(format!("server.{}={host}:{quorum}:{election}{role}", at + 1));
        }
        let mut nodes = Vec::new();
        for (at, (place, kind)) in places.into_iter().zip(kinds).enumerate() {
            nodes.push(Node::prepare(at + 1, *kind, place, dir, &config)?);
        }
        Ok(Self { nodes, network })
    }

    /// Starts all nodes and waits until they serve.
    pub fn start(&mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            node.server.spawn().map_err(said)?;
        }
        self.wait_serving()
    }

    /// Waits until every node serves and one of them leads.
    pub fn wait_serving(&mut self) -> Result<(), String> {
        let clock = Clock::start();
        loop {
            for node in &mut self.nodes {
                node.wait_serving(SERVE_PATIENCE)?;
            }
            // a leader may have gone while the others were waited for
            let leaders = self.roles().iter().filter(|role| **role == Some(Role::Leader)).count();
            if leaders == 1 && self.roles().iter().all(Option::is_some) {
                return Ok(());
            }
            if clock.elapsed() > SERVE_PATIENCE {
                return Err(format!("{leaders} leaders after {SERVE_PATIENCE:?}"));
            }
        }
    }

    pub fn roles(&self) -> Vec<Option<Role>> {
        self.nodes.iter().map(Node::role).collect()
    }

    /// The index of the node that leads.
    pub fn leader(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.role() == Some(Role::Leader))
    }

    /// Waits for a leader, which may be any but those in `not`.
    pub fn wait_leader(&self, not: &[usize]) -> Result<usize, String> {
        let mut leader = None;
        wait_for_every(LOOK_EVERY, SERVE_PATIENCE, || {
            leader = self.leader().filter(|at| !not.contains(at));
            leader.is_some()
        });
        leader.ok_or_else(|| format!("no leader after {SERVE_PATIENCE:?}"))
    }

    /// Whether any node runs `program`.
    pub fn has(&self, program: Program) -> bool {
        self.nodes.iter().any(|node| node.kind.program == program)
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.place.client).collect()
    }

    /// `kill -9`.
    pub fn kill(&mut self, at: usize) -> Result<(), String> {
        let node = &mut self.nodes[at];
        self_ended(node)?;
        node.paused = false;
        node.server.kill().map_err(said).map(|_| ())
    }

    /// `SIGTERM`, and its end waited for.
    pub fn stop(&mut self, at: usize) -> Result<(), String> {
        let node = &mut self.nodes[at];
        self_ended(node)?;
        node.server.stop().map_err(said).map(|_| ())
    }

    /// Starts a node that was killed or stopped, without waiting.
    pub fn spawn(&mut self, at: usize) -> Result<(), String> {
        self.nodes[at].server.spawn().map_err(said)
    }

    pub fn pause(&mut self, at: usize) -> Result<(), String> {
        self.nodes[at].paused = true;
        self.nodes[at].server.pause().map_err(said)
    }

    pub fn resume(&mut self, at: usize) -> Result<(), String> {
        self.nodes[at].paused = false;
        self.nodes[at].server.resume().map_err(said)
    }

    /// Every fault ends: links carry, the paused go on, the dead are started.
    pub fn heal(&mut self) -> Result<(), String> {
        self.network.heal()?;
        for at in 0..self.nodes.len() {
            if self.nodes[at].paused {
                self.resume(at)?;
            }
            if !self.nodes[at].server.is_started() {
                self.spawn(at)?;
            }
        }
        Ok(())
    }

    /// No process has ended but by our hand.
    pub fn none_ended(&mut self) -> Result<(), String> {
        self.nodes.iter_mut().try_for_each(self_ended)
    }
}

fn self_ended(node: &mut Node) -> Result<(), String> {
    match node.server.exited() {
        Some(exit) => Err(format!("{} ended by itself: {exit}", node.label())),
        None => Ok(()),
    }
}
