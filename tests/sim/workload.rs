//! Clients: each has a session that it keeps over servers and connections, does all kinds of
//! operations with a few in flight, and knows what it was promised.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bytes::Bytes;
use ringkeeper::ids::{Epoch, SessionId, Xid, Zxid};
use ringkeeper::wire::record::perms;
use ringkeeper::wire::request::{Create, CreateMode, Request};
use ringkeeper::wire::{Acl, ErrorCode, OpCode, Writer};

use crate::queue::Micros;
use crate::random::Random;

/// Keys that all clients write.
const KEYS: usize = 6;

/// Operations a client has in flight.
const IN_FLIGHT_MAX: usize = 4;

/// What a read looks at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Look {
    /// A key, perhaps to be told of its next change.
    Key { key: usize, watch: bool },
    /// Two nodes that only multis write, both at once.
    Twins,
}

/// What a client says on a connection.
#[derive(Clone)]
pub enum Ask {
    Connect {
        session: SessionId,
        timeout_ms: i32,
        last_zxid: Zxid,
    },
    Write {
        xid: Xid,
        op: OpCode,
        body: Bytes,
    },
    Read {
        xid: Xid,
        look: Look,
    },
    Sync {
        xid: Xid,
    },
    /// After a reconnect: what it has seen, and the keys it watches, those there and those missing.
    SetWatches {
        seen: Zxid,
        data: Vec<usize>,
        exist: Vec<usize>,
    },
    Ping,
}

/// Without bodies.
impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { session, last_zxid, .. } => {
                write!(f, "connect session {session}, which has seen {last_zxid}")
            }
            Self::Write { xid, op, .. } => write!(f, "{} {op:?}", xid.0),
            Self::Read { xid, look } => write!(f, "{} read {look:?}", xid.0),
            Self::Sync { xid } => write!(f, "{} sync", xid.0),
            Self::SetWatches { seen, data, exist } => {
                write!(f, "watches {data:?} and {exist:?} since {seen}")
            }
            Self::Ping => f.write_str("ping"),
        }
    }
}

/// The header of a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    pub zxid: Zxid,
    pub err: i32,
    /// When the key that was read was written.
    pub written: Zxid,
    /// Of a sync: the epoch of whoever answered it.
    pub epoch: Epoch,
}

impl Answer {
    /// Of what is not a read.
    pub const fn of(zxid: Zxid, err: i32) -> Self {
        Self { zxid, err, written: Zxid::ZERO, epoch: Epoch(0) }
    }
}

/// What a server says on a connection.
#[derive(Clone, Debug)]
pub enum Tell {
    /// [`SessionId::NONE`]: the session is no more.
    Connected(SessionId),
    Reply(Xid, Answer),
    /// A key that it watches has changed.
    Event(usize),
    Closed,
}

/// An operation that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    pub xid: Xid,
    pub is_write: bool,
    pub is_close: bool,
    pub is_sync: bool,
    /// A key, and whether it is to be watched.
    pub key: Option<(usize, bool)>,
    /// What had been acknowledged to anybody when it was asked: a write comes after it.
    pub floor: Zxid,
}

/// Where a client is with its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Link {
    None,
    /// Sent a handshake.
    Greeting(u32),
    Attached(u32),
}

/// See the module.
pub struct Client {
    pub number: usize,
    pub session: SessionId,
    pub timeout_ms: i32,
    /// The newest it has seen: it never goes back behind it.
    pub last_zxid: Zxid,
    pub link: Link,
    pub in_flight: VecDeque<InFlight>,
    next_xid: i32,
    /// Makes values unique.
    written: u64,
    /// When it gives up waiting and looks for another server.
    pub patience: Micros,
    /// Writes that were acknowledged, ever.
    pub acknowledged: u64,
    own: Vec<String>,
    /// Keys that it watches, and when they had been written as it saw them.
    watched: BTreeMap<usize, Zxid>,
}

impl Client {
    pub fn new(number: usize, timeout_ms: i32) -> Self {
        Self {
            number,
            session: SessionId::NONE,
            timeout_ms,
            last_zxid: Zxid::ZERO,
            link: Link::None,
            in_flight: VecDeque::new(),
            next_xid: 1,
            written: 0,
            patience: 0,
            acknowledged: 0,
            own: Vec::new(),
            watched: BTreeMap::new(),
        }
    }

    /// It sees a key as it was written then; a watch is told of a change before that.
    pub fn on_seen(&mut self, key: usize, written: Zxid, watch: bool) {
        if let Some(before) = self.watched.get(&key) {
            assert!(
                *before == written,
                "session {}: key {key} of {written} is shown before the watch on {before} is fired",
                self.session
            );
        }
        if watch {
            self.watched.insert(key, written);
        }
    }

