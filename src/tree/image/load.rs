//! Reads the tables and nodes of a snapshot back into a tree.
//!
//! Takes from its reader not a byte more than the image has: what comes after (seals, digest) is
//! for others. Nothing is reserved by a length before the bytes are there. What can be counted
//! from the nodes (owners, quotas, sizes, digest) is counted from the nodes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use super::TERMINATOR;
use crate::ids::{SessionId, Zxid};
use crate::tree::acl::{OPEN_ACL, OPEN_ACL_ID, nobody};
use crate::tree::arena::{NewNode, split};
use crate::tree::node::{NO_NODE, NodeId, NodeKind, StatPersisted};
use crate::tree::{Tree, TreeOptions};
use crate::wire::jute::text_of;
use crate::wire::{Acl, Reader};

/// Bytes reserved at once for a field whose length is not borne out yet.
const FIELD_CHUNK_BYTES: usize = 64 << 10;

/// Why bytes are not the image of a tree.
#[derive(Debug)]
pub enum LoadError {
    /// The reader failed, or ended too soon.
    Io(io::Error),
    /// A length or count that cannot be.
    Length {
        /// Of what.
        what: &'static str,
        /// As read.
        len: i32,
    },
    /// A node before its parent.
    Orphan {
        /// Of the node.
        path: String,
    },
    /// No node has the empty path.
    NoRoot,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot read the image: {error}"),
            Self::Length { what, len } => write!(f, "unreasonable length {len} of {what}"),
            Self::Orphan { path } => write!(f, "unable to find the parent of {path:?}"),
            Self::NoRoot => f.write_str("there is no root node"),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Length { .. } | Self::Orphan { .. } | Self::NoRoot => None,
        }
    }
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads the session table, the ACL table, the nodes and their terminator.
///
/// The reader should be buffered: fields are read one by one. `zxid` is that of the last txn the
/// image is said to hold, as in the file's name.
///
/// # Errors
/// [`LoadError`] if they are not there, or no tree.
pub fn load(reader: &mut impl Read, zxid: Zxid, options: TreeOptions) -> Result<Tree, LoadError> {
    let mut input = Input { reader, scratch: Vec::new() };
    let mut tree = Tree::empty(options);
    tree.last_zxid = zxid;
    load_sessions(&mut input, &mut tree)?;
    let mut acls = load_acls(&mut input, &mut tree)?;
    while load_node(&mut input, &mut tree, &mut acls)? {}
    if tree.find_id("").is_none() {
        return Err(LoadError::NoRoot);
    }
    tree.acls.forget_unused();
    tree.add_config_node();
    tree.load_quotas();
    Ok(tree)
}

fn load_sessions<R: Read>(input: &mut Input<'_, R>, tree: &mut Tree) -> Result<(), LoadError> {
    for _ in 0..input.count("sessions")? {
        let session = SessionId(input.i64()?);
        tree.sessions.insert(session, input.i32()?);
    }
    Ok(())
}

/// From the ids of the file to the keys of the table.
type AclKeys = BTreeMap<i64, u32>;

fn load_acls<R: Read>(input: &mut Input<'_, R>, tree: &mut Tree) -> Result<AclKeys, LoadError> {
    let mut keys = AclKeys::from([(OPEN_ACL_ID, OPEN_ACL)]);
    for _ in 0..input.count("ACL table")? {
        let id = input.i64()?;
        let mut list = Vec::new();
        for _ in 0..input.count("ACL")? {
            let perms = input.i32()?;
            let scheme = Cow::Owned(input.string("ACL scheme")?.to_owned());
            let id = Cow::Owned(input.string("ACL id")?.to_owned());
            list.push(Acl { perms, scheme, id });
        }
        if id != OPEN_ACL_ID {
            keys.insert(id, tree.acls.load(id, list.into()));
        }
    }
    Ok(keys)
}

