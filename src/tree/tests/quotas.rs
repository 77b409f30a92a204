//! The sums of all quotas (`QuotaMetricsUtils`).

use std::collections::BTreeMap;

use super::*;
use crate::tree::{QuotaSum, QuotaSums};

/// The sums of all quotas, of a walk in pieces of so many nodes.
fn quota_sums(tree: &Tree, nodes_max: usize) -> BTreeMap<Box<str>, QuotaSums> {
    let mut walk = tree.begin_quota_walk();
    while tree.walk_quotas(&mut walk, nodes_max) {}
    walk.sums
}

#[test]
fn quotas_are_summed_up_for_each_child_of_the_root() {
    let mut feed = Feed::new();
    assert_eq!(quota_sums(&feed.tree, 1), BTreeMap::new());
    // Each below /zookeeper/quota, with its data; usage is set, as creating it would count anew.
    let nodes: [(&str, &[u8]); 14] = [
        ("/two", b""),
        ("/two/zookeeper_limits", b"count=5,bytes=100=;countHardLimit=10"),
        ("/two/zookeeper_stats", b"count=3,bytes=30"),
        ("/two/deep", b""),
        ("/two/deep/zookeeper_limits", b"bytes=7=;byteHardLimit=0"),
        ("/two/deep/zookeeper_stats", b"count=1,bytes=4"),
        ("/limited", b""),
        ("/limited/zookeeper_limits", b"count=8"),
        ("/used", b""),
        ("/used/zookeeper_stats", b"count=2,bytes=9"),
        ("/used/zookeeper_limits", b"count=1"), // with a child it is no leaf
        ("/used/zookeeper_limits/other", b"count=1"),
        ("/zookeeper_stats", b""),
        ("/not_zookeeper_limits", b"count=1"),
    ];
    for (path, data) in nodes {
        let path = format!("/zookeeper/quota{path}");
        feed.create(&path);
        feed.set(&path, Some(data), 1).expect("it is there");
    }
    let sum = |count, bytes| Some(QuotaSum { count, bytes });
    let expected: BTreeMap<Box<str>, _> = [
        ("limited".into(), QuotaSums { allowed: sum(8, -1), used: None }),
        ("two".into(), QuotaSums { allowed: sum(10 - 1, 100), used: sum(4, 34) }),
        ("used".into(), QuotaSums { allowed: None, used: sum(2, 9) }),
        ("zookeeper_stats".into(), QuotaSums { allowed: None, used: sum(-1, -1) }),
    ]
    .into();
    for nodes_max in [1, 3, 100] {
        assert_eq!(quota_sums(&feed.tree, nodes_max), expected, "{nodes_max} at once");
    }
    feed.set("/zookeeper/quota/limited/zookeeper_limits", None, 2).expect("it is there");
    assert!(!quota_sums(&feed.tree, 9).contains_key("limited"), "null is no text");
}

#[test]
fn a_walk_over_quotas_goes_on_in_a_tree_that_changed() {
    let mut feed = Feed::new();
    for path in ["/a", "/b"] {
        let path = format!("/zookeeper/quota{path}");
        feed.create(&path);
        feed.create(&format!("{path}/zookeeper_limits"));
    }
    let mut walk = feed.tree.begin_quota_walk();
    assert!(feed.tree.walk_quotas(&mut walk, 1), "its children are left");
    for path in ["/a/zookeeper_limits", "/a", "/b/zookeeper_limits", "/b"] {
        feed.delete(&format!("/zookeeper/quota{path}")).expect("it is there");
    }
    feed.create("/in_its_place");
    while feed.tree.walk_quotas(&mut walk, 1) {}
    assert_eq!(walk.sums, BTreeMap::new());
}
