//! Whole ensembles of [`Zab`] under a clock of their own: what a story of `zab/` acts on.
//!
//! ```text
//! ensemble 1 2 3 [observers=4] [recent=500] [tick=1000] [counter-max=N] [reads-log=no] [serves=no]
//! start N [log=1:5,2:3] [epoch=E] [accepted=E] [cuts=no]
//!                            a server starts; its log holds 5 txns of epoch 1, 3 of epoch 2; or
//!                            with what it had when it stopped; cuts=no: no snapshot to cut back to
//! stop N                     it crashes: what its disk has not flushed is gone
//! cut A B | heal A B         the links between two, and dialing
//! mute A B                   what A sends to B from now on is lost, silently, until heal
//! stall N | resume N         its disk answers nothing
//! write N [COUNT]            its sessions propose txns
//! sync N                     a session of learner N asks for a sync
//! move N                     a session comes to learner N from another server
//! run MS                     time passes; a message takes 1 ms, a flush 1 ms
//! forget                     drops what the trace has so far
//! show                       what each server is, and has
//! ```
//!
//! After every step it is checked that no two servers in service have applied different histories,
//! that no log has a hole, and that a tree is its log's beginning.

mod check;
mod disk;
mod network;
mod trace;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ringkeeper::ids::{Epoch, Millis, ServerId, SessionId};
use ringkeeper::wire::quorum::{Forwarded, Packet, Touch};
use ringkeeper::zab::election::Output as Elected;
use ringkeeper::zab::{Config, Input, Mutations, Output, Proposal, Quorum, Rule, Timing, Zab};

use crate::words::{Words, number};
use disk::Disk;
use network::{Event, Network};
use trace::Trace;

/// A server that runs.
pub(crate) struct Server {
    pub(crate) zab: Zab,
    /// What its sessions may see.
    is_serving: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Ensemble {
    voters: Vec<ServerId>,
    observers: Vec<ServerId>,
    settings: Settings,
    running: BTreeMap<ServerId, Server>,
    disks: BTreeMap<ServerId, Disk>,
    stalled: BTreeSet<ServerId>,
    network: Network,
    trace: Trace,
    checks: check::Checks,
    now: i64,
    writes: u64,
}

struct Settings {
    recent_max: usize,
    tick_ms: i64,
    counter_max: u32,
    reads_log: bool,
    leader_serves: bool,
    mutations: Mutations,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            recent_max: 500,
            tick_ms: 1000,
            counter_max: Config::COUNTER_MAX,
            reads_log: true,
            leader_serves: true,
            mutations: Mutations::NONE,
        }
    }
}

impl Ensemble {
    pub(crate) fn take_trace(&mut self) -> String {
        self.trace.take()
    }

    pub(crate) fn command(&mut self, line: &str) {
        let words = Words::new(line);
        match words.plain[0] {
            "ensemble" => self.set_up(&words),
            "start" => self.start(&words),
            "stop" => self.stop(words.server(1)),
            "cut" => self.cut(words.server(1), words.server(2)),
            "mute" => self.network.mute(words.server(1), words.server(2)),
            "heal" => self.heal(words.server(1), words.server(2)),
            "stall" => {
                self.stalled.insert(words.server(1));
            }
            "resume" => {
                self.stalled.remove(&words.server(1));
                self.later(1, Event::Disk(words.server(1)));
            }
            "write" => self.write(words.server(1), words.plain.get(2).map_or(1, |n| number(n))),
            "sync" => self.ask_sync(words.server(1)),
            "move" => self.move_session(words.server(1)),
            "run" => self.run(self.now + number(words.plain[1])),
            "forget" => drop(self.trace.take()),
            "show" => self.show(),
            other => panic!("{other:?} is no command of ensemble/mod.rs"),
        }
    }

    fn set_up(&mut self, words: &Words<'_>) {
        self.voters = (1..words.plain.len()).map(|place| words.server(place)).collect();
        self.observers = words.list("observers").map(|id| ServerId(number(id))).collect();
        let settings = &mut self.settings;
        settings.recent_max = words.number_or("recent", 500).try_into().expect("a count");
        settings.tick_ms = words.number_or("tick", 1000);
        let counter_max = words.number_or("counter-max", i64::from(Config::COUNTER_MAX));
        settings.counter_max = counter_max.try_into().expect("a counter");
        settings.reads_log = words.keys.get("reads-log") != Some(&"no");
        settings.leader_serves = words.keys.get("serves") != Some(&"no");
    }

    /// A bug that every server of this ensemble is to have.
    pub(crate) fn mutate(&mut self, mutations: Mutations) {
        self.settings.mutations = mutations;
    }

