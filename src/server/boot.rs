//! Starts a server: recover, bind, start the threads (`wiring.rs`).

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Channel, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::config::Config;
use super::wiring::{Storage, Wiring, ZabSetup, spawn};
use super::{descriptors, ensemble, settings};
use crate::clock::Clock;
use crate::error::{ExitCode, Fatal};
use crate::limits::ELECTION_BIND_RETRY_MS;
use crate::log::{Directory, StopFlag, Writer, WriterOptions};
use crate::net::{Listener, NetError};
use crate::stage::control::{Inquiry, Question, WordAsk};
use crate::stage::pin;
use crate::stage::queue::{Bell, ParkBell, Receiver, Sender};
use crate::stage::service::Service;
use crate::stage::shared::Shared;
use crate::stage::snapshot::{self, SnapshotAsk, SnapshotOptions};
use crate::stage::storage::recover::{self, RecoverOptions, Recovered};

/// A running server, as the control thread holds it.
pub struct Running {
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// Where clients connect; `None` if it serves none.
    pub address: Option<SocketAddr>,
    /// `version-2` of `dataDir`, and of `dataLogDir`.
    pub directories: (PathBuf, PathBuf),
    /// From the shards.
    pub words: Receiver<WordAsk>,
    /// To each shard.
    pub questions: Vec<Sender<Question>>,
    /// To the zab thread.
    pub inquiries: Sender<Inquiry>,
    /// What ends the process.
    pub failures: Channel<Fatal>,
    /// The zab, log and shard threads, to be waited for in this order.
    pub threads: Vec<JoinHandle<()>>,
    /// Keeps other processes out of the data directory.
    pub lock: Directory,
}

/// The kernel may hold the sockets of a killed process for a moment: its ring is taken down behind
/// it. So an address in use is tried again for so long.
const BIND_TRIES: u32 = 30;
const BIND_PAUSE: Duration = Duration::from_millis(100);

/// Starts everything. The calling thread is the control thread; `bell` wakes it.
///
/// # Errors
/// [`Fatal`] with the exit code for what stands in the way; nothing serves then. That is
/// [`ExitCode::Normal`] if `stop` was raised: what is on the disk is as good as before.
pub fn boot(config: &Config, bell: &Arc<ParkBell>, stop: &StopFlag) -> Result<Running, Fatal> {
    let clock = Clock::start();
    let placement = settings::placement(config);
    let shards = placement.shards.len();
    let open_files = descriptors::open_files(config, shards);
    ensemble::announce(config);
    let directory = take_directory(config, stop)?;
    let seed = RandomState::new().hash_one(0);
    let options = recover_options(config, seed);
    let mut recovered = recover(&options, &directory, clock, stop)?;
    let place = ensemble::take_place(config, &directory, &mut recovered)?;
    let (failures_in, failures) = sync_channel(1);
    let writer = open_log(config, &directory, recovered.tree.last_zxid());
    let needs_snapshot =
        recovered.snapshot.is_none() && place.as_ref().is_none_or(ensemble::Place::has_data);
    let behind_snapshot = if needs_snapshot { 0 } else { recovered.replayed };
    let recovery = recovered.cost;
    let shared = Arc::new(Shared::new(
        recovered.tree,
        settings::settings(config, open_files)?,
        shards,
        clock,
        (failures_in, Arc::clone(bell) as Arc<dyn Bell>),
    ));
    if place.is_none() {
        // Alone it serves whoever connects first: what that asks waits for the zab thread.
        shared.service.set(Service::Alone);
    }
    let snapshot_options = settings::snapshot(config, directory.snap_dir());
    if needs_snapshot {
        first_snapshot(&shared, &snapshot_options, stop)?;
    }
    tracing::info!(%placement, "threads");
    let listeners = listen(config, shards, stop)?;
    let address = listeners.first().map(Listener::local_addr);
    let mut parts = Wiring::new(&shared, placement, listeners, bell, config)?;
    let snapshots = start_snapshots(&shared, snapshot_options.clone())?;
    parts.start_log(&shared, writer, config, &directory)?;
    let directories = (directory.snap_dir().into(), directory.log_dir().into());
    let member = place.map(|place| {
        let storage = Storage {
            snapshots: snapshots.clone(),
            options: snapshot_options,
            log_dir: directory.log_dir().into(),
            recover: options,
            config: place.text.clone(),
        };
        parts.start_storage(&shared, storage).map(|(asks, answers)| place.member(asks, answers))
    });
    let member = member.transpose()?;
    let is_alone = member.is_none();
    let prepare = settings::prepare(config, seed)?;
    let session_server = ensemble::session_server(config);
    let setup = ZabSetup { prepare, session_server, snapshots, behind_snapshot, recovery, member };
    parts.start_zab(&shared, setup)?;
    parts.start_shards(&shared)?;
    if is_alone && let Some(address) = address {
        tracing::info!(%address, "serving clients");
    }
    Ok(Running {
        shared,
        address,
        directories,
        words: parts.words,
        questions: parts.questions_out,
        inquiries: parts.inquiries_out,
        failures,
        threads: parts.threads,
        lock: directory,
    })
}

