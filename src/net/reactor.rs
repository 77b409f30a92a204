//! The face of `net`: one thread's sockets, and the turn in which all of them move on.
//!
//! Thread: the one that made it (a ring has one issuer). What each completion leads to is in
//! `traffic.rs`. Nothing here looks at all connections: lists name those that have something to do.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::mem;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

use slab::Slab;

use super::buffer::Pool;
use super::connection::{Connection, Life};
use super::listener::Accepting;
use super::patience::Patience;
use super::ring::{Completion, Ring};
use super::{
    Close, CloseReason, ConnectionId, Counters, Event, Features, Listener, ListenerId, NetError,
    Options, Wait, Waker, slot_key,
};
use crate::clock::Clock;

/// One thread's sockets. Dropping it closes them and whatever it was sending is lost.
pub struct Reactor {
    /// First, so that no operation is in flight when the sockets close.
    pub(super) ring: Ring,
    pub(super) waker: Waker,
    pub(super) connections: Slab<Connection>,
    pub(super) listeners: Slab<Accepting>,
    pub(super) pool: Pool,
    pub(super) options: Options,
    pub(super) clock: Clock,
    pub(super) counters: Counters,
    /// Counts turns, so that `Received` is said once in each.
    pub(super) turn: u32,
    pub(super) next_generation: u32,
    /// Those whose input may lie in a lent buffer.
    pub(super) lent: Vec<ConnectionId>,
    /// Those whose outbox was asked for.
    pub(super) dirty: Vec<ConnectionId>,
    /// Those that broke in the last turn.
    pub(super) dying: Vec<u32>,
    /// What happened between two turns.
    pub(super) notices: Vec<Event>,
    /// Closing connections, the first to give up in front: all wait equally long.
    pub(super) closing: VecDeque<(Duration, ConnectionId)>,
    /// Connections being made, and when to give each of them up.
    pub(super) dialing: Vec<(Duration, ConnectionId)>,
    patience: Patience,
    /// Kept for its capacity.
    completions: Vec<Completion>,
    /// Rings know the thread that made them.
    not_send: PhantomData<*const ()>,
}

impl Reactor {
    /// Sets up a ring for the calling thread.
    ///
    /// # Errors
    /// [`NetError::Unavailable`] names what keeps this process from `io_uring`, in one line.
    pub fn new(options: Options) -> Result<Self, NetError> {
        let waker = Waker::new()?;
        let mut ring = Ring::new(&options)?;
        ring.poll(waker.eventfd());
        Ok(Self {
            ring,
            waker,
            connections: Slab::new(),
            listeners: Slab::new(),
            pool: Pool::default(),
            options,
            clock: Clock::start(),
            counters: Counters::default(),
            turn: 0,
            next_generation: 0,
            lent: Vec::new(),
            dirty: Vec::new(),
            dying: Vec::new(),
            notices: Vec::new(),
            closing: VecDeque::new(),
            dialing: Vec::new(),
            patience: Patience::default(),
            completions: Vec::new(),
            not_send: PhantomData,
        })
    }

    /// What of the kernel's offer is in use, for the log.
    pub fn features(&self) -> Features {
        self.ring.features()
    }

    /// What ends this reactor's wait from other threads.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Accepts from `listener`, from the next turn on.
    ///
    /// # Errors
    /// None with this back end; another may have to ask the system.
    pub fn listen(&mut self, listener: Listener) -> Result<ListenerId, NetError> {
        let entry = self.listeners.vacant_entry();
        let key = slot_key(entry.key());
        self.ring.accept(listener.fd(), key);
        entry.insert(Accepting::new(listener));
        Ok(ListenerId(key))
    }

    /// Accepts no more and closes the listening socket.
    pub fn unlisten(&mut self, id: ListenerId) {
        let Some(accepting) = self.listeners.get_mut(id.0 as usize) else { return };
        if accepting.stop() {
            self.listeners.remove(id.0 as usize);
        } else {
            self.ring.cancel_accept(id.0);
        }
    }

    /// Takes over a connected socket, which must be in blocking mode; as if it had been accepted,
    /// but without an event.
    pub fn adopt(&mut self, stream: TcpStream) -> ConnectionId {
        self.insert(stream.into())
    }

