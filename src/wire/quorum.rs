//! The quorum port: what a leader and its learners say to each other.
//!
//! Pure. A packet is a record without a length in front: kind, zxid, data, identities. So a reader
//! takes what it has, and learns from the fields how much there is to come; both length fields are
//! bounded before anything is allocated or waited for. Every packet is a variant with exactly its
//! data; fields that are always the same are not in it.
//! Source: `QuorumPacket`, `Leader`, `LearnerHandler`, `Learner`.

mod identities;

use std::fmt;
use std::sync::Arc;

pub use identities::Identities;

use bytes::Bytes;

use super::chunk::Chunk;
use super::jute::{DecodeError, Reader, Writer};
use crate::ids::{Epoch, ServerId, SessionId, Xid, Zxid};

/// The version of this protocol, in use since 3.4.
pub const PROTOCOL_VERSION: i32 = 0x1_0000;

/// A jute string that closes the stream of a snapshot, which follows [`Packet::Snap`].
pub const SNAPSHOT_SIGNATURE: &str = "BenWasHere";

/// Who a learner is.
///
/// Fields are missing at the end in what servers before 3.5, 3.4 and 3.3 send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LearnerInfo {
    /// The learner; one without an id is an observer, and gets a negative one.
    pub server: Option<ServerId>,
    /// Its protocol.
    pub protocol: Option<i32>,
    /// Its committed configuration; one that is newer than the leader's is refused.
    pub config_version: Option<i64>,
}

/// A session that was used on a learner since the last ping.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Touch {
    /// Which.
    pub session: SessionId,
    /// Its negotiated timeout.
    pub timeout_ms: i32,
}

/// A client's request on its way to the leader.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Forwarded {
    /// Whose.
    pub session: SessionId,
    /// Its number; the learner finds its client by both.
    pub cxid: Xid,
    /// An [`super::OpCode`], not yet checked.
    pub op: i32,
    /// The request's body as the client sent it, without its header.
    pub body: Bytes,
    /// The client's; `None` for a request of the learner's own.
    pub identities: Option<Identities>,
}

/// What is said on a quorum connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Packet {
    /// Learner: a client asks for a change, or for a `sync`.
    Request(Forwarded),
    /// Leader to participant: log this, and ack it.
    Proposal {
        /// The txn's.
        zxid: Zxid,
        /// Header, body and digest, as logged.
        record: Bytes,
    },
    /// Learner: my log holds this one; or, of counter 0, I have what you sent with `NewLeader`.
    Ack {
        /// One txn's, not "up to".
        zxid: Zxid,
    },
    /// Leader to participant: a quorum has it.
    Commit {
        /// Always the oldest that is not committed.
        zxid: Zxid,
    },
    /// Leader: are you there? And the answer.
    Ping {
        /// The leader's last proposal; echoed.
        zxid: Zxid,
        /// The answer's; empty is not the same as none.
        touches: Option<Vec<Touch>>,
    },
    /// Learner: a client came to me with this session.
    Revalidate(Touch),
    /// Leader: whether it lives; it is the learner's now.
    Revalidated {
        /// Which.
        session: SessionId,
        /// Whether it lives.
        is_valid: bool,
    },
    /// Leader: what was proposed before your `sync` request is committed.
    Sync,
    /// Leader to observer: a proposal that is committed.
    Inform {
        /// The txn's.
        zxid: Zxid,
        /// Header, body and digest.
        record: Bytes,
    },
    /// A commit of a new configuration.
    CommitAndActivate {
        /// The txn's.
        zxid: Zxid,
        /// Who leads from now on.
        leader: ServerId,
    },
    /// Leader: you have all of my history; make it durable, and ack.
    NewLeader {
        /// The first of the epoch, with counter 0.
        zxid: Zxid,
        /// The last configuration the leader has seen.
        config: Option<Arc<str>>,
    },
    /// The first packet of a follower.
    FollowerInfo {
        /// The last epoch it promised to accept.
        accepted: Epoch,
        /// Who it is.
        info: LearnerInfo,
    },
    /// The first packet of an observer.
    ObserverInfo {
        /// The last epoch it promised to accept.
        accepted: Epoch,
        /// Who it is.
        info: LearnerInfo,
    },
    /// Leader: serve clients.
    UpToDate,
    /// Leader: what you have is the beginning of my history; the rest follows.
    Diff {
        /// For information.
        zxid: Zxid,
    },
    /// Leader: cut your log after this one.
    Trunc {
        /// The last to keep.
        zxid: Zxid,
    },
    /// Leader: forget what you have; a snapshot stream follows this packet.
    Snap {
        /// What the snapshot holds at least.
        zxid: Zxid,
    },
    /// Leader: the epoch I open.
    LeaderInfo {
        /// Greater than any that a quorum has accepted.
        epoch: Epoch,
        /// The leader's protocol.
        protocol: i32,
    },
    /// Learner: I accept it, and this is my history.
    AckEpoch {
        /// Its end.
        last_logged: Zxid,
        /// Its epoch; `None` if the epoch had been accepted before: this answer does not count.
        current: Option<Epoch>,
    },
    /// An inform of a new configuration.
    InformAndActivate {
        /// The txn's.
        zxid: Zxid,
        /// Who leads from now on.
        leader: ServerId,
        /// Header, body and digest.
        record: Bytes,
    },
    /// A kind that nobody has defined yet: to be ignored, as Java does.
    Unknown {
        /// As read.
        kind: i32,
    },
}

