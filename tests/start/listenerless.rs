//! A member of an ensemble without a client port.

use std::fs;
use std::net::TcpListener;

use crate::scene::{data_files, exit_of, port, server, wait_for_words, with_log, zkserver};
use crate::support::process::scratch;
use crate::support::{Client, Server};

/// It votes, and serves nobody: without it the other one of two has no quorum.
#[test]
fn a_member_without_a_client_port_starts_and_votes() {
    let members: Vec<String> =
        (1..=2).map(|id| format!("server.{id}=127.0.0.1:{}:{}", port(), port())).collect();
    let scratches = [scratch("member", true), scratch("member", true)];
    let [mut silent, mut serving] = [1, 2].map(|id| {
        let spec = zkserver().config("initLimit=5").config("syncLimit=5");
        let spec = members.iter().fold(spec, |spec, line| spec.config(line));
        let server = server(spec, scratches[id - 1].path());
        fs::write(server.data.join("myid"), id.to_string()).unwrap();
        server
    });
    without_client_port(&silent);
    silent.spawn().unwrap();
    wait_for_words(&silent, "clientPort is not set");
    serving.launch().unwrap();
    let mut client = Client::connect(serving.address).unwrap();
    client.create("/a", b"x", 0);
    assert_eq!(silent.exited(), None, "{}", silent.log_tail(20));
    assert!(silent.stop().unwrap().success(), "{}", silent.log_tail(20));
    serving.stop().unwrap();
}

/// Nobody else's port tells that a server of Java's runs on the data: its log ends in the midst of
/// a record while it writes.
#[test]
fn while_its_election_port_is_taken_it_touches_no_file() {
    let dir = scratch("member", true);
    let (_, log) = with_log(dir.path(), 3);
    let torn = fs::read(&log).unwrap();
    fs::write(&log, &torn[..torn.len() - 5]).unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().port();
    let spec = zkserver().config("initLimit=5").config("syncLimit=5");
    let spec = spec.config(&format!("server.1=127.0.0.1:{}:{taken}", port()));
    let spec = spec.config(&format!("server.2=127.0.0.1:{}:{}", port(), port()));
    let mut server = server(spec, dir.path());
    fs::write(server.data.join("myid"), "1").unwrap();
    without_client_port(&server);
    let before = data_files(&server);
    server.spawn().unwrap();
    assert_eq!(exit_of(&mut server).code(), Some(14), "{}", server.log_tail(20));
    assert!(server.log_tail(1).contains("cannot bind to election port"), "{}", server.log_tail(1));
    assert!(data_files(&server) == before);
}

fn without_client_port(server: &Server) {
    let file = server.data.parent().unwrap().join("zoo.cfg");
    let text = fs::read_to_string(&file).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("clientPort"));
    fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
}
