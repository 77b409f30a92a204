//! Misfortunes in a certain order, for bugs that single ones, however many, hardly ever show; and
//! how a history ends.

use super::faults::Fault;
use super::{Cluster, Event};
use crate::node::Server;
use crate::plan::{Ending, server};
use crate::queue::{MILLI, Micros};

/// What the next misfortune of a story waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cues {
    /// A leader is established.
    dawn: bool,
    /// This node has cut its log, or replaced it: its disk stalls until then.
    cut: Option<(usize, Micros)>,
}

impl Cluster {
    /// A follower has acked what nobody else has on disk, comes back, and is cut to what is
    /// committed. Its acks from before must not count: the leader's disk goes on first, and then
    /// only the leader has what they would commit.
    ///
    /// All disks but the follower's stall, the leader's for the shortest time, so that proposals
    /// wait for acks; its connection breaks; and its own disk stalls as soon as it is cut.
    pub(super) fn cut_back(&mut self) {
        let Some(leader) = self.leading() else { return };
        let voters = 0..self.plan.voters;
        let others: Vec<_> = voters.filter(|node| *node != leader).collect();
        let follower = *self.random.pick(&others);
        let links = self.nodes[follower].server.as_ref().map(|it| (it.leader, it.links.clone()));
        let Some((Some(link), links)) = links else { return };
        let Some((id, side)) = links.get(&link).copied() else { return };
        let (now, wait) = (self.now(), self.plan.timing.sync_ms() * MILLI / 4);
        self.say(follower, || "acks what others do not flush, and will be cut".to_owned());
        for node in others.into_iter().filter(|node| *node != follower) {
            let until = now + 2 * wait + self.around(2 * wait);
            self.nodes[node].stall_until(until);
        }
        self.nodes[leader].stall_until(now + 2 * wait);
        self.cues.cut = Some((follower, now + 3 * wait));
        for side in [side, side.other()] {
            self.queue.plan_in(wait / 2, Event::Lost(id, side));
        }
    }

    pub(super) fn on_cut(&mut self, node: usize) {
        if let Some((_, until)) = self.cues.cut.take_if(|(follower, _)| *follower == node) {
            self.nodes[node].stall_until(until);
        }
    }

    fn leading(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.server.as_ref().is_some_and(Server::is_leading))
    }

    /// How a history ends: with what is to come right again.
    ///
    /// A quorum is enough, whichever it is: in many histories no more than that is mended at first.
    pub(super) fn play_ending(&mut self) {
        self.is_chaos = false;
        self.cues = Cues::default();
        let stranded = match self.plan.ending {
            Ending::Everybody => return self.make_peace(|_| true),
            Ending::Quorum => None,
            Ending::Stranded => self.strand_leader(),
        };
        let kept = self.bare_quorum(stranded);
        self.make_peace(|node| kept.contains(&node));
        self.expect_progress();
        self.make_peace(|_| true);
    }

    /// The leader is cut off with what it goes on logging, and the others elect another. As soon
    /// as that one is established everything stops: who has the longest log then has not the
    /// newest history (ZOOKEEPER-1154).
    fn strand_leader(&mut self) -> Option<usize> {
        self.make_peace(|_| true);
        self.run_while(|cluster| cluster.leading().is_none());
        let leader = self.leading()?;
        self.run_until(self.now() + 20 * self.plan.think);
        self.isolate(leader);
        self.cues.dawn = true;
        self.run_while(|cluster| cluster.cues.dawn);
        (0..self.nodes.len()).for_each(|node| self.fall(node));
        Some(leader)
    }

    /// For as long as it may take until there is a leader.
    fn run_while(&mut self, goes_on: impl Fn(&Self) -> bool) {
        let end = self.patience_end();
        while goes_on(self)
            && let Some(event) = self.queue.pop(end)
        {
            self.on_event(event);
        }
    }

    /// A leader is established.
    pub(super) fn on_dawn(&mut self) {
        self.cues.dawn = false;
    }

    /// Voters that are just enough, this one among them, and all observers.
    fn bare_quorum(&mut self, stranded: Option<usize>) -> Vec<usize> {
        let mut kept: Vec<_> = (0..self.nodes.len()).collect();
        let mut spare: Vec<_> = (0..self.plan.voters).filter(|it| Some(*it) != stranded).collect();
        while !spare.is_empty() {
            let node = spare.swap_remove(self.random.below(spare.len()));
            let others = kept.iter().copied().filter(|it| *it != node && *it < self.plan.voters);
            if self.quorum.is_met_by(others.map(server)) {
                kept.retain(|it| *it != node);
            }
        }
        kept
    }

    /// No more faults; all that is left of them is mended, but for servers that stay down.
    fn make_peace(&mut self, is_kept: impl Fn(usize) -> bool) {
        self.is_chaos = false;
        self.cues = Cues::default();
        self.on_mend(Fault::Partition);
        for node in 0..self.nodes.len() {
            self.nodes[node].crash_in = None;
            if is_kept(node) {
                let life = self.nodes[node].life;
                self.queue.plan_in(MILLI, Event::Start(node, life));
            } else {
                self.fall(node);
                self.nodes[node].life += 1; // a start that is planned does not come
            }
        }
    }
}
