//! Records that end early or lie: error -5, and the connection goes on.

use ringkeeper::wire::request::{AddWatchMode, Create, Request, SetWatches, WatchKind, Watches};
use ringkeeper::wire::{Acl, OpCode, Writer};

use crate::Context;
use crate::support::Client;
use crate::support::cases::Case;
use crate::support::client::{Reply, append_raw, create, read};

const MARSHALLING: i32 = -5;
const BAD_ARGUMENTS: i32 = -8;

pub const CASES: &[Case<Context>] = &[
    ("every record cut at every byte", cut_records),
    ("every length in every record lies", lying_lengths),
    ("null paths", null_paths),
    ("nulls that cost no zxid, or are of no account", other_nulls),
    ("half a character above U+FFFF is one replacement character", surrogates),
    ("modes and types out of range", out_of_range),
    ("bytes behind a record are ignored", trailing_bytes),
    ("a TTL without a TTL mode is refused", ttl_without_mode),
    ("odd paths", odd_paths),
    ("auth and sasl that cannot be decoded end the connection", broken_credentials),
];

fn ask(client: &mut Client, op: i32, body: &[u8]) -> Reply {
    let xid = client.next_xid();
    let mut out = Vec::new();
    append_raw(&mut out, xid, op, |w| w.bytes(body));
    client.connection.send(&out).unwrap();
    let reply = client.reply().unwrap();
    let reply = reply.unwrap_or_else(|| panic!("opcode {op} {body:?} closed the connection"));
    assert_eq!(reply.header.xid.0, xid);
    reply
}

/// One of each record, none of which ends the connection.
fn records() -> Vec<(i32, Vec<u8>)> {
    let path = || std::borrow::Cow::Borrowed("/records");
    let ttl = Create {
        op: OpCode::CreateTtl,
        path: path(),
        data: Some(b"data"),
        acl: vec![Acl::anyone(31), Acl::anyone(1)],
        flags: 5,
        ttl: 1000,
    };
    let requests = [
        create("/records", b"data", 0),
        create("/records", b"data", 4),
        Request::Create(ttl),
        Request::Delete { path: path(), version: 77 },
        read(OpCode::Exists, "/records", true),
        read(OpCode::GetData, "/records", false),
        read(OpCode::GetChildren, "/records", false),
        read(OpCode::GetChildren2, "/records", false),
        Request::SetData { path: path(), data: Some(b"data"), version: 77 },
        Request::GetAcl { path: path() },
        Request::SetAcl { path: path(), acl: vec![Acl::anyone(31)], version: 77 },
        Request::Sync { path: Some(path()) },
        Request::Multi(vec![
            create("/records/x", b"data", 0),
            Request::Check { path: path(), version: 77 },
        ]),
        Request::Watches(Watches { op: OpCode::RemoveWatches, path: path(), kind: WatchKind::Any }),
        Request::SetWatches(SetWatches {
            op: OpCode::SetWatches2,
            relative_zxid: ringkeeper::ids::Zxid(0),
            data: vec![path()],
            exist: vec![path()],
            child: vec![path()],
            persistent: vec![path()],
            recursive: vec![path()],
        }),
        Request::AddWatch { path: path(), mode: AddWatchMode::Recursive },
        Request::GetEphemerals { prefix: Some(path()) },
        Request::GetAllChildrenNumber { path: path() },
    ];
    let mut records = Vec::new();
    for request in &requests {
        let mut body = Vec::new();
        request.encode(&mut Writer::new(&mut body));
        records.push((request.op().to_wire(), body));
    }
    records
}

fn cut_records(context: &mut Context) {
    let mut client = Client::connect(context.server.address).unwrap();
    for (op, body) in records() {
        for len in 0..body.len() {
            let reply = ask(&mut client, op, &body[..len]);
            assert_eq!(reply.header.err, MARSHALLING, "opcode {op} cut at {len}");
            assert!(reply.body.is_empty());
        }
    }
}