/// Why bytes are no packet; the connection is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PacketError {
    /// A length that no field may have.
    Length {
        /// Which field.
        what: &'static str,
        /// As read.
        len: i32,
        /// The largest allowed.
        max: u32,
    },
    /// The data is not what the kind of packet demands.
    Data {
        /// As on the wire.
        kind: i32,
        /// What is wrong.
        error: DecodeError,
    },
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { what, len, max } => {
                write!(f, "quorum packet: length {len} of {what} is not in -1..={max}")
            }
            Self::Data { kind, error } => write!(f, "quorum packet of type {kind}: {error}"),
        }
    }
}

impl std::error::Error for PacketError {}

mod kind {
    pub(super) const REQUEST: i32 = 1;
    pub(super) const PROPOSAL: i32 = 2;
    pub(super) const ACK: i32 = 3;
    pub(super) const COMMIT: i32 = 4;
    pub(super) const PING: i32 = 5;
    pub(super) const REVALIDATE: i32 = 6;
    pub(super) const SYNC: i32 = 7;
    pub(super) const INFORM: i32 = 8;
    pub(super) const COMMIT_AND_ACTIVATE: i32 = 9;
    pub(super) const NEW_LEADER: i32 = 10;
    pub(super) const FOLLOWER_INFO: i32 = 11;
    pub(super) const UP_TO_DATE: i32 = 12;
    pub(super) const DIFF: i32 = 13;
    pub(super) const TRUNC: i32 = 14;
    pub(super) const SNAP: i32 = 15;
    pub(super) const OBSERVER_INFO: i32 = 16;
    pub(super) const LEADER_INFO: i32 = 17;
    pub(super) const ACK_EPOCH: i32 = 18;
    pub(super) const INFORM_AND_ACTIVATE: i32 = 19;
}

/// The zxid of a packet that has none.
const NO_ZXID: Zxid = Zxid(-1);

impl LearnerInfo {
    const BYTES_MIN: usize = 8;

    fn decode(data: Option<&[u8]>) -> Result<Self, DecodeError> {
        let Some(data) = data else {
            return Ok(Self { server: None, protocol: None, config_version: None });
        };
        let mut r = Reader::new(data);
        let server = Some(ServerId(r.i64()?));
        let protocol = if data.len() >= Self::BYTES_MIN + 4 { Some(r.i32()?) } else { None };
        let config_version = if data.len() >= Self::BYTES_MIN + 12 { Some(r.i64()?) } else { None };
        Ok(Self { server, protocol, config_version })
    }

