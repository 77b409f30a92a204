//! Every bound in one place, with what proves that they fit together.

/// Java's default `jute.maxbuffer`; a longer frame closes the connection.
pub const FRAME_BYTES_MAX_DEFAULT: u32 = 0xf_ffff;

/// The largest `jute.maxbuffer`; one that is larger is lowered to it.
pub const FRAME_BYTES_MAX_CEILING: u32 = 1 << 30;

/// Proposals between the zab thread and the log thread; one more waits in the shards.
pub const PROPOSALS_IN_FLIGHT_MAX: usize = 8192;

/// Bytes of proposals between the zab thread and the log thread.
pub const PROPOSAL_BYTES_IN_FLIGHT_MAX: usize = 64 << 20;

/// Requests a shard may have waiting for the zab thread.
pub const REQUEST_QUEUE_MAX: usize = 4096;

/// Batches of commits a shard may have waiting to be told to its clients.
pub const COMMIT_QUEUE_MAX: usize = 1024;

/// Replies and events waiting for a client that does not read: past it, its requests wait.
pub const OUTBOX_BYTES_PAUSE: usize = 1 << 20;

/// The longest reply to a multiRead, which may ask for one large node over and over.
pub const MULTI_READ_BYTES_MAX: usize = 64 << 20;

/// Writes with the zab thread: past it, a connection that has one may not add another.
pub const OUTSTANDING_BYTES_MAX: usize = 64 << 20;

/// Events behind a full outbox that a client does not read: past it, the connection is closed.
pub const EVENT_BYTES_MAX: usize = 16 << 20;

/// Keys (first path components, server ids) a thread keeps metrics for; the rest counts as one.
pub const METRIC_KEYS_MAX: usize = 64;

const _: () = assert!(OUTBOX_BYTES_PAUSE < EVENT_BYTES_MAX, "a client is paused before it is cut");

/// Bytes read and thrown away from a peer after the end of the stream was sent to it.
pub const DRAIN_BYTES_MAX: u32 = 256 << 10;

/// How long a closing connection may go without getting on.
pub const CLOSE_STALL_MS_MAX: u64 = 2000;

/// How long accepting rests after it failed for want of descriptors or memory.
pub const ACCEPT_BACKOFF_MS: u64 = 100;

/// Descriptors that clients leave to the server itself: standard streams, locks, logs, segments
/// made ready, snapshots, epoch files, folders that are listed or flushed, wakers, and as many
/// again for what a moment brings. Without one the log cannot go on, which ends the process.
pub const DESCRIPTORS_FOR_FILES: usize = 64;

/// The same for each shard: its ring, its waker, its listener, and one to spare.
pub const DESCRIPTORS_PER_SHARD: usize = 4;

/// The same for the peers of a member: strangers, guests, and a hundred servers.
pub const DESCRIPTORS_FOR_PEERS: usize =
    ELECTION_STRANGERS_MAX + ELECTION_GUESTS_MAX + QUORUM_STRANGERS_MAX + 200;

/// How long opening a file waits for a descriptor, which connections that are being turned away
/// may have for a moment: so many tries, so far apart.
pub const DESCRIPTOR_TRIES_MAX: u32 = 1000;

/// See [`DESCRIPTOR_TRIES_MAX`].
pub const DESCRIPTOR_PAUSE_MS: u64 = 1;

/// A vector that grew larger is freed instead of kept for reuse, so that idle connections are
/// small.
pub const POOL_VECTOR_BYTES_MAX: usize = 64 << 10;

/// Bytes of vectors that a reactor keeps for reuse.
pub const POOL_BYTES_MAX: usize = 4 << 20;

/// Sessions a server keeps; past it a new client is refused and tries elsewhere.
pub const SESSIONS_MAX: usize = 4 << 20;

/// Writes of one connection the zab thread has not answered; its next request waits.
pub const CONNECTION_WRITES_IN_FLIGHT_MAX: u32 = 1024;

