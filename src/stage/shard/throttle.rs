//! What a crowd means for one connection: handshakes without a token, requests that stall, large
//! requests there is no room for. All of it is off unless it is configured.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;

use super::client::{Client, Stream};
use super::desk::{Desk, Verdict};
use super::{ConnectionId, Shard};
use crate::ids::{Millis, Xid};
use crate::metrics::{Advanced, Basic, Counter};
use crate::reply::response;
use crate::request::order::{Admission, Lane};
use crate::request::throttle::{CrowdConfig, Place, Toll};
use crate::wire::client::RequestHeader;
use crate::wire::{ErrorCode, OpCode};

/// Requests of a connection that stalled together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    since: Millis,
    /// Of the input: what came by then and is not dealt with.
    bytes_left: usize,
    /// The first of them has been let through; only its turn has not come.
    is_over: bool,
}

impl Client {
    /// So much input is dealt with.
    pub(super) fn on_dealt_with(&mut self, bytes: usize) {
        if let Some(stall) = &mut self.stall {
            stall.bytes_left = stall.bytes_left.saturating_sub(bytes);
            stall.is_over = false;
            if stall.bytes_left == 0 {
                self.stall = None;
            }
        }
    }
}

/// Evenly from 0 up to 1.
fn dice() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default();
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

impl Shard {
    /// Whether the bucket has tokens for this handshake.
    pub(super) fn has_token(&self, is_new: bool) -> bool {
        let Some(bucket) = &self.parts.shared.bucket else { return true };
        let mut bucket = bucket.lock();
        if bucket.take(is_new, self.now, dice()) {
            self.recorder.record(Basic::ConnectionTokenDeficit, bucket.deficit());
            return true;
        }
        self.recorder.add(Counter::ConnectionRejected, 1);
        false
    }

    /// Input of a connection is dealt with.
    pub(super) fn consume(&mut self, id: ConnectionId, bytes: usize) {
        self.parts.reactor.consume(id, bytes);
        self.recorder.add(Counter::BytesReceivedCount, bytes as u64);
        if self.parts.shared.settings.crowd.is_some()
            && let Some(client) = self.clients.get_mut(&id)
        {
            client.on_dealt_with(bytes);
        }
    }
}

impl Desk<'_> {
    /// Whether a frame is large, and more than fits beside the large ones on their way. Asked as
    /// soon as its length is known (`checkRequestSizeWhenReceivingMessage`).
    pub(super) fn is_too_large(&self, input: &[u8]) -> bool {
        let Some(large) = &self.shared.settings.large_requests else { return false };
        let Some(length) = input.first_chunk::<4>() else { return false };
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or_default();
        let on_their_way = self.shared.large_bytes.load(Ordering::Relaxed);
        let is_too_large = length > large.bytes_above && on_their_way + length > large.bytes_max;
        if is_too_large {
            self.recorder.add(Counter::LargeRequestsRejected, 1);
        }
        is_too_large
    }

    /// What a crowd makes of the next request; `None` if it goes on.
    pub(super) fn throttle(
        &mut self,
        (header, op): (RequestHeader, OpCode),
        bytes: usize,
        input: &[u8],
    ) -> Option<Verdict> {
        let crowd = self.shared.settings.crowd?;
        if self.client.stall.is_some_and(|stall| stall.is_over) {
            return None;
        }
        let place = self.place(op);
        match crowd.toll(&place) {
            Toll::Pass => {
                let waited = u64::try_from(place.waited.0).unwrap_or_default();
                self.recorder.record_advanced(Advanced::RequestThrottleQueueTimeMs, waited);
                if let Some(stall) = &mut self.client.stall {
                    stall.is_over = true;
                }
                None
            }
            Toll::Stall => {
                self.stall(input.len());
                Some(Verdict::Stall)
            }
            Toll::Refuse => Some(self.refuse_op(header.xid, op, bytes)),
            Toll::Drop => Some(self.drop_stale(&crowd, bytes)),
        }
    }

    fn place(&self, op: OpCode) -> Place {
        let waited = self.client.stall.map_or(0, |stall| self.now.0 - stall.since.0);
        Place {
            ahead: self.shared.outstanding.load(Ordering::Relaxed),
            waited: Millis(waited),
            timeout: Millis(i64::from(self.client.tally.timeout_ms)),
            is_disconnected: self.client.stream == Stream::Broken,
            is_close: op == OpCode::CloseSession,
            is_ping: op == OpCode::Ping,
        }
    }

    fn stall(&mut self, input_bytes: usize) {
        if self.client.stall.is_none() {
            self.recorder.add(Counter::RequestThrottleWaitCount, 1);
            let since = self.now;
            self.client.stall = Some(Stall { since, bytes_left: input_bytes, is_over: false });
        }
    }

    /// THROTTLEDOP, after the replies before it.
    fn refuse_op(&mut self, xid: Xid, op: OpCode, bytes: usize) -> Verdict {
        if self.client.order.admit(Lane::Read) != Admission::Serve {
            return Verdict::Wait;
        }
        self.recorder.add(Counter::ThrottledOps, 1);
        self.received(Lane::Read);
        response::empty(self.replies, xid, self.tree.last_zxid(), ErrorCode::ThrottledOp);
        self.replied(op, xid, bytes)
    }

    fn drop_stale(&self, crowd: &CrowdConfig, bytes: usize) -> Verdict {
        self.recorder.add(Counter::StaleRequestsDropped, 1);
        if crowd.stale_when_disconnected && self.client.stream == Stream::Broken {
            return Verdict::Answered(bytes); // nobody hears; a closeSession may come behind it
        }
        Verdict::Reject("a request stalled longer than its session may be silent".into())
    }
}
