//! The rules of application, one by one (`DataTree.processTxn`).

use super::*;
use crate::tree::ChangeKind::{Created, DataChanged, Deleted};
use crate::tree::{CONTAINER_OWNER, ChangeKind, Node, NodeKind, ReapRound, ttl_owner};
use crate::wire::ErrorCode;

const NO_NODE: Result<Option<Stat>, i32> = Err(ErrorCode::NoNode.to_wire());
const NODE_EXISTS: Result<Option<Stat>, i32> = Err(ErrorCode::NodeExists.to_wire());

/// From what all creates have to a kind of create.
type Make = fn(CreateTxn<'static>) -> Txn<'static>;

fn user(id: &str) -> Vec<Acl<'_>> {
    vec![Acl { perms: 31, scheme: "digest".into(), id: id.into() }]
}

fn kinds(changes: &[Change]) -> Vec<(ChangeKind, &str)> {
    changes.iter().map(|change| (change.kind, &*change.path)).collect()
}

#[test]
fn a_stat_tells_what_was_done() {
    let mut feed = Feed::new();
    let made = feed.create_as(OpCode::Create2, "/a", b"xyz", Txn::Create);
    let expected = Stat {
        czxid: 1,
        mzxid: 1,
        pzxid: 1,
        ctime: 1000,
        mtime: 1000,
        data_length: 3,
        ..Stat::default()
    };
    assert_eq!(made, expected);
    assert_eq!((feed.stat("/").cversion, feed.stat("/").pzxid), (0, 1));
    feed.create("/a/b");
    feed.create("/a/c");
    feed.delete("/a/b").expect("it is there");
    let expected = Stat { cversion: 3, num_children: 1, pzxid: 4, ..expected };
    assert_eq!(feed.stat("/a"), expected, "two creates and a delete");
    assert_eq!(feed.tree.find("/a").map(Node::cversion), Some(2), "but only creates count");
    feed.set("/a", None, 1).expect("it is there");
    let expected = Stat { version: 1, mzxid: 5, mtime: 5000, data_length: 0, ..expected };
    assert_eq!(feed.stat("/a"), expected);
    feed.run(OpCode::SetAcl, Txn::SetAcl { path: "/a".into(), acl: user("u"), version: 1 })
        .0
        .expect("it can be done");
    assert_eq!(feed.stat("/a"), Stat { aversion: 1, ..expected });
    assert_eq!(feed.tree.last_zxid(), Zxid(6));
}

#[test]
fn null_is_not_empty() {
    let mut feed = Feed::new();
    for (path, data) in [("/null", None), ("/empty", Some(&b""[..]))] {
        feed.run(OpCode::Create, Txn::Create(plain(path, data, -1))).0.expect("it can be done");
        assert_eq!(feed.tree.find(path).map(|node| node.data()), Some(data));
    }
    feed.set("/empty", None, 1).expect("it is there");
    feed.set("/null", Some(b""), 1).expect("it is there");
    assert_eq!(feed.tree.find("/empty").map(|node| node.data()), Some(None));
    assert_eq!(feed.tree.find("/null").map(|node| node.data()), Some(Some(&b""[..])));
}

#[test]
fn versions_wrap() {
    let mut feed = Feed::new();
    feed.create("/a");
    for version in [i32::MAX, i32::MIN, -1, 0] {
        feed.set("/a", None, version).expect("it is there");
        assert_eq!(feed.stat("/a").version, version);
    }
}

#[test]
fn an_owner_makes_the_kind_and_clients_see_only_sessions() {
    let mut feed = Feed::new();
    let cases: [(&str, Make, NodeKind, i64, i64); 4] = [
        ("/p", Txn::Create, NodeKind::Persistent, 0, 0),
        ("/c", Txn::CreateContainer, NodeKind::Container, CONTAINER_OWNER, 0),
        ("/t", |create| Txn::CreateTtl(create, 500), NodeKind::Ttl, ttl_owner(500), 0),
        (
            "/e",
            |create| Txn::Create(CreateTxn { ephemeral: true, ..create }),
            NodeKind::Ephemeral,
            7,
            7,
        ),
    ];
    for (path, make, kind, stored, seen) in cases {
        assert_eq!(feed.create_as(OpCode::Create2, path, b"", make).ephemeral_owner, seen);
        let node = feed.tree.find(path).expect("it was created");
        assert_eq!((node.kind(), node.stat_persisted().ephemeral_owner), (kind, stored));
    }
    let tree = &feed.tree;
    assert_eq!((tree.ephemeral_count(), tree.container_count(), tree.ttl_count()), (1, 1, 1));
    assert_eq!(tree.ephemerals(SessionId(7)).collect::<Vec<_>>(), ["/e"]);
    assert_eq!(tree.sessions_with_ephemerals().collect::<Vec<_>>(), [SessionId(7)]);
}

