//! Clients and their connections, at both ends.

use std::collections::VecDeque;

use bytes::Bytes;
use ringkeeper::ids::{SessionId, Xid, Zxid};
use ringkeeper::request::session::Owner;
use ringkeeper::tree::Tree;
use ringkeeper::wire::quorum::{Forwarded, Packet, Touch};
use ringkeeper::wire::{ErrorCode, OpCode};
use ringkeeper::zab::Input;

use super::watches::{path_of, written_at};
use super::{Cluster, Event, Wire};
use crate::checker::Checker;
use crate::node::{Attached, Pending, PendingKind};
use crate::queue::MILLI;
use crate::workload::{Answer, Ask, Link, Look, Tell, is_ok};

/// Ends of a [`Wire`].
const SERVERS: usize = 0;
const CLIENTS: usize = 1;

impl Cluster {
    /// From a client to its server.
    fn ask(&mut self, number: u32, ask: Ask) {
        let delay = self.network.delay();
        let wire = &mut self.wires[number as usize];
        let at = wire.last_at[SERVERS].max(self.queue.now() + delay);
        wire.last_at[SERVERS] = at;
        let (client, node) = (wire.client, wire.node);
        self.trace.say(self.queue.now(), format_args!("c{client}"), || {
            format!("to n{} on {number}: {ask:?}", node + 1)
        });
        self.queue.plan(at, Event::Ask(number, Box::new(ask)));
    }

    /// From a server to its client.
    pub(super) fn tell(&mut self, number: u32, tell: Tell) {
        let delay = self.network.delay();
        let wire = &mut self.wires[number as usize];
        let at = wire.last_at[CLIENTS].max(self.queue.now() + delay);
        wire.last_at[CLIENTS] = at;
        self.queue.plan(at, Event::Tell(number, Box::new(tell)));
    }

    /// The server's end of a connection is closed.
    fn cut(&mut self, number: u32) {
        let wire = &mut self.wires[number as usize];
        if std::mem::replace(&mut wire.is_open[SERVERS], false) {
            self.tell(number, Tell::Closed);
        }
        let node = self.wires[number as usize].node;
        let Some(server) = &mut self.nodes[node].server else { return };
        server.watches.remove_connection(u64::from(number));
        let Some(attached) = server.clients.remove(&number) else { return };
        if let Some(session) = attached.session
            && server.sessions.get(&session) == Some(&number)
        {
            server.sessions.remove(&session);
        }
    }

    pub(super) fn cut_clients_of(&mut self, node: usize, life: u32) {
        for number in 0..self.wires.len() {
            let wire = &self.wires[number];
            if wire.is_open[SERVERS] && (wire.node, wire.life) == (node, life) {
                self.cut(u32::try_from(number).expect("not so many"));
            }
        }
    }

    /// A client's connection breaks.
    pub(super) fn break_wire(&mut self, client: usize) {
        match self.clients[client].link {
            Link::None => {}
            Link::Greeting(number) | Link::Attached(number) => self.cut(number),
        }
    }

    /// A packet of a client's is at its server.
    pub(super) fn on_ask(&mut self, number: u32, ask: Ask) {
        let Wire { node, life, is_open, .. } = self.wires[number as usize];
        if !self.lives(node, life) || !is_open[SERVERS] {
            return self.cut(number);
        }
        if !self.nodes[node].server().is_open {
            return self.cut(number);
        }
        self.trace.mix(self.queue.now(), 8 + (u64::from(number) << 8));
        self.enter(node, |cluster| cluster.take(node, number, ask));
    }

    fn take(&mut self, node: usize, number: u32, ask: Ask) {
        match ask {
            Ask::Connect { session, timeout_ms, last_zxid } => {
                self.greet(node, number, (session, timeout_ms, last_zxid));
            }
            Ask::Ping => self.touch(node, number),
            Ask::Read { xid, look } => {
                self.touch(node, number);
                self.pend(node, number, xid, PendingKind::Read(look));
                self.reply_in_order(node, number);
            }
            Ask::Sync { xid } => self.sync(node, number, xid),
            Ask::SetWatches { seen, data, exist } => {
                self.set_watches(node, number, seen, [&data, &exist]);
            }
            Ask::Write { xid, op, body } => {
                self.touch(node, number);
                let Some(session) = self.pend(node, number, xid, PendingKind::Write) else {
                    return;
                };
                if self.nodes[node].server().is_leading() {
                    return self.request(node, Owner::Here, (session, xid), op, &body);
                }
                let op = op.to_wire();
                let request = Forwarded { session, cxid: xid, op, body, identities: None };
                self.forward(node, Packet::Request(request));
            }
        }
    }

