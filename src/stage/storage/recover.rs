//! From the files of a data directory to the tree they stand for.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;

use crate::clock::Clock;
use crate::error::{ExitCode, Fatal};
use crate::ids::Zxid;
use crate::limits::RECENT_BYTES_MAX;
use crate::log::recovery::{self, ReplayOptions};
use crate::log::snapshot::{self, DigestTrailer, SnapshotFile, SnapshotReader};
use crate::log::{Error, StopFlag};
use crate::metrics::{Basic, Recorder};
use crate::tree::image::{self, LoadError};
use crate::tree::{Tree, TreeOptions};
use crate::wire::chunk::Chunk;
use crate::wire::txn::{Record, TxnDigest};
use crate::zab::Proposal;

/// How to recover.
#[derive(Clone, Copy, Debug)]
pub struct RecoverOptions {
    /// Of the tree.
    pub tree: TreeOptions,
    /// `zookeeper.snapshot.trust.empty`: logs without any snapshot are believed.
    pub trust_empty_snapshot: bool,
    /// The operator accepts missing txns.
    pub allow_gaps: bool,
    /// The operator accepts the loss of what is behind a damaged record.
    pub cut_damaged_tail: bool,
    /// How many of the last txns a leader keeps for its learners (`commitLogCount`); 0 alone.
    pub recent_max: usize,
}

/// What was recovered.
pub struct Recovered {
    /// Snapshot and log, applied.
    pub tree: Tree,
    /// The snapshot it began with; `None` if there was none.
    pub snapshot: Option<Zxid>,
    /// Records replayed behind it.
    pub replayed: u64,
    /// What that took.
    pub cost: Cost,
    /// The last of them, for learners, without a gap.
    pub recent: Vec<Proposal>,
}

/// What a recovery took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cost {
    snapshot_ms: u64,
    replay_ms: u64,
    replayed: u64,
}

impl Cost {
    /// COMPAT: a replay of nothing is no replay (`FileTxnSnapLog.fastForwardFromEdits`).
    pub fn count(self, recorder: &Recorder) {
        let Self { snapshot_ms, replay_ms, replayed } = self;
        recorder.record(Basic::Dbinittime, snapshot_ms + replay_ms);
        recorder.record(Basic::StartupSnapLoadTime, snapshot_ms);
        if replayed > 0 {
            recorder.record(Basic::StartupTxnsLoaded, replayed);
            recorder.record(Basic::StartupTxnsLoadTime, replay_ms);
        }
    }
}

/// The last txns of a replay.
#[derive(Default)]
struct Recent {
    max: usize,
    bytes: usize,
    proposals: VecDeque<Proposal>,
    chunk: Chunk,
}

impl Recent {
    fn push(&mut self, zxid: Zxid, record: &[u8]) {
        if self.max == 0 {
            return;
        }
        let last = self.proposals.back().map(|last| last.zxid);
        if last.is_some_and(|last| !recovery::follows(last, zxid)) {
            // The operator accepts what is missing here; a learner would miss it unawares.
            self.proposals.clear();
            self.bytes = 0;
        }
        self.bytes += record.len();
        self.proposals.push_back(Proposal { zxid, record: self.chunk.put(record) });
        while self.proposals.len() > self.max || self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.proposals.pop_front() else { return };
            self.bytes -= oldest.record.len();
        }
    }
}

/// Why a server cannot start on its data.
#[derive(Debug)]
pub enum RecoverError {
    /// The log's or the directory's own.
    Log(Error),
    /// None of the snapshots can be read.
    NoValidSnapshot(String),
    /// Logs without a snapshot: what came before them is unknown.
    LogsWithoutSnapshot(String),
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => error.fmt(f),
            Self::NoValidSnapshot(dir) => write!(
                f,
                "not able to find valid snapshots in {dir}: each is named above with what is \
                 wrong with it; restore one from another server or a backup"
            ),
            Self::LogsWithoutSnapshot(dir) => write!(
                f,
                "no snapshot found in {dir}, but there are log entries. Something is broken: \
                 restore a snapshot, or start with -Dzookeeper.snapshot.trust.empty=true if the \
                 log is known to be complete"
            ),
        }
    }
}