    /// A field after one that is missing has no place, and is not written.
    fn encode(&self, w: &mut Writer<'_>) {
        let Some(server) = self.server else { return w.buffer(None) };
        let mut data = Vec::with_capacity(20);
        let mut inner = Writer::new(&mut data);
        inner.i64(server.0);
        if let Some(protocol) = self.protocol {
            inner.i32(protocol);
            if let Some(version) = self.config_version {
                inner.i64(version);
            }
        }
        w.buffer(Some(&data));
    }
}

impl Touch {
    /// On the wire.
    pub const BYTES: usize = 12;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { session: SessionId(r.i64()?), timeout_ms: r.i32()? })
    }

    fn encode(&self, w: &mut Writer<'_>) {
        w.i64(self.session.0);
        w.i32(self.timeout_ms);
    }
}

/// A packet's fields before its kind is looked at.
struct Fields<'a> {
    kind: i32,
    zxid: Zxid,
    data: Option<&'a [u8]>,
    identities: Option<Identities>,
}

/// Why fields end early.
enum Stop {
    Incomplete,
    Wrong(PacketError),
}

impl<'a> Fields<'a> {
    fn decode(r: &mut Reader<'a>, max: u32, chunk: &mut Chunk) -> Result<Self, Stop> {
        let kind = r.i32().map_err(|_| Stop::Incomplete)?;
        let zxid = Zxid(r.i64().map_err(|_| Stop::Incomplete)?);
        Ok(Self {
            kind,
            zxid,
            data: bounded(r, "data", max)?,
            identities: Identities::read(r, max, chunk)?,
        })
    }
}

/// A buffer of at most `max` bytes.
fn bounded<'a>(r: &mut Reader<'a>, what: &'static str, max: u32) -> Result<Option<&'a [u8]>, Stop> {
    let len = r.i32().map_err(|_| Stop::Incomplete)?;
    match u32::try_from(len) {
        Ok(bytes) if bytes <= max => {
            r.bytes(bytes as usize).map(Some).map_err(|_| Stop::Incomplete)
        }
        Err(_) if len == -1 => Ok(None),
        _ => Err(Stop::Wrong(PacketError::Length { what, len, max })),
    }
}

impl Forwarded {
    /// How much memory it takes, about.
    pub fn bytes(&self) -> usize {
        let identities = self.identities.as_ref().map_or(0, Identities::len);
        size_of::<Self>() + self.body.len() + identities
    }
}

