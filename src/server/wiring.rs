//! The threads of a server and the queues between them.
//!
//! A ring belongs to the thread that made it, and whoever pushes to a queue needs the bell of its
//! reader: so threads with rings are started first, and given their work once all bells are there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::config::Config;
use super::ensemble;
use crate::error::{ExitCode, Fatal};
use crate::limits::{
    COMMIT_QUEUE_MAX, LOG_QUEUE_MAX, QUESTIONS_QUEUE_MAX, REQUEST_QUEUE_MAX, STORAGE_QUEUE_MAX,
    WORDS_QUEUE_MAX,
};
use crate::log::{Directory, Writer};
use crate::net::{Listener, NetError, Options, Reactor, Waker};
use crate::request::prepare::PrepareConfig;
use crate::stage::control::{Inquiry, Question, WordAsk};
use crate::stage::log::{self, LogAsk, LogStage};
use crate::stage::message::{Ask, Batch};
use crate::stage::peers;
use crate::stage::pin::{self, Placement};
use crate::stage::queue::{Bell, ParkBell, Receiver, Sender, bounded};
use crate::stage::shard::{self, Shard};
use crate::stage::shared::Shared;
use crate::stage::snapshot::{SnapshotAsk, SnapshotOptions};
use crate::stage::storage::recover::{Cost, RecoverOptions};
use crate::stage::storage::{self, ConfigText, StorageAnswer, StorageAsk};
use crate::stage::zab::{self, MemberParts, ZabStage};

/// What a thread does once it has its ring and everybody has everybody's bell.
type Work = Box<dyn FnOnce(Reactor) -> Result<(), NetError> + Send>;

/// A thread with a ring, waiting for its work.
struct Ringed {
    waker: Waker,
    work: SyncSender<Work>,
    thread: JoinHandle<()>,
}

pub(super) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Fatal> {
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
pub(super) struct Storage {
    pub(super) snapshots: SyncSender<SnapshotAsk>,
    pub(super) options: SnapshotOptions,
    pub(super) log_dir: PathBuf,
    pub(super) recover: RecoverOptions,
    pub(super) config: ConfigText,
}

/// What the zab thread is told.
pub(super) struct ZabSetup {
    pub(super) prepare: PrepareConfig,
    pub(super) session_server: u8,
    pub(super) snapshots: SyncSender<SnapshotAsk>,
    pub(super) behind_snapshot: u64,
    pub(super) recovery: Cost,
    pub(super) member: Option<MemberParts>,
}

/// The queues, while the threads are being started.
pub(super) struct Wiring {
    placement: Placement,
    zab: Option<Ringed>,
    shards: Vec<Ringed>,
    asks_out: Vec<Sender<Ask>>,
    asks_in: Vec<Receiver<Ask>>,
    batches_out: Vec<Sender<Batch>>,
    batches_in: Vec<Receiver<Batch>>,
    pub(super) questions_out: Vec<Sender<Question>>,
    questions_in: Vec<Receiver<Question>>,
    words_out: Sender<WordAsk>,
    pub(super) words: Receiver<WordAsk>,
    pub(super) inquiries_out: Sender<Inquiry>,
    inquiries_in: Option<Receiver<Inquiry>>,
    log_out: Option<Sender<LogAsk>>,
    durable: Arc<AtomicI64>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Wiring {
    pub(super) fn new(
        shared: &Arc<Shared>,
        placement: Placement,
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
        let cores = placement.shards.clone();
        let mut wiring = Self {
            placement,
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
        for (index, core) in cores.into_iter().enumerate() {
            let name = format!("shard-{index}");
            let ringed = start_ringed(&name, core, listeners.next(), options, shared)?;
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

    pub(super) fn start_log(
        &mut self,
        shared: &Arc<Shared>,
        writer: Writer,
        config: &Config,
        directory: &Directory,
    ) -> Result<(), Fatal> {
        let core = self.placement.log;
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
            shares_core: self.placement.shares_core(),
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
    pub(super) fn start_storage(
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

    pub(super) fn start_zab(&mut self, shared: &Arc<Shared>, setup: ZabSetup) -> Result<(), Fatal> {
        let ZabSetup { prepare, session_server, snapshots, behind_snapshot, recovery, member } =
            setup;
        let shares_core = self.placement.shares_core();
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
                shares_core,
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

    pub(super) fn start_shards(&mut self, shared: &Arc<Shared>) -> Result<(), Fatal> {
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
