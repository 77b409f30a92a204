//! The tree's digest, version 2: a sum of node crcs by which servers notice that they differ.
//!
//! Nothing below `/zookeeper/` takes part. A difference is counted and remembered, never fatal.
//! Source: `DigestCalculator`, `AdHash`, `DataTree.compareDigest`.

use std::collections::VecDeque;

use crc32fast::Hasher;

use super::node::StatPersisted;
use crate::ids::Zxid;
use crate::wire::txn::{DIGEST_VERSION, TxnDigest};

/// Zxids from one entry of the digest log to the next.
pub const DIGEST_LOG_INTERVAL: i64 = 128;

/// Entries of the digest log; the oldest go.
pub const DIGEST_LOG_MAX: usize = 1024;

/// Whether the node at `path` takes part.
pub fn is_digested(path: &str) -> bool {
    !path.starts_with("/zookeeper/")
}

/// The crc of a path and its data, to go on from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Prefix {
    /// As far as it goes.
    pub crc: u32,
    /// How far it goes.
    pub bytes: u64,
}

impl Prefix {
    /// The root's path may be given as `/` or empty.
    pub fn new(path: &str, data: Option<&[u8]>) -> Self {
        let path = if path == "/" { "" } else { path };
        let data = data.unwrap_or_default();
        let mut hasher = Hasher::new();
        hasher.update(path.as_bytes());
        hasher.update(data);
        Self { crc: hasher.finalize(), bytes: (path.len() + data.len()) as u64 }
    }

    /// The digest of a node with this path, this data and this stat.
    ///
    /// COMPAT: the order is not that of the stored stat (`DigestCalculator.calculateDigest`).
    pub fn node_digest(self, stat: &StatPersisted) -> u32 {
        let mut bytes = [0; 60];
        let mut rest = &mut bytes[..];
        let mut put = |field: &[u8]| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(field.len());
            head.copy_from_slice(field);
            rest = tail;
        };
        for long in [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime] {
            put(&long.to_be_bytes());
        }
        for int in [stat.version, stat.cversion, stat.aversion] {
            put(&int.to_be_bytes());
        }
        put(&stat.ephemeral_owner.to_be_bytes());
        let mut hasher = Hasher::new_with_initial_len(self.crc, self.bytes);
        hasher.update(&bytes);
        hasher.finalize()
    }
}

/// The digest after a txn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DigestEntry {
    /// Of the txn.
    pub zxid: Zxid,
    /// Of the tree.
    pub digest: i64,
}

/// A txn after which this tree is not what its leader's was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DigestMismatch {
    /// Of the txn, or of the snapshot that was loaded.
    pub zxid: Zxid,
    /// What came with it.
    pub expected: i64,
    /// What the tree has.
    pub actual: i64,
}

/// The sum, and what it was compared with.
#[derive(Default)]
pub(super) struct TreeDigest {
    sum: i64,
    /// From a snapshot that was written while txns went on: nothing is compared before it.
    awaited: Option<(Zxid, TxnDigest)>,
    /// Where a mismatch is doubtful while the log is replayed: the zxid of the snapshot's digest.
    doubtful: Option<Zxid>,
    /// Those found there: the snapshot's own digest, and that of the txn.
    doubts: Vec<DigestMismatch>,
    /// Parts of txns may be in the tree that are still to come: nothing is compared.
    is_fuzzy: bool,
    log: VecDeque<DigestEntry>,
    mismatches: u64,
    first_mismatch: Option<DigestMismatch>,
}

impl TreeDigest {
    pub(super) fn set_fuzzy(&mut self, is_fuzzy: bool) {
        self.is_fuzzy = is_fuzzy;
    }

    pub(super) fn is_fuzzy(&self) -> bool {
        self.is_fuzzy
    }

    pub(super) fn sum(&self) -> i64 {
        self.sum
    }

    pub(super) fn add(&mut self, node: u32) {
        self.sum = self.sum.wrapping_add(i64::from(node));
    }

    pub(super) fn subtract(&mut self, node: u32) {
        self.sum = self.sum.wrapping_sub(i64::from(node));
    }

    pub(super) fn log(&self) -> impl ExactSizeIterator<Item = DigestEntry> {
        self.log.iter().copied()
    }

    pub(super) fn mismatches(&self) -> u64 {
        self.mismatches
    }

    pub(super) fn first_mismatch(&self) -> Option<DigestMismatch> {
        self.first_mismatch
    }