    /// [`Reactor::turn_unless`] for a thread that has nothing to look at but its sockets.
    ///
    /// # Errors
    /// As [`Reactor::turn_unless`].
    pub fn turn(
        &mut self,
        timeout: Option<Duration>,
        events: &mut Vec<Event>,
    ) -> Result<(), NetError> {
        self.turn_unless(timeout, || false, events)
    }

    /// Sends what was appended to outboxes, waits until something happened or the time is over,
    /// and puts what happened into `events` instead of what it holds. It may return early, with no
    /// event.
    ///
    /// `ready` is asked while the wait is awake, and once after [`Waker`]s were told that this
    /// thread sleeps and before it does: if there is something to do in a queue of its own, there
    /// is no wait. A push followed by a wake is either seen by `ready` or ends the wait.
    ///
    /// # Errors
    /// [`NetError::Call`] if the kernel refuses to go on; nothing can be done with this reactor
    /// then.
    pub fn turn_unless(
        &mut self,
        wait: impl Into<Wait>,
        ready: impl Fn() -> bool,
        events: &mut Vec<Event>,
    ) -> Result<(), NetError> {
        let Wait { timeout, patience } = wait.into();
        self.begin(events);
        self.flush();
        self.give_up_overdue(events);
        // Sends complete at once, and a wait that they are part of would end at once: so first they
        // are submitted, and what has come in by then is taken. Under load that is all there is to
        // do.
        if self.ring.has_sends() || !events.is_empty() || timeout == Some(Duration::ZERO) {
            self.ring.submit()?;
            self.reap(events);
        }
        if events.is_empty() && timeout != Some(Duration::ZERO) {
            let is_ready = self.linger(patience, &ready)?;
            self.waker.begin_sleep();
            let waited = if is_ready || ready() { self.ring.submit() } else { self.wait(timeout) };
            self.waker.end_sleep();
            waited?;
            self.reap(events);
        }
        Ok(())
    }

    /// Takes what has come, as a turn does, and begins no send: what was put into outboxes since
    /// the last turn goes out in one piece then with what these events lead to. False if nothing
    /// has come.
    ///
    /// # Errors
    /// As [`Self::turn_unless`].
    pub fn look(&mut self, events: &mut Vec<Event>) -> Result<bool, NetError> {
        if !self.ring.has_news() {
            return Ok(false);
        }
        self.begin(events);
        self.ring.submit()?;
        self.reap(events);
        Ok(true)
    }

    /// Whether there is something to send at the next turn.
    pub fn has_unsent(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The bytes received from `id` and not consumed.
    pub fn input(&self, id: ConnectionId) -> &[u8] {
        match self.find(id) {
            Some(connection) => connection.input.bytes(&self.ring),
            None => &[],
        }
    }

    /// Forgets the first `bytes` of the input.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn consume(&mut self, id: ConnectionId, bytes: usize) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.input.consume(bytes, &mut self.ring, &mut self.pool);
        if connection.choked && connection.input.len() <= self.options.input_bytes_max {
            connection.choked = false;
            self.steer(id.key);
        }
    }