/// Takes the data for this process, once its port is free: whoever listens there may be a server of
/// the same data of Java's, which knows nothing of our lock, and no file may be touched then.
fn take_directory(config: &Config, stop: &StopFlag) -> Result<Directory, Fatal> {
    let storage = &config.storage;
    let refuse = |error| Fatal::new(ExitCode::DataDirectory, error);
    let directory =
        Directory::open(&storage.data_dir, &storage.data_log_dir, storage.directories_autocreate)
            .map_err(refuse)?;
    wait_for_ports(config, stop)?;
    directory.remove_unfinished().map_err(refuse)?;
    Ok(directory)
}

/// Until nobody has the port where another server of this data would listen: for clients, or of a
/// member that serves none, for elections. What else is wrong with that one its stage tells.
fn wait_for_ports(config: &Config, stop: &StopFlag) -> Result<(), Fatal> {
    if let Some(address) = settings::client_address(config)? {
        return Port::of_clients(address).patiently(stop, Listener::probe);
    }
    for address in settings::election_addresses(config) {
        Port::of_elections(address, config).patiently(stop, |address| {
            Listener::probe(address)
                .or_else(|error| if error.is_address_in_use() { Err(error) } else { Ok(()) })
        })?;
    }
    Ok(())
}

fn recover_options(config: &Config, seed: u64) -> RecoverOptions {
    let storage = &config.storage;
    RecoverOptions {
        tree: settings::tree(config, seed),
        trust_empty_snapshot: storage.trust_empty_snapshot,
        allow_gaps: storage.recovery_allows_gaps,
        cut_damaged_tail: storage.recovery_cuts_damaged_tail,
        recent_max: if config.is_standalone() { 0 } else { storage.commit_log_count as usize },
    }
}

fn recover(
    options: &RecoverOptions,
    directory: &Directory,
    clock: Clock,
    stop: &StopFlag,
) -> Result<Recovered, Fatal> {
    let recovered = recover::recover(directory.snap_dir(), directory.log_dir(), options, stop)?;
    let (zxid, nodes) = (recovered.tree.last_zxid(), recovered.tree.node_count());
    let (replayed, millis) = (recovered.replayed, clock.now().0);
    tracing::info!(%zxid, nodes, replayed, millis, "recovered");
    if let (mismatches @ 1.., Some(first)) = recovered.tree.digest_mismatches() {
        tracing::error!(
            mismatches,
            ?first,
            "the recovered tree is not what its log was written for; compare it with a backup"
        );
    }
    if let nodes @ 1.. = recovered.tree.without_acl() {
        tracing::error!(
            nodes,
            "the snapshot has nodes whose ACL it lacks: only a superuser is let in, who should set \
             them anew (getAcl shows world:nobody)"
        );
    }
    Ok(recovered)
}

fn open_log(config: &Config, directory: &Directory, last: crate::ids::Zxid) -> Writer {
    let storage = &config.storage;
    Writer::open(WriterOptions {
        log_dir: directory.log_dir().into(),
        last,
        segment_bytes: storage.preallocate_bytes.unwrap_or(0),
        force_sync: storage.force_sync,
        roll_bytes: storage.log_roll_bytes,
    })
}

