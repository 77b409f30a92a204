//! Images are of one point in time, whatever is written while they are read.

use super::history::History;
use super::*;

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
            assert!(tree.begin_image().is_none(), "one at a time");
            let busy = history.random.below(8);
            let bytes = walk(&mut tree, &image, 3, |tree| {
                for _ in 0..busy {
                    apply_next(&mut history, tree);
                }
            });
            drop(tree.end_image());
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
    let walker = |tree: &mut Tree| tree.begin_image().expect("none is under way").walker();
    let mut first = walker(&mut tree);
    let mut out = Vec::new();
    assert_eq!(first.append(&tree, &mut out, 1, 99), Progress::More);
    drop(tree.end_image());
    assert!(tree.end_image().is_none());
    assert_eq!(first.append(&tree, &mut out, 1, 99), Progress::Gone);
    let mut second = walker(&mut tree);
    assert_eq!(first.append(&tree, &mut out, 1, 99), Progress::Gone);
    assert_eq!(second.append(&tree, &mut out, 99, 99), Progress::More, "the bytes are bounded");
    assert_eq!(second.append(&tree, &mut out, 99, 999), Progress::Done);
}
