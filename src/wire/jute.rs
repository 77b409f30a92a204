//! Jute primitives: big-endian integers, and lengths in front of strings, buffers and vectors.
//!
//! Pure. A `Reader` walks bytes it does not own and can never read past them; nothing is allocated
//! by a length that the remaining bytes do not bear out. A `Writer` appends to a byte vector.
//! Source: `BinaryInputArchive`, `BinaryOutputArchive`.

use std::borrow::Cow;
use std::fmt;

/// Why bytes are not the record they should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DecodeError {
    /// The record goes on past the end of its bytes.
    Truncated {
        /// How many bytes the next field needs.
        needed: usize,
        /// How many there are.
        left: usize,
    },
    /// A length or count below -1 (null).
    NegativeLength {
        /// As read.
        len: i32,
    },
    /// A vector or string that must not be null is null.
    Null,
    /// All can be decoded, but the path of a create or delete is null.
    NullPath,
    /// All can be decoded, but a multiRead holds writes.
    WritesInMultiRead,
    /// A number that names nothing: an opcode, a mode, a watch type.
    Unknown {
        /// Which field.
        what: &'static str,
        /// As read.
        value: i32,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, left } => {
                write!(f, "record is truncated: a field of {needed} bytes, {left} left")
            }
            Self::NegativeLength { len } => write!(f, "a length of {len}"),
            Self::Null => f.write_str("a null where a value must be"),
            Self::NullPath => f.write_str("a null path"),
            Self::WritesInMultiRead => f.write_str("writes in a multiRead"),
            Self::Unknown { what, value } => write!(f, "unknown {what} {value}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Bytes as Java reads them: what is not UTF-8 becomes U+FFFD.
///
/// COMPAT: one for all the bytes of a surrogate, which Java itself writes for half a character
/// above U+FFFF (`BinaryOutputArchive.stringToByteBuffer`); Rust would make three of them.
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut whole = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        if let [0xed, 0xa0..=0xbf, 0x80..=0xbf, after @ ..] | [0xed, 0xa0..=0xbf, after @ ..] = rest
        {
            whole.extend("\u{fffd}".bytes());
            rest = after;
        } else {
            whole.push(*byte);
            rest = after;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&whole).into_owned())
}

/// Walks the bytes of records.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the first of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let left = self.rest.len();
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(DecodeError::Truncated { needed: len, left });
        };
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(DecodeError::Truncated { needed: N, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Jute's `boolean`: any byte but 0 is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        self.u8().map(|byte| byte != 0)
    }

    /// Jute's `int`.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// Jute's `long`.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A length: `None` is null (-1).
    fn len(&mut self) -> Result<Option<usize>, DecodeError> {
        match self.i32()? {
            -1 => Ok(None),
            len => usize::try_from(len).map(Some).map_err(|_| DecodeError::NegativeLength { len }),
        }
    }

    /// Jute's `buffer`: a length, then that many bytes; -1 is null.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.len()? {
            None => Ok(None),
            Some(len) => self.bytes(len).map(Some),
        }
    }

    /// Jute's `ustring`, read as [`text_of`] does.
    pub fn string(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        Ok(self.buffer()?.map(text_of))
    }

    /// A string that must not be null.
    pub fn text(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        self.string()?.ok_or(DecodeError::Null)
    }

    /// The count in front of a vector; `None` is null, a negative one is of an empty vector.
    ///
    /// `item_bytes_min` is the least an item can take: a count that the remaining bytes cannot
    /// hold is refused here, so a caller may reserve room by it.
    pub fn count(&mut self, item_bytes_min: usize) -> Result<Option<usize>, DecodeError> {
        // COMPAT: below -1 it is an empty vector (`BinaryInputArchive.startVector`, `done`).
        let count = match self.i32()? {
            -1 => return Ok(None),
            count => usize::try_from(count).unwrap_or(0),
        };
        let needed = count.saturating_mul(item_bytes_min.max(1));
        if needed > self.rest.len() {
            return Err(DecodeError::Truncated { needed, left: self.rest.len() });
        }
        Ok(Some(count))
    }

    /// A vector of strings that must not be null, nor hold a null.
    pub fn texts(&mut self) -> Result<Vec<Cow<'a, str>>, DecodeError> {
        let count = self.count(4)?.ok_or(DecodeError::Null)?;
        (0..count).map(|_| self.text()).collect()
    }
}

