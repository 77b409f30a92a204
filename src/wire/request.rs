//! What a client asks: the record behind each request header. Source: `zookeeper.jute`,
//! `MultiOperationRecord`.

mod multi;

use std::borrow::Cow;

use super::code::OpCode;
use super::jute::{DecodeError, Reader, Writer};
use super::record::Acl;
use crate::ids::Zxid;

/// A decoded request, borrowing from its frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request<'a> {
    /// create, create2, createContainer, createTTL.
    Create(Create<'a>),
    /// delete.
    Delete {
        /// Of the znode.
        path: Cow<'a, str>,
        /// Expected, or -1 for any.
        version: i32,
    },
    /// exists, getData, getChildren, getChildren2.
    Read(Read<'a>),
    /// setData.
    SetData {
        /// Of the znode; a null reads as a path that is not valid.
        path: Cow<'a, str>,
        /// The new data; null is kept apart from empty.
        data: Option<&'a [u8]>,
        /// Expected, or -1 for any.
        version: i32,
    },
    /// getACL.
    GetAcl {
        /// Of the znode.
        path: Cow<'a, str>,
    },
    /// setACL.
    SetAcl {
        /// Of the znode.
        path: Cow<'a, str>,
        /// The new list; null counts as empty.
        acl: Vec<Acl<'a>>,
        /// Expected `aversion`, or -1 for any.
        version: i32,
    },
    /// sync.
    Sync {
        /// Echoed, never looked at; `None` is null.
        path: Option<Cow<'a, str>>,
    },
    /// ping.
    Ping,
    /// check, inside a multi only.
    Check {
        /// Of the znode; a null reads as a path that is not valid.
        path: Cow<'a, str>,
        /// Expected, or -1 for any.
        version: i32,
    },
    /// multi.
    Multi(Vec<Request<'a>>),
    /// multiRead.
    MultiRead(Vec<Read<'a>>),
    /// reconfig.
    Reconfig(Reconfig<'a>),
    /// checkWatches, removeWatches.
    Watches(Watches<'a>),
    /// setWatches, setWatches2.
    SetWatches(SetWatches<'a>),
    /// addWatch.
    AddWatch {
        /// Any string: it is not checked.
        path: Cow<'a, str>,
        /// Which kind.
        mode: AddWatchMode,
    },
    /// getEphemerals.
    GetEphemerals {
        /// Plain string prefix; `None` is null.
        prefix: Option<Cow<'a, str>>,
    },
    /// getAllChildrenNumber.
    GetAllChildrenNumber {
        /// Of the znode.
        path: Cow<'a, str>,
    },
    /// whoAmI.
    WhoAmI,
    /// auth.
    Auth {
        /// `None` is null, which no provider serves.
        scheme: Option<Cow<'a, str>>,
        /// In the scheme's own form.
        auth: Option<&'a [u8]>,
    },
    /// sasl.
    Sasl {
        /// The mechanism's token.
        token: Option<&'a [u8]>,
    },
    /// closeSession.
    CloseSession,
}

/// The four ways to create a znode.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Create<'a> {
    /// Create, Create2, `CreateContainer` or `CreateTtl`.
    pub op: OpCode,
    /// Before the sequence suffix.
    pub path: Cow<'a, str>,
    /// Null is kept apart from empty.
    pub data: Option<&'a [u8]>,
    /// Null counts as empty (inside a multi it cannot be decoded).
    pub acl: Vec<Acl<'a>>,
    /// [`CreateMode`], not yet checked.
    pub flags: i32,
    /// Milliseconds; -1 where the request has none.
    pub ttl: i64,
}

/// exists, getData, getChildren, getChildren2.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Read<'a> {
    /// Exists, `GetData`, `GetChildren` or `GetChildren2`.
    pub op: OpCode,
    /// Looked up as it is.
    pub path: Cow<'a, str>,
    /// Whether to set a watch.
    pub watch: bool,
}

/// A change of the ensemble's members.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reconfig<'a> {
    /// Comma list of `server.N=…`, or null.
    pub joining: Option<Cow<'a, str>>,
    /// Comma list of server ids, or null.
    pub leaving: Option<Cow<'a, str>>,
    /// The whole new configuration, or null.
    pub members: Option<Cow<'a, str>>,
    /// Expected configuration version, or -1 for any.
    pub config: i64,
}

/// checkWatches, removeWatches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Watches<'a> {
    /// `CheckWatches` or `RemoveWatches`.
    pub op: OpCode,
    /// Not checked.
    pub path: Cow<'a, str>,
    /// Which watches.
    pub kind: WatchKind,
}

/// setWatches, setWatches2.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SetWatches<'a> {
    /// `SetWatches` or `SetWatches2`.
    pub op: OpCode,
    /// The last zxid the client saw before it reconnected.
    pub relative_zxid: Zxid,
    /// Paths of data watches.
    pub data: Vec<Cow<'a, str>>,
    /// Paths of watches on nodes that were missing.
    pub exist: Vec<Cow<'a, str>>,
    /// Paths of child watches.
    pub child: Vec<Cow<'a, str>>,
    /// Paths of persistent watches; empty in `SetWatches`.
    pub persistent: Vec<Cow<'a, str>>,
    /// Paths of persistent recursive watches; empty in `SetWatches`.
    pub recursive: Vec<Cow<'a, str>>,
}

/// How a znode is created. Source: `CreateMode`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CreateMode {
    /// Until deleted.
    Persistent = 0,
    /// Until the session ends.
    Ephemeral = 1,
    /// Persistent, with a number.
    PersistentSequential = 2,
    /// Ephemeral, with a number.
    EphemeralSequential = 3,
    /// Reaped when its last child is gone.
    Container = 4,
    /// Reaped when untouched and childless for a while.
    Ttl = 5,
    /// With a TTL and a number.
    SequentialTtl = 6,
}

