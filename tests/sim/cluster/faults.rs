//! What goes wrong, and its end.

use ringkeeper::wire::election::PeerState;

use super::{Cluster, Event};
use crate::disk::Disk;
use crate::node::Node;
use crate::queue::{MILLI, SECOND};

/// A fault that is mended by itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Partition,
}

impl Cluster {
    pub(super) fn plan_fault(&mut self) {
        if let Some(every) = self.plan.fault_every {
            let delay = self.around(every);
            self.queue.plan_in(delay, Event::Fault);
        }
    }

    pub(super) fn on_fault(&mut self) {
        if !self.is_chaos {
            return;
        }
        self.plan_fault();
        self.faults += 1;
        self.trace.mix(self.queue.now(), 10);
        let node = self.victim();
        match self.random.below(100) {
            0..12 => self.crash(node),
            12..30 => self.crash_in_the_midst(node),
            30..34 => (0..self.nodes.len()).for_each(|node| self.crash(node)),
            34..52 => self.partition(node),
            52..60 => self.cut_one_way(node),
            60..72 => self.break_connection(),
            72..78 => self.dial_again(node),
            78..86 => self.stall(node),
            86..92 => self.pause(node),
            92..94 => self.wipe_observer(),
            94..97 => self.cut_back(),
            _ => {
                let client = self.random.below(self.clients.len());
                self.break_wire(client);
            }
        }
    }

    /// Mostly the leader: there is most to lose.
    fn victim(&mut self) -> usize {
        let leads = |node: &Node| {
            node.server.as_ref().is_some_and(|it| it.zab.state() == PeerState::Leading)
        };
        match self.nodes.iter().position(leads) {
            Some(leader) if self.random.one_in(2) => leader,
            Some(_) | None => self.random.below(self.nodes.len()),
        }
    }

    /// It crashes after some of what its core asks for next.
    fn crash_in_the_midst(&mut self, node: usize) {
        let outputs = u32::try_from(self.random.below(12)).unwrap_or(0);
        self.nodes[node].crash_in = Some(outputs);
    }

    /// A process that is down is started again.
    pub(super) fn plan_start(&mut self, node: usize) {
        let mean = *self.random.pick(&[20 * MILLI, 500 * MILLI, 5 * SECOND]);
        let delay = self.around(mean);
        self.queue.plan_in(delay, Event::Start(node, self.nodes[node].life));
    }

    /// Two groups that do not hear of each other; or one node alone.
    fn partition(&mut self, node: usize) {
        let bits = if self.random.one_in(2) { 1 << node } else { self.random.next() };
        self.separate(node, bits);
        self.plan_mend();
    }

    /// Nobody hears this node, nor does it hear anybody.
    pub(super) fn isolate(&mut self, node: usize) {
        self.separate(node, 1 << node);
    }

    /// Nodes whose bits differ do not hear of each other.
    fn separate(&mut self, node: usize, bits: u64) {
        let count = self.nodes.len();
        self.say(node, || format!("partition {:b}", bits & ((1 << count) - 1)));
        for from in 0..count {
            for to in 0..count {
                if (bits >> from) & 1 != (bits >> to) & 1 {
                    self.network.cut(from, to);
                }
            }
        }
    }

    /// A node is not heard any more by another, or by any, and hears them; or the other way.
    fn cut_one_way(&mut self, node: usize) {
        let is_mute = self.random.one_in(2);
        let only = self.random.below(self.nodes.len() * 2);
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            if only < self.nodes.len() && only != other {
                continue;
            }
            let (from, to) = if is_mute { (node, other) } else { (other, node) };
            self.say(node, || format!("cut from n{} to n{}", from + 1, to + 1));
            self.network.cut(from, to);
        }
        self.plan_mend();
    }

    fn plan_mend(&mut self) {
        let mean = *self.random.pick(&[50 * MILLI, SECOND, 5 * SECOND, 15 * SECOND]);
        let delay = self.around(mean);
        self.queue.plan_in(delay, Event::Mend(Fault::Partition));
    }

    pub(super) fn on_mend(&mut self, fault: Fault) {
        match fault {
            Fault::Partition => {
                for (id, side, delay) in self.network.mend() {
                    self.queue.plan_in(delay, Event::Arrive(id, side));
                }
            }
        }
    }

    /// One connection, at one end or at both, at once or late.
    fn break_connection(&mut self) {
        let node = self.random.below(self.nodes.len());
        let open = self.network.open_ends(node, self.nodes[node].life);
        if open.is_empty() {
            return;
        }
        let (id, side) = *self.random.pick(&open);
        let is_half = self.random.one_in(3);
        let late = self.around(SECOND);
        self.network.forget(id);
        self.on_lost(id, side);
        if !is_half {
            self.queue.plan_in(late, Event::Lost(id, side.other()));
        }
    }

    /// A second election connection between two that have one.
    fn dial_again(&mut self, node: usize) {
        let peer = self.random.below(self.nodes.len());
        if peer != node && self.nodes[node].server.is_some() {
            self.dial_election(node, peer);
        }
    }

    fn stall(&mut self, node: usize) {
        let mean = *self.random.pick(&[100 * MILLI, SECOND, 5 * SECOND]);
        let until = self.now() + self.around(mean);
        self.say(node, || format!("its disk stalls until {until}"));
        self.nodes[node].stall_until(until);
    }

    /// The process stands still; what comes waits.
    fn pause(&mut self, node: usize) {
        let mean = *self.random.pick(&[100 * MILLI, 2 * SECOND, 20 * SECOND]);
        let until = self.now() + self.around(mean);
        self.say(node, || format!("stands still until {until}"));
        let it = &mut self.nodes[node];
        it.paused_until = it.paused_until.max(until); // what waits must not be overtaken
    }

    /// An observer loses its disk: nothing depends on it.
    fn wipe_observer(&mut self) {
        if self.plan.observers == 0 {
            return;
        }
        let node = self.plan.voters + self.random.below(self.plan.observers);
        self.crash(node);
        self.say(node, || "loses its disk".to_owned());
        self.nodes[node].disk = Disk::new();
    }
}
