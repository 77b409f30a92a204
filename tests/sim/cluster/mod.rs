//! One history: nodes, clients, the network between them, and time, which jumps from event to
//! event. The same plan and seed make the same history.

mod conduct;
mod faults;
mod links;
mod outputs;
mod requests;
mod serve;
mod storage;
mod stories;
mod watches;

use std::collections::VecDeque;

use ringkeeper::ids::Zxid;
use ringkeeper::wire::chunk::Chunk;
use ringkeeper::wire::quorum::Packet;
use ringkeeper::zab::{EpochRecord, Input, LinkId, Mutations, Output, Quorum};

use crate::checker::Checker;
use crate::disk::Disk;
use crate::network::{ConnectionId, Network, Side};
use crate::node::{Clock, Node, Server};
use crate::plan::{Plan, server};
use crate::queue::{MILLI, Micros, Queue, SECOND};
use crate::random::Random;
use crate::trace::Trace;
use crate::workload::{Ask, Client, Tell};
use faults::Fault;
use stories::Cues;

/// How often what waits for a paused process is looked at: all of it at once, so that nothing
/// overtakes anything.
const PAUSE_STEP: Micros = 200 * MILLI;

/// Something that is to happen. A number behind a node is its life.
#[derive(Debug)]
enum Event {
    /// The core's deadline, or a session's, may have passed.
    Due(usize, u32),
    /// A dialed election connection gets to the peer.
    DialElection {
        from: usize,
        life: u32,
        to: usize,
    },
    /// A dialed quorum connection gets to the leader, or not.
    DialLeader {
        from: usize,
        life: u32,
        to: usize,
        timeout: Micros,
    },
    Unreachable(usize, u32),
    /// The dialer of a connection learns that it stands.
    Dialed(ConnectionId),
    Arrive(ConnectionId, Side),
    /// The end of a connection learns late that it is gone.
    Lost(ConnectionId, Side),
    Flushed(usize, u32),
    Persisted(usize, u32, EpochRecord),
    Stored(usize, u32),
    LogRead(usize, u32, Box<LogRead>),
    Snapshot(usize, u32),
    Start(usize, u32),
    /// A client's packet is at the server.
    Ask(u32, Box<Ask>),
    /// A server's packet is at the client.
    Tell(u32, Box<Tell>),
    Client(usize),
    Fault,
    Mend(Fault),
}

#[derive(Debug)]
struct LogRead {
    link: LinkId,
    from: Zxid,
    upto: Zxid,
    bytes_max: usize,
}

/// What is to be done at once, after what is being done.
enum Task {
    Feed(Input),
    /// The core passes on what a peer says to the sessions.
    Passed(LinkId, Packet),
}

/// A client's connection.
struct Wire {
    client: usize,
    node: usize,
    life: u32,
    /// The server's end, the client's end.
    is_open: [bool; 2],
    last_at: [Micros; 2],
}

/// See the module.
pub struct Cluster {
    plan: Plan,
    quorum: Quorum,
    mutations: Mutations,
    random: Random,
    queue: Queue<Event>,
    pub trace: Trace,
    nodes: Vec<Node>,
    network: Network,
    clients: Vec<Client>,
    wires: Vec<Wire>,
    checker: Checker,
    tasks: VecDeque<Task>,
    /// A node's outputs are being carried out.
    is_busy: bool,
    spare: Vec<Output>,
    record: Vec<u8>,
    chunk: Chunk,
    cues: Cues,
    /// Faults happen.
    is_chaos: bool,
    /// Clients ask for nothing new.
    is_over: bool,
    pub faults: u64,
    pub elections: u64,
}

/// How a history ended well.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub simulated: Micros,
    pub hash: u64,
    pub events: u64,
    pub committed: usize,
    pub acknowledged: u64,
    pub leaders: u64,
    pub faults: u64,
}

impl Cluster {
    pub fn new(plan: Plan, seed: u64, lines_max: usize, mutations: Mutations) -> Self {
        let mut random = Random::new(seed);
        let quorum = plan.quorum();
        let network =
            Network::new(plan.nodes(), plan.latency, plan.jitter, Random::new(random.next()));
        let nodes = (0..plan.nodes()).map(|node| new_node(node, &plan, &mut random)).collect();
        let clients =
            (0..plan.clients).map(|it| Client::new(it, plan.session_timeout_ms)).collect();
        Self {
            checker: Checker::new(quorum.clone(), plan.voters),
            quorum,
            mutations,
            random,
            queue: Queue::new(),
            trace: Trace::new(lines_max),
            nodes,
            network,
            clients,
            wires: Vec::new(),
            tasks: VecDeque::new(),
            is_busy: false,
            spare: Vec::new(),
            record: Vec::new(),
            chunk: Chunk::default(),
            cues: Cues::default(),
            is_chaos: plan.fault_every.is_some(),
            is_over: false,
            faults: 0,
            elections: 0,
            plan,
        }
    }

