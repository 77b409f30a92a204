//! A member whose peers and disk are played by a test; none of its sockets is ever opened.

mod follower;
mod leader;
mod played;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;
use std::sync::mpsc::{Receiver as Channel, sync_channel};
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::ids::{Round, SessionId, Xid};
use crate::limits::{LOG_QUEUE_MAX, STORAGE_QUEUE_MAX, WORDS_QUEUE_MAX};
use crate::request::prepare::PrepareConfig;
use crate::stage::log::LogAsk;
use crate::stage::queue::{Bell, ParkBell, bounded};
use crate::stage::shared::{Settings, Shared};
use crate::stage::storage::recover::Cost;
use crate::stage::zab::Parts;
use crate::tree::{Tree, TreeOptions};
use crate::wire::OpCode;
use crate::wire::election::Vote;
use crate::wire::quorum::PROTOCOL_VERSION;
use crate::wire::txn::{Record, Txn, TxnHeader};
use crate::zab::election::Ballot;
use crate::zab::{EpochRecord, Mutations, Quorum, Rule, Timing};

const PACKET_BYTES_MAX: u32 = 1 << 21;

/// Its link to the leader.
const UP: LinkId = LinkId(7);

/// Its leader's.
const EPOCH: Epoch = Epoch(2);

fn settings() -> Settings {
    Settings { frame_bytes_max: PACKET_BYTES_MAX / 2, ..Settings::plain() }
}

fn sockets() -> peers::Config {
    let address = peers::Address { host: "127.0.0.1".into(), quorum_port: 1, election_port: 1 };
    peers::Config {
        me: ServerId(3),
        members: (1..=3)
            .map(|id| (ServerId(id), vec![address.clone()]))
            .collect::<BTreeMap<_, _>>(),
        listen_on_all: false,
        multi_address: false,
        keep_alive: false,
        connect_timeout: Duration::from_secs(5),
        handshake_timeout: Duration::from_secs(10),
        introduction_timeout: Duration::from_secs(10),
        bind_tries_max: 3,
        packet_bytes_max: PACKET_BYTES_MAX,
    }
}

fn core() -> zab::Config {
    zab::Config {
        me: ServerId(3),
        is_observer: false,
        quorum: Quorum::new(Rule::majority((1..=3).map(ServerId)).unwrap()),
        text: "version=0".into(),
        version: 0,
        timing: Timing {
            tick_ms: 2000,
            init_limit: 10,
            sync_limit: 5,
            connect_limit: 0,
            interval_ms_min: 200,
            interval_ms_max: 60_000,
        },
        recent_max: 500,
        reads_log: true,
        leader_serves: true,
        counter_max: zab::Config::COUNTER_MAX,
        mutations: Mutations::default(),
    }
}

/// Server 3 of 1, 2, 3, without data, and what it asks the threads of storage and log.
fn member() -> (ZabStage, Channel<StorageAsk>, Receiver<LogAsk>) {
    let bell: Arc<dyn Bell> = Arc::new(ParkBell::default());
    let (failures, _) = sync_channel(1);
    let tree = Tree::with_options(TreeOptions::default());
    let control = (failures, Arc::clone(&bell));
    let shared = Arc::new(Shared::new(tree, settings(), 0, Clock::start(), control));
    let (log, logged) = bounded(LOG_QUEUE_MAX, Arc::clone(&bell));
    let parts = Parts {
        reactor: Reactor::new(peers::reactor_options(PACKET_BYTES_MAX)).unwrap(),
        shared,
        asks: Vec::new(),
        batches: Vec::new(),
        log,
        shares_core: false,
        durable: Arc::new(AtomicI64::new(0)),
        snapshots: sync_channel(1).0,
        behind_snapshot: 0,
        recovery: Cost::default(),
        inquiries: bounded(WORDS_QUEUE_MAX, Arc::clone(&bell)).1,
        prepare: PrepareConfig::default(),
        session_server: 3,
    };
    let (storage, asked) = sync_channel(STORAGE_QUEUE_MAX);
    let standing = Standing { accepted: Epoch(0), current: Epoch(0), last_logged: Zxid::ZERO };
    let member = MemberParts {
        peers: sockets(),
        zab: core(),
        standing,
        recent: Vec::new(),
        storage,
        answers: bounded(STORAGE_QUEUE_MAX, bell).1,
        environment: Vec::new(),
        introduction: String::new(),
    };
    (ZabStage::member(parts, member), asked, logged)
}

fn hear(stage: &mut ZabStage, event: PeerEvent) {
    stage.hear(event);
    stage.hear_links();
}

fn packet(packet: Packet) -> PeerEvent {
    PeerEvent::Packet { link: UP, packet }
}

fn down() -> PeerEvent {
    PeerEvent::LinkDown { link: UP, why: "reset".to_owned() }
}

/// It follows server 2, which opens an epoch.
fn following() -> (ZabStage, Channel<StorageAsk>, Receiver<LogAsk>) {
    let (mut stage, asked, logged) = member();
    stage.carry_out();
    let vote = Vote { leader: ServerId(2), zxid: Zxid(9), round: Round(1), epoch: Epoch(0) };
    for (from, state) in [(1, PeerState::Following), (2, PeerState::Leading)] {
        let ballot = Ballot { state, vote, version: 2 };
        stage.step(Input::Notified { from: ServerId(from), ballot });
    }
    assert_eq!(stage.zab.state(), PeerState::Following);
    hear(&mut stage, PeerEvent::LeaderUp { link: UP, leader: ServerId(2) });
    let protocol = PROTOCOL_VERSION;
    hear(&mut stage, packet(Packet::LeaderInfo { epoch: EPOCH, protocol }));
    assert!(matches!(asked.try_recv(), Ok(StorageAsk::Persist(_))));
    stage.step(Input::Persisted(EpochRecord::Accepted(EPOCH)));
    (stage, asked, logged)
}

