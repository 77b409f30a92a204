//! How many connections of clients the limit of open files leaves room for.
//!
//! Runs at boot. A log that cannot begin its next file ends the process, so clients must never hold
//! the descriptors that files need.

use rustix::process::{Resource, getrlimit, setrlimit};

use super::config::Config;
use crate::limits::{DESCRIPTORS_FOR_FILES, DESCRIPTORS_FOR_PEERS, DESCRIPTORS_PER_SHARD};
use crate::stage::shared::OpenFiles;

/// Takes as many descriptors as the system lets this process have, and leaves some to the server's
/// own files.
pub(super) fn open_files(config: &Config, shards: usize) -> OpenFiles {
    let Some(limit) = raised_limit() else { return OpenFiles::UNLIMITED };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let open_files = divide(limit, shards, !config.is_standalone());
    let OpenFiles { limit, connections_max } = open_files;
    tracing::info!(limit, connections_max, "open files");
    open_files
}

/// `None` is unlimited.
fn raised_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    getrlimit(Resource::Nofile).current
}

/// Half is for clients however few there are: a smaller server is of more use than none.
fn divide(limit: usize, shards: usize, is_member: bool) -> OpenFiles {
    let for_peers = if is_member { DESCRIPTORS_FOR_PEERS } else { 0 };
    let own = DESCRIPTORS_FOR_FILES + for_peers + shards * DESCRIPTORS_PER_SHARD;
    OpenFiles { limit, connections_max: limit.saturating_sub(own).max(limit / 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_for_the_servers_own_files_is_for_clients() {
        let cases = [
            (524_288, 1, false, 524_288 - 64 - 4),
            (524_288, 30, false, 524_288 - 64 - 120),
            (524_288, 1, true, 524_288 - 64 - 4 - DESCRIPTORS_FOR_PEERS),
            (1024, 1, false, 1024 - 64 - 4),
            (1024, 1, true, 512),
            (64, 1, false, 32),
        ];
        for (limit, shards, is_member, expected) in cases {
            let open_files = divide(limit, shards, is_member);
            assert_eq!(open_files.connections_max, expected, "{limit} {shards} {is_member}");
        }
    }
}
