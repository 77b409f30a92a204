//! Random operations: mostly sensible, so that they meet each other in the tree, and some nonsense.

use std::borrow::Cow;

use ringkeeper::wire::request::{
    AddWatchMode, Create, CreateMode, Read, Reconfig, Request, SetWatches, WatchKind, Watches,
};
use ringkeeper::wire::{Acl, OpCode, Reader, Writer};

use crate::op::Op;
use crate::support::Random;

const NAMES: &[&str] = &["a", "b", "c", "d", "e"];
const SYSTEM: &[&str] =
    &["/", "", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "/zookeeper/nope"];
const ODD: &[&str] = &[
    "a",
    "/x/",
    "//x",
    "/x//y",
    "/./x",
    "/../x",
    "/x/.",
    "/x/..",
    "/...",
    "/.x",
    "/\u{0}",
    "/x\u{0}y",
    "/\u{1}",
    "/x\u{1f}",
    "/\u{7f}",
    "/\u{9f}",
    "/é",
    "/中",
    "/\u{e000}",
    "/\u{f8ff}",
    "/\u{f900}",
    "/\u{fff0}",
    "/\u{ffef}",
    "/ ",
    "/a b",
    "/a/",
    "/a/./b",
    "/a/..",
    "x/y",
    ".",
];

const RECENT_MAX: usize = 64;
const DATA_BYTES_LARGE: usize = 60_000;

