//! A server of the build under test, and the files it starts with.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use ringkeeper::ids::{Millis, SessionId, Xid, Zxid};
use ringkeeper::log::record;
use ringkeeper::wire::OpCode;
use ringkeeper::wire::txn::{Record, Txn, TxnHeader};

use crate::support::{Server, ServerSpec, wait_for};

/// How long anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Below the ports that the system gives to whoever asks for any, so that nothing else of this
/// machine's tests takes one between the look and the use.
const PORTS: std::ops::Range<u16> = 31_000..32_000;

/// A port that nobody listens on.
pub(crate) fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 1000).unwrap();
    let mut ports = PORTS.map(|_| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        PORTS.start + (first + step) % 1000
    });
    ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).unwrap()
}

/// `zkserver` as it was built for this test.
pub(crate) fn zkserver() -> ServerSpec {
    ServerSpec::named(concat!(env!("CARGO_BIN_EXE_zkserver"), " start-foreground"))
}

/// A server that is not started yet.
pub(crate) fn server(spec: ServerSpec, dir: &Path) -> Server {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port()));
    Server::prepare(spec, dir, address).unwrap()
}

/// Waits until its log holds these words.
pub(crate) fn wait_for_words(server: &Server, words: &str) {
    let said = wait_for(PATIENCE, || server.log().contains(words));
    assert!(said, "no {words:?} in:\n{}", server.log_tail(40));
}

/// Waits until it has ended by itself.
pub(crate) fn exit_of(server: &mut Server) -> ExitStatus {
    let mut exit = None;
    let ended = wait_for(PATIENCE, || {
        exit = server.exited();
        exit.is_some()
    });
    assert!(ended, "it runs on:\n{}", server.log_tail(20));
    exit.unwrap()
}

/// A server that was started and stopped, with the path of the log to be found by its next start.
pub(crate) fn with_log(dir: &Path, last: i64) -> (Server, PathBuf) {
    let mut server = server(zkserver(), dir);
    server.launch().unwrap();
    server.stop().unwrap();
    let log = server.data.join("version-2/log.1");
    write_log(&log, last);
    (server, log)
}

/// The bytes of a log whose txns change nothing, from `1` to `last`.
pub(crate) fn write_log(path: &Path, last: i64) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    out.write_all(&record::FILE_HEADER).unwrap();
    let mut data = Vec::new();
    for zxid in 1..=last {
        let (session, time) = (SessionId(1), Millis(1));
        let header = TxnHeader { session, cxid: Xid(1), zxid: Zxid(zxid), time, op: OpCode::Error };
        data.clear();
        Record { header, txn: Txn::Error { err: -101 }, digest: None }.encode(&mut data);
        out.write_all(&record::head(&data)).unwrap();
        out.write_all(&data).unwrap();
        out.write_all(&[record::END_MARKER]).unwrap();
    }
    out.flush().unwrap();
}

/// The data files by name, save the lock, which holds the number of a process, and what is not
/// finished, which goes with the next start.
pub(crate) fn data_files(server: &Server) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(server.data.join("version-2")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name != "ringkeeper.lock" && !name.starts_with("unfinished.") {
            files.push((name, fs::read(entry.path()).unwrap()));
        }
    }
    files.sort();
    files
}
