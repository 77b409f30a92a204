//! What follows from each completion, and the ways in which a connection ends.
//!
//! Thread: the reactor's. All changes of a connection's state but those its owner asks for are
//! here.

use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::Shutdown;

use super::buffer::Lent;
use super::connection::{Connection, Life, Receive};
use super::listener::peer_of;
use super::reactor::{Reactor, find};
use super::ring::Completion;
use super::{CloseReason, ConnectionId, Event, ListenerId, slot_key};
use crate::limits::{ACCEPT_BACKOFF_MS, DRAIN_BYTES_MAX};

impl Reactor {
    pub(super) fn on_completion(&mut self, completion: Completion, events: &mut Vec<Event>) {
        match completion {
            Completion::Woken { more } => {
                self.counters.wakes += 1;
                events.push(Event::Woken);
                if !more {
                    self.ring.poll(self.waker.eventfd());
                }
            }
            Completion::Accepted { key, result, more } => {
                self.on_accepted(key, result, more, events);
            }
            Completion::Received { key, result, more } => {
                let connection = &mut self.connections[key as usize];
                if !more {
                    connection.receive = Receive::Idle;
                }
                self.on_received(key, result, events);
                self.steer_received(key);
                self.free_if_over(key);
            }
            Completion::Sent { key, bytes, from, result } => {
                self.connections[key as usize].sending = None;
                self.on_sent(key, bytes, from, result, events);
                self.free_if_over(key);
            }
            Completion::Connected { key, result } => self.on_connected(key, result, events),
            Completion::Cancelled { key } => {
                if let Some(connection) = self.connections.get_mut(key as usize) {
                    connection.cancels -= 1;
                    self.free_if_over(key);
                }
            }
        }
    }

    /// A new connection around `socket`, receiving.
    pub(super) fn insert(&mut self, socket: OwnedFd) -> ConnectionId {
        let id = self.take_slot(socket);
        self.steer(id.key);
        id
    }

    /// A place for a connection around `socket`.
    pub(super) fn take_slot(&mut self, socket: OwnedFd) -> ConnectionId {
        let entry = self.connections.vacant_entry();
        let key = slot_key(entry.key());
        self.next_generation = self.next_generation.wrapping_add(1);
        let id = ConnectionId { key, generation: self.next_generation };
        entry.insert(Connection::new(id, socket));
        id
    }

    fn on_accepted(
        &mut self,
        key: u32,
        result: Result<OwnedFd, Errno>,
        more: bool,
        events: &mut Vec<Event>,
    ) {
        let accepting = &mut self.listeners[key as usize];
        if accepting.is_over() {
            if !more {
                self.listeners.remove(key as usize);
            }
            return;
        }
        let listener = ListenerId(key);
        let must_rest = match &result {
            Ok(_) | Err(Errno::CONNABORTED | Errno::INTR | Errno::AGAIN) => false,
            Err(_) => true,
        };
        if !more && must_rest {
            accepting.rest_until(self.clock.elapsed() + Duration::from_millis(ACCEPT_BACKOFF_MS));
        } else if !more {
            self.ring.accept(accepting.rearm(), key);
        }
        match result {
            Ok(socket) => {
                self.counters.accepts += 1;
                // A peer without an address has gone already, and nobody need hear of it.
                if let Ok(peer) = peer_of(&socket) {
                    let id = self.insert(socket);
                    events.push(Event::Accepted { id, listener, peer });
                }
            }
            Err(error) if must_rest => {
                events.push(Event::AcceptFailed { listener, error: error.into() });
            }
            Err(_) => {}
        }
    }

    fn on_received(
        &mut self,
        key: u32,
        result: Result<Option<Lent>, Errno>,
        events: &mut Vec<Event>,
    ) {
        match result {
            Ok(Some(lent)) => self.on_bytes(key, lent, events),
            Ok(None) => self.on_end_of_input(key, events),
            Err(Errno::NOBUFS) => self.counters.enobufs += 1,
            // Cancelled by us, or interrupted: `steer` knows whether it goes on.
            Err(Errno::CANCELED | Errno::INTR | Errno::AGAIN) => {}
            Err(error) => self.break_off(key, error, events),
        }
    }

