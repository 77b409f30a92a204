//! A log as a crash or a bad disk may leave it: recovery says what it found and never panics. An
//! even first byte: the rest is the file; an odd one: the rest is records, framed as they must be.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ringkeeper::log::record;
use ringkeeper::log::recovery::{ReplayOptions, replay};
use ringkeeper::tree::{Tree, TreeOptions};
use ringkeeper::wire::txn::Record;

const RECORD_BYTES: usize = 96;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let name = format!("ringkeeper-fuzz-log-{}", std::process::id());
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
    fs::create_dir_all(base.join(&name)).expect("a scratch folder");
    base.join(name)
});

fn file(bytes: &[u8]) -> Vec<u8> {
    let Some((kind, rest)) = bytes.split_first() else { return Vec::new() };
    let mut log = record::FILE_HEADER.to_vec();
    if kind % 2 == 0 {
        log.extend(rest);
        return log;
    }
    for part in rest.chunks(RECORD_BYTES) {
        log.extend(record::head(part));
        log.extend(part);
        log.push(record::END_MARKER);
    }
    log.extend([0; 64]);
    log
}

fuzz_target!(|bytes: &[u8]| {
    fs::write(FOLDER.join("log.1"), file(bytes)).expect("room for a log");
    let mut tree = Tree::with_options(TreeOptions { extended_types: true, ..Default::default() });
    let _ = replay(&FOLDER, &ReplayOptions::default(), |_, bytes| {
        let record = Record::decode(bytes)?;
        tree.apply(&record, None);
        Ok(())
    });
});
