//! Request frames made once, stamped with an xid and numbers for each use.
//!
//! `ringkeeper::wire` encodes the frame; a template then knows where in it the digits of the path
//! are, so that a request costs a copy of its bytes and nothing is formatted or allocated.

use ringkeeper::ids::Xid;
use ringkeeper::wire::client::RequestHeader;
use ringkeeper::wire::request::{Create, Read, Request};
use ringkeeper::wire::{Acl, OpCode, Writer, frame, record};

use super::workload::{Ask, Rng};

/// Znodes in one folder: a listing of one stays far below `jute.maxbuffer`.
pub(crate) const FOLDER_ZNODES: u64 = 1000;
/// Digits of a folder's number, of a znode's in it, of a session's, of its own znodes'.
const FOLDER_DIGITS: usize = 5;
const LEAF_DIGITS: usize = 3;
const SESSION_DIGITS: usize = 5;
const OWN_DIGITS: usize = 10;
/// Where the path of a request begins that has the path first: length, header, path's length.
const PATH_OFFSET: usize = frame::LENGTH_BYTES + RequestHeader::BYTES + 4;

/// The folder of the keys `number * FOLDER_ZNODES ..`.
pub(crate) fn folder_path(root: &str, number: u64) -> String {
    format!("{root}/{number:0FOLDER_DIGITS$}")
}

/// The znode of a key.
pub(crate) fn key_path(root: &str, key: u64) -> String {
    let (folder, leaf) = (key / FOLDER_ZNODES, key % FOLDER_ZNODES);
    format!("{root}/{folder:0FOLDER_DIGITS$}/{leaf:0LEAF_DIGITS$}")
}

/// The folder of the znodes that a session creates.
pub(crate) fn session_path(root: &str, session: u32) -> String {
    format!("{root}/s{session:0SESSION_DIGITS$}")
}

fn own_path(root: &str, session: u32, number: u64) -> String {
    format!("{root}/s{session:0SESSION_DIGITS$}/{number:0OWN_DIGITS$}")
}

/// Digits in a frame.
#[derive(Clone, Copy, Debug)]
struct Slot {
    offset: usize,
    digits: usize,
}

impl Slot {
    fn stamp(self, frame: &mut [u8], mut value: u64) {
        for digit in frame[self.offset..self.offset + self.digits].iter_mut().rev() {
            *digit = b'0' + u8::try_from(value % 10).expect("a digit is below 10");
            value /= 10;
        }
    }
}

/// One request, but for its xid and two numbers in its path.
#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    slots: [Slot; 2],
}

impl Template {
    fn new(request: &Request<'_>, slots: [Slot; 2]) -> Self {
        let mut bytes = Vec::new();
        append(&mut bytes, Xid(0), request);
        Self { bytes, slots }
    }

    fn stamp(&self, out: &mut Vec<u8>, xid: Xid, numbers: [u64; 2]) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let frame = &mut out[start..];
        let xid_at = frame::LENGTH_BYTES;
        frame[xid_at..xid_at + 4].copy_from_slice(&xid.0.to_be_bytes());
        for (slot, number) in self.slots.into_iter().zip(numbers) {
            slot.stamp(frame, number);
        }
    }
}

/// Appends a request's frame; for those that are not hot.
pub(crate) fn append(out: &mut Vec<u8>, xid: Xid, request: &Request<'_>) {
    frame::write(out, |out| {
        let mut w = Writer::new(out);
        RequestHeader { xid, op: request.op().to_wire() }.encode(&mut w);
        request.encode(&mut w);
    });
}

/// A create of a persistent znode that anyone may do anything with.
pub(crate) fn create<'a>(path: &'a str, data: &'a [u8]) -> Request<'a> {
    Request::Create(Create {
        op: OpCode::Create,
        path: path.into(),
        data: Some(data),
        acl: vec![Acl::anyone(record::perms::ALL)],
        flags: 0,
        ttl: -1,
    })
}

/// Every request of a run.
#[derive(Debug)]
pub(crate) struct Templates {
    get: Template,
    set: Template,
    create_key: Template,
    create_own: Template,
}

