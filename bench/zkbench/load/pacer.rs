//! Makes an open loop's requests due, in turn for each session of a thread.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use ringkeeper::clock::Clock;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::sync::watch;
use tokio_uring::fs::File;

use super::Phase;
use super::lane::Inbox;
use super::pacing::{Schedule, Window, now};

/// The longest sleep: a run that is told to finish does so within it.
const SLEEP_NS_MAX: u64 = 100_000_000;
/// How long to leave sessions alone that have no room for more.
const FULL_NS: u64 = 1_000_000;

/// Runs until the window ends or the run is told to finish.
pub(crate) async fn run(
    mut schedule: Schedule,
    inboxes: Vec<Rc<Inbox>>,
    window: Window,
    clock: Clock,
    phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let mut timer = Timer::new()?;
    let mut turn = 0;
    while matches!(*phase.borrow(), Phase::Run(_)) && schedule.due() < window.end {
        let at = now(clock);
        let mut room = true;
        while room && schedule.due() <= at.min(window.end - 1) {
            room = push(&inboxes, &mut turn, schedule.due());
            if room {
                schedule.advance();
            }
        }
        let wait = if room { schedule.due().saturating_sub(at) } else { FULL_NS };
        timer.sleep(wait.clamp(1, SLEEP_NS_MAX)).await?;
    }
    for inbox in &inboxes {
        inbox.close();
    }
    Ok(())
}

/// To the next session that has room; `false`: none has.
fn push(inboxes: &[Rc<Inbox>], turn: &mut usize, due: u64) -> bool {
    for _ in 0..inboxes.len() {
        let inbox = &inboxes[*turn];
        *turn = (*turn + 1) % inboxes.len();
        if inbox.push(due) {
            inbox.wake();
            return true;
        }
    }
    false
}

/// A timer of nanoseconds; tokio's counts milliseconds.
struct Timer {
    file: File,
    fd: OwnedFd,
    /// Where the kernel writes how often it has expired, which is once.
    count: Vec<u8>,
}

impl Timer {
    fn new() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let file = File::from_std(std::fs::File::from(fd.try_clone()?));
        Ok(Self { file, fd, count: Vec::with_capacity(8) })
    }

    async fn sleep(&mut self, wait_ns: u64) -> io::Result<()> {
        let wait = i64::try_from(wait_ns).unwrap_or(i64::MAX);
        let it_value = Timespec { tv_sec: wait / 1_000_000_000, tv_nsec: wait % 1_000_000_000 };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval, it_value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &spec)?;
        let mut count = std::mem::take(&mut self.count);
        count.clear();
        let (read, count) = self.file.read_at(count, 0).await;
        self.count = count;
        read.map(drop)
    }
}
