//! One request as bytes, so that nonsense can be said as well as sense.

use std::fmt::Write as _;

use ringkeeper::wire::request::Request;
use ringkeeper::wire::{OpCode, Reader, Writer};

use crate::support::client::append_raw;

/// A request, the same for both servers but for zxids in it.
#[derive(Clone, Debug)]
pub struct Op {
    pub xid: i32,
    pub code: i32,
    pub body: Vec<u8>,
    /// The body starts with a zxid that is relative to the start of the run.
    pub relative: bool,
    /// The connection may end with it, or its reply may overtake others: it is sent alone.
    pub alone: bool,
    /// Nothing may follow it before its reply. COMPAT: Java checks a request behind a setACL that
    /// is still in flight by the old ACL or the new one, as it happens (`ChangeRecord` keeps the
    /// old ACL).
    pub last: bool,
}

impl Op {
    pub fn new(request: &Request<'_>) -> Self {
        let code = request.op();
        let mut body = Vec::new();
        request.encode(&mut Writer::new(&mut body));
        let alone = matches!(code, OpCode::Auth | OpCode::Sasl | OpCode::CloseSession);
        Self {
            xid: 0,
            code: code.to_wire(),
            body,
            relative: false,
            alone,
            last: code == OpCode::SetAcl,
        }
    }

    pub const fn raw(code: i32, body: Vec<u8>) -> Self {
        Self { xid: 0, code, body, relative: false, alone: false, last: false }
    }

    #[must_use]
    pub const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Appends its frame as the server whose run began at zxid `base` should get it.
    pub fn append(&self, base: i64, out: &mut Vec<u8>) {
        append_raw(out, self.xid, self.code, |w| match self.body.split_first_chunk::<8>() {
            Some((zxid, rest)) if self.relative => {
                w.i64(i64::from_be_bytes(*zxid).wrapping_add(base));
                w.bytes(rest);
            }
            _ => w.bytes(&self.body),
        });
    }

    /// For a person who has to find the bug.
    pub fn describe(&self) -> String {
        let decoded = OpCode::from_wire(self.code)
            .map(|op| (op, Request::decode(op, &mut Reader::new(&self.body))));
        let mut text = format!("xid {} ", self.xid);
        let _ = match decoded {
            None => write!(text, "opcode {}", self.code),
            Some((op, Ok(request))) => write!(text, "{op:?} {request:?}"),
            Some((op, Err(err))) => write!(text, "{op:?} (undecodable: {err})"),
        };
        if text.len() > 1500 {
            text.truncate((0..1500).rfind(|at| text.is_char_boundary(*at)).unwrap_or(0));
            text.push('…');
        }
        if self.body.len() <= 256 {
            let _ = write!(text, " | {}", hex(&self.body));
        }
        text
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
