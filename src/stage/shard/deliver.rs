//! What the zab thread has told: events and replies for clients.

use std::sync::Arc;

use super::client::{Asked, Client, Phase};
use super::{Close, ConnectionId, Shard};
use crate::ids::{Xid, Zxid};
use crate::limits::{EVENT_BYTES_MAX, OUTBOX_BYTES_PAUSE};
use crate::metrics::{Advanced, Basic, Counter, Recorder};
use crate::reply::response;
use crate::stage::message::{Batch, Entry, SessionCell};
use crate::stage::service::Service;
use crate::stage::shared::Shared;
use crate::tree::{Change, ChangeKind, SharedAcl};
use crate::wire::OpCode;
use crate::wire::client::EventType;
use crate::wire::frame::LENGTH_BYTES;
use crate::wire::record::perms;

impl Shard {
    /// Drains the queue of batches. Called with the read side of the tree's lock held, before
    /// reads; `last_zxid` is the tree's.
    pub(super) fn deliver(&mut self, last_zxid: Zxid) {
        while let Some(batch) = self.parts.batches.pop() {
            let Batch { entries, bytes } = batch;
            for entry in entries {
                self.deliver_entry(entry, &bytes, last_zxid);
            }
        }
        self.grants.forget(); // requests may change identities
    }

    fn deliver_entry(&mut self, entry: Entry, bytes: &[u8], last_zxid: Zxid) {
        match entry {
            Entry::Change(change) => self.fire(&change),
            Entry::Reply(id, zxid, range) => self.reply(id, zxid, &bytes[range]),
            Entry::Closed(id, zxid, range) => {
                self.reply(id, zxid, &bytes[range]);
                if let Some(client) = self.clients.get_mut(&id) {
                    client.session = None;
                }
                self.close(id, Close::AfterFlush);
            }
            Entry::Attached(id, cell, range) => self.attach(id, cell, &bytes[range], last_zxid),
            Entry::Refused(id, range) => {
                self.post(id, &bytes[range]);
                self.close(id, Close::AfterFlush);
            }
            Entry::Cut(id) => self.cut(id),
            Entry::CutAll => self.cut_all(),
        }
    }

    fn post(&mut self, id: ConnectionId, frame: &[u8]) {
        if let Some(outbox) = self.parts.reactor.outbox(id) {
            outbox.extend_from_slice(frame);
            self.recorder.packets_sent(1);
        }
    }

    fn reply(&mut self, id: ConnectionId, zxid: Zxid, frame: &[u8]) {
        self.post(id, frame);
        let Some(client) = self.clients.get_mut(&id) else { return };
        let Some(Asked { xid, op, bytes, at_us }) = client.asked.pop_front() else { return };
        self.parts.shared.remove_outstanding(bytes);
        let latency_us = self.now_us.saturating_sub(at_us);
        self.recorder.record_advanced(Advanced::Updatelatency, latency_us / 1000);
        self.recorder.request_latency_ms(latency_us / 1000);
        self.recorder.response_bytes((frame.len() - LENGTH_BYTES) as u64);
        client.tally.replied(op, xid, zxid, latency_us, self.now);
        let is_held = std::mem::take(&mut client.is_held);
        let is_free = client.order.answered();
        if is_free && client.waiting_since_us.is_none() {
            client.waiting_since_us = Some(at_us); // what is behind it came no later, or at once
        }
        if is_free || is_held {
            self.make_ready(id);
        }
    }

    fn attach(&mut self, id: ConnectionId, cell: Arc<SessionCell>, frame: &[u8], last_zxid: Zxid) {
        match self.clients.get_mut(&id) {
            Some(client) if client.phase == Phase::Connecting => {
                client.phase = Phase::Open;
                client.session = Some(cell);
                match client.session_asked_at_us.take() {
                    Some(at_us) => self.count_new_session(id, last_zxid, at_us),
                    None => client.tally.told(),
                }
                self.post(id, frame);
                self.make_ready(id); // it may have sent requests already
            }
            // It left, or was given up, meanwhile; the zab thread takes it for attached.
            Some(_) | None => self.tell_gone_of(id, cell.id),
        }
    }

