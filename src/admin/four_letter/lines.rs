//! The text of each word but `mntr`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::super::date::java_date;
use super::super::report::{
    Conf, Connection, Expiries, Mode, Report, Sessions, Sizes, WatchCounts,
};
use super::put;
use crate::ids::{Millis, SessionId, Zxid};

macro_rules! put {
    ($out:expr, $($text:tt)*) => { put($out, format_args!($($text)*)) };
}

pub(super) fn conf(out: &mut String, conf: &Conf, sizes: Sizes) {
    put!(out, "clientPort={}\n", conf.client_port);
    put!(out, "secureClientPort={}\n", conf.secure_client_port);
    put!(out, "dataDir={}\n", conf.data_dir);
    put!(out, "dataDirSize={}\n", sizes.data_bytes);
    put!(out, "dataLogDir={}\n", conf.data_log_dir);
    put!(out, "dataLogSize={}\n", sizes.log_bytes);
    put!(out, "tickTime={}\n", conf.tick_time_ms);
    put!(out, "maxClientCnxns={}\n", conf.connections_per_address_max);
    put!(out, "minSessionTimeout={}\n", conf.session_timeout_ms_min);
    put!(out, "maxSessionTimeout={}\n", conf.session_timeout_ms_max);
    put!(out, "clientPortListenBacklog={}\n", conf.listen_backlog);
    put!(out, "serverId={}\n", conf.server_id);
    if let Some(quorum) = &conf.quorum {
        put!(out, "initLimit={}\n", quorum.init_limit_ticks);
        put!(out, "syncLimit={}\n", quorum.sync_limit_ticks);
        put!(out, "electionAlg={}\n", quorum.election_algorithm);
        put!(out, "electionPort={}\n", quorum.election_port);
        put!(out, "quorumPort={}\n", quorum.quorum_port);
        put!(out, "peerType={}\n", i32::from(quorum.observer));
        put!(out, "membership: \n{}", quorum.membership);
    }
}

pub(super) fn sizes(out: &mut String, sizes: Sizes) {
    put!(out, "datadir_size: {}\nlogdir_size: {}\n", sizes.data_bytes, sizes.log_bytes);
}

