//! One TCP connection to a server, and the handshake that puts a session on it.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::ops::Deref;
use std::time::Duration;

use ringkeeper::ids::{SessionId, Xid, Zxid};
use ringkeeper::limits::FRAME_BYTES_MAX_CEILING;
use ringkeeper::wire::client::{ConnectRequest, ConnectResponse, PASSWORD_BYTES, ReplyHeader};
use ringkeeper::wire::request::Request;
use ringkeeper::wire::{DecodeError, Reader, Writer, frame};
use tokio_uring::buf::BoundedBuf as _;
use tokio_uring::net::TcpStream;

use super::template;

/// The largest reply taken: servers do not bound the listing of a folder.
pub(crate) const REPLY_BYTES_MAX: u32 = FRAME_BYTES_MAX_CEILING;

/// A socket that is shut down when dropped.
///
/// A read in flight keeps the descriptor open; without the shutdown it would do so for ever.
#[derive(Debug)]
pub(crate) struct Stream(Socket);

struct Socket(TcpStream);

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TcpStream")
    }
}

impl Deref for Stream {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.0.0
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // An error says that the peer was faster.
        drop(self.shutdown(Shutdown::Both));
    }
}

/// What proves that a session is ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credentials {
    pub(crate) session: SessionId,
    pub(crate) password: [u8; PASSWORD_BYTES],
    /// The highest zxid seen: a server that is behind must not take us.
    pub(crate) last_zxid: Zxid,
}

impl Credentials {
    /// Of one who wants a new session.
    pub(crate) const NEW: Self =
        Self { session: SessionId::NONE, password: [0; PASSWORD_BYTES], last_zxid: Zxid::ZERO };
}

/// Why there is no session on a connection.
#[derive(Debug)]
pub(crate) enum ConnectFault {
    Io(io::Error),
    /// Closed without an answer: too many connections, a server that is behind, one not serving.
    Closed,
    Malformed(DecodeError),
    /// The server says that the session is gone.
    Expired,
    TimedOut,
}

impl fmt::Display for ConnectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Closed => f.write_str(
                "the server closed the connection without an answer (maxClientCnxns? not serving?)",
            ),
            Self::Malformed(error) => write!(f, "not a connect response: {error}"),
            Self::Expired => f.write_str("the session has expired"),
            Self::TimedOut => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for ConnectFault {}

impl From<io::Error> for ConnectFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Connects and shakes hands; `credentials` are then those of the session.
pub(crate) async fn open(
    server: SocketAddr,
    credentials: &mut Credentials,
    session_timeout_ms: i32,
) -> Result<Stream, ConnectFault> {
    let stream = Stream(Socket(TcpStream::connect(server).await?));
    stream.set_nodelay(true)?;
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: credentials.last_zxid,
        timeout_ms: session_timeout_ms,
        session: credentials.session,
        password: Some(&credentials.password),
        read_only: Some(false),
    };
    let mut out = Vec::with_capacity(64);
    frame::write(&mut out, |out| request.encode(&mut Writer::new(out)));
    stream.write_all(out).await.0?;
    let mut input = Vec::new();
    let body = receive(&stream, &mut input).await?;
    let response = ConnectResponse::decode(body).map_err(ConnectFault::Malformed)?;
    if response.timeout_ms <= 0 {
        return Err(ConnectFault::Expired);
    }
    credentials.session = response.session;
    credentials.password = response.password;
    Ok(stream)
}

/// One frame, when nothing can follow it.
async fn receive<'a>(stream: &Stream, input: &'a mut Vec<u8>) -> Result<&'a [u8], ConnectFault> {
    let whole = loop {
        match frame::length(input, REPLY_BYTES_MAX) {
            Ok(Some(len)) if input.len() >= frame::LENGTH_BYTES + len => break len,
            Ok(_) => {}
            Err(_) => return Err(ConnectFault::Malformed(DecodeError::Null)),
        }
        if read_more(stream, input).await? == 0 {
            return Err(ConnectFault::Closed);
        }
    };
    Ok(&input[frame::LENGTH_BYTES..frame::LENGTH_BYTES + whole])
}

/// Appends what there is to `input`; 0 says that the peer has closed.
pub(crate) async fn read_more(stream: &Stream, input: &mut Vec<u8>) -> io::Result<usize> {
    let mut taken = std::mem::take(input);
    taken.reserve(256);
    let len = taken.len();
    let (read, slice) = stream.read(taken.slice(len..)).await;
    *input = slice.into_inner();
    read
}

/// Closes the session and waits until the server has done so.
pub(crate) async fn close(stream: &Stream) -> Result<(), ConnectFault> {
    let mut out = Vec::with_capacity(64);
    template::append(&mut out, Xid(i32::MAX), &Request::CloseSession);
    stream.write_all(out).await.0?;
    let mut input = Vec::new();
    let body = receive(stream, &mut input).await?;
    ReplyHeader::decode(&mut Reader::new(body)).map_err(ConnectFault::Malformed)?;
    Ok(())
}

/// What the server calls itself (`srvr`'s first line); `None` if it does not tell.
pub(crate) async fn version(server: SocketAddr, timeout: Duration) -> Option<String> {
    let asking = async {
        let stream = Stream(Socket(TcpStream::connect(server).await.ok()?));
        stream.write_all(b"srvr".to_vec()).await.0.ok()?;
        let mut input = Vec::new();
        while !input.contains(&b'\n') && input.len() < 1024 {
            if read_more(&stream, &mut input).await.ok()? == 0 {
                break;
            }
        }
        let text = String::from_utf8_lossy(&input);
        let version = text.lines().next()?.strip_prefix("Zookeeper version: ")?;
        Some(version.split(',').next()?.to_owned())
    };
    tokio::time::timeout(timeout, asking).await.ok().flatten()
}