impl Templates {
    /// For znodes below `root` with `value` as their data.
    pub(crate) fn new(root: &str, value: &[u8]) -> Self {
        let key = key_path(root, 0);
        let own = own_path(root, 0, 0);
        let folder_at = PATH_OFFSET + root.len() + 1;
        let key_slots = [
            Slot { offset: folder_at, digits: FOLDER_DIGITS },
            Slot { offset: folder_at + FOLDER_DIGITS + 1, digits: LEAF_DIGITS },
        ];
        let own_slots = [
            Slot { offset: folder_at + 1, digits: SESSION_DIGITS },
            Slot { offset: folder_at + 1 + SESSION_DIGITS + 1, digits: OWN_DIGITS },
        ];
        let read = Read { op: OpCode::GetData, path: key.as_str().into(), watch: false };
        let set = Request::SetData { path: key.as_str().into(), data: Some(value), version: -1 };
        Self {
            get: Template::new(&Request::Read(read), key_slots),
            set: Template::new(&set, key_slots),
            create_key: Template::new(&create(&key, value), key_slots),
            create_own: Template::new(&create(&own, value), own_slots),
        }
    }

    /// Appends the frame of a session's request.
    pub(crate) fn stamp(&self, out: &mut Vec<u8>, xid: Xid, session: u32, ask: Ask) {
        let by_key = |key: u64| [key / FOLDER_ZNODES, key % FOLDER_ZNODES];
        match ask {
            Ask::Get { key } => self.get.stamp(out, xid, by_key(key)),
            Ask::Set { key } => self.set.stamp(out, xid, by_key(key)),
            Ask::CreateKey { key } => self.create_key.stamp(out, xid, by_key(key)),
            Ask::CreateOwn { number } => {
                self.create_own.stamp(out, xid, [u64::from(session), number]);
            }
        }
    }
}

/// Data for znodes that does not compress, the same for the same seed.
pub(crate) fn value(bytes: u32, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed, 0);
    let mut value: Vec<u8> = Vec::new();
    while value.len() < bytes as usize {
        value.extend_from_slice(&rng.next().to_be_bytes());
    }
    value.truncate(bytes as usize);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringkeeper::wire::Reader;

    #[test]
    fn a_stamped_frame_is_what_wire_would_encode() {
        let templates = Templates::new("/zkbench/x", b"data");
        let cases = [
            (Ask::Get { key: 12_345_678 }, "/zkbench/x/12345/678"),
            (Ask::Set { key: 1 }, "/zkbench/x/00000/001"),
            (Ask::CreateKey { key: 99_999_999 }, "/zkbench/x/99999/999"),
            (Ask::CreateOwn { number: 42 }, "/zkbench/x/s00007/0000000042"),
        ];
        for (ask, path) in cases {
            let expected = match ask {
                Ask::Get { .. } => {
                    Request::Read(Read { op: OpCode::GetData, path: path.into(), watch: false })
                }
                Ask::Set { .. } => {
                    Request::SetData { path: path.into(), data: Some(b"data"), version: -1 }
                }
                Ask::CreateKey { .. } | Ask::CreateOwn { .. } => create(path, b"data"),
            };
            let mut bytes = b"before".to_vec();
            templates.stamp(&mut bytes, Xid(9), 7, ask);
            let (body, rest) = frame::split(&bytes[6..], 1 << 20).unwrap().unwrap();
            assert!(rest.is_empty());
            let mut r = Reader::new(body);
            let header = RequestHeader::decode(&mut r).unwrap();
            assert_eq!(header, RequestHeader { xid: Xid(9), op: expected.op().to_wire() });
            assert_eq!(Request::decode(expected.op(), &mut r), Ok(expected));
        }
    }

    #[test]
    fn paths_agree_with_the_stamps() {
        assert_eq!(key_path("/r", 12_345_678), "/r/12345/678");
        assert_eq!(folder_path("/r", 12_345), "/r/12345");
        assert!(own_path("/r", 7, 42).starts_with(&session_path("/r", 7)));
    }

    #[test]
    fn a_value_has_its_length() {
        for bytes in [0, 1, 8, 100] {
            assert_eq!(value(bytes, 1).len(), bytes as usize);
        }
    }
}
