//! From values to settings: defaults that depend on other keys, clamps, rules between keys.

use std::path::PathBuf;

use super::problem::ConfigError;
use super::settings::{
    Admin, Auth, Clients, Compression, ListenAddress, Placement, RequestThrottle, Sessions,
    Storage, Tree,
};
use super::values::Values;
use crate::limits::FRAME_BYTES_MAX_CEILING;
use crate::request::access::DigestAlgorithm;
use crate::request::throttle::{BucketConfig, Weights};

/// Where an embedded server, one without a file, keeps its data.
pub(super) const EMBEDDED_DATA_DIR: &str = "data";
const EMBEDDED_HOST: &str = "127.0.0.1";
const EMBEDDED_PORT: u16 = 2181;

const SNAP_COUNT_MIN: u32 = 2;
const COMMIT_LOG_COUNT_MIN: u32 = 500;
const PURGE_RETAIN_COUNT_MIN: u32 = 3;
const FRAME_BYTES_EXTRA_MIN: u32 = 1024;
const PROMETHEUS: &str = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
const METRICS_PROVIDERS: [&str; 3] = [
    "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
    "org.apache.zookeeper.metrics.impl.NullMetricsProvider",
    PROMETHEUS,
];

fn rule(text: impl Into<String>) -> ConfigError {
    ConfigError::rule(None, text)
}

/// The address of an embedded server: this machine only, as nobody chose to open it.
pub(super) fn embedded_address() -> ListenAddress {
    ListenAddress { host: Some(EMBEDDED_HOST.to_owned()), port: EMBEDDED_PORT }
}

/// The address given by a port key and an address key.
fn listen_address(values: &Values, prefix: &str) -> Result<Option<ListenAddress>, ConfigError> {
    let (port, host) = (format!("{prefix}Port"), format!("{prefix}PortAddress"));
    let host_given = values.text_given(&host).filter(|text| text != "0.0.0.0");
    if values.text_given(&port).is_none() {
        return match host_given {
            Some(_) => Err(rule(format!("{host} is set but {port} is not set"))),
            None => Ok(None),
        };
    }
    let host = host_given.map(|text| text.trim_matches(['[', ']']).to_owned());
    Ok(Some(ListenAddress { host, port: values.whole(&port) }))
}

pub(super) fn clients(values: &mut Values) -> Result<Clients, ConfigError> {
    let frame_bytes_max = at_most(values, "jute.maxbuffer", FRAME_BYTES_MAX_CEILING);
    Ok(Clients {
        address: listen_address(values, "client")?,
        secure_address: listen_address(values, "secureClient")?,
        listen_backlog: values.whole("clientPortListenBacklog"),
        connections_per_address_max: values.whole("maxClientCnxns"),
        connections_max: values.limit("maxCnxns"),
        sessionless_timeout_ms: values.whole("nio.sessionlessCnxnTimeout"),
        tcp_keep_alive: values.flag("clientTcpKeepAlive"),
        frame_bytes_max,
        frame_bytes_extra: frame_bytes_extra(values, frame_bytes_max),
        outstanding_max: values.whole("globalOutstandingLimit"),
        four_letter_whitelist: values.text("4lw.commands.whitelist").to_owned(),
        read_only_mode: values.flag("readonlymode.enabled"),
        large_request_bytes: values.limit("largeRequestThreshold"),
        large_requests_bytes_max: values.whole("largeRequestMaxBytes"),
        throttled_wait_ms: values.limit("throttled_op_wait_time"),
        request_throttle: request_throttle(values),
        connection_throttle: connection_throttle(values),
    })
}

/// COMPAT: nobody checks it, and what is no number leaves the default (`BinaryInputArchive`).
fn frame_bytes_extra(values: &Values, default: u32) -> u32 {
    let given = values.int_given("jute.maxbuffer.extrasize");
    let bytes = given.map_or(default, |bytes| u32::try_from(bytes).unwrap_or(0));
    bytes.max(FRAME_BYTES_EXTRA_MIN)
}

fn request_throttle(values: &Values) -> RequestThrottle {
    RequestThrottle {
        requests_max: values.limit("request_throttle_max_requests"),
        stall_ms: values.whole("request_throttle_stall_time"),
        drop_stale: values.flag("request_throttle_drop_stale"),
        stale_when_disconnected: values.flag("request_stale_connection_check"),
        stale_when_late: values.flag("request_stale_latency_check"),
    }
}

