//! A cluster of elections under a clock of its own: what a story's commands act on.
//!
//! ```text
//! cluster 1 2 3 [observers=4] [weights=3:0]   who there is
//! start N [zxid=0x..] [epoch=N]               a server starts with this history
//! look N [zxid=0x..] [epoch=N]                its role has ended
//! stop N                                      it crashes
//! cut A B | heal A B                          the link between two, for dialing and talking
//! establish EPOCH N...                        they lead or follow in this epoch
//! say FROM TO STATE leader= zxid= round= epoch=   a message that FROM did not mean to send
//! run MS                                      time passes; each message takes 1 ms
//! show                                        what each server thinks
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ringkeeper::ids::{Epoch, Millis, Round, ServerId, Zxid};
use ringkeeper::wire::election::{PeerState, Vote};
use ringkeeper::zab::election::{Ballot, Election, History, Output, Rules};
use ringkeeper::zab::{Mutations, Quorum, Rule};

use crate::words::{Words, number};

const LATENCY_MS: i64 = 1;

#[derive(Default)]
pub(crate) struct Cluster {
    voters: Vec<ServerId>,
    observers: Vec<ServerId>,
    weights: Vec<(ServerId, u64)>,
    running: BTreeMap<ServerId, Election>,
    /// Pairs, the smaller first.
    connected: BTreeSet<(ServerId, ServerId)>,
    cut: BTreeSet<(ServerId, ServerId)>,
    events: BTreeMap<(i64, u64), Event>,
    sequence: u64,
    now: i64,
    trace: String,
}

#[derive(Clone, Copy)]
enum Event {
    Deliver { from: ServerId, to: ServerId, ballot: Ballot },
    Connect(ServerId, ServerId),
}

fn history(words: &Words<'_>) -> History {
    History { last_logged: Zxid(words.number("zxid")), epoch: Epoch(words.number("epoch")) }
}

fn pair(one: ServerId, other: ServerId) -> (ServerId, ServerId) {
    (one.min(other), one.max(other))
}

impl Cluster {
    pub(crate) fn take_trace(&mut self) -> String {
        std::mem::take(&mut self.trace)
    }

    pub(crate) fn command(&mut self, line: &str) {
        let words = Words::new(line);
        match words.plain[0] {
            "cluster" => self.set_up(&words),
            "start" => self.start(words.server(1), history(&words)),
            "look" => self.with(words.server(1), |election, now, out| {
                election.look(history(&words), now, out);
            }),
            "stop" => self.stop(words.server(1)),
            "cut" => {
                self.cut.insert(pair(words.server(1), words.server(2)));
                self.disconnect(words.server(1), words.server(2));
            }
            "heal" => {
                self.cut.remove(&pair(words.server(1), words.server(2)));
            }
            "establish" => {
                for place in 2..words.plain.len() {
                    let epoch = Epoch(number(words.plain[1]));
                    self.with(words.server(place), |election, _, _| election.establish(epoch));
                }
            }
            "say" => self.say(&words),
            "run" => self.run(self.now + number(words.plain[1])),
            "show" => self.show(),
            other => panic!("{other:?} is no command of env.rs"),
        }
    }

    fn set_up(&mut self, words: &Words<'_>) {
        self.voters = (1..words.plain.len()).map(|place| words.server(place)).collect();
        self.observers = words.list("observers").map(|id| ServerId(number(id))).collect();
        let weight = |text: &str| {
            let (id, weight) = text.split_once(':').expect("id:weight");
            (ServerId(number(id)), weight.parse().expect("a weight"))
        };
        self.weights = words.list("weights").map(weight).collect();
    }

    fn rules(&self, me: ServerId) -> Rules {
        let voters = self.voters.clone();
        let rule = match self.weights.len() {
            0 => Rule::majority(voters),
            _ => Rule::hierarchical(voters.clone(), &[voters], &self.weights),
        };
        Rules {
            me,
            is_observer: self.observers.contains(&me),
            quorum: Quorum::new(rule.expect("sound rules")),
            interval_ms_min: 200,
            interval_ms_max: 60_000,
            mutations: Mutations::NONE,
        }
    }

    fn start(&mut self, me: ServerId, history: History) {
        let mut out = Vec::new();
        let election = Election::new(self.rules(me), history, Millis(self.now), &mut out);
        self.running.insert(me, election);
        self.carry_out(me, out);
    }

    fn stop(&mut self, server: ServerId) {
        self.running.remove(&server);
        let others: Vec<ServerId> = self.running.keys().copied().collect();
        for other in others {
            self.disconnect(server, other);
        }
    }

