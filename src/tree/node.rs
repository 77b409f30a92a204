//! One znode, as the arena keeps it: 128 bytes, its path and its data.

use std::fmt;

use super::digest::Prefix;
use crate::ids::SessionId;
use crate::wire::{DecodeError, Reader, Writer};

/// A node's place in the arena. Reused after a deletion.
pub(super) type NodeId = u32;

/// The parent of the root.
pub(super) const NO_NODE: NodeId = NodeId::MAX;

/// The stored `ephemeralOwner` of a container (`EphemeralType.CONTAINER_EPHEMERAL_OWNER`).
pub const CONTAINER_OWNER: i64 = i64::MIN;

/// The longest time to live, ms: what fits the 40 bits an owner has for it.
pub const TTL_MS_MAX: i64 = 0xff_ffff_ffff;

/// The top byte that marks an extended type; server ids therefore end at 254.
const EXTENDED_MASK: i64 = 0xff << 56;

/// The 16 bits that say which extended type; 0 is TTL.
const EXTENDED_FEATURE_MASK: i64 = 0xffff << 40;

/// The stored `ephemeralOwner` of a node that lives `ttl_ms` without children.
pub const fn ttl_owner(ttl_ms: i64) -> i64 {
    EXTENDED_MASK | (ttl_ms & TTL_MS_MAX)
}

/// Who ends a node's life; read from its stored `ephemeralOwner`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NodeKind {
    /// A client's delete.
    #[default]
    Persistent,
    /// The end of the session that owns it.
    Ephemeral,
    /// The reaper, once its children are gone.
    Container,
    /// The reaper, when it is old and has no children.
    Ttl,
}

impl NodeKind {
    /// What an owner means under these settings (`EphemeralType.get`).
    ///
    /// COMPAT: without extended types a TTL node is the ephemeral of a session that cannot be. An
    /// unknown extended type, over which Java throws, is taken for the same.
    pub const fn of(owner: i64, extended_types: bool, emulate_353_ttl: bool) -> Self {
        match owner {
            0 => Self::Persistent,
            CONTAINER_OWNER => Self::Container,
            _ if extended_types && emulate_353_ttl && owner < 0 => Self::Ttl,
            _ if extended_types
                && owner & (EXTENDED_MASK | EXTENDED_FEATURE_MASK) == EXTENDED_MASK =>
            {
                Self::Ttl
            }
            _ => Self::Ephemeral,
        }
    }
}

/// A stat as stored and hashed. Jute order is that of the snapshot.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StatPersisted {
    /// Zxid of the txn that created it.
    pub czxid: i64,
    /// Zxid of the last change of its data.
    pub mzxid: i64,
    /// Created, ms since 1970.
    pub ctime: i64,
    /// Data last changed, ms since 1970.
    pub mtime: i64,
    /// Changes of the data.
    pub version: i32,
    /// Children ever created; not what clients see.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// The owning session, or what kind of node it is.
    pub ephemeral_owner: i64,
    /// Zxid of the last create or delete of a child.
    pub pzxid: i64,
}

impl StatPersisted {
    /// Bytes in a snapshot.
    pub const BYTES: usize = 60;

    /// Reads one.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            czxid: r.i64()?,
            mzxid: r.i64()?,
            ctime: r.i64()?,
            mtime: r.i64()?,
            version: r.i32()?,
            cversion: r.i32()?,
            aversion: r.i32()?,
            ephemeral_owner: r.i64()?,
            pzxid: r.i64()?,
        })
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.i64(self.czxid);
        w.i64(self.mzxid);
        w.i64(self.ctime);
        w.i64(self.mtime);
        w.i32(self.version);
        w.i32(self.cversion);
        w.i32(self.aversion);
        w.i64(self.ephemeral_owner);
        w.i64(self.pzxid);
    }
}

/// A znode. Its stat lies among the other fields: as a struct of its own it would cost padding.
pub struct Node {
    /// The root's is empty.
    pub(super) path: Box<str>,
    pub(super) data: Option<Box<[u8]>>,
    pub(super) czxid: i64,
    pub(super) mzxid: i64,
    pub(super) pzxid: i64,
    pub(super) ctime: i64,
    pub(super) mtime: i64,
    pub(super) ephemeral_owner: i64,
    pub(super) version: i32,
    pub(super) cversion: i32,
    pub(super) aversion: i32,
    /// `None` until the first child: most nodes never have one.
    #[expect(clippy::box_collection, reason = "16 bytes less in each of the leaves")]
    pub(super) children: Option<Box<Vec<NodeId>>>,
    /// The key of its list in the ACL table.
    pub(super) acl: u32,
    pub(super) parent: NodeId,
    /// Where the parent's `children` has this node.
    pub(super) slot: u32,
    /// Crc of path and data: a change of the stat alone hashes 60 bytes.
    pub(super) prefix: u32,
    /// What the tree's digest holds of it; 0 if it is not digested.
    pub(super) digest: u32,
    /// The image that has saved this node, or that was under way when it was created.
    pub(super) stamp: u32,
    pub(super) kind: NodeKind,
}