impl CreateMode {
    /// The one with this number on the wire.
    pub const fn from_flags(flags: i32) -> Option<Self> {
        Some(match flags {
            0 => Self::Persistent,
            1 => Self::Ephemeral,
            2 => Self::PersistentSequential,
            3 => Self::EphemeralSequential,
            4 => Self::Container,
            5 => Self::Ttl,
            6 => Self::SequentialTtl,
            _ => return None,
        })
    }

    /// Whether it belongs to a session.
    pub const fn is_ephemeral(self) -> bool {
        matches!(self, Self::Ephemeral | Self::EphemeralSequential)
    }

    /// Whether its name gets a number.
    pub const fn is_sequential(self) -> bool {
        matches!(self, Self::PersistentSequential | Self::EphemeralSequential | Self::SequentialTtl)
    }

    /// Whether it has a time to live.
    pub const fn is_ttl(self) -> bool {
        matches!(self, Self::Ttl | Self::SequentialTtl)
    }
}

/// Kind of a persistent watch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AddWatchMode {
    /// The znode and its children.
    Persistent = 0,
    /// The znode and everything below it.
    Recursive = 1,
}

/// Which watches checkWatches and removeWatches mean. Source: `Watcher.WatcherType`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WatchKind {
    /// Standard child watches.
    Children = 1,
    /// Standard data watches.
    Data = 2,
    /// Any watch.
    Any = 3,
    /// Persistent watches.
    Persistent = 4,
    /// Persistent recursive watches.
    Recursive = 5,
}

impl<'a> Create<'a> {
    fn decode(op: OpCode, r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Self::decode_with(op, r, |_, _| Ok(()))
    }

