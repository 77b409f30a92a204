//! The storage stage: what takes the disk long, off the zab thread and off the path of a write.
//!
//! Thread: `storage`, unpinned. In: asks of the zab thread, one after the other. Out: answers, and
//! a wake. Writes epoch files; takes log, snapshots and tree back to an earlier txn; makes a tree
//! and a snapshot file of a stream that a leader sends; reads the log for a learner. Never touches
//! the tree that is served: it makes a new one and gives it to the zab thread.
//! INVARIANT: an answer is given only when what it speaks of is durable.

mod receive;
pub mod recover;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Channel, SyncSender, sync_channel};

use crate::error::{ExitCode, Fatal};
use crate::ids::{Millis, Zxid};
use crate::log::StopFlag;
use crate::log::epoch;
use crate::log::recovery::{self, Stretch};
use crate::stage::log::{Cut, LogAsk};
use crate::stage::queue::Sender;
use crate::stage::shared::Shared;
use crate::stage::snapshot::{SnapshotAsk, SnapshotOptions};
use crate::tree::Tree;
use crate::zab::{EpochRecord, LinkId, Proposal};
pub use receive::Stream;
use recover::{Cost, RecoverOptions};

/// From the zab thread.
pub enum StorageAsk {
    /// Write an epoch's file.
    Persist(EpochRecord),
    /// Cut log and snapshots after this txn; make the tree anew.
    Truncate(Zxid),
    /// Make a tree of a stream, and put it in place of log and snapshots.
    Receive(Stream),
    /// Read a stretch of the log for a learner.
    ReadLog(LinkId, Stretch),
    /// A tree that is no more: dropping it takes time.
    Drop(Box<Tree>),
}

/// To the zab thread.
pub enum StorageAnswer {
    /// It is on disk.
    Persisted(EpochRecord),
    /// A new tree; log and snapshots end where it does. What it took, if it was recovered from
    /// these.
    Rebuilt(Box<Tree>, Option<Cost>),
    /// The stream was no whole snapshot, or what is on disk does not lead to the txn that was to be
    /// the last; nothing was changed.
    NotRebuilt,
    /// What the log has; `None` if it is not to be used.
    LogRead(LinkId, Option<Vec<Proposal>>),
}

/// What the members' configuration says, for `/zookeeper/config`.
#[derive(Clone, Debug)]
pub struct ConfigText {
    /// Lines of members, and the version.
    pub text: Arc<str>,
    /// The version.
    pub version: Zxid,
}

impl ConfigText {
    /// Writes it into a tree.
    pub fn put(&self, tree: &mut Tree, now: Millis) {
        tree.set_config(&self.text, self.version, now);
    }
}

/// What the storage stage is made of.
pub struct Parts {
    /// What all threads share; of the tree only the lock's other side is used.
    pub shared: Arc<Shared>,
    /// From the zab thread.
    pub asks: Channel<StorageAsk>,
    /// To the zab thread.
    pub answers: Sender<StorageAnswer>,
    /// To the log thread, which alone may cut the log.
    pub log: Sender<LogAsk>,
    /// To the snapshot thread, which must have finished before files go.
    pub snapshots: SyncSender<SnapshotAsk>,
    /// Where snapshots go, and epoch files.
    pub options: SnapshotOptions,
    /// `version-2` of the log directory.
    pub log_dir: PathBuf,
    /// How a tree is made of the files.
    pub recover: RecoverOptions,
    /// What a new tree says of the members.
    pub config: ConfigText,
}

/// Runs until nobody can ask any more, or until the disk fails, which ends the process.
///
/// # Panics
/// If more was asked than there is room to answer: a bug of who asks.
pub fn run(parts: &Parts) {
    for ask in &parts.asks {
        match parts.answer(ask) {
            Ok(None) => {}
            Ok(Some(answer)) => {
                let pushed = parts.answers.push(answer);
                assert!(pushed.is_ok(), "there are no more answers than asks");
                parts.answers.ring();
            }
            Err(fatal) => {
                parts.shared.fail(fatal);
                return;
            }
        }
    }
}

