//! How clients, servers and terminals go: all at once, unanswered, or asking for too much.

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::time::Duration;

use ringkeeper::wire::OpCode;
use ringkeeper::wire::request::{Read, Request};

use crate::Context;
use crate::support::cases::Case;
use crate::support::client::{Connection, append, create, new_session, read};
use crate::support::{Client, wait_for};

pub const CASES: &[Case<Context>] = &[
    ("ten thousand sessions expire at once", mass_expiry),
    ("a multiRead that asks for more than there is memory", endless_multi_read),
    ("large writes wait in the client, not in the server", large_writes),
    ("closeSession behind all else, then the end of the stream", farewell),
    ("closeSession behind all else, then a reset", rude_farewell),
    ("a stop right behind a write", stop_behind_write),
    ("restarts more often than a snapshot is due", restarts),
    ("nobody reads what the server logs", broken_log),
    ("enforced authentication refuses a ping, too", unproven),
    ("a connection that was taken over hears nothing later", taken_over),
];

/// More than the log's queue holds, all in one bucket: after a restart each has its whole timeout.
fn mass_expiry(context: &mut Context) {
    const SESSIONS: usize = 10_000;
    let settings = ["tickTime=1000", "minSessionTimeout=1000", "maxSessionTimeout=60000"];
    let mut server =
        context.another(|spec| settings.iter().fold(spec, |spec, line| spec.config(line)));
    for at in 0..SESSIONS {
        let mut connection = Connection::open(server.address).expect("a connection");
        let timeout_ms = if at == 0 { 8001 } else { 8000 };
        let response = connection.handshake(&new_session(timeout_ms)).expect("an answer");
        assert!(response.is_some());
    }
    server.kill().expect("a running server");
    server.launch().expect("it starts");
    let sessions = || {
        let text = server.word("mntr").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("zk_global_sessions\t"));
        line.and_then(|count| count.parse::<usize>().ok())
    };
    assert!(sessions().is_some_and(|count| count > SESSIONS / 2), "{:?}", sessions());
    assert!(wait_for(Duration::from_secs(30), || sessions() == Some(0)), "{:?}", sessions());
}

/// 1 MB of request for 2.3 GB of reply.
fn endless_multi_read(context: &mut Context) {
    if !context.is_ours() {
        return; // Java runs out of memory
    }
    let mut client = Client::connect(context.server.address).unwrap();
    client.create("/large", &vec![5; 1_000_000], 0);
    let before = context.server.resident();
    let one = Read { op: OpCode::GetData, path: "/large".into(), watch: false };
    let reply = client.call(&Request::MultiRead(vec![one.clone(); 2300])).expect("a reply");
    assert_eq!((reply.header.err, reply.body.len()), (-5, 0));
    let reply = client.must(&Request::MultiRead(vec![one; 50]));
    assert!(reply.body.len() > 50_000_000);
    client.must(&Request::Delete { path: "/large".into(), version: -1 });
    let grown = context.server.resident().saturating_sub(before);
    assert!(grown < 200 << 20, "the server grew by {grown} bytes");
}

/// 900 MB of writes, sent as fast as they are taken.
fn large_writes(context: &mut Context) {
    const WRITES: i32 = 300;
    if !context.is_ours() {
        return; // Java keeps up to a thousand requests of any size
    }
    let server = context.another(|spec| spec.property("jute.maxbuffer", "4194304"));
    let mut client = Client::connect(server.address).unwrap();
    client.create("/large", b"", 0);
    let before = server.resident();
    let mut out = client.connection.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let data = vec![7; 3 << 20];
        for xid in 1..=WRITES {
            let mut frame = Vec::new();
            let set = Request::SetData { path: "/large".into(), data: Some(&data), version: -1 };
            append(&mut frame, xid, &set);
            out.write_all(&frame).expect("the server reads on");
        }
    });
    let mut largest = 0;
    for xid in 1..=WRITES {
        let reply = client.reply().unwrap().expect("a reply");
        assert_eq!((reply.header.xid.0, reply.header.err), (xid, 0));
        largest = largest.max(server.resident());
    }
    sender.join().unwrap();
    let grown = largest.saturating_sub(before);
    assert!(grown < 700 << 20, "the server grew by {grown} bytes");
}

/// Writes, reads and a closeSession in one piece.
fn last_words(client: &mut Client, path: &str) {
    client.create(path, b"", 1);
    let mut out = Vec::new();
    for xid in 2..600 {
        append(&mut out, 2 * xid, &Request::SetData { path: path.into(), data: None, version: -1 });
        append(&mut out, 2 * xid + 1, &read(OpCode::GetData, path, false));
    }
    append(&mut out, 2000, &create("/last-words", b"", 1));
    append(&mut out, 2001, &Request::CloseSession);
    client.connection.send(&out).unwrap();
}

fn must_go(context: &Context, path: &str) {
    let mut other = Client::connect(context.server.address).unwrap();
    let is_gone = || other.call(&read(OpCode::Exists, path, false)).unwrap().header.err == -101;
    assert!(wait_for(Duration::from_secs(5), is_gone), "the session goes on");
}