/// Makes the operations of one seed.
#[derive(Debug)]
pub struct Generator {
    pub random: Random,
    /// Everything sensible happens below it.
    root: String,
    recent: Vec<String>,
    /// Whether quotas are enforced. Java checks them against what has been applied, so what a write
    /// behind another one in flight is told is chance: then each write is waited for.
    pub enforced: bool,
    /// Zxids since the start of the run, for `setWatches`.
    pub elapsed_zxids: i64,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            root: format!("/r{seed}"),
            recent: Vec::new(),
            enforced: false,
            elapsed_zxids: 0,
        }
    }

    pub fn root(&self) -> &str {
        &self.root
    }

    /// Remembers a path that a reply named.
    pub fn saw(&mut self, path: &str) {
        if self.recent.len() == RECENT_MAX {
            let at = self.random.below(RECENT_MAX);
            self.recent.swap_remove(at);
        }
        self.recent.push(path.to_owned());
    }

    fn path(&mut self) -> String {
        match self.random.below(100) {
            0..18 if !self.recent.is_empty() => self.random.pick(&self.recent).clone(),
            18..26 if !self.recent.is_empty() => {
                let parent = self.random.pick(&self.recent).clone();
                format!("{parent}/{}", self.random.pick(NAMES))
            }
            26..34 => self.quota_path(),
            34..36 => self.root.clone(),
            36..38 => (*self.random.pick(SYSTEM)).to_owned(),
            38..40 => {
                let odd = *self.random.pick(ODD);
                format!("{}{odd}", self.root)
            }
            40 => (*self.random.pick(ODD)).to_owned(),
            _ => self.plain_path(),
        }
    }

    fn plain_path(&mut self) -> String {
        let mut path = self.root.clone();
        for _ in 0..=self.random.below(3) {
            path.push('/');
            path.push_str(self.random.pick::<&str>(NAMES));
            if self.random.one_in(60) {
                path.push_str("/ "); // quotas do not see such a component
            }
        }
        path
    }

    /// A node of the quota subtree: a limit, a statistic, or what leads to them.
    fn quota_path(&mut self) -> String {
        let mut path = format!("/zookeeper/quota{}", self.root);
        if self.random.one_in(2) {
            path.push('/');
            path.push_str(self.random.pick::<&str>(&NAMES[..2]));
        }
        if self.random.one_in(40) {
            path.push_str(self.random.pick::<&str>(&["/ ", "/zookeeper_limits"]));
        }
        match self.random.below(5) {
            0 | 1 => path.push_str("/zookeeper_limits"),
            2 | 3 => path.push_str("/zookeeper_stats"),
            _ => {}
        }
        path
    }

    /// Data for `path`; a quota node always gets text that Java can read.
    fn data(&mut self, path: &str) -> Option<Vec<u8>> {
        if path.starts_with("/zookeeper/quota") {
            return Some(self.quota_text().into_bytes());
        }
        match self.random.below(20) {
            0 | 1 => None,
            2 => Some(Vec::new()),
            3 => {
                let len = self.random.below(2000);
                Some(self.random.bytes(len))
            }
            4 if self.random.one_in(40) => {
                let len = self.random.below(DATA_BYTES_LARGE);
                Some(self.random.bytes(len))
            }
            _ => {
                let len = self.random.below(24);
                Some(self.random.bytes(len))
            }
        }
    }

    fn quota_text(&mut self) -> String {
        let count = self.random.below(12);
        let bytes = self.random.below(400);
        match self.random.below(6) {
            0 => format!("count={count},bytes={bytes}"),
            1 => format!("count=-1,bytes=-1=;byteHardLimit={bytes};countHardLimit={count}"),
            2 => format!("count={count},bytes={bytes}=;countHardLimit={}", count + 4),
            3 => format!("count=5,bytes=-1=;byteHardLimit={bytes}"),
            _ => "count=-1,bytes=-1".to_owned(),
        }
    }

    fn acl(&mut self) -> Vec<Acl<'static>> {
        let entry = |perms, scheme: &'static str, id: &'static str| Acl {
            perms,
            scheme: Cow::Borrowed(scheme),
            id: Cow::Borrowed(id),
        };
        if self.random.below(100) < 78 {
            return vec![Acl::anyone(31)];
        }
        let perms = if self.random.one_in(2) { 31 } else { self.random.int() & 0x3f };
        let pool = [
            entry(perms, "auth", ""),
            entry(perms, "auth", "ignored"),
            entry(perms, "digest", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM="),
            entry(perms, "digest", "alice:x"),
            entry(perms, "digest", "a:"),
            entry(perms, "digest", ":b"),
            entry(perms, "digest", "a:b:c"),
            entry(perms, "digest", "a:b::"),
            entry(perms, "digest", ""),
            entry(perms, "ip", "127.0.0.1"),
            entry(perms, "ip", "127.0.0.0/8"),
            entry(perms, "ip", "10.0.0.0/8"),
            entry(perms, "ip", "0.0.0.0/0"),
            entry(perms, "ip", "127.0.0.1/33"),
            entry(perms, "ip", "127.0.0.1/-1"),
            entry(perms, "ip", "256.0.0.1"),
            entry(perms, "ip", "1.2.3"),
            entry(perms, "ip", "::1"),
            entry(perms, "ip", "2001:db8::/32"),
            entry(perms, "ip", ":::"),
            entry(perms, "ip", "::1/129"),
            entry(perms, "ip", "host"),
            entry(perms, "world", "anyone"),
            entry(perms, "world", "bob"),
            entry(perms, "super", ""),
            entry(perms, "x509", "CN=a"),
            entry(perms, "sasl", "bob"),
            entry(perms, "nope", "x"),
            entry(perms, "", "x"),
            entry(perms, "world", Acl::NULL),
            entry(perms, "digest", Acl::NULL),
            entry(perms, "nope", Acl::NULL),
            entry(perms, "auth", Acl::NULL),
            entry(perms, Acl::NULL, "x"),
        ];
        let mut list = Vec::new();
        for _ in 0..self.random.below(4) {
            let useful = self.random.below(100) < 75;
            let entry =
                if useful { 9 + self.random.below(2) } else { self.random.below(pool.len()) };
            list.push(pool[entry].clone());
        }
        if self.random.one_in(3) {
            list.push(Acl::anyone(perms));
        }
        list
    }

    fn version(&mut self) -> i32 {
        match self.random.below(10) {
            0..6 => -1,
            6 => 0,
            7 => 1,
            8 => i32::try_from(self.random.below(5)).unwrap_or(0),
            _ => *self.random.pick(&[-2, i32::MAX, i32::MIN, 7]),
        }
    }

    fn create(&mut self) -> (String, Option<Vec<u8>>, OpCode, i32, i64) {
        let mut path = if self.random.one_in(4) { self.plain_path() } else { self.path() };
        let data = self.data(&path);
        let op = *self.random.pick(&[
            OpCode::Create,
            OpCode::Create,
            OpCode::Create2,
            OpCode::Create2,
            OpCode::CreateContainer,
            OpCode::CreateTtl,
        ]);
        let mut flags = match self.random.below(20) {
            0..9 => 0,
            9..12 => 1,
            12..14 => 2,
            14..16 => 3,
            16 => 4,
            17 => 5,
            18 => 6,
            _ => *self.random.pick(&[7, -1, 8, i32::MAX]),
        };
        if op == OpCode::CreateContainer && !self.random.one_in(4) {
            flags = 4;
        }
        let mut ttl = -1;
        if op == OpCode::CreateTtl {
            ttl = *self.random.pick(&[
                1,
                60_000,
                0xff_ffff_ffff,
                0x100_0000_0000,
                0,
                -1,
                i64::MAX,
                3_600_000,
            ]);
            if !self.random.one_in(6) {
                flags = 5 + i32::from(self.random.one_in(3));
            } else if ttl < 0 {
                ttl = 0; // see `crashes_java`
            }
        }
        if matches!(flags, 2 | 3 | 6) && self.random.one_in(8) {
            path.push('/');
        }
        (path, data, op, flags, ttl)
    }

    fn read(&mut self, op: OpCode) -> Op {
        let watch = self.random.below(10) < 3;
        Op::new(&Request::Read(Read { op, path: self.path().into(), watch }))
    }

    fn write_step(&mut self) -> Op {
        match self.random.below(10) {
            0..4 => {
                let (path, data, op, flags, ttl) = self.create();
                let (path, data, acl) = (path.into(), data.as_deref(), self.acl());
                Op::new(&Request::Create(Create { op, path, data, acl, flags, ttl }))
            }
            4 | 5 => {
                let (path, version) = (self.path().into(), self.version());
                Op::new(&Request::Delete { path, version })
            }
            6 | 7 => {
                let path = self.path();
                let data = self.data(&path);
                let version = self.version();
                let path = path.into();
                Op::new(&Request::SetData { path, data: data.as_deref(), version })
            }
            _ => {
                let (path, version) = (self.path().into(), self.version());
                Op::new(&Request::Check { path, version })
            }
        }
    }

    /// Steps one by one, so that a step may be one that no multi can hold.
    fn multi(&mut self) -> Op {
        let reads = self.random.one_in(4);
        let mut body = Vec::new();
        let mut w = Writer::new(&mut body);
        for _ in 0..self.random.below(6) {
            let strange = self.random.one_in(40);
            let step = if reads != strange {
                let op = *self.random.pick(&[OpCode::GetData, OpCode::GetChildren]);
                self.read(op)
            } else if strange && self.random.one_in(3) {
                self.read(OpCode::Exists)
            } else {
                self.write_step()
            };
            w.i32(step.code);
            w.bool(false);
            w.i32(-1);
            w.bytes(&step.body);
        }
        w.i32(-1);
        w.bool(true);
        w.i32(-1);
        let code = if reads { OpCode::MultiRead } else { OpCode::Multi };
        Op::raw(code.to_wire(), body)
    }

    fn set_watches(&mut self) -> Op {
        let op = *self.random.pick(&[OpCode::SetWatches, OpCode::SetWatches2]);
        let mut lists: Vec<Vec<Cow<'static, str>>> = Vec::new();
        for _ in 0..5 {
            let count = if self.random.one_in(2) { 0 } else { self.random.below(4) };
            lists.push((0..count).map(|_| self.path().into()).collect());
        }
        let mut next = || lists.pop().unwrap_or_default();
        let request = Request::SetWatches(SetWatches {
            op,
            relative_zxid: ringkeeper::ids::Zxid(0),
            data: next(),
            exist: next(),
            child: next(),
            persistent: next(),
            recursive: next(),
        });
        let mut made = Op::new(&request);
        let ago = i64::try_from(self.random.below(60)).unwrap_or(0);
        let zxid = (self.elapsed_zxids - ago).max(0);
        made.body[..8].copy_from_slice(&zxid.to_be_bytes());
        made.relative = true;
        made
    }

    fn watches(&mut self) -> Op {
        let op = *self.random.pick(&[OpCode::CheckWatches, OpCode::RemoveWatches]);
        let kind = *self.random.pick(&[
            WatchKind::Children,
            WatchKind::Data,
            WatchKind::Any,
            WatchKind::Persistent,
            WatchKind::Recursive,
        ]);
        let mut made = Op::new(&Request::Watches(Watches { op, path: self.path().into(), kind }));
        if self.random.one_in(20) {
            let kind: i32 = *self.random.pick(&[0, 6, -1, 99]);
            let at = made.body.len() - 4;
            made.body[at..].copy_from_slice(&kind.to_be_bytes());
        }
        made
    }

    fn add_watch(&mut self) -> Op {
        let mode = *self.random.pick(&[AddWatchMode::Persistent, AddWatchMode::Recursive]);
        let mut made = Op::new(&Request::AddWatch { path: self.path().into(), mode });
        if self.random.one_in(20) {
            let mode: i32 = *self.random.pick(&[2, -1]);
            let at = made.body.len() - 4;
            made.body[at..].copy_from_slice(&mode.to_be_bytes());
        }
        made
    }

    fn auth(&mut self) -> Op {
        const GOOD: &[(&str, &str)] = &[
            ("digest", "bob:pw"),
            ("digest", "alice:secret"),
            ("digest", "super:test"),
            ("digest", "nocolon"),
            ("digest", ":x"),
            ("digest", "a:b:c"),
            ("digest", ""),
            ("ip", "whatever"),
        ];
        const BAD: &[(&str, &str)] = &[
            ("world", "anyone"),
            ("sasl", "bob"),
            ("x509", ""),
            ("nope", "x"),
            ("", ""),
            ("auth", "x"),
        ];
        let pool = if self.random.one_in(5) { BAD } else { GOOD };
        let (scheme, auth) = *self.random.pick(pool);
        let (no_scheme, no_auth) = (self.random.one_in(40), self.random.one_in(40));
        let scheme = (!no_scheme).then_some(scheme.into());
        let auth = (!no_auth).then_some(auth.as_bytes());
        Op { xid: -4, ..Op::new(&Request::Auth { scheme, auth }) }
    }

    fn reconfig(&mut self) -> Op {
        let texts = [None, Some("server.1=a:1:2;3"), Some(""), Some("1,2"), Some("nonsense")];
        let mut text = || self.random.pick(&texts).map(Cow::Borrowed);
        let (joining, leaving, members) = (text(), text(), text());
        let config = i64::from(self.version());
        Op::new(&Request::Reconfig(Reconfig { joining, leaving, members, config }))
    }

    /// An operation in a record that lies or ends early.
    fn malformed(&mut self) -> Op {
        let mut op = self.sensible();
        if op.alone || op.relative || op.body.is_empty() || contains(&op.body, b"/zookeeper") {
            return op;
        }
        match self.random.below(4) {
            0 => {
                let len = self.random.below(op.body.len());
                op.body.truncate(len);
            }
            1 => {
                let lie: i32 = *self.random.pick(&[-1, -2, i32::MIN, i32::MAX, 0x10_0000, 1000, 0]);
                let at = self.random.below(op.body.len());
                let lie = lie.to_be_bytes();
                let len = lie.len().min(op.body.len() - at);
                op.body[at..at + len].copy_from_slice(&lie[..len]);
            }
            2 => {
                let at = self.random.below(op.body.len());
                op.body[at] ^= 1 << self.random.below(8);
            }
            _ => {
                let garbage = self.random.below(9);
                op.body.extend(self.random.bytes(garbage));
            }
        }
        op
    }

    /// A request whose path is null.
    fn null_path(&mut self) -> Op {
        let code = *self.random.pick(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 17, 18, 103, 104, 106]);
        let mut body = vec![0xff; 4];
        let zeros = self.random.below(40);
        body.extend(vec![0; zeros]);
        Op::raw(code, body)
    }

    fn unknown(&mut self) -> Op {
        let code =
            *self.random.pick(&[0, 10, 13, -1, 23, 50, 99, 108, 1000, -12, i32::MAX, i32::MIN]);
        let body = if self.random.one_in(2) { Vec::new() } else { self.random.bytes(12) };
        Op::raw(code, body).alone()
    }

    fn sensible(&mut self) -> Op {
        match self.random.below(100) {
            0..32 => {
                let mut op = self.write_step();
                while op.code == OpCode::Check.to_wire() {
                    op = self.write_step(); // stand-alone it closes the connection
                }
                op
            }
            32..38 => self.read(OpCode::Exists),
            38..46 => self.read(OpCode::GetData),
            46..50 => self.read(OpCode::GetChildren),
            50..54 => self.read(OpCode::GetChildren2),
            54..58 => Op::new(&Request::GetAcl { path: self.path().into() }),
            58..62 => {
                let (path, acl) = (self.path(), self.acl());
                let version = self.version();
                Op::new(&Request::SetAcl { path: path.into(), acl, version })
            }
            62..65 => Op::new(&Request::Sync { path: Some(self.path().into()) }),
            65..67 => Op { xid: -2, ..Op::new(&Request::Ping) },
            67..79 => self.multi(),
            79..82 => self.set_watches(),
            82..86 => self.add_watch(),
            86..90 => self.watches(),
            90..93 => Op::new(&Request::GetAllChildrenNumber { path: self.path().into() }),
            93..96 => {
                let prefix = match self.random.below(6) {
                    0 => None,
                    1 => Some("".into()),
                    2 => Some("/".into()),
                    3 => Some(" ".into()),
                    4 => Some(self.root.clone().into()),
                    _ => Some(self.path().into()),
                };
                Op::new(&Request::GetEphemerals { prefix })
            }
            96..98 => Op::new(&Request::WhoAmI),
            98 => self.reconfig(),
            _ => Op::new(&Request::Sasl { token: Some(b"token") }),
        }
    }

    /// The next operation of a burst, with its xid.
    pub fn op(&mut self, xid: &mut i32) -> Op {
        let mut op = loop {
            let op = match self.random.below(1000) {
                0..20 => self.malformed(),
                20..24 => self.null_path(),
                24..27 => self.unknown(),
                27..40 => self.auth(),
                _ => self.sensible(),
            };
            if !crashes_java(&op) && !mangles_quota(&op) && !ends_quota_with_session(&op) {
                break op;
            }
        };
        op.last |= self.enforced && matches!(op.code, 1 | 2 | 5 | 14 | 15 | 19 | 21);
        if op.xid == 0 {
            *xid += 1;
            op.xid = if self.random.one_in(200) {
                *self.random.pick(&[0, -2, -3, -4, -8, i32::MIN, i32::MAX])
            } else {
                *xid
            };
        } else if self.random.one_in(50) {
            op.xid = 77;
        }
        op
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// createTTL without a TTL mode and with a negative TTL passes Java's validation and then stops the
/// server, and each restart. `tests/hostile` asks ours.
fn crashes_java(op: &Op) -> bool {
    let decoded = Request::decode(OpCode::CreateTtl, &mut Reader::new(&op.body));
    op.code == OpCode::CreateTtl.to_wire()
        && matches!(decoded, Ok(Request::Create(create)) if create.ttl < 0
            && !CreateMode::from_flags(create.flags).is_some_and(CreateMode::is_ttl))
}

/// The ephemerals of a closing session go in no particular order: a quota node among them goes
/// before or after the nodes it counts, and what is counted last would be chance.
fn ends_quota_with_session(op: &Op) -> bool {
    let is_ephemeral_quota = |request: &Request<'_>| {
        let Request::Create(create) = request else { return false };
        create.path.starts_with("/zookeeper/quota")
            && CreateMode::from_flags(create.flags).is_some_and(CreateMode::is_ephemeral)
    };
    let Some(code) = OpCode::from_wire(op.code) else { return false };
    match Request::decode(code, &mut Reader::new(&op.body)) {
        Ok(Request::Multi(steps)) => steps.iter().any(is_ephemeral_quota),
        Ok(request) => is_ephemeral_quota(&request),
        Err(_) => false,
    }
}

/// A quota text that Java cannot parse makes it throw while it applies a txn.
fn mangles_quota(op: &Op) -> bool {
    const ROOT: &[u8] = b"/zookeeper/quota";
    contains(&op.body, ROOT)
        && !contains(&op.body, b"count=")
        && matches!(op.code, 1 | 5 | 15 | 19 | 21)
}
