//! The load that is nothing but sessions: open them, hold them with pings, close them.
//!
//! So many handshakes are under way at a time; each open session is a task with a read in flight.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringkeeper::ids::Xid;
use ringkeeper::limits::FRAME_BYTES_MAX_DEFAULT;
use ringkeeper::wire::frame;
use ringkeeper::wire::request::Request;
use tokio::sync::{Semaphore, watch};

use super::connection::{self, ConnectFault, Credentials, Stream};
use super::pacing::now;
use super::session::{Context, LOST};
use super::worker::{Event, Link, Measured, begun, meter};
use super::workload::Kind;
use super::{Phase, template};
use crate::Failure;
use crate::plan::Plan;

/// Opens this thread's sessions, tells how long it took, holds and closes them.
pub(crate) async fn run(
    index: u32,
    plan: &Plan,
    link: &Link,
    cx: &Rc<Context>,
) -> Result<(), Failure> {
    link.events.send(Event::Connected)?;
    let Some(window) = begun(&link.phase).await else { return Ok(()) };
    let numbers: Rc<[u32]> = plan.sessions_of(index).collect();
    let next = Rc::new(Cell::new(0));
    let closing = Rc::new(Semaphore::new(plan.in_flight as usize));
    let openers: Vec<_> = (0..plan.in_flight.min(plan.sessions))
        .map(|_| {
            let opener = Opener {
                cx: cx.clone(),
                link: link.clone(),
                numbers: numbers.clone(),
                next: next.clone(),
                closing: closing.clone(),
                ping_every: plan.ping_every(),
            };
            tokio_uring::spawn(opener.run())
        })
        .collect();
    let mut holders = Vec::new();
    let finished = async {
        for opener in openers {
            holders.extend(opener.await.unwrap_or_default());
        }
    };
    let (cpu, until) = meter(link.clock, window, finished).await;
    link.events.send(Event::Measured(Measured { cpu, until }))?;
    for holder in holders {
        drop(holder.await);
    }
    Ok(())
}

/// Opens one session after the other.
struct Opener {
    cx: Rc<Context>,
    link: Link,
    numbers: Rc<[u32]>,
    next: Rc<Cell<usize>>,
    closing: Rc<Semaphore>,
    ping_every: Duration,
}

impl Opener {
    async fn run(self) -> Vec<tokio::task::JoinHandle<()>> {
        let mut holders = Vec::new();
        while matches!(*self.cx.phase.borrow(), Phase::Run(_)) {
            let turn = self.next.get();
            let Some(number) = self.numbers.get(turn) else { break };
            self.next.set(turn + 1);
            if let Some(stream) = self.open(*number).await {
                let holder = Holder {
                    cx: self.cx.clone(),
                    closing: self.closing.clone(),
                    ping_every: self.ping_every,
                };
                holders.push(tokio_uring::spawn(holder.run(stream)));
            }
        }
        holders
    }

    async fn open(&self, number: u32) -> Option<Stream> {
        let server = self.cx.servers[number as usize % self.cx.servers.len()];
        let start = now(self.link.clock);
        let mut credentials = Credentials::NEW;
        let opening = connection::open(server, &mut credentials, self.cx.session_timeout_ms);
        let opened = tokio::time::timeout(self.cx.timeout, opening).await;
        let mut tally = self.cx.tally.borrow_mut();
        let stream = match opened.unwrap_or(Err(ConnectFault::TimedOut)) {
            Ok(stream) => stream,
            Err(fault) => {
                tally.connect_failed(&fault);
                tally.error(Kind::Open, LOST);
                return None;
            }
        };
        tally.record(Kind::Open, now(self.link.clock) - start);
        self.link.shared.done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Some(stream)
    }
}

/// Keeps one session until the run closes.
struct Holder {
    cx: Rc<Context>,
    closing: Rc<Semaphore>,
    ping_every: Duration,
}

impl Holder {
    async fn run(self, stream: Stream) {
        let mut phase = self.cx.phase.clone();
        while !over(&mut phase, self.ping_every).await {
            let start = now(self.cx.clock);
            let alive = tokio::time::timeout(self.cx.timeout, ping(&stream)).await;
            let mut tally = self.cx.tally.borrow_mut();
            if !matches!(alive, Ok(true)) {
                tally.connections_lost += 1;
                tally.error(Kind::Ping, LOST);
                return;
            }
            tally.record(Kind::Ping, now(self.cx.clock) - start);
        }
        let permit = self.closing.acquire().await;
        let start = now(self.cx.clock);
        let closed = tokio::time::timeout(self.cx.timeout, connection::close(&stream)).await;
        drop(permit);
        let mut tally = self.cx.tally.borrow_mut();
        match closed {
            Ok(Ok(())) => tally.record(Kind::Close, now(self.cx.clock) - start),
            Ok(Err(_)) | Err(_) => tally.error(Kind::Close, LOST),
        }
    }
}

/// Whether the run closes within this time.
async fn over(phase: &mut watch::Receiver<Phase>, wait: Duration) -> bool {
    let closing = phase.wait_for(|phase| matches!(phase, Phase::Close));
    tokio::time::timeout(wait, closing).await.is_ok()
}

/// `false`: the connection is gone.
async fn ping(stream: &Stream) -> bool {
    let mut out = Vec::with_capacity(16);
    template::append(&mut out, Xid::PING, &Request::Ping);
    if stream.write_all(out).await.0.is_err() {
        return false;
    }
    let mut input = Vec::new();
    loop {
        match connection::read_more(stream, &mut input).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => match frame::split(&input, FRAME_BYTES_MAX_DEFAULT) {
                Ok(Some(_)) => return true,
                Ok(None) => {}
                Err(_) => return false,
            },
        }
    }
}
