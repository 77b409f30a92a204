//! A member in its role, whose clients are played by a test as well.

use std::sync::atomic::Ordering;

use super::*;
use crate::limits::{COMMIT_QUEUE_MAX, REQUEST_QUEUE_MAX};
use crate::net::ConnectionId;
use crate::request::session::SessionTracker;
use crate::stage::message::{Ask, Batch, ConnectAsk, Entry, Origin, WriteAsk};
use crate::stage::queue::Sender;
use crate::wire::quorum::LearnerInfo;

fn client() -> Origin {
    Origin { shard: 0, connection: ConnectionId::from_bits(1) }
}

/// What its client is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    Reply(i32),
    /// And the connection is closed.
    Closed(i32),
}

/// See the module. It has one shard, and local sessions.
pub(super) struct Played {
    pub(super) stage: ZabStage,
    asks: Sender<Ask>,
    told: Receiver<Batch>,
    /// The log thread's, which a test plays.
    _logged: Receiver<LogAsk>,
    /// The storage thread's, which must not be gone.
    _asked: Channel<StorageAsk>,
}

pub(super) fn zxid(counter: u32) -> Zxid {
    Zxid::new(EPOCH, counter)
}

impl Played {
    /// With a client's shard.
    fn of((mut stage, asked, logged): (ZabStage, Channel<StorageAsk>, Receiver<LogAsk>)) -> Self {
        let bell: Arc<dyn Bell> = Arc::new(ParkBell::default());
        let (asks, asks_in) = bounded(REQUEST_QUEUE_MAX, Arc::clone(&bell));
        let (batches, told) = bounded(COMMIT_QUEUE_MAX, bell);
        stage.parts.asks = vec![asks_in];
        (stage.parts.batches, stage.batches) = (vec![batches], vec![Batch::default()]);
        stage.sessions.local = Some(SessionTracker::new(settings().tick_time_ms));
        stage.carry_out();
        Self { stage, asks, told, _logged: logged, _asked: asked }
    }

    /// Of server 3, which servers 1 and 2 follow by links of their numbers.
    pub(super) fn leading() -> Self {
        let mut played = Self::of(member());
        let vote = played.stage.zab.vote().expect("it looks for a leader");
        for from in [ServerId(1), ServerId(2)] {
            let ballot = Ballot { state: PeerState::Looking, vote, version: 2 };
            played.stage.step(Input::Notified { from, ballot });
        }
        assert_eq!(played.stage.zab.state(), PeerState::Leading);
        for (link, server) in [(1, 1), (2, 2)] {
            played.introduce(link, Some(ServerId(server)));
        }
        played.stage.step(Input::Persisted(EpochRecord::Accepted(EPOCH)));
        let (last_logged, current) = (Zxid::ZERO, Some(Epoch(0)));
        for link in [1, 2] {
            played.hear(link, Packet::AckEpoch { last_logged, current });
        }
        played.stage.step(Input::Persisted(EpochRecord::Current(EPOCH)));
        played.hear_acks(zxid(0));
        played
    }

    /// Of server 3, which follows server 2 by the link [`UP`].
    pub(super) fn following() -> Self {
        let mut played = Self::of(following());
        played.hear(UP.0, Packet::Diff { zxid: Zxid::ZERO });
        played.hear(UP.0, Packet::NewLeader { zxid: zxid(0), config: None });
        played.stage.step(Input::Persisted(EpochRecord::Current(EPOCH)));
        played.hear(UP.0, Packet::UpToDate);
        played
    }

    /// A learner comes to this leader; an observer if it has no number.
    pub(super) fn introduce(&mut self, link: u64, server: Option<ServerId>) {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        hear(&mut self.stage, PeerEvent::LinkUp { link: LinkId(link), peer });
        let (accepted, protocol) = (Epoch(EPOCH.0 - 1), Some(PROTOCOL_VERSION));
        let info = LearnerInfo { server, protocol, config_version: None };
        let packet = match server {
            Some(_) => Packet::FollowerInfo { accepted, info },
            None => Packet::ObserverInfo { accepted, info },
        };
        self.hear(link, packet);
    }

