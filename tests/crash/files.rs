//! Several log files: which are read, what may be missing, what is removed.

use std::fs;

use ringkeeper::ids::Zxid;
use ringkeeper::log::recovery::{self, Finding, ReplayOptions};
use ringkeeper::log::{Damage, Error, record};

use crate::disk::{Disk, Log};

fn after(zxid: i64) -> ReplayOptions {
    ReplayOptions { after: Zxid(zxid), ..ReplayOptions::default() }
}

#[test]
fn a_last_file_without_a_record_is_removed() {
    let header = record::FILE_HEADER.as_slice();
    let cases: [(&str, Vec<u8>); 5] = [
        ("ZOOKEEPER-2332: nothing at all", vec![]),
        ("ZOOKEEPER-1621: part of a header", header[..7].to_vec()),
        ("a header", header.to_vec()),
        ("a header and padding", [header, &[0; 8192]].concat()),
        ("a header and part of a record", [header, &[0, 0, 0, 0, 7, 7]].concat()),
    ];
    for (story, bytes) in cases {
        let disk = Disk::with("log.1", &Log::of(1..=3).bytes);
        disk.put("log.4", &bytes);
        let (visited, result) = disk.replay(&after(0));
        assert_eq!(visited, [1, 2, 3], "{story}");
        assert_eq!(result.unwrap().findings.len(), 1, "{story}");
        assert_eq!(disk.names(), ["log.1"], "{story}");
    }
}

/// A log has its name only once its first record is on the disk: what zeroed it took records.
#[test]
fn a_last_file_of_zeros_is_refused_and_stays() {
    let disk = Disk::with("log.1", &Log::of(1..=3).bytes);
    disk.put("log.4", &[0; 8192]);
    let (_, result) = disk.replay(&after(0));
    assert!(result.is_err(), "{result:?}");
    assert_eq!(disk.names(), ["log.1", "log.4"]);
}

#[test]
fn what_is_no_log_is_refused() {
    for bytes in [b"XKLG\0\0\0\x02\0\0\0\0\0\0\0\0rest".to_vec(), [vec![0; 16], vec![1]].concat()] {
        let disk = Disk::with("log.1", &bytes);
        let (_, result) = disk.replay(&after(0));
        let corrupt =
            matches!(result, Err(Error::Corrupt { damage: Damage::Magic, offset: 0, .. }));
        assert!(corrupt, "{result:?}");
        assert_eq!(fs::read(disk.file("log.1")).unwrap(), bytes);
    }
}

