//! What the server around the core does: roles, the tree, sessions, requests on their way to the
//! leader and their answers.

use std::collections::VecDeque;

use ringkeeper::ids::{Epoch, SessionId, Xid, Zxid};
use ringkeeper::request::prepare::{Author, PrepareConfig, Preparer, Stamp, Standing, Write};
use ringkeeper::request::session::{Owner, SessionTracker};
use ringkeeper::tree::Outcome;
use ringkeeper::wire::quorum::{Forwarded, Packet, Touch};
use ringkeeper::wire::request::Request;
use ringkeeper::wire::txn::{Record, Txn};
use ringkeeper::wire::{ErrorCode, OpCode};
use ringkeeper::zab::{Input, LinkId, Proposal};

use super::Cluster;
use crate::checker::Checker;
use crate::node::{Node, SyncDue};
use crate::workload::Answer;

impl Cluster {
    /// The role is established.
    pub(super) fn serve(&mut self, node: usize, epoch: Epoch, to_clients: bool) {
        let now = self.nodes[node].clock.read(self.now());
        let tick_ms = i32::try_from(self.plan.timing.tick_ms).expect("a short tick");
        let server = self.nodes[node].server();
        server.serving = Some(epoch);
        server.is_open = to_clients;
        let is_leading = server.is_leading();
        server.preparer = Preparer::new(PrepareConfig::default());
        server.tracker = SessionTracker::new(tick_ms);
        if is_leading {
            for (session, timeout_ms) in server.tree.sessions() {
                server.tracker.add(session, timeout_ms, now);
            }
        }
        let place = server.place;
        let disks: Vec<_> = self.nodes.iter().map(|node| &node.disk).collect();
        if is_leading {
            self.checker.on_lead(node, place, epoch, &disks);
            self.elections += 1;
        }
        self.checker.on_serve(node, place, epoch, &disks);
        if let Some(server) = &self.nodes[node].server {
            Checker::check_owners(node, &server.tree);
        }
        if is_leading {
            self.on_dawn();
        }
    }

    /// The role has ended: nobody is served, and what was awaited will not come.
    pub(super) fn rest(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let server = self.nodes[node].server();
        server.serving = None;
        server.is_open = false;
        server.leader = None;
        server.clients.clear();
        server.sessions.clear();
        server.handshakes.clear();
        server.syncs.clear();
        server.own_syncs.clear();
        server.touched.clear();
        server.syncs_due.clear();
        server.commits_sent.clear();
        self.cut_clients_of(node, life);
    }

    /// A txn goes into the tree; whoever waits for it is answered.
    pub(super) fn apply(&mut self, node: usize, proposal: &Proposal) {
        let Proposal { zxid, record: bytes } = proposal;
        let record = Record::decode(bytes).expect("a leader made it");
        let Node { server, disk, .. } = &mut self.nodes[node];
        let server = server.as_mut().expect("the process runs");
        let mut changes = Vec::new();
        let outcome = server.tree.apply(&record, Some(&mut changes));
        server.preparer.applied(*zxid);
        let err = match outcome {
            Outcome::Error(err) => err,
            Outcome::Multi(ref steps) => steps.iter().find_map(step_error).unwrap_or(0),
            _ => 0,
        };
        let before = server.place;
        let place = self.checker.histories.extend(before, *zxid, bytes);
        server.place = place;
        let is_serving = server.serving.is_some();
        self.checker.on_applied(node, place, &server.tree, disk);
        Checker::check_sessions(node, &server.tree, &record);
        self.trace.mix(self.queue.now(), 7 + ((node as u64) << 8) + (zxid.0.cast_unsigned() << 16));
        if is_serving {
            let disks: Vec<_> = self.nodes.iter().map(|node| &node.disk).collect();
            self.checker.on_committed(node, place, &disks);
            self.fire(node, &changes);
            self.settle_request(node, &record, Answer::of(*zxid, err));
            self.answer_own_syncs(node);
            self.consider_snapshot(node);
        }
    }

    /// Answers whoever asked for this txn here.
    fn settle_request(&mut self, node: usize, record: &Record<'_>, answer: Answer) {
        let session = record.header.session;
        match record.txn {
            Txn::CreateSession { .. } => self.welcome(node, session),
            Txn::CloseSession { .. } => {
                self.nodes[node].server().tracker.remove(session);
                self.answer(node, session, record.header.cxid, answer);
                self.part(node, session);
            }
            _ => self.answer(node, session, record.header.cxid, answer),
        }
    }

    /// What a peer says to the sessions.
    pub(super) fn on_passed(&mut self, node: usize, link: LinkId, packet: Packet) {
        match packet {
            Packet::Request(request) => self.on_forwarded(node, link, &request),
            Packet::Revalidate(touch) => self.on_revalidate(node, link, touch),
            Packet::Revalidated { session, is_valid } => {
                if is_valid {
                    self.welcome(node, session);
                } else {
                    self.refuse(node, session);
                }
            }
            Packet::Sync => self.on_synced(node),
            Packet::Ping { zxid, touches } => {
                let now = self.nodes[node].clock.read(self.now());
                let server = self.nodes[node].server();
                if server.is_leading() {
                    for touch in touches.into_iter().flatten() {
                        server.tracker.touch(touch.session, now);
                    }
                    return;
                }
                let touched = std::mem::take(&mut server.touched).into_iter();
                let touches = touched.map(|(session, timeout_ms)| Touch { session, timeout_ms });
                let packet = Packet::Ping { zxid, touches: Some(touches.collect()) };
                self.step(node, Input::Say { link, packet });
            }
            other => panic!("node {}: the core passes on {other:?}", node + 1),
        }
    }

