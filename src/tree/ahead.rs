//! Nodes looked up several at once, before they are needed one after the other.
//!
//! To find a node by its path is to wait for memory three times in a row: for the index, the node
//! and its path; and then once more for its data. Taken a step at a time for several, those waits
//! overlap, and what is looked at again soon after is near.

use std::hint::black_box;

use super::apply::first_changed;
use super::node::{Node, NodeId};
use super::{Place, Tree, indexed};
use crate::wire::txn::Record;

impl Tree {
    /// For each record where the first node most likely is that it changes: for
    /// [`Tree::apply_at`]. Pays only where these are to be applied soon after, few at a time.
    pub fn look_ahead<'r>(&self, records: &'r [Record<'_>]) -> Vec<Option<Place>> {
        let path_of = |record: &'r Record<'_>| first_changed(&record.txn);
        let paths: Vec<_> = records.iter().map(path_of).collect();
        self.likely(&paths).into_iter().map(|place| place.map(Place)).collect()
    }

    /// Makes sure that the nodes at `paths` are found quickly, for who will soon look for them.
    pub fn bring_near(&self, paths: &[Option<&str>]) {
        black_box(self.likely(paths));
    }

    /// Where the nodes most likely are: found by a part of their paths' hashes, and not at odds
    /// with what each look at another piece of memory shows.
    fn likely(&self, paths: &[Option<&str>]) -> Vec<Option<NodeId>> {
        let likely = |path| self.index.likely(indexed(path));
        let mut places: Vec<_> = paths.iter().map(|path| path.and_then(likely)).collect();
        self.keep(&mut places, paths, |node, path| {
            black_box(node.digest); // the other end of the node
            node.path.len() == path.len()
        });
        self.keep(&mut places, paths, |node, path| {
            black_box(node.data.as_ref().map(|data| (data.first().copied(), data.last().copied())));
            node.path.bytes().last() == path.bytes().last()
        });
        places
    }

    fn keep(
        &self,
        places: &mut [Option<NodeId>],
        paths: &[Option<&str>],
        could_be: impl Fn(&Node, &str) -> bool,
    ) {
        for (place, path) in places.iter_mut().zip(paths) {
            let node = |id: &u32| self.nodes.get(*id as usize).zip(*path);
            place.take_if(|id| node(id).is_none_or(|(node, path)| !could_be(node, indexed(path))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Millis, SessionId, Xid, Zxid};
    use crate::wire::txn::{CreateTxn, Txn, TxnHeader};
    use crate::wire::{Acl, OpCode};

    fn record(zxid: i64, op: OpCode, txn: Txn<'_>) -> Record<'_> {
        let (session, cxid, time) = (SessionId(1), Xid(1), Millis(0));
        let header = TxnHeader { session, cxid, zxid: Zxid(zxid), time, op };
        Record { header, txn, digest: None }
    }

    fn create(path: &str) -> Txn<'_> {
        let acl = vec![Acl::anyone(31)];
        let (path, parent_cversion) = (path.into(), -1);
        Txn::Create(CreateTxn { path, data: None, acl, ephemeral: false, parent_cversion })
    }

    fn set(path: &str) -> Txn<'_> {
        Txn::SetData { path: path.into(), data: None, version: 1 }
    }

    #[test]
    fn each_place_is_that_of_the_node_and_what_has_none_gets_none() {
        let mut tree = Tree::new();
        let paths: Vec<String> = (0..500).map(|number| format!("/node-{number}")).collect();
        for (zxid, path) in (1..).zip(&paths) {
            tree.apply(&record(zxid, OpCode::Create, create(path)), None);
        }
        let records: Vec<_> =
            paths.iter().map(|path| record(501, OpCode::SetData, set(path))).collect();
        let found = tree.look_ahead(&records).into_iter().flatten();
        let found = found.filter(|place| paths.contains(&tree.node(place.0).path().into()));
        assert!(found.count() >= 490, "nearly all: some have another's tag");

        let child = create("/node-7/child");
        let below = [record(501, OpCode::Create, child), record(501, OpCode::Create, create("/x"))];
        let parents = tree.look_ahead(&below).into_iter().map(|place| place.unwrap().0);
        assert!(parents.map(|id| tree.node(id).path()).eq(["/node-7", "/"]));

        let multi = Txn::Multi(vec![(OpCode::SetData, set("/node-8"))]);
        let none = [set("/missing"), Txn::Delete { path: "/node-9".into() }, Txn::Multi(vec![])];
        let first = tree.look_ahead(&[record(501, OpCode::Multi, multi)])[0].unwrap();
        assert_eq!(tree.node(first.0).path(), "/node-8");
        for txn in none {
            assert_eq!(tree.look_ahead(&[record(501, OpCode::SetData, txn)]), [None]);
        }
    }
}
