//! `zkbench null`: a server that answers everything at once and keeps nothing.
//!
//! It costs so little that a run against it shows what the generator itself costs, and what the
//! machine's loopback can carry. One blocking thread for each connection; also the tests' server.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;

use ringkeeper::ids::{SessionId, Zxid};
use ringkeeper::limits::FRAME_BYTES_MAX_DEFAULT;
use ringkeeper::wire::client::{
    ConnectRequest, ConnectResponse, PASSWORD_BYTES, ReplyHeader, RequestHeader,
};
use ringkeeper::wire::response::Response;
use ringkeeper::wire::{ErrorCode, OpCode, Reader, Stat, Writer, frame};

use crate::Failure;
use crate::args::NullArgs;

const RECEIVE_BYTES: usize = 256 << 10;
const STACK_BYTES: usize = 64 << 10;

/// What all connections share.
#[derive(Debug, Default)]
pub(crate) struct Null {
    value: Vec<u8>,
    cut_after: Option<u64>,
    /// Requests that a connection gets answers to.
    silent_after: Option<u64>,
    sessions: AtomicI64,
    /// Sessions that were asked for again; each is told that it has expired.
    pub(crate) expired: AtomicU64,
}

impl Null {
    pub(crate) fn new(value_bytes: u32, cut_after: Option<u64>) -> Arc<Self> {
        let value = vec![b'v'; value_bytes as usize];
        Arc::new(Self { value, cut_after, ..Self::default() })
    }

    /// One that stops answering and keeps the connection.
    #[cfg(test)]
    pub(crate) fn silent_after(requests: u64) -> Arc<Self> {
        Arc::new(Self { silent_after: Some(requests), ..Self::default() })
    }

    /// Serves until the process ends.
    pub(crate) fn serve(self: &Arc<Self>, listener: &TcpListener) -> io::Result<()> {
        loop {
            let (stream, _) = listener.accept()?;
            let null = self.clone();
            let thread = thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn(move || null.converse(stream))?;
        }
    }

    /// The client going away is no error here.
    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut input = vec![0; RECEIVE_BYTES];
        let (mut len, mut answered, mut out) = (0, 0, Vec::new());
        loop {
            let read = stream.read(&mut input[len..])?;
            if read == 0 {
                return Ok(());
            }
            len += read;
            out.clear();
            let mut rest = &input[..len];
            let mut over = false;
            while !over {
                match frame::split(rest, FRAME_BYTES_MAX_DEFAULT) {
                    Ok(None) => break,
                    Ok(Some((body, after))) => {
                        over = !self.answer(body, answered, &mut out);
                        answered += 1;
                        rest = after;
                    }
                    Err(_) => over = true, // a four-letter word, or no client
                }
            }
            let left = rest.len();
            input.copy_within(len - left..len, 0);
            len = left;
            if len == input.len() {
                input.resize(len * 2, 0);
            }
            stream.write_all(&out)?;
            if over {
                return Ok(());
            }
        }
    }

    /// `false`: that was the last frame of this connection.
    fn answer(&self, body: &[u8], answered: u64, out: &mut Vec<u8>) -> bool {
        if answered == 0 {
            return self.shake_hands(body, out);
        }
        if self.silent_after.is_some_and(|silent| answered > silent) {
            return true;
        }
        let Ok(header) = RequestHeader::decode(&mut Reader::new(body)) else { return false };
        let Some(op) = OpCode::from_wire(header.op) else { return false };
        frame::write(out, |out| {
            let mut w = Writer::new(out);
            ReplyHeader::new(header.xid, Zxid(1), ErrorCode::Ok).encode(&mut w);
            self.response(op).encode(&mut w);
        });
        op != OpCode::CloseSession && self.cut_after.is_none_or(|cut| answered < cut)
    }

    fn shake_hands(&self, body: &[u8], out: &mut Vec<u8>) -> bool {
        let Ok(request) = ConnectRequest::decode(body) else { return false };
        let response = if request.session == SessionId::NONE {
            ConnectResponse {
                protocol_version: 0,
                timeout_ms: request.timeout_ms,
                session: SessionId(self.sessions.fetch_add(1, Ordering::Relaxed) + 1),
                password: [1; PASSWORD_BYTES],
                read_only: request.read_only,
            }
        } else {
            self.expired.fetch_add(1, Ordering::Relaxed);
            ConnectResponse::invalid(request.read_only)
        };
        frame::write(out, |out| response.encode(&mut Writer::new(out)));
        response.timeout_ms > 0
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are answered with nothing")]
    fn response(&self, op: OpCode) -> Response<'_> {
        match op {
            OpCode::Create => Response::Path("/".into()),
            OpCode::GetData => Response::Data(Some(&self.value), Stat::default()),
            OpCode::SetData | OpCode::Exists => Response::Stat(Stat::default()),
            OpCode::GetChildren => Response::Names(Vec::new()),
            _ => Response::Empty,
        }
    }
}

/// Runs the command.
pub(crate) fn command(args: &NullArgs) -> Result<ExitCode, Failure> {
    let listener =
        TcpListener::bind(&args.listen).map_err(|error| format!("{}: {error}", args.listen))?;
    eprintln!("zkbench: serving nothing at {}", listener.local_addr()?);
    Null::new(args.value_bytes, args.cut_after).serve(&listener)?;
    Ok(ExitCode::SUCCESS)
}