/// Appends records to bytes.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

/// Jute counts with an `int`; what we write is bounded far below that.
fn length(len: usize) -> i32 {
    i32::try_from(len).expect("a record is smaller than 2 GiB: frames and txns are bounded")
}

impl<'a> Writer<'a> {
    /// A writer that appends to `out`.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// How much it has been appended to, what was there before included.
    pub const fn written(&self) -> usize {
        self.out.len()
    }

    /// Bytes as they are, without a length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Jute's `boolean`.
    pub fn bool(&mut self, value: bool) {
        self.out.push(u8::from(value));
    }

    /// Jute's `int`.
    pub fn i32(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Jute's `long`.
    pub fn i64(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    /// Jute's `buffer`.
    pub fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.i32(-1),
            Some(bytes) => {
                self.count(bytes.len());
                self.bytes(bytes);
            }
        }
    }

    /// Jute's `ustring`.
    pub fn string(&mut self, value: &str) {
        self.buffer(Some(value.as_bytes()));
    }

    /// The count in front of a vector.
    pub fn count(&mut self, count: usize) {
        self.i32(length(count));
    }

    /// A vector of strings.
    pub fn strings<S: AsRef<str>>(&mut self, values: impl ExactSizeIterator<Item = S>) {
        self.count(values.len());
        for value in values {
            self.string(value.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.i32(-7);
        writer.i64(i64::MIN);
        writer.bool(true);
        writer.buffer(None);
        writer.buffer(Some(b""));
        writer.string("/é");
        writer.strings(["a", "b"].iter());
        let mut reader = Reader::new(&out);
        assert_eq!(reader.i32(), Ok(-7));
        assert_eq!(reader.i64(), Ok(i64::MIN));
        assert_eq!(reader.bool(), Ok(true));
        assert_eq!(reader.buffer(), Ok(None));
        assert_eq!(reader.buffer(), Ok(Some(&b""[..])));
        assert_eq!(reader.text().as_deref(), Ok("/é"));
        assert_eq!(reader.texts(), Ok(vec![Cow::Borrowed("a"), Cow::Borrowed("b")]));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_lying_length_is_refused_before_anything_is_reserved() {
        for bytes in [[0x7f, 0xff, 0xff, 0xff], [0, 0, 0, 1]] {
            assert!(matches!(Reader::new(&bytes).buffer(), Err(DecodeError::Truncated { .. })));
            assert!(matches!(Reader::new(&bytes).texts(), Err(DecodeError::Truncated { .. })));
        }
        let negative = (-2i32).to_be_bytes();
        let refused = Err(DecodeError::NegativeLength { len: -2 });
        assert_eq!(Reader::new(&negative).buffer(), refused);
    }

    /// As `new String(bytes, UTF_8)` of Java 17 reads them.
    #[test]
    fn broken_utf8_becomes_the_replacement_character() {
        let cases: [(&[u8], usize); 11] = [
            (b"\xff", 1),
            (b"\xff\xfe", 2),
            (b"\xc0\x80", 2),
            (b"\xe6\xbc", 1),
            (b"\xf4\x90\x80\x80", 4),
            (b"\xed\xa0\x80", 1),
            (b"\xed\xa0\xbd\xed\xb8\x80", 2),
            (b"\xed\xed\xbf\xbf", 2),
            (b"\xe2\xed\xa0\x80", 2),
            (b"\xed\xa0", 1),
            (b"\xe0\x80\x80", 3),
        ];
        for (broken, count) in cases {
            let bytes = [b"/", broken, b"z"].concat();
            let text = format!("/{}z", "\u{fffd}".repeat(count));
            assert_eq!(text_of(&bytes), text, "{broken:x?}");
        }
        assert!(matches!(text_of("/\u{d7ff}\u{1f600}".as_bytes()), Cow::Borrowed(_)));
        let bytes = [0, 0, 0, 2, b'/', 0xff];
        assert_eq!(Reader::new(&bytes).text().as_deref(), Ok("/\u{fffd}"));
    }
}
