//! `--hostile [CASE]`: peers and clients that mean no good. Each case strikes while a session
//! writes on: it must not notice, every node must serve afterwards, and the nodes that were struck
//! say so in a few clear lines.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ringkeeper::clock::Clock;
use ringkeeper::ids::ServerId;
use ringkeeper::wire::election::{Handshake, HandshakeForm, PeerAddress};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cluster::node::said;
use crate::cluster::{BRISK, Cluster, Kind, Node, Program, Role};
use crate::load::prober::Prober;
use crate::options::Options;
use crate::round::{compare, digest};
use crate::support::client::{Reply, append_raw};
use crate::support::{Client, Random, wait_for};

/// Longer without an acknowledged write, and the service was disturbed; noise of the machine is
/// added twice, as a write waits for one node and then for a quorum of them. Not more than so much
/// of it: what is done to a node may itself be what makes a noise.
const GAP_MAX: Duration = Duration::from_secs(2);
const NOISE_MAX: Duration = Duration::from_secs(1);
const NOISE_REST: Duration = Duration::from_millis(5);
/// What a node may say of one case: more is a flood.
const LINES_MAX: usize = 12;
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
const CROWD: usize = 1000;
/// "The body cannot be decoded."
const MARSHALLING: i32 = -5;

/// What the cases share.
struct Stage<'a> {
    options: &'a Options,
    dir: PathBuf,
    cluster: Cluster,
    random: Random,
}

/// What a case did, or why it failed.
type Case = fn(&mut Stage<'_>) -> Result<String, String>;

const CASES: &[(&str, Case)] = &[
    ("undecodable", undecodable_body),
    // before the wrong ids: a node does not repeat itself within seconds
    ("same-myid", same_myid),
    ("paused", paused_follower),
    ("random", random_bytes),
    ("crowd", crowd_at_the_election_port),
    ("wrong-sid", wrong_sid),
];

/// The trial.
pub fn hostile(options: &Options, dir: &Path) -> Result<String, String> {
    let kinds = options.servers("R,R,J39")?;
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).map_err(said)?;
    // one place more, for the impostor
    let network = crate::network(options, kinds.len() + 1)?;
    let cluster = Cluster::prepare(&kinds, network, BRISK, dir)?;
    let random = Random::new(options.number("--seed", 1)?);
    let mut stage = Stage { options, dir: dir.to_owned(), cluster, random };
    lead_with_the_last(&mut stage.cluster)?;
    let wanted = options.text("--hostile", "");
    let wanted = if wanted.starts_with("--") { "" } else { wanted };
    let mut played = 0;
    for (name, case) in CASES.iter().filter(|(name, _)| name.contains(wanted)) {
        let found = case(&mut stage).and_then(|found| {
            stage.cluster.wait_serving()?;
            compare::same_everywhere(&mut stage.cluster)?;
            digest::no_mismatch(&stage.cluster)?;
            Ok(found)
        });
        println!("  {name}: {}", found.map_err(|why| format!("{name}: {why}"))?);
        played += 1;
    }
    Ok(format!("{played} cases"))
}

/// Starts the last node first, so that it leads: a Java leader where the last is Java.
fn lead_with_the_last(cluster: &mut Cluster) -> Result<(), String> {
    let last = cluster.nodes.len() - 1;
    cluster.spawn(last)?;
    let node = &cluster.nodes[last];
    wait_for(Duration::from_secs(30), || node.server.log().contains("LOOKING"));
    (0..last).try_for_each(|at| cluster.spawn(at))?;
    cluster.wait_serving()
}