    /// What was on its way is lost.
    fn disconnect(&mut self, one: ServerId, other: ServerId) {
        self.events.retain(|_, event| match event {
            Event::Deliver { from, to, .. } | Event::Connect(from, to) => {
                pair(*from, *to) != pair(one, other)
            }
        });
        if self.connected.remove(&pair(one, other)) {
            for (end, peer) in [(one, other), (other, one)] {
                self.with(end, |election, _, out| election.on_disconnected(peer, out));
            }
        }
    }

    fn say(&mut self, words: &Words<'_>) {
        let state = match words.plain[3] {
            "LOOKING" => PeerState::Looking,
            "FOLLOWING" => PeerState::Following,
            "LEADING" => PeerState::Leading,
            "OBSERVING" => PeerState::Observing,
            other => panic!("{other:?} is no state"),
        };
        let vote = Vote {
            leader: ServerId(words.number("leader")),
            zxid: Zxid(words.number("zxid")),
            round: Round(words.number("round")),
            epoch: Epoch(words.number("epoch")),
        };
        let (from, to) = (words.server(1), words.server(2));
        self.later(Event::Deliver { from, to, ballot: Ballot { state, vote, version: 2 } });
    }

    fn later(&mut self, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + LATENCY_MS, self.sequence), event);
    }

    fn run(&mut self, until: i64) {
        loop {
            let timer =
                |(id, election): (&ServerId, &Election)| Some((election.deadline()?.0, *id));
            let timer = self.running.iter().filter_map(timer).min();
            let event = self.events.keys().next().copied();
            let first = [timer.map(|(at, _)| at), event.map(|(at, _)| at)];
            let Some(at) = first.into_iter().flatten().min().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            let due = event.filter(|(due, _)| *due == at);
            if let Some(event) = due.and_then(|key| self.events.remove(&key)) {
                self.happen(event);
            } else {
                let (_, id) = timer.expect("nothing else is due");
                self.with(id, Election::on_time);
            }
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, ballot } => self.with(to, |election, now, out| {
                election.on_notification(from, ballot, now, out);
            }),
            Event::Connect(one, other) => {
                if self.connected.insert(pair(one, other)) {
                    for (end, peer) in [(one, other), (other, one)] {
                        self.with(end, |election, _, out| election.on_connected(peer, out));
                    }
                }
            }
        }
    }

    fn with(&mut self, id: ServerId, step: impl FnOnce(&mut Election, Millis, &mut Vec<Output>)) {
        let Some(election) = self.running.get_mut(&id) else { return };
        let mut out = Vec::new();
        step(election, Millis(self.now), &mut out);
        self.carry_out(id, out);
    }

    fn carry_out(&mut self, from: ServerId, outputs: Vec<Output>) {
        let mut told: Option<(Ballot, Vec<ServerId>)> = None;
        for output in outputs {
            if let Output::Send { to, ballot } = output {
                self.later(Event::Deliver { from, to, ballot });
                match &mut told {
                    Some((same, to_all)) if *same == ballot => to_all.push(to),
                    _ => self.trace_told(from, told.replace((ballot, vec![to]))),
                }
                continue;
            }
            self.trace_told(from, told.take());
            match output {
                Output::Send { .. } => {}
                Output::Dial(to) => {
                    let is_up = self.running.contains_key(&to);
                    if is_up && !self.cut.contains(&pair(from, to)) {
                        self.later(Event::Connect(from, to));
                    }
                }
                Output::TimedOut { interval_ms } => {
                    self.log(from, &format!("notification time out: {interval_ms} ms"));
                }
                Output::UnknownLeader { from: peer, leader } => {
                    self.log(from, &format!("{peer} is for {leader}, which is no voter"));
                }
                Output::Decided { state, vote } => {
                    self.log(from, &format!("=> {state} under {}", described(vote)));
                }
            }
        }
        self.trace_told(from, told);
    }

    fn trace_told(&mut self, from: ServerId, told: Option<(Ballot, Vec<ServerId>)>) {
        let Some((ballot, to)) = told else { return };
        let to: Vec<String> = to.iter().map(ServerId::to_string).collect();
        let what = format!("{} for {}", ballot.state, described(ballot.vote));
        self.log(from, &format!("{what} -> {}", to.join(" ")));
    }

    fn log(&mut self, server: ServerId, what: &str) {
        let _ = writeln!(self.trace, "{:>5} ms  {server}: {what}", self.now);
    }

    fn show(&mut self) {
        let lines: Vec<_> = self
            .running
            .iter()
            .map(|(id, election)| {
                (*id, format!("is {} for {}", election.state(), described(election.vote())))
            })
            .collect();
        for (id, line) in lines {
            self.log(id, &line);
        }
    }
}

fn described(vote: Vote) -> String {
    let Vote { leader, zxid, round, epoch } = vote;
    match leader.0 {
        i64::MIN => format!("nobody, round {round}"),
        _ => format!("{leader}, zxid {zxid}, epoch {}, round {round}", epoch.0),
    }
}
