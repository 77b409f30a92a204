//! The handshake and the headers of the client protocol.
//! Source: `ConnectRequest`, `ConnectResponse`, `RequestHeader`, `ReplyHeader`, `WatcherEvent`.

use super::code::ErrorCode;
use super::jute::{DecodeError, Reader, Writer};
use crate::ids::{SessionId, Xid, Zxid};

/// Bytes of a session's password.
pub const PASSWORD_BYTES: usize = 16;

/// The first frame of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnectRequest<'a> {
    /// 0; ignored by servers.
    pub protocol_version: i32,
    /// The highest zxid the client has seen; a server that is behind must refuse it.
    pub last_zxid_seen: Zxid,
    /// Asked session timeout, ms.
    pub timeout_ms: i32,
    /// [`SessionId::NONE`] for a new session.
    pub session: SessionId,
    /// Proof that the session is the client's.
    pub password: Option<&'a [u8]>,
    /// Whether a read-only server will do; `None` from clients that know of none.
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Reads one. What follows it in the frame is ignored.
    pub fn decode(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(frame);
        Ok(Self {
            protocol_version: r.i32()?,
            last_zxid_seen: Zxid(r.i64()?),
            timeout_ms: r.i32()?,
            session: SessionId(r.i64()?),
            password: r.buffer()?,
            read_only: if r.is_empty() { None } else { Some(r.bool()?) },
        })
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.i32(self.protocol_version);
        w.i64(self.last_zxid_seen.0);
        w.i32(self.timeout_ms);
        w.i64(self.session.0);
        w.buffer(self.password);
        if let Some(read_only) = self.read_only {
            w.bool(read_only);
        }
    }
}

/// The first frame of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnectResponse {
    /// Always 0.
    pub protocol_version: i32,
    /// Negotiated session timeout, ms; 0 says that the session is not valid.
    pub timeout_ms: i32,
    /// [`SessionId::NONE`] when not valid.
    pub session: SessionId,
    /// Always 16 bytes: the C client reads it as a fixed array.
    pub password: [u8; PASSWORD_BYTES],
    /// Present only if the request carried it.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// "Your session is gone": clients take it for an expiry.
    ///
    /// `asked` is the request's read-only byte, which the answer has if the request had it.
    pub fn invalid(asked: Option<bool>) -> Self {
        Self {
            protocol_version: 0,
            timeout_ms: 0,
            session: SessionId::NONE,
            password: [0; PASSWORD_BYTES],
            read_only: asked.map(|_| false),
        }
    }

    /// Reads one.
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(frame);
        let protocol_version = r.i32()?;
        let timeout_ms = r.i32()?;
        let session = SessionId(r.i64()?);
        let bytes = r.buffer()?.ok_or(DecodeError::Null)?;
        let password = bytes
            .try_into()
            .map_err(|_| DecodeError::Truncated { needed: PASSWORD_BYTES, left: bytes.len() })?;
        let read_only = if r.is_empty() { None } else { Some(r.bool()?) };
        Ok(Self { protocol_version, timeout_ms, session, password, read_only })
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.i32(self.protocol_version);
        w.i32(self.timeout_ms);
        w.i64(self.session.0);
        w.buffer(Some(&self.password));
        if let Some(read_only) = self.read_only {
            w.bool(read_only);
        }
    }
}

/// In front of each request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestHeader {
    /// The client's number for it.
    pub xid: Xid,
    /// An [`super::OpCode`], not yet checked.
    pub op: i32,
}

impl RequestHeader {
    /// Bytes on the wire.
    pub const BYTES: usize = 8;

    /// Reads one.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { xid: Xid(r.i32()?), op: r.i32()? })
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.i32(self.xid.0);
        w.i32(self.op);
    }
}

/// In front of each reply and event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplyHeader {
    /// The request's number, or one of the special ones.
    pub xid: Xid,
    /// Of the write, or the last one applied. A client remembers the highest above 0.
    pub zxid: Zxid,
    /// [`ErrorCode::to_wire`]; 0 for success.
    pub err: i32,
}

impl ReplyHeader {
    /// Bytes on the wire.
    pub const BYTES: usize = 16;

    /// A reply that reports `code`, or success.
    pub const fn new(xid: Xid, zxid: Zxid, code: ErrorCode) -> Self {
        Self { xid, zxid, err: code.to_wire() }
    }

    /// Reads one.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { xid: Xid(r.i32()?), zxid: Zxid(r.i64()?), err: r.i32()? })
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.i32(self.xid.0);
        w.i64(self.zxid.0);
        w.i32(self.err);
    }
}

/// What a watch tells. Source: `Watcher.Event.EventType`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(i32)]
pub enum EventType {
    /// The znode came to be.
    NodeCreated = 1,
    /// The znode is gone.
    NodeDeleted = 2,
    /// Its data was set.
    NodeDataChanged = 3,
    /// A child came or went.
    NodeChildrenChanged = 4,
}

impl EventType {
    /// The one with this number on the wire.
    pub const fn from_wire(value: i32) -> Option<Self> {
        match value {
            1 => Some(Self::NodeCreated),
            2 => Some(Self::NodeDeleted),
            3 => Some(Self::NodeDataChanged),
            4 => Some(Self::NodeChildrenChanged),
            _ => None,
        }
    }
}

/// The state in every event a server sends: `SyncConnected`.
pub const EVENT_STATE: i32 = 3;

/// The body of a notification.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WatcherEvent<'a> {
    /// What happened.
    pub kind: EventType,
    /// To which znode.
    pub path: std::borrow::Cow<'a, str>,
}

impl<'a> WatcherEvent<'a> {
    /// Reads one.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let value = r.i32()?;
        let kind =
            EventType::from_wire(value).ok_or(DecodeError::Unknown { what: "event", value })?;
        r.i32()?;
        Ok(Self { kind, path: r.text()? })
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.i32(self.kind as i32);
        w.i32(EVENT_STATE);
        w.string(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_without_the_read_only_byte_are_told_apart() {
        let mut request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(5),
            timeout_ms: 10_000,
            session: SessionId::NONE,
            password: Some(&[0; 16]),
            read_only: None,
        };
        for (read_only, bytes) in [(None, 44), (Some(false), 45)] {
            request.read_only = read_only;
            let mut out = Vec::new();
            request.encode(&mut Writer::new(&mut out));
            assert_eq!(out.len(), bytes);
            assert_eq!(ConnectRequest::decode(&out), Ok(request));
        }
    }

    #[test]
    fn a_connect_response_is_36_or_37_bytes() {
        for (read_only, bytes) in [(None, 36), (Some(true), 37)] {
            let response = ConnectResponse::invalid(read_only);
            let mut out = Vec::new();
            response.encode(&mut Writer::new(&mut out));
            assert_eq!(out.len(), bytes);
            assert_eq!(ConnectResponse::decode(&out), Ok(response));
        }
    }
}
