//! Step 5, LOG: durable before it is acked.
//!
//! Owns the files of `version-2`: transaction logs, snapshots, epoch files, and the lock on the
//! directory. [`Writer`] is driven by the log thread, [`Preparation`], [`Finished`] and
//! [`snapshot`] by background threads, [`recovery`] by boot. In: txn records as bytes and their
//! zxids. Out: durability.
//! Starts no thread, reads no clock, and never looks inside a txn beyond its zxid.
//! INVARIANT: a file named `log.<hex>` always begins with a whole, flushed record.
//! INVARIANT: a name that Java would take for a log or a snapshot is given only to finished files.

pub mod directory;
pub mod epoch;
mod error;
mod names;
mod opening;
pub mod record;
pub mod recovery;
pub mod segment;
pub mod snapshot;
mod stop;
mod writer;

pub use directory::{Directory, lock_file};
pub use error::{Action, Damage, Error};
pub use segment::{Finished, Preparation, Prepared, prepare};
pub use stop::StopFlag;
pub use writer::{FlushReport, Sizes, Writer, WriterOptions};
