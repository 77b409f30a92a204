//! A disk that is full: the last line names the file, the reason, and what to do.

use std::os::unix::fs::symlink;

use crate::scene::{PATIENCE, server, zkserver};
use crate::support::client::create;
use crate::support::process::scratch;
use crate::support::{Client, wait_for};

/// `/dev/full` stands in for the next snapshot's file: it takes no byte.
#[test]
fn a_snapshot_that_finds_no_room_is_named() {
    let dir = scratch("full", true);
    let mut server = server(zkserver().config("snapCount=2"), dir.path());
    server.launch().unwrap();
    let files = server.data.join("version-2");
    for zxid in 1..=64 {
        symlink("/dev/full", files.join(format!("unfinished.snapshot.{zxid:x}"))).unwrap();
    }
    let mut client = Client::connect(server.address).unwrap();
    let data = vec![7; 900 << 10]; // more than is kept back before it is written
    for number in 0..8 {
        let _ = client.call(&create(&format!("/{number}"), &data, 0)); // it may have ended
    }
    let mut exit = None;
    let ended = wait_for(PATIENCE, || {
        exit = server.exited();
        exit.is_some()
    });
    assert!(ended, "{}", server.log_tail(20));
    assert_eq!(exit.unwrap().code(), Some(10), "{}", server.log_tail(20));
    let last = server.log_tail(1);
    let file = format!("cannot write to {}/unfinished.snapshot.", files.display());
    for part in [&*file, "No space left on device", "free space", "exit code 10"] {
        assert!(last.contains(part), "{part}: {last}");
    }
}
