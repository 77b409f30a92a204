//! `zkbench run`: prepares the znodes, conducts the threads through a run's phases, reports.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use ringkeeper::clock::Clock;
use serde_json::json;
use tokio::sync::watch;

use crate::Failure;
use crate::args::RunArgs;
use crate::load::lane::Shared;
use crate::load::pacing::{Window, now};
use crate::load::tree::Admin;
use crate::load::worker::{self, Event, Link, Measured};
use crate::load::workload::{Kind, Workload};
use crate::load::{Phase, connection};
use crate::plan::{Load, Plan};
use crate::report::environment::Environment;
use crate::report::process::Watched;
use crate::report::progress::Progress;
use crate::report::tally::Tally;
use crate::report::{self, Report, text};

/// How often the main thread looks at memory, signals and progress.
const TICK: Duration = Duration::from_millis(100);
const SECOND_NS: u64 = 1_000_000_000;
/// A server that does not tell its version in this time keeps it.
const VERSION_TIMEOUT: Duration = Duration::from_secs(2);
/// As shells have it: 128 + SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

/// Set by the first SIGINT or SIGTERM; the second one ends the process.
pub(crate) type Interrupt = Arc<AtomicBool>;

/// Catches the signals that end a run.
pub(crate) fn interrupt() -> Result<Interrupt, Failure> {
    let interrupt = Interrupt::default();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let status = i32::from(EXIT_INTERRUPTED);
        signal_hook::flag::register_conditional_shutdown(signal, status, interrupt.clone())?;
        signal_hook::flag::register(signal, interrupt.clone())?;
    }
    Ok(interrupt)
}

