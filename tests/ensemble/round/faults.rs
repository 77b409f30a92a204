//! What is done to a cluster, chosen by seed.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::load::Load;
use crate::support::{Random, wait_for};

/// Whom it hits.
#[derive(Clone, Copy, Debug)]
pub enum Victim {
    Leader,
    Follower,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub enum Harm {
    /// `kill -9`.
    Kill,
    /// `SIGTERM`, started again at once.
    Restart,
    /// `SIGSTOP`.
    Pause,
    /// Nothing reaches it or comes from it.
    Cut,
    /// It hears nothing, and is heard.
    Deafen,
    /// It is not heard, and hears all.
    Mute,
    /// One link, both ways: a follower and the leader, or two followers.
    CutLink,
    /// `kill -9` of every node.
    KillAll,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub harm: Harm,
    pub victim: Victim,
    /// How long it stands.
    pub hold: Duration,
}

const ON_THIS_MACHINE: &[Harm] =
    &[Harm::Kill, Harm::Kill, Harm::Restart, Harm::Pause, Harm::KillAll];
const ON_LINKS: &[Harm] = &[Harm::Cut, Harm::Deafen, Harm::Mute, Harm::CutLink];

impl Fault {
    /// The next fault of a seed.
    pub fn pick(random: &mut Random, can_cut: bool) -> Self {
        let harms = if can_cut && random.one_in(2) { ON_LINKS } else { ON_THIS_MACHINE };
        Self {
            harm: *random.pick(harms),
            victim: *random.pick(&[Victim::Leader, Victim::Follower]),
            hold: Duration::from_millis(300 + random.below(6000) as u64),
        }
    }

    /// For the record of a round.
    pub fn text(&self) -> String {
        format!("{:?} {:?} for {:?}", self.harm, self.victim, self.hold)
    }

    /// Inflicts it, lets it stand, and heals. The load goes on meanwhile.
    pub fn strike(
        &self,
        cluster: &mut Cluster,
        load: &Load,
        random: &mut Random,
    ) -> Result<(), String> {
        let leader = cluster.wait_leader(&[])?;
        let count = cluster.nodes.len();
        let follower = (leader + 1 + random.below(count - 1)) % count;
        let victim = match self.victim {
            Victim::Leader => leader,
            Victim::Follower => follower,
        };
        self.inflict(cluster, victim, leader)?;
        wait_for(self.hold, || load.has_failed());
        cluster.heal()
    }

    fn inflict(&self, cluster: &mut Cluster, victim: usize, leader: usize) -> Result<(), String> {
        let others: Vec<_> = (0..cluster.nodes.len()).filter(|at| *at != victim).collect();
        match self.harm {
            Harm::Kill => cluster.kill(victim),
            Harm::KillAll => (0..cluster.nodes.len()).try_for_each(|at| cluster.kill(at)),
            Harm::Restart => {
                cluster.stop(victim)?;
                cluster.spawn(victim)
            }
            Harm::Pause => cluster.pause(victim),
            Harm::Cut => others.iter().try_for_each(|other| {
                cluster.network.cut(victim, *other)?;
                cluster.network.cut(*other, victim)
            }),
            Harm::Deafen => others.iter().try_for_each(|other| cluster.network.cut(*other, victim)),
            Harm::Mute => others.iter().try_for_each(|other| cluster.network.cut(victim, *other)),
            Harm::CutLink => {
                let end = if victim == leader { others[0] } else { leader };
                cluster.network.cut(victim, end)?;
                cluster.network.cut(end, victim)
            }
        }
    }
}
