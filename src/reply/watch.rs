//! The watches of one shard: who is to be told of what.
//!
//! Runs on the shard that owns the connections. In: the changes of each txn, in order; requests
//! that set or drop watches. Out: what to deliver to whom. A watch belongs to a connection, not to
//! its session, and goes with it.
//!
//! Two tables, of data and of children. A watch is one entry of 32 bytes, linked into the list of
//! its path and into the list of its connection, so that either can be dropped without a search.
//! Ancestors are walked only while somebody watches recursively.
//! Source: `WatchManager`, `DataTree.createNode`, `deleteNode`, `setWatches`.

mod table;

use self::table::{Mode, Modes, Table, WatchTables};
use crate::tree::{Change, ChangeKind, SharedAcl, Tree};
use crate::wire::client::EventType;
use crate::wire::request::{AddWatchMode, SetWatches, WatchKind, Watches};
use crate::wire::{ErrorCode, OpCode};

/// A connection has more watches than one may, or the shard has: close it. A watch that is silently
/// missing would leave its client waiting for ever.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooManyWatches;

impl std::fmt::Display for TooManyWatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection or its shard has too many watches")
    }
}

impl std::error::Error for TooManyWatches {}

/// What the words `wchs` and `mntr` count.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WatchSummary {
    /// Connections with a watch of data, and those whose last one fired.
    pub connections: usize,
    /// Paths with a watch of data.
    pub paths: usize,
    /// Watches of data.
    pub data_watches: usize,
    /// Watches of data and of children.
    pub watches: usize,
}

/// See the module.
pub struct WatchTable {
    tables: WatchTables,
}

impl WatchTable {
    /// An empty one. The key of its hash is drawn at random by the process.
    pub fn new(hash_seed: u64) -> Self {
        Self { tables: WatchTables::new(hash_seed) }
    }

    /// A watch of the data at `path`, whether there is a node or not: exists and getData.
    ///
    /// # Errors
    /// [`TooManyWatches`]: close the connection.
    pub fn watch_data(&mut self, connection: u64, path: &str) -> Result<(), TooManyWatches> {
        self.tables.add(Table::Data, path, connection, Mode::Standard)
    }

    /// A watch of the children of `path`: getChildren.
    ///
    /// # Errors
    /// [`TooManyWatches`]: close the connection.
    pub fn watch_children(&mut self, connection: u64, path: &str) -> Result<(), TooManyWatches> {
        self.tables.add(Table::Child, path, connection, Mode::Standard)
    }

    /// addWatch. The path may be any string.
    ///
    /// # Errors
    /// [`TooManyWatches`]: close the connection.
    pub fn add_watch(
        &mut self,
        connection: u64,
        path: &str,
        mode: AddWatchMode,
    ) -> Result<(), TooManyWatches> {
        match mode {
            AddWatchMode::Persistent => {
                self.tables.add(Table::Child, path, connection, Mode::Persistent)?;
                self.tables.add(Table::Data, path, connection, Mode::Persistent)
            }
            AddWatchMode::Recursive => {
                self.tables.add(Table::Data, path, connection, Mode::Recursive)
            }
        }
    }

    /// Drops all watches of a connection that is gone; nobody is told.
    pub fn remove_connection(&mut self, connection: u64) {
        self.tables.remove_connection(connection);
    }

    /// checkWatches and removeWatches.
    ///
    /// # Errors
    /// [`ErrorCode::NoWatcher`] if there is no such watch.
    pub fn check_or_remove(
        &mut self,
        connection: u64,
        request: &Watches<'_>,
    ) -> Result<(), ErrorCode> {
        let found = if request.op == OpCode::RemoveWatches {
            self.remove(connection, &request.path, request.kind)
        } else {
            self.has(connection, &request.path, request.kind)
        };
        if found { Ok(()) } else { Err(ErrorCode::NoWatcher) }
    }

    fn has(&self, connection: u64, path: &str, kind: WatchKind) -> bool {
        let data = self.tables.modes(Table::Data, path, connection);
        let child = self.tables.modes(Table::Child, path, connection);
        match kind {
            WatchKind::Children => child.has(Mode::Standard),
            WatchKind::Data => data.has(Mode::Standard),
            WatchKind::Any => !data.is_empty() || !child.is_empty(),
            WatchKind::Persistent => data.has(Mode::Persistent),
            WatchKind::Recursive => data.has(Mode::Recursive),
        }
    }