/// Its leader sends a snapshot, while its tree lacks something of its log.
fn before_a_snapshot() -> (ZabStage, Channel<StorageAsk>) {
    let (mut stage, asked, _) = following();
    stage.committed.push_back(Proposal { zxid: Zxid(1), record: Vec::new().into() });
    hear(&mut stage, packet(Packet::Snap { zxid: Zxid(9) }));
    assert!(matches!(stage.outputs.front(), Some(Output::ReceiveSnapshot { .. })));
    (stage, asked)
}

/// What waited is carried out once the tree has all of the log.
fn catch_up(stage: &mut ZabStage) {
    stage.committed.clear();
    stage.carry_out();
}

#[test]
fn a_snapshot_is_received_once_the_tree_has_caught_up() {
    let (mut stage, asked) = before_a_snapshot();
    catch_up(&mut stage);
    assert!(matches!(asked.try_recv(), Ok(StorageAsk::Receive(_))));
    assert!(stage.is_rebuilding());
}

/// The storage thread would wait for the end of a stream that nobody ends, and the core for it.
#[test]
fn a_snapshot_of_a_leader_lost_meanwhile_is_not_waited_for() {
    let pending = || packet(Packet::Ping { zxid: Zxid(9), touches: None });
    for events in [vec![down()], vec![pending(), down()]] {
        let (mut stage, asked) = before_a_snapshot();
        for event in events {
            hear(&mut stage, event);
        }
        catch_up(&mut stage);
        assert!(asked.try_recv().is_err(), "nothing is asked of the storage thread");
        assert!(!stage.is_rebuilding());
        stage.now = Millis(stage.now.0 + 60_000); // it pauses after a term that failed
        stage.step(Input::Time);
        assert!(stage.zab.vote().is_some_and(|vote| vote.leader == ServerId(3)), "it looks again");
        assert!(stage.outputs.is_empty());
    }
}

/// A request that failed, as it is logged.
fn record(zxid: Zxid) -> Vec<u8> {
    record_of(SessionId(1), 1, zxid)
}

/// The same, of this session and number.
fn record_of(session: SessionId, xid: i32, zxid: Zxid) -> Vec<u8> {
    let (cxid, time, op) = (Xid(xid), Millis(1), OpCode::Error);
    let header = TxnHeader { session, cxid, zxid, time, op };
    let mut bytes = Vec::new();
    Record { header, txn: Txn::Error { err: -101 }, digest: None }.encode(&mut bytes);
    bytes
}

/// What a leader may propose as this txn, and whether it is one.
fn proposals(zxid: Zxid) -> [(Vec<u8>, bool); 6] {
    let sound = record(zxid);
    let mut unknown = sound.clone();
    unknown[TxnHeader::BYTES - 4..TxnHeader::BYTES].copy_from_slice(&999_i32.to_be_bytes());
    let cut = sound[..sound.len() - 1].to_vec();
    let foreign = record(Zxid(zxid.0 + 1));
    [
        (sound, true),
        (vec![], false),
        (vec![7], false),
        (foreign, false),
        (unknown, false),
        (cut, false),
    ]
}

fn assert_heard(stage: &mut ZabStage, logged: &Receiver<LogAsk>, said: Packet, is_sound: bool) {
    let text = format!("{said:?}");
    hear(stage, packet(said));
    if is_sound {
        assert!(matches!(logged.pop(), Some(LogAsk::Append(_))), "{text}");
        assert_eq!(stage.zab.state(), PeerState::Following, "{text}");
    } else {
        assert!(logged.is_empty(), "{text}");
        assert_eq!(stage.zab.state(), PeerState::Looking, "{text}");
        assert!(stage.zab.vote().is_some_and(|vote| vote.leader == ServerId(3)), "{text}");
        let member = stage.member.as_ref().unwrap();
        assert!(member.leader.is_none() && member.links.is_empty(), "{text}");
    }
}

/// Logged, it would end this server when it is applied, and at every start after that.
#[test]
fn what_a_leader_proposes_is_logged_only_if_it_is_a_txn() {
    let (first, history) = (Zxid::new(EPOCH, 1), Zxid::new(Epoch(1), 1));
    for (record, is_sound) in proposals(history) {
        let (mut stage, _asked, logged) = following();
        hear(&mut stage, packet(Packet::Diff { zxid: history }));
        let said = Packet::Inform { zxid: history, record: record.into() };
        assert_heard(&mut stage, &logged, said, is_sound);
    }
    for (record, is_sound) in proposals(first) {
        let (mut stage, _asked, logged) = following();
        hear(&mut stage, packet(Packet::Diff { zxid: Zxid::ZERO }));
        hear(&mut stage, packet(Packet::NewLeader { zxid: Zxid::new(EPOCH, 0), config: None }));
        stage.step(Input::Persisted(EpochRecord::Current(EPOCH)));
        hear(&mut stage, packet(Packet::UpToDate));
        assert_eq!(stage.zab.epoch(), Some(EPOCH), "it is up to date");
        let said = Packet::Proposal { zxid: first, record: record.into() };
        assert_heard(&mut stage, &logged, said, is_sound);
    }
}
