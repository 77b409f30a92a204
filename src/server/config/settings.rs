//! The configuration as the server uses it: typed, checked, units last.
//!
//! Plain data, made once by [`super::Config::load`] and never changed. A field's default stands in
//! the table of [`super::keys`], and nowhere else.

#![expect(clippy::struct_excessive_bools, reason = "zoo.cfg is full of independent switches")]

use std::fmt;
use std::path::PathBuf;

use super::members::Members;
use crate::ids::ServerId;
use crate::request::access::DigestAlgorithm;
use crate::request::throttle::BucketConfig;

/// Where clients connect.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListenAddress {
    /// A name or an address literal; `None` listens on every interface.
    pub host: Option<String>,
    /// 0 takes any free port.
    pub port: u16,
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            None => write!(f, "0.0.0.0:{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

/// Connections and what they may cost.
#[derive(Clone, Debug)]
pub struct Clients {
    /// `clientPort`, `clientPortAddress`, or this member's own line; `None` serves no client.
    pub address: Option<ListenAddress>,
    /// `secureClientPort`, `secureClientPortAddress`: kept until TLS is served.
    pub secure_address: Option<ListenAddress>,
    /// `clientPortListenBacklog` as written; -1 leaves it to the server.
    pub listen_backlog: i32,
    /// `maxClientCnxns` as written: connections for each client address; 0 or less does not limit
    /// them.
    pub connections_per_address_max: i32,
    /// `maxCnxns`: connections of the whole server; `None` does not limit them.
    pub connections_max: Option<u32>,
    /// `nio.sessionlessCnxnTimeout`: how long a connection may live without a session.
    pub sessionless_timeout_ms: u32,
    /// `clientTcpKeepAlive`.
    pub tcp_keep_alive: bool,
    /// `jute.maxbuffer`: the longest frame a client may send.
    pub frame_bytes_max: u32,
    /// `jute.maxbuffer.extrasize`: added to the former for records the server makes itself.
    pub frame_bytes_extra: u32,
    /// `globalOutstandingLimit`: past it, sockets with requests in flight are not read.
    pub outstanding_max: u32,
    /// `4lw.commands.whitelist` as written.
    pub four_letter_whitelist: String,
    /// `readonlymode.enabled`.
    pub read_only_mode: bool,
    /// `largeRequestThreshold`; `None` counts no request as large.
    pub large_request_bytes: Option<u32>,
    /// `largeRequestMaxBytes`: bytes of large requests in flight.
    pub large_requests_bytes_max: u32,
    /// `throttled_op_wait_time`; `None` throttles nothing.
    pub throttled_wait_ms: Option<u32>,
    /// `request_throttle_*`.
    pub request_throttle: RequestThrottle,
    /// `connection_throttle_*`.
    pub connection_throttle: Option<BucketConfig>,
}

/// `request_throttle_*` and `request_stale_*`: how many requests may be in the pipeline.
#[derive(Clone, Debug)]
pub struct RequestThrottle {
    /// `request_throttle_max_requests`; `None` turns it off.
    pub requests_max: Option<u32>,
    /// `request_throttle_stall_time`.
    pub stall_ms: u32,
    /// `request_throttle_drop_stale`.
    pub drop_stale: bool,
    /// `request_stale_connection_check`.
    pub stale_when_disconnected: bool,
    /// `request_stale_latency_check`.
    pub stale_when_late: bool,
}

/// How long a session may be silent.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// `tickTime`: the unit of the limits counted in ticks.
    pub tick_time_ms: u32,
    /// `minSessionTimeout`, or two ticks.
    pub timeout_ms_min: u32,
    /// `maxSessionTimeout`, or twenty ticks.
    pub timeout_ms_max: u32,
    /// `minSessionTimeout` and `maxSessionTimeout` as written, -1 where not set: for the log.
    pub timeouts_written_ms: (i32, i32),
    /// `localSessionsEnabled`.
    pub local: bool,
    /// `localSessionsUpgradingEnabled`.
    pub local_upgrading: bool,
    /// `closeSessionTxn.enabled`: list the removed nodes in the txn that closes a session.
    pub close_txn_lists_paths: bool,
}

