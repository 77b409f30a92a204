//! Reads a stretch of the log for a learner, while the log is being written.
//!
//! Thread: storage. Only what is durable is asked for, so whatever a read meets behind it is of no
//! interest, and nothing is repaired.

use std::path::Path;

use super::log_file::{LogFile, Step};
use super::{follows, needed};
use crate::ids::Zxid;
use crate::log::error::Error;
use crate::log::names::{self, LOG};

/// Which stretch, and how much of it at most.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// From the last record that is not after this one.
    pub from: Zxid,
    /// To this one, included.
    pub upto: Zxid,
    /// Bytes of records.
    pub bytes_max: usize,
}

/// Records with their zxids, ascending.
pub type History = Vec<(Zxid, Box<[u8]>)>;

/// The records of a stretch; `None` if the log does not reach back so far, or not up to
/// its end, has a gap, or holds more than was to be read.
///
/// # Errors
/// [`Error::Io`]
pub fn read_history(log_dir: &Path, stretch: &Stretch) -> Result<Option<History>, Error> {
    let mut found = History::new();
    let mut bytes = 0;
    for named in needed(names::list(log_dir, LOG)?, stretch.from) {
        let mut file = LogFile::open(&named)?;
        if !file.has_magic() {
            continue;
        }
        while let Step::Record(zxid, range) = file.step()? {
            let last = found.last().map(|(last, _)| *last);
            if zxid <= stretch.from {
                found.clear();
                bytes = 0;
            } else if last.is_some_and(|last| zxid <= last) {
                continue; // a duplicate
            } else if !last.is_some_and(|last| follows(last, zxid)) {
                return Ok(None);
            }
            bytes += range.len();
            if bytes > stretch.bytes_max {
                return Ok(None);
            }
            found.push((zxid, file.data(range).into()));
            if zxid >= stretch.upto {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use crate::log::{Writer, WriterOptions};

    /// Nobody here looks at more of a txn than where its header has the zxid.
    fn record(zxid: Zxid) -> Vec<u8> {
        let mut bytes = vec![0; 36];
        bytes[12..20].copy_from_slice(&zxid.0.to_be_bytes());
        bytes
    }

    /// Two epochs over several files, the last of them being written.
    fn writer(dir: &Path, zxids: &[Zxid]) -> Writer {
        let mut writer = Writer::open(WriterOptions {
            log_dir: dir.into(),
            last: Zxid(zxids[0].0 - 1),
            segment_bytes: 0,
            force_sync: false,
            roll_bytes: None,
        });
        for (count, zxid) in zxids.iter().enumerate() {
            if count % 4 == 3 {
                writer.roll().unwrap();
            }
            writer.append(*zxid, &record(*zxid)).unwrap();
        }
        writer.flush().unwrap();
        writer
    }

    fn zxids() -> Vec<Zxid> {
        let of = |epoch, last| (1..=last).map(move |counter| Zxid::new(Epoch(epoch), counter));
        of(1, 7).chain(of(2, 6)).collect()
    }

    fn read(dir: &Path, from: Zxid, upto: Zxid, bytes_max: usize) -> Option<Vec<Zxid>> {
        let found = read_history(dir, &Stretch { from, upto, bytes_max }).unwrap();
        found.map(|found| found.into_iter().map(|(zxid, _)| zxid).collect())
    }

    #[test]
    fn a_stretch_begins_with_what_the_learner_has_and_has_no_gap() {
        let dir = tempfile::tempdir().unwrap();
        let all = zxids();
        let _writer = writer(dir.path(), &all);
        for from in 0..all.len() {
            for upto in from + 1..all.len() {
                let found = read(dir.path(), all[from], all[upto], usize::MAX);
                assert_eq!(found.as_deref(), Some(&all[from..=upto]), "{from} to {upto}");
            }
        }
        let late = Zxid::new(Epoch(1), 99);
        let found = read(dir.path(), late, all[9], usize::MAX);
        assert_eq!(found.as_deref(), Some(&all[6..=9]), "the learner has more of its epoch");
    }

    #[test]
    fn a_log_that_is_too_short_too_large_or_has_a_hole_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let all = zxids();
        let writer = writer(dir.path(), &all);
        let (first, last) = (all[0], all[12]);
        assert_eq!(read(dir.path(), Zxid(first.0 - 1), last, usize::MAX), None, "begins too late");
        assert_eq!(read(dir.path(), first, Zxid(last.0 + 1), usize::MAX), None, "ends too soon");
        assert_eq!(read(dir.path(), first, last, 12 * record(first).len()), None, "too large");
        assert!(read(dir.path(), first, last, 13 * record(first).len()).is_some(), "fits");
        drop(writer);
        std::fs::remove_file(names::log_path(dir.path(), all[7])).unwrap();
        assert_eq!(read(dir.path(), first, last, usize::MAX), None, "a file is missing");
    }

    /// A reader looks for one more record where the last one ends, be it at the end of a page.
    #[test]
    fn a_file_that_is_cut_under_its_reader_is_read_to_its_end() {
        const HEADER_BYTES: usize = 16;
        for end in 4096 - 13..=4096 + 1 {
            let dir = tempfile::tempdir().unwrap();
            let mut writer = writer(dir.path(), &[Zxid(1)]);
            let first = record(Zxid(1)).len() + 13;
            let mut last = record(Zxid(2));
            last.resize(end - HEADER_BYTES - first - 13, 7);
            writer.append(Zxid(2), &last).unwrap();
            writer.flush().unwrap();
            let named = needed(names::list(dir.path(), LOG).unwrap(), Zxid(1));
            let mut file = LogFile::open(&named[0]).unwrap();
            for _ in 1..=2 {
                assert!(matches!(file.step().unwrap(), Step::Record(..)));
            }
            assert_eq!(file.offset(), end as u64);
            writer.roll().unwrap(); // which cuts it
            assert!(matches!(file.step().unwrap(), Step::End), "{end}");
            let bytes = std::fs::metadata(&named[0].path).unwrap().len();
            assert!((end..=end + 12).contains(&usize::try_from(bytes).unwrap()), "{bytes}");
        }
    }
}