    fn remove(&mut self, connection: u64, path: &str, kind: WatchKind) -> bool {
        let mut drop = |table, modes| self.tables.remove(table, path, connection, modes);
        match kind {
            WatchKind::Children => drop(Table::Child, Modes::of(Mode::Standard)),
            WatchKind::Data => drop(Table::Data, Modes::of(Mode::Standard)),
            WatchKind::Any => drop(Table::Child, Modes::ALL) | drop(Table::Data, Modes::ALL),
            WatchKind::Persistent => {
                let persistent = Modes::of(Mode::Persistent);
                drop(Table::Child, persistent) | drop(Table::Data, persistent)
            }
            WatchKind::Recursive => drop(Table::Data, Modes::of(Mode::Recursive)),
        }
    }

    /// Tells who watches of one change: `deliver` is called once for each connection and step. Who
    /// may not read the node, as `allowed` says, is not told, and its watch is spent all the same.
    pub fn fire(
        &mut self,
        change: &Change,
        mut allowed: impl FnMut(u64, &SharedAcl) -> bool,
        mut deliver: impl FnMut(u64, EventType, &str),
    ) {
        let path = &*change.path;
        let event = match change.kind {
            ChangeKind::Created => EventType::NodeCreated,
            ChangeKind::Deleted => EventType::NodeDeleted,
            ChangeKind::DataChanged => EventType::NodeDataChanged,
        };
        self.tables.begin();
        self.tables.trigger_data(path, |connection| {
            if allowed(connection, &change.acl) {
                deliver(connection, event, path);
            }
        });
        if change.kind == ChangeKind::Deleted {
            // The same step for a connection: who was told of the data is not told again.
            self.tables.trigger_children(path, |connection| {
                if allowed(connection, &change.acl) {
                    deliver(connection, event, path);
                }
            });
        }
        let Some(parent_acl) = &change.parent_acl else { return };
        let parent = parent(path);
        self.tables.begin();
        self.tables.trigger_children(parent, |connection| {
            if allowed(connection, parent_acl) {
                deliver(connection, EventType::NodeChildrenChanged, parent);
            }
        });
    }

    /// setWatches: what a client that comes back has missed is delivered, with zxid -1 and without
    /// a look at the ACL; else the watch is armed. What persistent watches missed is lost.
    ///
    /// # Errors
    /// [`TooManyWatches`]: close the connection.
    pub fn set_watches(
        &mut self,
        connection: u64,
        tree: &Tree,
        request: &SetWatches<'_>,
        mut deliver: impl FnMut(EventType, &str),
    ) -> Result<(), TooManyWatches> {
        let seen = request.relative_zxid.0;
        for path in &request.data {
            match tree.find(path).map(|node| node.stat_persisted().mzxid > seen) {
                None => deliver(EventType::NodeDeleted, path),
                Some(true) => deliver(EventType::NodeDataChanged, path),
                Some(false) => self.watch_data(connection, path)?,
            }
        }
        for path in &request.exist {
            match tree.find(path) {
                Some(_) => deliver(EventType::NodeCreated, path),
                None => self.watch_data(connection, path)?,
            }
        }
        for path in &request.child {
            match tree.find(path).map(|node| node.stat_persisted().pzxid > seen) {
                None => deliver(EventType::NodeDeleted, path),
                Some(true) => deliver(EventType::NodeChildrenChanged, path),
                Some(false) => self.watch_children(connection, path)?,
            }
        }
        for path in &request.persistent {
            self.add_watch(connection, path, AddWatchMode::Persistent)?;
        }
        for path in &request.recursive {
            self.add_watch(connection, path, AddWatchMode::Recursive)?;
        }
        Ok(())
    }

    /// How many of what.
    pub fn summary(&self) -> WatchSummary {
        self.tables.summary()
    }

    /// The paths with a watch of data, in no particular order.
    pub fn data_paths(&self) -> impl Iterator<Item = &str> {
        self.tables.paths(Table::Data)
    }

    /// Connections with a watch of data, and those whose last one fired: whom `wchc` lists and
    /// `wchs` counts. In no particular order.
    pub fn watching(&self) -> impl Iterator<Item = u64> {
        self.tables.listed()
    }

    /// Calls `visit` for each path with a watch of data, and each connection that has it there:
    /// what `wchp` lists, and with the two exchanged `wchc`. In no particular order, but the
    /// connections of a path come one after the other.
    pub fn for_each_data_watch(&self, visit: impl FnMut(&str, u64)) {
        self.tables.for_each(Table::Data, visit);
    }
}

/// The parent of a changed node; the root, which has none, is never created or deleted.
fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(slash) => &path[..slash],
    }
}

#[cfg(test)]
mod tests;
