//! Copies of byte strings that come one after another and go in about that order: requests and
//! records on their way.
//!
//! Many of them share one allocation and one count of its users, so that keeping one costs neither
//! an allocation nor, when it goes, a look at memory that nobody else needs any more. The price: a
//! chunk stays for as long as any of what is in it.

use bytes::{Bytes, BytesMut};

/// How much is allocated at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Whatever is longer has an allocation of its own: it would leave much of a chunk unused.
const SHARED_BYTES_MAX: usize = CHUNK_BYTES / 8;

/// Where the next copies go.
#[derive(Debug, Default)]
pub struct Chunk(BytesMut);

impl Chunk {
    /// A copy of `bytes`.
    pub fn put(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > SHARED_BYTES_MAX {
            return Bytes::copy_from_slice(bytes);
        }
        if self.0.capacity() < bytes.len() {
            self.0 = BytesMut::with_capacity(CHUNK_BYTES);
        }
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_chunk_and_what_is_long_has_its_own() {
        let mut chunk = Chunk::default();
        let texts: Vec<Vec<u8>> = (0..2000).map(|n| n.to_string().repeat(n % 50).into()).collect();
        let copies: Vec<Bytes> = texts.iter().map(|text| chunk.put(text)).collect();
        assert!(texts.iter().zip(&copies).all(|(text, copy)| text == copy));
        let follows = |pair: &[Bytes]| pair[0].as_ptr_range().end == pair[1].as_ptr();
        let breaks = copies.windows(2).filter(|pair| !pair[1].is_empty() && !follows(pair));
        assert!(breaks.count() <= 2000 * 200 / CHUNK_BYTES + 20, "most lie behind each other");

        let before = chunk.put(b"before");
        let long = chunk.put(&[7; SHARED_BYTES_MAX + 1]);
        let after = chunk.put(b"after");
        assert_eq!(long, [7; SHARED_BYTES_MAX + 1][..]);
        assert!(follows(&[before, after]));
    }
}