/// The disk.
#[derive(Clone, Debug)]
pub struct Storage {
    /// `dataDir`: snapshots, epoch files, `myid`.
    pub data_dir: PathBuf,
    /// `dataLogDir`, or `dataDir`: transaction logs.
    pub data_log_dir: PathBuf,
    /// `datadir.autocreate`: make missing directories.
    pub directories_autocreate: bool,
    /// `db.autocreate`: an empty directory without a marker is a new, empty database.
    pub database_autocreate: bool,
    /// `snapshot.trust.empty`: start with logs but no snapshot.
    pub trust_empty_snapshot: bool,
    /// `ringkeeper.recovery.allowGaps`: go on where txns are missing from the log.
    pub recovery_allows_gaps: bool,
    /// `ringkeeper.recovery.cutDamagedTail`: discard the newest log from a damaged record on.
    pub recovery_cuts_damaged_tail: bool,
    /// `preAllocSize`: how far ahead a log file is made ready; `None` does not.
    pub preallocate_bytes: Option<u64>,
    /// `snapCount`: txns between snapshots, at least 2.
    pub snap_count: u32,
    /// `snapSizeLimitInKb`: log bytes between snapshots; `None` does not count them.
    pub snap_size_bytes: Option<u64>,
    /// `txnLogSizeLimitInKb`: the log rolls past it; `None` never for its size.
    pub log_roll_bytes: Option<u64>,
    /// `commitLogCount`: committed txns kept for learners, at least 500.
    pub commit_log_count: u32,
    /// `snapshotSizeFactor`: how much of a snapshot's size may be sent as log instead.
    pub snapshot_size_factor: f64,
    /// `fsync.warningthresholdms`: a slower flush is a warning.
    pub flush_warning_ms: u64,
    /// `forceSync`: flush before a txn counts as logged.
    pub force_sync: bool,
    /// `snapshot.compression.method`.
    pub snapshot_compression: Compression,
    /// `digest.enabled`: tree digests in log and snapshots.
    pub digest: bool,
    /// `serializeLastProcessedZxid.enabled`: that trailer in snapshots.
    pub snapshot_zxid_trailer: bool,
    /// `autopurge.snapRetainCount`: snapshots kept, at least 3.
    pub purge_retain_count: u32,
    /// `autopurge.purgeInterval`; `None` never purges.
    pub purge_interval_ms: Option<u64>,
}

/// How snapshots are stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compression {
    /// As they are.
    None,
    /// `gz`
    Gzip,
    /// `snappy`
    Snappy,
}

/// What the tree allows.
#[derive(Clone, Debug)]
pub struct Tree {
    /// `extendedTypesEnabled`: TTL nodes.
    pub extended_types: bool,
    /// `emulate353TTLNodes`: their first encoding.
    pub emulate_353_ttl: bool,
    /// `enforceQuota`: quotas refuse instead of warning.
    pub enforce_quota: bool,
    /// `skipACL=yes`: every request may do everything.
    pub skip_acl: bool,
    /// `enableEagerACLCheck`.
    pub eager_acl_check: bool,
    /// `znode.container.checkIntervalMs`: how often containers and TTL nodes are looked over.
    pub reap_interval_ms: u32,
    /// `znode.container.maxPerMinute`: how many of them may go in a minute.
    pub reap_per_minute_max: u32,
    /// `znode.container.maxNeverUsedIntervalMs`; `None` keeps containers that never had a child.
    pub container_never_used_ms: Option<u64>,
}