/// Watches of one connection; past it the connection is closed, as a watch that is silently
/// missing would leave its client waiting for ever.
pub const CONNECTION_WATCHES_MAX: u32 = 4 << 20;

/// Watches of one shard; past it, as for a connection that has too many.
pub const SHARD_WATCHES_MAX: u32 = 1 << 28;

/// The first log segment after a start; each that runs full is followed by one twice as large.
pub const SEGMENT_BYTES_FIRST: u64 = 4 << 20;

/// The largest log segment, whatever `preAllocSize` says; a larger record gets one that fits.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

const _: () = assert!(SEGMENT_BYTES_FIRST < SEGMENT_BYTES_MAX, "segments grow");

/// Zeros laid down in one go where the next segment is made ready: a flush of the log that comes
/// meanwhile waits no longer than the disk needs for these.
pub const SEGMENT_STRETCH_BYTES: u64 = 256 << 10;

const _: () = assert!(SEGMENT_BYTES_FIRST.is_multiple_of(SEGMENT_STRETCH_BYTES), "whole stretches");

/// Bytes of records that are gathered for one write of the log; a flush of more is several.
pub const SEGMENT_STAGING_BYTES: u64 = 1 << 20;

/// Orders that may wait for the thread that makes segments ready.
pub const GROUNDWORK_QUEUE_MAX: usize = 16;

/// Gaps in the log that are listed one by one; the rest is counted.
pub const FINDINGS_MAX: u64 = 100;

/// The largest block accepted in a snappy snapshot; Java writes 32 KiB.
pub const SNAPPY_BLOCK_BYTES_MAX: usize = 64 << 20;

/// Proposals kept back for the server's own: expiries and reaped nodes need no client's leave.
pub const PROPOSALS_RESERVED: usize = 4096;

const _: () = assert!(PROPOSALS_RESERVED < PROPOSALS_IN_FLIGHT_MAX, "clients have their share");

/// Appends and rolls that may wait for the log thread: every proposal, and a few rolls.
pub const LOG_QUEUE_MAX: usize = PROPOSALS_IN_FLIGHT_MAX + 64;

/// How often the log thread lets others go on before a flush, or a leader's zab thread before it
/// sends, at most: most are done by then.
pub const GATHER_YIELDS_MAX: usize = 4;

/// Proposals in flight from which on a leader lets others go on before it sends: with fewer, each
/// is waited for.
pub const GATHER_PROPOSALS_MIN: usize = 16;

/// A flush that takes longer is slow; a disk that is free, and a log thread that gets the core, are
/// ten times as fast.
pub const FLUSH_SLOW_US: u64 = 2000;

/// A slow flush, or a core that is long in coming back, counts as much as so many others: on a
/// machine that is the server's own fewer are slow.
pub const SLOW_WEIGHT: u32 = 8;

/// What they may come to before a thread lets nobody go first any more: two at once, or one in
/// eight for a while.
pub const SLOWNESS_MAX: u32 = 16;

/// For how long, at first and at most.
pub const COURTESY_PAUSE_MS: (u64, u64) = (1000, 64_000);

/// Bytes of records that share a flush, but for the last.
pub const LOG_BATCH_BYTES_MAX: usize = 4 << 20;

/// Commits applied under one hold of the tree's write lock: bounds how long reads wait.
pub const COMMITS_PER_TURN_MAX: usize = 512;

/// Commits whose nodes are looked up side by side: as many as the nearest memory holds.
pub const APPLIED_AT_ONCE_MAX: usize = 16;

/// Asks whose nodes are looked up side by side: likewise.
pub const ASKS_AT_ONCE_MAX: usize = 16;

/// How long the zab thread stays awake, giving way to others, when a proposal is on its way to the
/// disk: a few flushes of a fast one. Of a slow disk's flush it is a small part.
pub const DURABLE_PATIENCE_US_MAX: u64 = 500;

/// How long it stays awake, giving way to others, for the next proposal after the last in flight
/// was committed: a client that waits for each reply has answered by then. 100 writes a second,
/// far apart, cost 2 % of a core so.
pub const NEXT_PATIENCE_US_MAX: u64 = 200;