    fn forward(&mut self, node: usize, packet: Packet) {
        if let Some(link) = self.nodes[node].server().leader {
            self.step(node, Input::Say { link, packet });
        }
    }

    /// Puts a request behind those that wait for their answers.
    fn pend(&mut self, node: usize, number: u32, xid: Xid, kind: PendingKind) -> Option<SessionId> {
        let attached = self.nodes[node].server().clients.get_mut(&number)?;
        let session = attached.session?;
        attached.pending.push_back(Pending { xid, kind, answer: None });
        Some(session)
    }

    fn greet(
        &mut self,
        node: usize,
        number: u32,
        (session, timeout_ms, last_zxid): (SessionId, i32, Zxid),
    ) {
        let now = self.nodes[node].clock.read(self.now());
        let it = self.nodes[node].server();
        if last_zxid > it.tree.last_zxid() {
            return self.cut(number); // it has seen more than this server
        }
        let attached = Attached { session: None, pending: VecDeque::new() };
        it.clients.insert(number, attached);
        let is_leading = it.is_leading();
        if session == SessionId::NONE {
            let session = it.ids.next_id();
            it.handshakes.insert(session, number);
            if is_leading {
                return self.open_session(node, session, timeout_ms, Owner::Here);
            }
            let request = Forwarded {
                session,
                cxid: Xid(0),
                op: OpCode::CreateSession.to_wire(),
                body: Bytes::copy_from_slice(&timeout_ms.to_be_bytes()),
                identities: None,
            };
            return self.forward(node, Packet::Request(request));
        }
        it.handshakes.insert(session, number);
        if is_leading {
            if it.tracker.reattach(session, timeout_ms, Owner::Here, now) {
                self.welcome(node, session);
            } else {
                self.refuse(node, session);
            }
            return;
        }
        self.forward(node, Packet::Revalidate(Touch { session, timeout_ms }));
    }

    /// The session lives, and its client is here.
    pub(super) fn welcome(&mut self, node: usize, session: SessionId) {
        let server = self.nodes[node].server();
        let Some(number) = server.handshakes.remove(&session) else { return };
        let Some(attached) = server.clients.get_mut(&number) else { return };
        attached.session = Some(session);
        if let Some(old) = server.sessions.insert(session, number)
            && old != number
        {
            self.cut(old);
        }
        self.tell(number, Tell::Connected(session));
    }

    /// The session is no more.
    pub(super) fn refuse(&mut self, node: usize, session: SessionId) {
        if let Some(number) = self.nodes[node].server().handshakes.remove(&session) {
            self.tell(number, Tell::Connected(SessionId::NONE));
            self.cut(number);
        }
    }

    /// The session is closed: so is its connection.
    pub(super) fn part(&mut self, node: usize, session: SessionId) {
        if let Some(number) = self.nodes[node].server().sessions.get(&session).copied() {
            self.cut(number);
        }
    }

    fn touch(&mut self, node: usize, number: u32) {
        let now = self.nodes[node].clock.read(self.now());
        let server = self.nodes[node].server();
        let Some(session) = server.clients.get(&number).and_then(|it| it.session) else { return };
        if server.is_leading() {
            server.tracker.touch(session, now);
        } else if let Some(timeout_ms) = server.tree.session_timeout(session) {
            server.touched.insert(session, timeout_ms);
        }
    }

    fn sync(&mut self, node: usize, number: u32, xid: Xid) {
        let Some(session) = self.pend(node, number, xid, PendingKind::Sync) else { return };
        let it = self.nodes[node].server();
        if it.is_leading() {
            it.own_syncs.push_back((it.zab.last_proposed(), number, xid));
            return self.answer_own_syncs(node);
        }
        it.syncs.push_back((number, xid));
        let op = OpCode::Sync.to_wire();
        let request = Forwarded { session, cxid: xid, op, body: Bytes::new(), identities: None };
        self.forward(node, Packet::Request(request));
    }

    /// The leader has answered the oldest `sync`.
    pub(super) fn on_synced(&mut self, node: usize) {
        let it = self.nodes[node].server();
        let (number, xid) = it.syncs.pop_front().expect("a sync nobody asked for is answered");
        self.answer_sync(node, number, xid);
    }