impl std::error::Error for RecoverError {}

impl From<Error> for RecoverError {
    fn from(error: Error) -> Self {
        Self::Log(error)
    }
}

impl From<RecoverError> for Fatal {
    fn from(error: RecoverError) -> Self {
        let is_stop = matches!(error, RecoverError::Log(Error::Stopped));
        let code = if is_stop { ExitCode::Normal } else { ExitCode::Unexpected };
        Self::new(code, error)
    }
}

/// Loads the newest snapshot that can be read, and replays the log behind it.
///
/// # Errors
/// [`RecoverError`] if what is there cannot be trusted, or soon after `stop` was raised; nothing
/// was changed then.
pub fn recover(
    snap_dir: &Path,
    log_dir: &Path,
    options: &RecoverOptions,
    stop: &StopFlag,
) -> Result<Recovered, RecoverError> {
    if let Some(file) = snapshot::resume(snap_dir, log_dir, stop)? {
        tracing::warn!(file = %file.path.display(), "went on installing a leader's snapshot");
    }
    let clock = Clock::start();
    let loaded = load_newest(snap_dir, options, stop)?;
    let loaded_at_us = clock.micros();
    if loaded.is_none() && !options.trust_empty_snapshot && recovery::has_logs(log_dir)? {
        return Err(RecoverError::LogsWithoutSnapshot(snap_dir.display().to_string()));
    }
    let (mut tree, snapshot) = match loaded {
        Some((tree, zxid)) => (tree, Some(zxid)),
        None => (Tree::with_options(options.tree), None),
    };
    let replay = ReplayOptions {
        after: snapshot.unwrap_or(Zxid::ZERO),
        allow_gaps: options.allow_gaps,
        cut_damaged_tail: options.cut_damaged_tail,
        stop: stop.clone(),
    };
    let mut recent = Recent { max: options.recent_max, ..Recent::default() };
    let replayed = recovery::replay(log_dir, &replay, |zxid, bytes| {
        let record = Record::decode(bytes)?;
        tree.apply(&record, None);
        recent.push(zxid, bytes);
        Ok(())
    })?;
    tree.end_of_log();
    for finding in &replayed.findings {
        tracing::warn!("{finding}");
    }
    let cost = Cost {
        snapshot_ms: loaded_at_us / 1000,
        replay_ms: (clock.micros() - loaded_at_us) / 1000,
        replayed: replayed.records,
    };
    let recent = recent.proposals.into();
    Ok(Recovered { tree, snapshot, replayed: replayed.records, cost, recent })
}

fn load_newest(
    dir: &Path,
    options: &RecoverOptions,
    stop: &StopFlag,
) -> Result<Option<(Tree, Zxid)>, RecoverError> {
    let files = snapshot::list(dir)?;
    for file in &files {
        match load(file, options, stop) {
            Ok(tree) => {
                tracing::info!(file = %file.path.display(), "reading snapshot");
                return Ok(Some((tree, file.zxid)));
            }
            Err(error) => {
                stop.check()?; // or it is no fault of the file
                let file = file.path.display();
                tracing::warn!(%file, %error, "problem reading snapshot; trying an older one");
            }
        }
    }
    if files.is_empty() {
        Ok(None)
    } else {
        Err(RecoverError::NoValidSnapshot(dir.display().to_string()))
    }
}

/// Why one snapshot cannot be used.
#[derive(Debug)]
enum Unusable {
    File(Error),
    Image(LoadError),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Image(error) => error.fmt(f),
        }
    }
}

fn load(file: &SnapshotFile, options: &RecoverOptions, stop: &StopFlag) -> Result<Tree, Unusable> {
    let mut reader = SnapshotReader::open(file).map_err(Unusable::File)?;
    reader.heed(stop);
    let mut tree = image::load(&mut reader, file.zxid, options.tree).map_err(Unusable::Image)?;
    let trailers = reader.finish().map_err(Unusable::File)?;
    if let Some(DigestTrailer { zxid, version, digest }) = trailers.digest {
        if zxid == snapshot::UNKNOWN {
            tree.set_fuzzy(true); // until it is where a leader is
        } else {
            tree.expect_digest(zxid, TxnDigest { version, digest });
        }
    }
    Ok(tree)
}

