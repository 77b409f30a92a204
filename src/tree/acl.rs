//! The ACL table: each list is kept once and counted by the nodes that have it.
//!
//! COMPAT: ids begin at 1 and are never reused while the server runs; -1 is the open list, which is
//! not in the table (`ReferenceCountedACLCache`).

use std::collections::HashMap;
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

struct Entry {
    id: i64,
    list: SharedAcl,
    nodes: u32,
}

pub(super) struct AclTable {
    entries: Slab<Entry>,
    by_list: HashMap<SharedAcl, u32>,
    id_max: i64,
}

fn key(index: usize) -> u32 {
    u32::try_from(index).expect("no more lists than nodes")
}

impl AclTable {
    pub(super) fn new() -> Self {
        let mut entries = Slab::new();
        let open = Entry { id: OPEN_ACL_ID, list: [Acl::anyone(perms::ALL)].into(), nodes: 0 };
        assert_eq!(key(entries.insert(open)), OPEN_ACL);
        Self { entries, by_list: HashMap::new(), id_max: 0 }
    }

    /// The key of `list`, counted once more. Null, which reads as empty, is the open list.
    pub(super) fn intern(&mut self, list: &[Acl<'_>]) -> u32 {
        if list.is_empty() {
            return OPEN_ACL;
        }
        if let Some(key) = self.lookup(list) {
            self.entries[key as usize].nodes += 1;
            return key;
        }
        self.id_max += 1;
        let owned: SharedAcl = list.iter().cloned().map(Acl::into_owned).collect();
        let key =
            key(self.entries.insert(Entry { id: self.id_max, list: owned.clone(), nodes: 1 }));
        self.by_list.insert(owned, key);
        key
    }

    fn lookup(&self, list: &[Acl<'_>]) -> Option<u32> {
        self.by_list.get(list).copied()
    }

    pub(super) fn release(&mut self, key: u32) {
        if key == OPEN_ACL {
            return;
        }
        let entry = &mut self.entries[key as usize];
        entry.nodes -= 1;
        if entry.nodes == 0 {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: u32) {
        let entry = self.entries.remove(key as usize);
        if self.by_list.get(&entry.list) == Some(&key) {
            self.by_list.remove(&entry.list);
        }
    }

    pub(super) fn list(&self, key: u32) -> &SharedAcl {
        &self.entries[key as usize].list
    }

    pub(super) fn id(&self, key: u32) -> i64 {
        self.entries[key as usize].id
    }

    /// Lists in the table, the open one aside.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - 1
    }
}
