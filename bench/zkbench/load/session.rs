//! Drives one session: connects it, keeps its requests in flight, connects it again when it breaks.
//!
//! One task each, on its thread's ring. A read is always in flight and a write whenever something
//! is due, so that a turn of the ring carries replies and requests of all sessions at once. All
//! decisions are [`Lane`]'s; nothing is allocated for a request.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringkeeper::clock::Clock;
use ringkeeper::wire::ErrorCode;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_uring::buf::{BoundedBuf as _, Slice};

use super::connection::{self, ConnectFault, Credentials, Stream};
use super::lane::{Lane, ReplyFault};
use super::pacing::now;
use super::{Phase, Signal};
use crate::report::tally::Tally;

/// Room for replies: what a socket holds is taken in a few reads.
const RECEIVE_BYTES: usize = 64 << 10;
/// Room that a read must have left.
const RECEIVE_BYTES_MIN: usize = 4 << 10;
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What the sessions of one thread share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) session_timeout_ms: i32,
    pub(crate) timeout: Duration,
    pub(crate) clock: Clock,
    pub(crate) tally: RefCell<Tally>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Handshakes that may be under way at a time.
    pub(crate) handshakes: Semaphore,
}

/// Runs a session from its first handshake to its close.
pub(crate) async fn run(mut lane: Lane, cx: Rc<Context>, signals: mpsc::Sender<Signal>) {
    let mut phase = cx.phase.clone();
    let first = connect_first(&mut lane, &cx).await;
    let (signal, mut stream) = match first {
        Ok(stream) => (Signal::Connected, Some(stream)),
        Err(fault) => (Signal::Failed(lane.number(), fault), None),
    };
    // The receiver is gone only when the whole thread is.
    drop(signals.send(signal).await);
    let begun = phase.wait_for(|phase| !matches!(phase, Phase::Connect)).await;
    if let Ok(Phase::Run(window)) = begun.map(|phase| *phase) {
        lane.begin(window);
        stream = load(&mut lane, &cx, stream).await;
        drop(signals.send(Signal::Finished).await);
    }
    drop(phase.wait_for(|phase| matches!(phase, Phase::Close)).await);
    if let Some(stream) = stream {
        drop(tokio::time::timeout(cx.timeout, connection::close(&stream)).await);
    }
}

/// Until the session has nothing left to do; its last connection, if there is one.
async fn load(lane: &mut Lane, cx: &Context, mut stream: Option<Stream>) -> Option<Stream> {
    while let Some(connected) = stream {
        let Err(lost) = converse(&connected, lane, cx).await else { return Some(connected) };
        drop(connected);
        on_lost(lane, cx, lost);
        if lane.is_done(now(cx.clock)) {
            return None;
        }
        stream = reconnect(lane, cx).await;
    }
    None
}

fn on_lost(lane: &mut Lane, cx: &Context, lost: Lost) {
    let mut tally = cx.tally.borrow_mut();
    tally.connections_lost += 1;
    if let Lost::Fault(fault) = lost {
        tally.fault(&fault);
    }
    look_up(lane, cx, &mut tally);
}

/// Without a connection nothing else tells a session that its time is up.
fn look_up(lane: &mut Lane, cx: &Context, tally: &mut Tally) {
    let at = now(cx.clock);
    if matches!(*cx.phase.borrow(), Phase::Finish | Phase::Close) {
        lane.finish(at, tally);
    }
    lane.on_lost(at, tally);
}

/// One attempt, at the session's own server or one after it.
async fn connect(lane: &mut Lane, cx: &Context, attempt: usize) -> Result<Stream, ConnectFault> {
    let server = cx.servers[(lane.number() as usize + attempt) % cx.servers.len()];
    let permit = cx.handshakes.acquire().await;
    let opening = connection::open(server, &mut lane.credentials, cx.session_timeout_ms);
    let opened = tokio::time::timeout(cx.timeout, opening).await;
    drop(permit);
    opened.unwrap_or(Err(ConnectFault::TimedOut))
}

async fn connect_first(lane: &mut Lane, cx: &Context) -> Result<Stream, ConnectFault> {
    let mut fault = ConnectFault::TimedOut;
    for attempt in 0..cx.servers.len() {
        match connect(lane, cx, attempt).await {
            Ok(stream) => return Ok(stream),
            Err(error) => fault = error,
        }
    }
    Err(fault)
}

