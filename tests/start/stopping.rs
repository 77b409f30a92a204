//! TERM before the server serves: it is heard at once, and costs nothing.

use std::fs;
use std::net::TcpListener;

use tempfile::TempDir;

use crate::scene::{
    data_files, exit_of, port, server, wait_for_words, with_log, write_log, zkserver,
};
use crate::support::process::scratch;
use crate::support::{Server, ServerSpec};

/// Replaying so many outlasts the way of a signal by far.
const TXNS: i64 = 1_500_000;

/// A server whose data folder has an empty snapshot and a long log.
fn with_long_log(spec: ServerSpec) -> (Server, TempDir) {
    let dir = scratch("stop", true);
    let mut first = server(zkserver(), dir.path());
    first.launch().unwrap();
    first.stop().unwrap();
    let server = server(spec, dir.path());
    fs::write(server.data.join("myid"), "1\n").unwrap();
    fs::remove_file(first.log_path()).unwrap();
    write_log(&server.data.join("version-2/log.1"), TXNS);
    (server, dir)
}

/// Asks it to stop while it replays its log.
fn stop_while_it_recovers(server: &mut Server) {
    let before = data_files(server);
    server.spawn().unwrap();
    wait_for_words(server, "reading snapshot");
    let status = server.stop().unwrap();
    let log = server.log();
    assert!(status.success(), "{status}:\n{log}");
    assert!(log.contains("stopped before it served"), "{log}");
    assert!(!log.contains("recovered"), "it went on to the end:\n{log}");
    assert!(data_files(server) == before, "the data folder is as it was");
}

#[test]
fn alone_it_stops_while_it_recovers_and_loses_nothing() {
    let (mut server, _dir) = with_long_log(zkserver());
    stop_while_it_recovers(&mut server);
    server.launch().unwrap();
    let text = server.word("srvr").unwrap();
    assert!(text.contains(&format!("Zxid: 0x{TXNS:x}\n")), "{text}");
    server.stop().unwrap();
}

#[test]
fn a_member_stops_while_it_recovers() {
    let mut spec = zkserver().config("initLimit=5").config("syncLimit=5");
    for id in 1..=3 {
        spec = spec.config(&format!("server.{id}=127.0.0.1:{}:{}", port(), port()));
    }
    let (mut server, _dir) = with_long_log(spec);
    stop_while_it_recovers(&mut server);
    server.spawn().unwrap();
    wait_for_words(&server, "LOOKING");
    assert!(server.log().contains(&format!("zxid=0x{TXNS:x}")), "{}", server.log_tail(20));
    server.stop().unwrap();
}

/// The port of a server that was killed may be taken for a moment, so it is tried again; whoever
/// stops the server then need not wait for the end of it.
#[test]
fn it_stops_while_its_port_is_taken() {
    let dir = scratch("stop", true);
    let mut server = server(zkserver(), dir.path());
    let _other = TcpListener::bind(server.address).unwrap();
    server.spawn().unwrap();
    wait_for_words(&server, "open files");
    let status = server.stop().unwrap();
    assert!(status.success(), "{status}:\n{}", server.log());
    assert!(server.log().contains("stopped before it served"), "{}", server.log());
}

/// Whoever has the port may be a server of the same data that does not know our lock, such as one
/// of Java's: its log ends in the midst of a record while it writes.
#[test]
fn while_its_port_is_taken_it_touches_no_file() {
    let dir = scratch("stop", true);
    let (mut server, log) = with_log(dir.path(), 3);
    let torn = fs::read(&log).unwrap();
    fs::write(&log, [&torn[..torn.len() - 5], &[0; 5000]].concat()).unwrap();
    fs::write(log.with_file_name("snapshot.5.tmp"), "what a learner is being sent").unwrap();
    let before = data_files(&server);
    let _other = TcpListener::bind(server.address).unwrap();
    server.spawn().unwrap();
    assert_eq!(exit_of(&mut server).code(), Some(1), "{}", server.log_tail(20));
    assert!(server.log_tail(1).contains("cannot bind to client port"), "{}", server.log_tail(1));
    assert!(data_files(&server) == before);
}