/// Without extended types a TTL node belongs to a session that cannot be.
#[test]
fn a_ttl_node_without_extended_types_is_shown_raw() {
    let mut tree = Tree::new();
    let record = record(7, 1, OpCode::CreateTtl, Txn::CreateTtl(plain("/t", None, 1), 500));
    assert!(matches!(tree.apply(&record, None), Outcome::Created { stat, .. }
        if stat.ephemeral_owner == ttl_owner(500)));
    assert_eq!((tree.ttl_count(), tree.ephemeral_count()), (0, 1));

    let owner = SessionId(ttl_owner(500));
    assert!(tree.owns_all_below(owner));
    let below = [("/t/own", 500, true), ("/t/other", 501, false)];
    for (zxid, (path, ttl, is_all)) in (2..).zip(below) {
        let txn = Txn::CreateTtl(plain(path, None, 1), ttl);
        tree.apply(&self::record(7, zxid, OpCode::CreateTtl, txn), None);
        assert_eq!(tree.owns_all_below(owner), is_all, "{path}");
    }
}

#[test]
fn what_cannot_be_done_says_so() {
    let mut feed = Feed::new();
    feed.create("/a");
    let before = dump(&feed.tree);
    let path = |path: &'static str| path.into();
    let cases = [
        (OpCode::Create, Txn::Create(plain("/x/y", None, 1)), NO_NODE),
        (OpCode::Create, Txn::Create(plain("x", None, 1)), NO_NODE),
        (OpCode::Create2, Txn::Create(plain("/a", None, 9)), NODE_EXISTS),
        (OpCode::Create2, Txn::Create(plain("/", None, 9)), NODE_EXISTS),
        (OpCode::Delete, Txn::Delete { path: path("/x/y") }, NO_NODE),
        (OpCode::SetData, Txn::SetData { path: path("/x"), data: None, version: 1 }, NO_NODE),
        (OpCode::SetAcl, Txn::SetAcl { path: path("/x"), acl: vec![], version: 1 }, NO_NODE),
        (OpCode::Error, Txn::Error { err: -103 }, Err(-103)),
        (OpCode::Error, Txn::Error { err: 12345 }, Err(12345)),
        (OpCode::Check, Txn::Check { path: path("/x"), version: 1 }, Ok(None)),
    ];
    for (op, txn, expected) in cases {
        feed.tree.set_last_zxid(Zxid(1));
        let label = format!("{txn:?}");
        let (result, changes) = feed.run_at(1, op, txn);
        assert_eq!((result, changes), (expected, vec![]), "{label}");
    }
    assert_eq!(
        dump(&feed.tree),
        before.replace("digest", "x3"),
        "nothing happened, save to /'s list"
    );
}

