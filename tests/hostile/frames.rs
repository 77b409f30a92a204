//! What is wrong before a record is even looked at: lengths, headers, other protocols.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use ringkeeper::wire::request::Request;

use crate::Context;
use crate::support::cases::Case;
use crate::support::client::{Connection, append, append_raw, create, new_session};
use crate::support::{Client, Random, wait_for_every};

pub const CASES: &[Case<Context>] = &[
    ("frame lengths are limited exactly", frame_lengths),
    ("a short frame closes the connection, not the session", short_frames),
    ("jute.maxbuffer is taken as configured", max_buffer),
    ("half a handshake is closed", half_handshakes),
    ("a handshake byte by byte is served", byte_by_byte),
    ("requests behind the handshake are served", eager_client),
    ("TLS, HTTP and noise are closed", other_protocols),
    ("a silent connection is closed in time", silent_connection),
    ("a word that is cut off is closed in time", cut_words),
    ("pieces of a request do not keep a session alive", pieces),
    ("identities of a connection are bounded", many_identities),
    ("unknown opcodes end the connection, not the session", unknown_opcodes),
    ("a thousand noisy connections log little", bounded_log),
];

/// The server must close without a word.
fn must_close(connection: &mut Connection, why: &str) {
    let rest = connection.rest().unwrap_or_else(|err| panic!("{why}: not closed: {err}"));
    assert!(rest.is_empty(), "{why}: {rest:?} before the close");
}

fn frame_lengths(context: &mut Context) {
    for len in [-1, i32::MIN, i32::MAX, 0x10_0000] {
        let mut client = Client::connect(context.server.address).unwrap();
        client.connection.send(&len.to_be_bytes()).unwrap();
        must_close(&mut client.connection, &format!("length {len}"));
    }
    // header 8, path 4 + 5, data 4 + n, ACL 4 + 4 + 9 + 10, flags 4
    let fixed = 8 + 9 + 4 + 27 + 4;
    for (frame, is_taken) in [(0xf_ffff, true), (0x10_0000, false)] {
        let data = vec![7; frame - fixed];
        let path = if is_taken { "/big1" } else { "/big2" };
        let mut client = Client::connect(context.server.address).unwrap();
        let mut out = Vec::new();
        append(&mut out, 1, &create(path, &data, 0));
        assert_eq!(out.len(), frame + 4);
        let _ = client.connection.stream.write_all(&out);
        if is_taken {
            assert_eq!(client.reply().unwrap().expect("a reply").header.err, 0);
        } else {
            must_close(&mut client.connection, "one byte too many");
        }
    }
    context.still_serves();
}

fn short_frames(context: &mut Context) {
    for frame in [&[0, 0, 0, 0][..], &[0, 0, 0, 1, 9], &[0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0]] {
        let mut client = Client::connect(context.server.address).unwrap();
        client.connection.send(frame).unwrap();
        must_close(&mut client.connection, "a short frame");
        client.reattach(context.server.address).expect("the session lives");
    }
}

fn max_buffer(context: &mut Context) {
    let server = context.another(|spec| spec.property("jute.maxbuffer", "4096"));
    for (len, is_taken) in [(4096, true), (4097, false)] {
        let mut client = Client::connect(server.address).unwrap();
        let mut out = Vec::new();
        append_raw(&mut out, 5, 11, |w| w.bytes(&vec![0; len - 8]));
        client.connection.send(&out).unwrap();
        if is_taken {
            assert_eq!(client.reply().unwrap().expect("a reply").header.err, 0);
        } else {
            must_close(&mut client.connection, "a frame above jute.maxbuffer");
        }
    }
}

