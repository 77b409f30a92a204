//! Step 3, REQUEST: what may be done, and what it comes to.
//!
//! Pure: time, identities and session ids come in as arguments. Writes are prepared against the
//! tree and the changes still in flight (`zab` thread); reads are served in place (shards).

#![forbid(unsafe_code)]

pub mod access;
pub mod order;
pub mod path;
pub mod prepare;
pub mod read;
pub mod session;
pub mod throttle;
