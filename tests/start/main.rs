//! The server's own process at its start, and what it says when the machine refuses it something.
//!
//! Each test starts `zkserver` as a child, with its data in a scratch folder.

#![expect(clippy::unwrap_used, reason = "tests")]

mod descriptors;
mod full_disk;
mod listenerless;
mod padding;
mod scene;
mod stopping;

#[path = "../support/mod.rs"]
#[allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs, reason = "tests")]
mod support;
