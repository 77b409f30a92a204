//! What purge and TRUNC delete, and what they must not.

use std::fs;

use ringkeeper::ids::Zxid;
use ringkeeper::log::Error;
use ringkeeper::log::recovery::{LogBytes, ReplayOptions, truncate, truncate_bytes};
use ringkeeper::log::snapshot::{self, Compression};

use crate::disk::{Disk, Log};
use crate::snapshots::write;

/// Logs 1-3, 4-6, 7-9, and snapshots 0, 3, 6, 9.
fn history() -> Disk {
    let disk = Disk::new();
    for first in [1, 4, 7] {
        disk.put(&format!("log.{first}"), &Log::of(first..first + 3).bytes);
    }
    for zxid in [0, 3, 6, 9] {
        write(disk.path(), zxid, Compression::None);
    }
    disk
}

/// How many files it removed.
fn purge(disk: &Disk, keep: usize) -> usize {
    let Some(oldest) = snapshot::oldest_to_keep(disk.path(), keep).unwrap() else { return 0 };
    snapshot::purge(disk.path(), disk.path(), &oldest).unwrap().removed.len()
}

#[test]
fn purge_keeps_the_newest_and_the_logs_they_need() {
    let cases: [(usize, &[&str]); 4] = [
        (1, &["log.7", "snapshot.9"]),
        (2, &["log.4", "log.7", "snapshot.6", "snapshot.9"]),
        (3, &["log.1", "log.4", "log.7", "snapshot.3", "snapshot.6", "snapshot.9"]),
        (9, &["log.1", "log.4", "log.7", "snapshot.0", "snapshot.3", "snapshot.6", "snapshot.9"]),
    ];
    for (keep, expected) in cases {
        let disk = history();
        let removed = purge(&disk, keep);
        assert_eq!(disk.names(), expected, "keep {keep}");
        assert_eq!(removed, 7 - expected.len());
    }
}

/// ZOOKEEPER-3231, and further: one whose first and last bytes are right does not count either.
#[test]
fn purge_counts_only_snapshots_that_could_be_loaded() {
    let disk = history();
    for name in ["snapshot.9", "snapshot.6"] {
        let mut bytes = fs::read(disk.file(name)).unwrap();
        bytes[100] ^= 1;
        disk.put(name, &bytes);
    }
    purge(&disk, 1);
    let expected = ["log.1", "log.4", "log.7", "snapshot.3", "snapshot.6", "snapshot.9"];
    assert_eq!(disk.names(), expected);
    for name in ["snapshot.0", "snapshot.3", "snapshot.6", "snapshot.9"] {
        disk.put(name, b"no snapshot");
    }
    assert_eq!(purge(&disk, 1), 0);
}

/// Between the choice and the deletion a TRUNC takes what was to be kept: the rest stays whole.
#[test]
fn purge_leaves_what_a_cut_left() {
    let disk = history();
    let oldest = snapshot::oldest_to_keep(disk.path(), 1).unwrap().unwrap();
    assert!(truncate(disk.path(), disk.path(), Zxid(5)).is_ok());
    let left = disk.names();
    snapshot::purge(disk.path(), disk.path(), &oldest).unwrap();
    assert_eq!(disk.names(), left);
}

/// ZOOKEEPER-4837: newer snapshots go too. X6: nothing after the target stays.
#[test]
fn truncate_leaves_exactly_what_led_to_the_target() {
    let cases: [(i64, &[&str], usize); 4] = [
        (
            9,
            &["log.1", "log.4", "log.7", "snapshot.0", "snapshot.3", "snapshot.6", "snapshot.9"],
            9,
        ),
        (8, &["log.1", "log.4", "log.7", "snapshot.0", "snapshot.3", "snapshot.6"], 8),
        (6, &["log.1", "log.4", "snapshot.0", "snapshot.3", "snapshot.6"], 6),
        (2, &["log.1", "snapshot.0"], 2),
    ];
    for (to, names, last) in cases {
        let disk = history();
        let before = disk.logs();
        truncate(disk.path(), disk.path(), Zxid(to)).unwrap();
        assert_eq!(disk.names(), names, "to {to}");
        assert_eq!(disk.logs(), truncated(before, to / 3 * 3, to), "to {to}");
        assert_eq!(disk.clean_replay().len(), last, "to {to}");
    }
}

/// What the decision in memory makes of these logs.
fn truncated(mut logs: Vec<(Zxid, Vec<u8>)>, base: i64, to: i64) -> Vec<(Zxid, Vec<u8>)> {
    let bytes: Vec<_> =
        logs.iter().map(|(first, bytes)| LogBytes { first: *first, bytes }).collect();
    for end in truncate_bytes(&bytes, Zxid(base), Zxid(to)).unwrap() {
        match end.bytes {
            None => logs.retain(|(first, _)| *first != end.first),
            Some(len) => {
                let log = logs.iter_mut().find(|(first, _)| *first == end.first).unwrap();
                log.1.truncate(usize::try_from(len).unwrap());
            }
        }
    }
    logs
}

#[test]
fn truncate_refuses_what_it_cannot_reach_and_touches_nothing() {
    let disk = history();
    for name in ["snapshot.0", "snapshot.3"] {
        fs::remove_file(disk.file(name)).unwrap();
    }
    fs::remove_file(disk.file("log.4")).unwrap();
    let before = disk.names();
    for (to, reached) in [(5, 0), (10, 9)] {
        let Err(Error::CannotTruncate { reached: got, .. }) =
            truncate(disk.path(), disk.path(), Zxid(to))
        else {
            panic!("to {to}");
        };
        assert_eq!(got, Zxid(reached));
    }
    let gap = Log::of([7, 8, 11]).bytes;
    disk.put("log.7", &gap);
    fs::remove_file(disk.file("snapshot.9")).unwrap();
    let refused = truncate(disk.path(), disk.path(), Zxid(11));
    assert!(matches!(refused, Err(Error::CannotTruncate { reached: Zxid(8), .. })), "{refused:?}");
    assert_eq!(disk.names().len(), before.len() - 1);
    let (_, result) = disk.replay(&ReplayOptions { after: Zxid(6), ..ReplayOptions::default() });
    assert!(matches!(result, Err(Error::Gap { .. })));
}
