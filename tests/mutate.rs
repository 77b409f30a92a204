//! Seeded mutations of good input, in place of a fuzzer where none can run: no input panics, and
//! what decodes encodes to something that decodes to the same.
//!
//! `MUTATE_ROUNDS=1000000 MUTATE_SEED=7 cargo test --release --test mutate`; a failure prints both.
//! Subjects: frames and records, txns and the tree, the log, snapshots, zoo.cfg.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ringkeeper::ids::{Millis, SessionId, Xid, Zxid};
use ringkeeper::log::record;
use ringkeeper::log::recovery::{ReplayOptions, replay};
use ringkeeper::log::snapshot::{
    Compression, DigestTrailer, SnapshotReader, SnapshotWriter, Trailers,
};
use ringkeeper::server::config::Config;
use ringkeeper::tree::image::{self, Progress};
use ringkeeper::tree::{Tree, TreeOptions};
use ringkeeper::wire::client::{ConnectRequest, ConnectResponse, WatcherEvent};
use ringkeeper::wire::request::Request;
use ringkeeper::wire::response::Response;
use ringkeeper::wire::txn::{CreateTxn, Record, Txn, TxnHeader, check};
use ringkeeper::wire::{Acl, OpCode, Reader, Writer, frame};

use crate::support::Random;
use crate::support::process::scratch;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Changes a few bytes: flips, lies about lengths, cuts, repeats, inserts.
fn mutate(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            return random.bytes(3);
        }
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = *random.pick(&[0, 0xff, 0x7f, 0x80, b'/', b'=', b'\n']),
            2 => bytes.truncate(at),
            3 => {
                let lie: i32 = *random.pick(&[-1, -2, i32::MAX, i32::MIN, 0, 1, 0x10_0000]);
                let len = 4.min(bytes.len() - at);
                bytes[at..at + len].copy_from_slice(&lie.to_be_bytes()[..len]);
            }
            4 => {
                let len = random.below(bytes.len() - at).min(64);
                let part = bytes[at..at + len].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let len = random.below(8);
                let noise = random.bytes(len);
                bytes.splice(at..at, noise);
            }
        }
    }
    bytes
}

/// Gives `check` mutations of the samples; names the seed of one that panics.
fn each_mutation(rounds: u64, samples: &[Vec<u8>], check: impl Fn(&[u8])) {
    let first = setting("MUTATE_SEED", 1);
    let rounds = setting("MUTATE_ROUNDS", rounds);
    for seed in first..first + rounds {
        let mut random = Random::new(seed);
        let sample = random.pick(samples).clone();
        let input = mutate(&mut random, &sample);
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&input)));
        assert!(
            outcome.is_ok(),
            "a panic; replay: MUTATE_ROUNDS=1 MUTATE_SEED={seed}, input {input:02x?}"
        );
    }
}

fn golden() -> Vec<Vec<u8>> {
    let text = concat!(include_str!("golden/java39.hex"), include_str!("golden/shell.hex"));
    let frames = text.lines().filter(|line| !line.starts_with('#'));
    let digit = |hex: &str, at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes = |hex: &str| (0..hex.len()).step_by(2).map(|at| digit(hex, at)).collect();
    frames.filter_map(|line| line.split_whitespace().nth(2).map(bytes)).collect()
}

/// Decodes, encodes, decodes: the two must be the same.
fn settles<'a, T: PartialEq + std::fmt::Debug>(
    bytes: &'a [u8],
    decode: impl Fn(&mut Reader<'a>) -> Option<T>,
    encode: impl Fn(&T, &mut Writer<'_>),
    decode_again: impl FnOnce(&[u8], &T),
) {
    if let Some(value) = decode(&mut Reader::new(bytes)) {
        let mut out = Vec::new();
        encode(&value, &mut Writer::new(&mut out));
        decode_again(&out, &value);
    }
}

#[test]
fn frames_and_records() {
    each_mutation(100_000, &golden(), |bytes| {
        for op in OpCode::ALL {
            let decode = |r: &mut Reader<'_>| Request::decode(*op, r).is_ok();
            decode(&mut Reader::new(bytes));
            let body = bytes.get(8..).unwrap_or_default();
            settles(
                body,
                |r| Request::decode(*op, r).ok(),
                Request::encode,
                |out, first| {
                    // the opcode may have become another one, as a multi's steps do
                    let again = Request::decode(first.op(), &mut Reader::new(out));
                    assert_eq!(again.as_ref(), Ok(first), "{op:?}");
                },
            );
            let body = bytes.get(16..).unwrap_or_default();
            settles(
                body,
                |r| Response::decode(*op, r).ok(),
                Response::encode,
                |out, first| {
                    let again = Response::decode(*op, &mut Reader::new(out));
                    assert_eq!(again.as_ref(), Ok(first), "{op:?}");
                },
            );
        }
        let _ = ConnectRequest::decode(bytes);
        let _ = ConnectResponse::decode(bytes);
        let _ = WatcherEvent::decode(&mut Reader::new(bytes));
        let _ = frame::split(bytes, 0xf_ffff);
    });
}

/// A short history with one of each txn.
fn history() -> Vec<Vec<u8>> {
    let create = |path: &'static str, ephemeral| CreateTxn {
        path: path.into(),
        data: Some(b"data"),
        acl: vec![Acl::anyone(31)],
        ephemeral,
        parent_cversion: 1,
    };
    let path = || "/a".into();
    let delete = || Txn::Delete { path: "/c".into() };
    let set = || Txn::SetData { path: path(), data: Some(b"again"), version: 1 };
    let txns = vec![
        (OpCode::CreateSession, Txn::CreateSession { timeout_ms: 30_000 }),
        (OpCode::Create, Txn::Create(create("/a", false))),
        (OpCode::Create2, Txn::Create(create("/a/e", true))),
        (OpCode::CreateContainer, Txn::CreateContainer(create("/c", false))),
        (OpCode::CreateTtl, Txn::CreateTtl(create("/t", false), 1000)),
        (OpCode::SetData, set()),
        (OpCode::SetAcl, Txn::SetAcl { path: path(), acl: vec![Acl::anyone(1)], version: 1 }),
        (OpCode::Multi, Txn::Multi(vec![(OpCode::SetData, set()), (OpCode::Delete, delete())])),
        (OpCode::Error, Txn::Error { err: -101 }),
        (OpCode::CloseSession, Txn::CloseSession { paths: Some(vec!["/a/e".into()]) }),
    ];
    let record = |(zxid, (op, txn))| {
        let header = TxnHeader {
            session: SessionId(7),
            cxid: Xid(3),
            zxid: Zxid(zxid),
            time: Millis(1_700_000_000_000),
            op,
        };
        let mut out = Vec::new();
        Record { header, txn, digest: None }.encode(&mut out);
        out
    };
    (1..).zip(txns).map(record).collect()
}

