//! The writer, stopped anywhere.

use std::fs;

use ringkeeper::ids::Zxid;
use ringkeeper::log::recovery::ReplayOptions;
use ringkeeper::log::{Error, Preparation, Writer, WriterOptions, prepare, record};

use crate::disk::{Disk, Log, txn};

fn append(writer: &mut Writer, zxids: impl IntoIterator<Item = i64>) {
    for zxid in zxids {
        writer.append(Zxid(zxid), &txn(Zxid(zxid), b"some data")).unwrap();
    }
}

#[test]
fn what_was_flushed_is_there_whatever_became_of_the_writer() {
    let disk = Disk::new();
    let mut writer = disk.writer(Zxid::ZERO);
    append(&mut writer, 1..=3);
    assert_eq!(disk.names(), ["unfinished.log.0"], "no name before the first flush");
    let report = writer.flush().unwrap();
    let expected = Log::of(1..=3).bytes;
    assert_eq!((report.upto, report.records), (Zxid(3), 3));
    assert_eq!(report.bytes, (expected.len() - record::FILE_HEADER.len()) as u64);
    append(&mut writer, 4..=4);
    drop(writer); // as a kill would: nothing is cut, nothing more flushed
    assert_eq!(disk.names(), ["log.1"]);
    assert!(fs::read(disk.file("log.1")).unwrap().starts_with(&expected));
    assert_eq!(disk.clean_replay(), [1, 2, 3]);
}

