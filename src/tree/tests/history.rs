//! Random histories: what a leader could have logged, and against the model what comes of it.

use super::model::{Model, check_changes};
use super::*;
use crate::wire::ErrorCode;

/// Splitmix64: the same seed, the same history.
#[derive(Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

const DATA: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"some"), Some(&[7; 300])];
const SESSIONS: [i64; 3] = [0x0100_0000_0000_0001, 0x0100_0000_0000_0002, 0x0200_0000_0000_0001];

/// Makes txns that a leader would make of requests, against the state they will be applied to.
pub(super) struct History {
    pub(super) random: Random,
    pub(super) model: Model,
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), model: Model::new() }
    }

    /// The next record as it would be logged.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let session = self.random.pick(&SESSIONS);
        let zxid = self.model.zxid + 1;
        let (op, txn) = match self.random.below(20) {
            0 => (OpCode::CreateSession, Txn::CreateSession { timeout_ms: 4000 }),
            1 => self.close_session(session),
            2 => (OpCode::Error, Txn::Error { err: -101 }),
            3..6 => self.multi(session, zxid),
            _ => self.one(),
        };
        let record = record(session, zxid, op, txn);
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes
    }

    fn close_session(&mut self, session: i64) -> (OpCode, Txn<'static>) {
        let paths = self.model.ephemerals(session).into_iter().map(Into::into).collect();
        let paths = (!self.random.one_in(4)).then_some(paths);
        (OpCode::CloseSession, Txn::CloseSession { paths })
    }

    fn multi(&mut self, session: i64, zxid: i64) -> (OpCode, Txn<'static>) {
        let before = self.model.clone();
        let mut steps = Vec::new();
        for _ in 0..self.random.below(6) {
            let (op, txn) = self.one();
            self.model.apply(&record(session, zxid, op, txn.clone()), &mut Vec::new());
            steps.push((op, txn));
        }
        self.model = before;
        if self.random.one_in(4) && !steps.is_empty() {
            let failing = self.random.below(steps.len());
            for (number, step) in steps.iter_mut().enumerate().skip(failing) {
                let code = if number == failing {
                    ErrorCode::BadVersion
                } else {
                    ErrorCode::RuntimeInconsistency
                };
                *step = (OpCode::Error, Txn::Error { err: code.to_wire() });
            }
        }
        (OpCode::Multi, Txn::Multi(steps))
    }

    fn one(&mut self) -> (OpCode, Txn<'static>) {
        let all: Vec<String> = self.model.nodes.keys().cloned().collect();
        let path = self.random.pick(&all);
        let path = if path.is_empty() { "/".to_owned() } else { path };
        match self.random.below(10) {
            0..5 if all.len() < 60 => self.create(),
            0..3 | 7 => self.delete(&all),
            3..6 => {
                let version = self.model.nodes[path.trim_end_matches('/')].stat.version + 1;
                let data = self.random.pick(&DATA);
                (OpCode::SetData, Txn::SetData { path: path.into(), data, version })
            }
            6 => {
                let version = self.model.nodes[path.trim_end_matches('/')].stat.aversion + 1;
                (OpCode::SetAcl, Txn::SetAcl { path: path.into(), acl: self.acl(), version })
            }
            _ => (OpCode::Check, Txn::Check { path: path.into(), version: 0 }),
        }
    }

    fn acl(&mut self) -> Vec<Acl<'static>> {
        let id = format!("user{}", self.random.below(5));
        let list = [Acl::anyone(31), Acl { perms: 31, scheme: "digest".into(), id: id.into() }];
        let from = self.random.below(2);
        list[from..=from + self.random.below(2 - from)].to_vec()
    }

    fn create(&mut self) -> (OpCode, Txn<'static>) {
        let sessions_only = |path: &&String| {
            !path.starts_with("/zookeeper") && self.model.nodes[*path].stat.ephemeral_owner <= 0
        };
        let parents: Vec<String> = self.model.nodes.keys().filter(sessions_only).cloned().collect();
        let parent = self.random.pick(&parents);
        let cversion = self.model.nodes[&parent].stat.cversion;
        let name = match self.random.below(6) {
            0 => format!("{cversion:010}"),
            name => ["a", "b", "c", "é", "long-name-of-a-node"][name - 1].to_owned(),
        };
        let path = format!("{parent}/{name}");
        if self.model.nodes.contains_key(&path) {
            return (OpCode::Check, Txn::Check { path: path.into(), version: 0 });
        }
        let create = CreateTxn {
            path: path.into(),
            data: self.random.pick(&DATA),
            acl: self.acl(),
            ephemeral: false,
            parent_cversion: cversion + 1,
        };
        match self.random.below(6) {
            0 => (OpCode::CreateContainer, Txn::CreateContainer(create)),
            1 => (OpCode::CreateTtl, Txn::CreateTtl(create, 500)),
            2 | 3 => (OpCode::Create2, Txn::Create(CreateTxn { ephemeral: true, ..create })),
            _ => (OpCode::Create, Txn::Create(create)),
        }
    }

    fn delete(&mut self, all: &[String]) -> (OpCode, Txn<'static>) {
        let leaf = |path: &&String| {
            !path.is_empty()
                && !path.starts_with("/zookeeper")
                && self.model.children(path).next().is_none()
        };
        let leaves: Vec<&String> = all.iter().filter(leaf).collect();
        let path =
            if leaves.is_empty() { "/gone".into() } else { self.random.pick(&leaves).clone() };
        let op = self.random.pick(&[OpCode::Delete, OpCode::DeleteContainer]);
        (op, Txn::Delete { path: path.into() })
    }
}