/// Writes a lie over every 4 bytes. Wherever it lands, the answer is an error or a result, the
/// connection goes on, and nothing is reserved by the number.
fn lying_lengths(context: &mut Context) {
    let before = context.server.resident();
    let mut client = Client::connect(context.server.address).unwrap();
    for (op, body) in records() {
        for lie in [i32::MAX, 0x4000_0000, 0x00ff_ffff, i32::MIN, -2] {
            for at in 0..body.len().saturating_sub(3) {
                let mut body = body.clone();
                body[at..at + 4].copy_from_slice(&lie.to_be_bytes());
                if op == OpCode::CreateTtl.to_wire() && at + 12 > body.len() - 4 {
                    continue; // flags and TTL: see `ttl_without_mode`
                }
                ask(&mut client, op, &body);
            }
        }
    }
    let grown = context.server.resident().saturating_sub(before);
    if context.is_ours() {
        assert!(grown < 64 << 20, "the server grew by {grown} bytes");
    }
}

fn null_paths(context: &mut Context) {
    let mut client = Client::connect(context.server.address).unwrap();
    let mut body = vec![0xff; 4];
    body.extend([0; 40]);
    for op in [1, 2, 3, 4, 6, 8, 12, 15, 19] {
        assert_eq!(ask(&mut client, op, &body).header.err, MARSHALLING, "opcode {op}");
    }
    for op in [5, 7] {
        assert_eq!(ask(&mut client, op, &body).header.err, BAD_ARGUMENTS, "opcode {op}");
    }
    // in a multi a null path of any step
    for op in [5_i32, 13] {
        let mut steps = op.to_be_bytes().to_vec();
        steps.extend([0, 0xff, 0xff, 0xff, 0xff]); // not the end
        steps.extend(&body[..if op == 5 { 12 } else { 8 }]); // null, empty data, version 0
        steps.extend([0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(ask(&mut client, 14, &steps).header.err, MARSHALLING, "a multi of {op}");
    }
    // any list of setWatches may not be null
    let mut body = vec![0; 8];
    body.extend([0xff; 12]);
    assert_eq!(ask(&mut client, 101, &body).header.err, MARSHALLING, "setWatches");
}

/// COMPAT: a null ACL in a multi is found before the multi has its zxid, an unknown mode of the
/// same step after it; persistent watches may be set on a null path.
fn other_nulls(context: &mut Context) {
    let mut client = Client::connect(context.server.address).unwrap();
    for (path, flags, cost) in [
        (Some("/records"), 0, 0),
        (None, 0, 0),
        (Some("/records"), 5, 0), // a TTL, for which there is no room
        (Some("/records"), 31, 1),
        (None, 31, 1),
    ] {
        let before = ask(&mut client, 107, &[]).header.zxid;
        let mut multi = Vec::new();
        let mut w = Writer::new(&mut multi);
        w.i32(1);
        w.bytes(&[0, 0xff, 0xff, 0xff, 0xff]); // not the end
        w.buffer(path.map(str::as_bytes));
        w.buffer(None);
        w.buffer(None); // the ACL
        w.i32(flags);
        w.bytes(&[0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]);
        let header = ask(&mut client, 14, &multi).header;
        assert_eq!((header.err, header.zxid.0), (MARSHALLING, before.0 + cost), "{path:?} {flags}");
    }
    for list in 0..5 {
        let mut body = vec![0; 8];
        for at in 0..5 {
            body.extend(i32::from(at == list).to_be_bytes());
            body.extend(vec![0xff; if at == list { 4 } else { 0 }]);
        }
        let expected = if list < 3 { MARSHALLING } else { 0 };
        assert_eq!(ask(&mut client, 105, &body).header.err, expected, "a null in list {list}");
    }
}

fn surrogates(context: &mut Context) {
    let mut client = Client::connect(context.server.address).unwrap();
    let mut body = Vec::new();
    Writer::new(&mut body).buffer(Some(b"/\xed\xa0\xbd\xed\xb8\x80"));
    let mut echo = Vec::new();
    Writer::new(&mut echo).string("/\u{fffd}\u{fffd}");
    assert_eq!(ask(&mut client, 9, &body).body, echo, "sync echoes what was read");
}

fn out_of_range(context: &mut Context) {
    let mut client = Client::connect(context.server.address).unwrap();
    for (op, numbers) in [(106, [2, -1, 99]), (17, [0, 6, -1]), (18, [0, 6, i32::MAX])] {
        for number in numbers {
            let mut body = Vec::new();
            let mut w = Writer::new(&mut body);
            w.string("/records");
            w.i32(number);
            assert_eq!(ask(&mut client, op, &body).header.err, MARSHALLING, "{op} {number}");
        }
    }
}

fn trailing_bytes(context: &mut Context) {
    let mut client = Client::connect(context.server.address).unwrap();
    let mut body = Vec::new();
    Writer::new(&mut body).string("/");
    body.extend([0; 100]);
    for op in [3, 4, 6, 8, 12, 104] {
        assert_eq!(ask(&mut client, op, &body).header.err, 0, "opcode {op}");
    }
    assert_eq!(ask(&mut client, 107, &[1; 50]).header.err, 0, "whoAmI");
}

/// COMPAT: this request stops Java for good; here it is a bad argument (client.md 2.5).
fn ttl_without_mode(context: &mut Context) {
    if !context.is_ours() {
        return;
    }
    let mut client = Client::connect(context.server.address).unwrap();
    for flags in 0..=4 {
        let request = Request::Create(Create {
            op: OpCode::CreateTtl,
            path: "/ttl".into(),
            data: None,
            acl: vec![Acl::anyone(31)],
            flags,
            ttl: -1,
        });
        assert_eq!(client.call(&request).unwrap().header.err, BAD_ARGUMENTS, "flags {flags}");
    }
    context.server.stop().expect("a clean stop");
    context.server.launch().expect("a restart");
}

fn odd_paths(context: &mut Context) {
    let mut client = Client::connect(context.server.address).unwrap();
    let cases = [
        ("a", BAD_ARGUMENTS),
        ("", BAD_ARGUMENTS),
        ("/", -110),
        ("/odd/", -101),
        ("//odd", BAD_ARGUMENTS),
        ("/odd//b", -101),
        ("/\u{0}", BAD_ARGUMENTS),
        ("/\u{1}", BAD_ARGUMENTS),
        ("/\u{7f}", BAD_ARGUMENTS),
        ("/\u{e000}", BAD_ARGUMENTS),
        ("/\u{1f600}", BAD_ARGUMENTS),
        ("/\u{ffff}", BAD_ARGUMENTS),
        ("/..", BAD_ARGUMENTS),
        ("/.", BAD_ARGUMENTS),
        ("/odd...", 0),
        ("/odd é 中", 0),
    ];
    for (path, err) in cases {
        let reply = client.call(&create(path, b"", 0)).unwrap();
        assert_eq!(reply.header.err, err, "{path:?}");
    }
    let mut body = Vec::new();
    let mut w = Writer::new(&mut body);
    w.buffer(Some(b"/\xff\xfe"));
    w.buffer(None);
    Acl::encode_list(&[Acl::anyone(31)], &mut w);
    w.i32(0);
    assert_eq!(ask(&mut client, 1, &body).header.err, BAD_ARGUMENTS, "not UTF-8");
    let long = format!("/{}", "x".repeat(500_000));
    client.create(&long, b"", 0);
}

/// COMPAT: Java reads these where it reads the frame, so what is wrong with them is fatal; a null
/// token too, of which it asks the length.
fn broken_credentials(context: &mut Context) {
    const AUTH: i32 = 100;
    const SASL: i32 = 102;
    let broken: [(i32, &[u8]); 7] = [
        (SASL, b""),
        (SASL, b"\0\0\0\x05ab"),
        (SASL, b"\xff\xff\xff\xfe"),
        (SASL, b"\xff\xff\xff\xff"),
        (AUTH, b""),
        (AUTH, b"\0\0\0\0"),
        (AUTH, b"\0\0\0\0\0\0\0\x06digest"),
    ];
    for (op, body) in broken {
        let mut client = Client::connect(context.server.address).unwrap();
        let mut out = Vec::new();
        append_raw(&mut out, 1, op, |w| w.bytes(body));
        client.connection.send(&out).unwrap();
        let reply = client.reply().unwrap();
        assert!(reply.is_none(), "opcode {op} {body:?} is answered: {reply:?}");
    }
    let mut client = Client::connect(context.server.address).unwrap();
    for body in [b"\0\0\0\0".as_slice(), b"\0\0\0\x05token"] {
        let reply = ask(&mut client, SASL, body);
        assert_eq!((reply.header.err, &reply.body[..]), (0, &b"\xff\xff\xff\xff"[..]));
    }
}