    /// COMPAT: a session that is made is answered as a request is, whose number is 0; one that was
    /// there is not (`FinalRequestProcessor`, `ZooKeeperServer.revalidateSession`).
    fn count_new_session(&mut self, id: ConnectionId, last_zxid: Zxid, at_us: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let latency_us = self.now_us.saturating_sub(at_us);
        client.tally.replied(OpCode::CreateSession, Xid(0), last_zxid, latency_us, self.now);
        let Shared { service, settings, .. } = &*self.parts.shared;
        let has_txn = match service.now() {
            Service::Alone => true,
            Service::Leading | Service::Forwarding => !settings.local_sessions,
            Service::ReadOnly | Service::Resting => false,
        };
        let of_kind = if has_txn { Advanced::Updatelatency } else { Advanced::Readlatency };
        self.recorder.record_advanced(of_kind, latency_us / 1000);
        self.recorder.request_latency_ms(latency_us / 1000);
    }

    /// The session has ended, or has another connection: without a word.
    fn cut(&mut self, id: ConnectionId) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.session = None;
        }
        self.close(id, Close::AfterFlush);
    }

    /// The role has ended. Sessions stay; their clients find them again on another server.
    fn cut_all(&mut self) {
        let has_session = |phase| matches!(phase, Phase::Connecting | Phase::Open);
        let of = |(id, client): (&ConnectionId, &Client)| has_session(client.phase).then_some(*id);
        let ids: Vec<_> = self.clients.iter().filter_map(of).collect();
        for id in ids {
            self.close(id, Close::AfterFlush);
        }
    }

    /// Tells the watchers of a change that they may know of. A client that does not read cannot
    /// make events pile up without end; a long reply to one that does is no reason to close it.
    fn fire(&mut self, change: &Change) {
        let Self { parts, clients, watches, recorder, overfull, grants, .. } = self;
        let access = &parts.shared.settings.access;
        let may_read = |key: u64, acl: &SharedAcl| {
            let client: Option<&Client> = clients.get(&ConnectionId::from_bits(key));
            client.is_some_and(|client| grants.permit(access, acl, perms::READ, &client.identities))
        };
        let reactor = &mut parts.reactor;
        let (mut told, mut told_of_parent) = (0, 0);
        watches.fire(change, may_read, |key, kind, path| {
            let id = ConnectionId::from_bits(key);
            let waiting = reactor.outbox_bytes(id);
            let Some(outbox) = reactor.outbox(id) else { return };
            let start = outbox.len();
            response::event(outbox, change.zxid, kind, path);
            let bytes = outbox.len() - start;
            recorder.packets_sent(1);
            recorder.add(Counter::WatchBytes, (bytes - LENGTH_BYTES) as u64);
            clients.get(&id).inspect(|client| client.tally.told());
            match kind {
                EventType::NodeChildrenChanged => told_of_parent += 1,
                EventType::NodeCreated | EventType::NodeDeleted | EventType::NodeDataChanged => {
                    told += 1;
                }
            }
            if waiting > OUTBOX_BYTES_PAUSE {
                overfull.push((id, bytes));
            }
        });
        count_watchers(recorder, change.kind, told, told_of_parent);
        while let Some((id, bytes)) = self.overfull.pop() {
            self.count_unread(id, bytes);
        }
    }

    fn count_unread(&mut self, id: ConnectionId, bytes: usize) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.event_bytes += bytes;
        if client.event_bytes > EVENT_BYTES_MAX {
            let peer = client.peer;
            self.complain(peer, "it does not read its events; closing");
            self.close(id, Close::Now);
        }
    }
}

/// How many were told of one change; a change nobody watches is not counted.
fn count_watchers(recorder: &Recorder, kind: ChangeKind, told: u64, told_of_parent: u64) {
    let of_node = match kind {
        ChangeKind::Created => Basic::NodeCreatedWatchCount,
        ChangeKind::Deleted => Basic::NodeDeletedWatchCount,
        ChangeKind::DataChanged => Basic::NodeChangedWatchCount,
    };
    for (summary, told) in [(of_node, told), (Basic::NodeChildrenWatchCount, told_of_parent)] {
        if told > 0 {
            recorder.record(summary, told);
        }
    }
}
