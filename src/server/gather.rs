//! Gathers what a four-letter word asks for from the threads that know.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::boot::Running;
use super::config::Config;
use crate::admin::environment;
use crate::admin::four_letter::Needs;
use crate::admin::report::{
    Conf, ConfQuorum, Connection, ConnectionSession, Expiries, Facts, Leader, Mode, Report,
    Sessions, Sizes, WatchCounts,
};
use crate::clock;
use crate::hash::PathHash;
use crate::ids::{Millis, ServerId, SessionId, Zxid};
use crate::limits::QUOTA_NODES_AT_ONCE;
use crate::reply::watch::WatchSummary;
use crate::stage::control::{
    self, ConnectionFacts, Dues, Inquiry, LastOp, LeaderFacts, Place, Question, SessionDues,
    SessionFacts, Standing,
};
use crate::stage::queue::Sender;
use crate::tree::QuotaSums;
use crate::wire::OpCode;

/// How long the control thread waits for another thread's answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks around for what `needs` names; the facts are always gathered.
pub(super) fn report(
    running: &Running,
    config: &Config,
    needs: &[Needs],
    trace_mask: i64,
) -> Report {
    let place = place(running, config);
    let mut report =
        Report { facts: facts(running, config, place.as_ref(), trace_mask), ..Report::default() };
    for need in needs {
        match need {
            Needs::Readings => report.readings = running.shared.metrics.read(),
            Needs::Conf => report.conf = conf(running, config),
            Needs::Sizes => report.sizes = sizes(running),
            Needs::Connections => report.connections = connections(running),
            Needs::Sessions => report.sessions = sessions(running, place.as_ref()),
            Needs::Ephemerals => report.ephemerals = ephemerals(running),
            Needs::Watches => report.watches = watches(running),
            Needs::WatchCounts => report.watch_counts = watch_counts(running),
            Needs::Digests => {
                let tree = running.shared.tree.read();
                report.digests =
                    tree.digest_log().map(|entry| (entry.zxid, entry.digest)).collect();
            }
            Needs::Quotas => report.quotas = quotas(running),
            Needs::Environment => report.environment = environment::gather(),
            Needs::OpenFiles => report.facts.open_files = open_files(),
        }
    }
    report
}

/// This server's place among others, if there are any.
fn place(running: &Running, config: &Config) -> Option<Place> {
    if config.is_standalone() {
        return None;
    }
    let (answer, answers) = sync_channel(1);
    if running.inquiries.push(Inquiry::Place(answer)).is_err() {
        return Some(Place::default());
    }
    running.inquiries.ring();
    Some(answers.recv_timeout(PATIENCE).unwrap_or_default())
}

/// COMPAT: a server that looks for a leader is asked nothing; its mode is of no interest then.
fn mode(place: Option<&Place>) -> Mode {
    match place.map(|place| place.standing) {
        None => Mode::Standalone,
        Some(Standing::Leading) => Mode::Leader,
        Some(Standing::Looking | Standing::Following) => Mode::Follower,
        Some(Standing::Observing) => Mode::Observer,
        Some(Standing::ReadOnly) => Mode::ReadOnly,
    }
}

fn leader(facts: LeaderFacts) -> Leader {
    Leader {
        learners: facts.learners,
        synced_followers: facts.synced_followers,
        synced_non_voting_followers: 0,
        synced_observers: facts.synced_observers,
        pending_syncs: facts.pending_syncs,
        uptime_ms: facts.uptime_ms,
        proposal_bytes: facts.proposal_bytes,
    }
}

fn facts(running: &Running, config: &Config, place: Option<&Place>, trace_mask: i64) -> Facts {
    let shared = &running.shared;
    let voters = config.ensemble.members.as_ref().map(|all| all.participants().count() as u64);
    let outstanding = shared.outstanding.load(std::sync::atomic::Ordering::Relaxed);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let tree = shared.tree.read();
    Facts {
        serving: place.is_none_or(|place| place.serving),
        mode: mode(place),
        peer_state: place.map(|place| place.peer_state.clone()),
        observer_master: None,
        last_zxid: tree.last_zxid().max(place.map_or(Zxid::ZERO, |place| place.epoch_zxid)),
        node_count: tree.node_count() as u64,
        data_bytes: tree.data_bytes(),
        ephemeral_count: tree.ephemeral_count() as u64,
        watch_count: shared.watch_count() as u64,
        connection_count: shared.admission.total() as u64,
        outstanding: outstanding as u64,
        session_count: tree.sessions().len() as u64,
        local_session_count: place.map_or(0, |place| place.local_sessions),
        uptime_ms: u64::try_from(shared.clock.now().0).unwrap_or(0),
        open_files: None, // with ten thousand clients it takes milliseconds to count them
        open_files_max: limit.current,
        drop_chance: shared.bucket.as_ref().map_or(0.0, |bucket| bucket.lock().drop_chance()),
        auth_failed: shared.auth_failed.load(std::sync::atomic::Ordering::Relaxed),
        trace_mask,
        quorum_size: voters,
        leader: place.and_then(|place| place.leader).map(leader),
        follower_observers: None,
    }
}

