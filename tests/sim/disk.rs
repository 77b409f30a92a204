//! The disk of one node: logs in the production format, snapshots, epochs, and what a crash
//! leaves of them.
//!
//! What was appended is in the page cache until a flush that began after it is over; a crash keeps
//! what was flushed and any beginning of the rest, so that the last record may be torn. Epoch
//! files and snapshots are there whole or not at all. What is started with is read by the
//! production recovery.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use ringkeeper::ids::{Epoch, Zxid};
use ringkeeper::log::epoch::{self, EpochFiles};
use ringkeeper::log::record::{self, END_MARKER, FILE_HEADER};
use ringkeeper::log::recovery::{self, Finding, LogBytes, ReplayOptions};
use ringkeeper::tree::{Tree, TreeOptions, image};
use ringkeeper::wire::txn::Record;
use ringkeeper::zab::{EpochRecord, Proposal};

use crate::checker::{Histories, Place};
use crate::random::Random;

/// Snapshots that are kept; logs go with those that only older ones need.
const SNAPSHOTS_KEPT: usize = 3;

/// What the unwritten rest of a segment looks like behind a torn record.
const PADDING_BYTES: usize = 64;

struct Log {
    first: Zxid,
    bytes: Vec<u8>,
    /// What a crash cannot take.
    flushed: usize,
}

/// A finished snapshot file.
#[derive(Clone)]
pub struct Snapshot {
    pub zxid: Zxid,
    /// Tables, nodes, terminator.
    pub image: Rc<[u8]>,
    /// The history it stands for.
    pub place: Place,
}

/// What a start finds.
pub struct Recovered {
    pub tree: Tree,
    pub place: Place,
    pub accepted: Epoch,
    pub current: Epoch,
    /// The last txns of the log, oldest first.
    pub recent: VecDeque<Proposal>,
}

/// How far a flush goes.
struct FlushMark {
    logs: Vec<(Zxid, usize)>,
    upto: Zxid,
}

/// See the module.
pub struct Disk {
    logs: Vec<Log>,
    snapshots: Vec<Snapshot>,
    accepted: Option<Epoch>,
    current: Option<Epoch>,
    /// The next record begins a file.
    rolls: bool,
    last: Zxid,
    flushing: Option<FlushMark>,
    /// The history that would be found after a crash now, at least.
    durable: Place,
    /// Appended and not flushed: their histories.
    pending: VecDeque<(Zxid, Place)>,
}

impl Disk {
    /// A new server's: an empty snapshot, as Java makes one at the first start.
    pub fn new() -> Self {
        let image = encode_image(&mut Tree::new());
        let first = Snapshot { zxid: Zxid::ZERO, image: image.into(), place: Place::START };
        Self {
            logs: Vec::new(),
            snapshots: vec![first],
            accepted: None,
            current: None,
            rolls: true,
            last: Zxid::ZERO,
            flushing: None,
            durable: Place::START,
            pending: VecDeque::new(),
        }
    }

    pub fn durable(&self) -> Place {
        self.durable
    }

    /// Whether everything that was appended is durable.
    pub fn is_flushed(&self) -> bool {
        self.pending.is_empty()
    }

    pub fn last(&self) -> Zxid {
        self.last
    }

    pub fn accepted(&self) -> Epoch {
        self.accepted.unwrap_or_default()
    }

    pub fn current(&self) -> Epoch {
        self.current.unwrap_or_default()
    }

    /// The history of all that was appended.
    pub fn appended(&self) -> Place {
        self.pending.back().map_or(self.durable, |(_, place)| *place)
    }

    pub fn append(&mut self, proposal: &Proposal, place: Place) {
        let Proposal { zxid, record } = proposal;
        assert!(*zxid > self.last, "zxid {zxid} appended after {}", self.last);
        if self.rolls {
            let bytes = FILE_HEADER.to_vec();
            self.logs.push(Log { first: *zxid, bytes, flushed: 0 });
            self.rolls = false;
        }
        let log = self.logs.last_mut().expect("one was begun");
        log.bytes.extend(record::head(record));
        log.bytes.extend_from_slice(record);
        log.bytes.push(END_MARKER);
        self.last = *zxid;
        self.pending.push_back((*zxid, place));
    }

