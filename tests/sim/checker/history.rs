//! Every history that any log or tree has ever held, as one tree of txns.
//!
//! A place in it stands for all txns from the first to it, so that two logs are the same exactly if
//! their places are.

use bytes::Bytes;
use ringkeeper::ids::Zxid;

/// A history: of this many txns, ending with this one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place(u32);

impl Place {
    /// Of no txn.
    pub const START: Self = Self(0);
    const NONE: Self = Self(u32::MAX);
}

struct Txn {
    zxid: Zxid,
    record: Bytes,
    parent: Place,
    len: u32,
    child: Place,
    sibling: Place,
    /// Of the tree after it.
    digest: Option<i64>,
}

/// See the module.
pub struct Histories {
    txns: Vec<Txn>,
}

impl Histories {
    pub fn new() -> Self {
        let start = Txn {
            zxid: Zxid::ZERO,
            record: Bytes::new(),
            parent: Place::NONE,
            len: 0,
            child: Place::NONE,
            sibling: Place::NONE,
            digest: None,
        };
        Self { txns: vec![start] }
    }

    fn at(&self, place: Place) -> &Txn {
        &self.txns[place.0 as usize]
    }

    /// The history that goes on with this txn; `None` if nobody has ever had it.
    pub fn find(&self, from: Place, zxid: Zxid, record: &[u8]) -> Option<Place> {
        let mut child = self.at(from).child;
        while child != Place::NONE {
            let txn = self.at(child);
            if txn.zxid == zxid && *txn.record == *record {
                return Some(child);
            }
            child = txn.sibling;
        }
        None
    }

    /// The history that goes on with this txn.
    pub fn extend(&mut self, from: Place, zxid: Zxid, record: &Bytes) -> Place {
        if let Some(found) = self.find(from, zxid, record) {
            return found;
        }
        let place = Place(u32::try_from(self.txns.len()).expect("a history is short"));
        let parent = &mut self.txns[from.0 as usize];
        let txn = Txn {
            zxid,
            record: record.clone(),
            parent: from,
            len: parent.len + 1,
            child: Place::NONE,
            sibling: std::mem::replace(&mut parent.child, place),
            digest: None,
        };
        self.txns.push(txn);
        place
    }

    /// How many txns it has.
    pub fn len(&self, place: Place) -> usize {
        self.at(place).len as usize
    }

    /// Its last txn's.
    pub fn zxid(&self, place: Place) -> Zxid {
        self.at(place).zxid
    }

    /// Its last txn.
    pub fn record(&self, place: Place) -> &[u8] {
        &self.at(place).record
    }

    /// Without its last txn.
    pub fn parent(&self, place: Place) -> Place {
        self.at(place).parent
    }

    /// Whether `longer` begins with all of `place`.
    pub fn is_prefix(&self, place: Place, mut longer: Place) -> bool {
        let len = self.at(place).len;
        while self.at(longer).len > len {
            longer = self.at(longer).parent;
        }
        longer == place
    }

    /// Notes a tree's digest after this history; the digest of the tree before it that had
    /// another one.
    pub fn note_digest(&mut self, place: Place, digest: i64) -> Result<(), i64> {
        match self.txns[place.0 as usize].digest {
            Some(other) if other != digest => Err(other),
            Some(_) => Ok(()),
            None => {
                self.txns[place.0 as usize].digest = Some(digest);
                Ok(())
            }
        }
    }
}