/// Drops a tree on a thread of its own: the epoch that a learner is to ack is asked for next, and
/// its leader waits for that.
fn drop_aside(tree: Box<Tree>) {
    let work = move || drop(tree);
    if let Err(error) = std::thread::Builder::new().name("old-tree".into()).spawn(work) {
        tracing::warn!(%error, "no thread to drop a tree on: it was dropped here");
    }
}

impl Parts {
    fn answer(&self, ask: StorageAsk) -> Result<Option<StorageAnswer>, Fatal> {
        Ok(Some(match ask {
            StorageAsk::Persist(record) => {
                self.persist(record)?;
                StorageAnswer::Persisted(record)
            }
            StorageAsk::Truncate(to) => match self.truncate(to)? {
                Some((tree, cost)) => StorageAnswer::Rebuilt(Box::new(tree), Some(cost)),
                None => StorageAnswer::NotRebuilt,
            },
            StorageAsk::Receive(stream) => match self.receive(stream)? {
                Some(tree) => StorageAnswer::Rebuilt(Box::new(tree), None),
                None => StorageAnswer::NotRebuilt,
            },
            StorageAsk::ReadLog(link, stretch) => {
                StorageAnswer::LogRead(link, self.read_log(&stretch))
            }
            StorageAsk::Drop(tree) => {
                drop_aside(tree);
                return Ok(None);
            }
        }))
    }

    fn persist(&self, record: EpochRecord) -> Result<(), Fatal> {
        let dir = &self.options.snap_dir;
        let written = match record {
            EpochRecord::Accepted(epoch) => epoch::write_accepted(dir, epoch),
            EpochRecord::Current(epoch) => epoch::write_current(dir, epoch),
        };
        written.map_err(|error| Fatal::new(ExitCode::Unexpected, error))
    }

    /// `None` if what is on disk does not lead to `to`: then nothing was touched.
    fn truncate(&self, to: Zxid) -> Result<Option<(Tree, Cost)>, Fatal> {
        let _files = self.shared.files.lock();
        if !self.cut(Cut::Truncate(to))? {
            return Ok(None);
        }
        let (snap_dir, to_the_end) = (&self.options.snap_dir, StopFlag::default());
        let mut recovered = recover::recover(snap_dir, &self.log_dir, &self.recover, &to_the_end)?;
        self.config.put(&mut recovered.tree, crate::clock::wall());
        Ok(Some((recovered.tree, recovered.cost)))
    }

    /// Has the log thread cut, once no snapshot of the history that goes can come any more. One
    /// that is being written is given up: the rest of it may take longer than the leader waits.
    fn cut(&self, cut: Cut) -> Result<bool, Fatal> {
        let lost = || Fatal::new(ExitCode::Unexpected, "a thread ended while a log was to be cut");
        let (done, finished) = sync_channel(1);
        self.shared.snapshots.give_up();
        self.snapshots.send(SnapshotAsk::Barrier(done)).map_err(|_| lost())?;
        finished.recv().map_err(|_| lost())?;
        let (done, is_cut) = sync_channel(1);
        let pushed = self.log.push(LogAsk::Cut(cut, done));
        assert!(pushed.is_ok(), "nothing is proposed meanwhile");
        self.log.ring();
        is_cut.recv().map_err(|_| lost())
    }

    fn read_log(&self, stretch: &Stretch) -> Option<Vec<Proposal>> {
        let found = recovery::read_history(&self.log_dir, stretch);
        let records = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the log for a learner; it gets a snapshot");
            None
        })?;
        let proposal = |(zxid, record): (Zxid, Box<[u8]>)| Proposal { zxid, record: record.into() };
        Some(records.into_iter().map(proposal).collect())
    }
}
