//! Framing of a log: the file's header, each record's checksum, length and end marker; and what
//! the bytes look like where the records end.
//!
//! Pure. Source: `FileTxnLog`, `FilePadding`. The decision table for bytes that are no record is
//! `classify`; what recovery does about each class depends on where in the log it is.

use simd_adler32::adler32;

use super::error::Damage;
use crate::ids::Zxid;
use crate::wire::txn::{TxnHeader, zxid_of};

/// Begins every log: magic `ZKLG`, version 2, dbid 0.
pub const FILE_HEADER: [u8; 16] = *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0";

/// Ends every record.
pub const END_MARKER: u8 = 0x42;

/// Checksum and length, in front of the data.
pub const HEAD_BYTES: usize = 12;

/// What framing adds to a record.
pub const OVERHEAD_BYTES: usize = HEAD_BYTES + 1;

/// The bytes in front of `data`: its checksum and length.
///
/// # Panics
/// If a record has 2 GiB or more, which no frame can bring.
pub fn head(data: &[u8]) -> [u8; HEAD_BYTES] {
    let len = i32::try_from(data.len()).expect("a record is smaller than 2 GiB");
    let mut head = [0; HEAD_BYTES];
    head[4..8].copy_from_slice(&adler32(&data).to_be_bytes());
    head[8..].copy_from_slice(&len.to_be_bytes());
    head
}

/// A whole record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Framed<'a> {
    /// Its place in history.
    pub zxid: Zxid,
    /// Header, body and digest of the txn.
    pub data: &'a [u8],
    /// Where the next record begins.
    pub next: usize,
}

/// What is in a log where there is no record.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing more: the end of the file, or only zeros.
    End,
    /// The beginning of a record that was being written when the machine stopped. No whole record
    /// is behind it.
    Torn,
    /// Something that writing front to back cannot leave behind.
    Damaged {
        /// What is wrong.
        damage: Damage,
        /// The next whole record, by offset and zxid.
        next: Option<(usize, Zxid)>,
    },
}

/// Reads the record at `offset`.
///
/// # Errors
/// Why there is none; at the end of a log that is [`Damage::Hole`] or [`Damage::Torn`].
pub fn read(file: &[u8], offset: usize) -> Result<Framed<'_>, Damage> {
    let rest = file.get(offset..).unwrap_or_default();
    let Some((head, rest)) = rest.split_first_chunk::<HEAD_BYTES>() else {
        return Err(Damage::Torn);
    };
    let len = claimed_len(head);
    let bytes = match usize::try_from(len) {
        Ok(0) if head[..8] == [0; 8] => return Err(Damage::Hole),
        Ok(0) | Err(_) => return Err(Damage::Length(len)),
        Ok(bytes) => bytes,
    };
    let Some((data, rest)) = rest.split_at_checked(bytes) else { return Err(Damage::Torn) };
    let Some(marker) = rest.first() else { return Err(Damage::Torn) };
    if head[..4] != [0; 4] || head[4..8] != adler32(&data).to_be_bytes() {
        return Err(Damage::Checksum);
    }
    if *marker != END_MARKER {
        return Err(Damage::Marker(*marker));
    }
    match zxid_of(data) {
        Some(zxid) if data.len() >= TxnHeader::BYTES => {
            Ok(Framed { zxid, data, next: offset + bytes + OVERHEAD_BYTES })
        }
        Some(_) | None => Err(Damage::Short),
    }
}

/// Where the record at `offset` would end, going by its length.
pub(super) fn claimed_end(file: &[u8], offset: usize) -> usize {
    let head = file.get(offset..).and_then(|rest| rest.first_chunk::<HEAD_BYTES>());
    let len = head.and_then(|head| usize::try_from(claimed_len(head)).ok());
    offset.saturating_add(len.unwrap_or(0)).saturating_add(OVERHEAD_BYTES)
}

fn claimed_len(head: &[u8; HEAD_BYTES]) -> i32 {
    i32::from_be_bytes([head[8], head[9], head[10], head[11]])
}