    fn on_forwarded(&mut self, node: usize, link: LinkId, request: &Forwarded) {
        let owner = Owner::Link(link.0);
        let Some(op) = OpCode::from_wire(request.op) else { panic!("an op nobody sends") };
        let Forwarded { session, cxid, ref body, .. } = *request;
        if op == OpCode::Sync {
            self.note_sync(node, link);
            return self.step(node, Input::Sync(link));
        }
        if op == OpCode::CreateSession {
            let timeout_ms = body[..].try_into().map(i32::from_be_bytes).expect("four bytes");
            return self.open_session(node, session, timeout_ms, owner);
        }
        self.request(node, owner, (session, cxid), op, body);
    }

    fn on_revalidate(&mut self, node: usize, link: LinkId, touch: Touch) {
        let owner = Owner::Link(link.0);
        let now = self.nodes[node].clock.read(self.now());
        let server = self.nodes[node].server();
        let Touch { session, timeout_ms } = touch;
        let is_valid =
            server.is_leading() && server.tracker.reattach(session, timeout_ms, owner, now);
        let packet = Packet::Revalidated { session, is_valid };
        self.step(node, Input::Say { link, packet });
    }

    /// The leader opens a session for a client of `owner`'s.
    pub(super) fn open_session(
        &mut self,
        node: usize,
        session: SessionId,
        timeout_ms: i32,
        owner: Owner,
    ) {
        let now = self.nodes[node].clock.read(self.now());
        let server = self.nodes[node].server();
        server.tracker.add(session, timeout_ms, now);
        server.tracker.set_owner(session, owner);
        let standing = Standing::Global;
        let author = Author { session, cxid: Xid(0), identities: &[], standing };
        self.propose(node, &author, Write::CreateSession { timeout_ms });
    }

    /// The leader prepares a client's write.
    pub(super) fn request(
        &mut self,
        node: usize,
        owner: Owner,
        (session, cxid): (SessionId, Xid),
        op: OpCode,
        body: &[u8],
    ) {
        let now = self.nodes[node].clock.read(self.now());
        let tracker = &mut self.nodes[node].server().tracker;
        tracker.touch(session, now);
        let standing = match tracker.check(session, owner) {
            Ok(()) => Standing::Global,
            Err(code) => Standing::Refused(code),
        };
        if op == OpCode::CloseSession && standing == Standing::Global {
            tracker.set_closing(session);
        }
        let author = Author { session, cxid, identities: &[], standing };
        let write = match (op, standing) {
            // A session that is closed, or moved away, is not closed by this one.
            (OpCode::CloseSession, Standing::Refused(_)) => Write::Undecodable,
            _ => Write::decode(op, body),
        };
        self.propose(node, &author, write);
    }

    fn propose(&mut self, node: usize, author: &Author<'_>, write: Write<'_>) {
        let time = self.nodes[node].clock.wall(self.now());
        let server = self.nodes[node].server.as_mut().expect("the process runs");
        let Some(zxid) = server.zab.next_zxid() else { return };
        self.record.clear();
        let stamp = Stamp { zxid, time };
        server.preparer.prepare(&server.tree, author, stamp, write, &mut self.record);
        let proposal = Proposal { zxid, record: self.chunk.put(&self.record) };
        self.step(node, Input::Propose(proposal));
    }

    /// The leader closes sessions whose time is up.
    pub(super) fn expire_sessions(&mut self, node: usize) {
        let now = self.nodes[node].clock.read(self.now());
        let Some(server) = self.nodes[node].server.as_mut().filter(|it| it.is_leading()) else {
            return;
        };
        let mut expired = Vec::new();
        server.tracker.expired(now, 1000, |_| None, &mut expired);
        for session in expired {
            if self.nodes[node].server.is_none() {
                return;
            }
            self.say(node, || format!("session {session} expires"));
            let standing = Standing::Global;
            let author = Author { session, cxid: Xid(0), identities: &[], standing };
            self.propose(node, &author, Write::Request(Request::CloseSession));
        }
    }

    /// Takes note of what was proposed before a learner's `sync`.
    fn note_sync(&mut self, node: usize, link: LinkId) {
        let server = self.nodes[node].server();
        if server.is_leading() {
            let last = server.zab.last_proposed();
            let after = if last.counter() == 0 { Zxid::ZERO } else { last };
            let due = SyncDue { after };
            server.syncs_due.entry(link).or_default().push_back(due);
        }
    }

    /// A `sync` is answered on a link behind the commits of what was proposed before it.
    pub(super) fn check_sync(&mut self, node: usize, link: LinkId, packet: &Packet) {
        let server = self.nodes[node].server();
        match packet {
            Packet::Commit { zxid } | Packet::Inform { zxid, .. } => {
                server.commits_sent.insert(link, *zxid);
            }
            Packet::Sync => {
                let due = server.syncs_due.get_mut(&link).and_then(VecDeque::pop_front);
                let Some(SyncDue { after }) = due else { panic!("a sync nobody asked for") };
                let sent = server.commits_sent.get(&link).copied().unwrap_or_default();
                let committed = self.checker.histories.zxid(self.checker.committed());
                assert!(
                    sent >= after || committed >= after,
                    "node {}: a sync behind {after} is answered at {sent}",
                    node + 1
                );
            }
            _ => {}
        }
    }
}

fn step_error(step: &Outcome<'_>) -> Option<i32> {
    match step {
        Outcome::Error(err) if *err != ErrorCode::Ok.to_wire() => Some(*err),
        _ => None,
    }
}
