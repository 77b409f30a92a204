//! The tree as a whole: rules one by one, bytes of Java, and random histories.

mod history;
mod images;
mod model;
mod quotas;
mod rules;
mod vectors;

use std::fmt::Write as _;

use super::image::{self, LoadError, Progress};
use super::{Change, Outcome, Tree, TreeOptions};
use crate::ids::{Millis, SessionId, Xid, Zxid};
use crate::wire::Acl;
use crate::wire::txn::{CreateTxn, Record, Txn, TxnHeader};
use crate::wire::{OpCode, Stat};

/// TTL nodes are only known with extended types.
const OPTIONS: TreeOptions =
    TreeOptions { extended_types: true, emulate_353_ttl: false, digest: true, hash_seed: 0 };

fn header(session: i64, zxid: i64, time: i64, op: OpCode) -> TxnHeader {
    let (session, cxid) = (SessionId(session), Xid(0));
    TxnHeader { session, cxid, zxid: Zxid(zxid), time: Millis(time), op }
}

fn record(session: i64, zxid: i64, op: OpCode, txn: Txn<'_>) -> Record<'_> {
    Record { header: header(session, zxid, zxid * 1000, op), txn, digest: None }
}

fn plain<'a>(path: &'a str, data: Option<&'a [u8]>, parent_cversion: i32) -> CreateTxn<'a> {
    let acl = vec![Acl::anyone(31)];
    CreateTxn { path: path.into(), data, acl, ephemeral: false, parent_cversion }
}

/// A tree, and the zxid of its last txn.
struct Feed {
    tree: Tree,
    zxid: i64,
}

impl Feed {
    fn new() -> Self {
        Self { tree: Tree::with_options(OPTIONS), zxid: 0 }
    }

    /// Applies the next txn of session 7; what came of it, and what watches would be told.
    fn run(&mut self, op: OpCode, txn: Txn<'_>) -> (Result<Option<Stat>, i32>, Vec<Change>) {
        self.zxid += 1;
        self.run_at(self.zxid, op, txn)
    }

    fn run_at(
        &mut self,
        zxid: i64,
        op: OpCode,
        txn: Txn<'_>,
    ) -> (Result<Option<Stat>, i32>, Vec<Change>) {
        let record = record(7, zxid, op, txn);
        let mut changes = Vec::new();
        let result = match self.tree.apply(&record, Some(&mut changes)) {
            Outcome::Created { stat, .. } | Outcome::Changed(stat) => Ok(Some(stat)),
            Outcome::Error(err) => Err(err),
            Outcome::Deleted
            | Outcome::Checked
            | Outcome::Multi(_)
            | Outcome::SessionOpened
            | Outcome::SessionClosed => Ok(None),
        };
        self.tree.check_invariants();
        (result, changes)
    }

    /// Creates the next child, as a leader would number it.
    fn create(&mut self, path: &str) -> Stat {
        self.create_as(OpCode::Create, path, b"", Txn::Create)
    }

    fn create_as<'a>(
        &mut self,
        op: OpCode,
        path: &'a str,
        data: &'a [u8],
        txn: impl FnOnce(CreateTxn<'a>) -> Txn<'a>,
    ) -> Stat {
        let parent = path.rsplit_once('/').expect("a path has a parent").0;
        let cversion = self.tree.find(parent).expect("the parent is there").cversion();
        let result = self.run(op, txn(plain(path, Some(data), cversion + 1))).0;
        result.expect("a create that can be").expect("it has a stat")
    }

    fn delete(&mut self, path: &str) -> Result<Option<Stat>, i32> {
        self.run(OpCode::Delete, Txn::Delete { path: path.into() }).0
    }

    fn set(&mut self, path: &str, data: Option<&[u8]>, version: i32) -> Result<Option<Stat>, i32> {
        self.run(OpCode::SetData, Txn::SetData { path: path.into(), data, version }).0
    }

    fn stat(&self, path: &str) -> Stat {
        self.tree.stat(self.tree.find(path).expect("the node is there"))
    }

    fn text(&self, path: &str) -> &str {
        let data = self.tree.find(path).expect("the node is there").data();
        std::str::from_utf8(data.expect("it has data")).expect("it is text")
    }
}

/// All that is replicated, as text. The usage of quotas is each server's own, and left out.
fn dump(tree: &Tree) -> String {
    let mut out = format!("{:?} {:x}\n", tree.last_zxid(), tree.digest());
    writeln!(out, "{:?}", tree.sessions().collect::<Vec<_>>()).unwrap();
    let mut lines: Vec<String> = tree.nodes.iter().map(|(_, node)| dump_node(tree, node)).collect();
    lines.sort();
    out + &lines.join("\n")
}

fn dump_node(tree: &Tree, node: &super::Node) -> String {
    let mut children: Vec<&str> = tree.child_names(node).collect();
    children.sort_unstable();
    let data = node.data().filter(|_| !node.path().ends_with("/zookeeper_stats"));
    let (stat, acl) = (node.stat_persisted(), tree.acl(node));
    format!("{} {data:?} {stat:?} {:?} {acl:?} {children:?}", node.path(), node.kind())
}

/// Reads the image under way, in steps of this many nodes; `between` may write.
fn walk(
    tree: &mut Tree,
    image: &image::Image,
    nodes_max: usize,
    mut between: impl FnMut(&mut Tree),
) -> Vec<u8> {
    let mut out = Vec::new();
    image.encode_tables(&mut out);
    let mut walker = image.walker();
    loop {
        let before = walker.nodes();
        let progress = walker.append(tree, &mut out, nodes_max, 1 << 20);
        assert!(walker.nodes() - before <= nodes_max);
        match progress {
            Progress::More => between(tree),
            Progress::Done => break,
            Progress::Gone => panic!("the image is under way"),
        }
    }
    assert_eq!(walker.nodes(), image.nodes);
    out
}

fn load(bytes: &[u8], zxid: Zxid) -> Result<Tree, LoadError> {
    let mut rest = bytes;
    let tree = image::load(&mut rest, zxid, OPTIONS)?;
    assert!(rest.is_empty(), "it reads to the end");
    tree.check_invariants();
    Ok(tree)
}