fn grown_tree() -> Tree {
    let options = TreeOptions { extended_types: true, ..TreeOptions::default() };
    let mut tree = Tree::with_options(options);
    for record in history() {
        tree.apply(&Record::decode(&record).unwrap(), None);
    }
    tree
}

/// Logged bytes are doubted until decoded, and whatever decodes can be applied.
#[test]
fn txns_and_the_tree() {
    each_mutation(100_000, &history(), |bytes| {
        assert_eq!(check(bytes), Record::decode(bytes).map(|record| record.header));
        let Ok(record) = Record::decode(bytes) else { return };
        let mut out = Vec::new();
        record.encode(&mut out);
        let again = Record::decode(&out).map(|record| record.txn);
        assert_eq!(again.as_ref(), Ok(&record.txn));
        let mut tree = grown_tree();
        let mut record = record;
        record.header.zxid = Zxid(100);
        tree.apply(&record, None);
    });
}

#[test]
fn logs() {
    let mut log = record::FILE_HEADER.to_vec();
    for record in history() {
        log.extend(record::head(&record));
        log.extend(&record);
        log.push(record::END_MARKER);
    }
    log.extend([0; 4096]);
    let dir = scratch("mutate-log", false);
    let file = dir.path().join("log.1");
    let last = history().len();
    each_mutation(5_000, &[log], |bytes| {
        fs::write(&file, bytes).unwrap();
        let mut seen = 0;
        let replayed = replay(dir.path(), &ReplayOptions::default(), |_, bytes| {
            seen += 1;
            Record::decode(bytes).map(drop).map_err(Into::into)
        });
        assert!(replayed.is_err() || seen <= last);
    });
}

#[test]
fn snapshots() {
    let mut tree = grown_tree();
    let image = tree.begin_image().expect("no other image");
    let mut body = Vec::new();
    image.encode_tables(&mut body);
    let mut walker = image.walker();
    while walker.append(&tree, &mut body, 100, 1 << 20) == Progress::More {}
    let dir = scratch("mutate-snapshot", false);
    let trailers = Trailers {
        digest: Some(DigestTrailer { zxid: image.zxid, version: 2, digest: 0 }),
        last_zxid: Some(image.zxid),
    };
    for compression in [Compression::None, Compression::Gz, Compression::Snappy] {
        let mut writer = SnapshotWriter::create(dir.path(), image.zxid, compression).unwrap();
        writer.write_all(&body).unwrap();
        let file = writer.finish(&trailers).unwrap();
        let bytes = fs::read(&file.path).unwrap();
        each_mutation(2_000, &[bytes], |bytes| {
            fs::write(&file.path, bytes).unwrap();
            let Ok(mut reader) = SnapshotReader::open(&file) else { return };
            if image::load(&mut reader, file.zxid, TreeOptions::default()).is_ok() {
                let _ = reader.finish();
            }
        });
        fs::remove_file(&file.path).unwrap();
    }
}

#[test]
fn configurations() {
    let sample = concat!(
        "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/tmp/none\nclientPort=2181\n",
        "clientPortAddress=127.0.0.1\nmaxClientCnxns=60\n4lw.commands.whitelist=srvr, ruok\n",
        "server.1=a:2888:3888:participant;2181\nserver.2=b:2888:3888|c:1:2:observer\n",
        "group.1=1:2\nweight.1=3\nautopurge.snapRetainCount=3\nquorumListenOnAllIPs=true\n"
    );
    let dir = scratch("mutate-config", false);
    let file = dir.path().join("zoo.cfg");
    let samples = [sample, include_str!("../conf/zoo_sample.cfg")].map(Into::into);
    each_mutation(10_000, &samples, |bytes| {
        fs::write(&file, bytes).unwrap();
        match Config::load(Some(&file), &[]) {
            Ok((_, warnings)) => drop(warnings.iter().map(ToString::to_string)),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}
