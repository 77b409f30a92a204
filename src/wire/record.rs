//! Records that several messages share: Stat and ACL. Source: `zookeeper.jute`.

use std::borrow::Cow;

use super::jute::{DecodeError, Reader, Writer};

/// What a client is told of a znode besides its data: 68 bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stat {
    /// Zxid of the txn that created it.
    pub czxid: i64,
    /// Zxid of the last change of its data.
    pub mzxid: i64,
    /// Created, ms since 1970, by the leader's clock.
    pub ctime: i64,
    /// Data last changed, ms since 1970.
    pub mtime: i64,
    /// Changes of the data.
    pub version: i32,
    /// Changes of the children: `2 × creates − children`, as Java computes it.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// The owning session of an ephemeral; 0 for anything else, containers and TTL nodes too.
    pub ephemeral_owner: i64,
    /// Bytes of data; 0 for null.
    pub data_length: i32,
    /// Direct children.
    pub num_children: i32,
    /// Zxid of the last create or delete of a child.
    pub pzxid: i64,
}

impl Stat {
    /// Bytes on the wire.
    pub const BYTES: usize = 68;

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
            data_length: r.i32()?,
            num_children: r.i32()?,
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
        w.i32(self.data_length);
        w.i32(self.num_children);
        w.i64(self.pzxid);
    }
}

/// Permission bits of an ACL entry. Source: `ZooDefs.Perms`.
pub mod perms {
    /// Read data, children, ACL; be told of events.
    pub const READ: i32 = 1;
    /// Set the data.
    pub const WRITE: i32 = 2;
    /// Create a child.
    pub const CREATE: i32 = 4;
    /// Delete a child.
    pub const DELETE: i32 = 8;
    /// Set the ACL, see all of it.
    pub const ADMIN: i32 = 16;
    /// All of the above.
    pub const ALL: i32 = 31;
}

/// One entry of an access control list.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Acl<'a> {
    /// Bits of [`perms`]; bits above them are kept and mean nothing.
    pub perms: i32,
    /// `world`, `digest`, `ip`, … A null on the wire reads as [`Acl::NULL`].
    pub scheme: Cow<'a, str>,
    /// Whom it admits, in the scheme's own form. A null reads as [`Acl::NULL`]: kazoo sends one
    /// for `auth`.
    pub id: Cow<'a, str>,
}

impl<'a> Acl<'a> {
    /// The least an entry takes on the wire.
    pub const BYTES_MIN: usize = 12;

    /// What a null scheme or id is taken for: no scheme, and an id that no scheme takes.
    pub const NULL: &'static str = "\0null";

    /// `world:anyone` with these permissions.
    pub const fn anyone(perms: i32) -> Self {
        Self { perms, scheme: Cow::Borrowed("world"), id: Cow::Borrowed("anyone") }
    }

    /// Reads one.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            perms: r.i32()?,
            scheme: r.string()?.unwrap_or(Cow::Borrowed(Self::NULL)),
            id: r.string()?.unwrap_or(Cow::Borrowed(Self::NULL)),
        })
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.i32(self.perms);
        for text in [&self.scheme, &self.id] {
            if text == Self::NULL {
                w.buffer(None);
            } else {
                w.string(text);
            }
        }
    }

    /// Reads a vector of them; `None` is null.
    pub fn decode_list(r: &mut Reader<'a>) -> Result<Option<Vec<Self>>, DecodeError> {
        let Some(count) = r.count(Self::BYTES_MIN)? else { return Ok(None) };
        (0..count).map(|_| Self::decode(r)).collect::<Result<_, _>>().map(Some)
    }

    /// Appends a vector of them.
    pub fn encode_list(list: &[Self], w: &mut Writer<'_>) {
        w.count(list.len());
        for acl in list {
            acl.encode(w);
        }
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Acl<'static> {
        Acl {
            perms: self.perms,
            scheme: Cow::Owned(self.scheme.into_owned()),
            id: Cow::Owned(self.id.into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_68_bytes_and_reads_back() {
        let stat = Stat { czxid: 1, cversion: -2, num_children: 2, pzxid: 9, ..Stat::default() };
        let mut out = Vec::new();
        stat.encode(&mut Writer::new(&mut out));
        assert_eq!(out.len(), Stat::BYTES);
        assert_eq!(Stat::decode(&mut Reader::new(&out)), Ok(stat));
    }

    #[test]
    fn a_null_scheme_or_id_is_told_from_an_empty_one() {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        w.i32(31);
        w.buffer(None);
        w.buffer(None);
        let null = Acl { perms: 31, scheme: Acl::NULL.into(), id: Acl::NULL.into() };
        assert_eq!(Acl::decode(&mut Reader::new(&out)), Ok(null.clone()));
        let mut again = Vec::new();
        null.encode(&mut Writer::new(&mut again));
        assert_eq!(again, out);
    }
}