    /// The next record begins a new log, as after a snapshot was begun.
    pub fn roll(&mut self) {
        self.rolls = true;
    }

    /// Begins a flush, unless one is under way or there is nothing to flush.
    pub fn begin_flush(&mut self) -> bool {
        if self.flushing.is_some() || self.pending.is_empty() {
            return false;
        }
        let unflushed = self.logs.iter().filter(|log| log.flushed < log.bytes.len());
        let logs = unflushed.map(|log| (log.first, log.bytes.len())).collect();
        self.flushing = Some(FlushMark { logs, upto: self.last });
        true
    }

    /// The flush is over: what was appended before it began is durable.
    pub fn end_flush(&mut self) -> Option<Zxid> {
        let mark = self.flushing.take()?;
        for (first, len) in mark.logs {
            if let Some(log) = self.logs.iter_mut().find(|log| log.first == first) {
                log.flushed = len;
            }
        }
        while let Some((_, place)) = self.pending.pop_front_if(|(zxid, _)| *zxid <= mark.upto) {
            self.durable = place;
        }
        Some(mark.upto)
    }

    pub fn persist(&mut self, what: EpochRecord) {
        match what {
            EpochRecord::Accepted(epoch) => self.accepted = Some(epoch),
            EpochRecord::Current(epoch) => self.current = Some(epoch),
        }
    }

    /// What is left after the process or the machine stopped. What was being written is torn
    /// anywhere; `keeps_cache`: only the process stopped, and the page cache is written later.
    pub fn crash(&mut self, random: &mut Random, keeps_cache: bool) {
        let unflushed = self.logs.iter().map(|log| log.bytes.len() - log.flushed).sum::<usize>();
        let mut kept = if keeps_cache { unflushed } else { random.below(unflushed + 1) };
        self.logs.retain_mut(|log| {
            let of_log = kept.min(log.bytes.len() - log.flushed);
            kept -= of_log;
            log.bytes.truncate(log.flushed + of_log);
            if !keeps_cache {
                log.bytes.resize(log.bytes.len() + random.below(2) * PADDING_BYTES, 0);
            }
            // A file has its name once header and first record are on disk.
            keeps_cache && of_log > FILE_HEADER.len() || log.flushed > 0
        });
        self.flushing = None;
        self.pending.clear();
    }

    /// What the production code makes of what is there.
    pub fn recover(&mut self, histories: &Histories) -> Recovered {
        let snapshot = self.snapshots.last().expect("one is always kept").clone();
        let options = TreeOptions::default();
        let mut tree = image::load(&mut &snapshot.image[..], snapshot.zxid, options)
            .expect("a finished snapshot is whole");
        let mut place = snapshot.place;
        let mut recent = VecDeque::new();
        let replay = ReplayOptions { after: snapshot.zxid, ..ReplayOptions::default() };
        let replayed = recovery::replay_bytes(&self.log_bytes(), &replay, |zxid, bytes| {
            tree.apply(&Record::decode(bytes)?, None);
            place = histories
                .find(place, zxid, bytes)
                .unwrap_or_else(|| panic!("the log has a txn {zxid} where nobody wrote it"));
            recent.push_back(Proposal { zxid, record: Bytes::copy_from_slice(bytes) });
            Ok(())
        });
        let replayed = replayed.unwrap_or_else(|error| panic!("the log cannot be read: {error}"));
        self.repair(&replayed.findings);
        for log in &mut self.logs {
            log.flushed = log.bytes.len();
        }
        let files =
            EpochFiles { current: self.current, current_unfinished: None, accepted: self.accepted };
        let epochs = epoch::decide(&files, replayed.last)
            .unwrap_or_else(|error| panic!("the server refuses to start: {error}"));
        (self.accepted, self.current) = (Some(epochs.accepted), Some(epochs.current));
        self.rolls = true;
        self.last = replayed.last;
        self.durable = place;
        self.pending.clear();
        Recovered { tree, place, accepted: epochs.accepted, current: epochs.current, recent }
    }

