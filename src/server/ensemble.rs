//! This server among others: what it starts with, and what it is told of them.
//!
//! Runs at boot. In: the configuration, what was recovered, the epoch files. Out: the parts of a
//! member. Resolves no name and opens no socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::config::{Config, Ensemble, Members, Role};
use crate::admin;
use crate::clock;
use crate::error::{ExitCode, Fatal};
use crate::ids::{ServerId, Zxid};
use crate::log::epoch::{self, EpochFiles, Epochs};
use crate::log::{Directory, recovery};
use crate::stage::peers;
use crate::stage::queue::Receiver;
use crate::stage::storage::recover::Recovered;
use crate::stage::storage::{ConfigText, StorageAnswer, StorageAsk};
use crate::stage::zab::MemberParts;
use crate::zab::election::UNINITIALIZED;
use crate::zab::{self, Mutations, Proposal, Quorum, Rule, RuleError, Standing, Timing};

/// Standalone servers make session ids as if their `myid` were 1, as Java does.
const STANDALONE_SERVER: u8 = 1;

/// What a member starts with.
pub(super) struct Place {
    /// What `/zookeeper/config` says.
    pub(super) text: ConfigText,
    peers: peers::Config,
    zab: zab::Config,
    standing: Standing,
    recent: Vec<Proposal>,
    environment: Vec<String>,
    introduction: String,
}

impl Place {
    /// Whether there is a database, if only an empty one; else the leader's is waited for.
    pub(super) fn has_data(&self) -> bool {
        self.standing.last_logged != UNINITIALIZED
    }

    /// All that the zab thread is told.
    pub(super) fn member(
        self,
        storage: SyncSender<StorageAsk>,
        answers: Receiver<StorageAnswer>,
    ) -> MemberParts {
        let Self { peers, zab, standing, recent, environment, introduction, .. } = self;
        MemberParts { peers, zab, standing, recent, storage, answers, environment, introduction }
    }
}

/// The low byte of `myid`: what session ids begin with.
pub(super) fn session_server(config: &Config) -> u8 {
    if config.is_standalone() {
        return STANDALONE_SERVER;
    }
    config.ensemble.my_id.0.to_be_bytes()[7]
}

/// Data of one quorum packet: jute's limit and what is added to it, as Java reads it
/// (`BinaryInputArchive.checkLength`).
pub(super) fn packet_bytes_max(config: &Config) -> u32 {
    config.clients.frame_bytes_max.saturating_add(config.clients.frame_bytes_extra)
}

/// Says what a member is about to be, as `QuorumPeerMain` does.
pub(super) fn announce(config: &Config) {
    let Some(members) = &config.ensemble.members else { return };
    if members.groups.is_none() {
        tracing::info!("Defaulting to majority quorums");
    }
    tracing::info!("Starting quorum peer, myid={}", config.ensemble.my_id);
}

/// Says by what limits it is one, once its client port is bound.
pub(super) fn announce_limits(config: &Config) {
    let (ensemble, sessions) = (&config.ensemble, &config.sessions);
    if ensemble.members.is_none() {
        return;
    }
    let (min, max) = sessions.timeouts_written_ms;
    tracing::info!("tickTime set to {}", sessions.tick_time_ms);
    tracing::info!("minSessionTimeout set to {min}");
    tracing::info!("maxSessionTimeout set to {max}");
    tracing::info!("initLimit set to {}", ensemble.init_limit_ticks);
    tracing::info!("syncLimit set to {}", ensemble.sync_limit_ticks);
}