    /// What is appended here is sent at the next turn; `None` if the connection is closed or
    /// closing. What it holds must not be taken away: it is a part of what the peer gets.
    pub fn outbox(&mut self, id: ConnectionId) -> Option<&mut Vec<u8>> {
        let connection = find(&mut self.connections, id)?;
        if connection.life != Life::Open {
            return None;
        }
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(id);
        }
        if connection.outbox.capacity() == 0 {
            connection.outbox = self.pool.take();
        }
        Some(&mut connection.outbox)
    }

    /// Bytes that the kernel has not yet taken.
    pub fn outbox_bytes(&self, id: ConnectionId) -> usize {
        self.find(id).map_or(0, Connection::outbox_bytes)
    }

    /// Receives no more from `id`: what has come stays, and a little more may come (what one turn
    /// finds), for the receive is stopped only once there is something to stop.
    pub fn pause(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id) {
            connection.paused = true;
        }
    }

    /// Receives again. There is no event for what has come before: look at the input.
    pub fn resume(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id) {
            connection.paused = false;
            self.steer(id.key);
        }
    }

    /// Ends a connection. Its input is gone at once; [`Event::Closed`] follows when it has ended.
    pub fn close(&mut self, id: ConnectionId, how: Close) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if !connection.is_alive() {
            return;
        }
        match how {
            _ if connection.life == Life::Connecting => self.give_up_dial(id),
            Close::AfterFlush => self.close_after_flush(id),
            Close::Now => self.end_between_turns(id.key, CloseReason::Local),
            Close::Reset => {
                // Zero linger makes the close a reset; should it fail, it is an ordinary close.
                let linger = Some(Duration::ZERO);
                let _ = rustix::net::sockopt::set_socket_linger(&connection.socket, linger);
                self.end_between_turns(id.key, CloseReason::Local);
            }
        }
    }

    /// Connections that have not ended.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        let (enters, completions) = self.ring.counts();
        Counters { enters, completions, ..self.counters }
    }

    /// What was left for the start of a turn.
    fn begin(&mut self, events: &mut Vec<Event>) {
        events.clear();
        events.append(&mut self.notices);
        self.turn = self.turn.wrapping_add(1);
        self.bury();
        self.settle();
    }

    /// Ends what has waited for too long, and tries again what has rested.
    fn give_up_overdue(&mut self, events: &mut Vec<Event>) {
        let has_deadlines = !self.closing.is_empty() || !self.dialing.is_empty();
        if has_deadlines || self.listeners.iter().any(|(_, one)| one.is_resting()) {
            let now = self.clock.elapsed();
            self.give_up_dials(now, events);
            self.give_up(now, events);
            self.accept_again(now);
        }
    }

    /// Stays awake for a while; whether it was worth it.
    fn linger(&mut self, patience: Duration, ready: &impl Fn() -> bool) -> Result<bool, NetError> {
        let mut now = self.clock.elapsed();
        if patience.is_zero() || !self.patience.is_allowed(now) {
            return Ok(false);
        }
        self.ring.submit()?;
        let end = now + patience;
        let mut goes_on = true;
        while !ready() && !self.ring.has_news() {
            if now >= end || !goes_on {
                return Ok(false);
            }
            std::thread::yield_now();
            let before = mem::replace(&mut now, self.clock.elapsed());
            goes_on = self.patience.came_back(before, now);
        }
        Ok(true)
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), NetError> {
        let retries = self.listeners.iter().filter_map(|(_, one)| one.retry_at());
        let dials = self.dialing.iter().map(|(at, _)| *at);
        let first = retries.chain(dials).chain(self.closing.front().map(|(at, _)| *at)).min();
        let until_first = first.map(|at| at.saturating_sub(self.clock.elapsed()));
        self.ring.wait(timeout.into_iter().chain(until_first).min())
    }

    fn reap(&mut self, events: &mut Vec<Event>) {
        let mut completions = mem::take(&mut self.completions);
        self.ring.reap(&mut completions);
        for completion in completions.drain(..) {
            self.on_completion(completion, events);
        }
        self.completions = completions;
    }

    fn accept_again(&mut self, now: Duration) {
        for (key, accepting) in &mut self.listeners {
            if accepting.retry_at().is_some_and(|at| at <= now) {
                let key = slot_key(key);
                self.ring.accept(accepting.rearm().as_fd(), key);
            }
        }
    }

    fn find(&self, id: ConnectionId) -> Option<&Connection> {
        let connection = self.connections.get(id.key as usize)?;
        (connection.id == id && connection.life != Life::Dead).then_some(connection)
    }
}

impl Drop for Reactor {
    /// Cancels what is in flight; the ring, which goes next, waits for the end of it.
    fn drop(&mut self) {
        self.ring.cancel_poll();
        for (key, _) in &self.listeners {
            self.ring.cancel_accept(slot_key(key));
        }
        for key in 0..self.connections.capacity() {
            if self.connections.contains(key) {
                self.cancel(slot_key(key));
            }
        }
    }
}

/// The connection that `id` still names. Not a method, to leave the other fields alone.
pub(super) fn find(
    connections: &mut Slab<Connection>,
    id: ConnectionId,
) -> Option<&mut Connection> {
    let connection = connections.get_mut(id.key as usize)?;
    (connection.id == id && connection.life != Life::Dead).then_some(connection)
}
