//! What the disk may hold after a crash, a torn write or a bad sector, and what recovery makes of
//! it: the whole records in front of it, or a refusal that says where; never less in silence.

#![expect(clippy::unwrap_used, reason = "tests")]

mod bench;
mod disk;
mod files;
mod java;
mod retention;
mod snapshots;
mod tail;
mod writing;