#[test]
fn a_random_history_makes_the_models_tree() {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut history = History::new(seed);
        let mut tree = Tree::with_options(TreeOptions { hash_seed: seed, ..OPTIONS });
        for round in 0..300 {
            let bytes = history.next();
            let record = Record::decode(&bytes).expect("it was encoded");
            let (mut told, mut changes) = (Vec::new(), Vec::new());
            let expected = history.model.apply(&record, &mut told);
            let wanted = history.random.below(4) > 0;
            let outcome = tree.apply(&record, wanted.then_some(&mut changes));
            assert_eq!(outcome, expected, "{round} {record:?}");
            if wanted {
                check_changes(&changes, &told, record.header.zxid.0);
            }
            if round % 8 == 0 {
                history.model.check(&tree);
            }
        }
    }
}

/// As after a crash: a snapshot from somewhere, and a log that begins before it.
#[test]
fn replay_from_before_the_snapshot_ends_the_same() {
    for seed in 0..25 {
        println!("seed {seed}");
        let mut history = History::new(1000 + seed);
        let records: Vec<Vec<u8>> = (0..200)
            .map(|_| {
                let bytes = history.next();
                history.model.apply(&Record::decode(&bytes).unwrap(), &mut Vec::new());
                bytes
            })
            .collect();
        let apply = |tree: &mut Tree, from: usize, to: usize| {
            for bytes in &records[from..to] {
                tree.apply(&Record::decode(bytes).unwrap(), None);
            }
            tree.check_invariants();
        };
        let mut through = Tree::with_options(OPTIONS);
        let snapshot_at = history.random.below(records.len());
        let from = history.random.below(snapshot_at + 1);
        apply(&mut through, 0, snapshot_at);
        let image = through.begin_image().expect("none is under way");
        let bytes = walk(&mut through, &image, 10, |_| {});
        let mut replayed = load(&bytes, image.zxid).expect("it is a tree");
        apply(&mut through, snapshot_at, records.len());
        apply(&mut replayed, from, records.len());
        assert_eq!(dump(&replayed), dump(&through), "{from} {snapshot_at}");
    }
}
