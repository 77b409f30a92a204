//! Bytes and numbers that Java 3.9 made.

use super::*;
use crate::tree::digest::DigestMismatch;
use crate::wire::txn::TxnDigest;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Tables, nodes and terminator of `snapshot.0` of a fresh standalone server.
fn fresh_snapshot() -> Vec<u8> {
    let zero = "00".repeat(60);
    let text = |text: &str| -> String {
        let bytes: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("{:08x}{}", text.len(), bytes.concat())
    };
    let open = "ffffffffffffffff";
    hex(&[
        "00000000".into(),
        format!("00000001 0000000000000001 00000001 00000001 {} {}", text("world"), text("anyone")),
        format!("00000000 00000000 {open} {zero}"),
        format!("{} 00000000 {open} {zero}", text("/zookeeper")),
        format!("{} 00000000 0000000000000001", text("/zookeeper/config")),
        format!("{} ffffffff {}", "00".repeat(32 + 8), "00".repeat(16)),
        format!("{} 00000000 {open} {zero}", text("/zookeeper/quota")),
        "00000001 2f".into(),
    ]
    .concat())
}

#[test]
fn a_fresh_tree_is_javas_snapshot_0() {
    let mut tree = Tree::with_options(OPTIONS);
    let image = tree.begin_image().expect("none is under way");
    assert_eq!((image.zxid, image.digest), (Zxid(0), Some(0x51c6_d660)));
    let bytes = walk(&mut tree, &image, 1, |_| {});
    // 478 bytes less header (16), seals (3 x 13), digest trailer (20) and last zxid (8)
    assert_eq!(bytes.len(), 478 - 16 - 39 - 28);
    assert_eq!(bytes, fresh_snapshot());
    let loaded = load(&bytes, Zxid(0)).expect("it is a tree");
    assert_eq!(dump(&loaded), dump(&tree));
}

#[test]
fn a_fresh_tree_counts_as_javas() {
    let tree = Tree::new();
    tree.check_invariants();
    assert_eq!((tree.node_count(), tree.data_bytes(), tree.digest()), (5, 44, 0x51c6_d660));
    assert_eq!((tree.descendants("/"), tree.descendants("/zookeeper")), (3, 2));
    let cversion = |path| tree.stat(tree.find(path).expect("it is there")).cversion;
    assert_eq!((cversion("/"), cversion(""), cversion("/zookeeper")), (-1, -1, -2));
    let config = tree.find("/zookeeper/config").expect("it is there");
    assert_eq!((config.aversion(), &**tree.acl(config)), (-1, &[Acl::anyone(1)][..]));
    assert_eq!(config.data(), Some(&b""[..]));
}

