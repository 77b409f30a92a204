//! ZooKeeper's own tools read our files. Needs `java` and ZooKeeper's jars: Debian's
//! `libzookeeper-java`, or a folder with 3.9 jars in `ZOOKEEPER_JARS`.

use std::path::Path;
use std::process::Command;

use ringkeeper::ids::Zxid;
use ringkeeper::log::recovery::{self, ReplayOptions};
use ringkeeper::log::snapshot;

use crate::disk::{Disk, txn};
use crate::snapshots::{COMPRESSIONS, write};

/// Where Debian has them.
const DEBIAN: &str = "/usr/share/java";

fn class_path() -> String {
    if let Ok(jars) = std::env::var("ZOOKEEPER_JARS") {
        return format!("{jars}/*");
    }
    assert!(
        Path::new(DEBIAN).join("zookeeper.jar").exists(),
        "no ZooKeeper jars: install libzookeeper-java, or set ZOOKEEPER_JARS"
    );
    ["zookeeper", "slf4j-simple", "snappy-java", "metrics-core", "commons-cli"]
        .map(|jar| format!("{DEBIAN}/{jar}.jar"))
        .join(":")
}

/// What the tool prints.
fn java(class: &str, file: &Path) -> String {
    let output = Command::new("java")
        .args(["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", &class_path(), class])
        .arg(file)
        .output()
        .expect("java is installed (Debian: default-jre-headless)");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

#[test]
fn txn_log_toolkit_reads_a_log_closed_or_not() {
    let disk = Disk::new();
    let mut writer = disk.writer(Zxid::ZERO);
    for zxid in (1..=3).map(Zxid) {
        writer.append(zxid, &txn(zxid, b"some data")).unwrap();
    }
    writer.flush().unwrap();
    let open = java("org.apache.zookeeper.server.persistence.TxnLogToolkit", &disk.file("log.1"));
    writer.close().unwrap();
    let closed = java("org.apache.zookeeper.server.persistence.TxnLogToolkit", &disk.file("log.1"));
    assert_eq!(open, closed);
    assert!(
        open.contains("zxid 0x3 setData") && open.contains("EOF reached after 3 txns"),
        "{open}"
    );
    assert!(!open.contains("ERROR"), "{open}");
}

#[test]
fn snapshot_formatter_reads_every_compression() {
    let disk = Disk::new();
    for compression in COMPRESSIONS {
        let file = write(disk.path(), 0x2a, compression);
        let printed = java("org.apache.zookeeper.server.SnapshotFormatter", &file.path);
        for part in ["/zookeeper/quota", "ZNode Details (count=5)", "Last zxid: 0x2a"] {
            assert!(printed.contains(part), "{compression:?}: {printed}");
        }
    }
}

/// By hand, for directories of other versions and settings, or of users: reads every snapshot, and
/// the logs behind the oldest one. Works on a copy: recovery repairs what it reads.
#[test]
#[ignore = "reads the version-2 directory that VERSION_2 names"]
fn a_directory_written_by_java_is_read() {
    let dir = std::env::var("VERSION_2").expect("VERSION_2 names a version-2 directory");
    let files = snapshot::list(Path::new(&dir)).unwrap();
    for file in &files {
        println!("{}: {:?}", file.path.display(), snapshot::verify(file).unwrap());
    }
    let after = files.last().expect("a snapshot").zxid;
    let copy = Disk::new();
    for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let options = ReplayOptions { after, ..ReplayOptions::default() };
    let replayed = recovery::replay(copy.path(), &options, |zxid, bytes| {
        println!("{zxid} {:?}", ringkeeper::wire::txn::Record::decode(bytes)?.txn);
        Ok(())
    });
    println!("{:?}", replayed.unwrap());
}