fn open_files() -> Option<u64> {
    let files = std::fs::read_dir("/proc/self/fd").ok()?;
    Some(files.count() as u64)
}

fn conf(running: &Running, config: &Config) -> Conf {
    let (clients, sessions) = (&config.clients, &config.sessions);
    Conf {
        client_port: running.address.map_or(-1, |at| i32::from(at.port())),
        secure_client_port: clients.secure_address.as_ref().map_or(-1, |at| i32::from(at.port)),
        data_dir: absolute(&running.directories.0),
        data_log_dir: absolute(&running.directories.1),
        tick_time_ms: sessions.tick_time_ms,
        connections_per_address_max: clients.connections_per_address_max,
        session_timeout_ms_min: sessions.timeout_ms_min,
        session_timeout_ms_max: sessions.timeout_ms_max,
        listen_backlog: clients.listen_backlog,
        // COMPAT: alone it is 0, whatever `myid` says.
        server_id: if config.is_standalone() { ServerId(0) } else { config.ensemble.my_id },
        quorum: quorum(config),
    }
}

fn quorum(config: &Config) -> Option<ConfQuorum> {
    let ensemble = &config.ensemble;
    let members = ensemble.members.as_ref()?;
    let address = members.servers.get(&ensemble.my_id).and_then(|own| own.addresses.first());
    Some(ConfQuorum {
        init_limit_ticks: ensemble.init_limit_ticks,
        sync_limit_ticks: ensemble.sync_limit_ticks,
        election_algorithm: ensemble.election_algorithm,
        election_port: address.map_or(0, |address| address.election_port),
        quorum_port: address.map_or(0, |address| address.quorum_port),
        observer: ensemble.observer,
        membership: members.to_string(),
    })
}

fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path);
    absolute.as_deref().unwrap_or(path).display().to_string()
}

/// COMPAT: with one directory for both, both sizes are those of all its files
/// (`ZooKeeperServer.getDataDirSize`, `getLogDirSize`).
fn sizes(running: &Running) -> Sizes {
    let bytes = |dir: &Path| {
        let files = std::fs::read_dir(dir).ok().into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
    };
    Sizes { data_bytes: bytes(&running.directories.0), log_bytes: bytes(&running.directories.1) }
}

/// Asks every shard, and puts their answers together. A shard that does not answer in time is left
/// out: the word must not hang on it.
fn ask_shards<T: Send>(
    shards: &[Sender<Question>],
    question: impl Fn(std::sync::mpsc::SyncSender<Vec<T>>) -> Question,
) -> Vec<T> {
    let (answer, answers) = sync_channel(shards.len());
    for shard in shards {
        if shard.push(question(answer.clone())).is_ok() {
            shard.ring();
        }
    }
    drop(answer);
    let mut all = Vec::new();
    while let Ok(part) = answers.recv_timeout(PATIENCE) {
        all.extend(part);
    }
    all
}

fn connections(running: &Running) -> Vec<Connection> {
    let facts = ask_shards(&running.questions, Question::Connections);
    facts.iter().map(connection).collect()
}

fn connection(facts: &ConnectionFacts) -> Connection {
    let timeout_ms = facts.session.as_ref().map_or(0, |session| session.timeout_ms);
    Connection {
        peer: facts.peer,
        reading: facts.is_reading,
        queued: facts.queued,
        received: facts.received,
        sent: facts.sent,
        expires_at: Millis(clock::wall().0 + i64::from(timeout_ms)),
        session: facts.session.as_ref().map(session),
    }
}

fn session(facts: &SessionFacts) -> ConnectionSession {
    let millis = |micros: u64| micros / 1000;
    ConnectionSession {
        id: facts.id,
        last_op: last_op_name(facts.last_op),
        established_at: facts.established,
        timeout_ms: u32::try_from(facts.timeout_ms).unwrap_or(0),
        last_xid: i64::from(facts.last_cxid.0),
        last_zxid: facts.last_zxid,
        last_response_at: facts.last_response,
        latency_last_ms: millis(facts.last_latency_us),
        latency_min_ms: millis(facts.min_latency_us),
        latency_avg_ms: millis(facts.latency_us_sum.checked_div(facts.latencies).unwrap_or(0)),
        latency_max_ms: millis(facts.max_latency_us),
    }
}

/// COMPAT: `ServerCnxn.lastOp` begins as null, and is printed so.
fn last_op_name(last: LastOp) -> &'static str {
    match last {
        LastOp::None => "null",
        LastOp::Forgotten => "NA",
        LastOp::Op(op) => op_name(op),
    }
}