/// There is always a snapshot: a log without one is not to be trusted.
fn first_snapshot(
    shared: &Arc<Shared>,
    options: &SnapshotOptions,
    stop: &StopFlag,
) -> Result<(), Fatal> {
    let image = shared.tree.write().begin_image().expect("no other image is under way yet");
    let written = snapshot::write_first(&image, &shared.tree, options, stop);
    drop(shared.tree.write().end_image(&image));
    stop.check().map_err(stopped)?;
    if let Some(file) = written.map_err(|error| Fatal::new(ExitCode::Snapshot, error))? {
        tracing::info!(file = %file.path.display(), "snapshotting");
    }
    Ok(())
}

fn stopped(error: crate::log::Error) -> Fatal {
    Fatal::new(ExitCode::Normal, error)
}

/// A port of this server that somebody else may have.
struct Port {
    /// Whose it is.
    name: &'static str,
    address: SocketAddr,
    /// How often it is tried again, and how long after; `None` is for ever.
    retries_max: Option<u32>,
    pause: Duration,
    /// What it means not to have it.
    code: ExitCode,
}

impl Port {
    const fn of_clients(address: SocketAddr) -> Self {
        let (retries_max, pause) = (Some(BIND_TRIES), BIND_PAUSE);
        Self { name: "client", address, retries_max, pause, code: ExitCode::Unexpected }
    }

    /// As patient as the stage that opens it is to be (`electionPortBindRetry`).
    fn of_elections(address: SocketAddr, config: &Config) -> Self {
        let pause = Duration::from_millis(ELECTION_BIND_RETRY_MS.unsigned_abs());
        let retries_max = config.ensemble.bind_retry_max.checked_sub(1);
        Self { name: "election", address, retries_max, pause, code: ExitCode::ElectionPort }
    }

    fn patiently<T>(
        &self,
        stop: &StopFlag,
        bind: impl Fn(SocketAddr) -> Result<T, NetError>,
    ) -> Result<T, Fatal> {
        let Self { name, address, retries_max, .. } = *self;
        let mut retries = 0;
        loop {
            stop.check().map_err(stopped)?;
            match bind(address) {
                Ok(bound) => return Ok(bound),
                Err(error)
                    if error.is_address_in_use() && retries_max.is_none_or(|max| retries < max) =>
                {
                    retries += 1;
                    std::thread::park_timeout(self.pause);
                }
                Err(error) => {
                    let text = format!("cannot bind to {name} port {address}: {error}");
                    return Err(Fatal::new(self.code, text));
                }
            }
        }
    }
}

/// One for each shard; none if there is no client port.
fn listen(config: &Config, shards: usize, stop: &StopFlag) -> Result<Vec<Listener>, Fatal> {
    let Some(address) = settings::client_address(config)? else {
        tracing::info!("clientPort is not set");
        ensemble::announce_limits(config);
        return Ok(Vec::new());
    };
    let backlog = config.clients.listen_backlog;
    let bind = |address| Listener::bind_group(address, backlog, shards);
    let listeners = Port::of_clients(address).patiently(stop, bind)?;
    for listener in &listeners {
        listener
            .set_keep_alive(config.clients.tcp_keep_alive)
            .map_err(|error| Fatal::new(ExitCode::Unexpected, error))?;
    }
    tracing::info!("binding to port {}", port_in_words(config, address));
    ensemble::announce_limits(config);
    Ok(listeners)
}

/// COMPAT: as Java prints a socket's address: the name, a slash, the number.
fn port_in_words(config: &Config, address: SocketAddr) -> String {
    let host = config.clients.address.as_ref().and_then(|address| address.host.as_deref());
    let (ip, port) = (address.ip().to_canonical(), address.port());
    match host {
        None => format!("0.0.0.0/0.0.0.0:{port}"),
        Some(host) if host.parse::<std::net::IpAddr>().is_ok() => format!("/{ip}:{port}"),
        Some(host) => format!("{host}/{ip}:{port}"),
    }
}

fn start_snapshots(
    shared: &Arc<Shared>,
    options: SnapshotOptions,
) -> Result<SyncSender<SnapshotAsk>, Fatal> {
    let (asks, asked) = sync_channel(0); // handed over, never queued
    let shared = Arc::clone(shared);
    spawn("snapshot", move || {
        pin::be_nice();
        snapshot::run(&asked, &shared, &options);
    })?;
    Ok(asks)
}
