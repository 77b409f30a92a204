//! A scratch directory with logs, and what replaying it comes to.

use std::fs;
use std::path::{Path, PathBuf};

use ringkeeper::ids::{Millis, SessionId, Xid, Zxid};
use ringkeeper::log::recovery::{self, LogBytes, Refusal, ReplayOptions, Replayed};
use ringkeeper::log::{Error, Writer, WriterOptions, record};
use ringkeeper::wire::OpCode;
use ringkeeper::wire::txn::{DIGEST_VERSION, Record, Txn, TxnDigest, TxnHeader};
use tempfile::TempDir;

/// The bytes of a txn that sets `/a` to `data`.
pub(crate) fn txn(zxid: Zxid, data: &[u8]) -> Vec<u8> {
    let header = TxnHeader {
        session: SessionId(0x0100_0000_0000_0001),
        cxid: Xid(1),
        zxid,
        time: Millis(1_700_000_000_000),
        op: OpCode::SetData,
    };
    let txn = Txn::SetData { path: "/a".into(), data: Some(data), version: 1 };
    let digest = Some(TxnDigest { version: DIGEST_VERSION, digest: 7 });
    let mut out = Vec::new();
    Record { header, txn, digest }.encode(&mut out);
    out
}

/// A log file in memory.
#[derive(Clone, Default)]
pub(crate) struct Log {
    pub(crate) bytes: Vec<u8>,
    /// Where each record begins, and last where the next one would.
    pub(crate) starts: Vec<usize>,
}

impl Log {
    /// Records with these zxids.
    pub(crate) fn of(zxids: impl IntoIterator<Item = i64>) -> Self {
        let mut log = Self { bytes: record::FILE_HEADER.to_vec(), starts: Vec::new() };
        for zxid in zxids {
            log.starts.push(log.bytes.len());
            let data = txn(Zxid(zxid), b"some data");
            log.bytes.extend(record::head(&data));
            log.bytes.extend(data);
            log.bytes.push(record::END_MARKER);
        }
        log.starts.push(log.bytes.len());
        log
    }
}

/// What a replay came to: the zxids visited, and its report or error.
pub(crate) type Outcome = (Vec<i64>, Result<Replayed, Error>);

type Visit<'a> = &'a mut dyn FnMut(Zxid, &[u8]) -> Result<(), Refusal>;

fn outcome(replay: impl FnOnce(Visit<'_>) -> Result<Replayed, Error>) -> Outcome {
    let mut visited = Vec::new();
    let result = replay(&mut |zxid, bytes| {
        assert_eq!(Record::decode(bytes)?.header.zxid, zxid);
        visited.push(zxid.0);
        Ok(())
    });
    (visited, result)
}

/// All of an outcome as text.
fn told((visited, result): &Outcome) -> String {
    match result {
        Ok(replayed) => format!("{visited:?} {replayed:?}"),
        Err(error) => format!("{visited:?} {error}"),
    }
}

/// A log directory.
pub(crate) struct Disk {
    pub(crate) dir: TempDir,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// With one log file of these bytes.
    pub(crate) fn with(name: &str, bytes: &[u8]) -> Self {
        let disk = Self::new();
        disk.put(name, bytes);
        disk
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.file(name), bytes).unwrap();
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// From the files, and, which must come to the same, from their bytes in memory.
    pub(crate) fn replay(&self, options: &ReplayOptions) -> Outcome {
        let logs = self.logs();
        let logs: Vec<_> =
            logs.iter().map(|(first, bytes)| LogBytes { first: *first, bytes }).collect();
        let in_memory = outcome(|visit| recovery::replay_bytes(&logs, options, visit));
        let on_disk = outcome(|visit| recovery::replay(self.path(), options, visit));
        assert_eq!(
            told(&in_memory),
            told(&on_disk).replace(&format!("{}/", self.path().display()), "")
        );
        on_disk
    }

    /// Its logs, in rising order.
    pub(crate) fn logs(&self) -> Vec<(Zxid, Vec<u8>)> {
        let number = |name: &String| i64::from_str_radix(name.strip_prefix("log.")?, 16).ok();
        let first =
            |name: String| Some((Zxid(number(&name)?), fs::read(self.file(&name)).unwrap()));
        let mut logs: Vec<_> = self.names().into_iter().filter_map(first).collect();
        logs.sort();
        logs
    }

    /// Replays what must be in order already.
    pub(crate) fn clean_replay(&self) -> Vec<i64> {
        let (visited, result) = self.replay(&ReplayOptions::default());
        let findings = result.unwrap().findings;
        assert!(findings.is_empty(), "{findings:?}");
        visited
    }

    pub(crate) fn writer(&self, last: Zxid) -> Writer {
        Writer::open(WriterOptions {
            log_dir: self.path().to_path_buf(),
            last,
            segment_bytes: 64 << 20,
            force_sync: true,
            roll_bytes: None,
        })
    }
}