/// Who may do what.
#[derive(Clone, Debug)]
pub struct Auth {
    /// `DigestAuthenticationProvider.enabled`.
    pub digest_enabled: bool,
    /// `DigestAuthenticationProvider.superDigest`: `super:` and a hash.
    pub super_digest: Option<String>,
    /// `DigestAuthenticationProvider.digestAlg`, in Java's spelling.
    pub digest_algorithm: DigestAlgorithm,
    /// `IPAuthenticationProvider.usexforwardedfor`.
    pub ip_from_forwarded_header: bool,
    /// `enforce.auth.enabled`: a session must authenticate with one of the schemes below.
    pub enforced: bool,
    /// `enforce.auth.schemes`.
    pub enforced_schemes: Vec<String>,
    /// `sessionRequireClientSASLAuth`.
    pub require_client_sasl: bool,
    /// `allowSaslFailedClients`.
    pub allow_failed_sasl: bool,
    /// `ensembleAuthName`: names the `ensemble` scheme accepts.
    pub ensemble_names: Vec<String>,
    /// `superUser` and `superUser.*`, `X509AuthenticationProvider.superUser`.
    pub super_users: Vec<String>,
    /// `authProvider.*`: slot and class name, sorted by slot.
    pub providers: Vec<(String, String)>,
}

/// The admin server and the metrics providers: kept until they are served.
#[derive(Clone, Debug)]
pub struct Admin {
    /// `admin.enableServer`.
    pub enabled: bool,
    /// `admin.serverAddress` and `admin.serverPort`.
    pub address: ListenAddress,
    /// `admin.idleTimeout`.
    pub idle_timeout_ms: u32,
    /// `admin.commandURL`.
    pub command_url: String,
    /// `admin.rateLimiterIntervalInMS`: between two snapshots or restores.
    pub rate_limit_ms: u64,
    /// `admin.snapshot.enabled`.
    pub snapshot_enabled: bool,
    /// `admin.restore.enabled`.
    pub restore_enabled: bool,
    /// `audit.enable`.
    pub audit: bool,
    /// `metricsProvider.className` asks for the Prometheus endpoint.
    pub prometheus: Option<ListenAddress>,
}

/// This server's place among others. Kept, checked, and obeyed once there are others.
#[derive(Clone, Debug)]
pub struct Ensemble {
    /// `myid`; 0 for a server that stands alone without one, as `conf` prints it.
    pub my_id: ServerId,
    /// The members, when the rules make this a server among others; else it stands alone.
    pub members: Option<Members>,
    /// What `zoo.cfg.dynamic.next` holds: a membership proposed but not yet committed.
    pub members_next: Option<Members>,
    /// `dynamicConfigFile`
    pub dynamic_file: Option<PathBuf>,
    /// `initLimit`
    pub init_limit_ticks: u32,
    /// `syncLimit`
    pub sync_limit_ticks: u32,
    /// `connectToLearnerMasterLimit`, or `initLimit`.
    pub connect_limit_ticks: u32,
    /// `electionAlg`: 3.
    pub election_algorithm: u32,
    /// `peerType`, corrected by the members' list.
    pub observer: bool,
    /// `standaloneEnabled`
    pub standalone_enabled: bool,
    /// `reconfigEnabled`
    pub reconfig_enabled: bool,
    /// `quorumListenOnAllIPs`
    pub listen_on_all: bool,
    /// `syncEnabled`, `observer.syncEnabled`: an observer keeps log and snapshots.
    pub observer_keeps_log: bool,
    /// `observerMasterPort`; `None` serves no observers.
    pub observer_master_port: Option<u16>,
    /// `leaderServes`: a leader serves clients.
    pub leader_serves: bool,
    /// `cnxTimeout`
    pub connect_timeout_ms: u32,
    /// `electionPortBindRetry`; 0 retries for ever.
    pub bind_retry_max: u32,
    /// `oraclePath`
    pub oracle_path: Option<PathBuf>,
    /// `multiAddress.enabled`
    pub multi_address: bool,
    /// `tcpKeepAlive`
    pub tcp_keep_alive: bool,
    /// `fastleader.minNotificationInterval`: how soon a vote is sent again.
    pub notification_ms_min: u32,
    /// `fastleader.maxNotificationInterval`: how seldom, at most.
    pub notification_ms_max: u32,
}

/// Where threads run. Ours: nothing in `ZooKeeper` corresponds to it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Placement {
    /// `ringkeeper.shards`: session shards; `None` lets the server choose by its cores.
    pub shards: Option<usize>,
    /// `ringkeeper.cores`: the cores to use, in their order; empty uses those it is allowed.
    pub cores: Vec<usize>,
    /// `ringkeeper.pin`: fix each thread to its core.
    pub pin: bool,
}
