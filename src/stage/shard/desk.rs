//! One request in front of one connection: decoded, and answered in place or passed on.
//!
//! Borrows from the shard what deciding needs, and no socket: replies go to a vector.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::client::{Client, Stream};
use crate::ids::{Millis, SessionId, Xid, Zxid};
use crate::limits::{IDENTITIES_MAX, OUTSTANDING_BYTES_MAX};
use crate::metrics::{Advanced, Recorder};
use crate::net::ConnectionId;
use crate::reply::response;
use crate::reply::watch::WatchTable;
use crate::request::access;
use crate::request::order::{self, Admission, Lane};
use crate::request::read::{self, Arm, Caller};
use crate::stage::namespace;
use crate::stage::service::Service;
use crate::stage::shared::Shared;
use crate::tree::Tree;
use crate::wire::chunk::Chunk;
use crate::wire::client::{ReplyHeader, RequestHeader};
use crate::wire::request::Request;
use crate::wire::response::{Response, steps_end};
use crate::wire::{DecodeError, ErrorCode, OpCode, Reader, Writer, frame};

/// What is to be done with the first frame of the input.
pub(super) enum Verdict {
    /// It is not whole, or its turn has not come.
    Wait,
    /// There is a crowd before it: look again soon.
    Stall,
    /// Answered; so many bytes of input are dealt with.
    Answered(usize),
    /// Answered, and nothing more will be: close.
    AnsweredLast,
    /// The zab thread's.
    Submit { bytes: usize, xid: Xid, op: OpCode, body: Bytes },
    /// It can have no answer: close.
    Reject(String),
}

/// COMPAT: Java finds a multi undecodable, or a path null, after it has given the request its zxid;
/// but what is null in a multi and no path, an ACL, it finds before.
fn takes_zxid(op: OpCode, error: DecodeError) -> bool {
    match error {
        DecodeError::NullPath => true,
        DecodeError::Null => false,
        DecodeError::Truncated { .. }
        | DecodeError::NegativeLength { .. }
        | DecodeError::WritesInMultiRead
        | DecodeError::Unknown { .. } => op == OpCode::Multi,
    }
}

/// See the module.
pub(super) struct Desk<'a> {
    pub(super) shared: &'a Shared,
    pub(super) tree: &'a Tree,
    pub(super) id: ConnectionId,
    pub(super) client: &'a mut Client,
    pub(super) watches: &'a mut WatchTable,
    pub(super) replies: &'a mut Vec<u8>,
    pub(super) chunk: &'a mut Chunk,
    /// The zab thread can be asked for something.
    pub(super) has_room: bool,
    /// The request that is answered may take long.
    pub(super) is_costly: bool,
    pub(super) now: Millis,
    pub(super) now_us: u64,
    pub(super) recorder: &'a Recorder,
}

