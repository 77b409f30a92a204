//! Txns: what a write came to, as it is proposed, logged and applied.
//!
//! A proposal's bytes are `TxnHeader`, body and, mostly, a digest of the tree after it. They are
//! made once, by the leader, and relayed and logged verbatim. Source: `zookeeper.jute` module
//! `org.apache.zookeeper.txn`, `SerializeUtils`.

mod check;

use std::borrow::Cow;

use super::code::OpCode;
use super::jute::{DecodeError, Reader, Writer};
use super::record::Acl;
use crate::ids::{Millis, SessionId, Xid, Zxid};
pub use check::check;

/// The digest algorithm of ZooKeeper 3.6 and later; others are skipped.
pub const DIGEST_VERSION: i32 = 2;

/// Who changed what when: 32 bytes in front of each txn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TxnHeader {
    /// Whose request it was; 0 for the server's own.
    pub session: SessionId,
    /// The request's number.
    pub cxid: Xid,
    /// Its place in history.
    pub zxid: Zxid,
    /// The leader's wall clock: becomes ctime and mtime.
    pub time: Millis,
    /// What the body is.
    pub op: OpCode,
}

impl TxnHeader {
    /// Bytes on the wire and on disk.
    pub const BYTES: usize = 32;

    /// Reads one.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let session = SessionId(r.i64()?);
        let cxid = Xid(r.i32()?);
        let zxid = Zxid(r.i64()?);
        let time = Millis(r.i64()?);
        let value = r.i32()?;
        let op =
            OpCode::from_wire(value).ok_or(DecodeError::Unknown { what: "txn type", value })?;
        Ok(Self { session, cxid, zxid, time, op })
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.i64(self.session.0);
        w.i32(self.cxid.0);
        w.i64(self.zxid.0);
        w.i64(self.time.0);
        w.i32(self.op.to_wire());
    }
}

/// What a txn does. Its type is in the header, or in front of it inside a multi.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Txn<'a> {
    /// create, create2 (the type tells which reply the client wants).
    Create(CreateTxn<'a>),
    /// createContainer; `ephemeral` is not stored and false.
    CreateContainer(CreateTxn<'a>),
    /// createTTL with its milliseconds; `ephemeral` is not stored and false.
    CreateTtl(CreateTxn<'a>, i64),
    /// delete and deleteContainer.
    Delete {
        /// Of the znode.
        path: Cow<'a, str>,
    },
    /// setData, and reconfig on `/zookeeper/config`.
    SetData {
        /// Of the znode.
        path: Cow<'a, str>,
        /// The new data.
        data: Option<&'a [u8]>,
        /// The new version.
        version: i32,
    },
    /// setACL.
    SetAcl {
        /// Of the znode.
        path: Cow<'a, str>,
        /// The new list.
        acl: Vec<Acl<'a>>,
        /// The new `aversion`.
        version: i32,
    },
    /// check; only inside a multi, never on its own (ZOOKEEPER-2623).
    Check {
        /// Of the znode.
        path: Cow<'a, str>,
        /// The version that was checked.
        version: i32,
    },
    /// multi: any step of type error makes all of it do nothing.
    Multi(Vec<(OpCode, Txn<'a>)>),
    /// createSession.
    CreateSession {
        /// Negotiated timeout.
        timeout_ms: i32,
    },
    /// closeSession.
    CloseSession {
        /// Its ephemerals, to be deleted; `None` from servers that do not list them.
        paths: Option<Vec<Cow<'a, str>>>,
    },
    /// A request that failed: takes its place in history and does nothing.
    Error {
        /// [`super::ErrorCode::to_wire`].
        err: i32,
    },
}

/// The body of the txns that create.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CreateTxn<'a> {
    /// With the sequence suffix.
    pub path: Cow<'a, str>,
    /// Null is kept apart from empty.
    pub data: Option<&'a [u8]>,
    /// After expansion of `auth`; null on disk reads as empty.
    pub acl: Vec<Acl<'a>>,
    /// Whether the session owns it.
    pub ephemeral: bool,
    /// The parent's stored cversion after this; -1 in logs from before 3.4.
    pub parent_cversion: i32,
}

impl<'a> CreateTxn<'a> {
    /// COMPAT: a create from before 3.4 has no `parentCVersion` (`SerializeUtils.deserializeTxn`).
    fn decode(r: &mut Reader<'a>, with_ephemeral: bool) -> Result<Self, DecodeError> {
        let path = r.text()?;
        let data = r.buffer()?;
        let acl = Acl::decode_list(r)?.unwrap_or_default();
        let ephemeral = with_ephemeral && r.bool()?;
        let parent_cversion = if with_ephemeral && r.is_empty() { -1 } else { r.i32()? };
        Ok(Self { path, data, acl, ephemeral, parent_cversion })
    }

    fn encode(&self, w: &mut Writer<'_>, with_ephemeral: bool) {
        w.string(&self.path);
        w.buffer(self.data);
        Acl::encode_list(&self.acl, w);
        if with_ephemeral {
            w.bool(self.ephemeral);
        }
        w.i32(self.parent_cversion);
    }
}

impl<'a> Txn<'a> {
    /// Reads the body of a txn of this type.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not one, or if no txn has this type.
    #[expect(clippy::wildcard_enum_match_arm, reason = "few of the many opcodes are txns")]
    pub fn decode(op: OpCode, r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::Create | OpCode::Create2 => Self::Create(CreateTxn::decode(r, true)?),
            OpCode::CreateContainer => Self::CreateContainer(CreateTxn::decode(r, false)?),
            OpCode::CreateTtl => {
                let create = CreateTxn::decode(r, false)?;
                Self::CreateTtl(create, r.i64()?)
            }
            OpCode::Delete | OpCode::DeleteContainer => Self::Delete { path: r.text()? },
            OpCode::SetData | OpCode::Reconfig => {
                Self::SetData { path: r.text()?, data: r.buffer()?, version: r.i32()? }
            }
            OpCode::SetAcl => Self::SetAcl {
                path: r.text()?,
                acl: Acl::decode_list(r)?.unwrap_or_default(),
                version: r.i32()?,
            },
            OpCode::Check => Self::Check { path: r.text()?, version: r.i32()? },
            OpCode::Multi => Self::Multi(decode_steps(r)?),
            OpCode::CreateSession => Self::CreateSession { timeout_ms: r.i32()? },
            OpCode::CloseSession if lists_nothing(r) => Self::CloseSession { paths: None },
            OpCode::CloseSession => Self::CloseSession { paths: Some(r.texts()?) },
            OpCode::Error => Self::Error { err: r.i32()? },
            _ => return Err(DecodeError::Unknown { what: "txn type", value: op.to_wire() }),
        })
    }

    /// Appends the body.
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Self::Create(create) => create.encode(w, true),
            Self::CreateContainer(create) => create.encode(w, false),
            Self::CreateTtl(create, ttl) => {
                create.encode(w, false);
                w.i64(*ttl);
            }
            Self::Delete { path } => w.string(path),
            Self::SetData { path, data, version } => {
                w.string(path);
                w.buffer(*data);
                w.i32(*version);
            }
            Self::SetAcl { path, acl, version } => {
                w.string(path);
                Acl::encode_list(acl, w);
                w.i32(*version);
            }
            Self::Check { path, version } => {
                w.string(path);
                w.i32(*version);
            }
            Self::Multi(steps) => encode_steps(steps, w),
            Self::CreateSession { timeout_ms } => w.i32(*timeout_ms),
            Self::CloseSession { paths: None } => {}
            Self::CloseSession { paths: Some(paths) } => w.strings(paths.iter()),
            Self::Error { err } => w.i32(*err),
        }
    }
}