/// A snapshot that was written while txns went on has some of what the log has.
#[test]
fn replay_does_what_is_missing() {
    // txn, what it came to; then of "/": cversion, pzxid
    let mut feed = Feed::new();
    feed.create_as(OpCode::Create, "/a", b"new", Txn::Create);
    feed.create("/b");
    feed.zxid = 10;
    let again = |cversion| plain("/a", Some(b"old"), cversion);
    let gone = |path: &'static str| Txn::Delete { path: path.into() };
    let acl = |cversion| CreateTxn { acl: user("u"), ..again(cversion) };
    let cases = [
        // only type 1 makes sure of the parent's cversion
        (OpCode::Create2, Txn::Create(acl(5)), 11, NODE_EXISTS, (2, 2)),
        (OpCode::CreateContainer, Txn::CreateContainer(again(5)), 12, NODE_EXISTS, (2, 2)),
        (OpCode::Create, Txn::Create(again(5)), 13, NODE_EXISTS, (5, 13)),
        // never back
        (OpCode::Create, Txn::Create(acl(3)), 14, NODE_EXISTS, (5, 13)),
        (OpCode::Create, Txn::Create(plain("/c", None, 3)), 15, Ok(None), (5, 13)),
        // -1: one more, in logs from before 3.4
        (OpCode::Create, Txn::Create(plain("/d", None, -1)), 16, Ok(None), (6, 16)),
        // absent or not, the parent's children changed then
        (OpCode::Delete, gone("/x"), 17, NO_NODE, (6, 17)),
        (OpCode::Delete, gone("/b"), 4, Ok(None), (6, 17)),
    ];
    for (op, txn, zxid, expected, (cversion, pzxid)) in cases {
        let label = format!("{zxid} {txn:?}");
        let (result, _) = feed.run_at(zxid, op, txn);
        assert_eq!(result.map(|_| None), expected, "{label}");
        let root = feed.tree.find("/").expect("it is there");
        assert_eq!((root.cversion(), root.stat_persisted().pzxid), (cversion, pzxid), "{label}");
    }
    let a = feed.tree.find("/a").expect("it is there");
    assert_eq!((a.data(), a.stat_persisted().czxid), (Some(&b"new"[..]), 1), "data and stat stay");
    assert_eq!(&**feed.tree.acl(a), user("u"), "the list is the txn's");
    assert_eq!(feed.tree.last_zxid(), Zxid(17), "which never goes back");
}

/// The log: create /a, delete it, create it and a child. The snapshot has the end of that.
#[test]
fn a_delete_from_before_the_node_was_created_anew_takes_its_children_along() {
    let mut feed = Feed::new();
    let log = [
        (OpCode::Create, Txn::Create(plain("/a", Some(b"1"), 1))),
        (OpCode::SetData, Txn::SetData { path: "/a".into(), data: Some(b"2"), version: 1 }),
        (OpCode::Delete, Txn::Delete { path: "/a".into() }),
        (OpCode::Create, Txn::Create(plain("/a", Some(b"3"), 2))),
        (OpCode::Create, Txn::Create(plain("/a/b", None, 1))),
    ];
    for (op, txn) in log.clone() {
        feed.run(op, txn).0.expect("it can be done");
    }
    let end = dump(&feed.tree);
    for (zxid, (op, txn)) in (1..).zip(log) {
        feed.run_at(zxid, op, txn).0.ok();
    }
    assert_eq!(dump(&feed.tree), end);
}

#[test]
fn sessions_come_and_go_with_their_ephemerals() {
    let mut feed = Feed::new();
    assert_eq!(feed.run(OpCode::CreateSession, Txn::CreateSession { timeout_ms: 4000 }).1, vec![]);
    assert_eq!(feed.tree.sessions().collect::<Vec<_>>(), [(SessionId(7), 4000)]);
    assert_eq!(feed.tree.session_timeout(SessionId(7)), Some(4000));
    feed.create("/p");
    let ephemeral = |create| Txn::Create(CreateTxn { ephemeral: true, ..create });
    for path in ["/p/3", "/p/1", "/p/2", "/e"] {
        feed.create_as(OpCode::Create, path, b"", ephemeral);
    }
    // the leader's list, one of them gone and one not of this session; then what is left here
    let paths = ["/p/2", "/gone", "/p/1"].map(Into::into).to_vec();
    let (result, changes) =
        feed.run(OpCode::CloseSession, Txn::CloseSession { paths: Some(paths) });
    assert_eq!(result, Ok(None));
    let order = [Deleted; 4].into_iter().zip(["/p/2", "/p/1", "/e", "/p/3"]);
    assert_eq!(kinds(&changes), order.collect::<Vec<_>>());
    assert!(changes.iter().all(|change| change.zxid == Zxid(7)));
    assert_eq!(feed.tree.sessions().len() + feed.tree.sessions_with_ephemerals().len(), 0);
    assert_eq!((feed.stat("/p").pzxid, feed.tree.ephemeral_count()), (7, 0));
    // servers that do not list them
    feed.create_as(OpCode::Create, "/e", b"", ephemeral);
    assert_eq!(feed.run(OpCode::CloseSession, Txn::CloseSession { paths: None }).0, Ok(None));
    assert!(feed.tree.find("/e").is_none());
}

