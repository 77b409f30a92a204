//! Step 8, REPLY: what clients are told: replies to requests, and events to who watches.
//!
//! Pure; runs on the shards (watches, reads) and on the `zab` thread (replies to writes).

#![forbid(unsafe_code)]

pub mod response;
pub mod watch;