    pub(super) fn hear(&mut self, link: u64, packet: Packet) {
        hear(&mut self.stage, PeerEvent::Packet { link: LinkId(link), packet });
    }

    /// Both followers of this leader have it.
    pub(super) fn hear_acks(&mut self, zxid: Zxid) {
        for link in [1, 2] {
            self.hear(link, Packet::Ack { zxid });
        }
    }

    /// Its client gets a session that no other server knows.
    pub(super) fn open_local_session(&mut self) -> SessionId {
        let (session, timeout_ms, read_only) = (SessionId::NONE, 4000, None);
        self.ask(Ask::Connect(ConnectAsk { origin: client(), session, timeout_ms, read_only }));
        self.stage.push_batches();
        let entries = self.told.pop().expect("it is told at once").entries;
        let Some(Entry::Attached(_, cell, _)) = entries.last() else { panic!("{entries:?}") };
        cell.id
    }

    /// Its client has a session of the ensemble's, and is gone again.
    pub(super) fn attach_and_leave(&mut self, session: SessionId) -> SessionId {
        let ask = ConnectAsk { origin: client(), session, timeout_ms: 4000, read_only: None };
        let now = self.stage.now;
        self.stage.sessions.settle(&ask, session, now);
        self.stage.sessions.detach(session, client());
        session
    }

    /// A write of nothing is one that fails, and is a txn all the same.
    pub(super) fn write(&mut self, session: SessionId, xid: i32, op: OpCode) {
        let (origin, xid, identities) = (client(), Xid(xid), [].into());
        let body = bytes::Bytes::new();
        self.ask(Ask::Write(WriteAsk { origin, session, xid, op, body, identities }));
    }

    fn ask(&mut self, ask: Ask) {
        assert!(self.asks.push(ask).is_ok(), "there is room");
        assert_eq!(self.stage.take_in(1), 1);
    }

    /// One turn, in which the log thread has told that it has everything up to here. True if there
    /// is more to do at once.
    pub(super) fn turn(&mut self, durable: Zxid) -> bool {
        self.stage.parts.durable.store(durable.0, Ordering::Release);
        self.close_sockets();
        self.stage.turn(&mut Vec::new())
    }

    /// One turn at this time.
    pub(super) fn turn_at(&mut self, now: Millis) {
        self.stage.now = now;
        self.close_sockets();
        self.stage.turn_now(&mut Vec::new());
    }

    /// All its turns, until it has told a log thread with this queue to stop.
    pub(super) fn stop(mut self, log: Sender<LogAsk>) {
        self.stage.parts.log = log;
        self.stage.parts.shared.stop();
        self.close_sockets();
        self.stage.run().expect("a ring that works");
    }

    /// And wishes for none: a turn would open them.
    fn close_sockets(&mut self) {
        let ZabStage { parts, member, .. } = &mut self.stage;
        let member = member.as_mut().expect("it is a member");
        member.peers = Peers::new(sockets(), &parts.reactor);
    }

    /// The log has everything up to here; what that commits is applied.
    pub(super) fn flush(&mut self, upto: Zxid) {
        self.stage.step(Input::Durable(upto));
        self.stage.apply_committed(usize::MAX);
        self.stage.carry_out();
    }

    /// What its client was told since it was last asked.
    pub(super) fn told(&mut self) -> Vec<Told> {
        self.stage.push_batches();
        let mut told = Vec::new();
        while let Some(Batch { entries, bytes }) = self.told.pop() {
            let xid = |start: usize| {
                let xid = bytes[start + 4..].first_chunk().expect("a frame begins with its xid");
                i32::from_be_bytes(*xid)
            };
            told.extend(entries.iter().map(|entry| {
                if let Entry::Reply(_, _, range) = entry {
                    Told::Reply(xid(range.start))
                } else if let Entry::Closed(_, _, range) = entry {
                    Told::Closed(xid(range.start))
                } else {
                    panic!("{entry:?}")
                }
            }));
        }
        told
    }
}
