//! Whether the log thread lets others finish first.
//!
//! Where it has its core together with those who feed it, to be woken in the midst of their work
//! is two switches more, and a batch in two parts. So it is a thread of the batch class, which runs
//! when they have nothing left to do. But another program that wants the core would have whole
//! slices before it: where flushes are slow one after the other it is an ordinary thread again, for
//! longer and longer while that stays so.

use std::time::Duration;

use rustix::process::getpriority_process;
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use crate::limits::FLUSH_SLOW_US;
use crate::stage::way::Trial;

/// See the module. Times are those of one clock.
#[derive(Debug)]
pub(super) struct Courtesy {
    /// To be of the batch class; `None` is never.
    batch: Option<Trial>,
    is_batch: bool,
}

impl Courtesy {
    /// Of a thread that shares its core with those who feed it, or does not.
    pub(super) fn new(shares_core: bool) -> Self {
        Self { batch: shares_core.then(Trial::new), is_batch: false }
    }

    /// After a flush that took so long: whether the thread is to be of the batch class, if that
    /// changes.
    fn decide(&mut self, now: Duration, flush: Duration) -> Option<bool> {
        let batch = self.batch.as_mut()?;
        batch.note(now, flush > Duration::from_micros(FLUSH_SLOW_US));
        let wanted = batch.is_on(now);
        (std::mem::replace(&mut self.is_batch, wanted) != wanted).then_some(wanted)
    }

    /// After a flush, on the log thread.
    pub(super) fn on_flush(&mut self, now: Duration, flush: Duration) {
        if let Some(wanted) = self.decide(now, flush)
            && !set_batch(wanted)
        {
            self.batch = None; // not allowed here; not asked again
        }
    }
}

/// Puts the calling thread into the batch class, or back into the ordinary one; whether that could
/// be done. One whose priority was set by the operator is left alone.
fn set_batch(batch: bool) -> bool {
    /// What the library makes a niceness of 0 of.
    const ORDINARY: u8 = 48;
    let class =
        if batch { NormalThreadSchedulePolicy::Batch } else { NormalThreadSchedulePolicy::Other };
    let Ok(ordinary) = ORDINARY.try_into() else { return false };
    getpriority_process(None) == Ok(0)
        && set_thread_priority_and_policy(
            thread_native_id(),
            ThreadPriority::Crossplatform(ordinary),
            ThreadSchedulePolicy::Normal(class),
        )
        .is_ok()
}

#[cfg(test)]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;
    use crate::limits::SLOW_WEIGHT;

    const FAST: Duration = Duration::from_micros(FLUSH_SLOW_US);
    const SLOW: Duration = Duration::from_micros(FLUSH_SLOW_US + 1);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_courteous_until_flushes_are_slow_and_tries_again_ever_later() {
        let mut courtesy = Courtesy::new(true);
        let mut now = SECOND;
        assert_eq!(courtesy.decide(now, FAST), Some(true));
        assert_eq!(courtesy.decide(now, SLOW), None, "one says nothing");
        for _ in 0..SLOW_WEIGHT {
            assert_eq!(courtesy.decide(now, FAST), None);
        }
        for pause in [2, 4, 8, 16, 32, 64, 64] {
            assert_eq!(courtesy.decide(now, SLOW), None);
            assert_eq!(courtesy.decide(now, SLOW), Some(false), "before {pause} s");
            let before = now + SECOND * (pause - 1);
            now += SECOND * pause;
            assert_eq!(courtesy.decide(before, FAST), None);
            assert_eq!(courtesy.decide(now, FAST), Some(true), "after {pause} s");
        }
        now += SECOND * 65;
        assert_eq!(courtesy.decide(now, SLOW), None);
        assert_eq!(courtesy.decide(now, SLOW), Some(false));
        assert_eq!(courtesy.decide(now + SECOND, FAST), Some(true), "it went well for long");
    }

    #[test]
    fn with_a_core_of_its_own_it_is_ordinary() {
        let mut courtesy = Courtesy::new(false);
        assert_eq!(courtesy.decide(SECOND, FAST), None);
    }

    #[test]
    fn the_class_is_set_and_the_priority_is_not() {
        let class = |batch| {
            let done = set_batch(batch);
            (done, thread_schedule_policy().unwrap(), getpriority_process(None))
        };
        let is = |class| ThreadSchedulePolicy::Normal(class);
        let all = std::thread::spawn(move || [class(true), class(false)]).join().unwrap();
        if getpriority_process(None) == Ok(0) {
            assert_eq!(all[0], (true, is(NormalThreadSchedulePolicy::Batch), Ok(0)));
            assert_eq!(all[1], (true, is(NormalThreadSchedulePolicy::Other), Ok(0)));
        } else {
            assert!(all.iter().all(|(done, ..)| !done), "somebody has set it");
        }
    }
}
