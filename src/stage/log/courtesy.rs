//! Whether the log thread lets others finish first.
//!
//! Where it has its core together with those who feed it, to be woken in the midst of their work
//! is two switches more, and a batch in two parts. As a thread of the batch class it runs when
//! they have nothing left to do. But another program that wants the core would have whole slices
//! before it then: where flushes are slow one after the other it is an ordinary thread again, for
//! longer and longer while that stays so.

use std::time::Duration;

use rustix::process::getpriority_process;
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use crate::limits::{COURTESY_PAUSE_MS, FLUSH_SLOW_US, SLOW_FLUSH_WEIGHT, SLOW_FLUSHES_MAX};

/// See the module.
#[derive(Debug)]
pub(super) struct Courtesy {
    /// Each slow flush adds [`SLOW_FLUSH_WEIGHT`], each other takes 1 away.
    slow: u32,
    /// From when on it is courteous; `None` is never.
    from: Option<Duration>,
    is_courteous: bool,
    pause: Duration,
}

impl Courtesy {
    /// Of a thread that shares its core with those who feed it, or does not.
    pub(super) fn new(shares_core: bool) -> Self {
        Self {
            slow: 0,
            from: shares_core.then_some(Duration::ZERO),
            is_courteous: false,
            pause: Duration::from_millis(COURTESY_PAUSE_MS.0),
        }
    }

    /// After a flush that took so long: whether the thread is to be of the batch class, if that
    /// changes.
    fn decide(&mut self, now: Duration, flush: Duration) -> Option<bool> {
        let from = self.from?;
        let is_slow = flush > Duration::from_micros(FLUSH_SLOW_US);
        self.slow =
            if is_slow { self.slow + SLOW_FLUSH_WEIGHT } else { self.slow.saturating_sub(1) };
        let wanted = if self.is_courteous { self.slow < SLOW_FLUSHES_MAX } else { now >= from };
        if wanted == self.is_courteous {
            return None;
        }
        self.is_courteous = wanted;
        self.slow = 0;
        if wanted {
            self.from = Some(now);
        } else {
            let longest = Duration::from_millis(COURTESY_PAUSE_MS.1);
            let lasted = now.saturating_sub(from);
            let first = Duration::from_millis(COURTESY_PAUSE_MS.0);
            self.pause = if lasted > self.pause { first } else { longest.min(self.pause * 2) };
            self.from = Some(now + self.pause);
        }
        Some(wanted)
    }

    /// After a flush, on the log thread.
    pub(super) fn on_flush(&mut self, now: Duration, flush: Duration) {
        if let Some(wanted) = self.decide(now, flush)
            && !set_batch(wanted)
        {
            self.from = None; // not allowed here; not asked again
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

    const FAST: Duration = Duration::from_micros(FLUSH_SLOW_US);
    const SLOW: Duration = Duration::from_micros(FLUSH_SLOW_US + 1);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_courteous_until_flushes_are_slow_and_tries_again_ever_later() {
        let mut courtesy = Courtesy::new(true);
        let mut now = SECOND;
        assert_eq!(courtesy.decide(now, FAST), Some(true));
        assert_eq!(courtesy.decide(now, SLOW), None, "one says nothing");
        for _ in 0..SLOW_FLUSH_WEIGHT {
            assert_eq!(courtesy.decide(now, FAST), None);
        }
        for pause in [2, 4, 8, 16, 32, 64, 64] {
            assert_eq!(courtesy.decide(now, SLOW), None);
            assert_eq!(courtesy.decide(now, SLOW), Some(false), "before {pause} s");
            let before = now + SECOND * (pause - 1);
            now += SECOND * pause;
            assert_eq!(courtesy.decide(before, FAST), None);
            assert_eq!(courtesy.decide(now, SLOW), Some(true), "after {pause} s");
        }
        now += SECOND * 65;
        assert_eq!(courtesy.decide(now, SLOW), None);
        assert_eq!(courtesy.decide(now, SLOW), Some(false));
        assert_eq!(courtesy.decide(now + SECOND, FAST), Some(true), "it went well for long");
    }

    #[test]
    fn with_a_core_of_its_own_it_is_ordinary() {
        assert_eq!(Courtesy::new(false).decide(SECOND, FAST), None);
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
