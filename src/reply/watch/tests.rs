use std::sync::Arc;

use super::*;
use crate::ids::{Millis, SessionId, Xid, Zxid};
use crate::limits::CONNECTION_WATCHES_MAX;
use crate::wire::Acl;
use crate::wire::txn::{CreateTxn, Record, Txn, TxnHeader};

fn list(perms: i32) -> SharedAcl {
    [Acl::anyone(perms)].into()
}

fn change(kind: ChangeKind, path: &str) -> Change {
    let parent_acl = (kind != ChangeKind::DataChanged).then(|| list(31));
    Change { zxid: Zxid(5), kind, path: Arc::from(path), acl: list(31), parent_acl }
}

/// What is delivered, as `connection event path`, in order.
fn fire(table: &mut WatchTable, kind: ChangeKind, path: &str) -> Vec<String> {
    fire_to(table, &change(kind, path), |_, _| true)
}

fn fire_to(
    table: &mut WatchTable,
    change: &Change,
    allowed: impl FnMut(u64, &SharedAcl) -> bool,
) -> Vec<String> {
    let mut told = vec![];
    table.fire(change, allowed, |connection, event, path| {
        let name = match event {
            EventType::NodeCreated => "created",
            EventType::NodeDeleted => "deleted",
            EventType::NodeDataChanged => "changed",
            EventType::NodeChildrenChanged => "children",
        };
        told.push(format!("{connection} {name} {path}"));
    });
    told
}

use ChangeKind::{Created, DataChanged, Deleted};

fn table() -> WatchTable {
    WatchTable::new(7)
}

#[test]
fn a_standard_watch_fires_once() {
    let mut table = table();
    table.watch_data(1, "/a").unwrap();
    table.watch_data(1, "/a").unwrap();
    table.watch_data(2, "/a").unwrap();
    assert_eq!(fire(&mut table, DataChanged, "/b"), [""; 0]);
    let mut told = fire(&mut table, DataChanged, "/a");
    told.sort();
    assert_eq!(told, ["1 changed /a", "2 changed /a"]);
    assert_eq!(fire(&mut table, DataChanged, "/a"), [""; 0]);
    assert_eq!(table.summary(), WatchSummary { connections: 2, ..WatchSummary::default() });
}

#[test]
fn a_connection_whose_last_watch_fired_is_listed_until_it_closes() {
    let listed = |table: &WatchTable| {
        let mut listed: Vec<_> = table.watching().collect();
        listed.sort_unstable();
        assert_eq!(listed.len(), table.summary().connections);
        listed
    };
    let mut table = table();
    for connection in [1, 2, 3] {
        table.watch_data(connection, "/a").unwrap();
    }
    table.watch_children(3, "/a").unwrap();
    table.watch_children(4, "/a").unwrap();
    assert_eq!(listed(&table), [1, 2, 3], "of data");
    assert_eq!(fire(&mut table, DataChanged, "/a").len(), 3);
    assert_eq!((listed(&table), table.summary().paths), (vec![1, 2, 3], 0));
    table.remove_connection(1);
    assert_eq!(listed(&table), [2, 3]);
    // Who takes its last watch back is not listed.
    table.watch_data(2, "/b").unwrap();
    assert!(table.remove(2, "/b", WatchKind::Data));
    assert_eq!(listed(&table), [3]);
    assert!(table.remove(3, "/a", WatchKind::Any), "that of the children");
    assert_eq!(listed(&table), [3], "which the list is not about");
    table.watch_data(3, "/b").unwrap();
    table.watch_data(3, "/c").unwrap();
    assert!(table.remove(3, "/c", WatchKind::Data));
    assert_eq!(listed(&table), [3], "there is another");
    table.remove_connection(3);
    table.remove_connection(4);
    assert_eq!(table.summary(), WatchSummary::default());
}

