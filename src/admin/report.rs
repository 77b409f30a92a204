//! What the threads know, gathered to answer a question. Plain data.
//!
//! Whoever gathers it fills in what [`super::four_letter::needs`] names and leaves the rest empty.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::ids::{Millis, ServerId, SessionId, Zxid};
use crate::metrics::Readings;
use crate::tree::QuotaSums;

/// Everything any question may need.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Needed by every word: a few numbers that cost nothing to read.
    pub facts: Facts,
    /// All threads' metrics.
    pub readings: Readings,
    /// The configuration in force.
    pub conf: Conf,
    /// Bytes on disk.
    pub sizes: Sizes,
    /// Every connection.
    pub connections: Vec<Connection>,
    /// Every session.
    pub sessions: Sessions,
    /// Sessions with ephemeral nodes, and the paths of those.
    pub ephemerals: Vec<(SessionId, Vec<String>)>,
    /// Connections with watches in the data table, and their paths, which may have fired and gone.
    pub watches: Vec<(SessionId, Vec<String>)>,
    /// How many watches of data there are.
    pub watch_counts: WatchCounts,
    /// Digests of the tree, oldest first.
    pub digests: Vec<(Zxid, i64)>,
    /// Quota limits and usage by namespace (first path component).
    pub quotas: BTreeMap<Box<str>, QuotaSums>,
    /// The process's environment, in the order to print it.
    pub environment: Vec<(&'static str, String)>,
}

/// Watches of data, in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WatchCounts {
    /// Connections that have some, or had.
    pub connections: usize,
    /// Paths, each counted once.
    pub paths: usize,
    /// Watches.
    pub watches: usize,
}

/// What a server is at the moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Alone.
    #[default]
    Standalone,
    /// It orders writes.
    Leader,
    /// It votes.
    Follower,
    /// It does not vote.
    Observer,
    /// Cut off from its quorum, serving read-only clients.
    ReadOnly,
}

impl Mode {
    /// As every tool spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Observer => "observer",
            Self::ReadOnly => "read-only",
        }
    }
}

/// Numbers about the server.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Whether requests are served; false while electing.
    pub serving: bool,
    /// What the server is.
    pub mode: Mode,
    /// A quorum member's step, for instance `following - broadcast`.
    pub peer_state: Option<String>,
    /// The follower an observer learns from, if not from the leader.
    pub observer_master: Option<ServerId>,
    /// The last txn applied.
    pub last_zxid: Zxid,
    /// Znodes, the root counted twice, as Java counts.
    pub node_count: u64,
    /// Bytes of paths and data.
    pub data_bytes: u64,
    /// Ephemeral nodes; containers and TTL nodes are not.
    pub ephemeral_count: u64,
    /// Watches of both tables.
    pub watch_count: u64,
    /// Open client connections.
    pub connection_count: u64,
    /// Requests between their coming and their answer.
    pub outstanding: u64,
    /// Sessions all servers know.
    pub session_count: u64,
    /// Sessions only this server knows.
    pub local_session_count: u64,
    /// Milliseconds since the server started to serve.
    pub uptime_ms: u64,
    /// Open files, `None` when unknown. Counted for those that show them.
    pub open_files: Option<u64>,
    /// How many files may be open, `None` when unknown.
    pub open_files_max: Option<u64>,
    /// Credentials that were refused.
    pub auth_failed: u64,
    /// The chance of a handshake to be turned away.
    pub drop_chance: f64,
    /// `gtmk`, `stmk`: kept and shown, never obeyed.
    pub trace_mask: i64,
    /// Voters, of a quorum member.
    pub quorum_size: Option<u64>,
    /// A leader's numbers.
    pub leader: Option<Leader>,
    /// Observers a follower serves.
    pub follower_observers: Option<u64>,
}

/// Java's trace mask before anyone set it.
pub const TRACE_MASK_DEFAULT: i64 = 306;

