//! Where the zeros at the end of a log begin.
//!
//! Java lays down as many as `preAllocSize` says by writing the last byte, so nearly all of them
//! are a hole, which the file system knows without reading. In a copy they may be on the disk: they
//! are read in large pieces, past the mapping, and not kept in memory.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{Advice, SeekFrom, fadvise, seek};
use rustix::io::Errno;

use crate::log::record;
use crate::log::stop::StopFlag;

/// How much is read at once.
const WINDOW_BYTES: u64 = 1 << 20;

/// Behind the last byte from `from` on that is not zero; `from` if there is none.
pub(super) fn written(file: &File, from: u64, stop: &StopFlag) -> io::Result<u64> {
    let len = file.metadata()?.len();
    // What it has not written yet a file system may take for a hole.
    file.sync_data()?;
    let mut window = Vec::new();
    let mut written = from;
    let mut rest = from..len;
    while !rest.is_empty() {
        let data = next_data(file, &rest)?;
        rest.start = data.end;
        for begin in data.clone().step_by(to_usize(WINDOW_BYTES)) {
            stop.check().map_err(io::Error::other)?;
            let bytes = WINDOW_BYTES.min(data.end - begin);
            window.resize(to_usize(bytes), 0);
            file.read_exact_at(&mut window, begin)?;
            match record::written(&window) {
                // Only advice; and whoever needs them reads them again.
                0 => drop(fadvise(file, begin, NonZeroU64::new(bytes), Advice::DontNeed)),
                end => written = begin + end as u64,
            }
        }
    }
    Ok(written)
}

/// The first part of `rest` that may hold anything but zeros; an empty one at its end if there is
/// none. All of it, where the file system does not say.
fn next_data(file: &File, rest: &Range<u64>) -> io::Result<Range<u64>> {
    let begin = match seek(file, SeekFrom::Data(rest.start)) {
        Ok(begin) => begin.min(rest.end),
        Err(Errno::NXIO) => rest.end,
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(rest.clone()),
        Err(error) => return Err(error.into()),
    };
    let end = if begin < rest.end { seek(file, SeekFrom::Hole(begin))? } else { rest.end };
    Ok(begin..end.min(rest.end))
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("at most a window")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of this length with these bytes set.
    fn sparse(len: u64, set: &[u64]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len).unwrap();
        for at in set {
            file.write_all_at(b"x", *at).unwrap();
        }
        file
    }

    #[test]
    fn the_last_byte_is_found_wherever_holes_are() {
        const TERABYTE: u64 = 1 << 40;
        let cases: [(u64, &[u64], u64, u64); 9] = [
            (0, &[], 0, 0),
            (TERABYTE, &[], 0, 0),
            (TERABYTE, &[], 77, 77),
            (TERABYTE, &[0], 0, 1),
            (TERABYTE, &[0], 1, 1),
            (TERABYTE, &[5, 3 << 20], 1, (3 << 20) + 1),
            (TERABYTE, &[5, TERABYTE - 1], 1, TERABYTE),
            (TERABYTE, &[5, WINDOW_BYTES, 1 << 30], 6, (1 << 30) + 1),
            (100, &[50], 60, 60),
        ];
        for (len, set, from, expected) in cases {
            let file = sparse(len, set);
            let found = written(&file, from, &StopFlag::default()).unwrap();
            assert_eq!(found, expected, "{len} {set:?} {from}");
        }
    }

    #[test]
    fn zeros_that_were_written_are_looked_at() {
        let bytes = 3 * to_usize(WINDOW_BYTES) + 99;
        for at in [0, 1, to_usize(WINDOW_BYTES) - 1, to_usize(WINDOW_BYTES), bytes - 1] {
            let mut content = vec![0; bytes];
            content[at] = 1;
            let file = sparse(0, &[]);
            file.write_all_at(&content, 0).unwrap();
            let stop = StopFlag::default();
            assert_eq!(written(&file, 0, &stop).unwrap(), at as u64 + 1);
            assert_eq!(written(&file, at as u64 + 1, &stop).unwrap(), at as u64 + 1);
            stop.raise();
            assert!(written(&file, 0, &stop).is_err(), "a stop is heard");
        }
    }
}
