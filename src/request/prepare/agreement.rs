//! What is foreseen is what comes: random writes, some in flight, against a tree that is at once
//! as far as they will bring the other. A failure names the seed.

use super::tests::Server;
use super::*;
use crate::request::prepare::outstanding::State;
use crate::wire::request::Create;

/// Two trees: `server`'s lags behind by what is in flight, `ahead` has it all.
struct Pair {
    server: Server,
    ahead: Tree,
    random: Random,
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

const PATHS: &[&str] = &[
    "/",
    "/a",
    "/b",
    "/a/a",
    "/a/b",
    "/b/a",
    "/a/a/a",
    "/a/a/b",
    "/a/",
    "/b/",
    "/zookeeper",
    "/zookeeper/x",
    "/zookeeper/quota",
    "/zookeeper/config",
    "/zookeeper/quota/a",
    "/zookeeper/quota/a/zookeeper_limits",
    "/missing/x",
    "bad",
    "/a//b",
];
const DATA: &[Option<&[u8]>] =
    &[None, Some(b""), Some(b"x"), Some(b"count=3,bytes=-1=;byteHardLimit=9;countHardLimit=4")];
const NO_PREFIX: Prefix = Prefix { crc: 0, bytes: 0 };
const SESSIONS: &[i64] = &[1, 2, 0x0100_0000_0000_0003];

fn lists() -> [Vec<Acl<'static>>; 4] {
    let bob = Acl { perms: 31, scheme: "digest".into(), id: "bob:x".into() };
    [vec![Acl::anyone(31)], vec![Acl::anyone(31), bob.clone()], vec![Acl::anyone(15), bob], vec![]]
}

impl Pair {
    fn new(seed: u64) -> Self {
        let tree = TreeOptions { extended_types: true, ..TreeOptions::default() };
        let config = PrepareConfig { tree, enforce_quota: true, ..PrepareConfig::default() };
        Self {
            server: Server::with(config),
            ahead: Tree::with_options(tree),
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
        }
    }

    fn version(&mut self) -> i32 {
        self.random.of(&[-1, -1, -1, 0, 1, 2])
    }

    fn acl(&mut self) -> Vec<Acl<'static>> {
        let list = self.random.of(&[0, 0, 0, 0, 1, 2, 3]);
        lists()[list].clone()
    }

    fn create(&mut self) -> Request<'static> {
        let op = self.random.of(&[
            OpCode::Create,
            OpCode::Create,
            OpCode::Create2,
            OpCode::CreateContainer,
            OpCode::CreateTtl,
        ]);
        let flags = if op == OpCode::CreateTtl { &[5, 6][..] } else { &[0, 0, 1, 2, 3, 4][..] };
        Request::Create(Create {
            op,
            path: self.random.of(PATHS).into(),
            data: self.random.of(DATA),
            acl: self.acl(),
            flags: self.random.of(flags),
            ttl: if op == OpCode::CreateTtl { 5 } else { -1 },
        })
    }

    fn step(&mut self) -> Request<'static> {
        let path = Cow::Borrowed(self.random.of(PATHS));
        match self.random.below(8) {
            0..4 => self.create(),
            4 | 5 => Request::Delete { path, version: self.version() },
            6 => {
                let data = self.random.of(DATA);
                Request::SetData { path, data, version: self.version() }
            }
            _ => Request::Check { path, version: self.version() },
        }
    }

    fn write(&mut self) -> Write<'static> {
        let path = Cow::Borrowed(self.random.of(PATHS));
        Write::Request(match self.random.below(24) {
            0..14 => self.step(),
            14..20 => {
                let count = self.random.below(5);
                Request::Multi((0..count).map(|_| self.step()).collect())
            }
            20 => Request::SetAcl { path, acl: self.acl(), version: self.version() },
            21 => Request::CloseSession,
            22 => return Write::DeleteContainer { path },
            _ => return Write::CreateSession { timeout_ms: 4000 },
        })
    }

    /// One write; then now and then some of what is in flight is applied.
    fn turn(&mut self) -> bool {
        let session = self.random.of(SESSIONS);
        let write = self.write();
        let story = format!("{write:?}");
        let error = self.server.prepare_as(session, write).error;
        let record = self.server.in_flight.last().unwrap().clone();
        let record = Record::decode(&record).unwrap();
        self.ahead.apply(&record, None);
        if let Some(digest) = record.digest {
            assert_eq!(digest.digest, self.ahead.digest(), "{story}");
        }
        self.compare(&story);
        let keep = usize::try_from(self.random.below(12)).unwrap();
        while self.random.below(3) == 0 && self.server.in_flight.len() > keep {
            self.apply_first();
        }
        error.is_none()
    }

    fn apply_first(&mut self) {
        let record = self.server.in_flight.remove(0);
        let record = Record::decode(&record).unwrap();
        let place = self.server.tree.look_ahead(std::slice::from_ref(&record))[0];
        self.server.tree.apply_at(place, &record, None);
        self.server.preparer.applied(record.header.zxid);
    }

    fn compare(&self, story: &str) {
        let outstanding = &self.server.preparer.outstanding;
        let tree = &self.server.tree;
        assert_eq!(outstanding.digest(tree), self.ahead.digest(), "{story}");
        for path in PATHS {
            let comparable = |state: State| {
                let prefix = if is_digested(path) { state.prefix } else { NO_PREFIX };
                State { prefix, ..state }
            };
            let foreseen = outstanding.get(tree, path).map(comparable);
            let came = self.ahead.find(path).map(|node| comparable(State::of(&self.ahead, node)));
            assert_eq!(foreseen, came, "{path} after {story}");
        }
        for session in SESSIONS {
            let session = SessionId(*session);
            let mut foreseen = outstanding.ephemerals_of(tree, session);
            let mut came: Vec<_> = self.ahead.ephemerals(session).map(str::to_owned).collect();
            foreseen.sort();
            came.sort();
            assert_eq!(foreseen, came, "{session} after {story}");
        }
    }
}

#[test]
fn what_is_foreseen_is_what_comes() {
    let mut done = 0;
    for seed in 1..=40 {
        let mut pair = Pair::new(seed);
        eprintln!("seed {seed}");
        for _ in 0..500 {
            done += u32::from(pair.turn());
        }
        pair.server.apply();
        assert_eq!(pair.server.tree.digest(), pair.ahead.digest());
        assert_eq!(pair.ahead.digest_mismatches().0, 0);
    }
    assert!(done > 5000, "only {done} of 20000 writes did anything");
}