    fn on_bytes(&mut self, key: u32, lent: Lent, events: &mut Vec<Event>) {
        let connection = &mut self.connections[key as usize];
        let id = connection.id;
        let len = lent.len();
        self.counters.bytes_in += len as u64;
        match &mut connection.life {
            Life::Open => {
                if connection.input.append(lent, &mut self.ring, &mut self.pool) {
                    self.lent.push(id);
                }
                if connection.input.len() > self.options.input_bytes_max {
                    connection.choked = true;
                }
                if connection.announced != self.turn {
                    connection.announced = self.turn;
                    events.push(Event::Received { id });
                }
            }
            Life::Draining { bytes_left } => {
                self.ring.give_back(lent);
                match bytes_left.checked_sub(u32::try_from(len).unwrap_or(u32::MAX)) {
                    Some(left) => *bytes_left = left,
                    None => self.end(key, CloseReason::Unfinished, events),
                }
            }
            Life::Connecting | Life::Flushing | Life::Dying | Life::Dead => {
                self.ring.give_back(lent);
            }
        }
    }

    fn on_end_of_input(&mut self, key: u32, events: &mut Vec<Event>) {
        let connection = &mut self.connections[key as usize];
        connection.ended = true;
        match connection.life {
            Life::Open => events.push(Event::EndOfInput { id: connection.id }),
            Life::Draining { .. } => self.end(key, CloseReason::Local, events),
            Life::Connecting | Life::Flushing | Life::Dying | Life::Dead => {}
        }
    }

    fn on_sent(
        &mut self,
        key: u32,
        bytes: Vec<u8>,
        from: usize,
        result: Result<usize, Errno>,
        events: &mut Vec<Event>,
    ) {
        let connection = &mut self.connections[key as usize];
        let sent = match result {
            Ok(sent) => sent,
            Err(Errno::INTR | Errno::AGAIN) => 0,
            Err(error) => {
                self.pool.give(bytes);
                return self.break_off(key, error, events);
            }
        };
        self.counters.bytes_out += sent as u64;
        connection.unsent -= sent;
        connection.progressed |= sent > 0;
        if !connection.is_alive() {
            return self.pool.give(bytes);
        }
        if connection.unsent > 0 {
            let send = self.ring.send(connection.socket.as_fd(), key, bytes, from + sent);
            connection.sending = Some(send);
            return;
        }
        self.pool.give(bytes);
        self.send(key);
        let connection = &mut self.connections[key as usize];
        if connection.sending.is_some() {
            return;
        }
        match connection.life {
            Life::Open if mem::take(&mut connection.above) => {
                events.push(Event::Drained { id: connection.id });
            }
            Life::Flushing => {
                if let Some(reason) = self.end_stream(key) {
                    self.end(key, reason, events);
                }
            }
            Life::Connecting | Life::Open | Life::Draining { .. } | Life::Dying | Life::Dead => {}
        }
    }

    /// Sends the outbox, unless the one before is not through.
    fn send(&mut self, key: u32) {
        let connection = &mut self.connections[key as usize];
        connection.above |= connection.outbox_bytes() > self.options.drained_above;
        if connection.sending.is_some() {
            return;
        }
        let bytes = mem::take(&mut connection.outbox);
        if bytes.is_empty() {
            return self.pool.give(bytes);
        }
        connection.unsent = bytes.len();
        let send = self.ring.send(connection.socket.as_fd(), key, bytes, 0);
        connection.sending = Some(send);
    }