/// COMPAT: renewing costs no less than a local session would (`BlueThrottle`).
fn connection_throttle(values: &Values) -> Option<BucketConfig> {
    let least: u32 = values.whole("connection_throttle_local_session_weight");
    let weight = |key| values.whole::<u32>(key).max(least);
    let weights = Weights {
        new: weight("connection_throttle_global_session_weight"),
        renewed: weight("connection_throttle_renew_session_weight"),
    };
    Some(BucketConfig {
        tokens_max: values.limit("connection_throttle_tokens")?,
        fill_ms: values.whole("connection_throttle_fill_time"),
        fill_tokens: values.whole("connection_throttle_fill_count"),
        freeze_ms: values.limit("connection_throttle_freeze_time"),
        drop_increase: values.real("connection_throttle_drop_increase"),
        drop_decrease: values.real("connection_throttle_drop_decrease"),
        decrease_ratio: values.real("connection_throttle_decrease_ratio"),
        weights: values.flag("connection_throttle_weight_enabled").then_some(weights),
    })
}

pub(super) fn sessions(values: &Values) -> Result<Sessions, ConfigError> {
    let tick_time_ms: u32 = values.whole("tickTime");
    let (min, max): (i32, i32) =
        (values.whole("minSessionTimeout"), values.whole("maxSessionTimeout"));
    let timeout_ms_min = u32::try_from(min).unwrap_or(tick_time_ms * 2);
    let timeout_ms_max = u32::try_from(max).unwrap_or(tick_time_ms * 20);
    if timeout_ms_min > timeout_ms_max {
        return Err(rule(format!(
            "minSessionTimeout must not be larger than maxSessionTimeout, but {timeout_ms_min} ms \
             is larger than {timeout_ms_max} ms"
        )));
    }
    Ok(Sessions {
        tick_time_ms,
        timeout_ms_min,
        timeout_ms_max,
        timeouts_written_ms: (min, max),
        local: values.flag("localSessionsEnabled"),
        local_upgrading: values.flag("localSessionsUpgradingEnabled"),
        close_txn_lists_paths: values.flag("closeSessionTxn.enabled"),
    })
}

/// What a number is raised to if it is below it, as Java does, but never in silence.
fn at_least(values: &mut Values, name: &str, least: u32) -> u32 {
    let number: i64 = values.whole(name);
    if number < i64::from(least) {
        values.warn(format!("Invalid {name}: {number}. Defaulting to {least}"));
        return least;
    }
    values.whole(name)
}

/// What a number is lowered to if it is above it; Java has no such bound.
fn at_most(values: &mut Values, name: &str, most: u32) -> u32 {
    let number: u32 = values.whole(name);
    if number > most {
        values.warn(format!("{name}: {number} is too large. Using {most}"));
    }
    number.min(most)
}

fn kib(values: &Values, name: &str) -> Option<u64> {
    values.limit::<u64>(name).map(|kib| kib.saturating_mul(1024))
}

pub(super) fn storage(values: &mut Values, embedded: bool) -> Result<Storage, ConfigError> {
    let data_dir = match values.path("dataDir") {
        Some(path) => path,
        None if embedded => PathBuf::from(EMBEDDED_DATA_DIR),
        None => return Err(rule("dataDir is not set")),
    };
    for name in ["dataDir", "dataLogDir"] {
        if let Some(path) = values.path(name).filter(|path| path.is_relative()) {
            let path = path.display();
            values.warn(format!("{name}={path} is relative to where the server is started"));
        }
    }
    let mut snapshot_size_factor = values.real("snapshotSizeFactor");
    if snapshot_size_factor > 1.0 {
        values.warn(format!("Invalid snapshotSizeFactor: {snapshot_size_factor}. Using 0.33"));
        snapshot_size_factor = 0.33;
    }
    Ok(Storage {
        data_log_dir: values.path("dataLogDir").unwrap_or_else(|| data_dir.clone()),
        data_dir,
        directories_autocreate: values.flag("datadir.autocreate"),
        database_autocreate: values.flag("db.autocreate"),
        trust_empty_snapshot: values.flag("snapshot.trust.empty"),
        recovery_allows_gaps: values.flag("ringkeeper.recovery.allowGaps"),
        recovery_cuts_damaged_tail: values.flag("ringkeeper.recovery.cutDamagedTail"),
        preallocate_bytes: kib(values, "preAllocSize"),
        snap_count: at_least(values, "snapCount", SNAP_COUNT_MIN),
        snap_size_bytes: kib(values, "snapSizeLimitInKb"),
        log_roll_bytes: kib(values, "txnLogSizeLimitInKb"),
        commit_log_count: at_least(values, "commitLogCount", COMMIT_LOG_COUNT_MIN),
        snapshot_size_factor,
        flush_warning_ms: values.limit("fsync.warningthresholdms").unwrap_or(0),
        force_sync: values.text("forceSync") == "yes",
        snapshot_compression: match values.text("snapshot.compression.method") {
            text if text.eq_ignore_ascii_case("gz") => Compression::Gzip,
            text if text.eq_ignore_ascii_case("snappy") => Compression::Snappy,
            _ => Compression::None,
        },
        digest: values.flag("digest.enabled"),
        snapshot_zxid_trailer: values.flag("serializeLastProcessedZxid.enabled"),
        purge_retain_count: at_least(values, "autopurge.snapRetainCount", PURGE_RETAIN_COUNT_MIN),
        purge_interval_ms: values.hours_ms("autopurge.purgeInterval"),
    })
}