#[test]
fn what_fires_for_what() {
    // Watches set by connection 1: d = data, c = child, p = persistent, r = recursive.
    let cases: &[(&str, ChangeKind, &str, &[&str])] = &[
        ("d/a", Created, "/a", &["1 created /a"]),
        ("d/a", Deleted, "/a", &["1 deleted /a"]),
        ("c/a", Created, "/a", &[]),
        ("c/a", DataChanged, "/a", &[]),
        ("c/a", Deleted, "/a", &["1 deleted /a"]),
        ("c/", Created, "/a", &["1 children /"]),
        ("c/", Deleted, "/a", &["1 children /"]),
        ("c/", Created, "/a/b", &[]),
        ("d/", Created, "/a", &[]),
        ("c/a", Created, "/a/b", &["1 children /a"]),
        ("d/a c/a", Deleted, "/a", &["1 deleted /a"]),
        ("d/a c/", Deleted, "/a", &["1 deleted /a", "1 children /"]),
        ("d/a/b c/a", Created, "/a/b", &["1 created /a/b", "1 children /a"]),
        ("p/a", Created, "/a", &["1 created /a"]),
        ("p/a", DataChanged, "/a", &["1 changed /a"]),
        ("p/a", Deleted, "/a", &["1 deleted /a"]),
        ("p/a", Created, "/a/b", &["1 children /a"]),
        ("p/a", DataChanged, "/a/b", &[]),
        ("r/", Created, "/a/b", &["1 created /a/b"]),
        ("r/a", Created, "/a", &["1 created /a"]),
        ("r/a", Deleted, "/a/b/c", &["1 deleted /a/b/c"]),
        ("r/a", DataChanged, "/a/b", &["1 changed /a/b"]),
        ("r/a", DataChanged, "/ab", &[]),
        ("r/a r/ r/a/b", DataChanged, "/a/b", &["1 changed /a/b"]),
        ("r/a p/a/b d/a/b", Deleted, "/a/b", &["1 deleted /a/b"]),
        ("d", DataChanged, "/", &[]),
        ("d/", DataChanged, "/", &["1 changed /"]),
        ("r/", DataChanged, "/", &["1 changed /"]),
    ];
    for (watches, kind, path, expected) in cases {
        let mut table = table();
        for watch in watches.split(' ') {
            let (how, at) = watch.split_at(1);
            match how {
                "d" => table.watch_data(1, at),
                "c" => table.watch_children(1, at),
                "p" => table.add_watch(1, at, AddWatchMode::Persistent),
                _ => table.add_watch(1, at, AddWatchMode::Recursive),
            }
            .unwrap();
        }
        assert_eq!(fire(&mut table, *kind, path), *expected, "{watches} {kind:?} {path}");
        let again = fire(&mut table, *kind, path);
        let lasting = watches.contains(['p', 'r']);
        assert_eq!(again.is_empty(), expected.is_empty() || !lasting, "{watches} again");
    }
}

#[test]
fn a_deletion_spends_both_watches_of_a_node() {
    let mut table = table();
    table.watch_data(1, "/a").unwrap();
    table.watch_children(1, "/a").unwrap();
    table.watch_children(2, "/a").unwrap();
    assert_eq!(fire(&mut table, Deleted, "/a"), ["1 deleted /a", "2 deleted /a"]);
    assert_eq!(table.summary(), WatchSummary { connections: 1, ..WatchSummary::default() });
}

#[test]
fn who_may_not_read_is_not_told_and_its_watch_is_spent() {
    let mut table = table();
    for connection in [1, 2] {
        table.watch_data(connection, "/a").unwrap();
        table.watch_children(connection, "/").unwrap();
    }
    let mut change = change(Deleted, "/a");
    change.acl = list(0);
    let told =
        fire_to(&mut table, &change, |connection, acl| connection == 1 || acl[0].perms == 31);
    assert_eq!(told, ["1 deleted /a", "2 children /", "1 children /"]);
    assert_eq!(table.summary().watches, 0);
}

#[test]
fn a_suppressed_watcher_of_the_children_is_not_told_of_what_it_may_not_read() {
    let mut table = table();
    table.watch_data(1, "/a").unwrap();
    table.watch_children(1, "/a").unwrap();
    let mut asked = 0;
    let told = fire_to(&mut table, &change(Deleted, "/a"), |_, _| {
        asked += 1;
        false
    });
    assert_eq!((told.len(), asked), (0, 1));
}

