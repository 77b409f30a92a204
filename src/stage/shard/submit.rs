//! Writes on their way to the zab thread.

use std::sync::Arc;

use bytes::Bytes;

use super::client::{Asked, Client};
use super::{ConnectionId, Shard};
use crate::ids::{SessionId, Xid};
use crate::stage::message::{Ask, Origin, WriteAsk};
use crate::wire::OpCode;

impl Shard {
    /// Hands something to the zab thread.
    ///
    /// # Panics
    /// If its queue has no room; only this thread pushes there, and it has looked.
    pub(super) fn ask(&mut self, ask: Ask) {
        let pushed = self.parts.asks.push(ask);
        assert!(pushed.is_ok(), "there was room when it was decided");
        self.is_asking = true;
    }

    /// Hands a write to the zab thread, whose queue has room.
    pub(super) fn submit(&mut self, id: ConnectionId, (xid, op): (Xid, OpCode), body: Bytes) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let Some(session) = &client.session else { return };
        let bytes = body.len();
        let ask = WriteAsk {
            origin: Origin { shard: self.parts.index, connection: id },
            session: session.id,
            xid,
            op,
            body,
            identities: Arc::clone(&client.identities),
        };
        self.parts.shared.add_outstanding(bytes);
        client.asked.push_back(Asked { xid, op, bytes, at_us: self.now_us });
        self.ask(Ask::Write(ask));
    }

    /// The zab thread learns that a session's connection is gone, and takes its unanswered
    /// writes off the count of those in flight.
    pub(super) fn forget(&mut self, id: ConnectionId, client: &Client) {
        for asked in &client.asked {
            self.parts.shared.remove_outstanding(asked.bytes);
        }
        if let Some(session) = &client.session {
            self.tell_gone_of(id, session.id);
        }
    }

    pub(super) fn tell_gone_of(&mut self, id: ConnectionId, session: SessionId) {
        let origin = Origin { shard: self.parts.index, connection: id };
        self.gone.push_back((origin, session));
        self.tell_gone();
    }

    /// Tells of connections that went, as far as there is room; the rest waits for the next turn.
    pub(super) fn tell_gone(&mut self) {
        while let Some((origin, session)) = self.gone.front().copied() {
            if self.parts.asks.push(Ask::Gone(origin, session)).is_err() {
                self.is_stalled = true;
                return;
            }
            self.is_asking = true;
            self.gone.pop_front();
        }
    }
}