/// Tells an interrupted write from damage.
///
/// | behind `offset`                                      | class                            |
/// |------------------------------------------------------|----------------------------------|
/// | nothing, or zeros                                    | `End`                            |
/// | somewhere, a whole record newer than `last`          | `Damaged`: cutting would lose it |
/// | a length below 1, with bytes after the head          | `Damaged`                        |
/// | a record that would end before the last byte not 0   | `Damaged`                        |
/// | a record that reaches to or past the last byte not 0 | `Torn`                           |
/// | an intact record without a txn header                | `Damaged`                        |
///
/// A damaged last record cannot be told from a torn one: its bytes are the last of the log.
pub(super) fn classify(file: &[u8], offset: usize, last: Zxid, damage: Damage) -> Found {
    let rest = file.get(offset..).unwrap_or_default();
    let end = written(rest);
    if end == 0 {
        return Found::End;
    }
    if let Some(next) = next_record(&file[..offset + end], offset + 1, last) {
        return Found::Damaged { damage, next: Some(next) };
    }
    let reach = match rest.first_chunk::<HEAD_BYTES>() {
        None => HEAD_BYTES,
        Some(head) => match usize::try_from(claimed_len(head)) {
            Ok(0) => HEAD_BYTES,
            Ok(len) => len.saturating_add(OVERHEAD_BYTES),
            Err(_) => 0,
        },
    };
    if reach < end || matches!(damage, Damage::Short) {
        return Found::Damaged { damage, next: None };
    }
    Found::Torn
}

/// Where the zeros at the end begin.
pub(super) fn written(bytes: &[u8]) -> usize {
    const BLOCK_BYTES: usize = 4096;
    let mut end = bytes.len();
    // Padding is most of many a log: compare it by blocks.
    while end >= BLOCK_BYTES && bytes[end - BLOCK_BYTES..end] == [0; BLOCK_BYTES] {
        end -= BLOCK_BYTES;
    }
    bytes[..end].iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

/// The first whole record from `offset` on, at any alignment, that is newer than `last`.
fn next_record(file: &[u8], offset: usize, last: Zxid) -> Option<(usize, Zxid)> {
    (offset..file.len()).find_map(|at| {
        let head = file[at..].first_chunk::<HEAD_BYTES>()?;
        let len = usize::try_from(claimed_len(head)).ok()?;
        // Cheap first: nearly all offsets fail here, and no checksum is computed for them.
        let marked = file.get(at + HEAD_BYTES + len) == Some(&END_MARKER);
        if len < TxnHeader::BYTES || !marked || head[..4] != [0; 4] {
            return None;
        }
        read(file, at).ok().filter(|record| record.zxid > last).map(|record| (at, record.zxid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_zeros_are_found_at_any_length() {
        for bytes in [0, 1, 4095, 4096, 4097, 9000] {
            let mut padded = vec![0; bytes];
            assert_eq!(written(&padded), 0);
            for at in [0, bytes / 2, bytes.saturating_sub(1)] {
                if let Some(byte) = padded.get_mut(at) {
                    *byte = 1;
                    assert_eq!(written(&padded), at + 1);
                }
            }
        }
    }

    /// Alone, and in a file: what each row of the table in [`classify`] looks like.
    #[test]
    fn each_class_has_its_bytes() {
        let mut record = vec![0; 32];
        record[19] = 5; // the zxid
        let whole = [&head(&record)[..], &record, &[END_MARKER]].concat();
        let short = [&head(b"abc")[..], b"abc", &[END_MARKER]].concat();
        let mut flipped = whole.clone();
        flipped[20] ^= 1;
        let cases: [(&str, Vec<u8>, &str); 7] = [
            ("nothing", vec![], "End"),
            ("zeros", vec![0; 50], "End"),
            (
                "a damaged record before a whole one",
                [&flipped[..], &whole].concat(),
                "Damaged next",
            ),
            ("a negative length", vec![0xff; 50], "Damaged"),
            ("a record that ends too early", [&flipped[..], &[1]].concat(), "Damaged"),
            ("a record that reaches the end", flipped.clone(), "Torn"),
            ("an intact record without a header", short, "Damaged"),
        ];
        for (story, bytes, expected) in cases {
            let damage = read(&bytes, 0).expect_err(story);
            let found = match classify(&bytes, 0, Zxid(4), damage) {
                Found::End => "End",
                Found::Torn => "Torn",
                Found::Damaged { next: None, .. } => "Damaged",
                Found::Damaged { next: Some(next), .. } => {
                    assert_eq!(next, (flipped.len(), Zxid(5)));
                    "Damaged next"
                }
            };
            assert_eq!(found, expected, "{story}");
        }
        let framed = read(&whole, 0).unwrap();
        assert_eq!((framed.zxid, framed.data, framed.next), (Zxid(5), &record[..], whole.len()));
    }
}
