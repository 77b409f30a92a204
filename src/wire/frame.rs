//! A frame: a 4-byte length, then that many bytes. The same in both directions.

use std::fmt;

/// Bytes of the length in front of each frame.
pub const LENGTH_BYTES: usize = 4;

/// A length that no frame may have; the connection is closed without a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameLengthError {
    /// As read.
    pub len: i32,
    /// The longest allowed (`jute.maxbuffer`).
    pub max: u32,
}

impl fmt::Display for FrameLengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame length {} is not in 0..={} (jute.maxbuffer)", self.len, self.max)
    }
}

impl std::error::Error for FrameLengthError {}

/// The length at the head of `input`, once its 4 bytes are there.
///
/// # Errors
/// [`FrameLengthError`] if it is negative or above `max`.
pub fn length(input: &[u8], max: u32) -> Result<Option<usize>, FrameLengthError> {
    let Some(head) = input.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let len = i32::from_be_bytes(*head);
    match u32::try_from(len) {
        Ok(length) if length <= max => Ok(Some(length as usize)),
        _ => Err(FrameLengthError { len, max }),
    }
}

/// A frame's bytes, and those that follow it.
pub type Split<'a> = (&'a [u8], &'a [u8]);

/// The first frame in `input` and what follows it; `None` until all of it is there.
///
/// # Errors
/// [`FrameLengthError`] as for [`length`].
pub fn split(input: &[u8], max: u32) -> Result<Option<Split<'_>>, FrameLengthError> {
    let Some(len) = length(input, max)? else { return Ok(None) };
    Ok(input[LENGTH_BYTES..].split_at_checked(len))
}

/// Appends a frame whose body `body` writes, and its length in front.
pub fn write(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(out);
    body(out);
    end(out, start);
}

/// Leaves room for a length; returns what [`end`] needs.
pub fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    start
}

/// Fills in the length of the frame begun at `start`.
///
/// # Panics
/// If the frame has 2 GiB or more; no reply comes near.
pub fn end(out: &mut [u8], start: usize) {
    let len = out.len() - start - LENGTH_BYTES;
    let len = i32::try_from(len).expect("a reply is smaller than 2 GiB: the tree's nodes are");
    out[start..start + LENGTH_BYTES].copy_from_slice(&len.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_split_off_once_whole() {
        let mut out = Vec::new();
        write(&mut out, |out| out.extend_from_slice(b"abc"));
        out.push(9);
        assert_eq!(split(&out, 3), Ok(Some((&b"abc"[..], &[9][..]))));
        assert_eq!(split(&out[..6], 3), Ok(None));
        assert_eq!(split(&out[..2], 3), Ok(None));
    }

    #[test]
    fn length_limits_are_exact() {
        let max = 0xf_ffff;
        assert_eq!(length(&0xf_ffffi32.to_be_bytes(), max), Ok(Some(0xf_ffff)));
        for len in [0x10_0000, -1, i32::MIN, i32::MAX] {
            assert_eq!(length(&len.to_be_bytes(), max), Err(FrameLengthError { len, max }));
        }
    }
}
