//! The entries of the watch tables and the lists they stand in.
//!
//! INVARIANT: an entry has at least one mode and stands in exactly two lists, its path's in its
//! table and its connection's; a path without entries is not kept, nor a connection, unless the
//! last of its data watches fired: it is listed until it closes.

use std::collections::HashMap;

use hashbrown::HashTable;
use slab::Slab;

use super::{TooManyWatches, WatchSummary};
use crate::hash::PathHash;
use crate::limits::{CONNECTION_WATCHES_MAX, SHARD_WATCHES_MAX};

const NONE: u32 = u32::MAX;

const _: () = assert!(SHARD_WATCHES_MAX < NONE, "an entry's index fits");

/// Which table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Table {
    Data = 0,
    Child = 1,
}

/// How a watch lives and how far it sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// Until it fires.
    Standard = 1,
    /// Until it is dropped.
    Persistent = 2,
    /// The same, and sees everything below.
    Recursive = 4,
}

/// A set of [`Mode`]s.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Modes(u8);

impl Modes {
    pub(super) const ALL: Self = Self(7);

    pub(super) const fn of(mode: Mode) -> Self {
        Self(mode as u8)
    }

    pub(super) const fn has(self, mode: Mode) -> bool {
        self.0 & mode as u8 != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn with(self, mode: Mode) -> Self {
        Self(self.0 | mode as u8)
    }

    const fn without(self, modes: Self) -> Self {
        Self(self.0 & !modes.0)
    }
}

struct Entry {
    path: u32,
    connection: u32,
    path_next: u32,
    path_previous: u32,
    connection_next: u32,
    connection_previous: u32,
    table: Table,
    modes: Modes,
}

struct Path {
    text: Box<str>,
    /// First entry in each table.
    heads: [u32; 2],
}

struct Connection {
    key: u64,
    head: u32,
    /// Entries in each table.
    watches: [u32; 2],
    /// Whether it is listed with the data watches that it has, or had.
    is_listed: bool,
    /// The last step in which it was told of something.
    told: u64,
}

/// Both tables.
pub(super) struct WatchTables {
    hash: PathHash,
    entries: Slab<Entry>,
    /// By path and connection; both tables.
    by_pair: HashTable<u32>,
    paths: Slab<Path>,
    by_text: HashTable<u32>,
    connections: Slab<Connection>,
    by_key: HashMap<u64, u32>,
    recursive: usize,
    /// Entries in each table.
    watches: [usize; 2],
    /// Paths in the data table.
    data_paths: usize,
    /// Connections that are listed.
    listed: usize,
    step: u64,
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("bounded by SHARD_WATCHES_MAX")
}

impl WatchTables {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            hash: PathHash::new(hash_seed),
            entries: Slab::new(),
            by_pair: HashTable::new(),
            paths: Slab::new(),
            by_text: HashTable::new(),
            connections: Slab::new(),
            by_key: HashMap::new(),
            recursive: 0,
            watches: [0; 2],
            data_paths: 0,
            listed: 0,
            step: 0,
        }
    }

    fn find_path(&self, text: &str) -> Option<u32> {
        let is_it = |id: &u32| *self.paths[*id as usize].text == *text;
        self.by_text.find(self.hash.of(text), is_it).copied()
    }

    fn find_entry(&self, table: Table, path: u32, connection: u32) -> Option<u32> {
        let is_it = |id: &u32| {
            let entry = &self.entries[*id as usize];
            (entry.table, entry.path, entry.connection) == (table, path, connection)
        };
        self.by_pair.find(self.hash.of_pair(path, connection), is_it).copied()
    }

    fn find(&self, table: Table, text: &str, key: u64) -> Option<u32> {
        let connection = *self.by_key.get(&key)?;
        self.find_entry(table, self.find_path(text)?, connection)
    }

    pub(super) fn modes(&self, table: Table, text: &str, key: u64) -> Modes {
        self.find(table, text, key).map_or(Modes(0), |id| self.entries[id as usize].modes)
    }

    /// Adds a mode to the watch of `key` on `text`; doing it twice changes nothing.
    pub(super) fn add(
        &mut self,
        table: Table,
        text: &str,
        key: u64,
        mode: Mode,
    ) -> Result<(), TooManyWatches> {
        let id = match self.find(table, text, key) {
            Some(id) => id,
            None => self.insert(table, text, key)?,
        };
        let entry = &mut self.entries[id as usize];
        if mode == Mode::Recursive && !entry.modes.has(mode) {
            self.recursive += 1;
        }
        entry.modes = entry.modes.with(mode);
        Ok(())
    }

    fn insert(&mut self, table: Table, text: &str, key: u64) -> Result<u32, TooManyWatches> {
        let connection = self.by_key.get(&key).copied();
        let has = connection.map_or(0, |id| {
            let watches = self.connections[id as usize].watches;
            watches[0] + watches[1]
        });
        if has >= CONNECTION_WATCHES_MAX || self.entries.len() >= SHARD_WATCHES_MAX as usize {
            return Err(TooManyWatches);
        }
        let connection = connection.unwrap_or_else(|| self.insert_connection(key));
        let path = self.find_path(text).unwrap_or_else(|| self.insert_path(text));
        Ok(self.link(table, path, connection))
    }

    fn insert_connection(&mut self, key: u64) -> u32 {
        let (watches, is_listed) = ([0; 2], false);
        let connection = Connection { key, head: NONE, watches, is_listed, told: 0 };
        let id = index(self.connections.insert(connection));
        self.by_key.insert(key, id);
        id
    }

    fn insert_path(&mut self, text: &str) -> u32 {
        let id = index(self.paths.insert(Path { text: text.into(), heads: [NONE; 2] }));
        let (paths, hash) = (&self.paths, &self.hash);
        let rehash = |id: &u32| hash.of(&paths[*id as usize].text);
        self.by_text.insert_unique(hash.of(text), id, rehash);
        id
    }

    /// A new entry, at the head of its lists and yet without a mode.
    fn link(&mut self, table: Table, path: u32, connection: u32) -> u32 {
        let path_next = self.paths[path as usize].heads[table as usize];
        let connection_next = self.connections[connection as usize].head;
        let id = index(self.entries.insert(Entry {
            path,
            connection,
            path_next,
            path_previous: NONE,
            connection_next,
            connection_previous: NONE,
            table,
            modes: Modes(0),
        }));
        if path_next == NONE {
            self.data_paths += usize::from(table == Table::Data);
        } else {
            self.entries[path_next as usize].path_previous = id;
        }
        if connection_next != NONE {
            self.entries[connection_next as usize].connection_previous = id;
        }
        self.paths[path as usize].heads[table as usize] = id;
        let owner = &mut self.connections[connection as usize];
        owner.head = id;
        owner.watches[table as usize] += 1;
        if table == Table::Data && !owner.is_listed {
            owner.is_listed = true;
            self.listed += 1;
        }
        self.watches[table as usize] += 1;
        let (entries, hash) = (&self.entries, &self.hash);
        self.by_pair.insert_unique(hash.of_pair(path, connection), id, |id| {
            let entry = &entries[*id as usize];
            hash.of_pair(entry.path, entry.connection)
        });
        id
    }

    /// Takes modes from a watch; `true` if it had any of them.
    pub(super) fn remove(&mut self, table: Table, text: &str, key: u64, modes: Modes) -> bool {
        let Some(id) = self.find(table, text, key) else { return false };
        let connection = self.entries[id as usize].connection;
        let had_any = self.take(id, modes);
        if table == Table::Data && self.connections[connection as usize].watches[0] == 0 {
            self.unlist(connection);
        }
        had_any
    }

    /// COMPAT: `WatchManager` forgets a connection that closes, or takes its last watch back, but
    /// not one whose last watch fires.
    fn unlist(&mut self, connection: u32) {
        let owner = &mut self.connections[connection as usize];
        self.listed -= usize::from(std::mem::take(&mut owner.is_listed));
        self.drop_if_idle(connection);
    }

    fn drop_if_idle(&mut self, connection: u32) {
        let owner = &self.connections[connection as usize];
        if owner.watches == [0; 2] && !owner.is_listed {
            self.by_key.remove(&owner.key);
            self.connections.remove(connection as usize);
        }
    }

    fn take(&mut self, id: u32, modes: Modes) -> bool {
        let entry = &mut self.entries[id as usize];
        let before = entry.modes;
        entry.modes = before.without(modes);
        let after = entry.modes;
        if before.has(Mode::Recursive) && !after.has(Mode::Recursive) {
            self.recursive -= 1;
        }
        if after.is_empty() {
            self.unlink(id);
        }
        before != after
    }

    fn unlink(&mut self, id: u32) {
        let entry = self.entries.remove(id as usize);
        let hash = self.hash.of_pair(entry.path, entry.connection);
        let found = self.by_pair.find_entry(hash, |other| *other == id);
        found.expect("every entry is in the index").remove();
        self.unlink_from_path(&entry);
        self.unlink_from_connection(&entry);
        self.watches[entry.table as usize] -= 1;
    }

    fn unlink_from_path(&mut self, entry: &Entry) {
        if entry.path_next != NONE {
            self.entries[entry.path_next as usize].path_previous = entry.path_previous;
        }
        if entry.path_previous != NONE {
            self.entries[entry.path_previous as usize].path_next = entry.path_next;
            return;
        }
        let path = &mut self.paths[entry.path as usize];
        path.heads[entry.table as usize] = entry.path_next;
        if entry.path_next == NONE && entry.table == Table::Data {
            self.data_paths -= 1;
        }
        if path.heads == [NONE; 2] {
            let path = self.paths.remove(entry.path as usize);
            let found = self.by_text.find_entry(self.hash.of(&path.text), |id| *id == entry.path);
            found.expect("every path is in the index").remove();
        }
    }

    fn unlink_from_connection(&mut self, entry: &Entry) {
        if entry.connection_next != NONE {
            let next = &mut self.entries[entry.connection_next as usize];
            next.connection_previous = entry.connection_previous;
        }
        if entry.connection_previous != NONE {
            let previous = &mut self.entries[entry.connection_previous as usize];
            previous.connection_next = entry.connection_next;
        }
        let owner = &mut self.connections[entry.connection as usize];
        if entry.connection_previous == NONE {
            owner.head = entry.connection_next;
        }
        owner.watches[entry.table as usize] -= 1;
        self.drop_if_idle(entry.connection);
    }

    /// Drops all watches of a connection.
    pub(super) fn remove_connection(&mut self, key: u64) {
        let Some(connection) = self.by_key.get(&key).copied() else { return };
        let mut id = self.connections[connection as usize].head;
        self.unlist(connection);
        while id != NONE {
            let next = self.entries[id as usize].connection_next;
            self.take(id, Modes::ALL);
            id = next;
        }
    }

    /// A new step: each connection may be told once more.
    pub(super) const fn begin(&mut self) {
        self.step += 1;
    }

    /// Fires the data watches on `text`, and those further up that see it.
    pub(super) fn trigger_data(&mut self, text: &str, mut tell: impl FnMut(u64)) {
        self.trigger(Table::Data, text, &mut tell);
        let mut at = text;
        while self.recursive > 0 && at != "/" {
            at = super::parent(at);
            self.trigger_recursive(at, &mut tell);
        }
    }

    /// Fires the child watches on `text`.
    pub(super) fn trigger_children(&mut self, text: &str, mut tell: impl FnMut(u64)) {
        self.trigger(Table::Child, text, &mut tell);
    }

    fn trigger(&mut self, table: Table, text: &str, tell: &mut impl FnMut(u64)) {
        let Some(path) = self.find_path(text) else { return };
        let mut id = self.paths[path as usize].heads[table as usize];
        while id != NONE {
            let entry = &self.entries[id as usize];
            let (next, connection) = (entry.path_next, entry.connection);
            self.tell_once(connection, tell);
            self.take(id, Modes::of(Mode::Standard));
            id = next;
        }
    }

    fn trigger_recursive(&mut self, text: &str, tell: &mut impl FnMut(u64)) {
        let Some(path) = self.find_path(text) else { return };
        let mut id = self.paths[path as usize].heads[Table::Data as usize];
        while id != NONE {
            let entry = &self.entries[id as usize];
            let (next, connection) = (entry.path_next, entry.connection);
            if entry.modes.has(Mode::Recursive) {
                self.tell_once(connection, tell);
            }
            id = next;
        }
    }

    fn tell_once(&mut self, connection: u32, tell: &mut impl FnMut(u64)) {
        let connection = &mut self.connections[connection as usize];
        if connection.told != self.step {
            connection.told = self.step;
            tell(connection.key);
        }
    }

    pub(super) fn summary(&self) -> WatchSummary {
        WatchSummary {
            connections: self.listed,
            paths: self.data_paths,
            data_watches: self.watches[0],
            watches: self.watches[0] + self.watches[1],
        }
    }

    pub(super) fn listed(&self) -> impl Iterator<Item = u64> {
        let listed = self.connections.iter().filter(|(_, connection)| connection.is_listed);
        listed.map(|(_, connection)| connection.key)
    }

    pub(super) fn paths(&self, table: Table) -> impl Iterator<Item = &str> {
        let watched = self.paths.iter().filter(move |(_, path)| path.heads[table as usize] != NONE);
        watched.map(|(_, path)| &*path.text)
    }

    pub(super) fn for_each(&self, table: Table, mut visit: impl FnMut(&str, u64)) {
        for (_, path) in &self.paths {
            let mut id = path.heads[table as usize];
            while id != NONE {
                let entry = &self.entries[id as usize];
                visit(&path.text, self.connections[entry.connection as usize].key);
                id = entry.path_next;
            }
        }
    }
}