#[test]
fn a_torn_file_matters_only_if_something_is_missing_behind_it() {
    let torn = &Log::of(1..=4).bytes[..Log::of(1..=4).starts[3] + 20];
    let disk = Disk::with("log.1", torn);
    disk.put("log.4", &Log::of(4..=5).bytes);
    let (visited, result) = disk.replay(&after(0));
    assert_eq!(visited, [1, 2, 3, 4, 5]);
    assert!(matches!(result.unwrap().findings[..], [Finding::CutTorn { .. }]));
    assert_eq!(disk.clean_replay(), [1, 2, 3, 4, 5]);

    let disk = Disk::with("log.1", torn);
    disk.put("log.5", &Log::of(5..=6).bytes);
    let (_, result) = disk.replay(&after(0));
    let Err(error @ Error::Gap { .. }) = result else { panic!("{result:?}") };
    let said = error.to_string();
    for part in ["0x3 is followed by 0x5", "log.5", "log.1 breaks off at", "allowGaps=true"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(fs::read(disk.file("log.1")).unwrap(), torn);
}

#[test]
fn gaps_are_found_wherever_they_are() {
    const E1: i64 = 1 << 32;
    type Case = (&'static str, &'static [i64], i64, Option<(i64, i64)>);
    let cases: [Case; 9] = [
        ("within a file", &[1, 2, 4], 0, Some((2, 4))),
        ("behind the snapshot", &[7, 8], 5, Some((5, 7))),
        ("none behind the snapshot", &[6, 7], 5, None),
        ("before the snapshot does not matter", &[1, 2, 5, 6], 5, None),
        ("a new epoch begins with 1", &[1, 2, E1 + 1], 0, None),
        ("an epoch without txns", &[1, E1 * 2 + 1], 0, None),
        ("a new epoch that begins later", &[1, E1 + 2], 0, Some((1, E1 + 2))),
        ("a Java server that stands alone counts on", &[E1 - 1, E1, E1 + 1], E1 - 2, None),
        ("behind a leader's first snapshot", &[E1 + 1, E1 + 2], E1, None),
    ];
    for (story, zxids, snapshot, gap) in cases {
        let disk =
            Disk::with(&format!("log.{:x}", zxids[0]), &Log::of(zxids.iter().copied()).bytes);
        match (gap, disk.replay(&after(snapshot)).1) {
            (None, Ok(replayed)) => assert_eq!(replayed.last.0, *zxids.last().unwrap(), "{story}"),
            (Some(expected), Err(Error::Gap { after, found, .. })) => {
                assert_eq!((after.0, found.0), expected, "{story}");
                let allowed = ReplayOptions { allow_gaps: true, ..self::after(snapshot) };
                let replayed = disk.replay(&allowed).1.unwrap();
                assert_eq!((replayed.gaps, replayed.findings.len()), (1, 1), "{story}");
            }
            (_, other) => panic!("{story}: {other:?}"),
        }
    }
}

#[test]
fn a_missing_file_is_a_gap() {
    let disk = Disk::with("log.1", &Log::of(1..=3).bytes);
    disk.put("log.8", &Log::of(8..=9).bytes);
    let (_, result) = disk.replay(&after(0));
    assert!(matches!(result, Err(Error::Gap { torn: None, .. })), "{result:?}");
}

#[test]
fn records_seen_before_are_passed_over() {
    let disk = Disk::with("log.1", &Log::of([1, 2, 3, 3, 4]).bytes);
    disk.put("log.4", &Log::of(4..=6).bytes);
    let (visited, result) = disk.replay(&after(2));
    assert_eq!(visited, [3, 4, 5, 6]);
    let replayed = result.unwrap();
    assert_eq!((replayed.older, replayed.duplicates, replayed.files), (2, 2, 2));
    let [finding] = &replayed.findings[..] else { panic!("one line: {:?}", replayed.findings) };
    let said = finding.to_string();
    for part in ["2 records", "log.1", "zxid 0x3 behind 0x3", "passed over"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(disk.names(), ["log.1", "log.4"], "nothing is repaired");
}

#[test]
fn only_the_files_the_snapshot_needs_are_read() {
    let disk = Disk::with("log.1", b"not even a log");
    disk.put("log.4", &Log::of(4..=6).bytes);
    disk.put("log.7", &Log::of(7..=8).bytes);
    disk.put("unfinished.log.0", b"whatever");
    let (visited, result) = disk.replay(&after(6));
    assert_eq!(visited, [7, 8]);
    assert_eq!(result.unwrap().files, 2);
    let (visited, result) = disk.replay(&after(7));
    assert_eq!((visited, result.unwrap().files), (vec![8], 1));
}

/// What it would have repaired is left for the next start.
#[test]
fn a_stop_in_the_midst_of_a_log_changes_nothing() {
    let torn = &Log::of(1..=4).bytes[..Log::of(1..=4).starts[3] + 20];
    for stop_at in 1..=3 {
        let disk = Disk::with("log.1", torn);
        let options = ReplayOptions::default();
        let mut visited = 0;
        let result = recovery::replay(disk.path(), &options, |zxid, _| {
            visited = zxid.0;
            if zxid == Zxid(stop_at) {
                options.stop.raise();
            }
            Ok(())
        });
        assert!(matches!(result, Err(Error::Stopped)), "{result:?}");
        assert_eq!(visited, stop_at);
        assert_eq!(fs::read(disk.file("log.1")).unwrap(), torn);
    }
}

#[test]
fn nothing_to_read_is_no_error() {
    let (visited, result) = Disk::new().replay(&after(9));
    assert!(visited.is_empty());
    assert_eq!(result.unwrap().last, Zxid(9));
}

#[test]
fn damage_in_an_older_file_is_refused_even_if_told_to_cut() {
    let log = Log::of(1..=4);
    let mut bytes = log.bytes.clone();
    bytes[log.starts[1] + 20] ^= 1;
    let disk = Disk::with("log.1", &bytes);
    disk.put("log.5", &Log::of(5..=6).bytes);
    let cut = ReplayOptions { cut_damaged_tail: true, ..ReplayOptions::default() };
    let (_, result) = disk.replay(&cut);
    assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
    assert_eq!(fs::read(disk.file("log.1")).unwrap(), bytes);
}
