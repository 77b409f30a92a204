//! Snapshot files: whole or not there, and never taken for valid when they are not.

use std::fs;
use std::io::{BufRead, Read, Write};
use std::path::Path;

use ringkeeper::ids::Zxid;
use ringkeeper::log::recovery::ReplayOptions;
use ringkeeper::log::snapshot::{
    self, Compression, DigestTrailer, SnapshotFile, SnapshotReader, SnapshotWriter, Trailers,
};
use ringkeeper::log::{Error, StopFlag};

use crate::disk::{Disk, Log};

pub(crate) const COMPRESSIONS: [Compression; 3] =
    [Compression::None, Compression::Gz, Compression::Snappy];

pub(crate) const TRAILERS: Trailers = Trailers {
    digest: Some(DigestTrailer { zxid: Zxid(0), version: 2, digest: 0 }),
    last_zxid: Some(Zxid(0)),
};

/// The tree of a new server: sessions, ACLs, nodes, terminator (server.md 4.1).
pub(crate) fn tree() -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
    for text in ["world", "anyone"] {
        string(&mut out, text);
    }
    node(&mut out, "", -1, 0);
    node(&mut out, "/zookeeper", -1, 0);
    node(&mut out, "/zookeeper/config", 1, -1);
    node(&mut out, "/zookeeper/quota", -1, 0);
    string(&mut out, "/");
    out
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    out.extend(text.as_bytes());
}

fn node(out: &mut Vec<u8>, path: &str, acl: i64, aversion: i32) {
    string(out, path);
    string(out, "");
    out.extend(acl.to_be_bytes());
    out.extend([0; 32 + 8]);
    out.extend(aversion.to_be_bytes());
    out.extend([0; 16]);
}

pub(crate) fn write(dir: &Path, zxid: i64, compression: Compression) -> SnapshotFile {
    let mut writer = SnapshotWriter::create(dir, Zxid(zxid), compression).unwrap();
    for part in tree().chunks(7) {
        writer.write_all(part).unwrap();
    }
    writer.finish(&TRAILERS).unwrap()
}

/// As boot reads it.
fn read(file: &SnapshotFile) -> Result<(Vec<u8>, Trailers), Error> {
    let mut reader = SnapshotReader::open(file)?;
    let mut body = vec![0; tree().len()];
    reader.read_exact(&mut body).map_err(|error| reader.error(error))?;
    Ok((body, reader.finish()?))
}

/// server.md 4.1: the whole of a new Java 3.9 server's `snapshot.0`, by its seals; and 3.8's.
#[test]
fn javas_own_bytes_are_written_again() {
    let disk = Disk::new();
    let file = write(disk.path(), 0, Compression::None);
    assert_eq!(file.path, disk.file("snapshot.0"));
    let bytes = fs::read(&file.path).unwrap();
    assert_eq!(bytes.len(), 478);
    let seals = [(411, 0xb8a2_3b49_u32), (444, 0x95b9_3d59), (465, 0xbde8_3f6d)];
    for (at, seal) in seals {
        assert_eq!(bytes[at + 4..at + 8], seal.to_be_bytes(), "seal at {at}");
    }
    for (bytes, last_zxid) in [(&bytes[..], Some(Zxid(0))), (&bytes[..457], None)] {
        fs::write(&file.path, bytes).unwrap();
        let expected = Trailers { last_zxid, ..TRAILERS };
        assert_eq!(read(&file).unwrap(), (tree(), expected));
        assert_eq!(snapshot::verify(&file).unwrap(), expected);
        assert!(snapshot::quick_check(&file).unwrap());
    }
}

#[test]
fn every_compression_reads_back() {
    let disk = Disk::new();
    for compression in COMPRESSIONS {
        let file = write(disk.path(), 0x1f, compression);
        assert_eq!(read(&file).unwrap(), (tree(), TRAILERS));
        assert!(snapshot::quick_check(&file).unwrap());
    }
    assert_eq!(disk.names(), ["snapshot.1f", "snapshot.1f.gz", "snapshot.1f.snappy"]);
}

#[test]
fn a_large_snapshot_is_read_in_windows() {
    let disk = Disk::new();
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251).to_be_bytes()[3]).collect();
    for compression in COMPRESSIONS {
        let mut writer = SnapshotWriter::create(disk.path(), Zxid(1), compression).unwrap();
        writer.write_all(&body).unwrap();
        assert_eq!(writer.bytes(), body.len() as u64 + 16);
        let file = writer.finish(&TRAILERS).unwrap();
        let mut reader = SnapshotReader::open(&file).unwrap();
        let mut read = Vec::new();
        while read.len() < body.len() {
            let window = reader.fill_buf().unwrap();
            let bytes = window.len().min(body.len() - read.len()).min(99_991);
            read.extend_from_slice(&window[..bytes]);
            reader.consume(bytes);
        }
        assert!(read == body);
        assert_eq!(reader.finish().unwrap(), TRAILERS);
        assert_eq!(snapshot::verify(&file).unwrap(), TRAILERS);
    }
}