    fn config(&self, me: ServerId) -> Config {
        let rule = Rule::majority(self.voters.clone()).expect("a sound rule");
        let settings = &self.settings;
        Config {
            me,
            is_observer: self.observers.contains(&me),
            quorum: Quorum::new(rule),
            text: "version=0".into(),
            version: 0,
            timing: Timing {
                tick_ms: settings.tick_ms,
                init_limit: 10,
                sync_limit: 5,
                connect_limit: 0,
                interval_ms_min: 200,
                interval_ms_max: 60_000,
            },
            recent_max: settings.recent_max,
            reads_log: settings.reads_log,
            leader_serves: settings.leader_serves,
            counter_max: settings.counter_max,
            mutations: settings.mutations,
        }
    }

    fn start(&mut self, words: &Words<'_>) {
        let me = words.server(1);
        if words.keys.contains_key("log") || !self.disks.contains_key(&me) {
            self.disks.insert(me, Disk::of(words));
        }
        let disk = self.disks.get_mut(&me).expect("it was just put there");
        disk.recover();
        let (standing, recent) = (disk.standing(), disk.recent(self.settings.recent_max));
        let mut out = Vec::new();
        let zab = Zab::new(self.config(me), standing, recent, Millis(self.now), &mut out);
        self.running.insert(me, Server { zab, is_serving: false });
        self.carry_out(me, out);
    }

    fn stop(&mut self, server: ServerId) {
        self.running.remove(&server);
        self.disks.get_mut(&server).expect("it has run").crash();
        self.checks.stopped(server);
        for lost in self.network.stop(server) {
            self.later(1, lost);
        }
    }

    fn cut(&mut self, one: ServerId, other: ServerId) {
        for lost in self.network.cut(one, other) {
            self.later(1, lost);
        }
    }

    fn heal(&mut self, one: ServerId, other: ServerId) {
        for lost in self.network.heal(one, other) {
            self.later(1, lost);
        }
    }

    /// A leader's sessions change something; another's cannot.
    fn write(&mut self, server: ServerId, count: i64) {
        for _ in 0..count {
            let Some(running) = self.running.get(&server) else { return };
            let Some(zxid) = running.zab.next_zxid() else {
                return self.trace.say(self.now, server, "proposes nothing");
            };
            self.writes += 1;
            let record = self.writes.to_string().into_bytes().into();
            self.step(server, Input::Propose(Proposal { zxid, record }));
        }
    }

    fn ask_sync(&mut self, server: ServerId) {
        let link = self.running[&server].zab.leader_link().expect("a learner");
        let packet = Packet::Request(Forwarded {
            session: SessionId(1),
            cxid: ringkeeper::ids::Xid(1),
            op: ringkeeper::wire::OpCode::Sync as i32,
            body: Bytes::new(),
            identities: None,
        });
        self.step(server, Input::Say { link, packet });
    }

    fn move_session(&mut self, to: ServerId) {
        let link = self.running[&to].zab.leader_link().expect("a learner");
        let touch = Touch { session: SessionId(1), timeout_ms: 4000 };
        self.step(to, Input::Say { link, packet: Packet::Revalidate(touch) });
    }

    pub(crate) fn run(&mut self, until: i64) {
        loop {
            let timer = |(id, server): (&ServerId, &Server)| Some((server.zab.deadline()?.0, *id));
            let timer = self.running.iter().filter_map(timer).min();
            let event = self.network.next_at();
            let first = [timer.map(|(at, _)| at), event];
            let Some(at) = first.into_iter().flatten().min().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            if event == Some(at) {
                let event = self.network.pop();
                self.happen(event);
            } else {
                let (_, id) = timer.expect("nothing else is due");
                self.step(id, Input::Time);
            }
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Input(to, input) => self.step(to, input),
            Event::Connect { from, to } => {
                for (to, input) in self.network.connect(from, to) {
                    if self.running.contains_key(&to) {
                        self.step(to, input);
                    }
                }
            }
            Event::Disk(server) => self.flush(server),
            Event::Packet { to, link, packet } => {
                if self.network.is_up(link) {
                    self.step(to, Input::Packet { link, packet });
                }
            }
            Event::Snapshot { to, link, history } => {
                if self.network.is_up(link) {
                    let last = self.disks.get_mut(&to).expect("it runs").replace(history);
                    self.step(to, Input::Rebuilt { last });
                }
            }
        }
    }

    fn flush(&mut self, server: ServerId) {
        if self.stalled.contains(&server) || !self.running.contains_key(&server) {
            return;
        }
        let answers = self.disks.get_mut(&server).expect("it runs").flush();
        for answer in answers {
            self.step(server, answer);
        }
    }

    fn later(&mut self, ms: i64, event: Event) {
        self.network.later(self.now + ms, event);
    }

