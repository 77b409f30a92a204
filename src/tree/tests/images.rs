//! Images are of one point in time, whatever is written while they are read.

use super::history::History;
use super::image::Scanner;
use super::*;
use crate::limits::IMAGES_MAX;
use crate::wire::Writer;
use crate::wire::quorum::SNAPSHOT_SIGNATURE;

fn apply_next(history: &mut History, tree: &mut Tree) {
    let bytes = history.next();
    let record = Record::decode(&bytes).expect("it was encoded");
    history.model.apply(&record, &mut Vec::new());
    tree.apply(&record, None);
}

#[test]
fn an_image_is_what_was_there_when_it_began() {
    for seed in 0..8 {
        println!("seed {seed}");
        let mut history = History::new(2000 + seed);
        let mut tree = Tree::with_options(OPTIONS);
        for _ in 0..4 {
            for _ in 0..history.random.below(100) {
                apply_next(&mut history, &mut tree);
            }
            let expected = dump(&tree);
            let digest = tree.digest();
            let image = tree.begin_image().expect("none is under way");
            let busy = history.random.below(8);
            let bytes = walk(&mut tree, &image, 3, |tree| {
                for _ in 0..busy {
                    apply_next(&mut history, tree);
                }
            });
            drop(tree.end_image(&image));
            let loaded = load(&bytes, image.zxid).expect("it is a tree");
            assert_eq!(dump(&loaded), expected);
            assert_eq!((image.digest, loaded.digest()), (Some(digest), digest));
            history.model.check(&tree);
        }
    }
}

#[test]
fn parents_come_before_their_children_whatever_their_ids() {
    let mut feed = Feed::new();
    for path in ["/x", "/x/y", "/p"] {
        feed.create(path);
    }
    feed.delete("/x/y").expect("it is there");
    feed.delete("/x").expect("it is there");
    // the ids of /x and /x/y are given again, the lower one to the child
    for path in ["/p/q", "/p/q/r", "/p/q/r/s"] {
        feed.create(path);
    }
    let image = feed.tree.begin_image().expect("none is under way");
    let bytes = walk(&mut feed.tree, &image, 1, |_| {});
    assert_eq!(dump(&load(&bytes, Zxid(8)).expect("parents first")), dump(&feed.tree));
}

#[test]
fn an_id_given_again_does_not_hide_who_had_it() {
    let mut feed = Feed::new();
    feed.create_as(OpCode::Create, "/old", b"old", Txn::Create);
    let expected = dump(&feed.tree);
    let image = feed.tree.begin_image().expect("none is under way");
    feed.set("/old", Some(b"newer"), 1).expect("it is there");
    feed.delete("/old").expect("it is there");
    feed.create_as(OpCode::Create, "/new", b"new", Txn::Create);
    feed.set("/new", None, 1).expect("it is there");
    feed.delete("/new").expect("it is there");
    feed.create("/newest");
    assert_eq!(feed.tree.image_saved_count(), 2, "/old and the root");
    let bytes = walk(&mut feed.tree, &image, 100, |_| {});
    assert_eq!(dump(&load(&bytes, image.zxid).expect("it is a tree")), expected);
}

#[test]
fn a_walker_knows_when_its_image_is_gone() {
    let mut tree = Tree::new();
    let image = tree.begin_image().expect("none is under way");
    let mut first = image.walker();
    let mut out = Vec::new();
    assert_eq!(first.append(&tree, &mut out, 1, 99), Progress::More);
    assert!(tree.end_image(&image).is_some());
    assert!(tree.end_image(&image).is_none());
    assert_eq!(first.append(&tree, &mut out, 1, 99), Progress::Gone);
    let mut second = tree.begin_image().expect("none is under way").walker();
    assert_eq!(first.append(&tree, &mut out, 1, 99), Progress::Gone);
    assert_eq!(second.append(&tree, &mut out, 99, 99), Progress::More, "the bytes are bounded");
    assert_eq!(second.append(&tree, &mut out, 99, 999), Progress::Done);
}

#[test]
fn images_that_overlap_are_each_of_their_own_time() {
    for seed in 0..8 {
        println!("seed {seed}");
        let mut history = History::new(3000 + seed);
        let mut tree = Tree::with_options(OPTIONS);
        let mut under_way = Vec::new();
        for _ in 0..IMAGES_MAX {
            for _ in 0..history.random.below(60) {
                apply_next(&mut history, &mut tree);
            }
            let image = tree.begin_image().expect("there is room");
            under_way.push((dump(&tree), image.walker(), image, Vec::new()));
        }
        assert!(tree.begin_image().is_none(), "their number is bounded");
        while !under_way.is_empty() {
            let one = history.random.below(under_way.len());
            let (expected, walker, image, bytes) = &mut under_way[one];
            if bytes.is_empty() {
                image.encode_tables(bytes);
            }
            if walker.append(&tree, bytes, 3, 1 << 20) == Progress::Done {
                assert_eq!(&dump(&load(bytes, image.zxid).expect("a tree")), expected);
                drop(tree.end_image(image));
                under_way.swap_remove(one);
            }
            apply_next(&mut history, &mut tree);
        }
        history.model.check(&tree);
    }
}

/// However the stream is cut, its end is found, and not a byte of what follows is taken.
#[test]
fn the_end_of_an_image_is_found_in_a_stream() {
    let mut history = History::new(7);
    let mut tree = Tree::with_options(OPTIONS);
    for _ in 0..300 {
        apply_next(&mut history, &mut tree);
    }
    let image = tree.begin_image().expect("none is under way");
    let mut bytes = walk(&mut tree, &image, 1000, |_| {});
    Writer::new(&mut bytes).string(SNAPSHOT_SIGNATURE);
    let end = bytes.len();
    bytes.extend_from_slice(b"packets");
    for piece in [1, 2, 3, 5, 7, 64, 1000, bytes.len()] {
        let mut scanner = Scanner::default();
        let mut at = 0;
        while !scanner.is_done() {
            let upto = (at + piece).min(bytes.len());
            assert!(at < upto, "there is an end, in pieces of {piece}");
            at += scanner.scan(&bytes[at..upto]).expect("it is an image");
        }
        assert_eq!(at, end, "in pieces of {piece}");
    }
    let mut negative = Scanner::default();
    assert!(negative.scan(&[0x80, 0, 0, 0]).is_err(), "no count is negative");
}
