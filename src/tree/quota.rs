//! Quotas: who has one, and what is used of it.
//!
//! The quota of `P` is two ordinary nodes, `/zookeeper/quota` + P + `/zookeeper_limits` and
//! `/zookeeper_stats`. Usage is written into the stats node's data by every server for itself:
//! no version, no mzxid, no watch, no digest. Source: `Quotas`, `StatsTrack`, `PathTrie`,
//! `DataTree.updateQuotaStat`.

mod sums;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::Tree;
use super::arena::split;
use super::node::NodeId;

pub use sums::{QuotaSum, QuotaSums, QuotaWalk};

const QUOTA_PREFIX: &str = "/zookeeper/quota";
const LIMITS_NAME: &str = "zookeeper_limits";
const STATS_NAME: &str = "zookeeper_stats";

/// What a quota allows; -1 is no limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Nodes, past which the log warns.
    pub count: i64,
    /// Bytes of data, past which the log warns.
    pub bytes: i64,
    /// Nodes, past which a request fails.
    pub count_hard: i64,
    /// Bytes of data, past which a request fails.
    pub bytes_hard: i64,
}

/// What is used: -1 where the stats node does not say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Usage {
    /// Nodes, the root of the quota among them.
    pub count: i64,
    /// Bytes of their data.
    pub bytes: i64,
}

/// The quota that counts for a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota<'a> {
    /// The node it is set on, which need not exist.
    pub root: &'a str,
    /// What it allows.
    pub limits: Limits,
    /// What is used of it.
    pub usage: Usage,
}

/// The text of a limits or stats node. What does not parse is no limit: Java throws over it.
#[derive(Debug, Eq, PartialEq)]
struct Track<'a> {
    count: i64,
    bytes: i64,
    /// The hard limits, and keys nobody knows.
    others: BTreeMap<&'a str, i64>,
}

impl<'a> Track<'a> {
    fn parse(data: Option<&'a [u8]>) -> Self {
        let text = std::str::from_utf8(data.unwrap_or_default()).unwrap_or_default();
        let mut track = Self { count: -1, bytes: -1, others: BTreeMap::new() };
        for pair in text.split([',', ';']) {
            let mut parts = pair.split('=');
            let (Some(key), Some(value)) = (parts.next(), parts.next()) else { continue };
            let value = value.parse().unwrap_or(-1);
            match key {
                "count" => track.count = value,
                "bytes" => track.bytes = value,
                _ => drop(track.others.insert(key, value)),
            }
        }
        track
    }

    fn other(&self, key: &str) -> i64 {
        self.others.get(key).copied().unwrap_or(-1)
    }

    fn limits(&self) -> Limits {
        Limits {
            count: self.count,
            bytes: self.bytes,
            count_hard: self.other("countHardLimit"),
            bytes_hard: self.other("byteHardLimit"),
        }
    }

    fn to_data(&self) -> Box<[u8]> {
        let mut text = format!("count={},bytes={}", self.count, self.bytes);
        if !self.others.is_empty() {
            text.push('='); // COMPAT: old readers stop here (`StatsTrack.toString`)
        }
        for (key, value) in &self.others {
            write!(text, ";{key}={value}").expect("a string takes everything");
        }
        text.into_bytes().into()
    }
}

/// The nodes with a quota.
#[derive(Default)]
pub(super) struct QuotaRoots {
    /// Each [`without_blanks`].
    pub(super) paths: BTreeSet<Box<str>>,
}

/// COMPAT: quotas are looked up without the components of a path that are nothing but spaces: the
/// quota of `/a/ ` is that of `/a` (`PathTrie.split`).
fn without_blanks(path: &str) -> Cow<'_, str> {
    if !path.contains("/ ") {
        return Cow::Borrowed(path);
    }
    let named = path.split('/').filter(|name| !name.trim_matches(' ').is_empty());
    Cow::Owned(named.flat_map(|name| ["/", name]).collect())
}

impl QuotaRoots {
    fn insert(&mut self, root: &str) {
        self.paths.insert(without_blanks(root).into());
    }

    fn remove(&mut self, root: &str) {
        self.paths.remove(&*without_blanks(root));
    }

