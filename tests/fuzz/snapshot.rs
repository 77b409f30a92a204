//! The body of a snapshot: what loads is a tree that holds together, and writes an image again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringkeeper::ids::Zxid;
use ringkeeper::tree::TreeOptions;
use ringkeeper::tree::image::{self, Progress};

fuzz_target!(|bytes: &[u8]| {
    let mut input = bytes;
    let Ok(mut tree) = image::load(&mut input, Zxid(1), TreeOptions::default()) else { return };
    tree.check_invariants();
    let image = tree.begin_image().expect("no other image");
    let mut body = Vec::new();
    image.encode_tables(&mut body);
    let mut walker = image.walker();
    while walker.append(&tree, &mut body, 100, 1 << 20) == Progress::More {}
    let again = image::load(&mut &body[..], Zxid(1), TreeOptions::default());
    assert!(again.is_ok(), "what was written loads");
});
