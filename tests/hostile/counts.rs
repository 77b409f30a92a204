//! What `mntr` and `cons` count of a few requests, as Java counts it.

use ringkeeper::wire::request::Request;
use ringkeeper::wire::{ErrorCode, OpCode};

use crate::Context;
use crate::support::cases::Case;
use crate::support::client::{create, read};
use crate::support::{Client, Server};

pub const CASES: &[Case<Context>] = &[
    ("watches and bytes are counted", watches_and_bytes),
    ("a ping does not hide a client's last request", last_requests),
    ("quotas of one namespace are summed up", quotas),
];

fn metric(server: &Server, name: &str) -> u64 {
    let text = server.word("mntr").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}\t")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// The number behind `key` in the line of `cons` about this session.
fn counted(server: &Server, session: &str, key: &str) -> u64 {
    let text = server.word("cons").unwrap();
    let line = text.lines().find(|line| line.contains(session));
    let line = line.unwrap_or_else(|| panic!("no {session} in {text}"));
    let (_, rest) = line.split_once(&format!("{key}=")).unwrap();
    rest.split(',').next().unwrap().parse().unwrap()
}

/// Whether a line of `cons` about this session has `fields`, which follow one another.
fn assert_shown(server: &Server, session: &str, op: &str, fields: &str) {
    let text = server.word("cons").unwrap();
    let op = format!(",lop={op},");
    let mut lines = text.lines().filter(|line| line.contains(session) && line.contains(&op));
    assert!(lines.any(|line| line.contains(fields)), "no {op} with {fields} in {text}");
}

fn last_requests(context: &mut Context) {
    let server = context.another(|spec| spec);
    let mut client = Client::connect(server.address).unwrap();
    let session = format!(",sid={:#x},", client.session.0);
    assert_shown(&server, &session, "SESS", ",to=30000,lcxid=0x0,lzxid=0x1,");
    client.create("/last", b"", 0);
    assert_shown(&server, &session, "CREA", ",lcxid=0x1,lzxid=0x2,");
    client.must(&Request::Ping);
    assert_shown(&server, &session, "PING", ",lcxid=0x1,lzxid=0x2,");

    let mut client = client.reattach(server.address).unwrap();
    assert_shown(&server, &session, "null", ",lcxid=0x0,lzxid=0x0,lresp=0,llat=0,");
    server.word("crst").unwrap();
    assert_shown(&server, &session, "NA", ",to=30000,lzxid=0xffffffffffffffff,lresp=0,");
    client.must(&Request::Ping);
    assert_shown(&server, &session, "PING", ",to=30000,lzxid=0x2,");
}

fn quotas(context: &mut Context) {
    let server = context.another(|spec| spec.config("enforceQuota=true"));
    let mut client = Client::connect(server.address).unwrap();
    client.create("/q", b"", 0);
    client.create("/q/deep", b"", 0);
    let limits: [(&str, &[u8]); 2] =
        [("/q", b"count=5,bytes=100=;countHardLimit=2"), ("/q/deep", b"bytes=7")];
    for (root, limits) in limits {
        let quota = format!("/zookeeper/quota{root}");
        client.create(&quota, b"", 0);
        client.create(&format!("{quota}/zookeeper_limits"), limits, 0);
        client.create(&format!("{quota}/zookeeper_stats"), b"count=0,bytes=0", 0);
    }
    let reply = client.call(&create("/q/more", b"", 0)).unwrap();
    assert_eq!(reply.header.err, ErrorCode::QuotaExceeded.to_wire());
    let text = server.word("mntr").unwrap();
    let mut lines: Vec<&str> = text.lines().filter(|line| line.starts_with("zk_q_")).collect();
    lines.sort_unstable();
    let expected = [
        "zk_q_quota_bytes_limit_per_namespace\t107",
        "zk_q_quota_bytes_usage_per_namespace\t0",
        "zk_q_quota_count_limit_per_namespace\t1", // 2, and -1 for none
        "zk_q_quota_count_usage_per_namespace\t3",
        "zk_q_quota_exceeded_error_per_namespace\t1",
    ];
    assert_eq!(lines, expected);
    let txns = 1 + 2 + 6 + 1; // the session, all nodes, and the create that failed
    for (name, count) in
        [("dbinittime", 1), ("startup_snap_load_time", 1), ("propagation_latency", txns)]
    {
        assert_eq!(metric(&server, &format!("zk_cnt_{name}")), count, "{name}");
    }
    assert!(metric(&server, "zk_cnt_sync_processor_queue_flush_time_ms") >= 9);
    assert_eq!(metric(&server, "zk_commit_count"), 0, "a leader's");
}

fn watches_and_bytes(context: &mut Context) {
    let server = context.another(|spec| spec);
    let mut watcher = Client::connect(server.address).unwrap();
    let mut writer = Client::connect(server.address).unwrap();
    writer.create("/counted", b"1", 0);
    watcher.must(&read(OpCode::GetData, "/counted", true));
    watcher.must(&read(OpCode::GetChildren, "/counted", true));
    writer.must(&Request::SetData { path: "/counted".into(), data: Some(b"22"), version: -1 });
    let biggest = 16 + writer.create("/counted/x", b"", 0).body.len();
    writer.must(&Request::Delete { path: "/counted/x".into(), version: -1 });
    watcher.must(&Request::Ping); // behind the events
    assert_eq!(watcher.events.len(), 2, "one of each watch");

    let session = format!("{:#x}", watcher.session.0);
    assert_eq!(counted(&server, &session, "recved"), 4, "handshake, two reads, ping");
    assert_eq!(counted(&server, &session, "sent"), 6, "the same, and two events");
    let events: usize = watcher.events.iter().map(Vec::len).sum();
    assert_eq!(metric(&server, "zk_watch_bytes"), events as u64);
    for (name, count) in [("changed", 1), ("children", 1), ("created", 0), ("deleted", 0)] {
        let name = format!("zk_cnt_node_{name}_watch_count");
        assert_eq!(metric(&server, &name), count, "{name}");
    }
    assert_eq!(metric(&server, "zk_max_client_response_size"), biggest as u64);
    assert_eq!(metric(&server, "zk_min_client_response_size"), 16, "the ping's");
    assert_eq!(metric(&server, "zk_connection_request_count"), 2);
    assert!(metric(&server, "zk_response_bytes") > 7 * 16);
    assert!(metric(&server, "zk_bytes_received_count") > 2 * 49);
}
