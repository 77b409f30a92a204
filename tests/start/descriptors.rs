//! A low limit of open files: clients never take what the log and the snapshots need.

use std::fs;
use std::net::TcpStream;

use ringkeeper::wire::code::OpCode;

use crate::scene::{PATIENCE, server, wait_for_words, zkserver};
use crate::support::client::read;
use crate::support::process::scratch;
use crate::support::{Client, Server, ServerSpec, wait_for};

/// `zkserver` with at most so many descriptors.
fn with_descriptors(limit: u32) -> ServerSpec {
    let mut spec = zkserver();
    let script = format!("ulimit -n {limit} && exec \"$@\"");
    let shell = ["/bin/sh", "-c", &script, "sh"].map(str::to_owned);
    spec.command.splice(0..0, shell);
    spec
}

/// How many data files of this kind there are.
fn count(server: &Server, kind: &str) -> usize {
    let entries = fs::read_dir(server.data.join("version-2")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(kind)).count()
}

/// Twice as many connections as there are descriptors, one after the other.
fn flood(server: &Server) -> Vec<TcpStream> {
    (0..320).map(|_| TcpStream::connect(server.address).unwrap()).collect()
}

#[test]
fn a_flood_leaves_the_log_and_the_snapshots_their_descriptors() {
    let dir = scratch("descriptors", true);
    let spec = with_descriptors(160).config("snapCount=20");
    let spec = spec.property("zookeeper.txnLogSizeLimitInKb", "64");
    // With many cores the shards alone would take that few descriptors.
    let spec = spec.property("ringkeeper.shards", "1");
    let mut server = server(spec, dir.path());
    server.launch().unwrap();
    let mut client = Client::connect(server.address).unwrap();
    let crowd = flood(&server);
    wait_for_words(&server, "too many connections: the limit of open files, 160, leaves room for");
    let (mut created, mut crowds) = (0, vec![crowd]);
    let went_on = wait_for(PATIENCE, || {
        created += 1;
        client.create(&format!("/{created}"), &vec![7; 8 << 10], 0);
        if created % 50 == 0 {
            crowds.push(flood(&server)); // whoever is turned away comes again
        }
        created > 200 && count(&server, "log.") > 5 && count(&server, "snapshot.") > 2
    });
    assert!(went_on, "{}", server.log_tail(30));
    assert_eq!(server.exited(), None, "{}", server.log_tail(30));
    drop(crowds);
    let again = wait_for(PATIENCE, || Client::connect(server.address).is_ok());
    assert!(again, "those who leave make room");
    client.must(&read(OpCode::Exists, "/1", false));
    let lines = server.log().matches("too many connections").count();
    assert!(lines < 100, "{lines} lines of complaint");
    assert!(server.stop().unwrap().success());
}
