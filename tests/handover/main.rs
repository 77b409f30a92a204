//! A data folder changes hands: Ringkeeper to Java and back, each going on where the other stopped.
//!
//! `cargo test --test handover [CASE…]`. After each start the whole tree is compared node by node
//! through the client protocol, sessions are re-attached, the digest counter must stand at 0,
//! and Java's own tools must read our files.
//!
//! Once in some eighty takeovers a snapshot of Java's holds a part of the txn behind its digest's
//! (`serializeZxidDigest` reads that of the last txn while the next is being applied), and whoever
//! starts from it counts mismatches. Behind a Java server a count is let pass if a Java server
//! that starts from a copy of the same folder has the same.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod content;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use ringkeeper::ids::{Millis, SessionId, Xid};
use ringkeeper::log::{Writer, WriterOptions};
use ringkeeper::wire::OpCode;
use ringkeeper::wire::txn::{DIGEST_VERSION, Record, Txn, TxnDigest, TxnHeader};

use crate::content::{Content, dump};
use crate::support::cases::Case;
use crate::support::process::{copy_tree, scratch};
use crate::support::{Client, Server, ServerSpec};

struct Context {
    dir: tempfile::TempDir,
    count: u32,
}

/// How a server leaves its data behind.
#[derive(Clone, Copy, Debug)]
enum Leave {
    Stop,
    Kill,
}

const OURS: &str = "ringkeeper";
const CASES: &[Case<Context>] = &[
    ("ringkeeper to java39 and back", |c| chain(c, &[OURS, "java39", OURS], Leave::Stop, &[])),
    ("ringkeeper to java38 and back", |c| chain(c, &[OURS, "java38", OURS], Leave::Stop, &[])),
    ("java39 to ringkeeper and back", |c| chain(c, &["java39", OURS, "java39"], Leave::Stop, &[])),
    ("java38 to ringkeeper and back", |c| chain(c, &["java38", OURS, "java38"], Leave::Stop, &[])),
    ("all in turn, killed", |c| {
        chain(c, &[OURS, "java39", OURS, "java38", OURS], Leave::Kill, &[]);
    }),
    ("gz snapshots", |c| {
        let gz = [("zookeeper.snapshot.compression.method", "gz")];
        chain(c, &[OURS, "java39", OURS, "java38", OURS], Leave::Stop, &gz);
    }),
    ("snappy snapshots", |c| {
        let snappy = [("zookeeper.snapshot.compression.method", "snappy")];
        chain(c, &[OURS, "java39", OURS], Leave::Stop, &snappy);
    }),
    ("ringkeeper to itself", |c| chain(c, &[OURS, OURS, OURS], Leave::Kill, &[])),
    ("java39 to java38 (the test itself)", |c| {
        chain(c, &["java39", "java38", "java39"], Leave::Kill, &[]);
    }),
    ("a wrong digest in the log is counted", wrong_digest),
    ("Java's tools read our files", tools),
];

fn spec(name: &str, properties: &[(&str, &str)]) -> ServerSpec {
    let mut spec = ServerSpec::named(name)
        .config("extendedTypesEnabled=true")
        .config("snapCount=150")
        .config("maxSessionTimeout=600000")
        .property("znode.container.checkIntervalMs", "100000000")
        .property("zookeeper.extendedTypesEnabled", "true")
        .property(
            "zookeeper.DigestAuthenticationProvider.superDigest",
            "super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
        );
    for (name, value) in properties {
        spec = spec.property(name, value);
    }
    spec
}

fn leave(server: &mut Server, how: Leave) {
    match how {
        Leave::Stop => {
            let status = server.stop().expect("stopped");
            // Java ends a TERM with 143
            assert!(status.success() || !server.spec.name.starts_with("ringk"), "{status:?}");
        }
        Leave::Kill => {
            server.kill().expect("killed");
        }
    }
}

/// Each server in turn takes over the folder of the one before, checks it and writes on.
fn chain(context: &mut Context, names: &[&str], how: Leave, properties: &[(&str, &str)]) {
    context.count += 1;
    let base = context.dir.path().join(context.count.to_string());
    let mut content = Content::default();
    let mut before: Option<Vec<String>> = None;
    let mut data: Option<PathBuf> = None;
    for (turn, name) in names.iter().enumerate() {
        let dir = base.join(format!("{turn}-{name}"));
        if let Some(data) = &data {
            copy_tree(data, &dir.join("data")).expect("a copy");
        }
        let mut server = Server::start(spec(name, properties), &dir).expect("a start");
        println!("  {name} on the data of {}", if turn == 0 { "nobody" } else { names[turn - 1] });
        if let Some(before) = before.take() {
            compare(&before, &dump(server.address), names[turn - 1], name);
            content.reattach(server.address);
        }
        let found = digest_mismatches(&server);
        if found > 0 {
            let old = turn.checked_sub(1).map_or("nobody", |old| names[old]);
            assert!(old.starts_with("java"), "{name} counts {found} digest mismatches after {old}");
            let left = data.as_deref().expect("a folder that was taken over");
            let copy = base.join(format!("{turn}-judge"));
            assert_eq!(found, mismatches_of_java(left, &copy, properties), "as Java counts them");
        }
        content.write(server.address, turn);
        assert_eq!(digest_mismatches(&server), found, "after more writes");
        before = Some(dump(server.address));
        content.disconnect();
        leave(&mut server, how);
        data = Some(server.data.clone());
    }
}

