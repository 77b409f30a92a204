//! Seals and trailers: what follows the tree in a snapshot. Pure.
//!
//! Which trailers there are is told by how many bytes there are, for Java servers write what their
//! settings say and nothing in the file says which. Source: `FileSnap`, `SnapStream`.

use simd_adler32::Adler32;

use super::{DigestTrailer, Trailers};
use crate::ids::Zxid;
use crate::log::error::Damage;

/// The path `/` as jute writes it: ends the nodes, and each seal.
pub(super) const PATH: [u8; 5] = *b"\0\0\0\x01/";

/// A checksum in a long, and [`PATH`].
const SEAL_BYTES: usize = 13;
const DIGEST_BYTES: usize = 20;
const LAST_ZXID_BYTES: usize = 8;

/// The most that can follow the tree: both trailers, and a seal for each part.
pub(super) const TAIL_BYTES_MAX: usize = 3 * SEAL_BYTES + DIGEST_BYTES + LAST_ZXID_BYTES;

/// What follows the tree, for a tree whose bytes have this checksum.
pub(super) fn encode_tail(mut checksum: Adler32, trailers: &Trailers) -> Vec<u8> {
    let mut tail = Vec::with_capacity(TAIL_BYTES_MAX);
    let mut hashed = 0;
    let mut seal = |tail: &mut Vec<u8>| {
        checksum.write(&tail[hashed..]);
        hashed = tail.len();
        tail.extend_from_slice(&u64::from(checksum.finish()).to_be_bytes());
        tail.extend_from_slice(&PATH);
    };
    seal(&mut tail);
    if let Some(digest) = &trailers.digest {
        tail.extend_from_slice(&digest.zxid.0.to_be_bytes());
        tail.extend_from_slice(&digest.version.to_be_bytes());
        tail.extend_from_slice(&digest.digest.to_be_bytes());
        seal(&mut tail);
    }
    if let Some(zxid) = trailers.last_zxid {
        tail.extend_from_slice(&zxid.0.to_be_bytes());
        seal(&mut tail);
    }
    tail
}

/// Reads and checks what follows a tree whose bytes have this checksum.
pub(super) fn decode_tail(checksum: Adler32, tail: &[u8]) -> Result<Trailers, Damage> {
    let (digest, last_zxid) = match tail.len().checked_sub(SEAL_BYTES) {
        Some(0) => (None, None),
        Some(21) => (None, Some(Zxid(read_i64(tail, SEAL_BYTES)))),
        Some(33) => (Some(read_digest(tail)), None),
        Some(54) => (Some(read_digest(tail)), Some(Zxid(read_i64(tail, 2 * SEAL_BYTES + 20)))),
        Some(bytes) => return Err(Damage::Trailer(bytes as u64)),
        None => return Err(Damage::Truncated),
    };
    let trailers = Trailers { digest, last_zxid };
    // Written again, every seal must come out the same.
    if encode_tail(checksum, &trailers) == tail { Ok(trailers) } else { Err(Damage::Checksum) }
}

fn read_digest(tail: &[u8]) -> DigestTrailer {
    let version = &tail[SEAL_BYTES + 8..SEAL_BYTES + 12];
    DigestTrailer {
        zxid: Zxid(read_i64(tail, SEAL_BYTES)),
        version: i32::from_be_bytes(version.try_into().expect("four bytes")),
        digest: read_i64(tail, SEAL_BYTES + 12),
    }
}

fn read_i64(tail: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(tail[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: DigestTrailer = DigestTrailer { zxid: Zxid(7), version: 2, digest: -5 };

    fn checksum(bytes: &[u8]) -> Adler32 {
        let mut adler = Adler32::new();
        adler.write(bytes);
        adler
    }

    #[test]
    fn each_set_of_trailers_has_its_length_and_reads_back() {
        let cases = [(None, None, 13), (None, Some(Zxid(9)), 34), (Some(DIGEST), None, 46)]
            .into_iter()
            .chain([(Some(DIGEST), Some(Zxid(9)), TAIL_BYTES_MAX)]);
        for (digest, last_zxid, bytes) in cases {
            let trailers = Trailers { digest, last_zxid };
            let tail = encode_tail(checksum(b"tree"), &trailers);
            assert_eq!(tail.len(), bytes);
            let read = decode_tail(checksum(b"tree"), &tail);
            assert_eq!(read.ok(), Some(trailers));
            for at in 0..tail.len() {
                let mut bad = tail.clone();
                bad[at] ^= 0x10;
                assert!(decode_tail(checksum(b"tree"), &bad).is_err(), "{trailers:?} {at}");
                assert!(decode_tail(checksum(b"tree"), &tail[..at]).is_err() || at % 33 == 13);
            }
            assert!(decode_tail(checksum(b"trea"), &tail).is_err());
        }
    }

    #[test]
    fn the_newest_zxid_is_the_larger_of_the_two() {
        let both = Trailers { digest: Some(DIGEST), last_zxid: Some(Zxid(6)) };
        assert_eq!(both.newest(), Some(Zxid(7)));
        assert_eq!(Trailers { digest: None, ..both }.newest(), Some(Zxid(6)));
        assert_eq!(Trailers::default().newest(), None);
    }
}