    fn now(&self) -> Micros {
        self.queue.now()
    }

    fn say(&mut self, node: usize, what: impl FnOnce() -> String) {
        self.trace.say(self.queue.now(), format_args!("n{}", node + 1), what);
    }

    /// A time around `mean`: mostly less, seldom much more.
    fn around(&mut self, mean: Micros) -> Micros {
        let mean = usize::try_from(mean).unwrap_or(0).max(1);
        let sum = self.random.below(mean) + self.random.below(mean);
        let rare = if self.random.one_in(50) { 10 } else { 1 };
        (sum * rare) as Micros
    }

    /// The whole history: faults, then peace in which everything has to come right.
    pub fn play(&mut self) -> Report {
        for node in 0..self.nodes.len() {
            let delay = self.around(SECOND);
            self.queue.plan(delay, Event::Start(node, 0));
        }
        for client in 0..self.clients.len() {
            let delay = self.around(SECOND);
            self.queue.plan(delay, Event::Client(client));
        }
        self.plan_fault();
        self.run_until(self.plan.chaos);
        self.play_ending();
        self.expect_progress();
        self.settle();
        Report {
            simulated: self.now(),
            hash: self.trace.hash(),
            events: self.trace.events(),
            committed: self.checker.committed_len(),
            acknowledged: self.clients.iter().map(|client| client.acknowledged).sum(),
            leaders: self.elections,
            faults: self.faults,
        }
    }

    fn run_until(&mut self, end: Micros) {
        while let Some(event) = self.queue.pop(end) {
            self.on_event(event);
        }
    }

    /// Every client gets an answer to a write, within the plan's patience.
    fn expect_progress(&mut self) {
        let before: Vec<_> = self.clients.iter().map(|client| client.acknowledged).collect();
        let end = self.patience_end();
        let is_served = |cluster: &Self| {
            let pairs = cluster.clients.iter().zip(&before);
            pairs.clone().all(|(client, before)| client.acknowledged > *before)
        };
        while !is_served(self) {
            let Some(event) = self.queue.pop(end) else {
                panic!(
                    "no progress: {} s after everything was mended not every client has written",
                    self.plan.patience() / SECOND
                );
            };
            self.on_event(event);
        }
    }

    /// When what has not happened by itself will not: the plan's patience after the last pause.
    fn patience_end(&self) -> Micros {
        let ready = self.nodes.iter().map(|node| node.paused_until.max(node.stalled_until)).max();
        self.now().max(ready.unwrap_or(0)) + self.plan.patience()
    }

    /// Without new requests, all trees become the same.
    fn settle(&mut self) {
        self.is_over = true;
        let end = self.patience_end();
        while !self.is_settled() {
            let step = (self.now() + 500 * MILLI).min(end);
            self.run_until(step);
            if self.now() >= end {
                let at: Vec<_> = self
                    .nodes
                    .iter()
                    .map(|node| node.server.as_ref().map(|it| (it.serving, it.tree.last_zxid())))
                    .collect();
                panic!("the nodes do not come together: {at:?}");
            }
        }
    }

    fn is_settled(&self) -> bool {
        let committed = self.checker.committed();
        let leads = |it: &Server| it.is_leading().then_some(it.serving).flatten();
        let leader = self.nodes.iter().filter_map(|node| node.server.as_ref()).find_map(leads);
        let is_in_place = |node: &Node| {
            let server = node.server.as_ref();
            let is_there = server.is_some_and(|it| it.serving.is_some() && it.place == committed);
            // COMPAT: one that has promised a greater epoch waits for the next election.
            is_there || leader.is_some_and(|epoch| node.disk.accepted() > epoch)
        };
        leader.is_some()
            && self.clients.iter().all(|client| client.in_flight.is_empty())
            && self.nodes.iter().all(is_in_place)
    }

