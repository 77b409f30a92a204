//! What a seed decides before a history begins: how large the ensemble is, how fast, how unlucky.

use ringkeeper::ids::ServerId;
use ringkeeper::zab::{Quorum, Rule, Timing};

use crate::queue::{MILLI, Micros, SECOND};
use crate::random::Random;

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan {
    pub voters: usize,
    pub observers: usize,
    /// Voters in three groups, by weight, instead of a plain majority.
    pub is_hierarchical: bool,
    pub clients: usize,
    pub timing: Timing,
    pub session_timeout_ms: i32,
    /// Between nodes, and how much it varies.
    pub latency: Micros,
    pub jitter: Micros,
    /// How long a flush takes, usually.
    pub flush: Micros,
    /// How far clocks go wrong, in millionths.
    pub skew_ppm: i64,
    /// Txns between snapshots.
    pub snap_count: u32,
    pub recent_max: usize,
    pub reads_log: bool,
    /// Zxids of an epoch, so that some epochs end for want of them.
    pub counter_max: u32,
    /// Leaders leave out a txn now and then, as those of ZooKeeper 3.9.3 do (ZOOKEEPER-4925).
    pub has_holes: bool,
    /// Between two faults, on average; `None` without any.
    pub fault_every: Option<Micros>,
    /// A client thinks this long between operations, on average.
    pub think: Micros,
    /// How long faults go on.
    pub chaos: Micros,
    pub ending: Ending,
}

/// What is mended behind the last fault, to see that all goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    Everybody,
    /// A quorum without one to spare; the others only once it has served all clients.
    Quorum,
    /// The same, and a leader that was left by its followers has more in its log than they.
    Stranded,
}

impl Plan {
    /// What this seed decides; `seconds` of faults.
    pub fn new(random: &mut Random, seconds: i64) -> Self {
        let tick_ms = *random.pick(&[100, 200, 500, 2000]);
        let timing = Timing {
            tick_ms,
            init_limit: *random.pick(&[5, 10]),
            sync_limit: *random.pick(&[2, 5]),
            connect_limit: 0,
            interval_ms_min: 200,
            interval_ms_max: *random.pick(&[1000, 5000, 60_000]),
        };
        let voters = *random.pick(&[3, 3, 3, 3, 4, 5, 5, 7]);
        let think = *random.pick(&[5 * MILLI, 20 * MILLI, 20 * MILLI, 100 * MILLI, 2 * SECOND]);
        // A client that thinks says nothing: it is to keep its session meanwhile.
        let timeout_ms_min = i32::try_from(5 * think / MILLI).unwrap_or(0);
        Self {
            voters,
            observers: *random.pick(&[0, 0, 1, 2]),
            is_hierarchical: voters == 7 && random.one_in(3),
            clients: 2 + random.below(5),
            timing,
            session_timeout_ms: timeout_ms_min
                .max(i32::try_from(tick_ms).unwrap_or(0) * *random.pick(&[4, 10, 20])),
            latency: *random.pick(&[100, 500, 5 * MILLI]),
            jitter: *random.pick(&[100, MILLI, 20 * MILLI]),
            flush: *random.pick(&[200, MILLI, 10 * MILLI]),
            skew_ppm: *random.pick(&[0, 500, 20_000]),
            snap_count: *random.pick(&[20, 100, 400]),
            recent_max: *random.pick(&[1, 10, 50, 500]),
            reads_log: !random.one_in(4),
            counter_max: *random.pick(&[u32::MAX - 1, u32::MAX - 1, 300]),
            has_holes: random.one_in(8),
            fault_every: Some(*random.pick(&[SECOND / 2, 2 * SECOND, 5 * SECOND, 20 * SECOND])),
            think,
            chaos: seconds * SECOND,
            ending: *random.pick(&[Ending::Everybody, Ending::Quorum, Ending::Stranded]),
        }
    }

    /// Three nodes under load, nothing goes wrong: to see how fast histories are played.
    pub fn quiet(seconds: i64) -> Self {
        let timing = Timing {
            tick_ms: 2000,
            init_limit: 10,
            sync_limit: 5,
            connect_limit: 0,
            interval_ms_min: 200,
            interval_ms_max: 60_000,
        };
        Self {
            voters: 3,
            observers: 0,
            is_hierarchical: false,
            clients: 6,
            timing,
            session_timeout_ms: 20_000,
            latency: 500,
            jitter: 200,
            flush: MILLI,
            skew_ppm: 0,
            snap_count: 400,
            recent_max: 500,
            reads_log: true,
            counter_max: u32::MAX - 1,
            has_holes: false,
            fault_every: None,
            think: 20 * MILLI,
            chaos: seconds * SECOND,
            ending: Ending::Everybody,
        }
    }

    pub fn nodes(&self) -> usize {
        self.voters + self.observers
    }

    pub fn quorum(&self) -> Quorum {
        let voters: Vec<_> = (0..self.voters).map(server).collect();
        let rule = if self.is_hierarchical {
            let groups: Vec<_> = voters.chunks(3).map(<[_]>::to_vec).collect();
            Rule::hierarchical(voters, &groups, &[(ServerId(1), 2)])
        } else {
            Rule::majority(voters)
        };
        Quorum::new(rule.expect("a few voters are a rule"))
    }

    /// How long after everything is mended clients may have to wait for an answer: elections that
    /// had backed off, two leaders that do not find their followers, sessions that expired.
    pub fn patience(&self) -> Micros {
        let Timing { interval_ms_max, .. } = self.timing;
        let ms = 3 * interval_ms_max + 6 * self.timing.init_ms() + 6 * self.timing.sync_ms();
        (ms + i64::from(self.session_timeout_ms) * 2 + 10_000) * MILLI + 40 * self.think
    }
}

/// The id of a node.
pub fn server(node: usize) -> ServerId {
    ServerId(i64::try_from(node).expect("a few") + 1)
}

/// The node with this id.
pub fn node_of(server: ServerId) -> usize {
    usize::try_from(server.0 - 1).expect("ids begin with 1")
}
