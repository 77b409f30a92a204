//! The next segment made ready, and the last one cut, on a thread of its own.
//!
//! Thread: the log stage's, which orders; `log-prepare` does it. A segment is filled with zeros
//! twice as fast as the current one is used: so it is ready in time, and the disk is never given a
//! burst that the log's flushes would have to wait behind.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use crate::limits::{GROUNDWORK_QUEUE_MAX, SEGMENT_STRETCH_BYTES};
use crate::log::{Error, Finished, Preparation, Prepared, Writer};

/// Filled so much faster than the current segment is used.
const LEAD: u64 = 2;

/// What is to be done to files.
enum Order {
    /// Begin a segment of so many bytes.
    Begin(u64),
    /// Fill it up to here.
    Fill(u64),
    /// Cut off the zeros of this one.
    Cut(Finished),
}

/// The log thread's side.
pub(super) struct Groundwork {
    orders: SyncSender<Order>,
    ready: Receiver<Result<Prepared, Error>>,
    /// Bytes of the segment that was begun and has not come.
    begun: Option<u64>,
    /// Up to where it was ordered to be filled.
    ordered: u64,
    thread: Option<JoinHandle<()>>,
}

impl Groundwork {
    pub(super) fn start(dir: PathBuf, force_sync: bool) -> Self {
        let (orders, ordered) = sync_channel(GROUNDWORK_QUEUE_MAX);
        let (done, ready) = sync_channel(1);
        let work = move || work(&dir, force_sync, &ordered, &done);
        let spawned = std::thread::Builder::new().name("log-prepare".into()).spawn(work);
        if let Err(error) = &spawned {
            tracing::warn!(%error, "no thread to prepare log segments; done in the log thread");
        }
        Self { orders, ready, begun: None, ordered: 0, thread: spawned.ok() }
    }

    /// Ends the thread; a segment that was not finished is gone then.
    pub(super) fn stop(self) {
        let Self { orders, ready, thread, .. } = self;
        drop((orders, ready));
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that prepares log segments had panicked");
        }
    }

    /// Passes on a segment that is ready.
    pub(super) fn deliver(&mut self, writer: &mut Writer) -> Result<(), Error> {
        match self.ready.try_recv() {
            Ok(result) => self.offer(writer, result),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(()),
        }
    }

    /// Waits for the segment that was begun: the writer can go on with nothing else.
    pub(super) fn wait(&mut self, writer: &mut Writer) -> Result<(), Error> {
        self.deliver(writer)?;
        let Some(bytes) = self.begun else { return Ok(()) };
        if self.orders.send(Order::Fill(bytes)).is_err() {
            return Ok(()); // without a thread the writer makes its own
        }
        self.ready.recv().map_or(Ok(()), |result| self.offer(writer, result))
    }

    fn offer(&mut self, writer: &mut Writer, result: Result<Prepared, Error>) -> Result<(), Error> {
        self.begun = None;
        match result {
            Ok(prepared) => writer.offer(prepared),
            // The writer tries itself when it must; that failure would be the end.
            Err(error) => {
                tracing::warn!(%error, "the next log segment could not be prepared");
                Ok(())
            }
        }
    }

    /// Orders what the writer will need, as far as it is time for it.
    pub(super) fn order(&mut self, writer: &mut Writer) {
        if let Some(finished) = writer.take_finished() {
            let _ = self.orders.try_send(Order::Cut(finished)); // never mind the zeros
        }
        if let Some(bytes) = writer.wants_segment()
            && self.orders.try_send(Order::Begin(bytes)).is_ok()
        {
            self.begun = Some(bytes);
            self.ordered = 0;
        }
        let Some(bytes) = self.begun else { return };
        let due = bytes.min(bytes * LEAD * writer.used_permille() / 1000);
        let is_worth_it = due >= self.ordered + SEGMENT_STRETCH_BYTES || due == bytes;
        if self.ordered < due && is_worth_it && self.orders.try_send(Order::Fill(due)).is_ok() {
            self.ordered = due;
        }
    }
}

/// Thread `log-prepare`, until nobody can order any more.
fn work(
    dir: &Path,
    force_sync: bool,
    orders: &Receiver<Order>,
    done: &SyncSender<Result<Prepared, Error>>,
) {
    let mut begun: Option<Preparation> = None;
    for order in orders {
        let result = match order {
            Order::Begin(bytes) => {
                Preparation::begin(dir, bytes, force_sync).map(|new| begun = Some(new))
            }
            Order::Fill(upto) => begun.as_mut().map_or(Ok(()), |it| it.fill(upto)),
            Order::Cut(finished) => {
                if let Err(error) = finished.cut() {
                    tracing::warn!(%error, "the zeros behind a finished log stay");
                }
                Ok(())
            }
        };
        let outcome = match result {
            Ok(()) => begun.take_if(|it| it.is_full()).map(Preparation::finish),
            Err(error) => {
                begun = None;
                Some(Err(error))
            }
        };
        if outcome.is_some_and(|outcome| done.send(outcome).is_err()) {
            return;
        }
    }
}
