//! A member whose peers and disk are played by a test; none of its sockets is ever opened.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;
use std::sync::mpsc::{Receiver as Channel, sync_channel};
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::ids::Round;
use crate::limits::{LOG_QUEUE_MAX, STORAGE_QUEUE_MAX, WORDS_QUEUE_MAX};
use crate::request::prepare::PrepareConfig;
use crate::stage::queue::{Bell, ParkBell, bounded};
use crate::stage::shared::{Settings, Shared};
use crate::stage::zab::Parts;
use crate::tree::{Tree, TreeOptions};
use crate::wire::election::Vote;
use crate::wire::quorum::PROTOCOL_VERSION;
use crate::zab::election::Ballot;
use crate::zab::{EpochRecord, Mutations, Quorum, Rule, Timing};

const PACKET_BYTES_MAX: u32 = 1 << 21;

/// Its link to the leader.
const UP: LinkId = LinkId(7);

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

/// Server 3 of 1, 2, 3, without data, and what it asks the storage thread.
fn member() -> (ZabStage, Channel<StorageAsk>) {
    let bell: Arc<dyn Bell> = Arc::new(ParkBell::default());
    let (failures, _) = sync_channel(1);
    let tree = Tree::with_options(TreeOptions::default());
    let control = (failures, Arc::clone(&bell));
    let shared = Arc::new(Shared::new(tree, settings(), 0, Clock::start(), control));
    let parts = Parts {
        reactor: Reactor::new(peers::reactor_options(PACKET_BYTES_MAX)).unwrap(),
        shared,
        asks: Vec::new(),
        batches: Vec::new(),
        log: bounded(LOG_QUEUE_MAX, Arc::clone(&bell)).0,
        durable: Arc::new(AtomicI64::new(0)),
        snapshots: sync_channel(1).0,
        behind_snapshot: 0,
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
    (ZabStage::member(parts, member), asked)
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

/// It follows server 2, which sends a snapshot, while its tree lacks something of its log.
fn before_a_snapshot() -> (ZabStage, Channel<StorageAsk>) {
    let (mut stage, asked) = member();
    stage.carry_out();
    let vote = Vote { leader: ServerId(2), zxid: Zxid(9), round: Round(1), epoch: Epoch(0) };
    for (from, state) in [(1, PeerState::Following), (2, PeerState::Leading)] {
        let ballot = Ballot { state, vote, version: 2 };
        stage.step(Input::Notified { from: ServerId(from), ballot });
    }
    assert_eq!(stage.zab.state(), PeerState::Following);
    hear(&mut stage, PeerEvent::LeaderUp { link: UP, leader: ServerId(2) });
    let epoch = Epoch(2);
    hear(&mut stage, packet(Packet::LeaderInfo { epoch, protocol: PROTOCOL_VERSION }));
    assert!(matches!(asked.try_recv(), Ok(StorageAsk::Persist(_))));
    stage.step(Input::Persisted(EpochRecord::Accepted(epoch)));
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