    fn decode_with(
        op: OpCode,
        r: &mut Reader<'a>,
        check: impl FnOnce(Option<&[Acl<'_>]>, i32) -> Result<(), DecodeError>,
    ) -> Result<Self, DecodeError> {
        let path = r.string()?;
        let data = r.buffer()?;
        let acl = Acl::decode_list(r)?;
        let flags = r.i32()?;
        let ttl = if op == OpCode::CreateTtl { r.i64()? } else { -1 };
        check(acl.as_deref(), flags)?;
        let path = path.ok_or(DecodeError::NullPath)?;
        Ok(Self { op, path, data, acl: acl.unwrap_or_default(), flags, ttl })
    }

    /// As a step of a multi, where Java rebuilds the operation from opcode and flags.
    ///
    /// COMPAT: `Op.create` makes a container of flags 4 whatever the opcode, and a plain create of
    /// a createTTL without a TTL mode; flags with a TTL but no field for it cannot be decoded.
    fn decode_step(op: OpCode, r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if op == OpCode::CreateTtl {
            let mut step = Self::decode(op, r)?;
            let mode = CreateMode::from_flags(step.flags);
            if !mode.is_some_and(CreateMode::is_ttl) {
                step.ttl = -1;
                step.op = match mode {
                    Some(CreateMode::Container) => OpCode::CreateContainer,
                    _ => OpCode::Create,
                };
            }
            return Ok(step);
        }
        let mut step = Self::decode_with(op, r, check_step)?;
        if CreateMode::from_flags(step.flags) == Some(CreateMode::Container) {
            step.op = OpCode::CreateContainer;
        }
        Ok(step)
    }

    fn encode(&self, w: &mut Writer<'_>) {
        w.string(&self.path);
        w.buffer(self.data);
        Acl::encode_list(&self.acl, w);
        w.i32(self.flags);
        if self.op == OpCode::CreateTtl {
            w.i64(self.ttl);
        }
    }
}

/// COMPAT: the order counts, as it is the null that costs no zxid
/// (`MultiOperationRecord.deserialize`).
fn check_step(acl: Option<&[Acl<'_>]>, flags: i32) -> Result<(), DecodeError> {
    let unknown = DecodeError::Unknown { what: "create mode", value: flags };
    let mode = CreateMode::from_flags(flags).ok_or(unknown)?;
    acl.ok_or(DecodeError::Null)?;
    if mode.is_ttl() { Err(unknown) } else { Ok(()) }
}

impl<'a> Read<'a> {
    fn decode(op: OpCode, r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { op, path: r.text()?, watch: r.bool()? })
    }

    fn encode(&self, w: &mut Writer<'_>) {
        w.string(&self.path);
        w.bool(self.watch);
    }
}

impl<'a> SetWatches<'a> {
    fn decode(op: OpCode, r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let with_persistent = op == OpCode::SetWatches2;
        Ok(Self {
            op,
            relative_zxid: Zxid(r.i64()?),
            data: r.texts()?,
            exist: r.texts()?,
            child: r.texts()?,
            persistent: if with_persistent { lenient_paths(r)? } else { Vec::new() },
            recursive: if with_persistent { lenient_paths(r)? } else { Vec::new() },
        })
    }

    fn encode(&self, w: &mut Writer<'_>) {
        w.i64(self.relative_zxid.0);
        w.strings(self.data.iter());
        w.strings(self.exist.iter());
        w.strings(self.child.iter());
        if self.op == OpCode::SetWatches2 {
            w.strings(self.persistent.iter());
            w.strings(self.recursive.iter());
        }
    }
}

fn watch_kind(value: i32) -> Result<WatchKind, DecodeError> {
    Ok(match value {
        1 => WatchKind::Children,
        2 => WatchKind::Data,
        3 => WatchKind::Any,
        4 => WatchKind::Persistent,
        5 => WatchKind::Recursive,
        _ => return Err(DecodeError::Unknown { what: "watch type", value }),
    })
}

fn add_watch_mode(value: i32) -> Result<AddWatchMode, DecodeError> {
    Ok(match value {
        0 => AddWatchMode::Persistent,
        1 => AddWatchMode::Recursive,
        _ => return Err(DecodeError::Unknown { what: "watch mode", value }),
    })
}

/// What a null path is taken for: one that is valid nowhere and that nobody else writes.
const NULL_PATH: &str = "\0null";

/// COMPAT: where Java validates a path a null is an invalid one (`PathUtils.validatePath`), and
/// where it only looks a path up a null is one of its own.
fn lenient_path<'a>(r: &mut Reader<'a>) -> Result<Cow<'a, str>, DecodeError> {
    Ok(r.string()?.unwrap_or(Cow::Borrowed(NULL_PATH)))
}

/// A vector of them, which must not be null itself: what persistent watches are on.
fn lenient_paths<'a>(r: &mut Reader<'a>) -> Result<Vec<Cow<'a, str>>, DecodeError> {
    let count = r.count(4)?.ok_or(DecodeError::Null)?;
    (0..count).map(|_| lenient_path(r)).collect()
}