    fn repair(&mut self, findings: &[Finding]) {
        for finding in findings {
            let (file, len) = match finding {
                Finding::CutTorn { file, offset, .. } => (file, *offset),
                Finding::RemovedEmpty { file } => (file, 0),
                Finding::CutDamaged { .. } | Finding::Repeated { .. } | Finding::Gap { .. } => {
                    panic!("recovery put up with what no crash leaves: {finding}")
                }
            };
            let len = usize::try_from(len).expect("logs are small");
            self.logs.retain_mut(|log| {
                if file.to_string_lossy() != format!("log.{:x}", log.first.0) {
                    return true;
                }
                log.bytes.truncate(len);
                len > FILE_HEADER.len()
            });
        }
    }

    fn log_bytes(&self) -> Vec<LogBytes<'_>> {
        self.logs.iter().map(|log| LogBytes { first: log.first, bytes: &log.bytes }).collect()
    }

    /// Takes the disk back to `to` in steps of which each is durable; a crash comes after
    /// `steps_max` of them. False if it cannot be reached.
    pub fn truncate(&mut self, to: Zxid, steps_max: usize) -> bool {
        let Some(base) = self.snapshots.iter().rfind(|it| it.zxid <= to) else { return false };
        let Ok(ends) = recovery::truncate_bytes(&self.log_bytes(), base.zxid, to) else {
            return false;
        };
        let mut steps = 0;
        let mut may_step = || {
            steps += 1;
            steps <= steps_max
        };
        while self.snapshots.last().is_some_and(|it| it.zxid > to) && may_step() {
            self.snapshots.pop();
        }
        for end in ends.iter().rev() {
            if !may_step() {
                return true;
            }
            match end.bytes {
                None => self.logs.retain(|log| log.first != end.first),
                Some(len) => {
                    let log = self.logs.iter_mut().find(|log| log.first == end.first);
                    let log = log.expect("the decision names logs that are there");
                    log.bytes.truncate(usize::try_from(len).expect("logs are small"));
                    log.flushed = log.bytes.len();
                }
            }
        }
        self.logs.retain(|log| log.bytes.len() > FILE_HEADER.len());
        true
    }

    /// Puts a snapshot from the leader in the place of everything: all or nothing, or a crash in
    /// the midst of it could leave a mixture of two histories.
    ///
    /// Logs that are older go, too: between them and what is logged next there is a hole that no
    /// reader could see if an epoch begins there.
    pub fn install(&mut self, snapshot: &Snapshot) {
        self.snapshots = vec![snapshot.clone()];
        self.logs.clear();
    }

    /// A snapshot of this node's own is finished.
    pub fn add_snapshot(&mut self, snapshot: Snapshot) {
        self.snapshots.retain(|it| it.zxid < snapshot.zxid);
        self.snapshots.push(snapshot);
        let surplus = self.snapshots.len().saturating_sub(SNAPSHOTS_KEPT);
        self.snapshots.drain(..surplus);
        let oldest = self.snapshots[0].zxid;
        if let Some(needed) = self.logs.iter().rposition(|log| log.first <= oldest) {
            self.logs.drain(..needed);
        }
    }

    /// History out of the log, for a learner: from the last txn that is not after `from` to `upto`;
    /// `None` if the log does not reach back so far, or there is too much.
    pub fn read(&self, from: Zxid, upto: Zxid, bytes_max: usize) -> Option<Vec<Proposal>> {
        let logs = self.log_bytes();
        let begin = logs.iter().rposition(|log| log.first <= from)?;
        let mut history = Vec::new();
        let mut bytes = 0;
        let after = Zxid(logs[begin].first.0 - 1);
        let options = ReplayOptions { after, ..ReplayOptions::default() };
        let read = recovery::replay_bytes(&logs[begin..], &options, |zxid, record| {
            if zxid <= from {
                (bytes, history) = (0, Vec::new());
            }
            if zxid <= upto {
                bytes += record.len();
                history.push(Proposal { zxid, record: Bytes::copy_from_slice(record) });
            }
            Ok(())
        });
        read.ok()?;
        (bytes <= bytes_max).then_some(history)
    }
}

/// All of a tree, at once.
pub fn encode_image(tree: &mut Tree) -> Vec<u8> {
    let image = tree.begin_image().expect("no image is under way");
    let mut bytes = Vec::new();
    image.encode_tables(&mut bytes);
    let mut walker = image.walker();
    let progress = walker.append(tree, &mut bytes, usize::MAX / 16, usize::MAX / 16);
    assert_eq!(progress, image::Progress::Done, "an image of a tree that did not change");
    drop(tree.end_image(&image));
    bytes
}
