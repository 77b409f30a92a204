//! Captures: our requests to a real server, and a real client through a proxy that listens in.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use ringkeeper::ids::Zxid;
use ringkeeper::wire::client::ReplyHeader;
use ringkeeper::wire::request::{
    AddWatchMode, Create, Read as ReadRequest, Reconfig, Request, SetWatches, WatchKind, Watches,
};
use ringkeeper::wire::{Acl, OpCode, Reader, Writer, frame};

use crate::support::client::{Connection, append, create, new_session, read};
use crate::support::process::scratch;
use crate::support::{Server, ServerSpec};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn spec(name: &str) -> ServerSpec {
    ServerSpec::named(name)
        .config("extendedTypesEnabled=true")
        .property("zookeeper.extendedTypesEnabled", "true")
}

/// Writes all captures into `tests/golden`.
pub fn refresh() {
    for name in ["java39", "java38"] {
        let dir = scratch("golden", false);
        let server = Server::start(spec(name), dir.path()).expect("a server");
        save(name, &ask_everything(server.address, name == "java39"));
    }
    let dir = scratch("golden", false);
    let server = Server::start(spec("java39"), dir.path()).expect("a server");
    save("shell", &listen_to_the_shell(server.address));
}

fn save(name: &str, lines: &[String]) {
    let path = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = format!(
        "# Frames with a real ZooKeeper: kind, opcode (- for none), bytes without the length.\n\
         # Made by tests/golden/refresh.\n{}\n",
        lines.join("\n")
    );
    fs::write(path, text).expect("written");
}

/// One of each request, some that fail among them.
fn requests() -> Vec<Request<'static>> {
    let path = |path: &'static str| path.into();
    let ttl = Create {
        op: OpCode::CreateTtl,
        path: path("/g/ttl"),
        data: None,
        acl: vec![Acl::anyone(31)],
        flags: 5,
        ttl: 86_400_000,
    };
    let plain = Create {
        op: OpCode::Create,
        path: path("/g"),
        data: Some(b"data"),
        acl: vec![Acl::anyone(31)],
        flags: 0,
        ttl: -1,
    };
    let mut requests = vec![
        Request::WhoAmI,
        Request::Auth { scheme: Some("digest".into()), auth: Some(b"bob:pw") },
        Request::Create(plain.clone()),
        Request::Create(plain),
        create("/g/e", b"x", 3),
        create("/g/box", b"", 4),
        Request::Create(ttl),
        read(OpCode::Exists, "/g", true),
        read(OpCode::Exists, "/none", true),
        read(OpCode::GetData, "/g", true),
        read(OpCode::GetData, "/none", true),
        read(OpCode::GetChildren, "/g", true),
        read(OpCode::GetChildren2, "/g", false),
        Request::SetData { path: path("/g"), data: Some(b"\xc3\xa9"), version: 0 },
        Request::SetData { path: path("/g"), data: None, version: 9 },
        Request::SetAcl {
            path: path("/g"),
            acl: vec![Acl { perms: 31, scheme: "auth".into(), id: "".into() }, Acl::anyone(31)],
            version: -1,
        },
        Request::GetAcl { path: path("/g") },
        Request::Sync { path: Some(path("/g")) },
        Request::Ping,
    ];
    requests.extend(later_requests());
    requests
}

/// Multis, watches, and what only newer clients ask.
fn later_requests() -> Vec<Request<'static>> {
    let path = |path: &'static str| path.into();
    let watches = |op, kind| Request::Watches(Watches { op, path: path("/g"), kind });
    let set_watches = |op| {
        Request::SetWatches(SetWatches {
            op,
            relative_zxid: Zxid(1),
            data: vec![path("/g")],
            exist: vec![path("/none")],
            child: vec![path("/")],
            persistent: vec![],
            recursive: vec![],
        })
    };
    let get = |op, path: &'static str| ReadRequest { op, path: path.into(), watch: false };
    vec![
        Request::Multi(vec![
            create("/g/m", b"", 0),
            create("/g/box2", b"", 4),
            Request::SetData { path: path("/g/m"), data: Some(b"2"), version: 0 },
            Request::Check { path: path("/g/m"), version: 1 },
            Request::Delete { path: path("/g/m"), version: -1 },
        ]),
        Request::Multi(vec![
            Request::Delete { path: path("/g/box2"), version: -1 },
            Request::Check { path: path("/g"), version: 77 },
            Request::Delete { path: path("/g/box"), version: -1 },
        ]),
        Request::Multi(vec![]),
        Request::MultiRead(vec![
            get(OpCode::GetData, "/g"),
            get(OpCode::GetChildren, "/g"),
            get(OpCode::GetData, "/none"),
        ]),
        Request::Reconfig(Reconfig {
            joining: Some("server.2=a:1:2;3".into()),
            leaving: None,
            members: None,
            config: -1,
        }),
        Request::AddWatch { path: path("/g"), mode: AddWatchMode::Recursive },
        Request::AddWatch { path: path("/g"), mode: AddWatchMode::Persistent },
        watches(OpCode::CheckWatches, WatchKind::Any),
        create("/g/seen", b"", 0),
        watches(OpCode::RemoveWatches, WatchKind::Any),
        watches(OpCode::RemoveWatches, WatchKind::Any),
        set_watches(OpCode::SetWatches),
        set_watches(OpCode::SetWatches2),
        Request::GetEphemerals { prefix: Some("/g".into()) },
        Request::GetAllChildrenNumber { path: path("/g") },
        Request::Sasl { token: Some(b"") },
        Request::Delete { path: path("/g/seen"), version: 0 },
        Request::CloseSession,
    ]
}