#[test]
fn changes_tell_watches_what_was_and_who_may_know() {
    let mut feed = Feed::new();
    let (_, created) =
        feed.run(OpCode::Create, Txn::Create(CreateTxn { acl: user("a"), ..plain("/a", None, 1) }));
    let create = CreateTxn { acl: user("b"), ..plain("/a/b", None, 1) };
    let (_, child) = feed.run(OpCode::Create, Txn::Create(create));
    feed.run(OpCode::SetAcl, Txn::SetAcl { path: "/a/b".into(), acl: user("c"), version: 1 })
        .0
        .expect("it can be done");
    let set = Txn::SetData { path: "/a/b".into(), data: None, version: 1 };
    let (_, set) = feed.run(OpCode::SetData, set);
    let (_, deleted) = feed.run(OpCode::Delete, Txn::Delete { path: "/a/b".into() });
    let set_root = Txn::SetData { path: "/".into(), data: None, version: 1 };
    let (_, root) = feed.run(OpCode::SetData, set_root);
    let open = vec![Acl::anyone(31)];
    let cases = [
        (created, Created, 1, "/a", user("a"), Some(open.clone())),
        (child, Created, 2, "/a/b", user("b"), Some(user("a"))),
        (set, DataChanged, 4, "/a/b", user("c"), None),
        (deleted, Deleted, 5, "/a/b", user("c"), Some(user("a"))),
        (root, DataChanged, 6, "/", open, None),
    ];
    for (changes, kind, zxid, path, acl, parent_acl) in cases {
        let [change] = &changes[..] else { panic!("one change of {path}") };
        assert_eq!((change.kind, change.zxid, &*change.path), (kind, Zxid(zxid), path));
        assert_eq!((&*change.acl, change.parent_acl.as_deref()), (&acl[..], parent_acl.as_deref()));
    }
}

#[test]
fn a_multi_is_all_or_nothing() {
    let mut feed = Feed::new();
    let steps = || {
        vec![
            (OpCode::Create2, Txn::Create(plain("/a", None, 1))),
            (OpCode::Check, Txn::Check { path: "/a".into(), version: 0 }),
            (OpCode::Create, Txn::Create(plain("/a/b", None, 1))),
            (OpCode::SetData, Txn::SetData { path: "/a".into(), data: None, version: 1 }),
            (OpCode::Delete, Txn::Delete { path: "/a/b".into() }),
        ]
    };
    let before = dump(&feed.tree);
    let mut failing = steps();
    failing[1] = (OpCode::Error, Txn::Error { err: -103 });
    failing[3] = (OpCode::Error, Txn::Error { err: -2 });
    let failed = record(7, 0, OpCode::Multi, Txn::Multi(failing));
    let errors = [0, -103, -2, -2, -2].map(Outcome::Error).to_vec();
    let mut changes = Vec::new();
    assert_eq!(feed.tree.apply(&failed, Some(&mut changes)), Outcome::Multi(errors));
    assert_eq!((dump(&feed.tree), changes.len()), (before, 0));

    let multi = record(7, 9, OpCode::Multi, Txn::Multi(steps()));
    let outcome = feed.tree.apply(&multi, Some(&mut changes));
    let Outcome::Multi(outcomes) = outcome else { panic!("a multi has one outcome for each step") };
    assert!(matches!(
        outcomes[..],
        [
            Outcome::Created { path: "/a", stat: Stat { czxid: 9, cversion: 0, .. } },
            Outcome::Checked,
            Outcome::Created { path: "/a/b", .. },
            Outcome::Changed(Stat { version: 1, cversion: 1, num_children: 1, .. }),
            Outcome::Deleted,
        ]
    ));
    let told = [(Created, "/a"), (Created, "/a/b"), (DataChanged, "/a"), (Deleted, "/a/b")];
    assert_eq!(kinds(&changes), told);
    let empty = record(7, 10, OpCode::Multi, Txn::Multi(vec![]));
    assert_eq!(feed.tree.apply(&empty, None), Outcome::Multi(vec![]));
    assert_eq!(feed.tree.last_zxid(), Zxid(10));
}