pub(super) fn tree(values: &Values) -> Tree {
    Tree {
        extended_types: values.flag("extendedTypesEnabled"),
        emulate_353_ttl: values.flag("emulate353TTLNodes"),
        enforce_quota: values.flag("enforceQuota"),
        skip_acl: values.text("skipACL") == "yes",
        eager_acl_check: values.flag("enableEagerACLCheck"),
        reap_interval_ms: values.whole("znode.container.checkIntervalMs"),
        reap_per_minute_max: values.whole("znode.container.maxPerMinute"),
        container_never_used_ms: values.limit("znode.container.maxNeverUsedIntervalMs"),
    }
}

pub(super) fn auth(values: &Values) -> Auth {
    let super_users = ["superUser", "X509AuthenticationProvider.superUser"];
    let super_users = super_users.iter().filter_map(|name| values.text_given(name));
    let more = values.family("superUser.").map(|(_, given)| given.text.clone());
    let algorithm = values.text("DigestAuthenticationProvider.digestAlg");
    let digest_algorithm = DigestAlgorithm::from_name(algorithm);
    Auth {
        digest_enabled: values.flag("DigestAuthenticationProvider.enabled"),
        super_digest: values.text_given("DigestAuthenticationProvider.superDigest"),
        digest_algorithm: digest_algorithm.expect("the table lists the names it knows"),
        ip_from_forwarded_header: values.flag("IPAuthenticationProvider.usexforwardedfor"),
        enforced: values.flag("enforce.auth.enabled"),
        enforced_schemes: values.list("enforce.auth.schemes"),
        require_client_sasl: values.flag("sessionRequireClientSASLAuth"),
        allow_failed_sasl: values.flag("allowSaslFailedClients"),
        ensemble_names: values.list("ensembleAuthName"),
        super_users: super_users.chain(more).collect(),
        providers: values
            .family("authProvider.")
            .map(|(slot, given)| (slot.to_owned(), given.text.clone()))
            .collect(),
    }
}

pub(super) fn admin(values: &Values) -> Result<Admin, ConfigError> {
    let address = |host: &str, port: &str| ListenAddress {
        host: values.text_given(host).filter(|text| text != "0.0.0.0"),
        port: values.whole(port),
    };
    let provider = values.text("metricsProvider.className");
    if !METRICS_PROVIDERS.contains(&provider) {
        return Err(rule(format!("metrics provider class was not found: {provider}")));
    }
    Ok(Admin {
        enabled: values.flag("admin.enableServer"),
        address: address("admin.serverAddress", "admin.serverPort"),
        idle_timeout_ms: values.whole("admin.idleTimeout"),
        command_url: values.text("admin.commandURL").to_owned(),
        rate_limit_ms: values.whole("admin.rateLimiterIntervalInMS"),
        snapshot_enabled: values.flag("admin.snapshot.enabled"),
        restore_enabled: values.flag("admin.restore.enabled"),
        audit: values.flag("audit.enable"),
        prometheus: (provider == PROMETHEUS)
            .then(|| address("metricsProvider.httpHost", "metricsProvider.httpPort")),
    })
}

pub(super) fn placement(values: &Values) -> Result<Placement, ConfigError> {
    let text = values.text("ringkeeper.cores");
    let cores = cores(text).ok_or_else(|| {
        rule(format!("ringkeeper.cores={text}: not allowed; it takes a list such as 0,2-5"))
    })?;
    Ok(Placement {
        shards: values.limit("ringkeeper.shards"),
        cores,
        pin: values.flag("ringkeeper.pin"),
    })
}

/// A list of cores and ranges of cores, as `taskset` takes it.
fn cores(text: &str) -> Option<Vec<usize>> {
    /// More than any machine has; a range cannot ask for gigabytes.
    const CORE_MAX: usize = 4095;
    let mut cores = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > CORE_MAX {
            return None;
        }
        cores.extend((first..=last).filter(|core| !cores.contains(core)).collect::<Vec<_>>());
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores() {
        let cases = [
            ("", Some(vec![])),
            ("3", Some(vec![3])),
            ("0, 2-4,3", Some(vec![0, 2, 3, 4])),
            ("5-4", None),
            ("a", None),
            ("1-", None),
            ("0-99999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(cores(text), expected, "{text:?}");
        }
    }
}