impl Desk<'_> {
    pub(super) fn decide(&mut self, input: &[u8]) -> Verdict {
        if self.is_too_large(input) {
            return Verdict::Reject("too much of large requests (largeRequestMaxBytes)".into());
        }
        let body = match frame::split(input, self.shared.settings.frame_bytes_max) {
            Ok(Some((body, _))) => body,
            Ok(None) => return Verdict::Wait,
            Err(error) => return Verdict::Reject(error.to_string()),
        };
        let bytes = frame::LENGTH_BYTES + body.len();
        let mut r = Reader::new(body);
        let Ok(header) = RequestHeader::decode(&mut r) else {
            return Verdict::Reject("a frame too short for a request header".into());
        };
        let op = OpCode::from_wire(header.op);
        let lane = op.map_or(Lane::Foreign, |op| self.lane(op));
        if lane != Lane::Aside && !self.is_admitted() {
            let code = ErrorCode::SessionClosedRequireSaslAuth;
            return self.last_word(header.xid, Zxid::ZERO, code);
        }
        let Some(op) = op.filter(|_| lane != Lane::Foreign) else {
            return self.turn_away(header);
        };
        if lane != Lane::Aside
            && let Some(verdict) = self.throttle((header, op), bytes, input)
        {
            return verdict;
        }
        match lane {
            Lane::Write if self.is_read_only() => self.refuse_write(header.xid, op, bytes),
            Lane::Write | Lane::Close => self.pass_on(header.xid, op, lane, body, bytes),
            Lane::Read if self.client.stream == Stream::Broken => Verdict::Answered(bytes),
            Lane::Read | Lane::Aside | Lane::Foreign => {
                if self.client.order.admit(lane) != Admission::Serve {
                    return Verdict::Wait;
                }
                self.received(lane);
                match Request::decode(op, &mut r) {
                    Ok(request) => self.answer(header.xid, &request, bytes),
                    // COMPAT: auth and sasl are decoded by the thread that reads the connection,
                    // which then gives it up (`ZooKeeperServer.processPacket`).
                    Err(error) if lane == Lane::Aside => Verdict::Reject(error.to_string()),
                    Err(error) => self.undecodable(header.xid, op, error, bytes),
                }
            }
        }
    }

    fn is_read_only(&self) -> bool {
        self.shared.service.now() == Service::ReadOnly
    }

    /// COMPAT: in its turn, with the last zxid (`ReadOnlyRequestProcessor`).
    fn refuse_write(&mut self, xid: Xid, op: OpCode, bytes: usize) -> Verdict {
        if self.client.order.admit(Lane::Read) != Admission::Serve {
            return Verdict::Wait;
        }
        self.received(Lane::Write);
        response::empty(self.replies, xid, self.tree.last_zxid(), ErrorCode::NotReadOnly);
        self.replied(op, xid, bytes)
    }

    /// A member of an ensemble asks its leader for a sync as for a write; if it leads, the zab
    /// thread, as what a quorum has may not be on its own disk yet, and so not in its tree.
    fn lane(&self, op: OpCode) -> Lane {
        if op == OpCode::Sync && self.shared.service.now() != Service::Alone {
            return Lane::Write;
        }
        order::lane(op)
    }

    fn is_admitted(&self) -> bool {
        self.shared.settings.access.is_admitted(&self.client.identities)
    }

    /// An opcode that no client may send: UNIMPLEMENTED, after the replies before it; then close.
    fn turn_away(&mut self, header: RequestHeader) -> Verdict {
        if self.client.order.admit(Lane::Foreign) != Admission::Serve {
            return Verdict::Wait;
        }
        self.last_word(header.xid, Zxid(-1), ErrorCode::Unimplemented)
    }

    fn last_word(&mut self, xid: Xid, zxid: Zxid, code: ErrorCode) -> Verdict {
        response::empty(self.replies, xid, zxid, code);
        self.sent(1);
        Verdict::AnsweredLast
    }

    /// A write goes to the zab thread if it can be decoded; so nothing undecodable is proposed.
    fn pass_on(&mut self, xid: Xid, op: OpCode, lane: Lane, body: &[u8], bytes: usize) -> Verdict {
        if self.is_over_limit() {
            self.client.is_held = true;
            return Verdict::Wait;
        }
        let record = &body[RequestHeader::BYTES..];
        let decoded = Request::decode(op, &mut Reader::new(record));
        let is_ordered_here = self.shared.service.now().is_ordering();
        let is_ours = |error: &&DecodeError| !(is_ordered_here && takes_zxid(op, **error));
        if let Some(error) = decoded.as_ref().err().filter(is_ours) {
            // COMPAT: answered here, in its turn, and takes no zxid (`PrepRequestProcessor`, 3.9).
            // A leader is never sent what cannot be decoded: a Java one would order nothing more.
            if self.client.order.admit(Lane::Read) != Admission::Serve {
                return Verdict::Wait;
            }
            self.received(lane);
            return self.undecodable(xid, op, *error, bytes);
        }
        // Before it is copied and counted: who waits asks again and again.
        if !self.has_room {
            return Verdict::Stall;
        }
        if self.client.order.admit(lane) != Admission::Submit {
            return Verdict::Wait;
        }
        self.received(lane);
        Verdict::Submit { bytes, xid, op, body: self.chunk.put(record) }
    }

    /// A connection that has a write in flight may not add another while there are too many.
    fn is_over_limit(&self) -> bool {
        let Shared { outstanding, outstanding_bytes, settings, .. } = self.shared;
        !self.client.asked.is_empty()
            && (outstanding.load(Ordering::Relaxed) >= settings.outstanding_max
                || outstanding_bytes.load(Ordering::Relaxed) >= OUTSTANDING_BYTES_MAX)
    }

    /// COMPAT: a multiRead of writes has an empty list of results behind its error.
    fn undecodable(&mut self, xid: Xid, op: OpCode, error: DecodeError, bytes: usize) -> Verdict {
        tracing::debug!(peer = %self.client.peer, ?op, %error, "request cannot be decoded");
        let header = ReplyHeader::new(xid, self.tree.last_zxid(), ErrorCode::MarshallingError);
        frame::write(self.replies, |out| {
            let mut w = Writer::new(out);
            header.encode(&mut w);
            if error == DecodeError::WritesInMultiRead {
                steps_end(&mut w);
            }
        });
        self.replied(op, xid, bytes)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all the others are read from the tree")]
    fn answer(&mut self, xid: Xid, request: &Request<'_>, bytes: usize) -> Verdict {
        self.is_costly = order::is_costly(request.op());
        match request {
            Request::Auth { scheme, auth } => {
                self.authenticate(xid, scheme.as_deref(), *auth, bytes)
            }
            // COMPAT: it asks for the token's length (`processSasl`)
            Request::Sasl { token: None } => Verdict::Reject("a null SASL token".into()),
            Request::Sasl { token: Some(_) } => {
                // COMPAT: without SASL configured, success and a null token (`processSasl`).
                response::reply(self.replies, xid, Zxid::ZERO, |out| {
                    Response::Token(None).encode(&mut Writer::new(out));
                    ErrorCode::Ok
                });
                self.sent(1);
                Verdict::Answered(bytes)
            }
            Request::SetWatches(_) | Request::AddWatch { .. } | Request::Watches(_) => {
                self.watch(xid, request, bytes)
            }
            _ => self.read(xid, request, bytes),
        }
    }

    fn read(&mut self, xid: Xid, request: &Request<'_>, bytes: usize) -> Verdict {
        let op = request.op();
        let xid = if op == OpCode::Ping { Xid::PING } else { xid };
        let session = self.client.session.as_ref().map_or(SessionId::NONE, |cell| cell.id);
        let caller = Caller { session, identities: &self.client.identities };
        let access = &self.shared.settings.access;
        let (tree, mut watch) = (self.tree, None);
        let start = self.replies.len();
        response::reply(self.replies, xid, tree.last_zxid(), |out| {
            let served = read::serve(access, tree, request, &caller, out);
            watch = served.watch;
            served.code
        });
        namespace::count_read(self.recorder, request, &self.replies[start..]);
        let bytes_sent = self.replies.len() - start - frame::LENGTH_BYTES;
        self.recorder.response_bytes(bytes_sent as u64);
        let armed = match watch {
            None => Ok(()),
            Some(Arm::Data(path)) => self.watches.watch_data(self.id.bits(), path),
            Some(Arm::Child(path)) => self.watches.watch_children(self.id.bits(), path),
        };
        match armed {
            Ok(()) => self.replied(op, xid, bytes),
            Err(error) => Verdict::Reject(error.to_string()),
        }
    }

    /// What is asked of the watches: the events that were missed come before the reply.
    fn watch(&mut self, xid: Xid, request: &Request<'_>, bytes: usize) -> Verdict {
        let (id, zxid) = (self.id.bits(), self.tree.last_zxid());
        let (replies, mut events) = (&mut *self.replies, 0);
        let done = if let Request::SetWatches(set) = request {
            let set = self.watches.set_watches(id, self.tree, set, |kind, path| {
                events += 1;
                response::event(replies, Zxid(-1), kind, path);
            });
            set.map(|()| response::empty(self.replies, xid, zxid, ErrorCode::Ok))
        } else if let Request::AddWatch { path, mode } = request {
            self.watches.add_watch(id, path, *mode).map(|()| {
                response::reply(replies, xid, zxid, |out| {
                    response::add_watch_body(out);
                    ErrorCode::Ok
                });
            })
        } else {
            let Request::Watches(watches) = request else { return Verdict::Wait };
            let found = self.watches.check_or_remove(id, watches);
            response::empty(replies, xid, zxid, found.err().unwrap_or(ErrorCode::Ok));
            Ok(())
        };
        self.sent(events);
        match done {
            Ok(()) => self.replied(request.op(), xid, bytes),
            Err(error) => Verdict::Reject(error.to_string()),
        }
    }

    /// What did not wait for a write of its connection was answered in the turn it came in.
    pub(super) fn replied(&mut self, op: OpCode, xid: Xid, bytes: usize) -> Verdict {
        let since_us = self.client.waiting_since_us.unwrap_or(self.now_us);
        let latency_us = self.now_us.saturating_sub(since_us);
        let zxid = self.tree.last_zxid();
        self.client.tally.replied(op, xid, zxid, latency_us, self.now);
        self.recorder.request_latency_ms(latency_us / 1000);
        self.recorder.record_advanced(Advanced::Readlatency, latency_us / 1000);
        self.recorder.packets_sent(1);
        Verdict::Answered(bytes)
    }

    /// The first frame of the input is being dealt with.
    pub(super) fn received(&mut self, lane: Lane) {
        self.client.ear.hear(lane);
        self.client.tally.received += 1;
        self.recorder.packets_received(1);
    }

    fn sent(&mut self, packets: u64) {
        self.recorder.packets_sent(packets);
        self.client.tally.sent.update(|sent| sent + packets);
    }

    /// A learner sends them with each request, and its leader takes as many bytes of them as of
    /// data: more, and the leader would take the learner for mad.
    fn are_few(&self, identities: &[access::Identity]) -> bool {
        let bytes: usize = identities.iter().map(|one| one.scheme.len() + one.id.len()).sum();
        let bytes_max = self.shared.settings.frame_bytes_max as usize;
        identities.len() <= IDENTITIES_MAX && bytes <= bytes_max
    }

    fn authenticate(
        &mut self,
        xid: Xid,
        scheme: Option<&str>,
        auth: Option<&[u8]>,
        bytes: usize,
    ) -> Verdict {
        let peer = self.client.peer.ip();
        let known = &self.client.identities;
        match access::authenticate(&self.shared.settings.access, peer, scheme, auth) {
            Ok(added) => {
                let mut identities = known.to_vec();
                for one in added {
                    if !identities.contains(&one) {
                        identities.push(one);
                    }
                }
                if !self.are_few(&identities) {
                    return Verdict::Reject("it authenticates without end".into());
                }
                self.client.identities = identities.into();
                response::empty(self.replies, xid, Zxid::ZERO, ErrorCode::Ok);
                self.sent(1);
                Verdict::Answered(bytes)
            }
            Err(error) => {
                tracing::warn!(%peer, scheme, %error, "authentication failed");
                self.shared.auth_failed.fetch_add(1, Ordering::Relaxed);
                self.last_word(xid, Zxid::ZERO, error.code())
            }
        }
    }
}