/// COMPAT: nothing, or a digest alone, is what a closeSession has of a Java server that lists no
/// paths (`closeSessionTxn.enabled`). A list of as many bytes would be of two empty paths.
fn lists_nothing(r: &Reader<'_>) -> bool {
    let is_digest = |rest: &[u8]| {
        rest.len() == TxnDigest::BYTES && rest.starts_with(&DIGEST_VERSION.to_be_bytes())
    };
    r.is_empty() || is_digest(r.rest())
}

fn decode_steps<'a>(r: &mut Reader<'a>) -> Result<Vec<(OpCode, Txn<'a>)>, DecodeError> {
    let count = r.count(8)?.ok_or(DecodeError::Null)?;
    let mut steps = Vec::with_capacity(count);
    for _ in 0..count {
        let value = r.i32()?;
        let unknown = DecodeError::Unknown { what: "txn type in a multi", value };
        let op = OpCode::from_wire(value).ok_or(unknown)?;
        if op == OpCode::Multi {
            return Err(unknown); // one inside another would nest without end
        }
        let mut body = Reader::new(r.buffer()?.ok_or(DecodeError::Null)?);
        steps.push((op, Txn::decode(op, &mut body)?));
    }
    Ok(steps)
}

fn encode_steps(steps: &[(OpCode, Txn<'_>)], w: &mut Writer<'_>) {
    w.count(steps.len());
    let mut body = Vec::new();
    for (op, step) in steps {
        body.clear();
        step.encode(&mut Writer::new(&mut body));
        w.i32(op.to_wire());
        w.buffer(Some(&body));
    }
}

/// The tree's digest after a txn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TxnDigest {
    /// [`DIGEST_VERSION`], or one that is not compared.
    pub version: i32,
    /// Sum of the node digests.
    pub digest: i64,
}

impl TxnDigest {
    const BYTES: usize = size_of::<i32>() + size_of::<i64>();
}

/// A whole logged record, decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record<'a> {
    /// Who, when, what.
    pub header: TxnHeader,
    /// The change.
    pub txn: Txn<'a>,
    /// The tree's digest after it, if the leader computed one.
    pub digest: Option<TxnDigest>,
}

