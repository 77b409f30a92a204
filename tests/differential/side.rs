//! One of the two servers: its process if it is ours to run, its connections, what it said.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ringkeeper::clock;
use ringkeeper::ids::{SessionId, Xid};
use ringkeeper::wire::client::{ConnectRequest, ConnectResponse, ReplyHeader};
use ringkeeper::wire::{Reader, Writer, frame};

use crate::canon::{Names, Said, named};
use crate::op::{Op, hex};
use crate::support::client::{Connection, is_closed, new_session};
use crate::support::process::copy_tree;
use crate::support::{Server, ServerSpec};

/// How long a server may take to close a connection it has no more use for.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(5);

/// One client's place: a session, and its connection while it has one.
#[derive(Debug, Default)]
pub struct Slot {
    pub connection: Option<Connection>,
    pub session: i64,
    pub password: [u8; 16],
}

/// What to put into a connect request besides what the slot knows.
#[derive(Clone, Debug)]
pub struct Hello {
    pub timeout_ms: i32,
    /// 0 asks for a new session; else the slot's own, or one that never was.
    pub session: Whose,
    pub right_password: bool,
    pub read_only: Option<bool>,
    /// Relative to the last zxid of the run.
    pub seen: Option<i64>,
    pub protocol: i32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    New,
    Own,
    Nobody,
}

impl Hello {
    pub const fn new(session: Whose) -> Self {
        Self {
            timeout_ms: 30_000,
            session,
            right_password: true,
            read_only: Some(false),
            seen: None,
            protocol: 0,
        }
    }
}

/// A server and the conversation with it.
#[derive(Debug)]
pub struct Side {
    pub name: String,
    pub address: SocketAddr,
    pub server: Option<Server>,
    pub names: Names,
    pub slots: Vec<Slot>,
    /// The highest zxid any reply carried.
    pub last_zxid: i64,
    /// Wall clock before the server started, ms.
    pub started: i64,
    out: Vec<u8>,
}

impl Side {
    /// `target`: an address, or the name of a server to start in `dir`.
    pub fn start(target: &str, spec: ServerSpec, dir: &Path) -> io::Result<Self> {
        let started = clock::wall().0 - 2000;
        let (server, address) = if let Ok(address) = target.parse() {
            (None, address)
        } else {
            let server = Server::start(spec, dir)?;
            let address = server.address;
            (Some(server), address)
        };
        Ok(Self {
            name: target.to_owned(),
            address,
            server,
            names: Names::default(),
            slots: Vec::new(),
            last_zxid: 0,
            started,
            out: Vec::new(),
        })
    }

    /// Has the other's files, and with them its sessions and its zxids, in place of its own.
    pub fn take_over(&mut self, giver: &Self) -> io::Result<()> {
        let (Some(server), Some(other)) = (&self.server, &giver.server) else { return Ok(()) };
        fs::remove_dir_all(&server.data)?;
        copy_tree(&other.data, &server.data)?;
        self.names = giver.names.clone();
        self.last_zxid = giver.last_zxid;
        for (slot, given) in self.slots.iter_mut().zip(&giver.slots) {
            (slot.session, slot.password) = (given.session, given.password);
        }
        Ok(())
    }

    /// Every replayed txn was compared with the digest that the log has of it.
    pub fn no_digest_mismatch(&self) -> Result<(), String> {
        let Some(server) = &self.server else { return Ok(()) };
        let text = server.word("mntr").map_err(|err| format!("mntr of {}: {err}", self.name))?;
        let line = text.lines().find(|line| line.starts_with("zk_digest_mismatches_count"));
        match line.and_then(|line| line.split('\t').nth(1)) {
            Some("0") => Ok(()),
            _ => Err(format!("digests of {} after a restart: {line:?}", self.name)),
        }
    }

    /// Connects the slot as `hello` says; `behind` follows in the same packet.
    pub fn connect(&mut self, at: usize, hello: &Hello, behind: &[Op]) -> Said {
        self.try_connect(at, hello, behind).unwrap_or(Said::Nothing)
    }