#[cfg(test)]
impl RecoverOptions {
    /// For tests: nothing is passed over, nothing is kept for learners.
    pub(super) fn plain() -> Self {
        Self {
            tree: TreeOptions::default(),
            trust_empty_snapshot: false,
            allow_gaps: false,
            cut_damaged_tail: false,
            recent_max: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::RwLock;

    use super::*;
    use crate::ids::{Millis, SessionId, Xid};
    use crate::log::snapshot::Compression;
    use crate::log::{Writer, WriterOptions};
    use crate::metrics::Metrics;
    use crate::stage::snapshot::{SnapshotOptions, SnapshotTurns, write, write_to_install};
    use crate::wire::code::OpCode;
    use crate::wire::txn::{DIGEST_VERSION, Txn, TxnHeader};

    /// A txn that changes nothing, with this digest.
    fn idle(zxid: i64, digest: i64) -> Record<'static> {
        let (session, time) = (SessionId(1), Millis(0));
        let header = TxnHeader { session, cxid: Xid(1), zxid: Zxid(zxid), time, op: OpCode::Error };
        let digest = Some(TxnDigest { version: DIGEST_VERSION, digest });
        Record { header, txn: Txn::Error { err: -101 }, digest }
    }

    fn write_log(dir: &Path, zxids: &[i64]) {
        let records: Vec<_> = zxids.iter().map(|zxid| idle(*zxid, 0)).collect();
        write_records(dir, &records);
    }

    fn write_records(dir: &Path, records: &[Record<'_>]) {
        let mut writer = Writer::open(WriterOptions {
            log_dir: dir.into(),
            last: Zxid::ZERO,
            segment_bytes: 0,
            force_sync: false,
            roll_bytes: None,
        });
        for record in records {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            writer.append(record.header.zxid, &bytes).unwrap();
        }
        writer.flush().unwrap();
    }

    /// How many of the txns behind it are not what their leader had, of the snapshot that was
    /// installed while its tree was `fuzzy`: of one before the server serves, and one after.
    fn mismatches_after_a_restart(fuzzy: bool) -> (u64, u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let options = RecoverOptions::plain();
        let mut tree = Tree::with_options(options.tree);
        tree.apply(&idle(1, 0), None);
        tree.set_fuzzy(fuzzy);
        let image = tree.begin_image().unwrap();
        let (snap_dir, compression) = (path.to_owned(), Compression::None);
        let to = SnapshotOptions { snap_dir, compression, zxid_trailer: false };
        assert!(write_to_install(&image, &RwLock::new(tree), &to).unwrap());
        let mut recovered = recover(path, path, &options, &StopFlag::default()).unwrap();
        assert_eq!(recovered.snapshot, Some(Zxid(1)));
        recovered.tree.apply(&idle(2, 9), None);
        let before = recovered.tree.digest_mismatches().0;
        recovered.tree.set_fuzzy(false); // it is where its leader was
        recovered.tree.apply(&idle(3, 9), None);
        (before, recovered.tree.digest_mismatches().0 - before)
    }

    /// Not by trying an older snapshot, as for one that cannot be read.
    #[test]
    fn a_stop_ends_it_while_a_snapshot_is_read() {
        let dir = tempfile::tempdir().unwrap();
        for zxid in [1, 2] {
            let mut tree = Tree::with_options(TreeOptions::default());
            tree.apply(&idle(zxid, 0), None);
            let image = tree.begin_image().unwrap();
            let (snap_dir, compression) = (dir.path().to_owned(), Compression::None);
            let to = SnapshotOptions { snap_dir, compression, zxid_trailer: false };
            write(&image, &RwLock::new(tree), &to, &SnapshotTurns::default()).unwrap();
        }
        let stop = StopFlag::default();
        let recover = || recover(dir.path(), dir.path(), &RecoverOptions::plain(), &stop);
        assert_eq!(recover().unwrap().snapshot, Some(Zxid(2)));
        stop.raise();
        let stopped = recover().map(|_| ());
        assert!(matches!(stopped, Err(RecoverError::Log(Error::Stopped))), "{stopped:?}");
    }

    #[test]
    fn a_replay_of_nothing_is_not_counted() {
        for (replayed, count) in [(0, 0), (3, 1)] {
            let metrics = Metrics::new();
            let cost = Cost { snapshot_ms: 5, replay_ms: 2, replayed };
            cost.count(&metrics.recorder());
            let readings = metrics.read();
            assert_eq!(readings.basic(Basic::Dbinittime).sum, 7);
            assert_eq!(readings.basic(Basic::StartupSnapLoadTime).sum, 5);
            assert_eq!(readings.basic(Basic::StartupTxnsLoadTime).sum, 2 * count);
            let loaded = readings.basic(Basic::StartupTxnsLoaded);
            assert_eq!((loaded.count, loaded.sum), (count, replayed));
        }
    }

    /// Where txns are missing and the operator wishes to go on: a learner is sent all of what it
    /// lacks, or a snapshot.
    #[test]
    fn what_is_recent_begins_behind_the_last_gap() {
        const EPOCH: i64 = 1 << 32;
        let cases: [(&str, &[i64], &[i64]); 5] = [
            ("nothing is missing", &[1, 2, 3], &[1, 2, 3]),
            ("one is missing", &[1, 2, 4, 5], &[4, 5]),
            ("more than once", &[1, 3, 5], &[5]),
            (
                "an epoch ends anywhere",
                &[1, 2, EPOCH + 1, EPOCH + 2],
                &[1, 2, EPOCH + 1, EPOCH + 2],
            ),
            ("and begins at its first", &[1, 2, EPOCH + 2], &[EPOCH + 2]),
        ];
        for (what, zxids, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            write_log(dir.path(), zxids);
            let options = RecoverOptions {
                trust_empty_snapshot: true,
                allow_gaps: true,
                recent_max: 500,
                ..RecoverOptions::plain()
            };
            let recovered = recover(dir.path(), dir.path(), &options, &StopFlag::default());
            let recent = recovered.unwrap().recent;
            let recent: Vec<i64> = recent.iter().map(|proposal| proposal.zxid.0).collect();
            assert_eq!(recent, expected, "{what}");
        }
    }

    /// A Java leader writes its snapshot while txns go on: they come again, to a tree that has
    /// parts of them.
    #[test]
    fn behind_a_fuzzy_snapshot_nothing_is_compared_after_a_restart_either() {
        assert_eq!(mismatches_after_a_restart(true), (0, 1));
        assert_eq!(mismatches_after_a_restart(false), (1, 1));
    }

    /// A snapshot of a server's first txn whose digest is not its tree's, as of a Java server that
    /// had applied half of the second; then the log.
    fn mismatches_behind_a_wrong_digest(log: &[Record<'_>]) -> u64 {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = Tree::new();
        tree.apply(&idle(1, tree.digest()), None);
        let mut image = tree.begin_image().unwrap();
        image.digest = Some(9);
        let (snap_dir, compression) = (dir.path().to_owned(), Compression::None);
        let to = SnapshotOptions { snap_dir, compression, zxid_trailer: false };
        write(&image, &RwLock::new(tree), &to, &SnapshotTurns::default()).unwrap();
        write_records(dir.path(), log);
        let options = RecoverOptions::plain();
        let recovered = recover(dir.path(), dir.path(), &options, &StopFlag::default()).unwrap();
        recovered.tree.digest_mismatches().0
    }

    #[test]
    fn the_log_clears_or_confirms_a_doubtful_snapshot() {
        let digest = Tree::new().digest();
        assert_eq!(mismatches_behind_a_wrong_digest(&[idle(2, digest)]), 0);
        assert_eq!(mismatches_behind_a_wrong_digest(&[idle(2, 9)]), 2);
        assert_eq!(mismatches_behind_a_wrong_digest(&[]), 1, "its end does not clear it");
    }
}
