//! What a flush costs. The first test guards against write amplification on each run; the second
//! prints latencies: `cargo test --release --test crash flush_latency -- --ignored --nocapture`.

use std::fs;

use ringkeeper::clock::Clock;
use ringkeeper::ids::Zxid;
use ringkeeper::log::Writer;

use crate::disk::{Disk, txn};

/// Bytes this thread has made the kernel write so far.
fn written() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = io.lines().find(|line| line.starts_with("write_bytes")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A writer whose first flush, which names the file, is done.
fn warm(disk: &Disk) -> Writer {
    let mut writer = disk.writer(Zxid::ZERO);
    writer.append(Zxid(1), &txn(Zxid(1), b"")).unwrap();
    writer.flush().unwrap();
    writer
}

/// A flush covers the pages that its bytes lie in, and may write a fifth more than those. Through a
/// page cache of large folios it could be up to 1 MiB for each of these.
#[test]
fn a_flush_writes_only_the_pages_it_covers() {
    const PAGE: u64 = 4096;
    let disk = Disk::new();
    let mut writer = warm(&disk);
    let (before, mut covered) = (written(), 0);
    for (zxid, bytes) in (2..).map(Zxid).zip([100, 5000, 100, 3900, 40_000].repeat(20)) {
        let first = writer.sizes().file_bytes / PAGE;
        writer.append(zxid, &txn(zxid, &vec![7; bytes])).unwrap();
        writer.flush().unwrap();
        covered += (writer.sizes().file_bytes.div_ceil(PAGE) - first) * PAGE;
    }
    let written = written() - before;
    assert!(written >= covered, "{written} bytes written for {covered}: is it counted at all?");
    assert!(written * 10 <= covered * 12, "{written} bytes written for {covered} covered");
}

#[test]
#[ignore = "prints numbers of this machine"]
fn flush_latency() {
    for (bytes, flushes) in [(4096 - 130, 800_i64), (100, 800), (64 << 10, 400)] {
        let disk = Disk::new();
        let mut writer = warm(&disk);
        let (clock, mut each) = (Clock::start(), 0);
        let (mut micros, mut appends) = (Vec::new(), Vec::new());
        for zxid in (2..2 + flushes).map(Zxid) {
            let record = txn(zxid, &vec![7; bytes]);
            if let Some(bytes) = writer.wants_segment() {
                let prepared = ringkeeper::log::prepare(disk.path(), bytes, true).unwrap();
                writer.offer(prepared).unwrap();
            }
            let (start, before) = (clock.micros(), written());
            writer.append(zxid, &record).unwrap();
            let appended = clock.micros();
            writer.flush().unwrap();
            appends.push(appended - start);
            micros.push(clock.micros() - appended);
            each += written() - before;
        }
        each /= u64::try_from(flushes).unwrap();
        micros.sort_unstable();
        appends.sort_unstable();
        let at = |sorted: &[u64], percent: usize| sorted[sorted.len() * percent / 100];
        println!(
            "{bytes} B: flush p50 {} p90 {} p99 {} us; append p50 {} p99 {} us; {each} B written each",
            at(&micros, 50),
            at(&micros, 90),
            at(&micros, 99),
            at(&appends, 50),
            at(&appends, 99),
        );
    }
}