/// Whoever takes the core for so long when the zab or the log thread gives way is most likely not
/// one of the server's own threads: these have less to do at a time, but for a shard with costly
/// reads to serve.
pub const GIVEN_WAY_US_MAX: u64 = 1000;

/// How long it does not stay awake then: another program wants the core.
pub const CROWDED_MS: u64 = 100;

/// Proposals in flight above which it sleeps all the same: many share one wake-up, and need the
/// core.
pub const PATIENT_PROPOSALS_MAX: usize = 8;

/// Asks the zab thread takes before it looks at commits again.
pub const INTAKE_PER_TURN_MAX: usize = 512;

/// How long a shard serves before it looks at its sockets again: long replies to many would keep it
/// from hearing who else is alive.
pub const SERVING_PER_TURN_US_MAX: u64 = 5_000;

/// Requests of one connection before others have their turn.
pub const REQUESTS_PER_TURN_MAX: usize = 256;

/// Identities one connection may have; all of them together as many bytes as a frame.
pub const IDENTITIES_MAX: usize = 64;

/// Answers of long access lists that are remembered, a few megabytes: of as many lists as a request
/// can name, or as many watchers as a shard has clients.
pub const GRANTS_KEPT_MAX: usize = 1 << 16;

/// Sessions that clients come back with, between two turns of the zab thread.
pub const RETURNING_MAX: usize = 1 << 14;

/// One complaint about clients per shard in this time; the rest are counted.
pub const COMPLAINT_INTERVAL_MS: i64 = 1000;

/// Four-letter words waiting for the control thread.
pub const WORDS_QUEUE_MAX: usize = 1024;

/// Questions of the control thread waiting for a shard.
pub const QUESTIONS_QUEUE_MAX: usize = 2 * WORDS_QUEUE_MAX;

/// Nodes of quotas that `mntr` reads under one hold of the tree's read lock.
pub const QUOTA_NODES_AT_ONCE: usize = 256;

/// Nodes a snapshot reads under one hold of the tree's read lock.
pub const SNAPSHOT_CHUNK_NODES: usize = 128;

/// Bytes after which it lets go all the same.
pub const SNAPSHOT_CHUNK_BYTES: usize = 64 << 10;

/// Bytes of a snapshot after which the disk is given time to write them, and time for the log.
pub const SNAPSHOT_STRETCH_BYTES: u64 = 1 << 20;

/// A snapshot is followed by so many times its own duration without one, however many txns come:
/// so writing them takes a tenth of the time at most, and the log to be replayed after a crash is
/// bounded by what is written in ten times that.
pub const SNAPSHOT_REST_FACTOR: u64 = 9;

/// Images of the tree under way: one for the snapshot, the rest for learners that are behind.
pub const IMAGES_MAX: usize = 8;

/// Containers and TTL nodes looked at by one look, and so those that are known to be due.
/// Nothing else is ordered meanwhile, so it is to be short.
pub const REAP_CANDIDATES_MAX: usize = 1000;

/// Text of the addresses in an election handshake: Java reads no more.
pub const HANDSHAKE_ADDRESS_BYTES_MAX: usize = 2048;

/// A message on an election connection; it holds a vote and a configuration.
pub const NOTIFICATION_BYTES_MAX: u32 = 512 << 10;

/// Data of a quorum packet: Java's `jute.maxbuffer` twice, as it reads a record with as much again.
pub const QUORUM_PACKET_BYTES_MAX_DEFAULT: u32 = 2 * FRAME_BYTES_MAX_DEFAULT;

/// Data of the packets a peer sends before it is known to be a member.
pub const QUORUM_PACKET_BYTES_MAX_STRANGER: u32 = 64;

/// Identities in one forwarded request; a Java server does not count those of a connection.
pub const FORWARDED_IDENTITIES_MAX: usize = 1024;

const _: () = assert!(IDENTITIES_MAX <= FORWARDED_IDENTITIES_MAX, "what we send we accept");

