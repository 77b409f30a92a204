//! A disk that is full: the last line names the file, the reason, and what to do.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::scene::{exit_of, server, zkserver};
use crate::support::client::create;
use crate::support::process::scratch;
use crate::support::{Client, ServerSpec};

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
    assert_eq!(exit_of(&mut server).code(), Some(10), "{}", server.log_tail(20));
    let last = server.log_tail(1);
    let file = format!("cannot write to {}/unfinished.snapshot.", files.display());
    for part in [&*file, "No space left on device", "free space", "exit code 10"] {
        assert!(last.contains(part), "{part}: {last}");
    }
}

/// Segments double in size; a disk that has no room for the next one may have some for records.
#[test]
fn a_disk_too_small_for_the_next_segment_is_used_to_its_end() {
    const DISK_BYTES: usize = 12 << 20;
    let dir = scratch("full", true);
    let small = server(zkserver(), dir.path());
    let (mount, script) = (small.data.display(), dir.path().join("on-a-small-disk.sh"));
    let program = env!("CARGO_BIN_EXE_zkserver");
    let lines = format!(
        "#!/bin/sh\nmount -t tmpfs -o size={DISK_BYTES} none {mount} || exit 99\n\
         exec {program} start-foreground \"$@\"\n"
    );
    fs::write(&script, lines).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    // In a mount namespace of its own, which goes with it.
    let spec = ServerSpec::named(&format!("unshare --mount {}", script.display()));
    let mut server = server(spec.config("snapCount=1000000"), dir.path());
    server.launch().unwrap();
    let mut client = Client::connect(server.address).unwrap();
    let data = vec![7; 50_000];
    let mut written = 0;
    let path = |number: i32| format!("/{number}");
    while client.call(&create(&path(written), &data, 0)).is_ok() {
        written += 1;
    }
    let bytes = usize::try_from(written).unwrap() * data.len();
    assert!(bytes > DISK_BYTES * 2 / 3, "{bytes} bytes were taken:\n{}", server.log_tail(5));
    assert_eq!(exit_of(&mut server).code(), Some(20), "{}", server.log_tail(20));
    assert!(server.log_tail(1).contains("No space left on device"), "{}", server.log_tail(1));
}