    /// Nothing is compared before `zxid`, then this is.
    pub(super) fn expect(&mut self, zxid: Zxid, digest: TxnDigest, last_zxid: Zxid) {
        // COMPAT: one from before the snapshot's own zxid covers nothing, and zxid 0 is none
        // (`DataTree.deserializeZxidDigest`).
        if zxid > Zxid::ZERO && zxid >= last_zxid {
            self.awaited = Some((zxid, digest));
            self.doubtful = Some(zxid);
            self.reach(last_zxid);
        }
    }

    /// No txn of the log is left that could clear a doubt: it counts, and none arises any more. A
    /// digest that this server makes of this very tree would clear each.
    pub(super) fn end_of_log(&mut self) {
        self.doubtful = None;
        self.confirm();
    }

    /// A txn was applied, with the digest its leader had after it.
    pub(super) fn on_txn(&mut self, zxid: Zxid, digest: Option<TxnDigest>) {
        if self.awaited.is_some() {
            self.reach(zxid);
        } else if zxid.0 % DIGEST_LOG_INTERVAL == 0 {
            if self.log.len() == DIGEST_LOG_MAX {
                self.log.pop_front();
            }
            self.log.push_back(DigestEntry { zxid, digest: self.sum });
        }
        if self.awaited.is_none() && !self.is_fuzzy {
            self.judge(zxid, digest);
            self.compare(zxid, digest);
        }
    }

    fn reach(&mut self, zxid: Zxid) {
        if let Some((_, digest)) = self.awaited.take_if(|(awaited, _)| *awaited == zxid) {
            self.compare(zxid, Some(digest));
            if self.doubts.is_empty() {
                self.doubtful = None;
            }
        }
    }

    /// COMPAT: Java writes a snapshot, and behind it the digest after the last txn that is wholly
    /// applied, while one more may be half applied and in the snapshot (`FileSnap.serialize`). Java
    /// counts mismatches at that digest's zxid then. Here the next txn of the log, which completes
    /// what was half there, clears or confirms them. One that agrees at that zxid itself confirms:
    /// the tree is right there, the snapshot's digest is not.
    fn judge(&mut self, zxid: Zxid, digest: Option<TxnDigest>) {
        let Some(doubt) = self.doubts.first() else { return };
        let agrees = digest == Some(TxnDigest { version: DIGEST_VERSION, digest: self.sum });
        match (doubt.zxid == zxid, agrees) {
            (true, false) => {}
            (false, true) => self.doubts.clear(),
            (true, true) | (false, false) => self.confirm(),
        }
    }

    fn confirm(&mut self) {
        for doubt in std::mem::take(&mut self.doubts) {
            self.count(doubt);
        }
    }

    fn compare(&mut self, zxid: Zxid, expected: Option<TxnDigest>) {
        match expected.and_then(|expected| self.difference(zxid, expected)) {
            Some(mismatch) if self.doubtful == Some(zxid) => self.doubts.push(mismatch),
            Some(mismatch) => self.count(mismatch),
            None => {}
        }
    }

    fn difference(&self, zxid: Zxid, expected: TxnDigest) -> Option<DigestMismatch> {
        let differs = expected.version == DIGEST_VERSION && expected.digest != self.sum;
        differs.then_some(DigestMismatch { zxid, expected: expected.digest, actual: self.sum })
    }