    fn try_connect(&mut self, at: usize, hello: &Hello, behind: &[Op]) -> io::Result<Said> {
        let slot = &self.slots[at];
        let mut password = slot.password;
        if !hello.right_password {
            password[3] ^= 1;
        }
        let session = match hello.session {
            Whose::New => SessionId::NONE,
            Whose::Own => SessionId(slot.session),
            Whose::Nobody => SessionId(0x7777_0000_1234),
        };
        let request = ConnectRequest {
            protocol_version: hello.protocol,
            last_zxid_seen: ringkeeper::ids::Zxid(
                hello.seen.map_or(0, |ahead| self.last_zxid + ahead),
            ),
            session,
            password: Some(&password),
            read_only: hello.read_only,
            ..new_session(hello.timeout_ms)
        };
        let mut connection = Connection::open(self.address)?;
        self.out.clear();
        frame::write(&mut self.out, |out| request.encode(&mut Writer::new(out)));
        for op in behind {
            op.append(self.names.base, &mut self.out);
        }
        match connection.send(&self.out) {
            Err(err) if is_closed(&err) => return Ok(Said::Closed),
            other => other?,
        }
        let Some(frame) = connection.frame()? else { return Ok(Said::Closed) };
        let said = self.names.connected(&frame);
        match ConnectResponse::decode(&frame) {
            Ok(response) if response.timeout_ms != 0 => {
                let slot = &mut self.slots[at];
                slot.session = response.session.0;
                slot.password = response.password;
                slot.connection = Some(connection);
                Ok(said)
            }
            _ => match connection.frame()? {
                None => Ok(Said::Connected(format!("{}, then closed", said.text()))),
                Some(frame) => Ok(Said::Connected(format!("{}, {}", said.text(), hex(&frame)))),
            },
        }
    }

    /// Sends a burst; the answers are read by [`Self::listen`].
    pub fn send(&mut self, at: usize, ops: &[Op]) {
        self.out.clear();
        for op in ops {
            op.append(self.names.base, &mut self.out);
        }
        if let Some(connection) = &mut self.slots[at].connection {
            let _ = connection.send(&self.out); // a closed connection shows when it is read
        }
    }

    /// Reads the replies to `ops` and what comes between them, until each has its reply or the
    /// server has closed. Paths that were created go to `saw`.
    pub fn listen(&mut self, at: usize, ops: &[Op], saw: &mut Vec<String>) -> Vec<Said> {
        let mut said = Vec::with_capacity(ops.len());
        let mut answered = 0;
        while answered < ops.len() {
            let heard = self.hear(at, ops.get(answered), saw);
            answered += usize::from(matches!(heard, Said::Reply { .. }));
            let end = matches!(heard, Said::Closed | Said::Nothing);
            said.push(heard);
            if end {
                break;
            }
        }
        if ops.len() == 1 && ends(&ops[0], said.last()) {
            said.push(self.hear(at, None, saw));
        }
        self.names.settle(&mut said);
        said
    }

    /// Waits for the close of a connection; whatever comes before it is told too.
    pub fn farewell(&mut self, at: usize) -> Vec<Said> {
        let mut said = Vec::new();
        if let Some(connection) = &self.slots[at].connection {
            let _ = connection.stream.set_read_timeout(Some(FAREWELL_PATIENCE));
        }
        while self.slots[at].connection.is_some() {
            said.push(self.hear(at, None, &mut Vec::new()));
        }
        self.names.settle(&mut said);
        said
    }

    fn hear(&mut self, at: usize, op: Option<&Op>, saw: &mut Vec<String>) -> Said {
        let Some(connection) = &mut self.slots[at].connection else { return Said::Closed };
        let frame = match connection.frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                self.slots[at].connection = None;
                return Said::Closed;
            }
            Err(_) => {
                self.slots[at].connection = None;
                return Said::Nothing;
            }
        };
        let mut r = Reader::new(&frame);
        let Ok(header) = ReplyHeader::decode(&mut r) else {
            return Said::Connected(format!("a frame of {} bytes", frame.len()));
        };
        if header.xid == Xid::NOTIFICATION {
            return self.names.event(&header, r.rest());
        }
        self.last_zxid = self.last_zxid.max(header.zxid.0);
        if let Some(op) = op {
            if op.code == -11 {
                self.names.closes.insert(header.zxid.0);
            }
            saw.extend(named(op, &header, r.rest()));
        }
        self.names.reply(op, &header, r.rest())
    }
}

/// Whether the server closes after this reply.
fn ends(op: &Op, reply: Option<&Said>) -> bool {
    match reply {
        Some(Said::Reply { zxid, err, .. }) => {
            op.code == -11 || *err == -115 || (*err == -6 && *zxid == -1)
        }
        _ => false,
    }
}