#[test]
fn quotas_count_the_deepest_root_only() {
    let mut feed = Feed::new();
    let stats = "/zookeeper/quota/a/zookeeper_stats";
    let inner_stats = "/zookeeper/quota/a/b/zookeeper_stats";
    feed.create_as(OpCode::Create, "/a", b"12345", Txn::Create);
    feed.create_as(OpCode::Create, "/a/x", b"678", Txn::Create);
    feed.create("/zookeeper/quota/a");
    assert_eq!(feed.tree.quota_of("/a"), None);
    let limits = "/zookeeper/quota/a/zookeeper_limits";
    let text = b"count=5,bytes=100=;byteHardLimit=-1;countHardLimit=10";
    feed.create_as(OpCode::Create, limits, text, Txn::Create);
    assert_eq!(feed.tree.quota_of("/a"), None, "there are no stats yet");
    feed.create_as(OpCode::Create, stats, b"ignored", Txn::Create);
    assert_eq!(feed.text(stats), "count=2,bytes=8");
    let quota = feed.tree.quota_of("/a/x/y").expect("it is below /a");
    assert_eq!((quota.root, quota.limits.count_hard, quota.usage.count), ("/a", 10, 2));
    assert_eq!(feed.tree.quota_of("/ab"), None);

    let stat = feed.stat(stats);
    feed.create_as(OpCode::Create, "/a/b", b"1", Txn::Create);
    feed.set("/a/x", Some(b"6"), 1).expect("it is there");
    feed.set("/a", None, 1).expect("it is there");
    assert_eq!(feed.text(stats), "count=3,bytes=2");
    assert_eq!(Stat { data_length: stat.data_length, ..feed.stat(stats) }, stat, "only the data");

    for path in ["/zookeeper/quota/a/b", "/zookeeper/quota/a/b/zookeeper_limits", inner_stats] {
        feed.create(path);
    }
    assert_eq!(feed.text(inner_stats), "count=1,bytes=1");
    feed.create_as(OpCode::Create, "/a/b/c", b"23", Txn::Create);
    assert_eq!((feed.text(inner_stats), feed.text(stats)), ("count=2,bytes=3", "count=3,bytes=2"));
    feed.set(inner_stats, Some(b"count=100,bytes=100=;x=1"), 1).expect("it is there");
    feed.delete("/a/b/c").expect("it is there");
    assert_eq!(feed.text(inner_stats), "count=99,bytes=98=;x=1", "from the numbers given");

    feed.delete("/zookeeper/quota/a/b/zookeeper_limits").expect("it is there");
    feed.create_as(OpCode::Create, "/a/b/d", b"4567", Txn::Create);
    assert_eq!(
        (feed.text(inner_stats), feed.text(stats)),
        ("count=99,bytes=98=;x=1", "count=4,bytes=6")
    );
    feed.delete(stats).expect("it is there");
    feed.delete("/a/b/d").expect("nothing to count in");
}

#[test]
fn quotas_are_found_and_counted_anew_at_loading() {
    let mut feed = Feed::new();
    feed.create_as(OpCode::Create, "/a", b"12345", Txn::Create);
    feed.create("/zookeeper/quota/a");
    feed.create("/zookeeper/quota/a/zookeeper_limits");
    let stats = "/zookeeper/quota/a/zookeeper_stats";
    feed.create(stats);
    feed.set(stats, Some(b"count=9,bytes=9=;x=1"), 1).expect("it is there");
    let image = feed.tree.begin_image().expect("none is under way");
    let bytes = walk(&mut feed.tree, &image, 100, |_| {});
    let tree = load(&bytes, Zxid(5)).expect("it is a tree");
    let loaded = Feed { tree, zxid: 5 };
    assert_eq!(loaded.text(stats), "count=1,bytes=5");
    assert_eq!(loaded.tree.quota_of("/a").map(|quota| quota.usage.count), Some(1));
    assert_eq!(dump(&loaded.tree), dump(&feed.tree));
}

