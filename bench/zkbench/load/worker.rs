//! One thread of the generator: its ring, its sessions, its share of the schedule, its CPU time.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::Duration;

use ringkeeper::clock::Clock;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::{Semaphore, mpsc, watch};

use super::lane::{Inbox, Lane, Pace, Rules, Shared};
use super::pacing::{Schedule, Window, now};
use super::session::{self, Context};
use super::template::{self, Templates};
use super::workload::{Chooser, Rng, Workload};
use super::{Phase, Signal, opening, pacer};
use crate::Failure;
use crate::plan::{Load, Plan};
use crate::report::process::{self, ThreadCpu};
use crate::report::tally::Tally;

/// Handshakes that a thread has under way at a time, so that no listen queue overflows.
pub(crate) const HANDSHAKES_MAX: usize = 64;
/// The most entries that a ring of the kernel has.
const RING_ENTRIES_MAX: u32 = 32_768;

/// What a thread tells the main one.
#[derive(Debug)]
pub(crate) enum Event {
    /// All its sessions are open.
    Connected,
    /// A session could not be opened.
    Failed(String),
    /// All its sessions have nothing left to do.
    Measured(Measured),
    /// All its sessions are closed.
    Ended(Box<Tally>),
}

/// What a thread has measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) cpu: ThreadCpu,
    /// The last reply came, or the window ended.
    pub(crate) until: u64,
}

/// What ties a thread to the main one.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) clock: Clock,
    pub(crate) shared: Arc<Shared>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) events: std_mpsc::Sender<Event>,
}

/// Runs thread `index` of a plan to its end.
pub(crate) fn run(index: u32, plan: &Plan, link: &Link) {
    if let Some(core) = plan.pin.get(index as usize % plan.pin.len().max(1)) {
        core_affinity::set_for_current(core_affinity::CoreId { id: *core });
    }
    let sessions = plan.sessions.div_ceil(plan.threads).max(8);
    in_ring(sessions, async {
        if let Err(failure) = work(index, plan, link).await {
            // The main thread waits for us; if it does not, nobody needs to know.
            drop(link.events.send(Event::Failed(failure.to_string())));
        }
    });
}

/// Runs a future on a ring with room for so many sessions.
pub(crate) fn in_ring<F: Future>(sessions: u32, future: F) -> F::Output {
    let entries = (sessions * 2).next_power_of_two().clamp(256, RING_ENTRIES_MAX / 2);
    let mut ring = tokio_uring::uring_builder();
    // Completions wait for the thread's next turn instead of interrupting it: half the CPU time
    // per request. Kernels before 5.19 do not know it.
    if tokio_uring::uring_builder().setup_coop_taskrun().build(1).is_ok() {
        ring.setup_coop_taskrun();
    }
    ring.setup_cqsize(entries * 2);
    tokio_uring::builder().entries(entries).uring_builder(&ring).start(future)
}

/// As many descriptors as this process may have: each session is one.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it stays as it was, a connection too many says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Whether the kernel gives out rings at all.
pub(crate) fn probe_ring() -> Result<(), Failure> {
    tokio_uring::uring_builder().build(8).map(drop).map_err(|error| {
        format!(
            "no io_uring here: {error}; see sysctl kernel.io_uring_disabled, \
             and the seccomp profile of a container"
        )
        .into()
    })
}

async fn work(index: u32, plan: &Plan, link: &Link) -> Result<(), Failure> {
    let cx = Rc::new(Context {
        servers: plan.servers.clone(),
        session_timeout_ms: plan.session_timeout_ms,
        timeout: plan.timeout,
        clock: link.clock,
        tally: RefCell::new(Tally::new()),
        phase: link.phase.clone(),
        handshakes: Semaphore::new(HANDSHAKES_MAX),
    });
    match plan.load {
        Load::Ask(workload) => ask(index, plan, link, &cx, workload).await?,
        Load::Open => opening::run(index, plan, link, &cx).await?,
    }
    link.events.send(Event::Ended(Box::new(cx.tally.borrow().clone())))?;
    Ok(())
}

async fn ask(
    index: u32,
    plan: &Plan,
    link: &Link,
    cx: &Rc<Context>,
    workload: Workload,
) -> Result<(), Failure> {
    let rules = rules(plan, link);
    let numbers: Vec<u32> = plan.sessions_of(index).collect();
    let (sender, mut signals) = mpsc::channel(numbers.len() * 2 + 1);
    let (mut tasks, mut inboxes) = (Vec::new(), Vec::new());
    for number in &numbers {
        let pace = if plan.rate.is_some() {
            inboxes.push(Rc::new(Inbox::default()));
            Pace::Open(inboxes[inboxes.len() - 1].clone())
        } else {
            Pace::Closed
        };
        let chooser = Chooser::new(workload, plan.seed, *number);
        let lane = Lane::new(*number, rules.clone(), pace, chooser);
        tasks.push(tokio_uring::spawn(session::run(lane, cx.clone(), sender.clone())));
    }
    drop(sender);
    for _ in &numbers {
        if let Some(Signal::Failed(number, fault)) = signals.recv().await {
            link.events.send(Event::Failed(format!("session {number}: {fault}")))?;
        }
    }
    link.events.send(Event::Connected)?;
    if let Some(window) = begun(&link.phase).await {
        if let Some(rate) = plan.rate {
            let rate = rate / f64::from(plan.threads);
            let rng = Rng::new(plan.seed, u64::from(u32::MAX) + u64::from(index));
            let schedule = Schedule::new(rate, plan.arrivals, window.open, rng);
            let phase = link.phase.clone();
            tokio_uring::spawn(pacer::run(schedule, inboxes, window, link.clock, phase));
        }
        let finished = async {
            for _ in &numbers {
                signals.recv().await;
            }
        };
        let (cpu, until) = meter(link.clock, window, finished).await;
        link.events.send(Event::Measured(Measured { cpu, until }))?;
    }
    for task in tasks {
        drop(task.await);
    }
    Ok(())
}

fn rules(plan: &Plan, link: &Link) -> Rules {
    let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let value = template::value(plan.value_bytes, plan.seed);
    Rules {
        in_flight_max: plan.in_flight as usize,
        ops: plan.ops,
        timeout_ns: nanos(plan.timeout),
        ping_ns: nanos(plan.ping_every()),
        templates: Arc::new(Templates::new(&plan.root, &value)),
        shared: link.shared.clone(),
    }
}

/// The window once there is one; `None` if the run ends before.
pub(crate) async fn begun(phase: &watch::Receiver<Phase>) -> Option<Window> {
    let mut phase = phase.clone();
    match phase.wait_for(|phase| !matches!(phase, Phase::Connect)).await.as_deref() {
        Ok(Phase::Run(window)) => Some(*window),
        Ok(Phase::Connect | Phase::Finish | Phase::Close) | Err(_) => None,
    }
}

/// The thread's CPU time from the window's start to its end or that of the work, and when all of
/// the work was done.
pub(crate) async fn meter(
    clock: Clock,
    window: Window,
    finished: impl Future<Output = ()>,
) -> (ThreadCpu, u64) {
    let mut finished = std::pin::pin!(finished);
    let until = |at: u64| Duration::from_nanos(at.saturating_sub(now(clock)));
    let early = tokio::time::timeout(until(window.start), finished.as_mut()).await.is_ok();
    let (first, from) = (process::thread_cpu(), now(clock));
    let done = early || tokio::time::timeout(until(window.end), finished.as_mut()).await.is_ok();
    let (last, to) = (process::thread_cpu(), now(clock));
    if !done {
        finished.await;
    }
    (last.since(first, to - from), now(clock))
}
