//! A configuration file of any bytes: settings, or an error with a text.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ringkeeper::server::config::Config;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
    base.join(format!("ringkeeper-fuzz-{}.cfg", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    fs::write(&*FILE, bytes).expect("room for a file");
    match Config::load(Some(&FILE), &[]) {
        Ok((_, warnings)) => warnings.iter().for_each(|warning| drop(warning.to_string())),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