/// What our encoder sends and a server answers.
fn ask_everything(address: SocketAddr, with_read_only: bool) -> Vec<String> {
    let mut connection = Connection::open(address).expect("a connection");
    let mut hello = new_session(10_000);
    hello.read_only = with_read_only.then_some(false);
    let mut lines = Vec::new();
    let mut out = Vec::new();
    hello.encode(&mut Writer::new(&mut out));
    lines.push(format!("hello - {}", hex(&out)));
    let welcome = connection.handshake(&hello).expect("a handshake").expect("an answer");
    lines.push(format!("welcome - {}", hex(&welcome)));
    for (at, request) in (1..).zip(requests()) {
        let op = request.op().to_wire();
        let mut out = Vec::new();
        append(&mut out, at, &request);
        lines.push(format!("request {op} {}", hex(&out[frame::LENGTH_BYTES..])));
        connection.send(&out).expect("sent");
        loop {
            let frame = connection.frame().expect("a frame").expect("a frame");
            let header = ReplyHeader::decode(&mut Reader::new(&frame)).expect("a header");
            if header.xid.0 == -1 {
                lines.push(format!("event - {}", hex(&frame)));
                continue;
            }
            lines.push(format!("reply {op} {}", hex(&frame)));
            break;
        }
    }
    lines
}

/// What Java's own shell sends and is answered.
fn listen_to_the_shell(server: SocketAddr) -> Vec<String> {
    const COMMANDS: &str = "create /s one\nget -s -w /s\nset /s two\nls -s -w /\nstat /s\ncreate -e -s /s/e x\n\
        create -c /box\ncreate -t 100000 /ttl x\naddWatch /s\ngetAcl -s /s\naddauth digest bob:pw\n\
        setAcl -s /s auth::cdrwa\ngetEphemerals /s\ngetAllChildrenNumber /\nsync /s\nwhoami\n\
        deleteall /s\nremovewatches /s\nquit\n";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let proxy = std::thread::spawn(move || {
        let (client, _) = listener.accept().expect("the shell");
        overhear(client, TcpStream::connect(server).expect("the server"))
    });
    let script = format!("{}/tests/servers/java39", env!("CARGO_MANIFEST_DIR"));
    let mut shell = Command::new(script)
        .args(["--class", "org.apache.zookeeper.ZooKeeperMain", "-server", &address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the shell");
    shell.stdin.take().expect("a pipe").write_all(COMMANDS.as_bytes()).expect("commands");
    shell.wait().expect("the shell's end");
    proxy.join().expect("the proxy")
}

/// Passes bytes both ways until an end; returns the frames in the order they passed.
fn overhear(client: TcpStream, server: TcpStream) -> Vec<String> {
    let lines = Arc::new(Mutex::new((Vec::new(), Vec::<(i32, i32)>::new())));
    let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let asked = lines.clone();
    let up = std::thread::spawn(move || {
        let mut first = true;
        pass(from_client, to_server, |frame| {
            let (lines, pending) = &mut *asked.lock().unwrap();
            if std::mem::take(&mut first) {
                lines.push(format!("hello - {}", hex(frame)));
                return;
            }
            let mut r = Reader::new(frame);
            let (xid, op) = (r.i32().unwrap(), r.i32().unwrap());
            pending.push((xid, op));
            lines.push(format!("request {op} {}", hex(frame)));
        })
    });
    let answered = lines.clone();
    let mut first = true;
    let down = pass(server, client, |frame| {
        let (lines, pending) = &mut *answered.lock().unwrap();
        if std::mem::take(&mut first) {
            lines.push(format!("welcome - {}", hex(frame)));
            return;
        }
        let xid = Reader::new(frame).i32().unwrap();
        if xid == -1 {
            lines.push(format!("event - {}", hex(frame)));
        } else if let Some(at) = pending.iter().position(|(asked, _)| *asked == xid) {
            let (_, op) = pending.remove(at);
            lines.push(format!("reply {op} {}", hex(frame)));
        }
    });
    drop((up.join(), down));
    let (lines, _) = &mut *lines.lock().unwrap();
    std::mem::take(lines)
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut seen: impl FnMut(&[u8])) -> io::Result<()> {
    let mut input = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            let _ = to.shutdown(Shutdown::Write);
            return Ok(());
        }
        input.extend_from_slice(&chunk[..read]);
        while let Ok(Some((body, rest))) = frame::split(&input, 1 << 20) {
            seen(body);
            input = rest.to_vec();
        }
        to.write_all(&chunk[..read])?;
    }
}