impl<'a> Record<'a> {
    /// Reads header, body and digest from exactly `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] if they are not a txn.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let header = TxnHeader::decode(&mut r)?;
        let txn = Txn::decode(header.op, &mut r)?;
        let digest = if r.is_empty() {
            None
        } else {
            Some(TxnDigest { version: r.i32()?, digest: r.i64()? })
        };
        Ok(Self { header, txn, digest })
    }

    /// Appends header, body and digest.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new(out);
        self.header.encode(&mut w);
        self.txn.encode(&mut w);
        if let Some(digest) = self.digest {
            w.i32(digest.version);
            w.i64(digest.digest);
        }
    }
}

/// The zxid in a record's header, without decoding the rest.
pub fn zxid_of(record: &[u8]) -> Option<Zxid> {
    let bytes = record.get(12..20)?;
    bytes.try_into().ok().map(|bytes| Zxid(i64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(op: OpCode, txn: Txn<'_>) -> Record<'_> {
        let header = TxnHeader {
            session: SessionId(7),
            cxid: Xid(3),
            zxid: Zxid(0x1_0000_0002),
            time: Millis(1_700_000_000_000),
            op,
        };
        Record { header, txn, digest: Some(TxnDigest { version: DIGEST_VERSION, digest: 5 }) }
    }

    fn create() -> CreateTxn<'static> {
        CreateTxn {
            path: "/a".into(),
            data: None,
            acl: vec![Acl::anyone(31)],
            ephemeral: false,
            parent_cversion: 1,
        }
    }

    /// Of each type.
    fn txns() -> Vec<(OpCode, Txn<'static>)> {
        let path = || Cow::Borrowed("/a");
        vec![
            (OpCode::Create, Txn::Create(CreateTxn { ephemeral: true, ..create() })),
            (OpCode::Create2, Txn::Create(create())),
            (OpCode::CreateContainer, Txn::CreateContainer(create())),
            (OpCode::CreateTtl, Txn::CreateTtl(create(), 99)),
            (OpCode::Delete, Txn::Delete { path: path() }),
            (OpCode::DeleteContainer, Txn::Delete { path: path() }),
            (OpCode::SetData, Txn::SetData { path: path(), data: Some(b""), version: 1 }),
            (OpCode::SetAcl, Txn::SetAcl { path: path(), acl: vec![], version: 1 }),
            (
                OpCode::Multi,
                Txn::Multi(vec![
                    (OpCode::Check, Txn::Check { path: path(), version: 4 }),
                    (OpCode::Error, Txn::Error { err: -101 }),
                ]),
            ),
            (OpCode::CreateSession, Txn::CreateSession { timeout_ms: 4000 }),
            (OpCode::CloseSession, Txn::CloseSession { paths: Some(vec![path()]) }),
            (OpCode::CloseSession, Txn::CloseSession { paths: None }),
            (OpCode::Error, Txn::Error { err: -5 }),
        ]
    }

    #[test]
    fn every_txn_reads_back() {
        for (op, txn) in txns() {
            let record = record(op, txn);
            let mut out = Vec::new();
            record.encode(&mut out);
            assert_eq!(Record::decode(&out).as_ref(), Ok(&record));
            assert_eq!(zxid_of(&out), Some(record.header.zxid));
        }
    }

    /// Cut anywhere, or with any byte changed.
    #[test]
    fn what_is_checked_is_what_can_be_decoded() {
        let agree = |bytes: &[u8]| {
            let decoded = Record::decode(bytes).map(|record| record.header);
            assert_eq!(check(bytes), decoded, "{bytes:x?}");
        };
        for (op, txn) in txns() {
            let mut bytes = Vec::new();
            record(op, txn).encode(&mut bytes);
            (0..=bytes.len()).for_each(|len| agree(&bytes[..len]));
            for at in 0..bytes.len() {
                for byte in [0, 1, 2, 14, 0x7f, 0x80, 0xff] {
                    let was = std::mem::replace(&mut bytes[at], byte);
                    agree(&bytes);
                    bytes[at] = was;
                }
            }
        }
    }

    /// The bytes of a fresh log of Java 3.9, from the reference.
    #[test]
    fn a_create_session_of_java_decodes() {
        let bytes = [
            &0x0100_001f_137e_0000i64.to_be_bytes()[..],
            &[0; 4],
            &1i64.to_be_bytes(),
            &0x1a2_05f2_bdc7i64.to_be_bytes(),
            &(-10i32).to_be_bytes(),
            &8000i32.to_be_bytes(),
            &2i32.to_be_bytes(),
            &0x51c6_d660i64.to_be_bytes(),
        ]
        .concat();
        let record = Record::decode(&bytes).expect("a whole record");
        assert_eq!(record.txn, Txn::CreateSession { timeout_ms: 8000 });
        assert_eq!(record.digest, Some(TxnDigest { version: 2, digest: 0x51c6_d660 }));
    }

    #[test]
    fn a_create_from_before_3_4_has_no_parent_cversion() {
        let mut record = record(OpCode::Create, Txn::Create(create()));
        record.digest = None;
        let mut out = Vec::new();
        record.encode(&mut out);
        out.truncate(out.len() - 4);
        let old = CreateTxn { parent_cversion: -1, ..create() };
        assert_eq!(Record::decode(&out).map(|record| record.txn), Ok(Txn::Create(old)));
    }
}