    fn count(&mut self, mismatch: DigestMismatch) {
        self.mismatches += 1;
        self.first_mismatch.get_or_insert(mismatch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(digest: i64) -> TxnDigest {
        TxnDigest { version: 2, digest }
    }

    /// The tree of a fresh server of Java 3.9 is `/` and `/zookeeper`, all zero and empty.
    #[test]
    fn the_empty_tree_has_javas_digest() {
        let node = |path| Prefix::new(path, Some(b"")).node_digest(&StatPersisted::default());
        assert_eq!(u64::from(node("")) + u64::from(node("/zookeeper")), 0x51c6_d660);
        assert_eq!(node("/"), node(""));
        assert!(is_digested("/zookeeper") && is_digested("/zookeeper2"));
        assert!(!is_digested("/zookeeper/config"));
    }

    #[test]
    fn null_data_hashes_as_empty() {
        assert_eq!(Prefix::new("/a", None), Prefix::new("/a", Some(b"")));
    }

    #[test]
    fn the_log_keeps_every_128th_and_the_last_1024() {
        let mut digest = TreeDigest::default();
        let last = DIGEST_LOG_INTERVAL * 1030;
        (1..=last).for_each(|zxid| digest.on_txn(Zxid(zxid), None));
        assert_eq!(digest.log().len(), DIGEST_LOG_MAX);
        assert_eq!(digest.log().next().map(|entry| entry.zxid.0), Some(DIGEST_LOG_INTERVAL * 7));
        assert_eq!(digest.log().last().map(|entry| entry.zxid.0), Some(last));
    }

    #[test]
    fn the_first_mismatch_is_kept_and_all_are_counted() {
        let mut digest = TreeDigest::default();
        digest.on_txn(Zxid(1), Some(v2(0)));
        digest.on_txn(Zxid(2), Some(TxnDigest { version: 3, digest: 9 }));
        assert_eq!(digest.mismatches(), 0);
        digest.on_txn(Zxid(3), Some(v2(9)));
        digest.on_txn(Zxid(4), Some(v2(8)));
        let first = DigestMismatch { zxid: Zxid(3), expected: 9, actual: 0 };
        assert_eq!((digest.mismatches(), digest.first_mismatch()), (2, Some(first)));
        digest.set_fuzzy(true);
        digest.on_txn(Zxid(5), Some(v2(7)));
        assert_eq!(digest.mismatches(), 2, "what may be half there is not compared");
        digest.set_fuzzy(false);
        digest.on_txn(Zxid(6), Some(v2(7)));
        assert_eq!(digest.mismatches(), 3);
    }

    /// The tree's digest is 0. Snapshot digest zxid, what it says, txns of the log with digest 9,
    /// mismatches at the end of the log, and after a txn of this server's own.
    #[test]
    fn nothing_is_compared_before_the_snapshots_own_digest() {
        let cases: [(i64, i64, &[i64], u64); 10] = [
            (0, 9, &[6], 1),       // none: compared from the first txn
            (4, 9, &[6], 1),       // older than the snapshot's name: ignored
            (5, 0, &[], 0),        // not fuzzy: compared at once
            (5, 9, &[], 1),        // the same, and different: no txn clears it
            (5, 9, &[6], 2),       // the next txn confirms it
            (7, 0, &[6], 0),       // not reached yet
            (7, 9, &[6, 7], 2),    // reached: txn 7's own digest is compared too
            (7, 9, &[6, 7, 8], 3), // the next txn confirms both
            (7, 0, &[6, 7, 8], 2),
            (7, 0, &[6, 8, 9], 0), // passed without a txn of that zxid: never again
        ];
        for (at, says, txns, mismatches) in cases {
            let mut digest = TreeDigest::default();
            digest.expect(Zxid(at), v2(says), Zxid(5));
            for zxid in txns {
                digest.on_txn(Zxid(*zxid), Some(v2(9)));
            }
            digest.end_of_log();
            assert_eq!(digest.mismatches(), mismatches, "{at} {says} {txns:?}");
            digest.on_txn(Zxid(10), Some(v2(0)));
            assert_eq!(digest.mismatches(), mismatches, "{at} {says} {txns:?}, and one more");
        }
    }

    /// A snapshot that holds part of txn 6, and the digest after txn 5: what the log says of txn 5
    /// and those behind it, and the mismatches.
    #[test]
    fn a_half_applied_txn_in_a_snapshot_is_no_mismatch() {
        let (before, half, whole, other) = (2, 3, 4, 5);
        let v3 = TxnDigest { version: 3, digest: whole };
        let at = Some(v2(before));
        let cases = [
            ("it is completed", vec![at, Some(v2(whole))], 0),
            ("and those behind it are compared", vec![at, Some(v2(whole)), Some(v2(other))], 1),
            ("it makes another tree", vec![at, Some(v2(other)), Some(v2(whole))], 3),
            ("nobody says what it makes", vec![at, None, Some(v2(whole))], 2),
            ("or not so that it is understood", vec![at, Some(v3)], 2),
            ("it is not in the log", vec![at], 2),
            ("the snapshot's digest alone is wrong", vec![Some(v2(half)), Some(v2(whole))], 1),
        ];
        for (what, digests, mismatches) in cases {
            let mut digest = TreeDigest { sum: half, ..TreeDigest::default() };
            digest.expect(Zxid(5), v2(before), Zxid(4));
            for (zxid, said) in (5..).zip(digests) {
                digest.sum = if zxid == 5 { half } else { whole };
                digest.on_txn(Zxid(zxid), said);
            }
            digest.end_of_log();
            assert_eq!(digest.mismatches(), mismatches, "{what}");
        }
    }

    /// One whose zxid is not in the log comes from a leader: who knows of no doubt.
    #[test]
    fn behind_the_log_nothing_is_in_doubt() {
        let mut digest = TreeDigest::default();
        digest.expect(Zxid(7), v2(9), Zxid(5));
        digest.end_of_log();
        digest.on_txn(Zxid(7), Some(v2(0)));
        assert_eq!(digest.mismatches(), 1);
    }
}