/// Runs the command.
pub(crate) fn command(args: &RunArgs) -> Result<ExitCode, Failure> {
    worker::probe_ring()?;
    worker::raise_descriptor_limit();
    let interrupt = interrupt()?;
    let plan = Plan::new(&args.load, &args.servers)?;
    let report = measure(&plan, &args.pid, &interrupt)?;
    report::write(&report, &text::render(&report), args.load.json.as_deref())?;
    Ok(if report.interrupted {
        ExitCode::from(EXIT_INTERRUPTED)
    } else if report.ok == 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// One whole run: prepare, load, clean up.
pub(crate) fn measure(plan: &Plan, pids: &[u32], interrupt: &Interrupt) -> Result<Report, Failure> {
    let watched = if pids.is_empty() { None } else { Some(Watched::begin(pids)?) };
    let progress = Progress::new(plan.quiet);
    progress.say(&format!("preparing {}", plan.root));
    let server_version = worker::in_ring(1, async {
        let admin = Admin::open(plan).await?;
        admin.prepare(plan).await?;
        admin.close().await?;
        Ok::<_, Failure>(connection::version(plan.servers[0], VERSION_TIMEOUT).await)
    })?;
    let mut run = Run::new(plan, watched, interrupt, progress);
    let ran = run.conduct();
    if !plan.keep {
        run.progress.say(&format!("deleting {}", plan.root));
        let cleaned = worker::in_ring(1, clean_up(plan));
        if let Err(failure) = cleaned {
            eprintln!("zkbench: {} is left behind: {failure}", plan.root);
        }
    }
    let outcome = ran?;
    Ok(run.report(&outcome, server_version))
}

async fn clean_up(plan: &Plan) -> Result<(), Failure> {
    let admin = Admin::open(plan).await?;
    admin.delete_all(&plan.root).await?;
    admin.delete_if_empty(&plan.path).await?;
    admin.close().await
}

/// What the threads brought home.
struct Outcome {
    tally: Tally,
    measured: Vec<Measured>,
    window: Window,
    /// When the measurement ended and when closing the sessions did.
    ended: u64,
    closing: (u64, u64),
}

impl Outcome {
    /// The time that a kind's requests were made in.
    fn seconds(&self, kind: Kind) -> f64 {
        let span = match kind {
            Kind::Get | Kind::Set | Kind::Create | Kind::Open => {
                self.ended.saturating_sub(self.window.start)
            }
            Kind::Ping => self.closing.0.saturating_sub(self.window.start),
            Kind::Close => self.closing.1 - self.closing.0,
        };
        report::ratio(span.max(1), SECOND_NS)
    }
}

/// A run under way.
struct Run<'a> {
    plan: &'a Plan,
    clock: Clock,
    shared: Arc<Shared>,
    watched: Option<Watched>,
    interrupt: &'a Interrupt,
    interrupted: bool,
    progress: Progress,
    per_second: Vec<u64>,
    counted: u64,
}

impl<'a> Run<'a> {
    fn new(
        plan: &'a Plan,
        watched: Option<Watched>,
        interrupt: &'a Interrupt,
        progress: Progress,
    ) -> Self {
        Self {
            plan,
            clock: Clock::start(),
            shared: Arc::default(),
            watched,
            interrupt,
            interrupted: false,
            progress,
            per_second: Vec::new(),
            counted: 0,
        }
    }

    /// Starts the threads and leads them from phase to phase.
    fn conduct(&mut self) -> Result<Outcome, Failure> {
        let (phase, phases) = watch::channel(Phase::Connect);
        let (sender, events) = channel();
        let link =
            Link { clock: self.clock, shared: self.shared.clone(), phase: phases, events: sender };
        thread::scope(|scope| {
            for index in 0..self.plan.threads {
                let (link, plan) = (link.clone(), self.plan);
                let name = format!("load-{index}");
                let thread = thread::Builder::new().name(name);
                if let Err(error) =
                    thread.spawn_scoped(scope, move || worker::run(index, plan, &link))
                {
                    phase.send_replace(Phase::Close);
                    return Err(error.into());
                }
            }
            drop(link);
            let led = self.lead(&phase, &events);
            // Whatever happened, the threads must not wait for a phase that never comes.
            phase.send_replace(Phase::Close);
            let closing = now(self.clock);
            let (window, ended, measured) = led?;
            let mut tally = Tally::new();
            for event in events {
                if let Event::Ended(counted) = event {
                    tally.merge(&counted);
                }
            }
            let closing = (closing, now(self.clock));
            Ok(Outcome { tally, measured, window, ended, closing })
        })
    }

    /// From the first connection to the last reply.
    fn lead(
        &mut self,
        phase: &watch::Sender<Phase>,
        events: &Receiver<Event>,
    ) -> Result<(Window, u64, Vec<Measured>), Failure> {
        self.progress.say(&format!("opening {} sessions", self.plan.sessions));
        let mut connected = 0;
        while connected < self.plan.threads {
            match events.recv_timeout(TICK) {
                Ok(Event::Connected) => connected += 1,
                Ok(Event::Failed(failure)) => return Err(failure.into()),
                Ok(Event::Measured(_) | Event::Ended(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("the threads are gone".into()),
            }
            if self.interrupt.load(Ordering::Relaxed) {
                return Err("interrupted before the measurement began".into());
            }
        }
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let open = now(self.clock);
        let start = open + nanos(self.plan.warmup);
        let end = match self.plan.ops {
            Some(_) => u64::MAX,
            None => start.saturating_add(nanos(self.plan.duration)),
        };
        let window = Window { open, start, end };
        phase.send_replace(Phase::Run(window));
        let (ended, measured) = self.watch(window, phase, events)?;
        if self.plan.load == Load::Open {
            self.hold();
        }
        Ok((window, ended, measured))
    }

    /// From the first request to the last reply.
    fn watch(
        &mut self,
        window: Window,
        phase: &watch::Sender<Phase>,
        events: &Receiver<Event>,
    ) -> Result<(u64, Vec<Measured>), Failure> {
        let mut measured = Vec::new();
        let (mut started, mut ended) = (false, None);
        while measured.len() < self.plan.threads as usize {
            let at = now(self.clock);
            if !started && at >= window.start {
                started = true;
                self.watched.as_mut().map(Watched::restart);
                self.counted = self.shared.done.load(Ordering::Relaxed);
            }
            if started && ended.is_none() {
                self.sample(at - window.start);
                if at >= window.end {
                    ended = Some(window.end);
                }
            }
            if self.interrupt.load(Ordering::Relaxed) && !self.interrupted {
                self.interrupted = true;
                ended = ended.or(Some(at));
                phase.send_replace(Phase::Finish);
            }
            match events.recv_timeout(tick(at, window)) {
                Ok(Event::Measured(one)) => measured.push(one),
                Ok(Event::Failed(failure)) => return Err(failure.into()),
                Ok(Event::Connected | Event::Ended(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("the threads are gone".into()),
            }
        }
        let last = measured.iter().map(|one| one.until).max().unwrap_or(window.start);
        if ended.is_none() {
            self.watched.as_mut().map(Watched::sample);
        }
        Ok((ended.unwrap_or(last), measured))
    }

    fn sample(&mut self, passed: u64) {
        self.watched.as_mut().map(Watched::sample);
        let done = self.shared.done.load(Ordering::Relaxed);
        if passed / SECOND_NS > self.per_second.len() as u64 {
            self.per_second.push(done - self.counted);
            self.counted = done;
        }
        let rate = self.per_second.last().copied().unwrap_or(0);
        self.progress.update(self.clock.elapsed(), || {
            format!("{:>5.1} s  {done} replies, {rate}/s", report::ratio(passed, SECOND_NS))
        });
    }

    /// Keeps the sessions open; they ping.
    fn hold(&mut self) {
        self.progress.say(&format!("holding for {:?}", self.plan.hold));
        let until = self.clock.elapsed() + self.plan.hold;
        let (_never, nothing) = channel::<()>();
        while self.clock.elapsed() < until && !self.interrupt.load(Ordering::Relaxed) {
            let rest = until.saturating_sub(self.clock.elapsed());
            // Nobody sends: this waits, and a signal is seen within a tick.
            let _ = nothing.recv_timeout(rest.min(TICK));
            self.watched.as_mut().map(Watched::sample_memory);
        }
    }

    fn report(&self, outcome: &Outcome, server_version: Option<String>) -> Report {
        let seconds = outcome.seconds(Kind::Get);
        let cpus: Vec<_> = outcome.measured.iter().map(|one| one.cpu).collect();
        let ok = outcome.tally.ok();
        let span = Duration::from_secs_f64(seconds);
        Report {
            options: options(self.plan),
            seed: self.plan.seed,
            servers: self.plan.servers.iter().map(ToString::to_string).collect(),
            server_version,
            environment: Environment::here(),
            interrupted: self.interrupted,
            seconds,
            ok,
            ops_per_s: report::ratio(ok, 1) / seconds,
            errors: outcome.tally.errors(),
            kinds: report::kinds(&outcome.tally, |kind| outcome.seconds(kind)),
            connections: report::connections(&outcome.tally),
            server: self.watched.as_ref().map(|watched| watched.report(ok, span)),
            client: report::client(&outcome.tally, &cpus),
            per_second: self.per_second.clone(),
        }
    }
}

/// Until the next thing to do: the window's edges are met to the millisecond.
fn tick(at: u64, window: Window) -> Duration {
    let edges = [window.start, window.end].into_iter().filter(|edge| *edge > at);
    let next = edges.min().map_or(TICK, |edge| Duration::from_nanos(edge - at));
    next.min(TICK)
}

/// What was asked for, as the report tells it.
fn options(plan: &Plan) -> BTreeMap<&'static str, serde_json::Value> {
    let mut options = BTreeMap::from([
        ("workload", json!(plan.workload)),
        ("sessions", json!(plan.sessions)),
        ("in_flight", json!(plan.in_flight)),
        ("threads", json!(plan.threads)),
        ("loop", json!(if plan.rate.is_some() { "open" } else { "closed" })),
    ]);
    let (workload, more) = match plan.load {
        Load::Open => ("open", vec![("hold_s", json!(plan.hold.as_secs_f64()))]),
        Load::Ask(Workload::Create) => ("create", vec![]),
        Load::Ask(Workload::Load { znodes }) => ("load", vec![("znodes", json!(znodes))]),
        Load::Ask(Workload::Mixed { read_percent, znodes }) => {
            ("mixed", vec![("znodes", json!(znodes)), ("read_percent", json!(read_percent))])
        }
    };
    options.insert("workload", json!(workload));
    options.extend(more);
    if plan.load != Load::Open {
        options.insert("value_bytes", json!(plan.value_bytes));
        options.insert("warmup_s", json!(plan.warmup.as_secs_f64()));
    }
    if let Some(rate) = plan.rate {
        options.insert("rate", json!(rate));
        options.insert("arrivals", json!(format!("{:?}", plan.arrivals)));
    }
    match plan.ops {
        None => options.insert("duration_s", json!(plan.duration.as_secs_f64())),
        Some(u64::MAX) => None,
        Some(ops) => options.insert("ops", json!(ops)),
    };
    options
}

#[cfg(test)]
mod tests;
