//! Watches of the clients on a server: set by reads, fired by txns before anything else is told of
//! them, and carried to the next server by `setWatches`.

use std::borrow::Cow;

use ringkeeper::ids::Zxid;
use ringkeeper::tree::{Change, Tree};
use ringkeeper::wire::OpCode;
use ringkeeper::wire::request::SetWatches;

use super::Cluster;
use crate::workload::Tell;

impl Cluster {
    /// Tells who watches of a txn's changes.
    pub(super) fn fire(&mut self, node: usize, changes: &[Change]) {
        let watches = &mut self.nodes[node].server().watches;
        let mut told = Vec::new();
        for change in changes {
            watches.fire(change, |_, _| true, |wire, _, path| told.push((wire, key_of(path))));
        }
        self.tell_events(told);
    }

    /// What a client that comes back has missed it is told now; for the rest it waits here.
    pub(super) fn set_watches(&mut self, node: usize, wire: u32, seen: Zxid, keys: [&[usize]; 2]) {
        let [data, exist] = keys.map(|keys| keys.iter().map(|key| Cow::from(path_of(*key))));
        let request = SetWatches {
            op: OpCode::SetWatches,
            relative_zxid: seen,
            data: data.collect(),
            exist: exist.collect(),
            child: Vec::new(),
            persistent: Vec::new(),
            recursive: Vec::new(),
        };
        let server = self.nodes[node].server();
        let mut told = Vec::new();
        let wire = u64::from(wire);
        server
            .watches
            .set_watches(wire, &server.tree, &request, |_, path| told.push((wire, key_of(path))))
            .expect("a few watches");
        self.tell_events(told);
    }

    fn tell_events(&mut self, told: Vec<(u64, Option<usize>)>) {
        for (wire, key) in told {
            let wire = u32::try_from(wire).expect("it is the number of a connection");
            self.tell(wire, Tell::Event(key.expect("only keys are watched")));
        }
    }
}

/// A key's znode.
pub(super) fn path_of(key: usize) -> String {
    format!("/key{key}")
}

fn key_of(path: &str) -> Option<usize> {
    path.strip_prefix("/key")?.parse().ok()
}

/// When a key was last written; zero if there is none.
pub(super) fn written_at(tree: &Tree, key: usize) -> Zxid {
    tree.find(&path_of(key)).map_or(Zxid::ZERO, |node| Zxid(node.stat_persisted().mzxid))
}
