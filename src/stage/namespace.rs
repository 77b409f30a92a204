//! Bytes read and written below each top-level node: `read_per_namespace`, `write_per_namespace`.
//!
//! Threads: `shard-N` for reads, `zab` for writes; each with its own recorder. Source:
//! `DataTree.updateReadStat`, `updateWriteStat`.

use crate::metrics::{BasicSet, Recorder};
use crate::wire::client::ReplyHeader;
use crate::wire::frame;
use crate::wire::request::{Read, Request};
use crate::wire::response::{Response, StepResult};
use crate::wire::txn::Txn;
use crate::wire::{OpCode, Reader, Stat};

/// The name below the root that leads to `path`; none for the root itself.
fn namespace(path: &str) -> Option<&str> {
    let rest = path.strip_prefix('/')?;
    let end = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
    Some(&rest[..end]).filter(|name| !name.is_empty())
}

fn record(recorder: &Recorder, set: BasicSet, path: &str, bytes: usize) {
    if let Some(key) = namespace(path) {
        recorder.record_keyed(set, key, (path.len() + bytes) as u64);
    }
}

/// A read was answered with this frame.
pub fn count_read(recorder: &Recorder, request: &Request<'_>, reply: &[u8]) {
    let body = reply.get(frame::LENGTH_BYTES + ReplyHeader::BYTES..).unwrap_or_default();
    if let Request::Read(read) = request {
        count_one(recorder, read, body);
    } else if let Request::MultiRead(reads) = request {
        count_steps(recorder, reads, body);
    }
}

fn count_one(recorder: &Recorder, Read { op, path, .. }: &Read<'_>, body: &[u8]) {
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

/// Each step of a multiRead that did not fail.
fn count_steps(recorder: &Recorder, reads: &[Read<'_>], body: &[u8]) {
    let answer = Response::decode(OpCode::MultiRead, &mut Reader::new(body));
    let Ok(Response::Multi(steps)) = answer else { return }; // it failed
    for (Read { path, .. }, step) in reads.iter().zip(&steps) {
        let bytes = if let StepResult::Data(data, _) = step {
            data.map_or(0, <[u8]>::len)
        } else if let StepResult::Children(names) = step {
            names.iter().map(|name| name.len()).sum()
        } else {
            continue;
        };
        record(recorder, BasicSet::ReadPerNamespace, path, bytes + Stat::BYTES);
    }
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
    use crate::metrics::Metrics;
    use crate::wire::Writer;

    #[test]
    fn each_step_of_a_multi_read_counts_that_did_not_fail() {
        let read = |op, path: &'static str| Read { op, path: path.into(), watch: false };
        let reads = vec![
            read(OpCode::GetData, "/a/b"),
            read(OpCode::GetData, "/missing"),
            read(OpCode::GetChildren, "/a"),
            read(OpCode::GetData, "/c"),
        ];
        let steps = vec![
            StepResult::Data(Some(&[7; 10]), Stat::default()),
            StepResult::Error(-101),
            StepResult::Children(vec!["bb".into(), "d".into()]),
            StepResult::Data(None, Stat::default()),
        ];
        let mut reply = vec![0; frame::LENGTH_BYTES + ReplyHeader::BYTES];
        Response::Multi(steps).encode(&mut Writer::new(&mut reply));
        let metrics = Metrics::new();
        count_read(&metrics.recorder(), &Request::MultiRead(reads), &reply);
        let mut sums = Vec::new();
        metrics.read().for_each(|name, value| {
            if name.starts_with("sum_") && name.ends_with("_read_per_namespace") {
                sums.push(format!("{name} {value}"));
            }
        });
        let (data, names, null) = (4 + 10 + Stat::BYTES, 2 + 3 + Stat::BYTES, 2 + Stat::BYTES);
        let a = format!("sum_a_read_per_namespace {}", data + names);
        assert_eq!(sums, [a, format!("sum_c_read_per_namespace {null}")]);
    }

    #[test]
    fn the_first_name_is_the_namespace() {
        let cases = [("/", None), ("", None), ("/a", Some("a")), ("/a/b", Some("a")), ("a", None)];
        for (path, name) in cases {
            assert_eq!(namespace(path), name, "{path}");
        }
    }
}