/// However large it is, whoever reads it hears of a stop before the next window.
#[test]
fn a_stop_is_heard_in_the_midst_of_a_snapshot() {
    let disk = Disk::new();
    for compression in COMPRESSIONS {
        let mut writer = SnapshotWriter::create(disk.path(), Zxid(1), compression).unwrap();
        writer.write_all(&vec![7; 1 << 20]).unwrap();
        let file = writer.finish(&TRAILERS).unwrap();
        let mut reader = SnapshotReader::open(&file).unwrap();
        let stop = StopFlag::default();
        reader.heed(&stop);
        reader.read_exact(&mut [0; 1000]).unwrap();
        stop.raise();
        let error = reader.read_exact(&mut vec![0; 512 << 10]).unwrap_err();
        assert!(matches!(reader.error(error), Error::Stopped), "{compression:?}");
    }
}

#[test]
fn one_that_was_being_written_is_not_there() {
    let disk = Disk::new();
    let mut writer = SnapshotWriter::create(disk.path(), Zxid(9), Compression::Gz).unwrap();
    writer.write_all(&tree()).unwrap();
    assert_eq!(disk.names(), ["unfinished.snapshot.9.gz"]);
    assert!(snapshot::list(disk.path()).unwrap().is_empty());
    drop(writer);
    assert!(disk.names().is_empty());
}

/// Cut or flipped anywhere, it is refused; or, where a compressor's own header has bytes that mean
/// nothing, it still reads as what was written.
#[test]
fn damage_anywhere_is_seen() {
    let disk = Disk::new();
    for compression in COMPRESSIONS {
        let file = write(disk.path(), 1, compression);
        let whole = fs::read(&file.path).unwrap();
        for end in 0..whole.len() {
            fs::write(&file.path, &whole[..end]).unwrap();
            let inner_seal = compression == Compression::None && [424, 457].contains(&end);
            assert_eq!(read(&file).is_ok(), inner_seal, "{compression:?} cut at {end}");
            assert_eq!(snapshot::verify(&file).is_ok(), inner_seal, "{compression:?} {end}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&file.path, &bytes).unwrap();
            match (read(&file), snapshot::verify(&file)) {
                (Ok(read), Ok(verified)) => {
                    assert_eq!((read, verified), ((tree(), TRAILERS), TRAILERS));
                    assert!(compression != Compression::None || (4..16).contains(&at));
                }
                (Err(Error::Snapshot { .. }), Err(Error::Snapshot { .. })) => {}
                other => panic!("{compression:?} byte {at}: {other:?}"),
            }
        }
    }
}

/// Boot: the newest is damaged, the one before it and the logs since then lead to the same state.
#[test]
fn an_older_snapshot_and_the_logs_take_the_place_of_a_damaged_one() {
    let disk = Disk::with("log.1", &Log::of(1..=3).bytes);
    disk.put("log.4", &Log::of(4..=6).bytes);
    write(disk.path(), 3, Compression::None);
    let newest = write(disk.path(), 6, Compression::None);
    fs::write(&newest.path, b"ZKSN, or what is left of it").unwrap();
    let mut valid = snapshot::list(disk.path()).unwrap().into_iter().filter(|f| read(f).is_ok());
    let after = valid.next().unwrap().zxid;
    assert_eq!(after, Zxid(3));
    let (visited, result) = disk.replay(&ReplayOptions { after, ..ReplayOptions::default() });
    assert_eq!((visited, result.unwrap().last), (vec![4, 5, 6], Zxid(6)));
}

/// The newest is gone and so are the logs before it: nothing leads to the rest of the log.
#[test]
fn a_missing_newest_snapshot_is_noticed_by_its_logs() {
    let disk = Disk::with("log.7", &Log::of(7..=9).bytes);
    write(disk.path(), 3, Compression::None);
    let (_, result) = disk.replay(&ReplayOptions { after: Zxid(3), ..ReplayOptions::default() });
    assert!(matches!(result, Err(Error::Gap { .. })), "{result:?}");
}

#[test]
fn the_quick_check_is_javas() {
    let disk = Disk::new();
    let cases: [(&str, &[u8], bool); 7] = [
        ("snapshot.1", b"12345\0\0\0\x01/", true),
        ("snapshot.1", b"1234\0\0\0\x01/", false),
        ("snapshot.1", b"12345\0\0\0\x01.", false),
        ("snapshot.1.gz", b"\x1f\x8b", true),
        ("snapshot.1.gz", b"\x1f", false),
        ("snapshot.1.snappy", b"\x82SNAPPY\0", true),
        ("snapshot.1.snappy", b"\x82SNAPPY", false),
    ];
    for (name, bytes, expected) in cases {
        disk.put(name, bytes);
        let file = SnapshotFile::at(disk.file(name));
        assert_eq!(snapshot::quick_check(&file).unwrap(), expected, "{name}");
    }
}
