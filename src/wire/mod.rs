//! Step 2, FRAME: bytes to typed records and back.
//!
//! Pure: knows no socket, file, clock or thread, and imports nothing but [`crate::ids`]. Decoding
//! borrows from the frame; nothing is allocated by a length that has not been bounded by the bytes
//! that are really there.

#![forbid(unsafe_code)]

pub mod chunk;
pub mod client;
pub mod code;
pub mod election;
pub mod frame;
pub mod jute;
pub mod quorum;
pub mod record;
pub mod request;
pub mod response;
pub mod txn;
pub mod word;

pub use code::{ErrorCode, OpCode};
pub use jute::{DecodeError, Reader, Writer};
pub use record::{Acl, Stat};
