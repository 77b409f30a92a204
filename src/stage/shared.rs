//! What all threads of one server see.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

use crossbeam_queue::ArrayQueue;
use parking_lot::{Mutex, RwLock};

use crate::clock::Clock;
use crate::error::Fatal;
use crate::ids::{Millis, SessionId};
use crate::limits::RETURNING_MAX;
use crate::metrics::Metrics;
use crate::request::access::AccessConfig;
use crate::request::session::TimeoutRange;
use crate::request::throttle::{Bucket, BucketConfig, CrowdConfig};
use crate::stage::queue::Bell;
use crate::stage::service::ServiceCell;
use crate::stage::snapshot::SnapshotTurns;
use crate::tree::Tree;

/// What the stages need of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Longest frame accepted (`jute.maxbuffer`).
    pub frame_bytes_max: u32,
    /// What a client may negotiate.
    pub session_timeouts: TimeoutRange,
    /// Granularity of session expiry.
    pub tick_time_ms: i32,
    /// Connections of one address; 0 for any number.
    pub connections_per_address_max: usize,
    /// Connections in all; 0 for any number.
    pub connections_max: usize,
    /// Connections that there are descriptors for.
    pub open_files: OpenFiles,
    /// Writes in flight, above which a connection that has one may not add another.
    pub outstanding_max: usize,
    /// How long a connection may stay without a session.
    pub sessionless_ms: i64,
    /// Whether `stmk` waits for its operand.
    pub word_operand: WordOperand,
    /// Who may do what.
    pub access: AccessConfig,
    /// Whether new sessions are this server's alone, in an ensemble.
    pub local_sessions: bool,
    /// Whether they may become the ensemble's.
    pub local_sessions_upgrade: bool,
    /// Whether readers are served without a leader.
    pub read_only_mode: bool,
    /// Txns between snapshots.
    pub snap_count: u32,
    /// Bytes of log between snapshots.
    pub snap_bytes: Option<u64>,
    /// Between two looks for containers and TTL nodes to delete.
    pub reap_interval_ms: u32,
    /// Their pace.
    pub reap_per_minute_max: u32,
    /// A container that never had a child goes after this; 0 for never.
    pub container_never_used: Millis,
    /// `connection_throttle_*`
    pub bucket: Option<BucketConfig>,
    /// `request_throttle_*`
    pub crowd: Option<CrowdConfig>,
    /// `largeRequest*`
    pub large_requests: Option<LargeRequests>,
}

#[cfg(test)]
impl Settings {
    /// For tests: no limit that a test could run into, nothing that is off by default.
    pub fn plain() -> Self {
        Self {
            frame_bytes_max: 1 << 20,
            session_timeouts: TimeoutRange { min_ms: 4000, max_ms: 40_000 },
            tick_time_ms: 2000,
            connections_per_address_max: 0,
            connections_max: 0,
            open_files: OpenFiles::UNLIMITED,
            outstanding_max: 1000,
            sessionless_ms: 10_000,
            word_operand: WordOperand::Ignored,
            access: AccessConfig::default(),
            local_sessions: false,
            local_sessions_upgrade: false,
            read_only_mode: false,
            snap_count: 100_000,
            snap_bytes: None,
            reap_interval_ms: 60_000,
            reap_per_minute_max: 10_000,
            container_never_used: Millis(0),
            bucket: None,
            crowd: None,
            large_requests: None,
        }
    }
}

/// The limit of open files, and what it leaves to clients.
#[derive(Clone, Copy, Debug)]
pub struct OpenFiles {
    /// Of this process (`RLIMIT_NOFILE`).
    pub limit: usize,
    /// Connections of clients; the rest is for the server's own files.
    pub connections_max: usize,
}

impl OpenFiles {
    /// No limit.
    pub const UNLIMITED: Self = Self { limit: usize::MAX, connections_max: usize::MAX };
}

/// What follows a four-letter word and belongs to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WordOperand {
    /// The word is executed, and needs it.
    Awaited,
    /// The word is refused (`4lw.commands.whitelist`), whatever follows.
    Ignored,
}

/// How much of large requests may be on its way.
#[derive(Clone, Copy, Debug)]
pub struct LargeRequests {
    /// One with more bytes is large.
    pub bytes_above: usize,
    /// Of all large ones.
    pub bytes_max: usize,
}

