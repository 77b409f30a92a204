//! Starts a server: recover, bind, make the threads and what they tell each other by.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::mpsc::{Receiver as Channel, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::config::Config;
use super::{descriptors, ensemble, settings};
use crate::clock::Clock;
use crate::error::{ExitCode, Fatal};
use crate::limits::{
    COMMIT_QUEUE_MAX, ELECTION_BIND_RETRY_MS, LOG_QUEUE_MAX, QUESTIONS_QUEUE_MAX,
    REQUEST_QUEUE_MAX, STORAGE_QUEUE_MAX, WORDS_QUEUE_MAX,
};
use crate::log::{Directory, StopFlag, Writer, WriterOptions};
use crate::net::{Listener, NetError, Options, Reactor, Waker};
use crate::request::prepare::PrepareConfig;
use crate::stage::control::{Inquiry, Question, WordAsk};
use crate::stage::log::{self, LogAsk, LogStage};
use crate::stage::message::{Ask, Batch};
use crate::stage::peers;
use crate::stage::pin::{self, Placement};
use crate::stage::queue::{Bell, ParkBell, Receiver, Sender, bounded};
use crate::stage::service::Service;
use crate::stage::shard::{self, Shard};
use crate::stage::shared::Shared;
use crate::stage::snapshot::{self, SnapshotAsk, SnapshotOptions};
use crate::stage::storage::recover::{self, Cost, RecoverOptions, Recovered};
use crate::stage::storage::{self, ConfigText, StorageAnswer, StorageAsk};
use crate::stage::zab::{self, MemberParts, ZabStage};

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

/// What a thread does once it has its ring and everybody has everybody's bell.
type Work = Box<dyn FnOnce(Reactor) -> Result<(), NetError> + Send>;

/// A thread with a ring, waiting for its work.
struct Ringed {
    waker: Waker,
    work: SyncSender<Work>,
    thread: JoinHandle<()>,
}

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
    let mut parts = Wiring::new(&shared, &placement, listeners, bell, config)?;
    let snapshots = start_snapshots(&shared, snapshot_options.clone())?;
    parts.start_log(&shared, writer, config, &directory, &placement)?;
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

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Fatal> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(work);
    thread.map_err(|error| {
        Fatal::new(ExitCode::Unexpected, format!("cannot start the {name} thread: {error}"))
    })
}

/// Starts a thread, has it make its ring, and lets it wait for its work.
fn start_ringed(
    name: &str,
    core: Option<usize>,
    listener: Option<Listener>,
    options: Options,
    shared: &Arc<Shared>,
) -> Result<Ringed, Fatal> {
    let (made, ring_made) = sync_channel(1);
    let (work, works) = sync_channel::<Work>(1);
    let shared = Arc::clone(shared);
    let thread = spawn(name, move || {
        pin::pin(core);
        let made_ring = Reactor::new(options).and_then(|mut reactor| {
            listener.map(|listener| reactor.listen(listener)).transpose()?;
            Ok(reactor)
        });
        let reactor = match made_ring {
            Ok(reactor) => reactor,
            Err(error) => {
                let _ = made.send(Err(error));
                return;
            }
        };
        let _ = made.send(Ok((reactor.waker(), reactor.features())));
        let Ok(work) = works.recv() else { return };
        if let Err(error) = work(reactor) {
            shared.fail(Fatal::new(ExitCode::RingUnavailable, error));
        }
    })?;
    let answer = ring_made.recv();
    let lost = || Fatal::new(ExitCode::Unexpected, format!("the {name} thread ended at its start"));
    let (waker, features) = answer
        .map_err(|_| lost())?
        .map_err(|error| Fatal::new(ExitCode::RingUnavailable, error))?;
    tracing::info!(thread = name, %features, "io_uring");
    Ok(Ringed { waker, work, thread })
}

