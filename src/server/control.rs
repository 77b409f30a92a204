//! The control thread: signals, four-letter words, purges, the service manager, and the end.
//!
//! Thread: the process's first. In: signals, words, failures. Out: texts for the shards; orders to
//! stop. Never on the path of a request.

use std::sync::Arc;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::boot::Running;
use super::config::{Clients, Config};
use super::gather;
use super::notify::{Notifier, Pulse};
use crate::admin::four_letter::{self, Action, Whitelist};
use crate::admin::report::{Report, TRACE_MASK_DEFAULT};
use crate::clock::Clock;
use crate::error::{ExitCode, Fatal};
use crate::ids::Millis;
use crate::log::{self, StopFlag, snapshot};
use crate::stage::control::{Question, WordAsk};
use crate::stage::queue::{Bell, ParkBell, Sender};
use crate::wire::word::Word;

/// How long a clean stop may take before the process ends all the same.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How soon a shard whose queue is full is told again that it is to leave.
const DISMISS_RETRY: Duration = Duration::from_millis(1);

/// How often the control thread looks at the clock when nothing else wakes it.
const IDLE: Duration = Duration::from_mins(1);

/// Whether the process was asked to end.
pub struct Asked(StopFlag);

impl Asked {
    /// Watches for TERM and INT; `bell` wakes the control thread. The second one ends the process
    /// at once.
    ///
    /// # Errors
    /// [`Fatal`] if signals cannot be watched.
    pub fn watch(bell: &Arc<ParkBell>) -> Result<Self, Fatal> {
        let failed = |error| Fatal::new(ExitCode::Unexpected, format!("no signals: {error}"));
        let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
        let asked = StopFlag::default();
        let (flag, bell) = (asked.clone(), Arc::clone(bell));
        let work = move || {
            for _ in signals.forever() {
                if flag.is_raised() {
                    std::process::exit(i32::from(ExitCode::Normal.code()));
                }
                flag.raise();
                bell.ring();
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(work).map_err(failed)?;
        Ok(Self(asked))
    }

    /// What is raised then, for whatever takes long before the control thread looks.
    pub const fn flag(&self) -> &StopFlag {
        &self.0
    }

    fn is_any(&self) -> bool {
        self.0.is_raised()
    }
}

/// Which four-letter words may be executed.
pub(super) fn whitelist(clients: &Clients) -> Whitelist {
    Whitelist::new(&clients.four_letter_whitelist, clients.read_only_mode)
}

/// See the module.
pub struct Control<'a> {
    running: Running,
    config: &'a Config,
    whitelist: Whitelist,
    trace_mask: i64,
    next_purge: Option<Millis>,
    notifier: Notifier,
    pulse: Option<Pulse>,
}

impl<'a> Control<'a> {
    /// The control of a server that runs; `notifier` is told of it.
    pub fn new(running: Running, config: &'a Config, notifier: Notifier) -> Self {
        let whitelist = whitelist(&config.clients);
        let next_purge = config.storage.purge_interval_ms.map(|_| running.shared.clock.now());
        let pulse = notifier.pulse(running.address);
        let trace_mask = TRACE_MASK_DEFAULT;
        Self { running, config, whitelist, trace_mask, next_purge, notifier, pulse }
    }

    /// Runs until the server has stopped.
    ///
    /// # Errors
    /// What made it stop, if it was not asked to.
    pub fn run(mut self, bell: &ParkBell, asked: &Asked) -> Result<(), Fatal> {
        bell.adopt();
        loop {
            if let Ok(fatal) = self.running.failures.try_recv() {
                return Err(fatal);
            }
            if asked.is_any() {
                return self.stop();
            }
            let timeout = self.purge_if_due().min(self.beat_if_due());
            if let Some(word) = self.running.words.pop() {
                self.answer(word);
                continue; // however many there are, an end goes before them
            }
            let (words, shared) = (&self.running.words, &self.running.shared);
            let ready = || !words.is_empty() || asked.is_any() || shared.has_failed();
            bell.wait_unless(Some(timeout), ready);
        }
    }

    fn answer(&mut self, ask: WordAsk) {
        let word = ask.word;
        let text = if self.whitelist.allows(word) {
            self.act(ask);
            four_letter::answer(word, &self.report_for(word))
        } else {
            four_letter::refused(word)
        };
        let shard = &self.running.questions[ask.origin.shard];
        let question = Question::Text(ask.origin.connection, text.into_bytes());
        // Full: the shard is far behind; its client gets nothing and asks again.
        if shard.push(question).is_ok() {
            shard.ring();
        }
    }

    fn report_for(&self, word: Word) -> Report {
        if four_letter::is_constant(word) {
            return Report::default();
        }
        let needs = four_letter::needs(word);
        gather::report(&self.running, self.config, needs, self.trace_mask)
    }

