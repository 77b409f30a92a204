//! The history is cut while a snapshot of it is being written. The log thread is played.

use std::borrow::Cow;
use std::fs;
use std::thread;
use std::time::Duration;

use parking_lot::RwLockWriteGuard;
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::ids::{SessionId, Xid};
use crate::limits::{LOG_QUEUE_MAX, STORAGE_QUEUE_MAX};
use crate::log::snapshot::{self as file, Compression};
use crate::stage::queue::{Bell, ParkBell, Receiver, StickyBell, bounded};
use crate::stage::shared::Settings;
use crate::stage::snapshot;
use crate::wire::code::OpCode;
use crate::wire::quorum::SNAPSHOT_SIGNATURE;
use crate::wire::txn::{CreateTxn, Record, Txn, TxnHeader};
use crate::wire::{Acl, Writer};

/// Where all histories end here, and the names of its snapshots.
const LAST: i64 = 1000;
const WRITTEN: &str = "snapshot.3e8";
const UNFINISHED: &str = "unfinished.snapshot.3e8";
const INSTALLING: &str = "installing.snapshot.3e8";

/// Enough for several holds of the tree's lock.
const NODES: i64 = LAST;

const NODES_OF_LEADER: i64 = 3;

const PATIENCE: Duration = Duration::from_mins(1);

fn tree(nodes: i64) -> Tree {
    let mut tree = Tree::new();
    for zxid in LAST - nodes + 1..=LAST {
        let (session, time) = (SessionId(1), Millis(0));
        let header =
            TxnHeader { session, cxid: Xid(1), zxid: Zxid(zxid), time, op: OpCode::Create };
        let create = CreateTxn {
            path: Cow::Owned(format!("/{zxid}")),
            data: None,
            acl: vec![Acl::anyone(31)],
            ephemeral: false,
            parent_cversion: 1,
        };
        tree.apply(&Record { header, txn: Txn::Create(create), digest: None }, None);
    }
    tree
}

/// What a leader sends whose tree is small.
fn stream() -> Stream {
    let mut tree = tree(NODES_OF_LEADER);
    let image = tree.begin_image().unwrap();
    let mut bytes = Vec::new();
    image.encode_tables(&mut bytes);
    image.walker().append(&tree, &mut bytes, 100, 100_000);
    Writer::new(&mut bytes).string(SNAPSHOT_SIGNATURE);
    let (piece, pieces) = sync_channel(1);
    piece.send(bytes).unwrap();
    let moved = StickyBell::new(Arc::new(ParkBell::default()));
    Stream { zxid: Zxid(LAST), pieces, moved }
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !is() {
        assert!(clock.elapsed() < PATIENCE, "{what}");
        thread::yield_now();
    }
}

/// What is around a storage thread. The snapshot thread is real.
struct Scene {
    dir: TempDir,
    shared: Arc<Shared>,
    snapshots: SyncSender<SnapshotAsk>,
    logged: Receiver<LogAsk>,
}

impl Scene {
    fn new() -> (Self, Parts) {
        let dir = tempfile::tempdir().unwrap();
        let bell: Arc<dyn Bell> = Arc::new(ParkBell::default());
        let control = (sync_channel(1).0, Arc::clone(&bell));
        let shared = Shared::new(tree(NODES), Settings::plain(), 0, Clock::start(), control);
        let shared = Arc::new(shared);
        let (log, logged) = bounded(LOG_QUEUE_MAX, Arc::clone(&bell));
        let (snapshots, asked) = sync_channel(0);
        let (snap_dir, compression) = (dir.path().to_owned(), Compression::None);
        let options = SnapshotOptions { snap_dir, compression, zxid_trailer: false };
        let parts = Parts {
            shared: Arc::clone(&shared),
            asks: sync_channel(1).1,
            answers: bounded(STORAGE_QUEUE_MAX, bell).0,
            log,
            snapshots: snapshots.clone(),
            options: options.clone(),
            log_dir: dir.path().to_owned(),
            recover: RecoverOptions::plain(),
            config: ConfigText { text: "".into(), version: Zxid::ZERO },
        };
        let work = Arc::clone(&shared);
        thread::spawn(move || snapshot::run(&asked, &work, &options));
        (Self { dir, shared, snapshots, logged }, parts)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }

    fn has(&self, name: &str) -> bool {
        self.dir.path().join(name).exists()
    }

    /// As the zab thread does it.
    fn hand_over(&self, tree: &mut Tree) {
        let image = tree.begin_image().expect("there is room");
        self.shared.snapshots.begin();
        self.snapshots.send(SnapshotAsk::Write(image)).unwrap();
    }

    /// A snapshot is being written, and gets no further before the lock is let go.
    fn in_the_midst(&self) -> RwLockWriteGuard<'_, Tree> {
        let mut tree = self.shared.tree.write();
        self.hand_over(&mut tree);
        wait_until("a snapshot is begun", || self.has(UNFINISHED));
        tree
    }

    /// What the log thread is asked once the snapshot thread is done.
    fn cut_asked(&self) -> (Cut, SyncSender<bool>) {
        let mut asked = None;
        wait_until("the log is to be cut", || {
            asked = self.logged.pop();
            asked.is_some()
        });
        let Some(LogAsk::Cut(cut, done)) = asked else { panic!("something else was asked") };
        (cut, done)
    }

    /// One that is begun now is taken, and nothing is left of those before.
    fn takes_the_next(&self) -> bool {
        assert!(self.shared.snapshots.is_free(0));
        self.hand_over(&mut self.shared.tree.write());
        wait_until("a snapshot is taken", || !self.shared.snapshots.is_under_way());
        self.names() == [WRITTEN]
    }
}

/// The rest of it may take minutes, and the leader waits for `initLimit`.
#[test]
fn a_cut_does_not_wait_for_the_rest_of_a_snapshot() {
    for can_be_done in [true, false] {
        let (scene, parts) = Scene::new();
        let tree = scene.in_the_midst();
        let cut = thread::spawn(move || parts.cut(Cut::Truncate(Zxid(9))).unwrap());
        wait_until("it is given up", || scene.shared.snapshots.check().is_err());
        drop(tree);
        let (_, done) = scene.cut_asked();
        assert_eq!(scene.names(), [""; 0], "nothing of it is left");
        done.send(can_be_done).unwrap();
        assert_eq!(cut.join().unwrap(), can_be_done);
        assert!(scene.shared.snapshots.take_owed(), "another is due");
        assert!(scene.takes_the_next());
    }
}

/// Handed over when the cut has said that none is wanted, and before the thread hears its own ask.
#[test]
fn a_snapshot_that_comes_right_before_a_cut_is_given_up_too() {
    let (scene, parts) = Scene::new();
    scene.shared.snapshots.give_up();
    scene.hand_over(&mut scene.shared.tree.write());
    let cut = thread::spawn(move || parts.cut(Cut::Truncate(Zxid(9))).unwrap());
    let (_, done) = scene.cut_asked();
    assert_eq!(scene.names(), [""; 0]);
    done.send(true).unwrap();
    assert!(cut.join().unwrap());
    assert!(scene.shared.snapshots.take_owed(), "another is due");
    assert!(scene.takes_the_next());
}

/// Of the same txn, as both may be: neither writes into the other's file.
#[test]
fn a_leaders_snapshot_is_installed_while_one_is_being_written() {
    let (scene, parts) = Scene::new();
    let dir = scene.dir.path();
    let tree = scene.in_the_midst();
    let receive = thread::spawn(move || parts.receive(stream()).unwrap());
    wait_until("the leader's is whole", || scene.has(INSTALLING));
    assert_eq!(scene.names(), [INSTALLING, UNFINISHED]);
    drop(tree);
    let (cut, done) = scene.cut_asked();
    assert!(matches!(cut, Cut::Install(Zxid(LAST))));
    assert_eq!(scene.names(), [INSTALLING], "the other was given up");
    file::install(dir, dir).unwrap().expect("it waits");
    done.send(true).unwrap();
    let received = receive.join().unwrap().expect("the stream is whole").node_count();
    assert_eq!(received, self::tree(NODES_OF_LEADER).node_count());
    let recovered = recover::recover(dir, dir, &RecoverOptions::plain(), &StopFlag::default());
    assert_eq!(recovered.unwrap().tree.node_count(), received);
    assert!(!scene.shared.snapshots.take_owed(), "the leader's is in its place");
    assert!(scene.takes_the_next());
}