impl<'a> Request<'a> {
    /// Reads the record of a request with this opcode; bytes after it are ignored.
    ///
    /// # Errors
    /// [`DecodeError`]: the client is answered [`super::ErrorCode::MarshallingError`].
    /// An opcode that is no client's to send is [`DecodeError::Unknown`].
    pub fn decode(op: OpCode, r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Self::Create(Create::decode(op, r)?)
            }
            OpCode::Delete => {
                let (path, version) = (r.string()?, r.i32()?);
                Self::Delete { path: path.ok_or(DecodeError::NullPath)?, version }
            }
            OpCode::Exists | OpCode::GetData | OpCode::GetChildren | OpCode::GetChildren2 => {
                Self::Read(Read::decode(op, r)?)
            }
            OpCode::SetData => {
                Self::SetData { path: lenient_path(r)?, data: r.buffer()?, version: r.i32()? }
            }
            OpCode::GetAcl => Self::GetAcl { path: r.text()? },
            OpCode::SetAcl => Self::SetAcl {
                path: lenient_path(r)?,
                acl: Acl::decode_list(r)?.unwrap_or_default(),
                version: r.i32()?,
            },
            OpCode::Sync => Self::Sync { path: r.string()? },
            OpCode::Ping => Self::Ping,
            OpCode::Check => Self::Check { path: lenient_path(r)?, version: r.i32()? },
            OpCode::Multi => Self::Multi(multi::decode_writes(r)?),
            OpCode::MultiRead => Self::MultiRead(multi::decode_reads(r)?),
            OpCode::Reconfig => Self::Reconfig(Reconfig {
                joining: r.string()?,
                leaving: r.string()?,
                members: r.string()?,
                config: r.i64()?,
            }),
            OpCode::CheckWatches | OpCode::RemoveWatches => {
                Self::Watches(Watches { op, path: lenient_path(r)?, kind: watch_kind(r.i32()?)? })
            }
            OpCode::SetWatches | OpCode::SetWatches2 => {
                Self::SetWatches(SetWatches::decode(op, r)?)
            }
            OpCode::AddWatch => {
                Self::AddWatch { path: lenient_path(r)?, mode: add_watch_mode(r.i32()?)? }
            }
            OpCode::GetEphemerals => Self::GetEphemerals { prefix: r.string()? },
            OpCode::GetAllChildrenNumber => Self::GetAllChildrenNumber { path: r.text()? },
            OpCode::WhoAmI => Self::WhoAmI,
            OpCode::Auth => {
                r.i32()?; // a type that nothing uses
                Self::Auth { scheme: r.string()?, auth: r.buffer()? }
            }
            OpCode::Sasl => Self::Sasl { token: r.buffer()? },
            OpCode::CloseSession => Self::CloseSession,
            OpCode::Notification
            | OpCode::DeleteContainer
            | OpCode::CreateSession
            | OpCode::Error => {
                return Err(DecodeError::Unknown { what: "opcode", value: op.to_wire() });
            }
        })
    }

    /// The opcode that goes into the header.
    pub fn op(&self) -> OpCode {
        match self {
            Self::Create(create) => create.op,
            Self::Delete { .. } => OpCode::Delete,
            Self::Read(read) => read.op,
            Self::SetData { .. } => OpCode::SetData,
            Self::GetAcl { .. } => OpCode::GetAcl,
            Self::SetAcl { .. } => OpCode::SetAcl,
            Self::Sync { .. } => OpCode::Sync,
            Self::Ping => OpCode::Ping,
            Self::Check { .. } => OpCode::Check,
            Self::Multi(_) => OpCode::Multi,
            Self::MultiRead(_) => OpCode::MultiRead,
            Self::Reconfig(_) => OpCode::Reconfig,
            Self::Watches(watches) => watches.op,
            Self::SetWatches(watches) => watches.op,
            Self::AddWatch { .. } => OpCode::AddWatch,
            Self::GetEphemerals { .. } => OpCode::GetEphemerals,
            Self::GetAllChildrenNumber { .. } => OpCode::GetAllChildrenNumber,
            Self::WhoAmI => OpCode::WhoAmI,
            Self::Auth { .. } => OpCode::Auth,
            Self::Sasl { .. } => OpCode::Sasl,
            Self::CloseSession => OpCode::CloseSession,
        }
    }

    /// Appends the record, without a header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Self::Create(create) => create.encode(w),
            Self::Read(read) => read.encode(w),
            Self::Delete { path, version } | Self::Check { path, version } => {
                w.string(path);
                w.i32(*version);
            }
            Self::SetData { path, data, version } => {
                w.string(path);
                w.buffer(*data);
                w.i32(*version);
            }
            Self::GetAcl { path } | Self::GetAllChildrenNumber { path } => w.string(path),
            Self::Sync { path } => w.buffer(path.as_ref().map(|text| text.as_bytes())),
            Self::SetAcl { path, acl, version } => {
                w.string(path);
                Acl::encode_list(acl, w);
                w.i32(*version);
            }
            Self::Multi(steps) => multi::encode(steps, w),
            Self::MultiRead(steps) => multi::encode_reads(steps, w),
            Self::Reconfig(reconfig) => {
                for part in [&reconfig.joining, &reconfig.leaving, &reconfig.members] {
                    w.buffer(part.as_ref().map(|text| text.as_bytes()));
                }
                w.i64(reconfig.config);
            }
            Self::Watches(watches) => {
                w.string(&watches.path);
                w.i32(watches.kind as i32);
            }
            Self::SetWatches(watches) => watches.encode(w),
            Self::AddWatch { path, mode } => {
                w.string(path);
                w.i32(*mode as i32);
            }
            Self::GetEphemerals { prefix } => {
                w.buffer(prefix.as_ref().map(|text| text.as_bytes()));
            }
            Self::Auth { scheme, auth } => {
                w.i32(0);
                w.buffer(scheme.as_ref().map(|text| text.as_bytes()));
                w.buffer(*auth);
            }
            Self::Sasl { token } => w.buffer(*token),
            Self::Ping | Self::WhoAmI | Self::CloseSession => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(request: &Request<'_>) {
        let mut out = Vec::new();
        request.encode(&mut Writer::new(&mut out));
        let mut r = Reader::new(&out);
        assert_eq!(Request::decode(request.op(), &mut r).as_ref(), Ok(request));
        assert!(r.is_empty(), "{request:?} leaves {} bytes", r.rest().len());
    }

    fn create(op: OpCode, flags: i32, ttl: i64) -> Request<'static> {
        let acl = vec![Acl::anyone(31)];
        Request::Create(Create { op, path: "/a".into(), data: Some(b"hi"), acl, flags, ttl })
    }

    fn every_request() -> Vec<Request<'static>> {
        let read = |op| Read { op, path: "/a".into(), watch: true };
        let paths = || vec![Cow::Borrowed("/a")];
        let set_watches = |op, persistent: Vec<_>| SetWatches {
            op,
            relative_zxid: Zxid(7),
            data: paths(),
            exist: paths(),
            child: Vec::new(),
            recursive: persistent.clone(),
            persistent,
        };
        vec![
            create(OpCode::Create, 0, -1),
            create(OpCode::Create2, 3, -1),
            create(OpCode::CreateContainer, 4, -1),
            create(OpCode::CreateTtl, 5, 1000),
            Request::Delete { path: "/a".into(), version: -1 },
            Request::Read(read(OpCode::Exists)),
            Request::Read(read(OpCode::GetChildren2)),
            Request::SetData { path: "/a".into(), data: None, version: 2 },
            Request::GetAcl { path: "/a".into() },
            Request::SetAcl { path: "/a".into(), acl: vec![Acl::anyone(1)], version: 0 },
            Request::Sync { path: Some("x".into()) },
            Request::Sync { path: None },
            Request::Ping,
            Request::Multi(vec![
                create(OpCode::Create2, 1, -1),
                Request::Check { path: "/a".into(), version: 3 },
            ]),
            Request::MultiRead(vec![read(OpCode::GetData), read(OpCode::GetChildren)]),
            Request::Reconfig(Reconfig {
                joining: None,
                leaving: Some("1".into()),
                members: None,
                config: -1,
            }),
            Request::Watches(Watches {
                op: OpCode::RemoveWatches,
                path: "/a".into(),
                kind: WatchKind::Recursive,
            }),
            Request::SetWatches(set_watches(OpCode::SetWatches, Vec::new())),
            Request::SetWatches(set_watches(OpCode::SetWatches2, paths())),
            Request::AddWatch { path: "/a".into(), mode: AddWatchMode::Recursive },
            Request::GetEphemerals { prefix: None },
            Request::GetAllChildrenNumber { path: "/".into() },
            Request::WhoAmI,
            Request::Auth { scheme: Some("digest".into()), auth: Some(b"bob:pw") },
            Request::Sasl { token: Some(b"") },
            Request::CloseSession,
        ]
    }

    #[test]
    fn every_request_reads_back() {
        every_request().iter().for_each(round_trip);
    }

    #[test]
    fn no_prefix_of_a_request_is_one() {
        for request in every_request() {
            let mut out = Vec::new();
            request.encode(&mut Writer::new(&mut out));
            for len in 0..out.len() {
                let decoded = Request::decode(request.op(), &mut Reader::new(&out[..len]));
                assert!(decoded.is_err(), "{request:?} cut to {len} bytes");
            }
        }
    }

    #[test]
    fn a_multi_is_rebuilt_from_opcode_and_flags() {
        let decoded_op = |step: Request<'_>| {
            let mut out = Vec::new();
            Request::Multi(vec![step]).encode(&mut Writer::new(&mut out));
            match Request::decode(OpCode::Multi, &mut Reader::new(&out)) {
                Ok(Request::Multi(steps)) => Some(steps[0].op()),
                _ => None,
            }
        };
        assert_eq!(decoded_op(create(OpCode::Create, 4, -1)), Some(OpCode::CreateContainer));
        assert_eq!(decoded_op(create(OpCode::Create, 9, -1)), None);
        assert_eq!(decoded_op(create(OpCode::Create2, 5, -1)), None);
        assert_eq!(decoded_op(create(OpCode::CreateTtl, 0, 5)), Some(OpCode::Create));
        assert_eq!(decoded_op(create(OpCode::CreateTtl, 6, 5)), Some(OpCode::CreateTtl));
        assert_eq!(decoded_op(Request::GetAcl { path: "/".into() }), None);
    }
}
