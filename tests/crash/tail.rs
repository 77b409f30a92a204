//! One log file, cut, flipped and extended at every byte.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use ringkeeper::ids::Zxid;
use ringkeeper::log::recovery::{Finding, ReplayOptions};
use ringkeeper::log::{Damage, Error};

use crate::disk::{Disk, Log};

/// How the file goes on behind what was written: not at all, or with the zeros laid down before.
const PADDINGS: [usize; 2] = [0, 5000];

fn with_padding(bytes: &[u8], padding: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len() + padding, 0);
    bytes
}

#[test]
fn a_log_cut_anywhere_keeps_every_whole_record() {
    let log = Log::of(1..=5);
    for padding in PADDINGS {
        for cut in log.starts[2]..=log.bytes.len() {
            let whole = log.starts.iter().rposition(|start| *start <= cut).unwrap();
            let expected: Vec<i64> = (1..=5).take(whole).collect();
            let disk = Disk::with("log.1", &with_padding(&log.bytes[..cut], padding));
            let (visited, result) = disk.replay(&ReplayOptions::default());
            let replayed = result.unwrap();
            assert_eq!(visited, expected, "cut at {cut}");
            assert_eq!(replayed.last, Zxid(*expected.last().unwrap()));
            let boundary = log.starts[whole];
            let torn = log.bytes[boundary..cut].iter().any(|byte| *byte != 0);
            match replayed.findings.as_slice() {
                [] => assert!(!torn, "cut at {cut}"),
                [Finding::CutTorn { offset, .. }] => {
                    assert!(torn && *offset == boundary as u64, "cut at {cut}");
                    assert_eq!(fs::read(disk.file("log.1")).unwrap(), &log.bytes[..boundary]);
                }
                other => panic!("cut at {cut}: {other:?}"),
            }
            assert_eq!(disk.clean_replay(), expected, "cut at {cut}, second start");
        }
    }
}

#[test]
fn a_flipped_byte_in_the_middle_is_refused_and_nothing_is_touched() {
    let log = Log::of(1..=5);
    for mask in [0xff, 0x01, 0x80, 0x30] {
        for at in log.starts[2]..log.starts[3] {
            let mut bytes = with_padding(&log.bytes, 100);
            bytes[at] ^= mask;
            let disk = Disk::with("log.1", &bytes);
            let (_, result) = disk.replay(&ReplayOptions::default());
            let Err(Error::Corrupt { file, offset, after, next, .. }) = result else {
                panic!("byte {at} ^ {mask:#x}: {result:?}");
            };
            assert_eq!((file, offset), (disk.file("log.1"), log.starts[2] as u64));
            assert_eq!((after, next), (Zxid(2), Some((log.starts[3] as u64, Zxid(4)))));
            assert_eq!(fs::read(disk.file("log.1")).unwrap(), bytes);
        }
    }
}

/// The last record may have been torn, whatever is wrong with it, unless its length says that
/// other bytes follow it. It is cut, with a word; the ones before it stay.
#[test]
fn a_flipped_byte_in_the_last_record_costs_that_record_or_is_refused() {
    let log = Log::of(1..=5);
    let (start, end) = (log.starts[4], log.starts[5]);
    for padding in PADDINGS {
        for mask in [0xff, 0x01, 0x80, 0x30] {
            for at in start..end {
                let mut bytes = with_padding(&log.bytes, padding);
                bytes[at] ^= mask;
                let len = i32::from_be_bytes(bytes[start + 8..start + 12].try_into().unwrap());
                let reaches = len > 0 && start + 13 + usize::try_from(len).unwrap() >= end;
                let disk = Disk::with("log.1", &bytes);
                let (visited, result) = disk.replay(&ReplayOptions::default());
                assert_eq!(visited, [1, 2, 3, 4]);
                match result {
                    Ok(replayed) => {
                        let [Finding::CutTorn { offset, .. }] = replayed.findings[..] else {
                            panic!("byte {at} ^ {mask:#x}: {replayed:?}");
                        };
                        assert!(reaches && offset == start as u64, "byte {at} ^ {mask:#x}");
                        assert_eq!(disk.clean_replay(), [1, 2, 3, 4]);
                    }
                    Err(Error::Corrupt { offset, after, next, .. }) => {
                        assert!(!reaches, "byte {at} ^ {mask:#x}");
                        assert_eq!((offset, after, next), (start as u64, Zxid(4), None));
                        assert_eq!(fs::read(disk.file("log.1")).unwrap(), bytes);
                    }
                    Err(error) => panic!("byte {at} ^ {mask:#x}: {error}"),
                }
            }
        }
    }
}