#[test]
fn the_reaper_is_shown_whose_time_is_over() {
    let mut feed = Feed::new();
    feed.create_as(OpCode::CreateContainer, "/used", b"", Txn::CreateContainer); // at 1000 ms
    feed.create_as(OpCode::CreateContainer, "/new", b"", Txn::CreateContainer); // at 2000
    feed.create("/used/child");
    feed.create_as(OpCode::CreateTtl, "/ttl", b"", |create| Txn::CreateTtl(create, 500)); // at 4000
    feed.create("/ttl/child");
    let reapable = |feed: &Feed, now, never_used, limit| {
        let (now, never_used) = (Millis(now), Millis(never_used));
        feed.tree.reapable(now, never_used, &mut ReapRound::default(), limit)
    };
    assert_eq!(reapable(&feed, 99_000, 0, 9), [""; 0], "both have children, one never had any");
    assert_eq!(reapable(&feed, 2500, 500, 9), [""; 0], "not longer than that");
    assert_eq!(reapable(&feed, 2501, 500, 9), ["/new"]);
    feed.delete("/used/child").expect("it is there");
    feed.delete("/ttl/child").expect("it is there");
    assert_eq!(reapable(&feed, 4500, 0, 9), ["/used"]);
    assert_eq!(reapable(&feed, 4501, 0, 9), ["/used", "/ttl"]);
    assert_eq!(reapable(&feed, 4501, 0, 1), ["/used"]);
    feed.set("/ttl", None, 1).expect("it is there"); // at 8000
    assert_eq!(reapable(&feed, 8500, 0, 9), ["/used"], "a new mtime, a new life");
    feed.run(OpCode::DeleteContainer, Txn::Delete { path: "/used".into() }).0.expect("it is there");
    assert_eq!(feed.tree.container_count(), 1);
}

/// By so many looks, each with what it found.
fn looks(tree: &Tree, round: &mut ReapRound, limit: usize) -> Vec<Vec<String>> {
    let mut found = vec![];
    while !round.is_done() {
        assert!(found.len() < 9, "a round ends");
        found.push(tree.reapable(Millis(99_000), Millis(1), round, limit));
    }
    found
}

#[test]
fn a_round_of_the_reaper_looks_at_each_node_once_and_at_both_kinds_in_turn() {
    let mut feed = Feed::new();
    for path in ["/c1", "/c2", "/c3", "/c4"] {
        feed.create_as(OpCode::CreateContainer, path, b"", Txn::CreateContainer);
    }
    for path in ["/t1", "/t2"] {
        feed.create_as(OpCode::CreateTtl, path, b"", |create| Txn::CreateTtl(create, 500));
    }
    let mut round = ReapRound::default();
    let found = looks(&feed.tree, &mut round, 4);
    assert_eq!(found, [vec!["/c1", "/t1", "/c2", "/t2"], vec!["/c3", "/c4"]]);
    assert_eq!(looks(&feed.tree, &mut round, 4).len(), 0);
    feed.create("/c2/child");
    let found = looks(&feed.tree, &mut ReapRound::default(), 2);
    assert_eq!(found, [vec!["/c1", "/t1"], vec!["/t2"], vec!["/c3", "/c4"], vec![]]);
    assert_eq!(looks(&Tree::new(), &mut ReapRound::default(), 2).concat(), [""; 0]);
}

#[test]
fn children_are_counted_at_every_depth() {
    let mut feed = Feed::new();
    for path in ["/a", "/a/b", "/a/b/c", "/a/d", "/ab"] {
        feed.create(path);
    }
    let cases = [("/", 8), ("", 8), ("/a", 3), ("/a/b", 1), ("/ab", 0), ("/x", 0)];
    for (path, count) in cases {
        assert_eq!(feed.tree.descendants(path), count, "{path}");
    }
    let root = feed.tree.find("").expect("it is there");
    let mut names: Vec<&str> = feed.tree.child_names(root).collect();
    names.sort_unstable();
    assert_eq!((root.path(), names), ("/", vec!["a", "ab", "zookeeper"]));
    let a = feed.tree.find("/a").expect("it is there");
    assert_eq!(feed.tree.child_names(a).collect::<Vec<_>>(), ["b", "d"]);
}

/// Readers are on other threads.
#[test]
fn a_tree_can_be_shared() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&Tree::new());
}