fn farewell(context: &mut Context) {
    let mut client = Client::connect(context.server.address).unwrap();
    last_words(&mut client, "/farewell");
    client.connection.stream.shutdown(Shutdown::Write).unwrap();
    let mut replies = 0;
    while client.reply().unwrap().is_some() {
        replies += 1;
    }
    assert_eq!(replies, 598 * 2 + 2, "each is answered");
    must_go(context, "/farewell");
}

/// Closing with replies unread sends a reset right behind the last request.
fn rude_farewell(context: &mut Context) {
    for _ in 0..20 {
        let mut client = Client::connect(context.server.address).unwrap();
        let path = "/rude-farewell";
        client.create(path, b"", 1);
        let mut out = Vec::new();
        for xid in 2..20 {
            let set = Request::SetData { path: path.into(), data: None, version: -1 };
            append(&mut out, 2 * xid, &set);
            append(&mut out, 2 * xid + 1, &read(OpCode::GetData, path, false));
        }
        append(&mut out, 2001, &Request::CloseSession);
        let mut peeked = [0];
        client.connection.send(&out[..64]).unwrap();
        client.connection.stream.peek(&mut peeked).unwrap(); // now there is something unread
        client.connection.send(&out[64..]).unwrap();
        drop(client);
        must_go(context, path);
    }
}

/// The thread that commits is awake for a moment then, and nobody wakes it.
fn stop_behind_write(context: &mut Context) {
    for _ in 0..3 {
        let mut server = context.another(|spec| spec);
        let mut client = Client::connect(server.address).expect("a session");
        client.create("/last", b"", 0);
        server.stop().expect("it stops at once");
    }
}

/// What a recovery replays counts for the next snapshot: logs would pile up else. No run alone has
/// half of snapCount, the least that makes one due; one that a kill or a busy thread cost comes in
/// a later run.
fn restarts(context: &mut Context) {
    let mut server = context.another(|spec| spec.config("snapCount=100"));
    for round in 0..20 {
        let mut client = Client::connect(server.address).expect("a session");
        for number in 0..30 {
            client.create(&format!("/{round}-{number}"), b"", 0);
        }
        let names = fs::read_dir(server.data.join("version-2")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let snapshots = names.filter(|name| name.starts_with("snapshot.") && !name.contains("tmp"));
        if snapshots.count() > 1 {
            return;
        }
        server.kill().expect("a running server");
        server.launch().expect("it starts");
    }
    panic!("only the first snapshot: {}", server.log());
}

fn broken_log(context: &mut Context) {
    if !context.is_ours() {
        return;
    }
    let mut server = context.another(|spec| spec);
    server.stop().expect("it stops");
    let spec = &server.spec;
    let mut child = Command::new(&spec.command[0])
        .args(&spec.command[1..])
        .arg(server.dir.join("zoo.cfg"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    let served =
        wait_for(Duration::from_secs(10), || server.word("ruok").is_ok_and(|it| it == "imok"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(served, "a server dies with its terminal");
}

/// Before it has proved who it is, a client is told so and cut off; its session goes on.
fn unproven(context: &mut Context) {
    let server = context.another(|spec| {
        spec.property("zookeeper.enforce.auth.enabled", "true")
            .property("zookeeper.enforce.auth.schemes", "digest")
    });
    let mut client = Client::connect(server.address).unwrap();
    for request in [Request::Ping, read(OpCode::Exists, "/", false), create("/unproven", b"", 0)] {
        let reply = client.call(&request).expect("a reply");
        assert_eq!((reply.header.zxid.0, reply.header.err), (0, -124), "{request:?}");
        assert!(client.reply().unwrap().is_none(), "and then the end");
        client = client.reattach(server.address).expect("the session goes on");
    }
    client.digest("bob:pw");
    client.must(&Request::Ping);
    client.create("/proven", b"", 0);
}

/// Its session is elsewhere: it is told what was answered before, and nothing of what comes after.
fn taken_over(context: &mut Context) {
    let address = context.server.address;
    let mut writer = Client::connect(address).unwrap();
    writer.create("/before", b"", 0);
    writer.create("/after", b"", 0);
    let set = |path: &'static str| Request::SetData { path: path.into(), data: None, version: -1 };
    let mut client = Client::connect(address).unwrap();
    for _ in 0..200 {
        for path in ["/before", "/after"] {
            client.must(&read(OpCode::GetData, path, true));
        }
        writer.must(&set("/before"));
        let next = client.reattach(address).expect("the session goes on");
        writer.must(&set("/after"));
        assert!(client.reply().unwrap().is_none(), "the old connection is closed");
        // Java may close it before it has sent what it had to say.
        let expected = if context.is_ours() { 1..=1 } else { 0..=1 };
        assert!(expected.contains(&client.events.len()), "{:?}", client.events);
        assert!(client.events.iter().all(|event| event.ends_with(b"/before")));
        client = next;
    }
}
