//! Who a client has proved to be, as it is forwarded with each of its requests.
//!
//! Kept as its bytes: they are the same in request after request, and comparing them is cheaper
//! than making texts of them.

use std::borrow::Cow;

use bytes::Bytes;

use super::{PacketError, Stop, bounded};
use crate::limits::FORWARDED_IDENTITIES_MAX;
use crate::wire::chunk::Chunk;
use crate::wire::jute::{Reader, Writer};

/// See the module. At most [`FORWARDED_IDENTITIES_MAX`] when they come from a peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identities {
    /// A count; of each the scheme (`ip`, `digest`, …) and the id in the scheme's own form.
    bytes: Bytes,
}

impl Identities {
    /// Of schemes and ids.
    pub fn of<'a>(list: impl ExactSizeIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut bytes = Vec::new();
        let mut w = Writer::new(&mut bytes);
        w.count(list.len());
        for (scheme, id) in list {
            w.string(scheme);
            w.string(id);
        }
        Self { bytes: bytes.into() }
    }

    /// Schemes and ids. A null reads as empty, which no scheme is.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let mut r = Reader::new(&self.bytes);
        let count = r.count(0).ok().flatten().unwrap_or(0);
        let mut text = move || r.string().ok().flatten().unwrap_or_default();
        (0..count).map(move |_| (text(), text()))
    }

    /// How many bytes they take.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Copied into `chunk`; `None` for null. All of them together are bounded as the data is.
    pub(super) fn read(
        r: &mut Reader<'_>,
        max: u32,
        chunk: &mut Chunk,
    ) -> Result<Option<Self>, Stop> {
        let whole = r.rest();
        let len = r.i32().map_err(|_| Stop::Incomplete)?;
        let count = match usize::try_from(len) {
            Ok(count) if count <= FORWARDED_IDENTITIES_MAX => count,
            Err(_) if len == -1 => return Ok(None),
            _ => {
                let max = u32::try_from(FORWARDED_IDENTITIES_MAX).expect("it is a small constant");
                return Err(Stop::Wrong(PacketError::Length { what: "identities", len, max }));
            }
        };
        let mut left = max;
        for _ in 0..count {
            for what in ["scheme", "identity"] {
                let text = bounded(r, what, left)?.unwrap_or_default();
                left -= u32::try_from(text.len()).expect("it was bounded by a u32");
            }
        }
        let bytes = chunk.put(&whole[..whole.len() - r.rest().len()]);
        Ok(Some(Self { bytes }))
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.bytes(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_read_back() {
        let list = [("ip", "127.0.0.1"), ("super", ""), ("digest", "ü:=")];
        let identities = Identities::of(list.into_iter());
        let mut bytes = Vec::new();
        identities.write(&mut Writer::new(&mut bytes));
        let mut r = Reader::new(&bytes);
        let Ok(Some(read)) = Identities::read(&mut r, 100, &mut Chunk::default()) else {
            panic!("they are whole")
        };
        assert_eq!((&read, r.rest()), (&identities, &[][..]));
        assert!(read.iter().eq(list.map(|(scheme, id)| (scheme.into(), id.into()))));
        assert_eq!(Identities::of([].into_iter()).iter().count(), 0);
    }

    #[test]
    fn null_and_odd_texts_are_read_as_something() {
        let bytes = [&[0, 0, 0, 1][..], &[0xff; 4], &[0, 0, 0, 1, 0xff], b"rest"].concat();
        let mut r = Reader::new(&bytes);
        let Ok(Some(read)) = Identities::read(&mut r, 100, &mut Chunk::default()) else {
            panic!("they are whole")
        };
        assert!(read.iter().eq([("".into(), "\u{fffd}".into())]));
        assert_eq!(r.rest(), b"rest");
    }
}