/// How long telling the service manager something may take, should it not listen.
pub const NOTIFY_WAIT_MS_MAX: u64 = 1000;

/// How long `zkserver start` waits until its server serves; recovering a large log takes longer,
/// and the server goes on with it.
pub const START_WAIT_MS_MAX: u64 = 60_000;

/// How long `zkserver stop` waits until its server is gone.
pub const STOP_WAIT_MS_MAX: u64 = 30_000;

/// How long a server that `zkserver status` or `doctor` asks may take to answer.
pub const STATUS_WAIT_MS_MAX: u64 = 5000;

/// Text of an answer to a four-letter word that is read; `srvr` has some hundred bytes.
pub const STATUS_BYTES_MAX: u64 = 64 << 10;

/// Servers without a vote whose election messages are answered in one interval.
pub const STRANGERS_MAX: usize = 256;

/// How soon one of them is answered again; a looking server asks each 200 ms.
pub const STRANGER_ANSWER_INTERVAL_MS: i64 = 50;

/// Learners connected to one leader; another is closed, and tries again.
pub const LEARNERS_MAX: usize = 1024;

/// Committed txns in memory for learners, in bytes, however many `commitLogCount` allows.
pub const RECENT_BYTES_MAX: usize = 16 << 20;

/// The same while a learner's part is read from the log: what follows it must not be forgotten.
pub const RECENT_BYTES_HELD_MAX: usize = 64 << 20;

/// Txns read from the log for one learner; one that lacks more gets a snapshot.
pub const LOG_SYNC_BYTES_MAX: usize = 32 << 20;

/// Bytes that may wait in the socket's queue for one learner: a whole difference, or all that is
/// proposed behind a snapshot. Past it the learner is too slow: its link is closed, and it begins
/// again.
pub const LEARNER_QUEUE_BYTES_MAX: usize = 256 << 20;

const _: () = assert!(
    LOG_SYNC_BYTES_MAX + RECENT_BYTES_HELD_MAX + PROPOSAL_BYTES_IN_FLIGHT_MAX
        < LEARNER_QUEUE_BYTES_MAX,
    "a learner that is being synced is not too slow"
);

/// Packets a learner holds while its log is cut; its socket is not read meanwhile.
pub const PACKETS_HELD_MAX: usize = 1 << 16;

/// Proposals that a learner has not logged, before its leader says that it is up to date: those
/// that are not committed, of which no leader has as many outstanding, and all that came while its
/// disk was to have history and epoch: its socket is not read past [`UNFLUSHED_MAX`] of them, nor
/// past [`UNFLUSHED_BYTES_MAX`].
pub const UNLOGGED_MAX: usize = 1 << 16;

const _: () = assert!(
    PROPOSALS_IN_FLIGHT_MAX + UNFLUSHED_MAX < UNLOGGED_MAX,
    "no leader of ours proposes too much"
);

/// Attempts to connect to the elected leader's quorum port, which may not be open yet: another so
/// long after each, the last excepted. It opens within a moment, a Java leader up to 200 ms after
/// this server has decided for it, or something is wrong.
pub const DIAL_PAUSES_MS: [i64; 10] = [1, 2, 5, 10, 20, 50, 100, 100, 200, 200];

/// How long a server that has failed to join a leader several times waits before it looks again, at
/// first and at most; the first few times it does not wait.
pub const REJOIN_PAUSE_MS: (i64, i64) = (100, 1600);

/// Terms that may fail in a row before the first pause.
pub const FAILED_TERMS_FREE: u32 = 2;

/// How often a looking server dials voters it is not connected to, however long the interval of its
/// notifications has become: a healed network is noticed soon.
pub const REDIAL_INTERVAL_MS: i64 = 2000;

/// When a new leader begins to mind voters that still look for one: time enough for those that
/// elected it to make up their minds, be they Java's, which wait 200 ms before they do.
pub const FORSAKEN_AFTER_MS: i64 = 600;