/// Until it succeeds or the session's time is up.
async fn reconnect(lane: &mut Lane, cx: &Context) -> Option<Stream> {
    let mut backoff = BACKOFF_MIN;
    for attempt in 0.. {
        match connect(lane, cx, attempt).await {
            Ok(stream) => return Some(stream),
            Err(ConnectFault::Expired) => {
                cx.tally.borrow_mut().sessions_expired += 1;
                let last_zxid = lane.credentials.last_zxid;
                lane.credentials = Credentials { last_zxid, ..Credentials::NEW };
                continue;
            }
            Err(
                fault @ (ConnectFault::Io(_)
                | ConnectFault::Closed
                | ConnectFault::Malformed(_)
                | ConnectFault::TimedOut),
            ) => cx.tally.borrow_mut().connect_failed(&fault),
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
        look_up(lane, cx, &mut cx.tally.borrow_mut());
        if lane.is_done(now(cx.clock)) {
            return None;
        }
    }
    None
}

/// Why a connection is given up.
#[derive(Clone, Copy)]
enum Lost {
    /// Broken, or too late.
    Connection,
    Fault(ReplyFault),
}

/// What a session waits for.
enum Event {
    Read(io::Result<usize>, Slice<Vec<u8>>),
    Written(io::Result<usize>, Slice<Vec<u8>>),
    Phase,
    Due,
    Alarm,
}

/// Requests and replies, until nothing is left to do or the connection is lost.
#[expect(clippy::too_many_lines, reason = "one loop over the five things that can happen")]
async fn converse(stream: &Stream, lane: &mut Lane, cx: &Context) -> Result<(), Lost> {
    let mut watched = cx.phase.clone();
    let over = matches!(*watched.borrow_and_update(), Phase::Finish | Phase::Close);
    let mut phase_changed = pin!(Some(watched.changed()));
    let mut reading = pin!(Some(stream.read(Vec::with_capacity(RECEIVE_BYTES).slice(..))));
    let mut writing = pin!(None);
    let mut out = Vec::new();
    let mut at = now(cx.clock);
    let mut alarm = pin!(tokio::time::sleep(until(lane.deadline(), at)));
    if over {
        lane.finish(at, &mut cx.tally.borrow_mut());
    }
    loop {
        if writing.is_none() {
            lane.fill(at, &mut out);
            if !out.is_empty() {
                writing.set(Some(stream.write(std::mem::take(&mut out).slice(..)).submit()));
            } else if lane.is_done(at) {
                return Ok(());
            }
        }
        let event = poll_fn(|task| {
            lane.listen(task.waker());
            if let Some(write) = writing.as_mut().as_pin_mut()
                && let Poll::Ready((written, buffer)) = write.poll(task)
            {
                return Poll::Ready(Event::Written(written, buffer));
            }
            if let Some(read) = reading.as_mut().as_pin_mut()
                && let Poll::Ready((read, buffer)) = read.poll(task)
            {
                return Poll::Ready(Event::Read(read, buffer));
            }
            if let Some(changed) = phase_changed.as_mut().as_pin_mut()
                && changed.poll(task).is_ready()
            {
                return Poll::Ready(Event::Phase);
            }
            // An open loop's schedule may have ended behind its last reply.
            if writing.is_none() && (lane.has_due() || lane.is_done(at)) {
                return Poll::Ready(Event::Due);
            }
            alarm.as_mut().poll(task).map(|()| Event::Alarm)
        })
        .await;
        at = now(cx.clock);
        match event {
            Event::Written(Ok(written), buffer) if written > 0 => {
                if written < buffer.len() {
                    writing.set(Some(stream.write(buffer.slice(written..)).submit()));
                } else {
                    writing.set(None);
                    out = buffer.into_inner();
                    out.clear();
                }
            }
            Event::Read(Ok(read), buffer) if read > 0 => {
                let mut input = buffer.into_inner();
                let used = lane.on_input(&input, at, &mut cx.tally.borrow_mut());
                keep_rest(&mut input, used.map_err(Lost::Fault)?);
                let len = input.len();
                reading.set(Some(stream.read(input.slice(len..))));
            }
            Event::Written(..) | Event::Read(..) => return Err(Lost::Connection),
            Event::Phase => {
                phase_changed.set(None);
                lane.finish(at, &mut cx.tally.borrow_mut());
            }
            Event::Due => {}
            Event::Alarm => {
                if lane.is_late(at) && !lane.is_done(at) {
                    return Err(Lost::Connection);
                }
                alarm.set(tokio::time::sleep(until(lane.deadline(), at)));
            }
        }
    }
}

fn until(deadline: u64, at: u64) -> Duration {
    Duration::from_nanos(deadline.saturating_sub(at)).max(Duration::from_millis(1))
}

/// Moves the bytes after the `used` ones to the front and makes room behind them.
fn keep_rest(input: &mut Vec<u8>, used: usize) {
    input.copy_within(used.., 0);
    input.truncate(input.len() - used);
    if input.capacity() - input.len() < RECEIVE_BYTES_MIN {
        input.reserve(RECEIVE_BYTES.max(input.len()));
    }
}

/// The code of requests that went with a connection, where no session counts them.
pub(crate) const LOST: i32 = ErrorCode::ConnectionLoss.to_wire();