    /// Those of a leader's own clients before which all is applied: its tree may be behind what a
    /// quorum has, and its learners show.
    pub(super) fn answer_own_syncs(&mut self, node: usize) {
        loop {
            let it = self.nodes[node].server();
            let last = it.tree.last_zxid();
            let due = it.own_syncs.pop_front_if(|(after, ..)| *after <= last);
            let Some((_, number, xid)) = due else { return };
            self.answer_sync(node, number, xid);
        }
    }

    fn answer_sync(&mut self, node: usize, number: u32, xid: Xid) {
        let zxid = self.nodes[node].server().tree.last_zxid();
        self.fill(node, number, |pending| pending.xid == xid, Answer::of(zxid, 0));
        self.reply_in_order(node, number);
    }

    /// A session's write is done: if it was asked for here, it is the oldest that waits.
    pub(super) fn answer(&mut self, node: usize, session: SessionId, xid: Xid, answer: Answer) {
        let server = self.nodes[node].server();
        let Some(number) = server.sessions.get(&session).copied() else { return };
        let Some(attached) = server.clients.get(&number) else { return };
        let waits = |it: &&Pending| it.kind == PendingKind::Write && it.answer.is_none();
        let oldest = attached.pending.iter().find(waits).map(|it| it.xid);
        if !attached.pending.iter().any(|it| it.xid == xid && it.answer.is_none()) {
            return; // of a connection before this one
        }
        assert!(oldest == Some(xid), "session {session}: {} is done before {oldest:?}", xid.0);
        if answer.err == ErrorCode::SessionMoved.to_wire() {
            return self.cut(number);
        }
        self.fill(node, number, |pending| pending.xid == xid, answer);
        self.reply_in_order(node, number);
    }

    fn fill(&mut self, node: usize, number: u32, is_it: impl Fn(&Pending) -> bool, answer: Answer) {
        let Some(attached) = self.nodes[node].server().clients.get_mut(&number) else { return };
        if let Some(pending) = attached.pending.iter_mut().find(|pending| is_it(pending)) {
            pending.answer = Some(answer);
        }
    }

    /// Replies leave in the order of their requests; a read is served when those before it are.
    fn reply_in_order(&mut self, node: usize, number: u32) {
        loop {
            let server = self.nodes[node].server.as_mut().expect("the process runs");
            let Some(attached) = server.clients.get_mut(&number) else { return };
            let Some(first) = attached.pending.front_mut() else { return };
            let answer = match (&first.kind, first.answer) {
                (PendingKind::Sync, Some(_)) => {
                    let epoch = server.serving.expect("its clients are served");
                    Answer { epoch, ..Answer::of(server.tree.last_zxid(), 0) }
                }
                (_, Some(answer)) => answer,
                (PendingKind::Read(look), None) => {
                    let zxid = server.tree.last_zxid();
                    let (err, written) = looked_at(&server.tree, look);
                    if let Look::Key { key, watch: true } = look {
                        let watched = server.watches.watch_data(u64::from(number), &path_of(*key));
                        watched.expect("a few watches");
                    }
                    Answer { written, ..Answer::of(zxid, err) }
                }
                (PendingKind::Write | PendingKind::Sync, None) => return,
            };
            let xid = first.xid;
            attached.pending.pop_front();
            self.tell(number, Tell::Reply(xid, answer));
        }
    }

    /// A packet of a server's is at its client.
    pub(super) fn on_tell(&mut self, number: u32, tell: &Tell) {
        let wire = &mut self.wires[number as usize];
        if !wire.is_open[CLIENTS] {
            return;
        }
        let number_of_client = wire.client;
        self.trace.mix(self.queue.now(), 9 + (u64::from(number) << 8));
        let now = self.queue.now();
        self.trace
            .say(now, format_args!("c{number_of_client}"), || format!("on {number}: {tell:?}"));
        let client = &mut self.clients[number_of_client];
        match *tell {
            Tell::Closed => self.disconnect(number_of_client),
            Tell::Connected(SessionId::NONE) => {
                client.forget_session();
                self.disconnect(number_of_client);
            }
            Tell::Connected(session) => {
                client.session = session;
                client.link = Link::Attached(number);
                client.patience = now + i64::from(client.timeout_ms) * MILLI * 2 / 3;
                if let Some(ask) = client.watches() {
                    self.ask(number, ask);
                }
            }
            Tell::Event(key) => client.on_event(key),
            Tell::Reply(xid, answer) => self.on_reply(number_of_client, xid, answer),
        }
    }