    /// The deepest of them that is `path` or above it.
    fn deepest(&self, path: &str) -> Option<&str> {
        if self.paths.is_empty() {
            return None;
        }
        let path = without_blanks(path);
        let mut path = &*path;
        while !path.is_empty() {
            if let Some(root) = self.paths.get(path) {
                return Some(root);
            }
            path = split(path)?.0;
        }
        None
    }
}

/// The path a limits or stats node is about; none for the root, which can have no quota.
fn quota_root_of<'a>(node_path: &'a str, name: &str) -> Option<&'a str> {
    let (parent, last) = split(node_path)?;
    let root = parent.strip_prefix(QUOTA_PREFIX)?;
    (last == name && root.starts_with('/')).then_some(root)
}

/// Whether the node makes `root` one.
pub(super) fn is_limits_of(node_path: &str, root: &str) -> bool {
    let named = [quota_root_of(node_path, LIMITS_NAME), loaded_root_of(node_path)];
    named.into_iter().flatten().any(|named| without_blanks(named) == root)
}

/// The path that a limits node of a loaded tree is about.
///
/// COMPAT: of a limits node below another one the first counts (`DataTree.traverseNode`).
fn loaded_root_of(node_path: &str) -> Option<&str> {
    quota_root_of(node_path, LIMITS_NAME)?;
    let path = node_path.strip_prefix(QUOTA_PREFIX)?;
    let end = path.find(&format!("/{LIMITS_NAME}"))?;
    Some(&path[..end]).filter(|root| !root.is_empty())
}

impl Tree {
    /// The quota that counts for `path`: the one set deepest on the way to it.
    ///
    /// COMPAT: one without its limits or its stats node counts for nothing, nor does one above it
    /// (`ZooKeeperServer.checkQuota`).
    pub fn quota_of(&self, path: &str) -> Option<Quota<'_>> {
        let root = self.quotas.deepest(path)?;
        let limits = self.find(&format!("{QUOTA_PREFIX}{root}/{LIMITS_NAME}"))?;
        let stats = Track::parse(self.find(&stats_path(root))?.data());
        Some(Quota {
            root,
            limits: Track::parse(limits.data()).limits(),
            usage: Usage { count: stats.count, bytes: stats.bytes },
        })
    }

    /// A node was created.
    pub(super) fn quota_on_create(&mut self, path: &str, data_len: usize) {
        if let Some(root) = quota_root_of(path, LIMITS_NAME) {
            self.quotas.insert(root);
        }
        if let Some(root) = quota_root_of(path, STATS_NAME) {
            self.recount_quota(root);
        }
        self.add_usage(path, signed(data_len), 1);
    }

    /// A node was deleted.
    pub(super) fn quota_on_delete(&mut self, path: &str, data_len: usize) {
        if let Some(root) = quota_root_of(path, LIMITS_NAME) {
            self.quotas.remove(root);
        }
        self.add_usage(path, -signed(data_len), -1);
    }

    /// A node's data was replaced.
    pub(super) fn quota_on_set(&mut self, path: &str, old_len: usize, new_len: usize) {
        self.add_usage(path, signed(new_len) - signed(old_len), 0);
    }

    fn add_usage(&mut self, path: &str, bytes: i64, count: i64) {
        let Some(root) = self.quotas.deepest(path) else { return };
        let Some(id) = self.find_id(&stats_path(root)) else { return };
        let mut track = Track::parse(self.node(id).data());
        track.count = track.count.wrapping_add(count);
        track.bytes = track.bytes.wrapping_add(bytes);
        let data = track.to_data();
        self.put_stats(id, &data);
    }

    /// Writes what is used below `root` into its stats node.
    fn recount_quota(&mut self, root: &str) {
        let Some(id) = self.find_id(&stats_path(root)) else { return };
        let mut track = Track { count: 0, bytes: 0, others: BTreeMap::new() };
        let mut stack: Vec<NodeId> = self.find_id(root).into_iter().collect();
        while let Some(id) = stack.pop() {
            let node = self.node(id);
            track.count += 1;
            track.bytes += signed(node.data_len());
            stack.extend(node.child_ids());
        }
        let data = track.to_data();
        self.put_stats(id, &data);
    }

    fn put_stats(&mut self, id: NodeId, data: &[u8]) {
        self.before(id);
        self.put_data(id, Some(data));
        self.after(id);
    }

    /// Finds the quotas of a tree that was loaded, and counts their usage anew.
    ///
    /// COMPAT: a limits node with children makes no quota here, though it made one when it was
    /// created: what counts after a restart depends on the snapshot (`DataTree.traverseNode`).
    pub(super) fn load_quotas(&mut self) {
        let mut stack: Vec<NodeId> = self.find_id(QUOTA_PREFIX).into_iter().collect();
        let mut roots = BTreeSet::new();
        while let Some(id) = stack.pop() {
            let node = self.node(id);
            stack.extend(node.child_ids());
            if node.child_count() == 0 {
                roots.extend(loaded_root_of(&node.path).map(str::to_owned));
            }
        }
        self.quotas = QuotaRoots::default();
        for root in &roots {
            self.recount_quota(root);
            self.quotas.insert(root);
        }
    }
}