impl Stage<'_> {
    /// Does `harm` while a session writes, and says how long the longest gap was.
    fn undisturbed(
        &mut self,
        harm: impl FnOnce(&mut Self, &Prober) -> Result<String, String>,
    ) -> Result<String, String> {
        let leader = self.cluster.wait_leader(&[])?;
        let mut servers = self.cluster.addresses();
        servers.rotate_left(leader);
        let path = format!("/hostile{}", self.random.next());
        let prober = Prober::start(servers, path)?;
        prober.wait_progress(20)?;
        let noise = Noise::start(&self.dir)?;
        prober.take_gap();
        let found = harm(self, &prober)?;
        prober.wait_progress(50)?;
        let gap = prober.take_gap();
        let noise = noise.stop()?;
        prober.stop()?;
        if gap > GAP_MAX + 2 * noise.min(NOISE_MAX) {
            return Err(format!("no write for {gap:?} beside a noise of {noise:?} ({found})"));
        }
        if self.cluster.wait_leader(&[])? != leader {
            return Err(format!("the leader has changed ({found})"));
        }
        let leader = self.cluster.nodes[leader].label();
        let (gap, noise) = (gap.as_millis(), noise.as_millis());
        Ok(format!("led by {leader}, longest gap {gap} ms, noise {noise} ms; {found}"))
    }

    /// Ringkeeper's nodes; Java's ports are known not to stand what is done here.
    fn ours(&self) -> Vec<usize> {
        let ours = |at: &usize| !self.cluster.nodes[*at].kind.program.is_java();
        (0..self.cluster.nodes.len()).filter(ours).collect()
    }

    fn ports(&self, at: usize) -> [SocketAddr; 2] {
        let place = &self.cluster.nodes[at].place;
        [place.election_port, place.quorum_port].map(|port| (place.client.ip(), port).into())
    }

    /// A warning of one of our nodes since `before` that says what is wrong; none has said much.
    fn one_says(&self, before: &[usize], what: &str) -> Result<String, String> {
        let mut said = None;
        wait_for(CONNECT_PATIENCE, || {
            let lines = self
                .ours()
                .into_iter()
                .flat_map(|at| warnings(&self.cluster.nodes[at], before[at]));
            said = lines.into_iter().find(|line| line.contains(what));
            said.is_some()
        });
        for at in self.ours() {
            let lines = warnings(&self.cluster.nodes[at], before[at]);
            if lines.len() > LINES_MAX {
                let label = self.cluster.nodes[at].label();
                return Err(format!("{label} logged {} lines", lines.len()));
            }
        }
        said.ok_or_else(|| format!("no node of ours says {what:?}"))
    }

    /// Warnings of each of our nodes since `before`, which must be there and few.
    fn few_lines_since(&self, before: &[usize]) -> Result<String, String> {
        let mut told = Vec::new();
        for at in self.ours() {
            let node = &self.cluster.nodes[at];
            let mut lines = Vec::new();
            wait_for(CONNECT_PATIENCE, || {
                lines = warnings(node, before[at]);
                !lines.is_empty()
            });
            if lines.is_empty() || lines.len() > LINES_MAX {
                let some = lines.iter().take(5).cloned().collect::<Vec<_>>().join("\n    ");
                return Err(format!("{} logged {} lines: {some}", node.label(), lines.len()));
            }
            told.push(format!("node {}: {} lines, {:?}", node.id, lines.len(), lines[0]));
        }
        Ok(told.join("; "))
    }

    fn log_lengths(&self) -> Vec<usize> {
        self.cluster.nodes.iter().map(|node| node.server.log().len()).collect()
    }
}

/// How long the machine itself holds a thread up that does nothing but rest and write to the disk.
struct Noise {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Duration>>,
}

impl Noise {
    fn start(dir: &Path) -> Result<Self, String> {
        let file = File::create(dir.join("noise")).map_err(said)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !told.load(Ordering::Relaxed) {
                let clock = Clock::start();
                wait_for(NOISE_REST, || false);
                file.write_all_at(&[7; 4096], 0)?;
                file.sync_data()?;
                longest = longest.max(clock.elapsed());
            }
            Ok(longest)
        });
        Ok(Self { stop, thread })
    }

    /// The longest turn.
    fn stop(self) -> Result<Duration, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a noise meter").map_err(said)
    }
}

fn warnings(node: &Node, from: usize) -> Vec<String> {
    let log = node.server.log();
    let lines = log.get(from..).unwrap_or_default().lines();
    let warns = |line: &&str| line.contains("WARN") || line.contains("ERROR");
    lines.filter(warns).map(str::to_owned).collect()
}

/// Finding X1: such a request through a follower stalls a Java leader for good.
fn undecodable_body(stage: &mut Stage<'_>) -> Result<String, String> {
    stage.undisturbed(|stage, _| {
        let follows = |at: &usize| stage.cluster.nodes[*at].role() == Some(Role::Follower);
        let followers: Vec<_> = stage.ours().into_iter().filter(follows).collect();
        for at in &followers {
            let address = stage.cluster.nodes[*at].place.client;
            let mut client = Client::connect(address).map_err(said)?;
            // create, delete, setData, setACL, multi, create2, createContainer, createTTL
            for op in [1, 2, 5, 7, 14, 15, 19, 21] {
                let reply = ask_nonsense(&mut client, op)?;
                if reply.header.err != MARSHALLING {
                    return Err(format!("opcode {op} was answered with {}", reply.header.err));
                }
            }
        }
        // new sessions need the whole pipeline
        for address in stage.cluster.addresses() {
            Client::connect(address).map_err(|err| format!("a session after it: {err}"))?;
        }
        Ok(format!("through {} followers of ours", followers.len()))
    })
}

fn ask_nonsense(client: &mut Client, op: i32) -> Result<Reply, String> {
    let mut out = Vec::new();
    let xid = client.next_xid();
    // the length of a path that is not there
    append_raw(&mut out, xid, op, |w| w.i32(1000));
    client.connection.send(&out).map_err(said)?;
    client.reply().map_err(said)?.ok_or_else(|| format!("opcode {op} broke the connection"))
}