pub(super) fn environment(out: &mut String, entries: &[(&'static str, String)]) {
    out.push_str("Environment:\n");
    for (key, value) in entries {
        put!(out, "{key}={value}\n");
    }
}

pub(super) fn digests(out: &mut String, digests: &[(Zxid, i64)]) {
    for (zxid, digest) in digests {
        put!(out, "{:x}: {digest}\n", zxid.0);
    }
}

/// How much to say of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Detail {
    /// `stat`
    Brief,
    /// `cons`
    Full,
}

pub(super) fn connections(out: &mut String, connections: &[Connection], detail: Detail) {
    for connection in connections {
        let Connection { peer, reading, queued, received, sent, .. } = connection;
        put!(out, " {}[{}]", JavaAddress(*peer), i32::from(*reading));
        put!(out, "(queued={queued},recved={received},sent={sent}");
        if detail == Detail::Full {
            session_fields(out, connection);
        }
        out.push_str(")\n");
    }
}

fn session_fields(out: &mut String, connection: &Connection) {
    let Some(session) = &connection.session else { return };
    put!(out, ",sid={},lop={}", session.id, session.last_op);
    put!(out, ",est={},to={}", session.established_at.0, session.timeout_ms);
    if session.last_xid >= 0 {
        put!(out, ",lcxid={:#x}", session.last_xid);
    }
    put!(out, ",lzxid={},lresp={}", session.last_zxid, session.last_response_at.0);
    put!(out, ",llat={},minlat={}", session.latency_last_ms, session.latency_min_ms);
    put!(out, ",avglat={},maxlat={}", session.latency_avg_ms, session.latency_max_ms);
}

/// The lines `srvr` and `stat` share.
pub(super) fn server(out: &mut String, report: &Report) {
    let (facts, readings) = (&report.facts, &report.readings);
    let latency = &readings.latency;
    let (min, average, max) = (latency.min(), latency.average_text(), latency.max);
    put!(out, "Latency min/avg/max: {min}/{average}/{max}\n");
    put!(out, "Received: {}\n", readings.packets_received);
    put!(out, "Sent: {}\n", readings.packets_sent);
    put!(out, "Connections: {}\n", facts.connection_count);
    put!(out, "Outstanding: {}\n", facts.outstanding);
    put!(out, "Zxid: {}\n", facts.last_zxid);
    put!(out, "Mode: {}\n", facts.mode.name());
    put!(out, "Node count: {}\n", facts.node_count);
    if let (Mode::Leader, Some(leader)) = (facts.mode, &facts.leader) {
        let (last, min, max) = leader.proposal_bytes;
        put!(out, "Proposal sizes last/min/max: {last}/{min}/{max}\n");
    }
}

pub(super) fn dump(out: &mut String, report: &Report) {
    out.push_str("SessionTracker dump:\n");
    sessions(out, &report.sessions);
    out.push_str("ephemeral nodes dump:\n");
    put!(out, "Sessions with Ephemerals ({}):\n", report.ephemerals.len());
    for (session, paths) in &report.ephemerals {
        put!(out, "{session}:\n");
        for path in paths {
            put!(out, "\t{path}\n");
        }
    }
    out.push_str("Connections dump:\n");
    connection_expiries(out, &report.connections);
}

fn sessions(out: &mut String, sessions: &Sessions) {
    match sessions {
        Sessions::Tracked { local: None, global } => session_sets(out, "Session", global),
        Sessions::Tracked { local: Some(local), global } => {
            session_sets(out, "Local Session", local);
            session_sets(out, "Global Session", global);
        }
        Sessions::Learned { local, global } => {
            if let Some(local) = local {
                session_sets(out, "Local Session", local);
            }
            put!(out, "Global Sessions({}):\n", global.len());
            for (session, timeout_ms) in global {
                put!(out, "{session}\t{timeout_ms}ms\n");
            }
        }
    }
}

fn session_sets(out: &mut String, what: &str, Expiries(buckets): &Expiries) {
    let total: usize = buckets.iter().map(|(_, sessions)| sessions.len()).sum();
    put!(out, "{what} Sets ({})/({total}):\n", buckets.len());
    for (time, sessions) in buckets {
        put!(out, "{} expire at {}:\n", sessions.len(), java_date(*time));
        for session in sessions {
            put!(out, "\t{session}\n");
        }
    }
}

fn connection_expiries(out: &mut String, connections: &[Connection]) {
    let mut buckets: BTreeMap<Millis, Vec<&Connection>> = BTreeMap::new();
    for connection in connections {
        buckets.entry(connection.expires_at).or_default().push(connection);
    }
    put!(out, "Connections Sets ({})/({}):\n", buckets.len(), connections.len());
    for (time, connections) in buckets {
        put!(out, "{} expire at {}:\n", connections.len(), java_date(time));
        for connection in connections {
            let session = connection.session.map_or(SessionId::NONE, |session| session.id);
            put!(out, "\tip: {} sessionId: {session}\n", JavaAddress(connection.peer));
        }
    }
}

type Watches = [(SessionId, Vec<String>)];

pub(super) fn watches_by_session(out: &mut String, watches: &Watches) {
    for (session, paths) in watches {
        put!(out, "{session}\n");
        for path in paths {
            put!(out, "\t{path}\n");
        }
    }
    out.push('\n');
}

pub(super) fn watches_by_path(out: &mut String, watches: &Watches) {
    for (path, sessions) in by_path(watches) {
        put!(out, "{path}\n");
        for session in sessions {
            put!(out, "\t{session}\n");
        }
    }
    out.push('\n');
}

pub(super) fn watch_counts(out: &mut String, counts: WatchCounts) {
    let WatchCounts { connections, paths, watches } = counts;
    put!(out, "{connections} connections watching {paths} paths\nTotal watches:{watches}\n");
}

fn by_path(watches: &Watches) -> BTreeMap<&str, Vec<SessionId>> {
    let mut paths: BTreeMap<&str, Vec<SessionId>> = BTreeMap::new();
    for (session, watched) in watches {
        for path in watched {
            paths.entry(path).or_default().push(*session);
        }
    }
    paths
}

/// COMPAT: `InetSocketAddress.toString` of an address that has no name: a slash, and IPv6 in
/// brackets with all its groups.
struct JavaAddress(SocketAddr);

impl std::fmt::Display for JavaAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.ip().to_canonical() {
            IpAddr::V4(ip) => write!(f, "/{ip}:{}", self.0.port()),
            IpAddr::V6(ip) => {
                let groups = ip.segments().map(|group| format!("{group:x}"));
                write!(f, "/[{}]:{}", groups.join(":"), self.0.port())
            }
        }
    }
}