/// This server's place in its ensemble; `None` if it stands alone. Writes the epoch files if what
/// was recovered asks for it, and the members into the tree.
///
/// # Errors
/// [`Fatal`] if the epoch files contradict the log, or the members make no quorum.
pub(super) fn take_place(
    config: &Config,
    directory: &Directory,
    recovered: &mut Recovered,
) -> Result<Option<Place>, Fatal> {
    let Some(members) = &config.ensemble.members else { return Ok(None) };
    let refuse = |error: String| Fatal::new(ExitCode::Unexpected, error);
    let my_id = config.ensemble.my_id;
    if !members.servers.contains_key(&my_id) {
        return Err(refuse(format!("My id {my_id} not in the peer list")));
    }
    let standing = standing(config, directory, recovered).map_err(|error| refuse(error.clone()))?;
    let text = ConfigText { text: members.to_string().into(), version: Zxid(members.version) };
    text.put(&mut recovered.tree, clock::wall());
    let quorum = Quorum::new(rule(members).map_err(|error| refuse(error.to_string()))?);
    Ok(Some(Place {
        peers: peers(config, members),
        zab: core(config, members, quorum, Arc::clone(&text.text)),
        standing,
        recent: std::mem::take(&mut recovered.recent),
        environment: environment(),
        introduction: introduction(config, directory),
        text,
    }))
}

/// What Java's log says of the process, in the same words.
fn environment() -> Vec<String> {
    let line = |(key, value)| format!("Server environment:{key}={value}");
    let of_process = admin::environment::gather().into_iter().map(line);
    std::iter::once("TCP NoDelay set to: true".to_owned()).chain(of_process).collect()
}

fn introduction(config: &Config, directory: &Directory) -> String {
    let sessions = &config.sessions;
    format!(
        "Created server with tickTime {} ms minSessionTimeout {} ms maxSessionTimeout {} ms datadir \
         {} snapdir {}",
        sessions.tick_time_ms,
        sessions.timeout_ms_min,
        sessions.timeout_ms_max,
        directory.log_dir().display(),
        directory.snap_dir().display(),
    )
}

/// What is on disk, with the epochs that follow from it.
fn standing(
    config: &Config,
    directory: &Directory,
    recovered: &Recovered,
) -> Result<Standing, String> {
    let text = |error: crate::log::Error| format!("Unable to run quorum server: {error}");
    let last = recovered.tree.last_zxid();
    let files = epoch::read(directory.snap_dir()).map_err(text)?;
    let Epochs { current, accepted } = epoch::decide(&files, last).map_err(text)?;
    let known = EpochFiles { current: Some(current), accepted: Some(accepted), ..files };
    if known.accepted != files.accepted {
        epoch::write_accepted(directory.snap_dir(), accepted).map_err(text)?;
    }
    if known.current != files.current {
        epoch::write_current(directory.snap_dir(), current).map_err(text)?;
    }
    let has_data = has_database(config, directory, recovered).map_err(text)?;
    let last_logged = if has_data { last } else { UNINITIALIZED };
    Ok(Standing { accepted, current, last_logged })
}

/// Whether there is a database, if only an empty one. What says that it may be empty is said once:
/// where one is made anyway, too.
fn has_database(
    config: &Config,
    directory: &Directory,
    recovered: &Recovered,
) -> Result<bool, crate::log::Error> {
    if recovered.snapshot.is_some() || recovery::has_logs(directory.log_dir())? {
        return Ok(true);
    }
    let is_marked = directory.take_initialize_marker()?;
    Ok(is_marked || config.storage.database_autocreate)
}

fn rule(members: &Members) -> Result<Rule, RuleError> {
    let voters = members.participants().map(|(id, _)| id);
    let Some(groups) = &members.groups else { return Rule::majority(voters) };
    let mut of_group: BTreeMap<i64, Vec<ServerId>> = BTreeMap::new();
    for (id, group) in &groups.of {
        of_group.entry(*group).or_default().push(*id);
    }
    let weight = |(id, weight): (&ServerId, &i64)| (*id, u64::try_from(*weight).unwrap_or(0));
    let weights: Vec<_> = groups.weights.iter().map(weight).collect();
    Rule::hierarchical(voters, &of_group.into_values().collect::<Vec<_>>(), &weights)
}