#[test]
fn check_and_remove() {
    let watch = |table: &mut WatchTable, how: char| {
        match how {
            'd' => table.watch_data(1, "/a"),
            'c' => table.watch_children(1, "/a"),
            'p' => table.add_watch(1, "/a", AddWatchMode::Persistent),
            _ => table.add_watch(1, "/a", AddWatchMode::Recursive),
        }
        .unwrap();
    };
    let kinds = [
        (WatchKind::Children, "c"),
        (WatchKind::Data, "d"),
        (WatchKind::Any, "cdpr"),
        (WatchKind::Persistent, "p"),
        (WatchKind::Recursive, "r"),
    ];
    let ask = |table: &mut WatchTable, op, kind| {
        table.check_or_remove(1, &Watches { op, path: "/a".into(), kind })
    };
    for (kind, matching) in kinds {
        for how in "cdpr".chars() {
            let mut table = table();
            watch(&mut table, how);
            table.watch_data(2, "/a").unwrap();
            table.watch_data(1, "/b").unwrap();
            let matches = matching.contains(how);
            let expected = if matches { Ok(()) } else { Err(ErrorCode::NoWatcher) };
            assert_eq!(ask(&mut table, OpCode::CheckWatches, kind), expected, "{kind:?} {how}");
            assert_eq!(ask(&mut table, OpCode::RemoveWatches, kind), expected, "{kind:?} {how}");
            let left = if how == 'p' { 2 } else { 1 };
            let left = if matches { 2 } else { 2 + left };
            assert_eq!(table.summary().watches, left, "{kind:?} {how}");
        }
    }
    let mut table = table();
    for how in "cdpr".chars() {
        watch(&mut table, how);
    }
    ask(&mut table, OpCode::RemoveWatches, WatchKind::Data).unwrap();
    assert_eq!(fire(&mut table, DataChanged, "/a/x"), ["1 changed /a/x"], "the others stay");
    assert_eq!(fire(&mut table, DataChanged, "/a"), ["1 changed /a"]);
    ask(&mut table, OpCode::RemoveWatches, WatchKind::Any).unwrap();
    assert_eq!(table.summary(), WatchSummary::default());
    assert_eq!(ask(&mut table, OpCode::RemoveWatches, WatchKind::Any), Err(ErrorCode::NoWatcher));
}

#[test]
fn a_connection_takes_its_watches_with_it() {
    let mut table = table();
    for connection in 1..=3 {
        table.watch_data(connection, "/a").unwrap();
        table.watch_children(connection, "/a").unwrap();
        table.add_watch(connection, "/r", AddWatchMode::Recursive).unwrap();
    }
    table.remove_connection(2);
    table.remove_connection(2);
    table.remove_connection(9);
    let summary = WatchSummary { connections: 2, paths: 2, data_watches: 4, watches: 6 };
    assert_eq!(table.summary(), summary);
    let mut listed = vec![];
    table.for_each_data_watch(|path, connection| listed.push(format!("{path} {connection}")));
    listed.sort();
    assert_eq!(listed, ["/a 1", "/a 3", "/r 1", "/r 3"]);
    let mut told = fire(&mut table, Created, "/r/x");
    told.sort();
    assert_eq!(told, ["1 created /r/x", "3 created /r/x"]);
    table.remove_connection(1);
    table.remove_connection(3);
    assert_eq!(table.summary(), WatchSummary::default());
}

/// `/old` (data and children as of zxid 1) and `/new` (as of 2), with `/new/kid` (of 3).
fn tree() -> Tree {
    let mut tree = Tree::new();
    for (zxid, path) in [(1, "/old"), (2, "/new"), (3, "/new/kid")] {
        let acl = vec![Acl::anyone(31)];
        let (ephemeral, parent_cversion) = (false, -1);
        let path = path.into();
        let txn = Txn::Create(CreateTxn { path, data: None, acl, ephemeral, parent_cversion });
        let (zxid, time) = (Zxid(zxid), Millis(0));
        let (session, cxid) = (SessionId(1), Xid(1));
        let header = TxnHeader { session, cxid, zxid, time, op: OpCode::Create };
        tree.apply(&Record { header, txn, digest: None }, None);
    }
    tree
}