fn half_handshakes(context: &mut Context) {
    for len in [0, 4, 12, 16, 24, 27, 30, 43] {
        let mut connection = Connection::open(context.server.address).unwrap();
        let mut out = i32::try_from(len).unwrap().to_be_bytes().to_vec();
        let mut body = vec![0; len];
        if len > 27 {
            body[27] = 16; // a password that is not all there
        }
        out.extend(body);
        connection.send(&out).unwrap();
        must_close(&mut connection, &format!("a connect request of {len} bytes"));
    }
    context.still_serves();
}

fn byte_by_byte(context: &mut Context) {
    let mut connection = Connection::open(context.server.address).unwrap();
    let mut out = Vec::new();
    ringkeeper::wire::frame::write(&mut out, |out| {
        new_session(9000).encode(&mut ringkeeper::wire::Writer::new(out));
    });
    append(&mut out, 1, &create("/loris", b"", 0));
    for byte in out {
        connection.send(&[byte]).unwrap();
    }
    assert_eq!(connection.frame().unwrap().expect("a connect response").len(), 37);
    let reply = connection.frame().unwrap().expect("a reply");
    assert_eq!(reply[12..16], [0; 4]);
}

fn eager_client(context: &mut Context) {
    let mut connection = Connection::open(context.server.address).unwrap();
    let mut out = Vec::new();
    ringkeeper::wire::frame::write(&mut out, |out| {
        new_session(9000).encode(&mut ringkeeper::wire::Writer::new(out));
    });
    for xid in 1..=100 {
        append(&mut out, xid, &Request::WhoAmI);
    }
    connection.send(&out).unwrap();
    connection.frame().unwrap().expect("a connect response");
    for xid in 1..=100i32 {
        let reply = connection.frame().unwrap().expect("a reply");
        assert_eq!(reply[..4], xid.to_be_bytes());
    }
}

fn other_protocols(context: &mut Context) {
    let mut tls = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    tls.resize(517, 0x5a);
    let noise = Random::new(1).bytes(300);
    let inputs: [&[u8]; 6] = [
        &tls,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /commands HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &noise,
        &[0xff, 0xf4, 0xff, 0xfd],
    ];
    for input in inputs {
        let mut connection = Connection::open(context.server.address).unwrap();
        connection.send(input).unwrap();
        let rest = connection.rest().expect("closed");
        assert!(rest.is_empty(), "{input:?} was answered with {rest:?}");
    }
    context.still_serves();
}

/// The idle time before a handshake is set to 1 s; Java rounds it up to a bucket of the same size.
fn silent_connection(context: &mut Context) {
    let mut silent = Connection::open(context.server.address).unwrap();
    let mut stuck = Connection::open(context.server.address).unwrap();
    stuck.send(&[0, 0, 0, 45, 0, 0]).unwrap();
    for connection in [&mut silent, &mut stuck] {
        connection.stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        must_close(connection, "silence");
    }
}

fn cut_words(context: &mut Context) {
    let silent = [b"ru".as_slice(), b"stmk", b"stmk\0\0\0\0\0\0\0"];
    let mut connections = silent.map(|bytes| {
        let mut connection = Connection::open(context.server.address).unwrap();
        connection.stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        connection.send(bytes).unwrap();
        connection
    });
    for (connection, bytes) in connections.iter_mut().zip(silent) {
        must_close(connection, &format!("{} and silence", bytes.escape_ascii()));
    }
    let unlisted = context.another(|spec| spec.config("4lw.commands.whitelist=ruok"));
    let text = unlisted.word("stmk").expect("an answer without the eight bytes");
    assert_eq!(text, "stmk is not executed because it is not in the whitelist.\n");
    assert_eq!(unlisted.word("ruok").unwrap(), "imok");
}