fn peers(config: &Config, members: &Members) -> peers::Config {
    let Ensemble { my_id, sync_limit_ticks, init_limit_ticks, .. } = config.ensemble;
    let tick = Duration::from_millis(config.sessions.tick_time_ms.into());
    let addresses = members.servers.iter().map(|(id, member)| {
        let of = |address: &super::config::MemberAddress| peers::Address {
            host: address.host.clone(),
            quorum_port: address.quorum_port,
            election_port: address.election_port,
        };
        (*id, member.addresses.iter().map(of).collect::<Vec<_>>())
    });
    peers::Config {
        me: my_id,
        members: addresses.collect::<BTreeMap<_, _>>(),
        listen_on_all: config.ensemble.listen_on_all,
        multi_address: config.ensemble.multi_address,
        keep_alive: config.ensemble.tcp_keep_alive,
        connect_timeout: Duration::from_millis(config.ensemble.connect_timeout_ms.into()),
        handshake_timeout: tick * sync_limit_ticks,
        introduction_timeout: tick * init_limit_ticks,
        bind_tries_max: config.ensemble.bind_retry_max,
        packet_bytes_max: packet_bytes_max(config),
    }
}

fn core(config: &Config, members: &Members, quorum: Quorum, text: Arc<str>) -> zab::Config {
    let ensemble = &config.ensemble;
    let role = members.servers.get(&ensemble.my_id).map(|member| member.role);
    zab::Config {
        me: ensemble.my_id,
        is_observer: role == Some(Role::Observer),
        quorum,
        text,
        version: members.version,
        timing: Timing {
            tick_ms: config.sessions.tick_time_ms.into(),
            init_limit: ensemble.init_limit_ticks.into(),
            sync_limit: ensemble.sync_limit_ticks.into(),
            connect_limit: ensemble.connect_limit_ticks.into(),
            interval_ms_min: ensemble.notification_ms_min.into(),
            interval_ms_max: ensemble.notification_ms_max.into(),
        },
        recent_max: config.storage.commit_log_count as usize,
        reads_log: config.storage.snapshot_size_factor >= 0.0,
        leader_serves: ensemble.leader_serves,
        counter_max: zab::Config::COUNTER_MAX,
        mutations: Mutations::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::stage::storage::recover::Cost;
    use crate::tree::{Tree, TreeOptions};

    /// A configuration of one server with these lines, and its folder.
    fn configured(lines: &str) -> (Config, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("zoo.cfg");
        let text = format!("dataDir={}\nclientPort=1\n{lines}", dir.path().display());
        fs::write(&file, text).unwrap();
        (Config::load(Some(&file), &[]).unwrap().0, dir)
    }

    /// What comes of a folder without logs that has the marker or not: whether there is a database,
    /// and whether there is the marker still.
    fn found(lines: &str, snapshot: Option<Zxid>, is_marked: bool) -> (bool, bool) {
        let (config, dir) = configured(lines);
        let marker = dir.path().join("initialize");
        if is_marked {
            fs::write(&marker, "").unwrap();
        }
        let directory = Directory::open(dir.path(), dir.path(), true).unwrap();
        let tree = Tree::with_options(TreeOptions::default());
        let (cost, recent) = (Cost::default(), Vec::new());
        let recovered = Recovered { tree, snapshot, replayed: 0, cost, recent };
        let has_database = has_database(&config, &directory, &recovered).unwrap();
        (has_database, marker.exists())
    }

    /// `ZooKeeper` deletes the marker where it finds an empty database: whoever empties the folder
    /// later has to say so again.
    #[test]
    fn the_marker_of_an_empty_database_is_used_once() {
        let never = "db.autocreate=false\n";
        assert_eq!(found("", None, true), (true, false));
        assert_eq!(found("", None, false), (true, false));
        assert_eq!(found(never, None, true), (true, false));
        assert_eq!(found(never, None, false), (false, false));
        assert_eq!(found(never, Some(Zxid(1)), true), (true, true), "it is not empty");
    }

    #[test]
    fn a_quorum_packet_may_be_longer_than_a_frame_by_what_is_configured() {
        let cases = [
            ("jute.maxbuffer=4096\n", 8192),
            ("jute.maxbuffer=4096\njute.maxbuffer.extrasize=100000\n", 104_096),
            ("jute.maxbuffer=4096\njute.maxbuffer.extrasize=2048\n", 6144),
        ];
        for (lines, expected) in cases {
            assert_eq!(packet_bytes_max(&configured(lines).0), expected, "{lines}");
        }
    }
}
