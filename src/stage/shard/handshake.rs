//! A connection's first bytes: a four-letter word, or the connect request.

use super::client::Phase;
use super::serve::Step;
use super::{Close, ConnectionId, Shard};
use crate::ids::{Millis, SessionId, Zxid};
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

/// What a connect request comes to.
struct Hello {
    session: SessionId,
    read_only: Option<bool>,
    /// What it is granted.
    timeout_ms: i32,
    seen: Zxid,
    /// The password is the session's.
    is_genuine: bool,
}

/// Whom the server has nothing for at the moment: the client tries another. COMPAT: without a byte
/// (`ZooKeeperServer.processConnectRequest`).
fn turned_away(service: Service, read_only: Option<bool>) -> Option<&'static str> {
    match service {
        Service::Resting => Some("refused: this server is not currently serving requests"),
        Service::ReadOnly if read_only != Some(true) => {
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
        let (hello, bytes) = match self.hello(id) {
            Ok(Some(hello)) => hello,
            Ok(None) => return Step::Wait,
            Err(why) => return self.reject(id, &why),
        };
        let Hello { session, read_only, timeout_ms, seen, is_genuine } = hello;
        let is_known = session != SessionId::NONE;
        let mine = tree.last_zxid();
        let returning = (is_known && is_genuine && seen <= mine).then_some(session);
        // Before it is counted and takes a token: who waits asks again and again.
        if !self.note_handshake(id, timeout_ms, returning) || self.parts.asks.room() == 0 {
            self.is_stalled = true;
            return Step::Wait;
        }
        self.recorder.add(Counter::ConnectionRequestCount, 1);
        if let Some(why) = turned_away(self.parts.shared.service.now(), read_only) {
            return self.reject(id, why);
        }
        if !self.has_token(!is_known) {
            return self.reject(id, "too many handshakes at once (connection_throttle_tokens)");
        }
        if seen > mine {
            let what = format!("refused: it has seen {seen}, this server is at {mine}");
            return self.reject(id, &what);
        }
        if is_known && !is_genuine {
            return self.refuse(id, session, read_only);
        }
        let origin = Origin { shard: self.parts.index, connection: id };
        self.ask_to_connect(ConnectAsk { origin, session, timeout_ms, read_only }, bytes)
    }

    /// The connect request and its bytes, once it is whole; why it is none.
    fn hello(&self, id: ConnectionId) -> Result<Option<(Hello, usize)>, String> {
        let settings = &self.parts.shared.settings;
        let body = match frame::split(self.parts.reactor.input(id), settings.frame_bytes_max) {
            Ok(Some((body, _))) => body,
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let request = ConnectRequest::decode(body)
            .map_err(|error| format!("not a connect request: {error}"))?;
        let hello = Hello {
            session: request.session,
            read_only: request.read_only,
            timeout_ms: settings.session_timeouts.grant(request.timeout_ms),
            seen: request.last_zxid_seen,
            is_genuine: session::password_matches(request.session, request.password),
        };
        Ok(Some((hello, frame::LENGTH_BYTES + body.len())))
    }

    /// Once for each: it may wait as long as its session would live, and the session that it comes
    /// back with does not expire before its turn. False if there is no room to say so.
    fn note_handshake(
        &mut self,
        id: ConnectionId,
        timeout_ms: i32,
        returning: Option<SessionId>,
    ) -> bool {
        let Some(client) = self.clients.get_mut(&id) else { return true };
        if client.patient_until != Millis(0) {
            return true;
        }
        let is_told = |session| self.parts.shared.returning.push(session).is_ok();
        if !returning.is_none_or(is_told) {
            self.is_asking = true; // the zab thread may sleep
            return false;
        }
        client.patient_until = Millis(self.now.0 + i64::from(timeout_ms));
        true
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
            client.phase = Phase::Connecting;
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