/// What only a leader knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leader {
    /// Learners connected.
    pub learners: u64,
    /// Followers in step.
    pub synced_followers: u64,
    /// Non-voting followers in step.
    pub synced_non_voting_followers: u64,
    /// Observers in step.
    pub synced_observers: u64,
    /// Sync requests waiting.
    pub pending_syncs: u64,
    /// Milliseconds since it leads.
    pub uptime_ms: u64,
    /// Bytes of the last, the least and the greatest proposal; -1 before the first.
    pub proposal_bytes: (i64, i64, i64),
}

/// `conf`: settings as they are in force.
#[derive(Clone, Debug, Default)]
pub struct Conf {
    /// The port clients use, -1 for none.
    pub client_port: i32,
    /// The TLS port, -1 for none.
    pub secure_client_port: i32,
    /// Where snapshots are, `version-2` included.
    pub data_dir: String,
    /// Where logs are, `version-2` included.
    pub data_log_dir: String,
    /// `tickTime`
    pub tick_time_ms: u32,
    /// `maxClientCnxns` as written.
    pub connections_per_address_max: i32,
    /// `minSessionTimeout`
    pub session_timeout_ms_min: u32,
    /// `maxSessionTimeout`
    pub session_timeout_ms_max: u32,
    /// `clientPortListenBacklog`
    pub listen_backlog: i32,
    /// `myid`
    pub server_id: ServerId,
    /// A quorum member's settings.
    pub quorum: Option<ConfQuorum>,
}

/// What `conf` says of a quorum member.
#[derive(Clone, Debug, Default)]
pub struct ConfQuorum {
    /// `initLimit`
    pub init_limit_ticks: u32,
    /// `syncLimit`
    pub sync_limit_ticks: u32,
    /// `electionAlg`
    pub election_algorithm: u32,
    /// Of this member's line.
    pub election_port: u16,
    /// Of this member's line.
    pub quorum_port: u16,
    /// `peerType`
    pub observer: bool,
    /// The members' lines and their version.
    pub membership: String,
}

/// Bytes on disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// Of snapshots.
    pub data_bytes: u64,
    /// Of logs.
    pub log_bytes: u64,
}

/// One client connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The client's address.
    pub peer: SocketAddr,
    /// Whether its socket is being read, or rests because too much is in flight.
    pub reading: bool,
    /// Requests in flight.
    pub queued: u64,
    /// Packets it sent.
    pub received: u64,
    /// Packets it was sent.
    pub sent: u64,
    /// Its session; `None` before the handshake.
    pub session: Option<ConnectionSession>,
    /// When it will be closed if it stays silent (wall clock).
    pub expires_at: Millis,
}

/// A connection's session.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSession {
    /// Its id.
    pub id: SessionId,
    /// The last op; `null` before the first, `NA` after a reset.
    pub last_op: &'static str,
    /// When it connected (wall clock).
    pub established_at: Millis,
    /// The negotiated timeout.
    pub timeout_ms: u32,
    /// The last request's number; not printed when negative.
    pub last_xid: i64,
    /// The last zxid it was told of; -1 for none since a reset.
    pub last_zxid: Zxid,
    /// When it was last answered (monotonic).
    pub last_response_at: Millis,
    /// Milliseconds its last request took.
    pub latency_last_ms: u64,
    /// The least.
    pub latency_min_ms: u64,
    /// The average.
    pub latency_avg_ms: u64,
    /// The greatest.
    pub latency_max_ms: u64,
}

/// Sessions by the time they expire (wall clock), earliest first. Empty times may be listed.
#[derive(Clone, Debug, Default)]
pub struct Expiries(pub Vec<(Millis, Vec<SessionId>)>);

/// What a server knows of sessions.
#[derive(Clone, Debug)]
pub enum Sessions {
    /// It decides when they expire: alone, or the leader. Local ones apart where there are such.
    Tracked {
        /// Sessions only this server knows.
        local: Option<Expiries>,
        /// Sessions all servers know.
        global: Expiries,
    },
    /// A learner: another server decides.
    Learned {
        /// Sessions only this server knows.
        local: Option<Expiries>,
        /// The others, with their timeouts in milliseconds, by id.
        global: Vec<(SessionId, u32)>,
    },
}

impl Default for Sessions {
    fn default() -> Self {
        Self::Tracked { local: None, global: Expiries::default() }
    }
}