fn compare(before: &[String], after: &[String], old: &str, new: &str) {
    let path = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    let (had, found): (Vec<_>, Vec<_>) =
        (before.iter().map(path).collect(), after.iter().map(path).collect());
    let lost: Vec<_> = had.iter().filter(|path| !found.contains(path)).collect();
    let new_ones: Vec<_> = found.iter().filter(|path| !had.contains(path)).collect();
    assert!(lost.is_empty() && new_ones.is_empty(), "{new} lost {lost:?} and has {new_ones:?}");
    for (left, right) in before.iter().zip(after) {
        assert_eq!(left, right, "\n  as {old} had it, and as {new} found it");
    }
    assert_eq!(before.len(), after.len(), "nodes as {old} had them and as {new} found them");
}

/// Every replayed txn is compared with the digest in its log.
fn digest_mismatches(server: &Server) -> u64 {
    let text = server.word("mntr").expect("mntr");
    let value = text.lines().find_map(|line| line.strip_prefix("zk_digest_mismatches_count\t"));
    let count = value.and_then(|value| value.parse().ok()).expect("zk_digest_mismatches_count");
    let complains = server.log().to_lowercase().contains("digests are not matching");
    assert!(count > 0 || !complains, "its log complains");
    count
}

/// What a Java server counts that starts from a copy of the folder `left`.
fn mismatches_of_java(left: &Path, copy: &Path, properties: &[(&str, &str)]) -> u64 {
    copy_tree(left, &copy.join("data")).expect("a copy");
    let mut judge = Server::start(spec("java39", properties), copy).expect("a start");
    let count = digest_mismatches(&judge);
    println!("  java39 counts {count} digest mismatches on the same data");
    leave(&mut judge, Leave::Stop);
    count
}

/// A server starts from a log whose last txn has not the digest it was written with.
fn wrong_digest(context: &mut Context) {
    let dir = context.dir.path().join("wrong-digest");
    let mut server = Server::start(spec(OURS, &[]), &dir).expect("a start");
    let mut client = Client::connect(server.address).expect("a session");
    let last = client.create("/here", b"", 0).header.zxid;
    leave(&mut server, Leave::Stop);
    let header = TxnHeader {
        session: SessionId(1),
        cxid: Xid(1),
        zxid: last.next().expect("a zxid"),
        time: Millis(0),
        op: OpCode::Error,
    };
    let digest = Some(TxnDigest { version: DIGEST_VERSION, digest: 1 });
    let mut record = Vec::new();
    Record { header, txn: Txn::Error { err: -101 }, digest }.encode(&mut record);
    let mut log = Writer::open(WriterOptions {
        log_dir: server.data.join("version-2"),
        last,
        segment_bytes: 1 << 20,
        force_sync: true,
        roll_bytes: None,
    });
    log.append(header.zxid, &record).expect("room");
    log.flush().expect("a flush");
    log.close().expect("a close");
    let of_java = mismatches_of_java(&server.data, &dir.join("judge"), &[]);
    let mut server = Server::start(spec(OURS, &[]), &dir).expect("a start behind it");
    assert_eq!((digest_mismatches(&server), of_java), (1, 1));
    leave(&mut server, Leave::Stop);
}

fn java_tool(name: &str, class: &str, file: &Path) -> String {
    let script = format!("{}/tests/servers/{name}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(script).arg("--class").arg(class).arg(file).output().expect("java");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{class} {}: {text}\n{errors}", file.display());
    assert!(!text.contains("CRC ERROR") && !errors.contains("Exception"), "{text}\n{errors}");
    text
}

fn tools(context: &mut Context) {
    let dir = context.dir.path().join("tools");
    let mut server = Server::start(spec(OURS, &[]), &dir).expect("a start");
    let mut content = Content::default();
    content.write(server.address, 0);
    leave(&mut server, Leave::Stop);
    let mut server = Server::start(spec(OURS, &[]), &dir).expect("a start with a new log");
    content.write(server.address, 1);
    let last = Client::connect(server.address).expect("a session");
    drop(last);
    leave(&mut server, Leave::Stop);
    let (mut logs, mut snapshots) = (0, 0);
    for entry in fs::read_dir(server.data.join("version-2")).expect("version-2") {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for java in ["java39", "java38"] {
            if name.starts_with("log.") {
                let class = "org.apache.zookeeper.server.persistence.TxnLogToolkit";
                let text = java_tool(java, class, &path);
                assert!(text.contains("EOF reached after"), "{name}: {text}");
                logs += 1;
            } else if name.starts_with("snapshot.") {
                let text = java_tool(java, "org.apache.zookeeper.server.SnapshotFormatter", &path);
                assert!(text.contains("ZNode Details"), "{name}: {text}");
                snapshots += 1;
            }
        }
    }
    assert!(logs >= 4 && snapshots >= 2, "{logs} logs and {snapshots} snapshots were looked at");
}

fn main() -> ExitCode {
    let mut context = Context { dir: scratch("handover", false), count: 0 };
    let code = support::cases::run(&mut context, CASES);
    if code != ExitCode::SUCCESS {
        context.dir.disable_cleanup(true);
        println!("the folders are kept in {}", context.dir.path().display());
    }
    code
}