    fn on_event(&mut self, event: Event) {
        let now = self.now();
        if let Some(node) = self.process_of(&event)
            && self.nodes[node].paused_until > now
        {
            // A process that stands still notices later, in the same order; unless it crashes.
            let next = (now / PAUSE_STEP + 1) * PAUSE_STEP;
            let until = self.nodes[node].paused_until.min(next);
            return self.queue.plan(until, event);
        }
        match event {
            Event::Due(node, life) if self.lives(node, life) && self.nodes[node].planned <= now => {
                self.trace.mix(now, 1 + ((node as u64) << 8));
                self.on_due(node);
            }
            Event::DialElection { from, life, to } => self.on_dial_election(from, life, to),
            Event::DialLeader { from, life, to, timeout } => {
                self.on_dial_leader(from, life, to, timeout);
            }
            Event::Unreachable(node, life) if self.lives(node, life) => {
                self.feed(node, Input::LeaderUnreachable);
            }
            Event::Dialed(id) => self.on_dialed(id),
            Event::Arrive(id, side) => self.on_arrive(id, side),
            Event::Lost(id, side) => self.on_lost(id, side),
            Event::Flushed(node, life) if self.lives(node, life) => self.on_flushed(node),
            Event::Persisted(node, life, what) if self.lives(node, life) => {
                self.nodes[node].disk.persist(what);
                self.feed(node, Input::Persisted(what));
            }
            Event::Stored(node, life) if self.lives(node, life) => self.on_stored(node),
            Event::LogRead(node, life, read) if self.lives(node, life) => {
                let LogRead { link, from, upto, bytes_max } = *read;
                let mut history = self.nodes[node].disk.read(from, upto, bytes_max);
                if self.random.one_in(4)
                    && let Some(history) = &mut history
                {
                    // A reader of files need not see their very end.
                    history.truncate(history.len() - self.random.below(3).min(history.len()));
                }
                self.feed(node, Input::LogRead { link, history });
            }
            Event::Snapshot(node, life) if self.lives(node, life) => self.on_snapshot(node),
            Event::Start(node, life) => self.start(node, life),
            Event::Ask(wire, ask) => self.on_ask(wire, *ask),
            Event::Tell(wire, tell) => self.on_tell(wire, &tell),
            Event::Client(client) => self.on_client(client),
            Event::Fault => self.on_fault(),
            Event::Mend(fault) => self.on_mend(fault),
            Event::Due(..)
            | Event::Unreachable(..)
            | Event::Flushed(..)
            | Event::Persisted(..)
            | Event::Stored(..)
            | Event::LogRead(..)
            | Event::Snapshot(..) => {}
        }
    }

    /// Whether the process still runs that an event is meant for.
    fn lives(&self, node: usize, life: u32) -> bool {
        self.nodes[node].life == life && self.nodes[node].server.is_some()
    }

    /// The core's deadlines, and sessions whose time is up.
    fn on_due(&mut self, node: usize) {
        self.nodes[node].planned = Micros::MAX;
        self.enter(node, |cluster| {
            cluster.step(node, Input::Time);
            cluster.expire_sessions(node);
        });
    }

    /// The process that is to notice this.
    fn process_of(&mut self, event: &Event) -> Option<usize> {
        match event {
            Event::Due(node, _)
            | Event::Unreachable(node, _)
            | Event::Flushed(node, _)
            | Event::Persisted(node, ..)
            | Event::Stored(node, _)
            | Event::LogRead(node, ..)
            | Event::Snapshot(node, _)
            | Event::DialElection { to: node, .. }
            | Event::DialLeader { to: node, .. } => Some(*node),
            Event::Dialed(id) => Some(self.network.get(*id).end(Side::Dialer).node),
            Event::Arrive(id, side) => Some(self.network.get(*id).end(side.other()).node),
            Event::Lost(id, side) => Some(self.network.get(*id).end(*side).node),
            Event::Ask(wire, _) => Some(self.wires[*wire as usize].node),
            Event::Start(..)
            | Event::Tell(..)
            | Event::Client(_)
            | Event::Fault
            | Event::Mend(_) => None,
        }
    }

    /// Plans when the node has to be told of the time, unless that is planned; what was planned
    /// for later is then passed over.
    fn plan_due(&mut self, node: usize) {
        let Node { clock, planned, life, ref server, .. } = self.nodes[node];
        let Some(server) = server else { return };
        let sessions = server.tracker.next_due().filter(|_| server.is_leading());
        let core = server.zab.deadline();
        let Some(due) = [core, sessions].into_iter().flatten().min() else { return };
        let at = clock.when(due).max(self.now() + MILLI / 10);
        if at < planned {
            self.nodes[node].planned = at;
            self.queue.plan(at, Event::Due(node, life));
        }
    }
}

fn new_node(node: usize, plan: &Plan, random: &mut Random) -> Node {
    let skew = usize::try_from(plan.skew_ppm * 2 + 1).unwrap_or(1);
    Node {
        id: server(node),
        disk: Disk::new(),
        clock: Clock {
            offset: random.below(100) as Micros * SECOND,
            ppm: random.below(skew) as i64 - plan.skew_ppm,
        },
        life: 0,
        server: None,
        is_machine_up: true,
        paused_until: 0,
        crash_in: None,
        planned: Micros::MAX,
        stalled_until: 0,
        persisted_at: 0,
    }
}
