//! Bytes read and written below each top-level node: `read_per_namespace`, `write_per_namespace`.
//!
//! Threads: `shard-N` for reads, `zab` for writes; each with its own recorder. Source:
//! `DataTree.updateReadStat`, `updateWriteStat`.

use crate::metrics::{BasicSet, Recorder};
use crate::wire::client::ReplyHeader;
use crate::wire::frame;
use crate::wire::request::{Read, Request};
use crate::wire::txn::Txn;
use crate::wire::{OpCode, Stat};

/// The name below the root that leads to `path`; none for the root itself.
fn namespace(path: &str) -> Option<&str> {
    path.split('/').nth(1).filter(|name| !name.is_empty())
}

fn record(recorder: &Recorder, set: BasicSet, path: &str, bytes: usize) {
    if let Some(key) = namespace(path) {
        recorder.record_keyed(set, key, (path.len() + bytes) as u64);
    }
}

/// A read was answered with this frame.
pub fn count_read(recorder: &Recorder, request: &Request<'_>, reply: &[u8]) {
    let Request::Read(Read { op, path, .. }) = request else { return };
    let body = reply.get(frame::LENGTH_BYTES + ReplyHeader::BYTES..).unwrap_or_default();
    let Some(first) = body.first_chunk::<4>() else { return }; // it failed
    let first = usize::try_from(i32::from_be_bytes(*first)).unwrap_or_default();
    let names = body.len().saturating_sub(4 + 4 * first); // without their lengths
    let bytes = if *op == OpCode::GetData {
        first
    } else if *op == OpCode::GetChildren {
        names
    } else if *op == OpCode::GetChildren2 {
        names.saturating_sub(Stat::BYTES)
    } else {
        0 // exists
    };
    record(recorder, BasicSet::ReadPerNamespace, path, bytes + Stat::BYTES);
}

/// A txn was applied.
pub fn count_write(recorder: &Recorder, txn: &Txn<'_>) {
    let note = |path: &str, data: Option<&[u8]>| {
        record(recorder, BasicSet::WritePerNamespace, path, data.map_or(0, <[u8]>::len));
    };
    match txn {
        Txn::Create(create) | Txn::CreateContainer(create) | Txn::CreateTtl(create, _) => {
            note(&create.path, create.data);
        }
        Txn::SetData { path, data, .. } => note(path, *data),
        Txn::Delete { path } => note(path, None),
        Txn::CloseSession { paths } => paths.iter().flatten().for_each(|path| note(path, None)),
        Txn::Multi(steps) => {
            let failed = steps.iter().any(|(_, step)| matches!(step, Txn::Error { .. }));
            if !failed {
                for (_, step) in steps {
                    count_write(recorder, step);
                }
            }
        }
        Txn::SetAcl { .. } | Txn::Check { .. } | Txn::CreateSession { .. } | Txn::Error { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_is_the_namespace() {
        let cases = [("/", None), ("", None), ("/a", Some("a")), ("/a/b", Some("a")), ("a", None)];
        for (path, name) in cases {
            assert_eq!(namespace(path), name, "{path}");
        }
    }
}
