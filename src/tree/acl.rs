//! The ACL table: each list is kept once and counted by the nodes that have it.
//!
//! COMPAT: ids begin at 1 and are never reused while the server runs; -1 is the open list, which is
//! not in the table (`ReferenceCountedACLCache`). Unlike Java's, the counts are exact.

use std::collections::BTreeMap;
use std::sync::Arc;

use slab::Slab;

use crate::wire::Acl;
use crate::wire::record::perms;

/// A list that many nodes share.
pub type SharedAcl = Arc<[Acl<'static>]>;

/// The id of `world:anyone` with all permissions where a list was null.
pub(super) const OPEN_ACL_ID: i64 = -1;

/// The key of the open list, which is never released.
pub(super) const OPEN_ACL: u32 = 0;

/// The list of a node whose own is lost: it lets nobody in but a superuser, here and in Java, and
/// says so. No client can set it: of `world` there is only `anyone`.
pub(super) fn nobody() -> SharedAcl {
    Arc::new([Acl { perms: 0, scheme: "world".into(), id: "nobody".into() }])
}

struct Entry {
    id: i64,
    list: SharedAcl,
    nodes: u32,
}

pub(super) struct AclTable {
    entries: Slab<Entry>,
    by_list: BTreeMap<SharedAcl, u32>,
    id_max: i64,
}

impl AclTable {
    pub(super) fn new() -> Self {
        let list = [Acl::anyone(perms::ALL)].into();
        let mut table = Self { entries: Slab::new(), by_list: BTreeMap::new(), id_max: 0 };
        let open = table.push(Entry { id: OPEN_ACL_ID, list, nodes: 0 });
        assert_eq!(open, OPEN_ACL);
        table
    }

    fn push(&mut self, entry: Entry) -> u32 {
        u32::try_from(self.entries.insert(entry)).expect("no more lists than nodes")
    }

    /// The key of `list`, counted once more. Null, which reads as empty, is the open list.
    pub(super) fn intern(&mut self, list: &[Acl<'_>]) -> u32 {
        if list.is_empty() {
            return OPEN_ACL;
        }
        if let Some(key) = self.lookup(list) {
            self.retain(key);
            return key;
        }
        let list: SharedAcl = list.iter().cloned().map(Acl::into_owned).collect();
        let key = self.load(self.id_max + 1, list);
        self.retain(key);
        key
    }

    fn lookup(&self, list: &[Acl<'_>]) -> Option<u32> {
        self.by_list.get(list).copied()
    }

    /// Counts a node more.
    pub(super) fn retain(&mut self, key: u32) {
        if key != OPEN_ACL {
            self.entries[key as usize].nodes += 1;
        }
    }

    /// Counts a node less; a list that no node has is forgotten.
    pub(super) fn release(&mut self, key: u32) {
        if key == OPEN_ACL {
            return;
        }
        let entry = &mut self.entries[key as usize];
        entry.nodes -= 1;
        if entry.nodes == 0 {
            self.forget(key);
        }
    }

    /// Counts a node less while a tree is loaded: nodes to come may have the list.
    pub(super) fn release_later(&mut self, key: u32) {
        if key != OPEN_ACL {
            self.entries[key as usize].nodes -= 1;
        }
    }

    fn forget(&mut self, key: u32) {
        let entry = self.entries.remove(key as usize);
        if self.by_list.get(&entry.list) == Some(&key) {
            self.by_list.remove(&entry.list);
        }
    }

    /// Adds an entry of a snapshot, not counted yet. A file may have a list under two ids: the
    /// later one is then given to new nodes.
    pub(super) fn load(&mut self, id: i64, list: SharedAcl) -> u32 {
        self.id_max = self.id_max.max(id);
        let key = self.push(Entry { id, list: list.clone(), nodes: 0 });
        self.by_list.insert(list, key);
        key
    }

    /// Forgets what the loaded nodes do not have (`purgeUnused`).
    pub(super) fn forget_unused(&mut self) {
        let unused = |(key, entry): (usize, &Entry)| (entry.nodes == 0).then_some(key);
        let unused: Vec<usize> = self.entries.iter().skip(1).filter_map(unused).collect();
        for key in unused {
            self.forget(u32::try_from(key).expect("keys are u32"));
        }
    }

    pub(super) fn list(&self, key: u32) -> &SharedAcl {
        &self.entries[key as usize].list
    }

    pub(super) fn id(&self, key: u32) -> i64 {
        self.entries[key as usize].id
    }

    /// How many nodes have this list, under whatever ids.
    pub(super) fn nodes_of(&self, list: &SharedAcl) -> u64 {
        let same = self.entries.iter().filter(|(_, entry)| entry.list == *list);
        same.map(|(_, entry)| u64::from(entry.nodes)).sum()
    }

    /// Lists in the table, the open one aside.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - 1
    }

    /// Ids and lists, the open one aside.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &SharedAcl)> {
        self.entries.iter().skip(1).map(|(_, entry)| (entry.id, &entry.list))
    }

    /// How many nodes have the list of each key, the open one aside.
    pub(super) fn counts(&self) -> BTreeMap<u32, u32> {
        let count = |(key, entry): (usize, &Entry)| u32::try_from(key).ok().zip(Some(entry.nodes));
        self.entries.iter().skip(1).filter_map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(id: &str) -> Vec<Acl<'_>> {
        vec![Acl { perms: 31, scheme: "digest".into(), id: id.into() }]
    }

    #[test]
    fn a_list_is_kept_once_and_as_long_as_a_node_has_it() {
        let mut table = AclTable::new();
        let (first, second) = (table.intern(&digest("a")), table.intern(&digest("b")));
        assert_eq!((table.id(first), table.id(second)), (1, 2));
        assert_eq!(table.intern(&digest("a")), first);
        table.release(first);
        assert_eq!(table.len(), 2);
        table.release(first);
        assert_eq!(table.len(), 1);
        let again = table.intern(&digest("a"));
        assert_eq!(table.id(again), 3, "ids are not reused");
        assert_eq!(&**table.list(again), digest("a"));
    }

    #[test]
    fn no_list_is_the_open_one_and_open_is_a_list() {
        let mut table = AclTable::new();
        let open = table.intern(&[]);
        assert_eq!((table.id(open), table.len()), (OPEN_ACL_ID, 0));
        assert_eq!(&**table.list(open), [Acl::anyone(31)]);
        table.release(open);
        let named = table.intern(&[Acl::anyone(31)]);
        assert_eq!(table.id(named), 1);
    }

    #[test]
    fn loaded_lists_that_nobody_has_are_forgotten() {
        let mut table = AclTable::new();
        let list =
            |id| SharedAcl::from(digest(id).into_iter().map(Acl::into_owned).collect::<Vec<_>>());
        let used = table.load(7, list("a"));
        table.load(3, list("b"));
        table.load(9, list("a"));
        table.retain(used);
        table.forget_unused();
        assert_eq!(table.len(), 1);
        let fresh = table.intern(&digest("a"));
        assert_eq!(table.id(fresh), 10, "the highest id of the file is not given again");
    }
}