    fn on_reply(&mut self, number: usize, xid: Xid, answer: Answer) {
        let now = self.queue.now();
        let client = &mut self.clients[number];
        let asked = client.in_flight.pop_front().expect("an answer nobody asked for");
        let session = client.session;
        assert!(
            asked.xid == xid,
            "session {session}: {} is answered before {}",
            xid.0,
            asked.xid.0
        );
        assert!(
            answer.zxid >= client.last_zxid,
            "session {session} has seen {} and is shown {}",
            client.last_zxid,
            answer.zxid
        );
        client.last_zxid = answer.zxid;
        if let Some((key, watch)) = asked.key {
            client.on_seen(key, answer.written, watch);
        }
        client.patience = now + i64::from(client.timeout_ms) * MILLI * 2 / 3;
        if asked.is_sync && is_ok(answer) {
            Checker::check_sync(session, xid, answer, asked.floor);
        }
        if asked.is_write {
            self.checker.on_acknowledged(session, xid, answer.zxid, asked.floor);
            self.clients[number].acknowledged += 1;
        }
        if asked.is_close && is_ok(answer) {
            self.clients[number].forget_session();
            self.disconnect(number);
        }
    }

    /// What was asked and not answered may have been done, or not.
    fn disconnect(&mut self, number: usize) {
        let client = &mut self.clients[number];
        client.in_flight.clear();
        if let Link::Greeting(wire) | Link::Attached(wire) =
            std::mem::replace(&mut client.link, Link::None)
        {
            self.wires[wire as usize].is_open[CLIENTS] = false;
        }
    }

    /// It is a client's turn.
    pub(super) fn on_client(&mut self, number: usize) {
        let now = self.now();
        let delay = 1 + self.around(self.plan.think);
        self.queue.plan_in(delay, Event::Client(number));
        let floor = self.checker.acknowledged();
        let client = &mut self.clients[number];
        match client.link {
            Link::None => self.connect_client(number),
            Link::Greeting(wire) | Link::Attached(wire) if client.patience < now => {
                self.disconnect(number);
                self.hang_up(wire);
            }
            Link::Greeting(_) => {}
            Link::Attached(wire) if self.is_over || !client.may_ask() => {
                self.ask(wire, Ask::Ping);
            }
            Link::Attached(wire) => {
                let ask = client.next(&mut self.random, floor);
                if client.in_flight.len() == 1 {
                    client.patience = now + i64::from(client.timeout_ms) * MILLI * 2 / 3;
                }
                self.ask(wire, ask);
            }
        }
    }

    /// The client closes; the server learns of it in time, unless the network keeps it from it.
    fn hang_up(&mut self, number: u32) {
        if self.random.one_in(2) {
            self.cut(number);
        }
    }

    fn connect_client(&mut self, number: usize) {
        let node = self.random.below(self.nodes.len());
        let life = self.nodes[node].life;
        let is_open = [true, true];
        self.wires.push(Wire { client: number, node, life, is_open, last_at: [0, 0] });
        let wire = u32::try_from(self.wires.len() - 1).expect("not so many");
        let now = self.now();
        let client = &mut self.clients[number];
        client.link = Link::Greeting(wire);
        client.patience = now + i64::from(client.timeout_ms) * MILLI / 3;
        let ask = Ask::Connect {
            session: client.session,
            timeout_ms: client.timeout_ms,
            last_zxid: client.last_zxid,
        };
        self.ask(wire, ask);
    }
}

/// What a read finds: an error's code, and when the node was written.
fn looked_at(tree: &Tree, look: &Look) -> (i32, Zxid) {
    let written = match look {
        Look::Key { key, .. } => written_at(tree, *key),
        Look::Twins => {
            let data = |path: &str| tree.find(path).map(|node| node.data().map(<[u8]>::to_vec));
            let [one, other] = ["/twin0", "/twin1"].map(data);
            assert!(one == other, "a multi is half done: {one:?} and {other:?}");
            Zxid::ZERO
        }
    };
    (if written == Zxid::ZERO { ErrorCode::NoNode.to_wire() } else { 0 }, written)
}