/// The second record of a log that Java wrote, with the digest it computed.
#[test]
fn a_create_of_java_has_the_digest_java_says() {
    let mut bytes = hex("0100003d3efe0000 00000001 0000000000000002 000001a20610dbbb 00000001
         00000004 2f647570 00000000 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65
         00 00000001 00000002 00000000fc2ec5d6");
    let mut tree = Tree::new();
    let record = Record::decode(&bytes).expect("a whole record");
    tree.apply(&record, None);
    assert_eq!(tree.digest(), 0xfc2e_c5d6);
    assert_eq!(tree.digest_mismatches(), (0, None));

    *bytes.last_mut().unwrap() ^= 1;
    let mut tree = Tree::new();
    tree.apply(&Record::decode(&bytes).expect("a whole record"), None);
    let first = DigestMismatch { zxid: Zxid(2), expected: 0xfc2e_c5d7, actual: 0xfc2e_c5d6 };
    assert_eq!(tree.digest_mismatches(), (1, Some(first)));

    let mut tree = Tree::with_options(TreeOptions { digest: false, ..OPTIONS });
    tree.apply(&Record::decode(&bytes).expect("a whole record"), None);
    tree.check_invariants();
    assert_eq!((tree.digest(), tree.digest_mismatches()), (0, (0, None)));
}

#[test]
fn a_snapshots_digest_is_awaited() {
    let mut tree = Tree::new();
    tree.set_last_zxid(Zxid(4));
    tree.expect_digest(Zxid(6), TxnDigest { version: 2, digest: 0x51c6_d660 });
    let wrong = Some(TxnDigest { version: 2, digest: 1 });
    for (zxid, mismatches) in [(5, 0), (6, 1), (7, 2)] {
        let mut record = record(0, zxid, OpCode::Error, Txn::Error { err: -1 });
        record.digest = wrong;
        tree.apply(&record, None);
        assert_eq!(tree.digest_mismatches().0, mismatches, "{zxid}");
    }
}

/// What an image must not be, and what Java would say of it.
#[test]
fn what_is_no_image_is_refused_and_why() {
    let good = fresh_snapshot();
    let cut = |at: usize, with: &[u8]| [&good[..at], with, &good[at + with.len()..]].concat();
    let zookeeper_at = good.windows(10).position(|bytes| bytes == b"/zookeeper").unwrap();
    let cases = [
        (vec![], "cannot read the image: failed to fill whole buffer"),
        (good[..good.len() - 1].to_vec(), "cannot read the image: unexpected end of file"),
        (cut(0, &[0xff; 4]), "unreasonable length -1 of sessions"),
        (cut(0, &[0x7f, 0xff, 0xff, 0xff]), "cannot read the image: failed to fill whole buffer"),
        (cut(16, &[0xff; 4]), "unreasonable length -1 of ACL"),
        (cut(zookeeper_at - 4, &[0x7f, 0, 0, 0]), "cannot read the image: unexpected end of file"),
        (cut(zookeeper_at, b"/zookeepee"), "unable to find the parent of \"/zookeeper/config\""),
        (cut(zookeeper_at, b"_"), "unable to find the parent of \"_zookeeper\""),
        (hex("00000000 00000000 00000001 2f"), "there is no root node"),
    ];
    for (bytes, reason) in cases {
        let error = image::load(&mut &bytes[..], Zxid(0), OPTIONS).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some(reason));
    }
}

#[test]
fn what_java_tolerates_in_an_image_is_tolerated() {
    let good = fresh_snapshot();
    // the config node's list is not in the table
    let acl_table = 4 + 4 + 8 + 4 + 4 + 9 + 10;
    let bytes = [&good[..4], &[0; 4], &good[acl_table..]].concat();
    let tree = load(&bytes, Zxid(0)).expect("it is a tree");
    let config = tree.find("/zookeeper/config").expect("it is there");
    let nobody = Acl { perms: 0, scheme: "world".into(), id: "nobody".into() };
    assert_eq!((&**tree.acl(config), tree.without_acl()), (&[nobody][..], 1));
    // a node comes twice, and a server from before 3.5 had no config node
    let at = |path: &str| {
        let found = good.windows(path.len()).rposition(|bytes| bytes == path.as_bytes());
        found.unwrap() - 4
    };
    let (config, quota) = (at("/zookeeper/config"), at("/zookeeper/quota"));
    let quota_node = &good[quota..good.len() - 5];
    let bytes = [&good[..config], quota_node, quota_node, &good[good.len() - 5..]].concat();
    let tree = load(&bytes, Zxid(9)).expect("it is a tree");
    let config = tree.find("/zookeeper/config").expect("it was added");
    assert_eq!(&**tree.acl(config), &[Acl::anyone(1)]);
    assert_eq!((tree.node_count(), tree.last_zxid()), (5, Zxid(9)));
}

/// Found by fuzzing: the list of the node that came first is not forgotten before the last node.
#[test]
fn a_path_that_comes_twice_in_an_image_keeps_the_lists_of_others() {
    let mut body = vec![0; 8]; // no sessions, no lists
    for (path, acl_id) in [("", 5_i64), ("", 6), ("/a", 5)] {
        body.extend(u32::try_from(path.len()).unwrap().to_be_bytes());
        body.extend(path.as_bytes());
        body.extend([0; 4]); // no data
        body.extend(acl_id.to_be_bytes());
        body.extend([0; 60]);
    }
    body.extend([0, 0, 0, 1, b'/']);
    let tree = image::load(&mut &body[..], Zxid(1), TreeOptions::default()).expect("it loads");
    tree.check_invariants();
    assert!(tree.find("/a").is_some());
}