#[test]
fn a_closed_log_ends_with_its_last_record_and_each_start_begins_a_file() {
    let disk = Disk::new();
    for first in [1, 4] {
        let mut writer = disk.writer(Zxid(first - 1));
        append(&mut writer, first..first + 3);
        writer.close().unwrap();
    }
    assert_eq!(disk.names(), ["log.1", "log.4"]);
    assert_eq!(fs::read(disk.file("log.1")).unwrap(), Log::of(1..=3).bytes);
    assert_eq!(disk.clean_replay(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_writer_that_wrote_nothing_leaves_nothing() {
    let disk = Disk::new();
    let mut writer = disk.writer(Zxid(5));
    assert_eq!(writer.flush().unwrap().upto, Zxid(5));
    writer.roll().unwrap();
    let bytes = writer.wants_segment().unwrap();
    assert_eq!(writer.wants_segment(), None, "asked once");
    writer.offer(prepare(disk.path(), bytes, true).unwrap()).unwrap();
    writer.close().unwrap();
    assert!(disk.names().is_empty());
}

#[test]
fn segments_that_run_full_are_followed_by_larger_ones() {
    let disk = Disk::new();
    let mut writer = disk.writer(Zxid::ZERO);
    let data = vec![7; 1 << 20];
    let mut asked = Vec::new();
    for zxid in (1..=20).map(Zxid) {
        writer.append(zxid, &txn(zxid, &data)).unwrap();
        if let Some(bytes) = writer.wants_segment() {
            asked.push(bytes >> 20);
            writer.offer(prepare(disk.path(), bytes, true).unwrap()).unwrap();
        }
    }
    assert_eq!(asked, [8, 16, 32]);
    writer.close().unwrap();
    assert_eq!(disk.names(), ["log.1", "log.4", "log.b"]);
    assert_eq!(disk.clean_replay().len(), 20);
}

#[test]
fn a_record_larger_than_a_segment_gets_one_that_fits() {
    let disk = Disk::new();
    let mut writer = disk.writer(Zxid::ZERO);
    append(&mut writer, [1]);
    writer.append(Zxid(2), &txn(Zxid(2), &vec![1; 9 << 20])).unwrap();
    append(&mut writer, [3]);
    writer.flush().unwrap();
    drop(writer);
    assert_eq!(disk.names(), ["log.1", "log.2"]);
    assert_eq!(disk.clean_replay(), [1, 2, 3]);
}

#[test]
fn rolls_and_size_limits_begin_new_files() {
    let disk = Disk::new();
    let mut writer = Writer::open(WriterOptions {
        log_dir: disk.path().to_path_buf(),
        last: Zxid::ZERO,
        segment_bytes: 0,
        force_sync: false,
        roll_bytes: Some(200),
    });
    append(&mut writer, [1]);
    writer.flush().unwrap();
    assert_eq!(writer.sizes().file_bytes, Log::of([1]).bytes.len() as u64);
    append(&mut writer, [2, 3]);
    writer.flush().unwrap();
    assert_eq!(writer.sizes().file_bytes, 0, "past the limit");
    append(&mut writer, [4]);
    writer.roll().unwrap();
    append(&mut writer, [5]);
    assert_eq!((writer.sizes().files, writer.sizes().records, writer.last()), (3, 5, Zxid(5)));
    writer.close().unwrap();
    assert_eq!(disk.names(), ["log.1", "log.4", "log.5"]);
    assert_eq!(disk.clean_replay(), [1, 2, 3, 4, 5]);
}

/// A snapshot wishes for a new file. It is worth one when most of this one is used, so that not
/// much is laid down for nothing, and the next is ready, so that no write waits for it.
#[test]
fn a_wished_roll_waits_until_it_is_worth_it() {
    let disk = Disk::new();
    let mut writer = disk.writer(Zxid::ZERO);
    let log = |writer: &mut Writer, zxid, quarters: usize| {
        let data = vec![7; (quarters << 20) - 10_000];
        writer.append(Zxid(zxid), &txn(Zxid(zxid), &data)).unwrap();
        writer.flush().unwrap();
        writer.sizes().files
    };
    assert_eq!(log(&mut writer, 1, 3), 1);
    let bytes = writer.wants_segment().unwrap();
    writer.wish_roll();
    writer.offer(prepare(disk.path(), bytes, true).unwrap()).unwrap();
    writer.flush().unwrap();
    assert_eq!(log(&mut writer, 2, 1), 1, "three quarters were used");
    assert_eq!(log(&mut writer, 3, 6), 2, "nearly all was, so the flush before granted it");
    writer.wish_roll();
    assert_eq!(log(&mut writer, 4, 2), 2);
    writer.flush().unwrap();
    assert_eq!(writer.sizes().file_bytes >> 20, 7, "nothing is ready");
    drop(writer);
    assert_eq!(disk.names(), ["log.1", "log.3"]);
    assert_eq!(disk.clean_replay(), [1, 2, 3, 4]);
}

/// The zeros of a finished file are cut off by a thread that may be late, or never come to it.
#[test]
fn zeros_behind_a_finished_log_do_no_harm() {
    let disk = Disk::new();
    let mut writer = disk.writer(Zxid::ZERO);
    append(&mut writer, [1, 2]);
    writer.append(Zxid(3), &txn(Zxid(3), &vec![7; 3 << 20])).unwrap();
    writer.append(Zxid(4), &txn(Zxid(4), &vec![7; 3 << 20])).unwrap();
    writer.flush().unwrap();
    let finished = writer.take_finished().unwrap();
    assert!(writer.take_finished().is_none(), "given once");
    drop(writer);
    assert_eq!(fs::metadata(disk.file("log.1")).unwrap().len(), 4 << 20, "whole");
    assert_eq!(disk.clean_replay(), [1, 2, 3, 4]);
    finished.cut().unwrap();
    assert!(fs::metadata(disk.file("log.1")).unwrap().len() < (3 << 20) + 1000);
    assert_eq!(disk.clean_replay(), [1, 2, 3, 4]);
}

#[test]
fn a_segment_is_prepared_a_stretch_at_a_time() {
    let disk = Disk::new();
    let mut preparation = Preparation::begin(disk.path(), 1 << 20, true).unwrap();
    let length = || fs::metadata(disk.file("unfinished.log.0")).unwrap().len();
    for (upto, filled) in [(0, 0), (1, 256 << 10), (512 << 10, 512 << 10)] {
        preparation.fill(upto).unwrap();
        assert_eq!((length(), preparation.is_full()), (filled, false));
    }
    preparation.fill(u64::MAX).unwrap();
    assert_eq!((length(), preparation.is_full()), (1 << 20, true));
    drop(preparation);
    assert!(disk.names().is_empty(), "not finished, so nothing is left");
    let prepared = Preparation::begin(disk.path(), 1, true).unwrap().finish().unwrap();
    assert_eq!((prepared.bytes(), length()), (4096, 4096));
}

#[test]
fn after_one_error_every_call_fails() {
    let disk = Disk::new();
    let mut writer = disk.writer(Zxid::ZERO);
    append(&mut writer, [1]);
    writer.flush().unwrap();
    writer.roll().unwrap();
    let aside = disk.path().with_extension("aside");
    fs::rename(disk.path(), &aside).unwrap();
    let bytes = txn(Zxid(2), b"");
    let first = writer.append(Zxid(2), &bytes).unwrap_err();
    assert!(matches!(first, Error::Io { .. }) && first.to_string().contains("unfinished.log.0"));
    fs::rename(&aside, disk.path()).unwrap();
    for error in [writer.append(Zxid(2), &bytes).err(), writer.flush().err(), writer.roll().err()] {
        assert_eq!(error.map(|error| error.to_string()), Some(first.to_string()));
    }
    assert_eq!(writer.wants_segment(), None);
    assert!(writer.close().is_err());
}

#[test]
fn a_log_that_is_there_is_not_overwritten() {
    let disk = Disk::with("log.1", b"someone else's");
    let mut writer = disk.writer(Zxid::ZERO);
    append(&mut writer, [1]);
    assert!(matches!(writer.flush(), Err(Error::Exists { .. })));
    assert!(matches!(writer.flush(), Err(Error::Exists { .. })));
    assert_eq!(fs::read(disk.file("log.1")).unwrap(), b"someone else's");
}

#[test]
#[should_panic(expected = "zxid 0x3 appended after 0x3")]
fn zxids_rise() {
    let disk = Disk::new();
    let mut writer = disk.writer(Zxid(2));
    append(&mut writer, [3, 3]);
}

/// server.md 3.2: the first bytes of a log, and two records, as Java 3.9 wrote them.
#[test]
fn javas_own_bytes_are_read_and_written_again() {
    let first = "00000000b8d40a72 00000030 \
        0100001f137e0000 00000000 0000000000000001 000001a205f2bdc7 fffffff6 \
        00001f40 00000002 0000000051c6d660 42";
    let others = "00000000d9780cef 00000058 \
        0100003d3efe0000 00000001 0000000000000002 000001a20610dbbb 00000001 \
        00000004 2f647570 00000000 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 \
        00 00000001 00000002 00000000fc2ec5d6 42 \
        000000006c0c0bda 00000024 \
        0100003d3efe0000 00000002 0000000000000002 000001a20610dbd3 ffffffff fffffffb 42";
    let mut bytes = record::FILE_HEADER.to_vec();
    bytes.extend(hex(first));
    bytes.extend(hex(others));
    let disk = Disk::with("log.1", &bytes);
    let (visited, result) = disk.replay(&ReplayOptions::default());
    let replayed = result.unwrap();
    assert_eq!((visited, replayed.duplicates), (vec![1, 2], 1), "X1: zxid 2 was given twice");

    let disk = Disk::new();
    let mut writer = disk.writer(Zxid::ZERO);
    writer.append(Zxid(1), &bytes[28..28 + 48]).unwrap();
    writer.close().unwrap();
    assert_eq!(fs::read(disk.file("log.1")).unwrap(), bytes[..28 + 49]);
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
    let pair = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}