    /// Sends what was appended since the last turn.
    pub(super) fn flush(&mut self) {
        let mut dirty = mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            if let Some(connection) = find(&mut self.connections, id) {
                connection.dirty = false;
                self.send(id.key);
            }
        }
        self.dirty = dirty;
    }

    /// Takes input out of lent buffers: the owner has had a turn to consume it.
    pub(super) fn settle(&mut self) {
        for id in self.lent.drain(..) {
            if let Some(connection) = find(&mut self.connections, id) {
                connection.input.settle(&mut self.ring, &mut self.pool);
            }
        }
    }

    /// Starts receiving where it is wanted.
    pub(super) fn steer(&mut self, key: u32) {
        let connection = &mut self.connections[key as usize];
        if connection.receive == Receive::Idle && connection.wants_input() {
            connection.receive = Receive::Armed;
            self.ring.receive(connection.socket.as_fd(), key);
        }
    }

    /// Starts receiving where it is wanted, and stops it where something came that was not.
    fn steer_received(&mut self, key: u32) {
        self.steer(key);
        let connection = &mut self.connections[key as usize];
        let is_unwanted = connection.is_alive() && !connection.wants_input();
        if is_unwanted {
            self.stop_receiving(key);
        }
    }

    fn stop_receiving(&mut self, key: u32) {
        let connection = &mut self.connections[key as usize];
        if connection.receive == Receive::Armed {
            connection.receive = Receive::Stopping;
            connection.cancels += 1;
            self.ring.cancel_receive(key);
        }
    }

    pub(super) fn close_after_flush(&mut self, id: ConnectionId) {
        let connection = &mut self.connections[id.key as usize];
        if connection.life != Life::Open {
            return;
        }
        connection.life = Life::Flushing;
        connection.input.clear(&mut self.ring, &mut self.pool);
        self.steer(id.key);
        self.send(id.key);
        if self.connections[id.key as usize].sending.is_none()
            && let Some(reason) = self.end_stream(id.key)
        {
            return self.end_between_turns(id.key, reason);
        }
        self.closing.push_back((self.clock.elapsed() + self.options.close_stall, id));
    }

    /// All is sent: tells the peer so. The reason to end at once, if there is nothing to wait for.
    fn end_stream(&mut self, key: u32) -> Option<CloseReason> {
        let connection = &mut self.connections[key as usize];
        if let Err(error) = rustix::net::shutdown(&connection.socket, Shutdown::Write) {
            return Some(CloseReason::Broken(error.into()));
        }
        if connection.ended {
            return Some(CloseReason::Local);
        }
        connection.life = Life::Draining { bytes_left: DRAIN_BYTES_MAX };
        connection.progressed = true;
        None
    }

    /// Ends closing connections that do not get on.
    pub(super) fn give_up(&mut self, now: Duration, events: &mut Vec<Event>) {
        while let Some((at, id)) = self.closing.front().copied() {
            if at > now {
                return;
            }
            self.closing.pop_front();
            let Some(connection) = find(&mut self.connections, id) else { continue };
            if mem::take(&mut connection.progressed) {
                self.closing.push_back((now + self.options.close_stall, id));
            } else if connection.is_alive() {
                self.end(id.key, CloseReason::Unfinished, events);
                self.free_if_over(id.key);
            }
        }
    }

    /// The connection broke. What the peer sent before it did can be read until the next turn: it
    /// may have asked for something and gone.
    fn break_off(&mut self, key: u32, error: Errno, events: &mut Vec<Event>) {
        let connection = &mut self.connections[key as usize];
        if !connection.is_alive() {
            return;
        }
        connection.life = Life::Dying;
        events.push(Event::Closed { id: connection.id, reason: CloseReason::Broken(error.into()) });
        self.dying.push(key);
        self.cancel(key);
    }

    /// Lets go of those that broke in the last turn.
    pub(super) fn bury(&mut self) {
        while let Some(key) = self.dying.pop() {
            let connection = &mut self.connections[key as usize];
            connection.life = Life::Dead;
            connection.release(&mut self.ring, &mut self.pool);
            self.free_if_over(key);
        }
    }

    /// Ends a connection in the course of a turn.
    pub(super) fn end(&mut self, key: u32, reason: CloseReason, events: &mut Vec<Event>) {
        let connection = &mut self.connections[key as usize];
        connection.life = Life::Dead;
        connection.release(&mut self.ring, &mut self.pool);
        events.push(Event::Closed { id: connection.id, reason });
        self.cancel(key);
    }

    /// Ends a connection between two turns; its event waits for the next.
    pub(super) fn end_between_turns(&mut self, key: u32, reason: CloseReason) {
        let mut notices = mem::take(&mut self.notices);
        self.end(key, reason, &mut notices);
        self.notices = notices;
        self.free_if_over(key);
    }

    /// Ends the operations of a connection, if it has any.
    pub(super) fn cancel(&mut self, key: u32) {
        self.stop_receiving(key);
        let connection = &mut self.connections[key as usize];
        if connection.connecting {
            connection.cancels += 1;
            self.ring.cancel_connect(key);
        }
        if let Some(send) = connection.sending {
            connection.cancels += 1;
            self.ring.cancel_send(key, send);
        }
    }

    /// Closes the socket and frees the slot once the kernel has nothing to do with either.
    pub(super) fn free_if_over(&mut self, key: u32) {
        let connection = &self.connections[key as usize];
        if connection.life == Life::Dead && connection.is_quiet() {
            self.connections.remove(key as usize);
        }
    }
}