fn stats_path(root: &str) -> String {
    format!("{QUOTA_PREFIX}{root}/{STATS_NAME}")
}

fn signed(len: usize) -> i64 {
    i64::try_from(len).expect("data is smaller than 2^63")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written_as_java_does() {
        // text, what is read (count, bytes, hard count, hard bytes), what is written again
        let cases = [
            ("count=3,bytes=19", [3, 19, -1, -1], "count=3,bytes=19"),
            (
                "count=5,bytes=100=;byteHardLimit=-1;countHardLimit=10",
                [5, 100, 10, -1],
                "count=5,bytes=100=;byteHardLimit=-1;countHardLimit=10",
            ),
            (
                "countHardLimit=10;byteHardLimit=7,;,count=",
                [-1, -1, 10, 7],
                "count=-1,bytes=-1=;byteHardLimit=7;countHardLimit=10",
            ),
            ("bytes=1;who=2", [-1, 1, -1, -1], "count=-1,bytes=1=;who=2"),
            ("", [-1; 4], "count=-1,bytes=-1"),
            ("junk", [-1; 4], "count=-1,bytes=-1"),
            ("count=many,bytes=4", [-1, 4, -1, -1], "count=-1,bytes=4"),
        ];
        for (text, [count, bytes, count_hard, bytes_hard], written) in cases {
            let track = Track::parse(Some(text.as_bytes()));
            assert_eq!(track.limits(), Limits { count, bytes, count_hard, bytes_hard }, "{text}");
            assert_eq!(&*track.to_data(), written.as_bytes(), "{text}");
        }
        assert_eq!(Track::parse(None), Track::parse(Some(&[0xff])));
    }

    #[test]
    fn the_deepest_root_on_the_path_counts() {
        let mut roots = QuotaRoots::default();
        assert_eq!(roots.deepest("/a"), None);
        roots.paths.extend(["/a".into(), "/a/b".into()]);
        let cases = [
            ("/a", Some("/a")),
            ("/a/x/y", Some("/a")),
            ("/a/b", Some("/a/b")),
            ("/a/b/c", Some("/a/b")),
            ("/ab", None),
            ("/", None),
            ("", None),
            ("/a/ /b/  /c", Some("/a/b")),
            ("/ /a", Some("/a")),
            ("/ ", None),
            ("/a b", None),
            ("/a/ b", Some("/a")),
        ];
        for (path, root) in cases {
            assert_eq!(roots.deepest(path), root, "{path}");
        }
    }

    #[test]
    fn a_limits_node_names_its_root() {
        let cases = [
            ("/zookeeper/quota/a/b/zookeeper_limits", Some("/a/b")),
            ("/zookeeper/quota/zookeeper_limits", None),
            ("/zookeeper/quotas/a/zookeeper_limits", None),
            ("/zookeeper/quota/a/zookeeper_stats", None),
            ("/a/zookeeper_limits", None),
        ];
        for (path, root) in cases {
            assert_eq!(quota_root_of(path, LIMITS_NAME), root, "{path}");
            assert_eq!(loaded_root_of(path), root, "{path}");
        }
        let nested = "/zookeeper/quota/a/zookeeper_limits/zookeeper_limits";
        assert_eq!(quota_root_of(nested, LIMITS_NAME), Some("/a/zookeeper_limits"));
        assert_eq!(loaded_root_of(nested), Some("/a"));
        assert_eq!(loaded_root_of("/zookeeper/quota/zookeeper_limits/x/zookeeper_limits"), None);
    }
}
