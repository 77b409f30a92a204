//! A connection's first bytes: a four-letter word, or the connect request.

use super::client::Phase;
use super::serve::Step;
use super::{Close, ConnectionId, Shard};
use crate::ids::{Millis, SessionId};
use crate::metrics::Counter;
use crate::request::session;
use crate::stage::control::WordAsk;
use crate::stage::message::{Ask, ConnectAsk, Origin};
use crate::stage::service::Service;
use crate::stage::shared::WordOperand;
use crate::tree::Tree;
use crate::wire::client::{ConnectRequest, ConnectResponse};
use crate::wire::word::{FirstBytes, Word};
use crate::wire::{Writer, frame};

/// Whom the server has nothing for at the moment: the client tries another. COMPAT: without a byte
/// (`ZooKeeperServer.processConnectRequest`).
fn turned_away(service: Service, request: &ConnectRequest<'_>) -> Option<&'static str> {
    match service {
        Service::Resting => Some("refused: this server is not currently serving requests"),
        Service::ReadOnly if request.read_only != Some(true) => {
            Some("refused: this server is read-only, and the client is not")
        }
        Service::Alone | Service::Leading | Service::Forwarding | Service::ReadOnly => None,
    }
}

impl Shard {
    /// The first four bytes are a word, or the length of a connect request.
    pub(super) fn greet(&mut self, tree: &Tree, id: ConnectionId) -> Step {
        let input = self.parts.reactor.input(id);
        let Some(head) = input.first_chunk::<4>() else { return Step::Wait };
        match FirstBytes::of(*head) {
            FirstBytes::Length(_) => self.connect(tree, id),
            FirstBytes::TelnetClose => {
                self.close(id, Close::AfterFlush);
                Step::Over
            }
            FirstBytes::Word(word) => {
                let operand = input[4..].first_chunk().map(|bytes| i64::from_be_bytes(*bytes));
                // COMPAT: refused without a look at it (`NIOServerCnxn.checkFourLetterWord`); Java
                // closes where it has not come with the word.
                let is_awaited = self.parts.shared.settings.word_operand == WordOperand::Awaited;
                if word.operand_bytes() > 0 && is_awaited && operand.is_none() {
                    return Step::Wait; // as long as a connection may be without a session
                }
                self.on_word(id, word, operand)
            }
        }
    }

    fn on_word(&mut self, id: ConnectionId, word: Word, operand: Option<i64>) -> Step {
        self.recorder.packets_received(1);
        self.recorder.add(Counter::BytesReceivedCount, 4);
        let origin = Origin { shard: self.parts.index, connection: id };
        let Some(client) = self.clients.get_mut(&id) else { return Step::Over };
        client.phase = Phase::Word;
        client.tally.received += 1;
        if self.parts.words.push(WordAsk { origin, word, operand }).is_err() {
            self.close(id, Close::Now); // more words at once than anybody asks in earnest
        }
        self.parts.words.ring();
        Step::Over
    }

    fn connect(&mut self, tree: &Tree, id: ConnectionId) -> Step {
        let max = self.parts.shared.settings.frame_bytes_max;
        let body = match frame::split(self.parts.reactor.input(id), max) {
            Ok(Some((body, _))) => body,
            Ok(None) => return Step::Wait,
            Err(error) => return self.reject(id, &error.to_string()),
        };
        let bytes = frame::LENGTH_BYTES + body.len();
        let request = match ConnectRequest::decode(body) {
            Ok(request) => request,
            Err(error) => return self.reject(id, &format!("not a connect request: {error}")),
        };
        // Before it is counted and takes a token: who waits asks again and again.
        if self.parts.asks.room() == 0 {
            self.is_stalled = true;
            return Step::Wait;
        }
        self.recorder.add(Counter::ConnectionRequestCount, 1);
        if let Some(why) = turned_away(self.parts.shared.service.now(), &request) {
            return self.reject(id, why);
        }
        let known = request.session != SessionId::NONE;
        if !self.has_token(!known) {
            return self.reject(id, "too many handshakes at once (connection_throttle_tokens)");
        }
        let (seen, mine) = (request.last_zxid_seen, tree.last_zxid());
        if seen > mine {
            let what = format!("refused: it has seen {seen}, this server is at {mine}");
            return self.reject(id, &what);
        }
        if known && !session::password_matches(request.session, request.password) {
            return self.refuse(id, request.session, request.read_only);
        }
        let ask = ConnectAsk {
            origin: Origin { shard: self.parts.index, connection: id },
            session: request.session,
            timeout_ms: self.parts.shared.settings.session_timeouts.grant(request.timeout_ms),
            read_only: request.read_only,
        };
        self.ask_to_connect(ask, bytes)
    }

    fn ask_to_connect(&mut self, ask: ConnectAsk, bytes: usize) -> Step {
        let id = ask.origin.connection;
        self.ask(Ask::Connect(ask));
        let is_learner = self.parts.shared.service.now() == Service::Forwarding;
        if ask.session != SessionId::NONE && !is_learner {
            self.recorder.add(Counter::ConnectionRevalidateCount, 1); // a learner's zab thread does
        }
        self.recorder.packets_received(1);
        if let Some(client) = self.clients.get_mut(&id) {
            let until = Millis(self.now.0 + i64::from(ask.timeout_ms));
            client.phase = Phase::Connecting { until };
            client.tally.received += 1;
            client.tally.timeout_ms = ask.timeout_ms;
            client.session_asked_at_us = (ask.session == SessionId::NONE).then_some(self.now_us);
        }
        self.consume(id, bytes);
        Step::Wait
    }

    /// Says that the session is not valid, then closes: silence would make the client try for
    /// ever.
    fn refuse(&mut self, id: ConnectionId, session: SessionId, read_only: Option<bool>) -> Step {
        self.ask(Ask::Intruder(session));
        if let Some(client) = self.clients.get(&id) {
            self.complain(client.peer, &format!("wrong password for session {session}"));
        }
        if let Some(outbox) = self.parts.reactor.outbox(id) {
            let response = ConnectResponse::invalid(read_only);
            frame::write(outbox, |out| response.encode(&mut Writer::new(out)));
        }
        self.close(id, Close::AfterFlush);
        Step::Over
    }

    /// Closes without a byte: what the client sent can have no answer.
    pub(super) fn reject(&mut self, id: ConnectionId, what: &str) -> Step {
        if let Some(client) = self.clients.get(&id) {
            if client.session.is_none() {
                self.recorder.add(Counter::UnsuccessfulHandshake, 1);
            }
            self.complain(client.peer, what);
        }
        self.close(id, Close::AfterFlush);
        Step::Over
    }
}
