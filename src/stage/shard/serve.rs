//! Whose turn it is, and how far it gets.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::client::{Client, Phase, Stream};
use super::desk::{Desk, Verdict};
use super::{Close, ConnectionId, Shard};
use crate::limits::{OUTBOX_BYTES_PAUSE, REQUESTS_PER_TURN_MAX, SERVING_PER_TURN_US_MAX};
use crate::tree::Tree;

/// Of one connection's requests so many are served between two looks at the clock; after a costly
/// one it is looked at in any case.
const REQUESTS_PER_LOOK: usize = 8;

/// What came of looking at a connection's input.
pub(super) enum Step {
    /// A frame was dealt with, and that may have taken long; look again.
    Next { was_costly: bool },
    /// There is nothing to do until something happens.
    Wait,
    /// The connection is being closed.
    Over,
}

impl Shard {
    /// Drains the batches, then serves every connection that has input, under one read lock; if
    /// that takes long, some now and the others after a look at the sockets.
    pub(super) fn serve_ready(&mut self) {
        self.is_stalled = false;
        let was_behind = std::mem::take(&mut self.is_behind);
        self.tell_gone();
        if self.ready.is_empty() && self.parts.batches.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.parts.shared);
        let tree = shared.tree.read();
        self.deliver(tree.last_zxid());
        if shared.is_stopping() {
            self.ready.clear(); // what was asked is answered; nothing new is
            return;
        }
        // Those that become ready meanwhile have their turn in the next round.
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else { break };
            self.serve(&tree, id);
            if self.takes_long() {
                self.is_behind = !self.ready.is_empty();
                break;
            }
        }
        // Before the lock is let go: the zab thread asks under the write side who watches.
        shared.watches[self.parts.index].store(self.watches.summary().watches, Ordering::Relaxed);
        drop(tree);
        if self.is_behind && !was_behind {
            self.hear_left();
        }
    }

    /// Whoever came in this turn and is left to the next is heard now. Those that come while the
    /// shard is behind are heard as they come: so nobody is looked at in turn after turn.
    fn hear_left(&mut self) {
        for at in 0..self.ready.len() {
            self.hear(self.ready[at]);
        }
    }

    fn serve(&mut self, tree: &Tree, id: ConnectionId) {
        match self.clients.get_mut(&id) {
            Some(client) => client.is_ready = false,
            None => return,
        }
        let mut is_unfinished = true;
        for served in 1..=REQUESTS_PER_TURN_MAX {
            if self.has_too_much_to_read(id) {
                is_unfinished = false;
                break;
            }
            match self.step(tree, id) {
                Step::Next { was_costly } => {
                    if (was_costly || served % REQUESTS_PER_LOOK == 0) && self.takes_long() {
                        break;
                    }
                }
                Step::Wait => {
                    is_unfinished = self.is_stalled;
                    break;
                }
                Step::Over => return,
            }
        }
        self.post_replies(id);
        if let Some(client) = self.clients.get_mut(&id) {
            client.waiting_since_us = None;
            client.ear.touch(client.session.as_deref(), self.now);
        }
        if is_unfinished {
            self.make_ready(id); // others first
        } else {
            self.close_if_over(id);
        }
    }

    /// Whether others have waited long enough since the turn began.
    fn takes_long(&self) -> bool {
        self.parts.shared.clock.micros() > self.now_us + SERVING_PER_TURN_US_MAX
    }

    /// A client that sends no more is closed once everything it sent is dealt with: it may have
    /// closed its session as its last word, behind much else, and not wait for the reply.
    fn close_if_over(&mut self, id: ConnectionId) {
        let Some(client) = self.clients.get(&id) else { return };
        let is_waiting = match client.phase {
            Phase::Fresh | Phase::Closing => false,
            Phase::Word | Phase::Connecting => true,
            Phase::Open => client.is_paused || !client.asked.is_empty(),
        };
        if client.stream == Stream::Ended && !is_waiting {
            self.close(id, Close::AfterFlush);
        }
    }

    /// The connection broke; what it had sent before can be read until the next turn. Its writes
    /// are passed on all the same, above all a closeSession.
    pub(super) fn hear_out(&mut self, id: ConnectionId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.stream = Stream::Broken;
        let shared = Arc::clone(&self.parts.shared);
        let tree = shared.tree.read();
        self.deliver(tree.last_zxid());
        let is_open = |client: &Client| client.phase == Phase::Open;
        while self.clients.get(&id).is_some_and(is_open) && !shared.is_stopping() {
            match self.serve_frame(&tree, id) {
                Step::Next { .. } => {}
                Step::Wait | Step::Over => break,
            }
        }
        if let Some(client) = self.clients.get_mut(&id) {
            client.ear.touch(client.session.as_deref(), self.now);
        }
        self.replies.clear();
    }

    fn step(&mut self, tree: &Tree, id: ConnectionId) -> Step {
        match self.clients.get(&id).map(|client| client.phase) {
            Some(Phase::Fresh) => self.greet(tree, id),
            Some(Phase::Open) => self.serve_frame(tree, id),
            Some(Phase::Word | Phase::Connecting | Phase::Closing) | None => Step::Wait,
        }
    }

    /// A client that does not read its replies is not served; that it sends is heard, as far as its
    /// input holds it.
    fn has_too_much_to_read(&mut self, id: ConnectionId) -> bool {
        if self.parts.reactor.outbox_bytes(id) + self.replies.len() <= OUTBOX_BYTES_PAUSE {
            return false;
        }
        self.post_replies(id);
        if let Some(client) = self.clients.get_mut(&id) {
            client.is_paused = true;
            let max = self.parts.shared.settings.frame_bytes_max;
            client.ear.hear_waiting(self.parts.reactor.input(id), max);
        }
        true
    }

    fn serve_frame(&mut self, tree: &Tree, id: ConnectionId) -> Step {
        let Some(client) = self.clients.get_mut(&id) else { return Step::Over };
        let shared = &self.parts.shared;
        let mut desk = Desk {
            shared,
            tree,
            id,
            client,
            watches: &mut self.watches,
            replies: &mut self.replies,
            chunk: &mut self.chunk,
            has_room: self.parts.asks.room() > 0,
            is_costly: false,
            now: self.now,
            now_us: self.now_us,
            recorder: &self.recorder,
        };
        let input = self.parts.reactor.input(id);
        match desk.decide(input) {
            Verdict::Wait => {
                desk.client.ear.hear_waiting(input, shared.settings.frame_bytes_max);
                Step::Wait
            }
            Verdict::Stall => {
                self.is_stalled = true;
                Step::Wait
            }
            Verdict::Answered(bytes) => {
                let was_costly = desk.is_costly;
                self.consume(id, bytes);
                Step::Next { was_costly }
            }
            Verdict::AnsweredLast => {
                self.post_replies(id);
                self.close(id, Close::AfterFlush);
                Step::Over
            }
            Verdict::Submit { bytes, xid, op, body } => {
                self.submit(id, (xid, op), body);
                self.consume(id, bytes);
                Step::Next { was_costly: false }
            }
            Verdict::Reject(what) => {
                self.post_replies(id);
                self.reject(id, &what)
            }
        }
    }

    /// What was answered goes to the connection's outbox, in one piece.
    fn post_replies(&mut self, id: ConnectionId) {
        if !self.replies.is_empty() {
            if let Some(outbox) = self.parts.reactor.outbox(id) {
                outbox.extend_from_slice(&self.replies);
            }
            self.replies.clear();
            self.replies.shrink_to(2 * OUTBOX_BYTES_PAUSE);
        }
    }
}
