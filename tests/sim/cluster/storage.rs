//! Slow work of the disks: starts, crashes, cuts, snapshots in both directions.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use ringkeeper::ids::{Epoch, Zxid};
use ringkeeper::reply::watch::WatchTable;
use ringkeeper::request::prepare::{PrepareConfig, Preparer};
use ringkeeper::request::session::{SessionIds, SessionTracker};
use ringkeeper::tree::image::{self, Progress};
use ringkeeper::tree::{Tree, TreeOptions};
use ringkeeper::wire::Writer;
use ringkeeper::wire::quorum::SNAPSHOT_SIGNATURE;
use ringkeeper::zab::{Config, Input, LinkId, Standing, Zab};

use super::outputs::CONFIG;
use super::{Cluster, Event};
use crate::checker::{Checker, Place};
use crate::disk::{Snapshot, encode_image};
use crate::network::{ConnectionId, Side};
use crate::node::{Server, Storage};
use crate::queue::{MILLI, Micros};

impl Cluster {
    /// Starts the process on what the disk has.
    pub(super) fn start(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life || self.nodes[node].server.is_some() {
            return;
        }
        let mut recovered = self.nodes[node].disk.recover(&self.checker.histories);
        self.checker.check_tree(node, recovered.place, &recovered.tree);
        Checker::check_owners(node, &recovered.tree);
        let surplus = recovered.recent.len().saturating_sub(self.plan.recent_max);
        recovered.recent.drain(..surplus);
        let last_logged = self.nodes[node].disk.last();
        let standing =
            Standing { accepted: recovered.accepted, current: recovered.current, last_logged };
        self.say(node, || format!("starts with {standing:?}"));
        self.trace.mix(self.queue.now(), 5 + ((node as u64) << 8));
        let now = self.nodes[node].clock.read(self.now());
        let wall = self.nodes[node].clock.wall(self.now());
        let config = self.config(node);
        let mut outputs = Vec::new();
        let zab = Zab::new(config, standing, recovered.recent.into(), now, &mut outputs);
        let number = u8::try_from(node + 1).expect("a few nodes");
        let ids = SessionIds::new(number, wall);
        let server = self.new_server(zab, recovered.tree, recovered.place, ids);
        let it = &mut self.nodes[node];
        it.server = Some(server);
        it.is_machine_up = true;
        it.planned = Micros::MAX;
        self.carry_out(node, outputs);
        self.plan_due(node);
    }

    fn config(&self, node: usize) -> Config {
        Config {
            me: self.nodes[node].id,
            is_observer: node >= self.plan.voters,
            quorum: self.quorum.clone(),
            text: CONFIG.into(),
            version: 0,
            timing: self.plan.timing,
            recent_max: self.plan.recent_max,
            reads_log: self.plan.reads_log,
            leader_serves: true,
            counter_max: self.plan.counter_max,
            mutations: self.mutations,
        }
    }

    fn new_server(&self, zab: Zab, tree: Tree, place: Place, ids: SessionIds) -> Server {
        let tick_ms = i32::try_from(self.plan.timing.tick_ms).expect("a short tick");
        Server {
            zab,
            tree,
            place,
            preparer: Preparer::new(PrepareConfig::default()),
            tracker: SessionTracker::new(tick_ms),
            ids,
            serving: None,
            is_open: false,
            is_listening: false,
            links: BTreeMap::new(),
            leader: None,
            election: vec![None; self.nodes.len()],
            dialing: 0,
            storage: None,
            image: None,
            txns_since_snapshot: 0,
            clients: BTreeMap::new(),
            sessions: BTreeMap::new(),
            handshakes: BTreeMap::new(),
            syncs: VecDeque::new(),
            own_syncs: VecDeque::new(),
            touched: BTreeMap::new(),
            syncs_due: BTreeMap::new(),
            commits_sent: BTreeMap::new(),
            left_out: BTreeMap::new(),
            watches: WatchTable::new(0),
            opened: Epoch(0),
            synced: Place::START,
        }
    }

    /// The process ends in the midst of what it does.
    pub(super) fn crash(&mut self, node: usize) {
        if self.nodes[node].server.is_some() {
            self.fall(node);
            self.plan_start(node);
        }
    }

    /// The process ends, and nothing starts it again.
    pub(super) fn fall(&mut self, node: usize) {
        let is_machine = self.random.one_in(2);
        let Some(server) = self.nodes[node].server.take() else { return };
        self.say(node, || format!("crashes{}", if is_machine { " with its machine" } else { "" }));
        self.trace.mix(self.queue.now(), 6 + ((node as u64) << 8));
        let it = &mut self.nodes[node];
        it.crash_in = None;
        it.is_machine_up = !is_machine;
        it.paused_until = 0;
        it.persisted_at = 0;
        let life = it.life;
        it.life += 1;
        self.crash_storage(node, server.storage, is_machine);
        for (id, side) in self.network.open_ends(node, life) {
            // A machine that is gone says nothing; of a process the kernel tells the peers.
            if is_machine || self.random.one_in(4) {
                self.network.vanish(id, side);
            } else {
                self.close(id, side);
            }
        }
        self.cut_clients_of(node, life);
    }