    pub fn on_event(&mut self, key: usize) {
        self.watched.remove(&key);
    }

    /// What it tells the next server of its watches, if it has any.
    pub fn watches(&self) -> Option<Ask> {
        let of = |are_there: bool| {
            let keys = self.watched.iter().filter(|(_, at)| (**at != Zxid::ZERO) == are_there);
            keys.map(|(key, _)| *key).collect::<Vec<_>>()
        };
        let (data, exist) = (of(true), of(false));
        (!self.watched.is_empty()).then_some(Ask::SetWatches { seen: self.last_zxid, data, exist })
    }

    /// The session is gone, with its numbers.
    pub fn forget_session(&mut self) {
        self.session = SessionId::NONE;
        self.next_xid = 1;
        self.own.clear();
        self.watched.clear();
    }

    /// Behind a `sync` nothing is asked: what comes after it need not wait for it at its server.
    pub fn may_ask(&self) -> bool {
        let is_syncing = self.in_flight.iter().any(|asked| asked.is_sync);
        self.in_flight.len() < IN_FLIGHT_MAX && !is_syncing
    }

    /// Its next operation.
    pub fn next(&mut self, random: &mut Random, floor: Zxid) -> Ask {
        let xid = Xid(self.next_xid);
        self.next_xid += 1;
        let mut in_flight =
            InFlight { xid, is_write: false, is_close: false, is_sync: false, key: None, floor };
        let ask = match random.below(100) {
            0..25 => {
                let (key, watch) = (random.below(KEYS), random.one_in(2));
                in_flight.key = Some((key, watch));
                Ask::Read { xid, look: Look::Key { key, watch } }
            }
            25..35 => Ask::Read { xid, look: Look::Twins },
            35..40 => {
                in_flight.is_sync = true;
                Ask::Sync { xid }
            }
            _ => {
                in_flight.is_write = true;
                let (op, body) = self.write(random);
                in_flight.is_close = op == OpCode::CloseSession;
                Ask::Write { xid, op, body }
            }
        };
        self.in_flight.push_back(in_flight);
        ask
    }

    fn write(&mut self, random: &mut Random) -> (OpCode, Bytes) {
        self.written += 1;
        let value = format!("{}.{}.{}", self.number, self.written, random.next()).into_bytes();
        let set =
            |path: String| Request::SetData { path: path.into(), data: Some(&value), version: -1 };
        let key = |random: &mut Random| format!("/key{}", random.below(KEYS));
        let request = match random.below(60) {
            0..6 => create(&key(random), &value, CreateMode::Persistent),
            6..30 => set(key(random)),
            30..36 => Request::Multi(vec![set("/twin0".into()), set("/twin1".into())]),
            36..38 => {
                // Fails, and must leave nothing behind.
                let wrong = Request::Check { path: "/twin1".into(), version: 1_000_000 };
                Request::Multi(vec![set("/twin0".into()), wrong])
            }
            38..40 => Request::Multi(vec![
                create("/twin0", &value, CreateMode::Persistent),
                create("/twin1", &value, CreateMode::Persistent),
            ]),
            40..46 => {
                let path = format!("/e{}.{}", self.number, self.written);
                self.own.push(path.clone());
                create(&path, &value, CreateMode::Ephemeral)
            }
            46..52 => create("/s", &value, CreateMode::EphemeralSequential),
            52..58 if !self.own.is_empty() => {
                let path = self.own.swap_remove(random.below(self.own.len()));
                Request::Delete { path: path.into(), version: -1 }
            }
            58 if random.one_in(8) => Request::CloseSession,
            _ => Request::Delete { path: key(random).into(), version: random.below(5) as i32 },
        };
        encoded(&request)
    }
}

fn create<'a>(path: &str, data: &'a [u8], mode: CreateMode) -> Request<'a> {
    Request::Create(Create {
        op: OpCode::Create,
        path: path.to_owned().into(),
        data: Some(data),
        acl: vec![Acl::anyone(perms::ALL)],
        flags: mode as i32,
        ttl: -1,
    })
}

fn encoded(request: &Request<'_>) -> (OpCode, Bytes) {
    let mut body = Vec::new();
    request.encode(&mut Writer::new(&mut body));
    (request.op(), body.into())
}

/// Whether an operation was done.
pub fn is_ok(answer: Answer) -> bool {
    answer.err == ErrorCode::Ok.to_wire()
}
