//! A node: what survives a crash, and the server that runs on it.

use std::collections::{BTreeMap, VecDeque};

use ringkeeper::ids::{Epoch, Millis, ServerId, SessionId, Xid, Zxid};
use ringkeeper::reply::watch::WatchTable;
use ringkeeper::request::prepare::Preparer;
use ringkeeper::request::session::{SessionIds, SessionTracker};
use ringkeeper::tree::Tree;
use ringkeeper::tree::image::Image;
use ringkeeper::wire::election::PeerState;
use ringkeeper::zab::{LinkId, Zab};

use crate::checker::Place;
use crate::disk::{Disk, Snapshot};
use crate::network::{ConnectionId, Side};
use crate::queue::Micros;
use crate::workload::{Answer, Look};

/// A node's own idea of the time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub offset: Micros,
    pub ppm: i64,
}

/// When the simulation's time began, for those who print it.
const WALL_START_MS: i64 = 1_700_000_000_000;

impl Clock {
    /// Monotonic, as the core is told it.
    pub fn read(self, now: Micros) -> Millis {
        Millis((now + now / 1_000_000 * self.ppm + self.offset) / 1000)
    }

    /// As txns carry it.
    pub fn wall(self, now: Micros) -> Millis {
        Millis(WALL_START_MS + self.read(now).0)
    }

    /// When this clock has come so far.
    pub fn when(self, deadline: Millis) -> Micros {
        let mut at = deadline.0.saturating_mul(1000).saturating_sub(self.offset);
        at -= at / 1_000_000 * self.ppm;
        // It gains or loses once a second, so that the first guess may be early.
        while self.read(at) < deadline {
            at += (deadline.0 - self.read(at).0) * 1000;
        }
        at
    }
}

/// See the module.
pub struct Node {
    pub id: ServerId,
    pub disk: Disk,
    pub clock: Clock,
    /// Counts starts and ends; what was meant for another life is lost.
    pub life: u32,
    /// `None` while the process is down.
    pub server: Option<Server>,
    /// Whether the machine answers for a process that is down.
    pub is_machine_up: bool,
    /// The process stands still until then.
    pub paused_until: Micros,
    /// It crashes behind so many more outputs of the core.
    pub crash_in: Option<u32>,
    /// When a deadline is planned.
    pub planned: Micros,
    /// Flushes take so much longer until then.
    pub stalled_until: Micros,
    /// When the last epoch file asked for is there.
    pub persisted_at: Micros,
}

/// Slow work of the disk that the core waits for.
#[derive(Clone)]
pub enum Storage {
    Truncating {
        to: Zxid,
    },
    /// The stream is on its way.
    Receiving {
        link: LinkId,
        zxid: Zxid,
    },
    /// All of it came.
    Installing(Snapshot),
}

/// A request of a client's connection that is not answered yet.
pub struct Pending {
    pub xid: Xid,
    pub kind: PendingKind,
    /// Made, and waits for those before it.
    pub answer: Option<Answer>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PendingKind {
    Write,
    Sync,
    Read(Look),
}

/// A client's connection, as its server has it.
pub struct Attached {
    /// `None` until the handshake is answered.
    pub session: Option<SessionId>,
    pub pending: VecDeque<Pending>,
}

/// A `sync` on its way to be answered at a leader, as the simulator knows it.
#[derive(Clone, Copy, Debug)]
pub struct SyncDue {
    /// Proposed before it.
    pub after: Zxid,
}

/// A process: gone with a crash.
pub struct Server {
    pub zab: Zab,
    pub tree: Tree,
    /// The tree's history.
    pub place: Place,
    pub preparer: Preparer,
    pub tracker: SessionTracker,
    pub ids: SessionIds,
    pub serving: Option<Epoch>,
    /// Clients are served.
    pub is_open: bool,
    pub is_listening: bool,
    pub links: BTreeMap<LinkId, (ConnectionId, Side)>,
    pub leader: Option<LinkId>,
    /// By peer.
    pub election: Vec<Option<(ConnectionId, Side)>>,
    /// Peers that are being dialed, a bit each.
    pub dialing: u64,
    pub storage: Option<Storage>,
    /// A snapshot being written, and the history it is of.
    pub image: Option<(Image, Place)>,
    pub txns_since_snapshot: u32,
    /// By the connection's number.
    pub clients: BTreeMap<u32, Attached>,
    pub sessions: BTreeMap<SessionId, u32>,
    /// New and moved sessions whose answer is awaited.
    pub handshakes: BTreeMap<SessionId, u32>,
    /// By the connection's number.
    pub watches: WatchTable,
    /// `sync`s sent to the leader, oldest first.
    pub syncs: VecDeque<(u32, Xid)>,
    /// As a leader: `sync`s of its own clients, and what was proposed before them, oldest first.
    pub own_syncs: VecDeque<(Zxid, u32, Xid)>,
    /// Sessions heard of since the last ping.
    pub touched: BTreeMap<SessionId, i32>,
    /// As a leader: `sync`s of each link.
    pub syncs_due: BTreeMap<LinkId, VecDeque<SyncDue>>,
    /// As a leader: the last commit sent on each link.
    pub commits_sent: BTreeMap<LinkId, Zxid>,
    /// As a leader with holes: what was left out on each link.
    pub left_out: BTreeMap<LinkId, Zxid>,
    /// As a learner: the epoch that its leader opens.
    pub opened: Epoch,
    /// As a learner: what was logged when all of the leader's history had come.
    pub synced: Place,
}

impl Node {
    /// The server of a process that is known to run.
    pub fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("the process runs")
    }

    /// What is being written takes as long as was said then, whatever is said later.
    pub fn stall_until(&mut self, until: Micros) {
        self.stalled_until = self.stalled_until.max(until);
    }
}

impl Server {
    /// Whether it leads, and is established.
    pub fn is_leading(&self) -> bool {
        self.serving.is_some() && self.zab.state() == PeerState::Leading
    }

    /// Whether what comes on this link is a snapshot.
    pub fn is_streaming(&self, link: LinkId) -> bool {
        matches!(self.storage, Some(Storage::Receiving { link: from, .. }) if from == link)
    }
}
