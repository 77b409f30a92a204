//! Which core each thread runs on.
//!
//! Waking a thread that sleeps on another core costs 27-47 us on a virtual machine, a switch on
//! the same core 3 us. So on few cores the zab and log threads share the core of a shard; with
//! cores to spare each has its own. Which core comes first depends on the server's id. The
//! placement is printed at start and can be set.

use std::fmt;

use core_affinity::CoreId;

use crate::ids::ServerId;

/// Shards above which more of them would only add wake-ups: the zab thread is one.
const SHARDS_MAX: usize = 16;

/// The core of each thread; `None` leaves a thread to the scheduler.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placement {
    /// One entry a shard.
    pub shards: Vec<Option<usize>>,
    /// The zab thread.
    pub zab: Option<usize>,
    /// The log thread.
    pub log: Option<usize>,
}

impl Placement {
    /// Spreads the threads over `cores` (their numbers), with as many shards as asked, or as fit.
    pub fn over(cores: &[usize], shards: Option<usize>) -> Self {
        let fitting = match cores.len() {
            0..=3 => 1,
            4..=7 => cores.len() - 2,
            more => (more - 2).min(SHARDS_MAX),
        };
        let shards = shards.unwrap_or(fitting).clamp(1, SHARDS_MAX);
        let core = |index: usize| cores.get(index).copied();
        let own = cores.len() >= 4 && shards + 2 <= cores.len();
        // The last two cores, where there are enough; else the first shard's.
        let (zab, log) =
            if own { (core(cores.len() - 2), core(cores.len() - 1)) } else { (core(0), core(0)) };
        let spread = if own { cores.len() - 2 } else { cores.len().max(1) };
        Self { shards: (0..shards).map(|shard| core(shard % spread)).collect(), zab, log }
    }

    /// Whether the log thread has no other core than the zab thread and a shard.
    pub fn shares_core(&self) -> bool {
        self.log.is_some() && self.log == self.zab
    }

    /// Nobody is pinned.
    pub fn unpinned(shards: usize) -> Self {
        Self { shards: vec![None; shards.clamp(1, SHARDS_MAX)], zab: None, log: None }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |core: &Option<usize>| core.map_or("any core".into(), |id| format!("core {id}"));
        for (index, core) in self.shards.iter().enumerate() {
            write!(f, "shard-{index} on {}, ", name(core))?;
        }
        write!(f, "zab on {}, log on {}", name(&self.zab), name(&self.log))
    }
}

/// The cores this process may run on. Each server of an ensemble begins with another one: several
/// on one machine would else crowd the first.
pub fn available(me: ServerId) -> Vec<usize> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    beginning_with(me, cores.into_iter().map(|core| core.id).collect())
}

fn beginning_with(me: ServerId, mut cores: Vec<usize>) -> Vec<usize> {
    let first = i64::try_from(cores.len()).ok().and_then(|count| me.0.checked_rem_euclid(count));
    cores.rotate_left(first.and_then(|first| usize::try_from(first).ok()).unwrap_or(0));
    cores
}

/// Pins the calling thread; says in the log where that fails, and goes on unpinned.
pub fn pin(core: Option<usize>) {
    let Some(id) = core else { return };
    if !core_affinity::set_for_current(CoreId { id }) {
        tracing::warn!(core = id, "cannot pin this thread; it runs on any core");
    }
}

/// The calling thread gets out of the way of the others, where it may.
pub fn be_nice() {
    const NICE: i32 = 19;
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "cannot lower this thread's priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_cores_are_shared_and_many_are_not() {
        let place = |cores: usize| Placement::over(&(0..cores).collect::<Vec<_>>(), None);
        let one = Placement { shards: vec![Some(0)], zab: Some(0), log: Some(0) };
        assert!(one.shares_core() && !place(4).shares_core() && !place(0).shares_core());
        assert_eq!(place(1), one);
        assert_eq!(place(2), one);
        let four = Placement { shards: vec![Some(0), Some(1)], zab: Some(2), log: Some(3) };
        assert_eq!(place(4), four);
        assert_eq!(place(64).shards.len(), SHARDS_MAX);
        assert_eq!(place(0).shards, vec![None]);
    }

    #[test]
    fn servers_of_one_machine_begin_with_different_cores() {
        let first = |me| beginning_with(ServerId(me), vec![0, 1, 2, 3]);
        assert_eq!(first(0), [0, 1, 2, 3], "a server that stands alone");
        assert_eq!(first(1), [1, 2, 3, 0]);
        assert_eq!(first(6), [2, 3, 0, 1]);
        assert_eq!(first(-1), [3, 0, 1, 2]);
        assert_eq!(beginning_with(ServerId(3), Vec::new()), []);
    }

    #[test]
    fn asked_shards_are_given() {
        let placement = Placement::over(&[0, 1], Some(3));
        assert_eq!(placement.shards, vec![Some(0), Some(1), Some(0)]);
    }
}