/// COMPAT: `Request.op2String`, as `cons` prints it.
fn op_name(op: OpCode) -> &'static str {
    match op {
        OpCode::Notification => "NOTI",
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => "CREA",
        OpCode::Delete | OpCode::DeleteContainer => "DELE",
        OpCode::Exists => "EXIS",
        OpCode::GetData => "GETD",
        OpCode::SetData => "SETD",
        OpCode::GetAcl => "GETA",
        OpCode::SetAcl => "SETA",
        OpCode::GetChildren | OpCode::GetChildren2 => "GETC",
        OpCode::Sync => "SYNC",
        OpCode::Ping => "PING",
        OpCode::Check => "CHEC",
        OpCode::Multi => "MULT",
        OpCode::MultiRead => "MLTR",
        OpCode::Reconfig => "RECO",
        OpCode::CheckWatches => "CHKW",
        OpCode::RemoveWatches => "REMW",
        OpCode::Auth => "AUTH",
        OpCode::SetWatches => "SETW",
        OpCode::SetWatches2 => "STW2",
        OpCode::Sasl => "SASL",
        OpCode::GetEphemerals => "GETE",
        OpCode::GetAllChildrenNumber => "GETACN",
        OpCode::AddWatch => "ADDW",
        OpCode::WhoAmI => "HOMI",
        OpCode::CreateSession => "SESS",
        OpCode::CloseSession => "CLOS",
        OpCode::Error => "ERRO",
    }
}

fn sessions(running: &Running, place: Option<&Place>) -> Sessions {
    let dues = session_dues(running);
    let (wall, now) = (clock::wall().0, running.shared.clock.now().0);
    let expiries = |dues: Dues| {
        Expiries(dues.into_iter().map(|(at, ids)| (Millis(at.0 - now + wall), ids)).collect())
    };
    let local = dues.local.map(expiries);
    if place.is_none_or(|place| place.leader.is_some()) {
        return Sessions::Tracked { local, global: expiries(dues.global) };
    }
    let tree = running.shared.tree.read();
    let timeout = |ms: i32| u32::try_from(ms).unwrap_or(0);
    let global = tree.sessions().map(|(id, ms)| (id, timeout(ms))).collect();
    Sessions::Learned { local, global }
}

fn session_dues(running: &Running) -> SessionDues {
    let (answer, answers) = sync_channel(1);
    if running.inquiries.push(Inquiry::Sessions(answer)).is_err() {
        return SessionDues::default();
    }
    running.inquiries.ring();
    answers.recv_timeout(PATIENCE).unwrap_or_default()
}

fn ephemerals(running: &Running) -> Vec<(SessionId, Vec<String>)> {
    let tree = running.shared.tree.read();
    let of = |session| tree.ephemerals(session).map(String::from).collect();
    tree.sessions_with_ephemerals().map(|session| (session, of(session))).collect()
}

/// In pieces: with very many quotas nobody waits for the tree until all are read.
fn quotas(running: &Running) -> BTreeMap<Box<str>, QuotaSums> {
    let tree = &running.shared.tree;
    let mut walk = tree.read().begin_quota_walk();
    while tree.read().walk_quotas(&mut walk, QUOTA_NODES_AT_ONCE) {}
    walk.sums
}

fn watches(running: &Running) -> Vec<(SessionId, Vec<String>)> {
    ask_shards(&running.questions, Question::Watches)
}

/// With one shard its own count of paths is the answer; several may have some in common.
fn watch_counts(running: &Running) -> WatchCounts {
    let hash = (running.questions.len() > 1).then(|| PathHash::new(RandomState::new().hash_one(0)));
    let ask = |answer| Question::WatchCounts(hash.clone(), answer);
    add_up(ask_shards(&running.questions, ask))
}

fn add_up(shards: Vec<control::WatchCounts>) -> WatchCounts {
    let sum = |of: fn(&WatchSummary) -> usize| shards.iter().map(|one| of(&one.summary)).sum();
    let connections = sum(|summary| summary.connections);
    let watches = sum(|summary| summary.data_watches);
    let paths = match &*shards {
        [only] => only.summary.paths,
        _ => distinct(shards.into_iter().flat_map(|one| one.path_hashes).collect()),
    };
    WatchCounts { connections, paths, watches }
}

fn distinct(mut hashes: Vec<u64>) -> usize {
    hashes.sort_unstable();
    hashes.dedup();
    hashes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::watch::WatchTable;

    fn shard(watched: &[&str]) -> control::WatchCounts {
        let hash = PathHash::new(5);
        let mut table = WatchTable::new(6);
        for path in watched {
            table.watch_data(1, path).unwrap();
            table.watch_children(1, "/children").unwrap();
        }
        let path_hashes = table.data_paths().map(|path| hash.of(path)).collect();
        control::WatchCounts { summary: table.summary(), path_hashes }
    }

    #[test]
    fn a_path_that_two_shards_watch_is_counted_once() {
        let counts = |connections, paths, watches| WatchCounts { connections, paths, watches };
        assert_eq!(add_up(vec![]), counts(0, 0, 0));
        assert_eq!(add_up(vec![shard(&["/a", "/b"])]), counts(1, 2, 2));
        let shards = vec![shard(&["/a", "/b"]), shard(&["/b", "/c"]), shard(&[])];
        assert_eq!(add_up(shards), counts(2, 3, 4));
    }
}
