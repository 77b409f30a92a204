//! The core is fed, and what it asks for is carried out, in order; between any two of its outputs
//! the node may crash.

use std::borrow::Cow;

use ringkeeper::wire::election::{Notification, PeerState};
use ringkeeper::wire::quorum::Packet;
use ringkeeper::zab::election::{self, Ballot};
use ringkeeper::zab::{EpochRecord, Input, LinkId, Output, Proposal};

use super::{Cluster, Event, LogRead, Task};
use crate::node::Storage;
use crate::plan::node_of;
use crate::queue::{MILLI, Micros};

/// What the nodes say their configuration is.
pub(super) const CONFIG: &str = "server.1=sim";

impl Cluster {
    /// Gives the core an input, and does all that follows from it at once.
    pub(super) fn feed(&mut self, node: usize, input: Input) {
        if self.is_busy {
            // From within: what is being carried out is finished first.
            return self.tasks.push_back(Task::Feed(input));
        }
        self.enter(node, |cluster| cluster.step(node, input));
    }

    /// Does something to a node's core, and all that follows from it at once.
    pub(super) fn enter(&mut self, node: usize, begin: impl FnOnce(&mut Self)) {
        assert!(!self.is_busy, "nodes do one thing after another");
        self.is_busy = true;
        let life = self.nodes[node].life;
        begin(self);
        while let Some(task) = self.tasks.pop_front() {
            if !self.lives(node, life) {
                self.tasks.clear();
                break;
            }
            match task {
                Task::Feed(input) => self.step(node, input),
                Task::Passed(link, packet) => self.on_passed(node, link, packet),
            }
        }
        self.is_busy = false;
        if self.lives(node, life) {
            self.plan_due(node);
            self.read_on(node);
        }
    }

    /// One step of the core; only where nothing is being carried out.
    pub(super) fn step(&mut self, node: usize, input: Input) {
        let now = self.nodes[node].clock.read(self.now());
        self.trace.say(self.queue.now(), format_args!("n{}", node + 1), || told_input(&input));
        let mut outputs = std::mem::take(&mut self.spare);
        self.nodes[node].server().zab.step(now, input, &mut outputs);
        self.carry_out(node, outputs);
    }

    pub(super) fn carry_out(&mut self, node: usize, mut outputs: Vec<Output>) {
        let life = self.nodes[node].life;
        for output in outputs.drain(..) {
            if let Some(left) = &mut self.nodes[node].crash_in {
                if *left == 0 {
                    self.crash(node);
                    break;
                }
                *left -= 1;
            }
            self.carry_out_one(node, output);
            if !self.lives(node, life) {
                break;
            }
        }
        outputs.clear();
        self.spare = outputs;
    }

    fn carry_out_one(&mut self, node: usize, output: Output) {
        self.trace.say(self.queue.now(), format_args!("n{}", node + 1), || told_output(&output));
        match output {
            Output::Election(output) => self.carry_out_election(node, output),
            Output::Listen => self.nodes[node].server().is_listening = true,
            Output::Unlisten => self.nodes[node].server().is_listening = false,
            Output::DialLeader { leader, timeout_ms } => {
                let delay = self.network.delay();
                let (life, timeout) = (self.nodes[node].life, timeout_ms * MILLI);
                let event = Event::DialLeader { from: node, life, to: node_of(leader), timeout };
                self.queue.plan_in(delay, event);
            }
            Output::Send(link, packet) => self.send_packet(node, link, &packet),
            Output::Close(link, why) => {
                self.check_why(node, &why);
                self.close_link(node, link);
            }
            Output::Append(proposal) => self.append(node, &proposal),
            Output::Commit(proposal) => self.apply(node, &proposal),
            Output::Persist(what) => self.persist(node, what),
            Output::Truncate { to } => self.begin_storage(node, Storage::Truncating { to }),
            Output::ReceiveSnapshot { link, zxid } => {
                self.nodes[node].server().storage = Some(Storage::Receiving { link, zxid });
            }
            Output::SendSnapshot { link } => self.send_snapshot(node, link),
            Output::ReadLog { link, from, upto, bytes_max } => {
                let read = LogRead { link, from, upto, bytes_max };
                let delay = self.around(2 * MILLI);
                let event = Event::LogRead(node, self.nodes[node].life, Box::new(read));
                self.queue.plan_in(delay, event);
            }
            Output::Pass { link, packet } => self.tasks.push_back(Task::Passed(link, packet)),
            Output::Serve { epoch, to_clients } => self.serve(node, epoch, to_clients),
            Output::Rest(why) => {
                self.check_why(node, &why);
                self.rest(node);
            }
        }
    }