/// Shared by all threads of one server.
pub struct Shared {
    /// The replicated state: one writer, the zab thread.
    pub tree: RwLock<Tree>,
    /// Never change while the server runs.
    pub settings: Settings,
    /// What clients may expect of this server.
    pub service: ServiceCell,
    /// Counters and latencies.
    pub metrics: Metrics,
    /// Writes submitted and not answered.
    pub outstanding: AtomicUsize,
    /// Their bytes.
    pub outstanding_bytes: AtomicUsize,
    /// Those of them that are large; counted where large ones are limited.
    pub large_bytes: AtomicUsize,
    /// Tokens for handshakes. Locked at each, where they are limited.
    pub bucket: Option<Mutex<Bucket>>,
    /// Held by whoever takes away files of the data directories: a purge that has chosen what is
    /// old must not meet a cut that takes what is new.
    pub files: Mutex<()>,
    /// Credentials that were refused.
    pub auth_failed: AtomicU64,
    /// Each shard's watches. Stored under the read side of the tree's lock, read under its write
    /// side: where there are none, changes need not be told.
    pub watches: Vec<AtomicUsize>,
    /// Who is connected.
    pub admission: Admission,
    /// Milliseconds since the server's start.
    pub clock: Clock,
    /// When the next snapshot may be begun.
    pub snapshots: SnapshotTurns,
    /// Sessions that clients have come back with, and shown the password of. Their turn with the
    /// zab thread may be late; they are heard of at once.
    pub returning: ArrayQueue<SessionId>,
    stopping: AtomicBool,
    /// To the control thread, which ends the process. One message is enough.
    failures: SyncSender<Fatal>,
    has_failed: AtomicBool,
    control: Arc<dyn Bell>,
}

impl Shared {
    /// What `shards` shards and the others share. A failure that ends the process is sent to
    /// `failures`, and `control` is rung.
    pub fn new(
        tree: Tree,
        settings: Settings,
        shards: usize,
        clock: Clock,
        (failures, control): (SyncSender<Fatal>, Arc<dyn Bell>),
    ) -> Self {
        let bucket = settings.bucket.clone();
        Self {
            tree: RwLock::new(tree),
            settings,
            service: ServiceCell::default(),
            bucket: bucket.map(|config| Mutex::new(Bucket::new(config, clock.now()))),
            large_bytes: AtomicUsize::new(0),
            metrics: Metrics::new(),
            outstanding: AtomicUsize::new(0),
            outstanding_bytes: AtomicUsize::new(0),
            files: Mutex::new(()),
            auth_failed: AtomicU64::new(0),
            watches: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            admission: Admission::default(),
            clock,
            snapshots: SnapshotTurns::default(),
            returning: ArrayQueue::new(RETURNING_MAX),
            stopping: AtomicBool::new(false),
            failures,
            has_failed: AtomicBool::new(false),
            control,
        }
    }

    /// Whether the server is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// No new work from here on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The process cannot go on: says so, and has it ended.
    pub fn fail(&self, fatal: Fatal) {
        tracing::error!("{fatal}");
        let _ = self.failures.try_send(fatal); // full: the end is under way already
        self.has_failed.store(true, Ordering::Release);
        self.control.ring();
    }

    /// Whether the process is to end.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// A write of so many bytes is on its way.
    pub fn add_outstanding(&self, bytes: usize) {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        self.outstanding_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.is_large(bytes) {
            self.large_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// It is answered, or its connection is gone.
    pub fn remove_outstanding(&self, bytes: usize) {
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
        self.outstanding_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if self.is_large(bytes) {
            self.large_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn is_large(&self, bytes: usize) -> bool {
        self.settings.large_requests.is_some_and(|large| bytes > large.bytes_above)
    }

    /// Watches of all shards.
    pub fn watch_count(&self) -> usize {
        self.watches.iter().map(|watches| watches.load(Ordering::Relaxed)).sum()
    }
}

/// Counts connections against their limits. Locked at accept and close only.
#[derive(Debug, Default)]
pub struct Admission {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug)]
pub enum Excess {
    /// `maxClientCnxns` connections of this address.
    Address,
    /// `maxCnxns` connections in all.
    Total,
    /// The descriptors that are left are for the server's own files.
    Descriptors(OpenFiles),
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("maxClientCnxns reached"),
            Self::Total => f.write_str("maxCnxns reached"),
            Self::Descriptors(OpenFiles { limit, connections_max }) => write!(
                f,
                "the limit of open files, {limit}, leaves room for {connections_max}: raise it \
                 (ulimit -n, LimitNOFILE= of the systemd unit)"
            ),
        }
    }
}

impl Admission {
    /// Counts a connection in, or says which limit it exceeds.
    pub fn enter(&self, address: IpAddr, settings: &Settings) -> Result<(), Excess> {
        let mut open = self.open.lock();
        let total_max = settings.connections_max;
        if total_max > 0 && open.total >= total_max {
            return Err(Excess::Total);
        }
        if open.total >= settings.open_files.connections_max {
            return Err(Excess::Descriptors(settings.open_files));
        }
        let of_address = open.by_address.get(&address).copied().unwrap_or_default();
        let address_max = settings.connections_per_address_max;
        if address_max > 0 && of_address >= address_max {
            return Err(Excess::Address);
        }
        open.total += 1;
        open.by_address.insert(address, of_address + 1);
        Ok(())
    }

    /// Counts a connection out.
    pub fn leave(&self, address: IpAddr) {
        let mut open = self.open.lock();
        open.total = open.total.saturating_sub(1);
        if let Some(count) = open.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }

    /// Connections open now.
    pub fn total(&self) -> usize {
        self.open.lock().total
    }
}