#[test]
fn garbage_behind_the_last_record_costs_no_record() {
    let mut record_of_5 = Log::of([5]).bytes.split_off(16);
    let whole = record_of_5.clone();
    record_of_5[2] = 1;
    let cases: [(&str, Vec<u8>, Option<bool>); 8] = [
        ("a byte", vec![1], Some(true)),
        ("less than a head", vec![0xff; 11], Some(true)),
        ("a negative length", vec![0xff; 40], Some(false)),
        (
            "a length that ends too early",
            [vec![1; 8], vec![0, 0, 0, 1], vec![9; 40]].concat(),
            Some(false),
        ),
        ("a length past the end", [vec![1; 8], vec![0, 0, 1, 0], vec![9; 40]].concat(), Some(true)),
        ("zeros, then a byte", [vec![0; 64], vec![1]].concat(), Some(false)),
        ("a record with a checksum of 64 bits", record_of_5, Some(true)),
        ("zeros", vec![0; 4096], None),
    ];
    for (story, garbage, torn) in cases {
        let log = Log::of(1..=4);
        let disk = Disk::with("log.1", &[log.bytes.clone(), garbage].concat());
        let (visited, result) = disk.replay(&ReplayOptions::default());
        assert_eq!(visited, [1, 2, 3, 4], "{story}");
        match (torn, result) {
            (None, Ok(replayed)) => assert!(replayed.findings.is_empty(), "{story}"),
            (Some(true), Ok(replayed)) => {
                let cut = matches!(replayed.findings[..], [Finding::CutTorn { .. }]);
                assert!(cut, "{story}: {replayed:?}");
                assert_eq!(fs::read(disk.file("log.1")).unwrap(), log.bytes, "{story}");
            }
            (Some(false), Err(Error::Corrupt { offset, .. })) => {
                assert_eq!(offset, log.bytes.len() as u64, "{story}");
            }
            (_, other) => panic!("{story}: {other:?}"),
        }
    }
    let disk = Disk::with("log.1", &[Log::of(1..=4).bytes, whole].concat());
    assert_eq!(disk.clean_replay(), [1, 2, 3, 4, 5]);
}

/// Behind a hole, as Java's padding is one, bytes are damage as they are behind zeros.
#[test]
fn bytes_behind_a_hole_are_seen() {
    let log = Log::of(1..=4);
    let torn = log.starts[3] + 20;
    let cases: [(&str, usize, &[u8], bool); 4] = [
        ("nothing", log.bytes.len(), b"", false),
        ("a byte", log.bytes.len(), b"x", true),
        ("nothing behind a torn record", torn, b"", false),
        ("a byte behind a torn record", torn, b"x", true),
    ];
    for (story, end, behind, damaged) in cases {
        for hole in [4 << 20, (4 << 20) + 4321, 16 << 20] {
            let disk = Disk::with("log.1", &log.bytes[..end]);
            let file = OpenOptions::new().write(true).open(disk.file("log.1")).unwrap();
            file.set_len(hole + 8192).unwrap();
            file.write_all_at(behind, hole).unwrap();
            let (visited, result) = disk.replay(&ReplayOptions::default());
            let whole = if end == torn { 3 } else { 4 };
            assert_eq!(visited, (1..=whole).collect::<Vec<i64>>(), "{story}");
            let offset = log.starts[usize::try_from(whole).unwrap()] as u64;
            match result {
                Ok(replayed) => {
                    assert!(!damaged, "{story}");
                    assert_eq!(replayed.findings.len(), usize::from(end == torn), "{story}");
                }
                Err(Error::Corrupt { offset: at, .. }) => {
                    assert!(damaged && at == offset, "{story}");
                }
                Err(error) => panic!("{story}: {error}"),
            }
        }
    }
}

/// A flush of several pages may reach the disk in any order; what it covers was not acked, but
/// nothing in the file says so. The operator, who knows that power was lost, decides.
#[test]
fn a_hole_before_whole_records_is_refused_until_the_operator_says_cut() {
    let log = Log::of(1..=6);
    let mut bytes = with_padding(&log.bytes, 4096);
    bytes[log.starts[2] + 5..log.starts[4] + 3].fill(0);
    let disk = Disk::with("log.1", &bytes);
    let (_, result) = disk.replay(&ReplayOptions::default());
    let Err(error @ Error::Corrupt { .. }) = result else { panic!("{result:?}") };
    let said = error.to_string();
    for part in ["log.1", "corrupt at offset", "zxid 0x2", "zxid 0x5", "cutDamagedTail=true"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let cut = ReplayOptions { cut_damaged_tail: true, ..ReplayOptions::default() };
    let (visited, result) = disk.replay(&cut);
    assert_eq!(visited, [1, 2]);
    let findings = result.unwrap().findings;
    assert!(matches!(findings[..], [Finding::CutDamaged { .. }]), "{findings:?}");
    assert_eq!(disk.clean_replay(), [1, 2]);
}

#[test]
fn an_intact_record_that_is_no_txn_is_refused() {
    let disk = Disk::with("log.1", &Log::of(1..=3).bytes);
    let options = ReplayOptions::default();
    let result = ringkeeper::log::recovery::replay(disk.path(), &options, |zxid, _| {
        if zxid == Zxid(2) { Err("a txn from the future".into()) } else { Ok(()) }
    });
    let Err(Error::Corrupt { after, damage: Damage::Undecodable(why), .. }) = result else {
        panic!("{result:?}");
    };
    assert_eq!((after, why.to_string().as_str()), (Zxid(1), "a txn from the future"));
}