    fn carry_out_election(&mut self, node: usize, output: election::Output) {
        match output {
            election::Output::Send { to, ballot } => self.notify(node, node_of(to), ballot),
            election::Output::Dial(to) => self.dial_election(node, node_of(to)),
            election::Output::TimedOut { .. } | election::Output::UnknownLeader { .. } => {}
            election::Output::Decided { state, .. } => {
                let kind = match state {
                    PeerState::Looking => 0,
                    PeerState::Following => 1,
                    PeerState::Leading => 2,
                    PeerState::Observing => 3,
                };
                self.trace.mix(self.queue.now(), 3 + ((node as u64) << 8) + (kind << 16));
            }
        }
    }

    fn notify(&mut self, node: usize, to: usize, ballot: Ballot) {
        let Some((id, side)) = self.nodes[node].server().election[to] else { return };
        if to < self.plan.voters {
            self.check_vote(node, &ballot); // others are told of the last election
        }
        let Ballot { state, vote, version } = ballot;
        let config = Some(Cow::Borrowed(CONFIG));
        let notification = Notification { state, vote, version, config };
        self.send(id, side, |bytes| notification.encode_frame(bytes));
    }

    pub(super) fn send_packet(&mut self, node: usize, link: LinkId, packet: &Packet) {
        let Some((id, side)) = self.nodes[node].server().links.get(&link).copied() else { return };
        if self.leaves_out(node, link, packet) {
            return;
        }
        self.check_said(node, link, packet);
        self.send(id, side, |bytes| packet.encode(bytes));
    }

    fn close_link(&mut self, node: usize, link: LinkId) {
        if let Some((id, side)) = self.nodes[node].server().links.remove(&link) {
            self.close(id, side);
        }
        self.stop_receiving(node, link);
    }

    fn append(&mut self, node: usize, proposal: &Proposal) {
        self.check_counter(node, proposal);
        let disk = &mut self.nodes[node].disk;
        let (zxid, record) = (proposal.zxid, &proposal.record);
        let place = self.checker.histories.extend(disk.appended(), zxid, record);
        disk.append(proposal, place);
        self.begin_flush(node);
    }

    /// A flush takes what queued up while the last one ran.
    pub(super) fn begin_flush(&mut self, node: usize) {
        let takes = self.disk_takes(node);
        let life = self.nodes[node].life;
        if self.nodes[node].disk.begin_flush() {
            self.queue.plan_in(takes, Event::Flushed(node, life));
        }
    }

    /// How long the disk takes, this time.
    pub(super) fn disk_takes(&mut self, node: usize) -> Micros {
        let usual = self.plan.flush / 2 + self.around(self.plan.flush);
        let stalled = self.nodes[node].stalled_until - self.now();
        usual + stalled.max(0)
    }

    pub(super) fn on_flushed(&mut self, node: usize) {
        let Some(upto) = self.nodes[node].disk.end_flush() else { return };
        self.begin_flush(node);
        self.trace.mix(self.queue.now(), 4 + ((node as u64) << 8) + (upto.0.cast_unsigned() << 16));
        self.feed(node, Input::Durable(upto));
    }

    fn persist(&mut self, node: usize, what: EpochRecord) {
        self.check_epoch(node, what);
        let takes = self.disk_takes(node);
        let it = &mut self.nodes[node];
        // One after another, in the order in which they were asked for.
        it.persisted_at = it.persisted_at.max(self.queue.now() + takes);
        self.queue.plan(it.persisted_at, Event::Persisted(node, it.life, what));
    }
}

/// Inputs that say nothing new beside what was said when they came are left out.
fn told_input(input: &Input) -> String {
    match input {
        Input::Propose(Proposal { zxid, .. }) => format!("-> Propose {zxid}"),
        Input::Say { link, packet } => format!("-> Say {link:?} {}", told_packet(packet)),
        Input::Packet { link, packet } => format!("<- {link:?} {}", told_packet(packet)),
        Input::LogRead { link, history } => {
            let count = history.as_ref().map(Vec::len);
            format!("-> LogRead {link:?}: {count:?} txns")
        }
        other => format!("-> {other:?}"),
    }
}

fn told_output(output: &Output) -> String {
    match output {
        Output::Append(Proposal { zxid, .. }) => format!("   Append {zxid}"),
        Output::Commit(Proposal { zxid, .. }) => format!("   Commit {zxid}"),
        Output::Send(link, packet) => format!("   Send {link:?} {}", told_packet(packet)),
        Output::Pass { link, packet } => format!("   Pass {link:?} {}", told_packet(packet)),
        other => format!("   {other:?}"),
    }
}

/// Without the records, which are long.
pub(super) fn told_packet(packet: &Packet) -> String {
    match packet {
        Packet::Proposal { zxid, .. } => format!("Proposal {zxid}"),
        Packet::Inform { zxid, .. } => format!("Inform {zxid}"),
        Packet::Request(request) => {
            format!("Request {} {} op {}", request.session, request.cxid.0, request.op)
        }
        other => format!("{other:?}"),
    }
}
