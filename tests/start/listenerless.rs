//! A member of an ensemble without a client port.

use std::fs;

use crate::scene::{port, server, wait_for_words, zkserver};
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

fn without_client_port(server: &Server) {
    let file = server.data.parent().unwrap().join("zoo.cfg");
    let text = fs::read_to_string(&file).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("clientPort"));
    fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
}