/// Proposals a learner has appended that its disk is behind with: past it, its leader's socket is
/// not read. Those that only lack a commit do not count, as that commit is in the socket.
pub const UNFLUSHED_MAX: usize = PROPOSALS_IN_FLIGHT_MAX / 2;

/// Their bytes, likewise: as many as a leader of ours has in flight.
pub const UNFLUSHED_BYTES_MAX: usize = PROPOSAL_BYTES_IN_FLIGHT_MAX;

/// What the zab thread may have asked of the storage thread: one epoch, cut or snapshot at a time,
/// and a look into the log for each learner that is behind.
pub const STORAGE_QUEUE_MAX: usize = 256;

/// Looks into the log at once; one more learner gets a snapshot.
pub const LOG_READS_MAX: usize = STORAGE_QUEUE_MAX / 2;

/// Pieces of a snapshot stream between the socket and the thread that makes a tree of them, or the
/// other way: past it the socket, or the tree's walker, waits.
pub const STREAM_PIECES_MAX: usize = 16;

/// Bytes of such a piece, about.
pub const STREAM_PIECE_BYTES: usize = 128 << 10;

/// Bytes of snapshot stream that wait for a learner's socket: past it no more are made.
pub const STREAM_OUTBOX_BYTES_MAX: usize = 1 << 20;

/// Requests of learners that a leader has not ordered yet: each learner keeps to its own bounds, so
/// more than this is no learner's behaviour, and whoever sends the next one is let go.
pub const LEARNER_ASKS_MAX: usize = 1 << 18;

/// Bytes of them: what four learners and more may have outstanding of the largest requests.
pub const LEARNER_ASK_BYTES_MAX: usize = 512 << 20;

const _: () = assert!(4 * OUTSTANDING_BYTES_MAX < LEARNER_ASK_BYTES_MAX, "learners keep to theirs");

/// Bytes of requests that wait for the leader's socket: past it the shards' requests wait.
pub const LEADER_OUTBOX_BYTES_MAX: usize = 4 << 20;
/// Connections to the election port that have not said who they are; past it the oldest goes.
pub const ELECTION_STRANGERS_MAX: usize = 256;

/// Election connections of servers that are no members (joiners, observers): the same.
pub const ELECTION_GUESTS_MAX: usize = 64;

/// Votes that a peer has not read; past it only the newest waits, and replaces the one before.
pub const ELECTION_OUTBOX_BYTES_MAX: usize = 64 << 10;

/// Votes of one peer that are told at once, the newest; Java's queue holds as many of all peers.
pub const NOTIFICATIONS_PER_TURN_MAX: usize = 100;

/// Calls to a greater server that it has not returned, after which the log says so.
pub const CALLS_WITHOUT_ANSWER: u32 = 3;

/// Connections to the quorum port that have not said who they are; past it the oldest goes.
pub const QUORUM_STRANGERS_MAX: usize = 256;

/// Packets taken from one quorum connection before others have their turn.
pub const LINK_PACKETS_PER_TURN_MAX: usize = 1024;

/// Addresses tried for one server; a name may have more.
pub const DIAL_ADDRESSES_MAX: usize = 8;

/// How long an address has been tried alone before the next is tried beside it.
pub const DIAL_STAGGER_MS: i64 = 100;

/// A server is dialed once in this time, whoever wishes it.
pub const DIAL_GAP_MS: i64 = 100;

/// Threads that wait for name servers, at most.
pub const RESOLVER_THREADS_MAX: usize = 8;

/// Look-ups that are under way or wait for one of them.
pub const RESOLVER_QUEUE_MAX: usize = 256;

/// How soon the election port is tried again after it could not be bound, as Java does.
pub const ELECTION_BIND_RETRY_MS: i64 = 1000;

/// The same for the quorum port, which this server itself may only just have closed.
pub const QUORUM_BIND_RETRY_MS: i64 = 50;

/// How seldom a trouble that lasts is mentioned in the log.
pub const COMPLAINT_INTERVAL_MS_MAX: i64 = 60_000;