#[test]
fn a_client_that_comes_back_catches_up() {
    let mut table = table();
    let request = SetWatches {
        op: OpCode::SetWatches2,
        relative_zxid: Zxid(1),
        data: ["/old", "/new", "/gone"].map(Into::into).to_vec(),
        exist: ["/old", "/gone"].map(Into::into).to_vec(),
        child: ["/old", "/new", "/gone"].map(Into::into).to_vec(),
        persistent: vec!["/gone".into()],
        recursive: vec!["/gone".into()],
    };
    let mut missed = vec![];
    let done = table.set_watches(1, &tree(), &request, |event, path| {
        missed.push((event, path.to_owned()));
    });
    assert_eq!(done, Ok(()));
    let expected = [
        (EventType::NodeDataChanged, "/new"),
        (EventType::NodeDeleted, "/gone"),
        (EventType::NodeCreated, "/old"),
        (EventType::NodeChildrenChanged, "/new"),
        (EventType::NodeDeleted, "/gone"),
    ];
    assert_eq!(missed, expected.map(|(event, path)| (event, path.to_owned())));
    let has = |table: &WatchTable, path, kind| table.has(1, path, kind);
    assert!(has(&table, "/old", WatchKind::Data) && has(&table, "/old", WatchKind::Children));
    assert!(!has(&table, "/new", WatchKind::Any));
    assert!(has(&table, "/gone", WatchKind::Data) && !has(&table, "/gone", WatchKind::Children));
    assert!(has(&table, "/gone", WatchKind::Persistent));
    assert!(has(&table, "/gone", WatchKind::Recursive));
}

/// Set and drop at random, against a plain map.
#[test]
fn the_tables_are_a_map() {
    use std::collections::BTreeSet;
    let mut table = table();
    let mut model = BTreeSet::new();
    let mut listed = BTreeSet::new();
    let mut state = 88_172_645_463_325_252u64;
    for _ in 0..20_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (connection, path, op) = (state % 5, format!("/{}", state / 8 % 7), state / 64 % 12);
        match op {
            0..4 => {
                table.watch_data(connection, &path).unwrap();
                model.insert((path, connection));
                listed.insert(connection);
            }
            4 => {
                table.remove_connection(connection);
                listed.remove(&connection);
                model.retain(|(_, other)| *other != connection);
            }
            5..8 => {
                let mut told = BTreeSet::new();
                table.fire(
                    &change(DataChanged, &path),
                    |_, _| true,
                    |connection, _, path| {
                        assert!(told.insert((path.to_owned(), connection)), "told twice");
                    },
                );
                let watching = |(other, _): &(String, u64)| *other == path;
                let expected: BTreeSet<_> = model.iter().filter(|e| watching(e)).cloned().collect();
                assert_eq!(told, expected);
                model.retain(|entry| !watching(entry));
            }
            _ => {
                let removed = table.remove(connection, &path, WatchKind::Data);
                assert_eq!(removed, model.remove(&(path, connection)));
                if removed && model.iter().all(|(_, other)| *other != connection) {
                    listed.remove(&connection);
                }
            }
        }
        let paths: BTreeSet<_> = model.iter().map(|(path, _)| path).collect();
        let summary = WatchSummary {
            connections: listed.len(),
            paths: paths.len(),
            data_watches: model.len(),
            watches: model.len(),
        };
        assert_eq!(table.summary(), summary);
    }
}

#[test]
fn watches_of_a_connection_are_bounded() {
    const { assert!(CONNECTION_WATCHES_MAX >= 1 << 20, "no client has been seen with as many") };
    assert_eq!(TooManyWatches.to_string(), "the connection or its shard has too many watches");
}
