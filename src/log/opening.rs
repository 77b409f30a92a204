//! Opening files while others use the last descriptors.
//!
//! Clients are kept below the limit of open files, but one that is turned away has a descriptor
//! for a moment, and a crowd of them may have all that are left. They go within a turn of their
//! shard, so whoever needs a file waits for that, and only then takes it for a failure.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::limits::{DESCRIPTOR_PAUSE_MS, DESCRIPTOR_TRIES_MAX};

/// What `open` gives, once there is a descriptor for it.
pub(super) fn open<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut tries = 1;
    loop {
        match open() {
            Err(error) if tries < DESCRIPTOR_TRIES_MAX && is_out_of_descriptors(&error) => {
                tries += 1;
                std::thread::park_timeout(Duration::from_millis(DESCRIPTOR_PAUSE_MS));
            }
            result => return result,
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| number == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that fails in this way so many times, and how often it was asked.
    fn asked(failures: u32, errno: Errno) -> (bool, u32) {
        let mut asked = 0;
        let opened = open(|| {
            asked += 1;
            if asked <= failures { Err(errno.into()) } else { Ok(()) }
        });
        (opened.is_ok(), asked)
    }

    #[test]
    fn only_a_want_of_descriptors_is_waited_for_and_not_for_ever() {
        assert_eq!(asked(0, Errno::MFILE), (true, 1));
        assert_eq!(asked(3, Errno::MFILE), (true, 4));
        assert_eq!(asked(3, Errno::NFILE), (true, 4));
        assert_eq!(asked(3, Errno::NOSPC), (false, 1));
        assert_eq!(asked(u32::MAX, Errno::MFILE), (false, DESCRIPTOR_TRIES_MAX));
    }
}