const _: () = assert!(size_of::<Node>() <= 128, "two cache lines; the memory target counts on it");

impl Node {
    /// As clients name it.
    pub fn path(&self) -> &str {
        if self.path.is_empty() { "/" } else { &self.path }
    }

    /// `None` is null, which is not empty.
    pub fn data(&self) -> Option<&[u8]> {
        self.data.as_deref()
    }

    /// Bytes of data; 0 for null.
    pub fn data_len(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.len())
    }

    /// As stored; [`super::Tree::stat`] is what clients see.
    pub const fn stat_persisted(&self) -> StatPersisted {
        StatPersisted {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion,
            aversion: self.aversion,
            ephemeral_owner: self.ephemeral_owner,
            pzxid: self.pzxid,
        }
    }

    /// Who ends its life.
    pub const fn kind(&self) -> NodeKind {
        self.kind
    }

    /// The owning session of an ephemeral.
    pub fn owner(&self) -> Option<SessionId> {
        (self.kind == NodeKind::Ephemeral).then_some(SessionId(self.ephemeral_owner))
    }

    /// Changes of the data.
    pub const fn version(&self) -> i32 {
        self.version
    }

    /// Children ever created: the number of the next sequential one.
    pub const fn cversion(&self) -> i32 {
        self.cversion
    }

    /// Changes of the ACL.
    pub const fn aversion(&self) -> i32 {
        self.aversion
    }

    /// Direct children.
    pub fn child_count(&self) -> usize {
        self.children.as_ref().map_or(0, |children| children.len())
    }

    /// Crc of path and data, to foresee the digest of a change of the stat alone.
    pub fn digest_prefix(&self) -> Prefix {
        Prefix { crc: self.prefix, bytes: (self.path.len() + self.data_len()) as u64 }
    }

    /// What the tree's digest holds of it: 0 below `/zookeeper/` and when digests are off.
    pub const fn digest(&self) -> u32 {
        self.digest
    }

    pub(super) fn put_stat(&mut self, stat: StatPersisted) {
        self.czxid = stat.czxid;
        self.mzxid = stat.mzxid;
        self.ctime = stat.ctime;
        self.mtime = stat.mtime;
        self.version = stat.version;
        self.cversion = stat.cversion;
        self.aversion = stat.aversion;
        self.ephemeral_owner = stat.ephemeral_owner;
        self.pzxid = stat.pzxid;
    }

    pub(super) fn child_ids(&self) -> &[NodeId] {
        self.children.as_ref().map_or(&[], |children| children)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("path", &self.path())
            .field("data_len", &self.data_len())
            .field("stat", &self.stat_persisted())
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_says_the_kind() {
        use NodeKind::{Container, Ephemeral, Persistent, Ttl};
        let emulated = i64::MIN | 0x1388;
        // owner, extended types off, on, on with 3.5.3 emulation
        let cases = [
            (0, [Persistent; 3]),
            (0x0100_0000_0000_0001, [Ephemeral; 3]),
            (0x0eff_0000_0000_0001, [Ephemeral; 3]),
            (CONTAINER_OWNER, [Container; 3]),
            (ttl_owner(1), [Ephemeral, Ttl, Ttl]),
            (ttl_owner(TTL_MS_MAX), [Ephemeral, Ttl, Ttl]),
            (emulated, [Ephemeral, Ephemeral, Ttl]),
            (EXTENDED_MASK | (1 << 40), [Ephemeral, Ephemeral, Ttl]),
        ];
        for (owner, [off, on, emulating]) in cases {
            assert_eq!(NodeKind::of(owner, false, false), off, "{owner:#x}");
            assert_eq!(NodeKind::of(owner, false, true), off, "{owner:#x}");
            assert_eq!(NodeKind::of(owner, true, false), on, "{owner:#x}");
            assert_eq!(NodeKind::of(owner, true, true), emulating, "{owner:#x}");
        }
        assert_eq!(ttl_owner(1).cast_unsigned(), 0xff00_0000_0000_0001);
    }
}
