//! The tree's digest, version 2: a sum of node crcs by which servers notice that they differ.
//!
//! Nothing below `/zookeeper/` takes part. Source: `DigestCalculator`, `AdHash`.

use crc32fast::Hasher;

use super::node::StatPersisted;

/// Whether the node at `path` takes part.
pub fn is_digested(path: &str) -> bool {
    !path.starts_with("/zookeeper/")
}

/// The crc of a path and its data, to go on from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Prefix {
    /// As far as it goes.
    pub crc: u32,
    /// How far it goes.
    pub bytes: u64,
}

impl Prefix {
    /// The root's path may be given as `/` or empty.
    pub fn new(path: &str, data: Option<&[u8]>) -> Self {
        let path = if path == "/" { "" } else { path };
        let data = data.unwrap_or_default();
        let mut hasher = Hasher::new();
        hasher.update(path.as_bytes());
        hasher.update(data);
        Self { crc: hasher.finalize(), bytes: (path.len() + data.len()) as u64 }
    }

    /// The digest of a node with this path, this data and this stat.
    pub fn node_digest(self, stat: &StatPersisted) -> u32 {
        let mut bytes = [0; 60];
        let mut rest = &mut bytes[..];
        let mut put = |field: &[u8]| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(field.len());
            head.copy_from_slice(field);
            rest = tail;
        };
        for long in [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime] {
            put(&long.to_be_bytes());
        }
        for int in [stat.version, stat.cversion, stat.aversion] {
            put(&int.to_be_bytes());
        }
        put(&stat.ephemeral_owner.to_be_bytes());
        let mut hasher = Hasher::new_with_initial_len(self.crc, self.bytes);
        hasher.update(&bytes);
        hasher.finalize()
    }
}