/// What the storage thread is told of the files.
struct Storage {
    snapshots: SyncSender<SnapshotAsk>,
    options: SnapshotOptions,
    log_dir: PathBuf,
    recover: RecoverOptions,
    config: ConfigText,
}

/// What the zab thread is told.
struct ZabSetup {
    prepare: PrepareConfig,
    session_server: u8,
    snapshots: SyncSender<SnapshotAsk>,
    behind_snapshot: u64,
    recovery: Cost,
    member: Option<MemberParts>,
}

/// The queues, while the threads are being started.
struct Wiring {
    zab: Option<Ringed>,
    shards: Vec<Ringed>,
    asks_out: Vec<Sender<Ask>>,
    asks_in: Vec<Receiver<Ask>>,
    batches_out: Vec<Sender<Batch>>,
    batches_in: Vec<Receiver<Batch>>,
    questions_out: Vec<Sender<Question>>,
    questions_in: Vec<Receiver<Question>>,
    words_out: Sender<WordAsk>,
    words: Receiver<WordAsk>,
    inquiries_out: Sender<Inquiry>,
    inquiries_in: Option<Receiver<Inquiry>>,
    log_out: Option<Sender<LogAsk>>,
    durable: Arc<AtomicI64>,
    threads: Vec<JoinHandle<()>>,
}

impl Wiring {
    fn new(
        shared: &Arc<Shared>,
        placement: &Placement,
        listeners: Vec<Listener>,
        bell: &Arc<ParkBell>,
        config: &Config,
    ) -> Result<Self, Fatal> {
        let options = peers::reactor_options(ensemble::packet_bytes_max(config));
        let zab = start_ringed("zab", placement.zab, None, options, shared)?;
        let frame_bytes = shared.settings.frame_bytes_max as usize;
        let options = Options { input_bytes_max: frame_bytes + (64 << 10), ..Options::default() };
        let zab_bell: Arc<dyn Bell> = Arc::new(zab.waker.clone());
        let (words_out, words) = bounded(WORDS_QUEUE_MAX, Arc::clone(bell) as Arc<dyn Bell>);
        let (inquiries_out, inquiries_in) = bounded(WORDS_QUEUE_MAX, Arc::clone(&zab_bell));
        let last = shared.tree.read().last_zxid();
        let mut wiring = Self {
            zab: Some(zab),
            shards: Vec::new(),
            asks_out: Vec::new(),
            asks_in: Vec::new(),
            batches_out: Vec::new(),
            batches_in: Vec::new(),
            questions_out: Vec::new(),
            questions_in: Vec::new(),
            words_out,
            words,
            inquiries_out,
            inquiries_in: Some(inquiries_in),
            log_out: None,
            durable: Arc::new(AtomicI64::new(last.0)),
            threads: Vec::new(),
        };
        let mut listeners = listeners.into_iter();
        for (index, core) in placement.shards.iter().enumerate() {
            let name = format!("shard-{index}");
            let ringed = start_ringed(&name, *core, listeners.next(), options, shared)?;
            let bell: Arc<dyn Bell> = Arc::new(ringed.waker.clone());
            let (ask, asked) = bounded(REQUEST_QUEUE_MAX, Arc::clone(&zab_bell));
            let (batch, batches) = bounded(COMMIT_QUEUE_MAX, Arc::clone(&bell));
            let (question, questions) = bounded(QUESTIONS_QUEUE_MAX, bell);
            wiring.asks_out.push(ask);
            wiring.asks_in.push(asked);
            wiring.batches_out.push(batch);
            wiring.batches_in.push(batches);
            wiring.questions_out.push(question);
            wiring.questions_in.push(questions);
            wiring.shards.push(ringed);
        }
        Ok(wiring)
    }