/// Reads one node; false at the terminator.
fn load_node<R: Read>(
    input: &mut Input<'_, R>,
    tree: &mut Tree,
    acls: &mut AclKeys,
) -> Result<bool, LoadError> {
    let path = input.string("path")?;
    if path == TERMINATOR {
        return Ok(false);
    }
    let path: Box<str> = path.into();
    let data = input.data()?;
    let acl_id = input.i64()?;
    let stat = input.stat()?;
    // COMPAT: a snapshot that Java wrote while txns went on may lack the list of a node. Java takes
    // it and fails at the next read of it; here nobody is let in, until the replayed create brings
    // the list. An empty one would let in everybody.
    let acl = *acls.entry(acl_id).or_insert_with(|| tree.acls.load(acl_id, nobody()));
    tree.acls.retain(acl);
    let new = NewNode { path: &path, data, stat, acl };
    let parent = match split(&path) {
        None if path.is_empty() => Some(NO_NODE),
        None => None,
        Some((parent, _)) => tree.find_id(parent),
    };
    let parent = parent.ok_or_else(|| LoadError::Orphan { path: path.to_string() })?;
    tree.put_loaded(new, parent);
    Ok(true)
}

impl Tree {
    /// A path that comes twice is the later one's, as a map's would be.
    fn put_loaded(&mut self, new: NewNode<'_>, parent: NodeId) {
        let Some(id) = self.find_id(new.path) else {
            self.insert(new, parent);
            return;
        };
        let kind = NodeKind::under(&self.options, new.stat.ephemeral_owner);
        self.before(id);
        self.owners.remove(id, &self.nodes[id as usize]);
        let node = self.node_mut(id);
        node.put_stat(new.stat);
        node.kind = kind;
        let old = std::mem::replace(&mut node.acl, new.acl);
        self.acls.release_later(old);
        self.put_data(id, new.data.as_deref());
        self.owners.insert(id, &self.nodes[id as usize]);
        self.after(id);
    }
}

/// Jute from a reader.
struct Input<'r, R> {
    reader: &'r mut R,
    scratch: Vec<u8>,
}

impl<R: Read> Input<'_, R> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn i32(&mut self) -> Result<i32, LoadError> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, LoadError> {
        self.array().map(i64::from_be_bytes)
    }

    fn count(&mut self, what: &'static str) -> Result<usize, LoadError> {
        let len = self.i32()?;
        usize::try_from(len).map_err(|_| LoadError::Length { what, len })
    }

    /// Appends `len` bytes to `out`, which grows no faster than they come.
    fn bytes(&mut self, len: usize, out: &mut Vec<u8>) -> Result<(), LoadError> {
        out.reserve_exact(len.min(FIELD_CHUNK_BYTES));
        let taken = self.reader.take(len as u64).read_to_end(out)?;
        if taken < len {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    /// A string that is not null. Bytes that are not UTF-8 become U+FFFD, as in Java.
    fn string(&mut self, what: &'static str) -> Result<&str, LoadError> {
        let len = self.count(what)?;
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        self.bytes(len, &mut bytes)?;
        if let Cow::Owned(repaired) = text_of(&bytes) {
            bytes = repaired.into_bytes();
        }
        self.scratch = bytes;
        Ok(std::str::from_utf8(&self.scratch).expect("it was UTF-8, or has been repaired"))
    }

    fn data(&mut self) -> Result<Option<Box<[u8]>>, LoadError> {
        let len = self.i32()?;
        if len == -1 {
            return Ok(None);
        }
        let len = usize::try_from(len).map_err(|_| LoadError::Length { what: "data", len })?;
        let mut bytes = Vec::new();
        self.bytes(len, &mut bytes)?;
        Ok(Some(bytes.into()))
    }

    fn stat(&mut self) -> Result<StatPersisted, LoadError> {
        let bytes = self.array::<{ StatPersisted::BYTES }>()?;
        let stat = StatPersisted::decode(&mut Reader::new(&bytes));
        Ok(stat.expect("as many bytes as it takes"))
    }
}