fn paused_follower(stage: &mut Stage<'_>) -> Result<String, String> {
    let hold = Duration::from_secs(stage.options.number("--pause", 60)?);
    let leader = stage.cluster.wait_leader(&[])?;
    let victim = (leader + 1) % stage.cluster.nodes.len();
    let found = stage.undisturbed(|stage, prober| {
        stage.cluster.pause(victim)?;
        wait_for(hold, || false);
        prober.wait_progress(50)?;
        stage.cluster.resume(victim)?;
        stage.cluster.wait_serving()?;
        Ok(format!("{} stood still for {hold:?}", stage.cluster.nodes[victim].label()))
    })?;
    Ok(found)
}

fn random_bytes(stage: &mut Stage<'_>) -> Result<String, String> {
    let before = stage.log_lengths();
    let found = stage.undisturbed(|stage, _| {
        let mut sent = 0;
        for at in stage.ours() {
            for address in stage.ports(at) {
                // followers do not listen on the quorum port
                for _ in 0..100 {
                    let len = 1 + stage.random.below(3000);
                    let bytes = stage.random.bytes(len);
                    let Ok(mut stream) = TcpStream::connect_timeout(&address, CONNECT_PATIENCE)
                    else {
                        break;
                    };
                    sent += usize::from(stream.write_all(&bytes).is_ok());
                }
            }
        }
        Ok(format!("{sent} connections"))
    })?;
    Ok(format!("{found}; {}", stage.few_lines_since(&before)?))
}

/// A thousand connections that say nothing; and still a node that was away finds its way back.
fn crowd_at_the_election_port(stage: &mut Stage<'_>) -> Result<String, String> {
    let before = stage.log_lengths();
    let found = stage.undisturbed(|stage, _| {
        let mut crowd = Vec::new();
        for at in stage.ours() {
            let [election, _] = stage.ports(at);
            for _ in 0..CROWD {
                crowd.push(TcpStream::connect_timeout(&election, CONNECT_PATIENCE));
            }
        }
        let leader = stage.cluster.wait_leader(&[])?;
        let victim = (leader + 1) % stage.cluster.nodes.len();
        stage.cluster.kill(victim)?;
        stage.cluster.spawn(victim)?;
        stage.cluster.wait_serving()?;
        let open = crowd.iter().filter(|stream| stream.is_ok()).count();
        Ok(format!("{open} connections, and a node came back"))
    })?;
    Ok(format!("{found}; {}", stage.few_lines_since(&before)?))
}

/// Peers that say they are a server nobody knows, the node itself, or another one.
fn wrong_sid(stage: &mut Stage<'_>) -> Result<String, String> {
    let before = stage.log_lengths();
    let found = stage.undisturbed(|stage, _| {
        let mut streams = Vec::new();
        for at in stage.ours() {
            let [election, _] = stage.ports(at);
            let me = i64::try_from(stage.cluster.nodes[at].id).expect("a small id");
            for server in [99, me, me % 3 + 1, i64::MAX, -7] {
                let address = PeerAddress { host: "127.0.0.1".to_owned(), port: 9 };
                let addresses = vec![address];
                let form = HandshakeForm::OneAddress;
                let mut out = Vec::new();
                Handshake { form, server: ServerId(server), addresses }.encode(&mut out);
                // and a notification that ends early
                out.extend([0, 0, 0, 40, 0, 0, 0, 0]);
                let mut stream =
                    TcpStream::connect_timeout(&election, CONNECT_PATIENCE).map_err(said)?;
                let _ = stream.write_all(&out);
                streams.push(stream);
            }
        }
        Ok(format!("{} handshakes", streams.len()))
    })?;
    Ok(format!("{found}; {}", stage.few_lines_since(&before)?))
}

/// A server with the configuration of node 2, on another machine.
fn same_myid(stage: &mut Stage<'_>) -> Result<String, String> {
    if !stage.cluster.network.can_cut() {
        return Ok("left out: it needs a machine of its own (no --loopback)".to_owned());
    }
    let before = stage.log_lengths();
    let found = stage.undisturbed(|stage, prober| {
        let place = stage.cluster.network.place(stage.cluster.nodes.len());
        let double = &stage.cluster.nodes[1];
        let (old, new) = (double.place.client.ip(), place.client.ip());
        let lines = double.server.spec.config.iter();
        let config: Vec<_> =
            lines.map(|line| line.replace(&format!("={old}:"), &format!("={new}:"))).collect();
        let kind = Kind { program: Program::Ringkeeper, observer: false };
        let dir = stage.dir.join("impostor");
        let mut impostor = Node::prepare(double.id, kind, place, &dir, &config)?;
        impostor.server.spawn().map_err(said)?;
        wait_for(Duration::from_secs(10), || {
            impostor.role().is_some() || impostor.server.exited().is_some()
        });
        prober.wait_progress(200)?;
        let role = impostor.role();
        let last = impostor.server.log_tail(1);
        Ok(format!("the double came to be {role:?}, its last line: {last:?}"))
    })?;
    Ok(format!("{found}; {:?}", stage.one_says(&before, "have the myid 2")?))
}
