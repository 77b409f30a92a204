//! Compression of snapshots: gzip, and snappy as xerial's `SnappyOutputStream` frames it (which is
//! not the framing that snappy's own documents describe).

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::Compression;
use crate::limits::SNAPPY_BLOCK_BYTES_MAX;

/// Magic, version 1, compatible with version 1.
pub(super) const SNAPPY_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// Uncompressed bytes of a block, as xerial cuts them.
const SNAPPY_BLOCK_BYTES: usize = 32 << 10;

/// Between the compressor and the file.
const FILE_BUFFER_BYTES: usize = 256 << 10;

/// Where uncompressed bytes go.
pub(super) enum Sink {
    Plain(BufWriter<File>),
    Gz(GzEncoder<BufWriter<File>>),
    Snappy(SnappyEncoder<BufWriter<File>>),
}

impl Sink {
    pub(super) fn new(file: File, compression: Compression) -> io::Result<Self> {
        let file = BufWriter::with_capacity(FILE_BUFFER_BYTES, file);
        Ok(match compression {
            Compression::None => Self::Plain(file),
            Compression::Gz => Self::Gz(GzEncoder::new(file, flate2::Compression::default())),
            Compression::Snappy => Self::Snappy(SnappyEncoder::new(file)?),
        })
    }

    /// The file, with everything written to it.
    pub(super) fn finish(self) -> io::Result<File> {
        let file = match self {
            Self::Plain(file) => file,
            Self::Gz(encoder) => encoder.finish()?,
            Self::Snappy(encoder) => encoder.finish()?,
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)
    }

    /// The file, with what the compressor has let go of written to it.
    pub(super) fn file_so_far(&mut self) -> io::Result<&File> {
        let buffered = match self {
            Self::Plain(file) => file,
            Self::Gz(encoder) => encoder.get_mut(),
            Self::Snappy(encoder) => &mut encoder.inner,
        };
        buffered.flush()?;
        Ok(buffered.get_ref())
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Gz(encoder) => encoder.write_all(bytes),
            Self::Snappy(encoder) => encoder.write_all(bytes),
        }
    }
}

/// Decompresses a file; not for [`Compression::None`], which is mapped.
pub(super) fn source(file: File, snappy: bool) -> io::Result<Box<dyn Read>> {
    let file = BufReader::with_capacity(FILE_BUFFER_BYTES, file);
    Ok(if snappy {
        Box::new(SnappyDecoder::new(file)?)
    } else {
        Box::new(MultiGzDecoder::new(file))
    })
}

/// Cuts bytes into blocks, and compresses each.
pub(super) struct SnappyEncoder<W> {
    inner: W,
    block: Vec<u8>,
    compressed: Vec<u8>,
}

impl<W: Write> SnappyEncoder<W> {
    fn new(mut inner: W) -> io::Result<Self> {
        inner.write_all(&SNAPPY_HEADER)?;
        let compressed = vec![0; snap::raw::max_compress_len(SNAPPY_BLOCK_BYTES)];
        Ok(Self { inner, block: Vec::with_capacity(SNAPPY_BLOCK_BYTES), compressed })
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = SNAPPY_BLOCK_BYTES - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == SNAPPY_BLOCK_BYTES {
                self.end_block()?;
            }
        }
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let len = snap::raw::Encoder::new().compress(&self.block, &mut self.compressed)?;
        let head = u32::try_from(len).expect("a block is 32 KiB").to_be_bytes();
        self.inner.write_all(&head)?;
        self.inner.write_all(&self.compressed[..len])?;
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        self.end_block()?;
        Ok(self.inner)
    }
}

/// The reverse.
struct SnappyDecoder<R> {
    inner: R,
    compressed: Vec<u8>,
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> SnappyDecoder<R> {
    fn new(mut inner: R) -> io::Result<Self> {
        let mut header = [0; SNAPPY_HEADER.len()];
        inner.read_exact(&mut header)?;
        // COMPAT: the versions are not compared, only the magic (`SnappyInputStream.readHeader`).
        if header[..8] != SNAPPY_HEADER[..8] {
            return Err(bad("not a snappy stream"));
        }
        Ok(Self { inner, compressed: Vec::new(), block: Vec::new(), at: 0 })
    }

    /// The next block; an empty one at the end of the file.
    fn next_block(&mut self) -> io::Result<()> {
        self.at = 0;
        self.block.clear();
        let mut head = [0; 4];
        if self.inner.read(&mut head[..1])? == 0 {
            return Ok(());
        }
        self.inner.read_exact(&mut head[1..])?;
        let len = u32::from_be_bytes(head) as usize;
        if len > SNAPPY_BLOCK_BYTES_MAX {
            return Err(bad("a snappy block of unreasonable length"));
        }
        self.compressed.resize(len, 0);
        self.inner.read_exact(&mut self.compressed)?;
        let len = snap::raw::decompress_len(&self.compressed)?;
        if len == 0 || len > SNAPPY_BLOCK_BYTES_MAX {
            return Err(bad("a snappy block of unreasonable length"));
        }
        self.block.resize(len, 0);
        snap::raw::Decoder::new().decompress(&self.compressed, &mut self.block)?;
        Ok(())
    }
}

impl<R: Read> Read for SnappyDecoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            self.next_block()?;
        }
        let bytes = out.len().min(self.block.len() - self.at);
        out[..bytes].copy_from_slice(&self.block[self.at..self.at + bytes]);
        self.at += bytes;
        Ok(bytes)
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snappy_reads_back_whatever_the_length() {
        for bytes in [0, 1, SNAPPY_BLOCK_BYTES - 1, SNAPPY_BLOCK_BYTES, 3 * SNAPPY_BLOCK_BYTES + 5]
        {
            let original: Vec<u8> = (0..bytes).map(|at| (at * at / 7).to_be_bytes()[7]).collect();
            let mut encoder = SnappyEncoder::new(Vec::new()).unwrap();
            for part in original.chunks(1000) {
                encoder.write_all(part).unwrap();
            }
            let framed = encoder.finish().unwrap();
            assert!(framed.starts_with(&SNAPPY_HEADER));
            let mut read = Vec::new();
            SnappyDecoder::new(&framed[..]).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, original);
        }
    }

    #[test]
    fn a_snappy_block_that_breaks_off_or_lies_is_refused() {
        let mut encoder = SnappyEncoder::new(Vec::new()).unwrap();
        encoder.write_all(b"some bytes").unwrap();
        let framed = encoder.finish().unwrap();
        for end in 17..framed.len() {
            let mut read = Vec::new();
            let cut = SnappyDecoder::new(&framed[..end]).unwrap().read_to_end(&mut read);
            assert!(cut.is_err(), "{end}");
        }
        let mut huge = framed.clone();
        huge[16] = 0x7f;
        assert!(SnappyDecoder::new(&huge[..]).unwrap().read(&mut [0; 9]).is_err());
        assert!(SnappyDecoder::new(&framed[1..]).is_err());
    }
}
