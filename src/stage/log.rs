//! The log stage: makes proposals durable, many at a time.
//!
//! Thread: `log`, pinned. Owns: `log::Writer`. In: appends and rolls. Out: "durable up to".
//! Never replies, speaks to peers, or looks inside a txn. Files are made ready off the path
//! (`groundwork`).
//! INVARIANT: `durable` is raised only after a flush that covers it has returned.

mod courtesy;
mod groundwork;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use crate::error::{ExitCode, Fatal};
use crate::ids::Zxid;
use crate::limits::{GATHER_YIELDS_MAX, LOG_BATCH_BYTES_MAX};
use crate::log::{Error, Writer, recovery, snapshot};
use crate::metrics::{Advanced, Basic, Recorder};
use crate::net::Waker;
use crate::stage::queue::{ParkBell, Receiver};
use crate::stage::shared::Shared;
use crate::stage::way::Way;
use crate::zab::Proposal;
use courtesy::Courtesy;
use groundwork::Groundwork;

/// From the zab thread.
#[derive(Debug)]
pub enum LogAsk {
    /// Log it; make it durable.
    Append(Proposal),
    /// Go on in a new file when it suits: a snapshot holds what came before.
    Roll,
    /// Take the history back; says when that is durable, or false if it cannot be done and nothing
    /// was touched. Nothing may be appended meanwhile.
    Cut(Cut, SyncSender<bool>),
    /// Nothing more comes.
    Stop,
}

/// How a history is taken back.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// To exactly this txn, as a leader's TRUNC asks.
    Truncate(Zxid),
    /// The snapshot of this txn that waits for it takes the place of everything.
    Install(Zxid),
}

/// What the log stage is made of.
pub struct Parts {
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// From the zab thread.
    pub asks: Receiver<LogAsk>,
    /// Rung by the zab thread.
    pub bell: Arc<ParkBell>,
    /// The zxid up to which everything is on the disk.
    pub durable: Arc<AtomicI64>,
    /// Wakes the zab thread.
    pub zab: Waker,
    /// The log.
    pub writer: Writer,
    /// Where segments are made ready.
    pub log_dir: PathBuf,
    /// Where snapshots are, which a cut has to do with as well.
    pub snap_dir: PathBuf,
    /// Those who feed it run on the core of this thread.
    pub shares_core: bool,
    /// Flushes slower than this are worth a line.
    pub flush_warning_ms: u64,
}

/// The log stage.
pub struct LogStage {
    parts: Parts,
    recorder: Recorder,
    groundwork: Groundwork,
    courtesy: Courtesy,
    way: Way,
}

impl LogStage {
    /// A stage of these parts; starts the thread that makes segments ready.
    pub fn new(parts: Parts) -> Self {
        let recorder = parts.shared.metrics.recorder();
        let groundwork = Groundwork::start(parts.log_dir.clone(), parts.writer.is_forced());
        let (courtesy, way) = (Courtesy::new(parts.shares_core), Way::new(parts.shares_core));
        Self { parts, recorder, groundwork, courtesy, way }
    }

    /// Runs until told to stop, or until the disk fails, which ends the process.
    pub fn run(mut self) {
        self.parts.bell.adopt();
        let shared = Arc::clone(&self.parts.shared);
        self.groundwork.order(&mut self.parts.writer); // before the first write needs it
        loop {
            match self.turn() {
                Ok(true) => {
                    let asks = &self.parts.asks;
                    self.parts.bell.wait_unless(None, || !asks.is_empty());
                }
                Ok(false) => {
                    self.groundwork.stop();
                    if let Err(error) = self.parts.writer.close() {
                        shared.fail(failed(error));
                    }
                    return;
                }
                Err(fatal) => {
                    shared.fail(fatal);
                    return;
                }
            }
        }
    }

    /// One turn of group commit: what queued up during the last flush shares the next. False when
    /// nothing more comes.
    fn turn(&mut self) -> Result<bool, Fatal> {
        self.gather();
        self.groundwork.deliver(&mut self.parts.writer).map_err(failed)?;
        let mut goes_on = true;
        let mut bytes = 0;
        while bytes < LOG_BATCH_BYTES_MAX
            && let Some(ask) = self.parts.asks.pop()
        {
            match ask {
                LogAsk::Append(proposal) => {
                    if self.parts.writer.is_short_of_segment(proposal.record.len()) {
                        self.groundwork.wait(&mut self.parts.writer).map_err(failed)?;
                    }
                    self.parts.writer.append(proposal.zxid, &proposal.record).map_err(failed)?;
                    bytes += proposal.record.len();
                }
                LogAsk::Roll => self.parts.writer.wish_roll(),
                LogAsk::Cut(cut, done) => {
                    if bytes > 0 {
                        self.flush().map_err(failed)?;
                        bytes = 0;
                    }
                    let _ = done.try_send(self.cut(cut)?); // who asked may have left
                }
                LogAsk::Stop => goes_on = false,
            }
        }
        if bytes > 0 {
            self.flush().map_err(failed)?;
        }
        self.groundwork.order(&mut self.parts.writer);
        Ok(goes_on)
    }

    /// Lets those who feed this thread go on for as long as they do, if they need its core: what
    /// they add needs no flush of its own.
    fn gather(&mut self) {
        let clock = &self.parts.shared.clock;
        for _ in 0..GATHER_YIELDS_MAX {
            let queued = self.parts.asks.len();
            if queued == 0 || !self.way.is_open(clock.elapsed()) {
                return;
            }
            self.way.give(clock);
            if self.parts.asks.len() <= queued {
                return;
            }
        }
    }

    /// False if no snapshot and logs lead to where it is to be cut: nothing is touched then.
    fn cut(&mut self, cut: Cut) -> Result<bool, Fatal> {
        let writer = &mut self.parts.writer;
        writer.roll().map_err(failed)?;
        let (log_dir, snap_dir) = (&self.parts.log_dir, &self.parts.snap_dir);
        let last = match cut {
            Cut::Truncate(to) => match recovery::truncate(log_dir, snap_dir, to) {
                Ok(_) => to,
                Err(error @ Error::CannotTruncate { .. }) => {
                    tracing::warn!(%error, "the leader's snapshot is needed");
                    return Ok(false);
                }
                Err(error) => return Err(Fatal::new(ExitCode::QuorumPacket, error)),
            },
            Cut::Install(zxid) => {
                snapshot::install(snap_dir, log_dir).map_err(failed)?;
                zxid
            }
        };
        // The zab thread says itself from where on it counts: it knows when the tree is there.
        writer.restart_after(last);
        Ok(true)
    }

    fn flush(&mut self) -> Result<(), Error> {
        let clock = &self.parts.shared.clock;
        let start = clock.micros();
        let report = self.parts.writer.flush()?;
        self.parts.durable.store(report.upto.0, Ordering::Release);
        self.parts.zab.wake();
        let now = clock.micros();
        let flush = Duration::from_micros(now - start);
        self.courtesy.on_flush(Duration::from_micros(now), flush);
        let millis = (now - start) / 1000;
        self.recorder.record(Basic::Fsynctime, millis);
        self.recorder.record_advanced(Advanced::SyncProcessorQueueFlushTimeMs, millis);
        self.recorder.record(Basic::SyncProcessorBatchSize, report.records);
        if millis > self.parts.flush_warning_ms {
            let (records, bytes) = (report.records, report.bytes);
            tracing::warn!(
                millis,
                records,
                bytes,
                "a flush of the log was slow; is the disk busy?"
            );
        }
        Ok(())
    }
}

fn failed(error: Error) -> Fatal {
    Fatal::new(ExitCode::LogFailed, error)
}