/// One client sends whole pings, byte by byte; the other a request that never ends.
fn pieces(context: &mut Context) {
    let settings = ["tickTime=200", "minSessionTimeout=1000"];
    let server = context.another(|spec| settings.iter().fold(spec, |spec, line| spec.config(line)));
    let open = || {
        let mut connection = Connection::open(server.address).unwrap();
        assert!(connection.handshake(&new_session(3000)).unwrap().is_some());
        connection
    };
    let mut ping = Vec::new();
    append(&mut ping, -2, &Request::Ping);
    let (mut whole, mut endless) = (open(), open());
    endless.send(&1_000_000_i32.to_be_bytes()).unwrap();
    endless.stream.set_nonblocking(true).unwrap();
    let mut turn = 0;
    let is_over = wait_for_every(Duration::from_millis(20), Duration::from_secs(20), || {
        whole.send(&ping[turn % ping.len()..][..1]).unwrap();
        turn += 1;
        endless.send(b"x").is_err() || endless.stream.read(&mut [0]).is_ok_and(|read| read == 0)
    });
    assert!(is_over, "bytes without end kept a session alive");
    // As long again, and more: the other one lives.
    let sent = turn;
    let is_alive = wait_for_every(Duration::from_millis(20), Duration::from_secs(20), || {
        whole.send(&ping[turn % ping.len()..][..1]).unwrap();
        turn += 1;
        turn > 2 * sent + ping.len()
    });
    assert!(is_alive);
    for _ in 0..turn / ping.len() {
        assert!(whole.frame().unwrap().is_some(), "whole requests keep a session alive");
    }
}

/// A learner sends them with each request: its leader must take them.
fn many_identities(context: &mut Context) {
    if !context.is_ours() {
        return; // a Java server takes any, and is closed by its leader
    }
    let mut client = Client::connect(context.server.address).unwrap();
    client.digest(&format!("{}:x", "u".repeat(700_000)));
    let second = format!("{}:x", "v".repeat(700_000));
    let auth = Request::Auth { scheme: Some("digest".into()), auth: Some(second.as_bytes()) };
    assert!(client.call(&auth).is_err(), "closed");
    let mut client = Client::connect(context.server.address).unwrap();
    for number in 0..60 {
        client.digest(&format!("user{number}:x"));
    }
}

fn unknown_opcodes(context: &mut Context) {
    let mut opcodes = vec![0, 10, 13, -1, 23, 50, 99, 108, 1000, -12, i32::MAX, i32::MIN];
    if context.is_ours() {
        opcodes.extend([-10, 20]); // Java lets clients use these two of its own
    }
    for op in opcodes {
        let mut client = Client::connect(context.server.address).unwrap();
        let mut out = Vec::new();
        append_raw(&mut out, 7, op, |w| w.string("/x"));
        client.connection.send(&out).unwrap();
        let reply = client.reply().unwrap().unwrap_or_else(|| panic!("opcode {op}: no reply"));
        let header = reply.header;
        assert_eq!((header.xid.0, header.zxid.0, header.err), (7, -1, -6), "opcode {op}");
        must_close(&mut client.connection, "an unknown opcode");
        client.reattach(context.server.address).expect("the session lives");
    }
}

fn bounded_log(context: &mut Context) {
    let before = std::fs::metadata(context.server.log_path()).unwrap().len();
    let mut random = Random::new(2);
    for _ in 0..1000 {
        let mut connection = Connection::open(context.server.address).unwrap();
        connection.send(&[0xff; 4]).unwrap();
        must_close(&mut connection, "a negative length");
    }
    for _ in 0..200 {
        let mut client = Client::connect(context.server.address).unwrap();
        for _ in 0..20 {
            let len = random.below(60);
            let mut out = Vec::new();
            let op = i32::try_from(random.below(23)).unwrap();
            append_raw(&mut out, 1, op, |w| w.bytes(&vec![0xee; len]));
            if client.connection.send(&out).is_err() {
                break;
            }
        }
        client.connection.shutdown();
    }
    context.still_serves();
    let written = std::fs::metadata(context.server.log_path()).unwrap().len() - before;
    if context.is_ours() {
        assert!(written < 100_000, "{written} bytes of log for 1,200 bad connections");
    }
}
