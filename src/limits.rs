//! Every bound in one place, with what proves that they fit together.

/// Java's default `jute.maxbuffer`; a longer frame closes the connection.
pub const FRAME_BYTES_MAX_DEFAULT: u32 = 0xf_ffff;

/// The largest `jute.maxbuffer` that may be configured.
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

/// Events waiting for a client that does not read: past it, the connection is closed.
pub const OUTBOX_BYTES_MAX: usize = 16 << 20;

/// Keys (first path components, server ids) a thread keeps metrics for; the rest counts as one.
pub const METRIC_KEYS_MAX: usize = 64;

const _: () = assert!(OUTBOX_BYTES_PAUSE < OUTBOX_BYTES_MAX, "a client is paused before it is cut");

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

/// Gaps in the log that are listed one by one; the rest is counted.
pub const FINDINGS_MAX: u64 = 100;

/// The largest block accepted in a snappy snapshot; Java writes 32 KiB.
pub const SNAPPY_BLOCK_BYTES_MAX: usize = 64 << 20;