    pub(crate) fn step(&mut self, id: ServerId, input: Input) {
        let Some(server) = self.running.get_mut(&id) else { return };
        let mut out = Vec::new();
        server.zab.step(Millis(self.now), input, &mut out);
        self.carry_out(id, out);
    }

    fn carry_out(&mut self, from: ServerId, outputs: Vec<Output>) {
        self.trace.outputs(self.now, from, &outputs, &self.network);
        for output in outputs {
            self.carry_out_one(from, output);
        }
        self.checks.check(from, &self.disks[&from]);
    }

    fn carry_out_one(&mut self, from: ServerId, output: Output) {
        match output {
            Output::Election(Elected::Send { to, ballot }) => {
                self.later(1, Event::Input(to, Input::Notified { from, ballot }));
            }
            Output::Election(Elected::Dial(to)) => self.dial_election(from, to),
            Output::Listen => self.network.listen(from, true),
            Output::Unlisten => self.network.listen(from, false),
            Output::DialLeader { leader, .. } => {
                self.later(1, Event::Connect { from, to: leader });
            }
            Output::Send(link, packet) => {
                if let Some(sent) = self.network.send(link, packet) {
                    self.later(1, sent);
                }
            }
            Output::Close(link, _) => {
                if let Some(lost) = self.network.close(link) {
                    self.later(1, lost);
                }
            }
            Output::Append(proposal) => self.disk(from).append(proposal),
            Output::Persist(record) => self.disk(from).persist(record),
            Output::Truncate { to } => {
                let answer = self.disk(from).truncate(to);
                self.later(1, Event::Input(from, answer));
            }
            Output::Commit(proposal) => {
                self.disks.get_mut(&from).expect("it runs").apply(&proposal);
            }
            Output::SendSnapshot { link } => {
                let history = self.disks[&from].applied();
                if let Some((to, link)) = self.network.reach(link) {
                    self.later(1, Event::Snapshot { to, link, history });
                }
            }
            Output::ReadLog { link, from: after, upto, .. } => {
                let history = self.disks[&from].read(after, upto);
                let read = Input::LogRead { link, history };
                self.later(1, Event::Input(from, read));
            }
            Output::Pass { link, packet: Packet::Ping { zxid, .. } }
                if self.running[&from].zab.leader_link() == Some(link) =>
            {
                let packet = Packet::Ping { zxid, touches: Some(Vec::new()) };
                self.later(0, Event::Input(from, Input::Say { link, packet }));
            }
            Output::Pass { link, packet: Packet::Request(_) } => {
                self.later(0, Event::Input(from, Input::Sync(link)));
            }
            Output::Pass { link, packet: Packet::Revalidate(Touch { session, .. }) } => {
                let packet = Packet::Revalidated { session, is_valid: true };
                self.later(0, Event::Input(from, Input::Say { link, packet }));
            }
            Output::ReceiveSnapshot { .. }
            | Output::Pass { .. }
            | Output::Election(
                Elected::TimedOut { .. } | Elected::UnknownLeader { .. } | Elected::Decided { .. },
            ) => {}
            Output::Serve { epoch, .. } => self.serve(from, epoch),
            Output::Rest(_) => {
                self.running.get_mut(&from).expect("it runs").is_serving = false;
                self.checks.rested(from);
            }
        }
    }

    fn serve(&mut self, server: ServerId, epoch: Epoch) {
        let running = self.running.get_mut(&server).expect("it runs");
        running.is_serving = true;
        let leads = running.zab.leader() == Some(server);
        self.checks.served(server, epoch, leads, &self.disks[&server]);
    }

    /// Both answers of a disk, appends and epochs, take their turn 1 ms later.
    fn disk(&mut self, server: ServerId) -> &mut Disk {
        self.network.later(self.now + 1, Event::Disk(server));
        self.disks.get_mut(&server).expect("it runs")
    }

    fn dial_election(&mut self, from: ServerId, to: ServerId) {
        let is_up = self.running.contains_key(&to);
        if is_up && self.network.connect_election(from, to) {
            self.later(1, Event::Input(from, Input::ElectionUp(to)));
            self.later(1, Event::Input(to, Input::ElectionUp(from)));
        }
    }

    fn show(&mut self) {
        for (id, server) in &self.running {
            let disk = &self.disks[id];
            let serves = if server.is_serving { ", serving" } else { "" };
            let standing = server.zab.standing();
            let what = format!(
                "{}{serves}; log {}, tree {}; accepted {}, current {}",
                server.zab.state(),
                disk.last_logged(),
                disk.last_applied(),
                standing.accepted.0,
                standing.current.0,
            );
            self.trace.say(self.now, *id, &what);
        }
    }

    /// A server's core, for what a story does not say.
    pub(crate) fn zab(&self, server: i64) -> &Zab {
        &self.running[&ServerId(server)].zab
    }
}
