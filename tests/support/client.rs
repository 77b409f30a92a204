//! A client of the bare protocol: it sends what it is told, also nonsense, and shows every frame.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use ringkeeper::ids::{SessionId, Xid, Zxid};
use ringkeeper::wire::client::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};
use ringkeeper::wire::request::{Create, Read as ReadRequest, Request};
use ringkeeper::wire::{Acl, OpCode, Reader, Writer, frame};

/// How long a reply may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

const REPLY_BYTES_MAX: u32 = 64 << 20;

/// A TCP connection that speaks frames.
#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    input: Vec<u8>,
    start: usize,
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_within(address, PATIENCE)
    }

    /// Waits no longer than `patience` for the connection, and then for each read and write.
    pub fn open_within(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream, input: Vec::new(), start: 0 })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next frame's body; `None` when the server has closed, be it by FIN or by RST.
    pub fn frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let split = frame::split(&self.input[self.start..], REPLY_BYTES_MAX);
            if let Some((body, _)) = split.map_err(io::Error::other)? {
                let body = body.to_vec();
                self.start += frame::LENGTH_BYTES + body.len();
                return Ok(Some(body));
            }
            self.input.drain(..self.start);
            self.start = 0;
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => Ok(false),
            Ok(read) => {
                self.input.extend_from_slice(&chunk[..read]);
                Ok(true)
            }
            Err(err) if is_closed(&err) => Ok(false),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(err) => Err(err),
        }
    }

    /// Everything until the server closes, unframed.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        self.input.drain(..self.start);
        self.start = 0;
        while self.fill()? {}
        Ok(std::mem::take(&mut self.input))
    }

    pub fn shutdown(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Sends a connect request and waits for the answer; `None` if the server just closes.
    pub fn handshake(&mut self, request: &ConnectRequest<'_>) -> io::Result<Option<Vec<u8>>> {
        let mut out = Vec::new();
        frame::write(&mut out, |out| request.encode(&mut Writer::new(out)));
        match self.send(&out) {
            Err(err) if is_closed(&err) => return Ok(None),
            other => other?,
        }
        self.frame()
    }
}

/// Whether an I/O error means no more than "the peer closed".
pub fn is_closed(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
    )
}

/// A connect request for a new session.
pub const fn new_session(timeout_ms: i32) -> ConnectRequest<'static> {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms,
        session: SessionId::NONE,
        password: Some(&[0; 16]),
        read_only: Some(false),
    }
}

/// Appends the frame of a request.
pub fn append(out: &mut Vec<u8>, xid: i32, request: &Request<'_>) {
    append_raw(out, xid, request.op().to_wire(), |w| request.encode(w));
}

/// Appends a frame with any opcode and body.
pub fn append_raw(out: &mut Vec<u8>, xid: i32, op: i32, body: impl FnOnce(&mut Writer<'_>)) {
    frame::write(out, |out| {
        let mut w = Writer::new(out);
        RequestHeader { xid: Xid(xid), op }.encode(&mut w);
        body(&mut w);
    });
}

/// A reply: header and body.
#[derive(Clone, Debug)]
pub struct Reply {
    pub header: ReplyHeader,
    pub body: Vec<u8>,
}

/// A session over one connection, one request at a time or pipelined.
#[derive(Debug)]
pub struct Client {
    pub connection: Connection,
    pub session: SessionId,
    pub password: [u8; 16],
    pub timeout_ms: i32,
    pub xid: i32,
    /// The newest zxid that a reply carried.
    pub seen: Zxid,
    /// Events seen while waiting for replies.
    pub events: Vec<Vec<u8>>,
}

impl Client {
    /// Opens a new session.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::attach(address, &new_session(30_000))
    }

    /// Opens or re-attaches a session; an invalid one is an error.
    pub fn attach(address: SocketAddr, request: &ConnectRequest<'_>) -> io::Result<Self> {
        Self::over(Connection::open(address)?, request)
    }

    /// The same over a connection that is there; `PermissionDenied` if the session is not valid.
    pub fn over(mut connection: Connection, request: &ConnectRequest<'_>) -> io::Result<Self> {
        let frame = connection.handshake(request)?.ok_or(io::ErrorKind::ConnectionReset)?;
        let response = ConnectResponse::decode(&frame).map_err(io::Error::other)?;
        if response.timeout_ms == 0 {
            let why = "the session is not valid";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok(Self {
            connection,
            session: response.session,
            password: response.password,
            timeout_ms: response.timeout_ms,
            xid: 0,
            seen: request.last_zxid_seen,
            events: Vec::new(),
        })
    }

    /// Re-attaches this session over a new connection.
    pub fn reattach(&self, address: SocketAddr) -> io::Result<Self> {
        self.reattach_over(Connection::open(address)?)
    }

    /// The same over a connection that is there. A server that has not got as far as what this
    /// session has seen refuses it.
    pub fn reattach_over(&self, connection: Connection) -> io::Result<Self> {
        let request = ConnectRequest {
            session: self.session,
            password: Some(&self.password),
            last_zxid_seen: self.seen,
            ..new_session(self.timeout_ms)
        };
        Self::over(connection, &request)
    }

    pub const fn next_xid(&mut self) -> i32 {
        self.xid += 1;
        self.xid
    }

    /// The next reply; events are put aside. `None` when the server has closed.
    pub fn reply(&mut self) -> io::Result<Option<Reply>> {
        loop {
            let Some(frame) = self.connection.frame()? else { return Ok(None) };
            let mut r = Reader::new(&frame);
            let header = ReplyHeader::decode(&mut r).map_err(io::Error::other)?;
            if header.xid == Xid::NOTIFICATION {
                self.events.push(frame);
                continue;
            }
            self.seen = self.seen.max(header.zxid);
            return Ok(Some(Reply { header, body: r.rest().to_vec() }));
        }
    }

    /// Sends one request and waits for its reply.
    pub fn call(&mut self, request: &Request<'_>) -> io::Result<Reply> {
        let mut out = Vec::new();
        let xid = if matches!(request, Request::Ping) {
            Xid::PING.0
        } else if matches!(request, Request::Auth { .. }) {
            Xid::AUTH.0
        } else {
            self.next_xid()
        };
        append(&mut out, xid, request);
        self.connection.send(&out)?;
        let reply = self.reply()?.ok_or(io::ErrorKind::ConnectionReset)?;
        assert_eq!(reply.header.xid.0, xid, "replies come in the order of their requests");
        Ok(reply)
    }

    /// Sends one request that must succeed.
    pub fn must(&mut self, request: &Request<'_>) -> Reply {
        let reply = self.call(request).expect("a reply");
        assert_eq!(reply.header.err, 0, "{request:?}");
        reply
    }

    pub fn create(&mut self, path: &str, data: &[u8], flags: i32) -> Reply {
        self.must(&create(path, data, flags))
    }

    /// Adds an identity.
    pub fn digest(&mut self, user_and_password: &str) {
        self.must(&Request::Auth {
            scheme: Some("digest".into()),
            auth: Some(user_and_password.as_bytes()),
        });
    }
}

/// A create open to the world.
pub fn create<'a>(path: &'a str, data: &'a [u8], flags: i32) -> Request<'a> {
    Request::Create(Create {
        op: if flags == 4 { OpCode::CreateContainer } else { OpCode::Create2 },
        path: path.into(),
        data: Some(data),
        acl: vec![Acl::anyone(31)],
        flags,
        ttl: -1,
    })
}

/// exists, getData, getChildren, getChildren2.
pub fn read(op: OpCode, path: &str, watch: bool) -> Request<'_> {
    Request::Read(ReadRequest { op, path: path.into(), watch })
}