    /// What was being done to the disk is done in part.
    fn crash_storage(&mut self, node: usize, storage: Option<Storage>, is_machine: bool) {
        let steps = self.random.below(4);
        let disk = &mut self.nodes[node].disk;
        if !disk.is_flushed() || self.random.one_in(2) {
            return disk.crash(&mut self.random, !is_machine);
        }
        disk.crash(&mut self.random, !is_machine);
        match storage {
            Some(Storage::Truncating { to }) => {
                disk.truncate(to, steps);
            }
            Some(Storage::Installing(snapshot)) if steps > 1 => disk.install(&snapshot),
            Some(Storage::Installing(_) | Storage::Receiving { .. }) | None => {}
        }
    }

    pub(super) fn begin_storage(&mut self, node: usize, storage: Storage) {
        let takes = self.disk_takes(node) + 5 * MILLI;
        let life = self.nodes[node].life;
        self.nodes[node].server().storage = Some(storage);
        self.queue.plan_in(takes, Event::Stored(node, life));
    }

    /// A cut or a snapshot is in place.
    pub(super) fn on_stored(&mut self, node: usize) {
        let life = self.nodes[node].life;
        if !self.nodes[node].disk.is_flushed() {
            // The log is drained before anything is done to its files.
            return self.queue.plan_in(MILLI, Event::Stored(node, life));
        }
        let Some(storage) = self.nodes[node].server().storage.take() else { return };
        let disk = &mut self.nodes[node].disk;
        match storage {
            Storage::Truncating { to } => {
                if !disk.truncate(to, usize::MAX) {
                    return self.feed(node, Input::NotRebuilt); // no snapshot reaches so far back
                }
            }
            Storage::Installing(snapshot) => disk.install(&snapshot),
            Storage::Receiving { .. } => unreachable!("a stream is installed when it is there"),
        }
        let recovered = disk.recover(&self.checker.histories);
        let last = disk.last();
        self.checker.check_tree(node, recovered.place, &recovered.tree);
        Checker::check_owners(node, &recovered.tree);
        let server = self.nodes[node].server();
        server.tree = recovered.tree;
        server.place = recovered.place;
        server.image = None;
        self.on_cut(node);
        self.feed(node, Input::Rebuilt { last });
    }

    /// The tree as it is, into the link's bytes.
    pub(super) fn send_snapshot(&mut self, node: usize, link: LinkId) {
        let server = self.nodes[node].server();
        let Some((id, side)) = server.links.get(&link).copied() else { return };
        let mut bytes = encode_image(&mut server.tree);
        Writer::new(&mut bytes).string(SNAPSHOT_SIGNATURE);
        let place = server.place;
        self.network.get(id).streamed = place;
        self.send(id, side, |out| out.extend_from_slice(&bytes));
    }

    /// Reads a snapshot out of what has come, once all of it has.
    pub(super) fn read_stream(&mut self, node: usize, id: ConnectionId, side: Side) {
        let Some(Storage::Receiving { link, zxid }) = self.nodes[node].server().storage else {
            return;
        };
        let connection = self.network.get(id);
        let place = connection.streamed;
        let inbox = &mut connection.end(side).inbox;
        let Some((image, used)) = split_stream(inbox, zxid) else {
            return self.feed(node, Input::SnapshotMoved(link));
        };
        inbox.drain(..used);
        let at = self.checker.histories.zxid(place);
        assert!(at == zxid, "a snapshot that is said to be of {zxid} is of {at}");
        self.begin_storage(node, Storage::Installing(Snapshot { zxid, image, place }));
    }

    /// The rest of a snapshot will not come.
    pub(super) fn stop_receiving(&mut self, node: usize, link: LinkId) {
        let Some(server) = &mut self.nodes[node].server else { return };
        if server.is_streaming(link) {
            server.storage = None;
            self.feed(node, Input::NotRebuilt);
        }
    }

    /// A snapshot of the node's own is begun once enough has happened.
    pub(super) fn consider_snapshot(&mut self, node: usize) {
        let limit = self.plan.snap_count / 2 + self.plan.snap_count / 10 * node as u32;
        let life = self.nodes[node].life;
        let server = self.nodes[node].server();
        server.txns_since_snapshot += 1;
        if server.txns_since_snapshot < limit || server.image.is_some() {
            return;
        }
        server.txns_since_snapshot = 0;
        let image = server.tree.begin_image().expect("no image is under way");
        server.image = Some((image, server.place));
        self.nodes[node].disk.roll();
        let takes = self.around(100 * MILLI);
        self.queue.plan_in(takes, Event::Snapshot(node, life));
    }

    /// The snapshot is written: all at once here, from what the tree has saved of that moment.
    pub(super) fn on_snapshot(&mut self, node: usize) {
        let server = self.nodes[node].server();
        let Some((image, place)) = server.image.take() else { return };
        let mut bytes = Vec::new();
        image.encode_tables(&mut bytes);
        let mut walker = image.walker();
        let walked = walker.append(&server.tree, &mut bytes, usize::MAX / 16, usize::MAX / 16);
        assert_eq!(walked, Progress::Done, "the image is of this tree");
        drop(server.tree.end_image(&image));
        let zxid = image.zxid;
        self.nodes[node].disk.add_snapshot(Snapshot { zxid, image: bytes.into(), place });
    }
}

/// The image at the head of a stream, and how long both it and its signature are.
fn split_stream(bytes: &[u8], zxid: Zxid) -> Option<(Rc<[u8]>, usize)> {
    let mut rest = bytes;
    image::load(&mut rest, zxid, TreeOptions::default()).ok()?;
    let image = bytes.len() - rest.len();
    let mut signature = Vec::new();
    Writer::new(&mut signature).string(SNAPSHOT_SIGNATURE);
    rest.starts_with(&signature).then(|| (bytes[..image].into(), image + signature.len()))
}
