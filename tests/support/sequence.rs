//! What a session writes, as a function of a number, and what that makes of its part of the tree.

use std::collections::BTreeMap;

use ringkeeper::wire::request::{Create, Request};
use ringkeeper::wire::response::{Response, StepResult};
use ringkeeper::wire::{Acl, OpCode, Reader};

use crate::support::client::{Reply, create, read};
use crate::support::{Client, Random};

/// All the operations of one session, each computed from its number.
#[derive(Clone, Debug)]
pub struct Sequence {
    root: String,
    seed: u64,
    /// How a multi creates.
    create_op: OpCode,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Step {
    root: String,
    number: u64,
    kind: Kind,
    data: Vec<u8>,
    create_op: OpCode,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Create `nN`.
    Create,
    /// Set the data of the root.
    Set,
    /// Create `pN` and `qN`, set the root.
    Multi,
    /// Create `xN`, then fail.
    FailedMulti,
    /// Create `dN` and delete it again, in one multi with a set.
    Fleeting,
}

/// A session's part of the tree: names and data of its children, and its own data.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tree {
    children: BTreeMap<String, u64>,
    root: Vec<u8>,
}

fn fingerprint(data: &[u8]) -> u64 {
    data.iter().fold(data.len() as u64, |sum, byte| {
        sum.wrapping_mul(0x100_0000_01b3).wrapping_add(u64::from(*byte))
    })
}

impl Sequence {
    pub const fn new(root: String, seed: u64) -> Self {
        Self { root, seed, create_op: OpCode::Create2 }
    }

    /// COMPAT: a 3.8 follower cannot apply the create2 that a 3.9 leader proposes in a multi; this
    /// one has plain creates there.
    #[must_use]
    pub fn with_plain_creates(self) -> Self {
        Self { create_op: OpCode::Create, ..self }
    }

    pub fn root(&self) -> &str {
        &self.root
    }

    pub fn step(&self, number: u64) -> Step {
        let mut random = Random::new(self.seed.wrapping_add(number.wrapping_mul(0x9e37)));
        let kind = match random.below(10) {
            0..4 => Kind::Create,
            4..7 => Kind::Set,
            7 => Kind::Multi,
            8 => Kind::FailedMulti,
            _ => Kind::Fleeting,
        };
        let len = if random.one_in(20) { 5000 } else { random.below(200) };
        let mut data = number.to_be_bytes().to_vec();
        data.extend(random.bytes(len));
        Step { root: self.root.clone(), number, kind, data, create_op: self.create_op }
    }
}

fn set<'a>(path: &'a str, data: &'a [u8]) -> Request<'a> {
    Request::SetData { path: path.into(), data: Some(data), version: -1 }
}

/// A create open to the world, of the kind that multis have here.
fn inside_multi<'a>(op: OpCode, path: &'a str, data: &'a [u8]) -> Request<'a> {
    let (path, data, acl) = (path.into(), Some(data), vec![Acl::anyone(31)]);
    Request::Create(Create { op, path, data, acl, flags: 0, ttl: -1 })
}

impl Step {
    fn name(&self, letter: char) -> String {
        format!("{letter}{}", self.number)
    }

    /// Hands the request to `with`.
    pub fn with_request(&self, with: impl FnOnce(&Request<'_>)) {
        let path = |letter| format!("{}/{}", self.root, self.name(letter));
        let (first, second) = match self.kind {
            Kind::Create | Kind::Set => (path('n'), String::new()),
            Kind::Multi => (path('p'), path('q')),
            Kind::FailedMulti => (path('x'), String::new()),
            Kind::Fleeting => (path('d'), String::new()),
        };
        let data = &self.data;
        let delete = Request::Delete { path: first.as_str().into(), version: 0 };
        let check = Request::Check { path: self.root.as_str().into(), version: -7 };
        let inside = |path| inside_multi(self.create_op, path, data);
        with(&match self.kind {
            Kind::Create => create(&first, data, 0),
            Kind::Set => set(&self.root, data),
            Kind::Multi => {
                Request::Multi(vec![inside(&first), inside(&second), set(&self.root, data)])
            }
            Kind::FailedMulti => Request::Multi(vec![inside(&first), check]),
            Kind::Fleeting => Request::Multi(vec![inside(&first), set(&self.root, data), delete]),
        });
    }

    /// Whether the reply is the one this operation must get.
    pub fn check(&self, reply: &Reply) -> Result<(), String> {
        let number = u64::try_from(reply.header.xid.0).unwrap_or(0);
        if number != self.number + 1 {
            return Err(format!("a reply with xid {number}"));
        }
        if reply.header.err != 0 {
            return Err(format!("{:?} answered with {}", self.kind, reply.header.err));
        }
        if matches!(self.kind, Kind::Create | Kind::Set) {
            return Ok(());
        }
        let body = Response::decode(OpCode::Multi, &mut Reader::new(&reply.body));
        let Ok(Response::Multi(steps)) = body else {
            return Err(format!("not a multi's reply: {body:?}"));
        };
        let failed = steps.iter().any(|step| matches!(step, StepResult::Error(_)));
        if failed == matches!(self.kind, Kind::FailedMulti) {
            Ok(())
        } else {
            Err(format!("{:?} came to {steps:?}", self.kind))
        }
    }

    /// Its place in the sequence.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The data it writes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Names of the children that are there once it is applied.
    pub fn created(&self) -> Vec<String> {
        match self.kind {
            Kind::Create => vec![self.name('n')],
            Kind::Multi => vec![self.name('p'), self.name('q')],
            Kind::Set | Kind::FailedMulti | Kind::Fleeting => Vec::new(),
        }
    }

    /// Whether it sets the root's data.
    pub const fn sets_root(&self) -> bool {
        matches!(self.kind, Kind::Set | Kind::Multi | Kind::Fleeting)
    }

    /// What it does to the tree.
    pub fn apply(&self, tree: &mut Tree) {
        let print = fingerprint(&self.data);
        match self.kind {
            Kind::Create => {
                tree.children.insert(self.name('n'), print);
            }
            Kind::Set | Kind::Fleeting => tree.root.clone_from(&self.data),
            Kind::Multi => {
                tree.children.insert(self.name('p'), print);
                tree.children.insert(self.name('q'), print);
                tree.root.clone_from(&self.data);
            }
            Kind::FailedMulti => {}
        }
    }
}

impl Tree {
    /// What the server has.
    pub fn read(client: &mut Client, sequence: &Sequence) -> Self {
        let data_of = |client: &mut Client, path: &str| {
            let reply = client.must(&read(OpCode::GetData, path, false));
            Reader::new(&reply.body).buffer().expect("data").unwrap_or_default().to_vec()
        };
        let root = data_of(client, sequence.root());
        let reply = client.must(&read(OpCode::GetChildren, sequence.root(), false));
        let names = Reader::new(&reply.body).texts().expect("names");
        let mut children = BTreeMap::new();
        for name in names {
            let data = data_of(client, &format!("{}/{name}", sequence.root()));
            children.insert(name.into_owned(), fingerprint(&data));
        }
        Self { children, root }
    }
}