impl Packet {
    /// The packet at the head of `input` and what follows it; `None` until all of it is there.
    ///
    /// `max` bounds the data, and the identities: jute's limit between members, far less before a
    /// peer has said who it is ([`crate::limits::QUORUM_PACKET_BYTES_MAX_STRANGER`]).
    ///
    /// Records, bodies and identities are copied into `chunk`.
    ///
    /// # Errors
    /// [`PacketError`]; a length is refused as soon as it is there.
    pub fn decode<'i>(
        input: &'i [u8],
        max: u32,
        chunk: &mut Chunk,
    ) -> Result<Option<(Self, &'i [u8])>, PacketError> {
        let mut r = Reader::new(input);
        let fields = match Fields::decode(&mut r, max, chunk) {
            Ok(fields) => fields,
            Err(Stop::Incomplete) => return Ok(None),
            Err(Stop::Wrong(error)) => return Err(error),
        };
        let kind = fields.kind;
        match Self::from_fields(fields, chunk) {
            Ok(packet) => Ok(Some((packet, r.rest()))),
            Err(error) => Err(PacketError::Data { kind, error }),
        }
    }

    /// Whether it is what a learner begins with.
    pub const fn introduces(&self) -> bool {
        matches!(self, Self::FollowerInfo { .. } | Self::ObserverInfo { .. })
    }

    /// Whether the raw bytes of a snapshot follow it.
    pub const fn opens_stream(&self) -> bool {
        matches!(self, Self::Snap { .. })
    }

    fn from_fields(fields: Fields<'_>, chunk: &mut Chunk) -> Result<Self, DecodeError> {
        let Fields { kind, zxid, data, identities } = fields;
        let mut r = Reader::new(data.unwrap_or_default());
        Ok(match kind {
            kind::REQUEST => Self::Request(Forwarded {
                session: SessionId(r.i64()?),
                cxid: Xid(r.i32()?),
                op: r.i32()?,
                body: chunk.put(r.rest()),
                identities,
            }),
            kind::PROPOSAL => Self::Proposal { zxid, record: record(data, chunk)? },
            kind::ACK => Self::Ack { zxid },
            kind::COMMIT => Self::Commit { zxid },
            kind::PING => Self::Ping { zxid, touches: touches(data)? },
            kind::REVALIDATE => revalidate(&mut r)?,
            kind::SYNC => Self::Sync,
            kind::INFORM => Self::Inform { zxid, record: record(data, chunk)? },
            kind::COMMIT_AND_ACTIVATE => {
                Self::CommitAndActivate { zxid, leader: ServerId(r.i64()?) }
            }
            kind::NEW_LEADER => {
                let config = data.map(|data| String::from_utf8_lossy(data).into());
                Self::NewLeader { zxid, config }
            }
            kind::FOLLOWER_INFO => {
                Self::FollowerInfo { accepted: zxid.epoch(), info: LearnerInfo::decode(data)? }
            }
            kind::UP_TO_DATE => Self::UpToDate,
            kind::DIFF => Self::Diff { zxid },
            kind::TRUNC => Self::Trunc { zxid },
            kind::SNAP => Self::Snap { zxid },
            kind::OBSERVER_INFO => {
                Self::ObserverInfo { accepted: zxid.epoch(), info: LearnerInfo::decode(data)? }
            }
            kind::LEADER_INFO => Self::LeaderInfo { epoch: zxid.epoch(), protocol: r.i32()? },
            kind::ACK_EPOCH => Self::AckEpoch {
                last_logged: zxid,
                current: Some(r.i32()?)
                    .filter(|epoch| *epoch != -1)
                    .map(|epoch| Epoch(epoch.into())),
            },
            kind::INFORM_AND_ACTIVATE => Self::InformAndActivate {
                zxid,
                leader: ServerId(r.i64()?),
                record: chunk.put(r.rest()),
            },
            kind => Self::Unknown { kind },
        })
    }

    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, zxid) = self.head();
        let mut w = Writer::new(out);
        w.i32(kind);
        w.i64(zxid.0);
        self.encode_data(&mut w);
        if let Self::Request(Forwarded { identities: Some(identities), .. }) = self {
            identities.write(&mut w);
        } else {
            w.i32(-1);
        }
    }

    fn head(&self) -> (i32, Zxid) {
        match *self {
            Self::Request(_) => (kind::REQUEST, NO_ZXID),
            Self::Proposal { zxid, .. } => (kind::PROPOSAL, zxid),
            Self::Ack { zxid } => (kind::ACK, zxid),
            Self::Commit { zxid } => (kind::COMMIT, zxid),
            Self::Ping { zxid, .. } => (kind::PING, zxid),
            Self::Revalidate(_) | Self::Revalidated { .. } => (kind::REVALIDATE, NO_ZXID),
            Self::Sync => (kind::SYNC, Zxid::ZERO),
            Self::Inform { zxid, .. } => (kind::INFORM, zxid),
            Self::CommitAndActivate { zxid, .. } => (kind::COMMIT_AND_ACTIVATE, zxid),
            Self::NewLeader { zxid, .. } => (kind::NEW_LEADER, zxid),
            Self::FollowerInfo { accepted, .. } => (kind::FOLLOWER_INFO, Zxid::new(accepted, 0)),
            Self::UpToDate => (kind::UP_TO_DATE, NO_ZXID),
            Self::Diff { zxid } => (kind::DIFF, zxid),
            Self::Trunc { zxid } => (kind::TRUNC, zxid),
            Self::Snap { zxid } => (kind::SNAP, zxid),
            Self::ObserverInfo { accepted, .. } => (kind::OBSERVER_INFO, Zxid::new(accepted, 0)),
            Self::LeaderInfo { epoch, .. } => (kind::LEADER_INFO, Zxid::new(epoch, 0)),
            Self::AckEpoch { last_logged, .. } => (kind::ACK_EPOCH, last_logged),
            Self::InformAndActivate { zxid, .. } => (kind::INFORM_AND_ACTIVATE, zxid),
            Self::Unknown { kind } => (kind, NO_ZXID),
        }
    }

    fn encode_data(&self, w: &mut Writer<'_>) {
        match self {
            Self::Request(request) => {
                w.count(8 + 4 + 4 + request.body.len());
                w.i64(request.session.0);
                w.i32(request.cxid.0);
                w.i32(request.op);
                w.bytes(&request.body);
            }
            Self::Proposal { record, .. } | Self::Inform { record, .. } => w.buffer(Some(record)),
            Self::Ping { touches: Some(touches), .. } => {
                w.count(touches.len() * Touch::BYTES);
                for touch in touches {
                    touch.encode(w);
                }
            }
            Self::Revalidate(touch) => {
                w.count(Touch::BYTES);
                touch.encode(w);
            }
            Self::Revalidated { session, is_valid } => {
                w.count(REVALIDATED_BYTES);
                w.i64(session.0);
                w.bool(*is_valid);
            }
            Self::CommitAndActivate { leader, .. } => {
                w.count(8);
                w.i64(leader.0);
            }
            Self::NewLeader { config, .. } => w.buffer(config.as_deref().map(str::as_bytes)),
            Self::FollowerInfo { info, .. } | Self::ObserverInfo { info, .. } => info.encode(w),
            Self::LeaderInfo { protocol, .. } => {
                w.count(4);
                w.i32(*protocol);
            }
            Self::AckEpoch { current, .. } => {
                w.count(4);
                w.i32(current.map_or(-1, to_wire));
            }
            Self::InformAndActivate { leader, record, .. } => {
                w.count(8 + record.len());
                w.i64(leader.0);
                w.bytes(record);
            }
            Self::Ack { .. }
            | Self::Commit { .. }
            | Self::Ping { touches: None, .. }
            | Self::Sync
            | Self::UpToDate
            | Self::Diff { .. }
            | Self::Trunc { .. }
            | Self::Snap { .. }
            | Self::Unknown { .. } => w.buffer(None),
        }
    }
}

const REVALIDATED_BYTES: usize = 9;

#[expect(clippy::cast_possible_truncation, reason = "an epoch is the high half of a zxid")]
const fn to_wire(epoch: Epoch) -> i32 {
    epoch.0 as i32
}

fn record(data: Option<&[u8]>, chunk: &mut Chunk) -> Result<Bytes, DecodeError> {
    data.map(|data| chunk.put(data)).ok_or(DecodeError::Null)
}

fn touches(data: Option<&[u8]>) -> Result<Option<Vec<Touch>>, DecodeError> {
    let Some(data) = data else { return Ok(None) };
    let mut r = Reader::new(data);
    let mut touches = Vec::with_capacity(data.len() / Touch::BYTES);
    while !r.is_empty() {
        touches.push(Touch::decode(&mut r)?);
    }
    Ok(Some(touches))
}

/// Question and answer are of one kind; the length tells them apart.
fn revalidate(r: &mut Reader<'_>) -> Result<Packet, DecodeError> {
    if r.rest().len() == REVALIDATED_BYTES {
        return Ok(Packet::Revalidated { session: SessionId(r.i64()?), is_valid: r.bool()? });
    }
    Touch::decode(r).map(Packet::Revalidate)
}

#[cfg(test)]
mod tests;