    fn start_log(
        &mut self,
        shared: &Arc<Shared>,
        writer: Writer,
        config: &Config,
        directory: &Directory,
        placement: &Placement,
    ) -> Result<(), Fatal> {
        let core = placement.log;
        let bell = Arc::new(ParkBell::default());
        let (asks, asked) = bounded(LOG_QUEUE_MAX, Arc::clone(&bell) as Arc<dyn Bell>);
        let zab = self.zab.as_ref().expect("the zab thread is started last").waker.clone();
        let parts = log::Parts {
            shared: Arc::clone(shared),
            asks: asked,
            bell,
            durable: Arc::clone(&self.durable),
            zab,
            writer,
            log_dir: directory.log_dir().into(),
            snap_dir: directory.snap_dir().into(),
            shares_core: placement.shares_core(),
            flush_warning_ms: config.storage.flush_warning_ms,
        };
        let stage = LogStage::new(parts);
        self.log_out = Some(asks);
        let thread = spawn("log", move || {
            pin::pin(core);
            stage.run();
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// The storage thread is not waited for at the end: what it does is for an ensemble, and
    /// either whole or not there.
    fn start_storage(
        &self,
        shared: &Arc<Shared>,
        storage: Storage,
    ) -> Result<(SyncSender<StorageAsk>, Receiver<StorageAnswer>), Fatal> {
        let zab = self.zab.as_ref().expect("the zab thread is started last").waker.clone();
        let (answers, answered) = bounded(STORAGE_QUEUE_MAX, Arc::new(zab) as Arc<dyn Bell>);
        let (asks, asked) = sync_channel(STORAGE_QUEUE_MAX);
        let Storage { snapshots, options, log_dir, recover, config } = storage;
        let parts = storage::Parts {
            shared: Arc::clone(shared),
            asks: asked,
            answers,
            log: self.log_out.clone().expect("the log thread is started before"),
            snapshots,
            options,
            log_dir,
            recover,
            config,
        };
        spawn("storage", move || storage::run(&parts))?;
        Ok((asks, answered))
    }

    fn start_zab(&mut self, shared: &Arc<Shared>, setup: ZabSetup) -> Result<(), Fatal> {
        let ZabSetup { prepare, session_server, snapshots, behind_snapshot, recovery, member } =
            setup;
        let Ringed { work, thread, .. } = self.zab.take().expect("made at the start");
        let shared = Arc::clone(shared);
        let asks = std::mem::take(&mut self.asks_in);
        let batches = std::mem::take(&mut self.batches_out);
        let log = self.log_out.take().expect("the log thread is started before");
        let inquiries = self.inquiries_in.take().expect("made at the start");
        let durable = Arc::clone(&self.durable);
        give(&work, move |reactor| {
            let parts = zab::Parts {
                reactor,
                shared,
                asks,
                batches,
                log,
                durable,
                snapshots,
                behind_snapshot,
                recovery,
                inquiries,
                prepare,
                session_server,
            };
            match member {
                None => ZabStage::standalone(parts).run(),
                Some(member) => ZabStage::member(parts, member).run(),
            }
        })?;
        self.threads.insert(0, thread);
        Ok(())
    }

    fn start_shards(&mut self, shared: &Arc<Shared>) -> Result<(), Fatal> {
        let queues = self.asks_out.drain(..).zip(self.batches_in.drain(..));
        let queues = queues.zip(self.questions_in.drain(..));
        for (index, (ringed, ((asks, batches), questions))) in
            self.shards.drain(..).zip(queues).enumerate()
        {
            let (shared, words) = (Arc::clone(shared), self.words_out.clone());
            give(&ringed.work, move |reactor| {
                let parts =
                    shard::Parts { index, reactor, shared, asks, batches, questions, words };
                Shard::new(parts).run()
            })?;
            self.threads.push(ringed.thread);
        }
        Ok(())
    }
}

fn give(
    work: &SyncSender<Work>,
    what: impl FnOnce(Reactor) -> Result<(), NetError> + Send + 'static,
) -> Result<(), Fatal> {
    work.send(Box::new(what))
        .map_err(|_| Fatal::new(ExitCode::Unexpected, "a thread ended before it had its work"))
}