    fn act(&mut self, ask: WordAsk) {
        match four_letter::action(ask.word) {
            None => {}
            Some(Action::SetTraceMask) => self.trace_mask = ask.operand.unwrap_or(self.trace_mask),
            Some(Action::ResetServer) => self.running.shared.metrics.reset(),
            Some(Action::ResetConnections) => {
                for shard in &self.running.questions {
                    if shard.push(Question::ResetConnections).is_ok() {
                        shard.ring();
                    }
                }
            }
        }
    }

    /// Purges on a thread of its own; returns how long until the control thread must look again.
    fn purge_if_due(&mut self) -> Duration {
        let (Some(due), Some(interval)) = (self.next_purge, self.config.storage.purge_interval_ms)
        else {
            return IDLE;
        };
        let now = self.running.shared.clock.now();
        if due <= now {
            self.purge();
            let interval = i64::try_from(interval).unwrap_or(i64::MAX);
            self.next_purge = Some(Millis(now.0.saturating_add(interval)));
        }
        IDLE
    }

    /// Returns how long until the service manager must hear again.
    fn beat_if_due(&mut self) -> Duration {
        let Some(pulse) = &mut self.pulse else { return IDLE };
        let now = self.running.shared.clock.now();
        pulse.look(now, &self.running.inquiries, &self.notifier)
    }

    fn purge(&self) {
        let (snap_dir, log_dir) = self.running.directories.clone();
        let keep = self.config.storage.purge_retain_count as usize;
        let shared = Arc::clone(&self.running.shared);
        let purge = move || {
            let Some(oldest) = snapshot::oldest_to_keep(&snap_dir, keep)? else { return Ok(0) };
            let _files = shared.files.lock();
            Ok(snapshot::purge(&snap_dir, &log_dir, &oldest)?.removed.len())
        };
        let work = move || match purge() {
            Ok(files) => tracing::info!(files, "purge task completed"),
            Err::<_, log::Error>(error) => {
                tracing::warn!(%error, "cannot purge old snapshots and logs");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("purge".into()).spawn(work) {
            tracing::warn!(%error, "no thread to purge old snapshots and logs");
        }
    }

    /// Everything asked so far is committed and answered; then the threads end. Sessions are kept.
    fn stop(self) -> Result<(), Fatal> {
        tracing::info!("stopping");
        self.notifier.stopping();
        self.running.shared.stop();
        let deadline = self.running.shared.clock.elapsed() + STOP_PATIENCE;
        let (done, all_done) = std::sync::mpsc::sync_channel(1);
        let Running { threads, questions, shared, inquiries, failures, .. } = self.running;
        inquiries.ring();
        let clock = shared.clock;
        let work = move || {
            let mut threads = threads.into_iter();
            for thread in threads.by_ref().take(2) {
                let _ = thread.join(); // the zab thread, then the log thread
            }
            dismiss(&questions, &clock, deadline);
            for thread in threads {
                let _ = thread.join();
            }
            let _ = done.send(());
        };
        let started = std::thread::Builder::new().name("stop".into()).spawn(work);
        started.map_err(|error| Fatal::new(ExitCode::Unexpected, error))?;
        let patience = deadline.saturating_sub(shared.clock.elapsed());
        if all_done.recv_timeout(patience).is_ok() {
            tracing::info!("stopped");
        } else {
            tracing::warn!("not everything stopped in time; what was acknowledged is safe");
        }
        failures.try_recv().map_or(Ok(()), Err)
    }
}

/// Tells every shard to leave. One that does not hear of it would keep its clients until the end of
/// all patience, so a full queue is tried again.
fn dismiss(shards: &[Sender<Question>], clock: &Clock, deadline: Duration) {
    let mut untold: Vec<_> = shards.iter().collect();
    loop {
        untold.retain(|shard| {
            let is_full = shard.push(Question::Leave).is_err();
            shard.ring();
            is_full
        });
        if untold.is_empty() || clock.elapsed() >= deadline {
            return;
        }
        std::thread::park_timeout(DISMISS_RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::queue::bounded;

    #[test]
    fn a_shard_whose_queue_is_full_is_told_to_leave_once_there_is_room() {
        let bell: Arc<dyn Bell> = Arc::new(ParkBell::default());
        let (busy, questions) = bounded(1, Arc::clone(&bell));
        let (idle, others) = bounded(1, bell);
        assert!(busy.push(Question::ResetConnections).is_ok());
        let clock = Clock::start();
        let shards = [busy, idle];
        std::thread::scope(|scope| {
            scope.spawn(|| dismiss(&shards, &clock, STOP_PATIENCE));
            while others.is_empty() {
                std::thread::yield_now();
            }
            assert!(matches!(questions.pop(), Some(Question::ResetConnections)));
        });
        assert!(matches!(questions.pop(), Some(Question::Leave)));
        assert!(matches!(others.pop(), Some(Question::Leave)));
    }

    #[test]
    fn a_shard_that_never_hears_is_not_told_for_ever() {
        let (shard, _questions) = bounded(1, Arc::new(ParkBell::default()) as Arc<dyn Bell>);
        assert!(shard.push(Question::ResetConnections).is_ok());
        dismiss(&[shard], &Clock::start(), Duration::from_millis(5));
    }
}
