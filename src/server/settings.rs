//! From the configuration to what each part of the server needs of it.

use std::net::SocketAddr;
use std::path::Path;

use super::config::{self, Config};
use super::{control, ensemble};
use crate::admin::four_letter::Word;
use crate::error::{ExitCode, Fatal};
use crate::ids::Millis;
use crate::log::snapshot::Compression;
use crate::net;
use crate::request::access::{AccessConfig, Digest};
use crate::request::prepare::PrepareConfig;
use crate::request::session::TimeoutRange;
use crate::request::throttle::CrowdConfig;
use crate::stage::pin::{self, Placement};
use crate::stage::shared::{LargeRequests, OpenFiles, Settings, WordOperand};
use crate::stage::snapshot::SnapshotOptions;
use crate::tree::TreeOptions;

/// What the stages need.
///
/// # Errors
/// [`Fatal`] for authentication that is enforced with a scheme nobody serves.
pub(super) fn settings(config: &Config, open_files: OpenFiles) -> Result<Settings, Fatal> {
    let (clients, sessions, storage) = (&config.clients, &config.sessions, &config.storage);
    Ok(Settings {
        frame_bytes_max: clients.frame_bytes_max,
        session_timeouts: TimeoutRange {
            min_ms: saturated(sessions.timeout_ms_min),
            max_ms: saturated(sessions.timeout_ms_max),
        },
        tick_time_ms: saturated(sessions.tick_time_ms),
        connections_per_address_max: usize::try_from(clients.connections_per_address_max)
            .unwrap_or(0),
        connections_max: clients.connections_max.unwrap_or(0) as usize,
        open_files,
        outstanding_max: outstanding_max(config),
        sessionless_ms: i64::from(clients.sessionless_timeout_ms),
        word_operand: word_operand(clients),
        access: access(config)?,
        local_sessions: sessions.local,
        local_sessions_upgrade: sessions.local_upgrading,
        read_only_mode: clients.read_only_mode,
        snap_count: storage.snap_count,
        snap_bytes: storage.snap_size_bytes,
        reap_interval_ms: config.tree.reap_interval_ms,
        reap_per_minute_max: config.tree.reap_per_minute_max,
        container_never_used: never_used(config),
        bucket: clients.connection_throttle.clone(),
        crowd: crowd(clients),
        large_requests: clients.large_request_bytes.map(|bytes_above| LargeRequests {
            bytes_above: bytes_above as usize,
            bytes_max: clients.large_requests_bytes_max as usize,
        }),
    })
}

/// COMPAT: where there are more than two voters each has a share, and an observer all of it
/// (`LeaderZooKeeperServer.getGlobalOutstandingLimit` and the follower's).
fn outstanding_max(config: &Config) -> usize {
    let limit = config.clients.outstanding_max as usize;
    let voters = config.ensemble.members.as_ref().map_or(1, |all| all.participants().count());
    if config.ensemble.observer || voters <= 2 { limit } else { limit / (voters - 1) }
}

fn word_operand(clients: &config::Clients) -> WordOperand {
    if control::whitelist(clients).allows(Word::Stmk) {
        WordOperand::Awaited
    } else {
        WordOperand::Ignored
    }
}

fn crowd(clients: &config::Clients) -> Option<CrowdConfig> {
    let throttle = &clients.request_throttle;
    Some(CrowdConfig {
        requests_max: throttle.requests_max? as usize,
        drop_stale: throttle.drop_stale,
        stale_when_disconnected: throttle.stale_when_disconnected,
        stale_when_late: throttle.stale_when_late,
        wait_ms_max: clients.throttled_wait_ms,
    })
}

fn saturated(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// 0 is never.
fn never_used(config: &Config) -> Millis {
    let millis = config.tree.container_never_used_ms.unwrap_or(0);
    Millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

fn access(config: &Config) -> Result<AccessConfig, Fatal> {
    let auth = &config.auth;
    let mut access = AccessConfig {
        digest: Digest {
            enabled: auth.digest_enabled,
            algorithm: auth.digest_algorithm,
            super_digest: auth.super_digest.clone(),
        },
        skip_acl: config.tree.skip_acl,
        enforced_schemes: None,
    };
    if auth.require_client_sasl {
        // COMPAT: it stands for `enforce.auth.schemes=sasl` (`AuthenticationHelper`).
        let text = "sessionRequireClientSASLAuth is true, but SASL is not served: nobody could \
                    come in; enforce.auth.schemes takes digest and ip";
        return Err(Fatal::new(ExitCode::Invocation, text.to_owned()));
    }
    if auth.enforced {
        let schemes = &auth.enforced_schemes;
        let unknown = schemes.iter().find(|scheme| !access.has_provider(scheme));
        if schemes.is_empty() || unknown.is_some() {
            let what = unknown.map_or("no scheme", String::as_str);
            let text =
                format!("enforce.auth.enabled is true, but enforce.auth.schemes names {what}");
            return Err(Fatal::new(ExitCode::Invocation, text));
        }
        access.enforced_schemes = Some(schemes.clone());
    }
    Ok(access)
}

/// What the tree needs. `seed` keys the hash of paths.
pub(super) fn tree(config: &Config, seed: u64) -> TreeOptions {
    TreeOptions {
        extended_types: config.tree.extended_types,
        emulate_353_ttl: config.tree.emulate_353_ttl,
        digest: config.storage.digest,
        hash_seed: seed,
    }
}

/// What preparing txns needs.
///
/// # Errors
/// As for [`settings`].
pub(super) fn prepare(config: &Config, seed: u64) -> Result<PrepareConfig, Fatal> {
    Ok(PrepareConfig {
        access: access(config)?,
        tree: tree(config, seed),
        enforce_quota: config.tree.enforce_quota,
        reconfig: config.ensemble.reconfig_enabled,
        close_session_lists_paths: config.sessions.close_txn_lists_paths,
        record_bytes_max: ensemble::packet_bytes_max(config) as usize,
        container_never_used_max: never_used(config),
    })
}

/// How snapshots are written.
pub(super) fn snapshot(config: &Config, dir: &Path) -> SnapshotOptions {
    let compression = match config.storage.snapshot_compression {
        config::Compression::None => Compression::None,
        config::Compression::Gzip => Compression::Gz,
        config::Compression::Snappy => Compression::Snappy,
    };
    let zxid_trailer = config.storage.snapshot_zxid_trailer;
    SnapshotOptions { snap_dir: dir.into(), compression, zxid_trailer }
}

/// Which core each thread runs on.
pub(super) fn placement(config: &Config) -> Placement {
    let wishes = &config.placement;
    let available = || pin::available(config.ensemble.my_id);
    let cores = if wishes.cores.is_empty() { available() } else { wishes.cores.clone() };
    let placement = Placement::over(&cores, wishes.shards);
    if wishes.pin { placement } else { Placement::unpinned(placement.shards.len()) }
}

/// Where to listen for clients; `None` for a member of an ensemble that only votes and learns.
///
/// # Errors
/// [`Fatal`] if a server alone has no client port, or its host name cannot be resolved.
pub(super) fn client_address(config: &Config) -> Result<Option<SocketAddr>, Fatal> {
    let Some(address) = &config.clients.address else {
        if !config.is_standalone() {
            return Ok(None);
        }
        let text = "clientPort is not set: a standalone server without one serves nobody";
        return Err(Fatal::new(ExitCode::Invocation, text));
    };
    let Some(host) = &address.host else {
        return Ok(Some((std::net::Ipv6Addr::UNSPECIFIED, address.port).into()));
    };
    let resolved = net::addresses_of(host, address.port);
    match resolved.map(|addresses| addresses.first().copied()) {
        Ok(Some(address)) => Ok(Some(address)),
        Ok(None) => Err(unresolved(host, "it has no address")),
        Err(error) => Err(unresolved(host, &error.to_string())),
    }
}

/// Where a member listens for elections; names that nobody knows are left out.
pub(super) fn election_addresses(config: &Config) -> Vec<SocketAddr> {
    let ensemble = &config.ensemble;
    let own = ensemble.members.as_ref().and_then(|all| all.servers.get(&ensemble.my_id));
    let address = |own: &config::MemberAddress| {
        let host = if ensemble.listen_on_all { "0.0.0.0" } else { &own.host };
        net::addresses_of(host, own.election_port).ok()?.first().copied()
    };
    own.iter().flat_map(|own| &own.addresses).filter_map(address).collect()
}

fn unresolved(host: &str, why: &str) -> Fatal {
    let text = format!("clientPortAddress {host} cannot be resolved: {why}");
    Fatal::new(ExitCode::Invocation, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of so many voters and an observer; it is the observer if it has the last number.
    fn member(my_id: usize, voters: usize) -> Config {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("myid"), my_id.to_string()).unwrap();
        let line = |id| {
            let role = if id > voters { "observer" } else { "participant" };
            format!("server.{id}=127.0.0.1:2888:3888:{role}")
        };
        let members: Vec<_> = (1..=voters + 1).map(line).collect();
        let (dir_line, members) = (format!("dataDir={}", dir.path().display()), members.join("\n"));
        let text = format!("{dir_line}\ninitLimit=5\nsyncLimit=5\n{members}\n");
        let file = dir.path().join("zoo.cfg");
        std::fs::write(&file, text).unwrap();
        Config::load(Some(&file), &[]).unwrap().0
    }

    #[test]
    fn voters_share_what_may_be_outstanding() {
        let cases = [(1, 2, 1000), (1, 3, 500), (3, 3, 500), (1, 5, 250), (4, 3, 1000)];
        for (my_id, voters, expected) in cases {
            assert_eq!(outstanding_max(&member(my_id, voters)), expected, "{my_id} of {voters}");
        }
        let (alone, _) = Config::load(None, &[]).unwrap();
        assert_eq!(outstanding_max(&alone), 1000);
    }

    #[test]
    fn a_member_may_do_without_a_client_port_and_a_server_alone_may_not() {
        assert_eq!(client_address(&member(1, 3)).unwrap(), None);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("zoo.cfg");
        std::fs::write(&file, format!("dataDir={}\n", dir.path().display())).unwrap();
        let (alone, _) = Config::load(Some(&file), &[]).unwrap();
        assert_eq!(client_address(&alone).unwrap_err().code(), ExitCode::Invocation);
    }

    #[test]
    fn authentication_that_nobody_could_pass_is_refused() {
        let cases: [&[(&str, &str)]; 4] = [
            &[("zookeeper.sessionRequireClientSASLAuth", "true")],
            &[("zookeeper.enforce.auth.enabled", "true")],
            &[
                ("zookeeper.enforce.auth.enabled", "true"),
                ("zookeeper.enforce.auth.schemes", "digest,sasl"),
            ],
            &[
                ("zookeeper.enforce.auth.enabled", "true"),
                ("zookeeper.enforce.auth.schemes", "digest"),
                ("zookeeper.DigestAuthenticationProvider.enabled", "false"),
            ],
        ];
        for case in cases {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let properties: Vec<_> = case.iter().map(owned).collect();
            let (config, _) = Config::load(None, &properties).unwrap();
            let refused = access(&config).expect_err(&format!("{case:?}"));
            assert_eq!(refused.code(), ExitCode::Invocation, "{case:?}");
        }
    }
}
