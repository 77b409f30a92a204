//! Golden texts: what a real `ZooKeeper` 3.9 answered, with the report that leads to each.

use super::super::report::{
    Conf, ConfQuorum, Connection, ConnectionSession, Expiries, Facts, Leader, Sessions, Sizes,
    WatchCounts,
};
use super::*;
use crate::ids::{Millis, ServerId, SessionId, Zxid};
use crate::metrics::{Advanced, Basic, Counter, Metrics};
use crate::tree::{QuotaSum, QuotaSums};

fn serving() -> Report {
    Report { facts: Facts { serving: true, ..Facts::default() }, ..Report::default() }
}

fn connection(port: u16, session: Option<ConnectionSession>) -> Connection {
    Connection {
        peer: format!("127.0.0.1:{port}").parse().unwrap(),
        reading: session.is_some(),
        queued: 0,
        received: if session.is_some() { 5 } else { 1 },
        sent: if session.is_some() { 5 } else { 0 },
        session,
        expires_at: Millis(1_795_397_743_000),
    }
}

fn session() -> ConnectionSession {
    ConnectionSession {
        id: SessionId(0x0100_0037_93e3_0000),
        last_op: "ADDW",
        established_at: Millis(1_795_397_727_127),
        timeout_ms: 10_000,
        last_xid: 4,
        last_zxid: Zxid(2),
        last_response_at: Millis(3_644_040),
        latency_last_ms: 2,
        latency_min_ms: 0,
        latency_avg_ms: 9,
        latency_max_ms: 19,
    }
}

#[test]
fn short_answers() {
    let mut report = serving();
    report.facts.trace_mask = 306;
    report.sizes = Sizes { data_bytes: 12, log_bytes: 67_108_880 };
    let cases = [
        (Word::Ruok, "imok"),
        (Word::Isro, "rw"),
        (Word::Gtmk, "306"),
        (Word::Stmk, "306"),
        (Word::Crst, "Connection stats reset.\n"),
        (Word::Srst, "Server stats reset.\n"),
        (Word::Dirs, "datadir_size: 12\nlogdir_size: 67108880\n"),
        (Word::Hash, ""),
        (Word::Cons, "\n"),
        (Word::Envi, "Environment:\n"),
        (Word::Wchc, "\n"),
        (Word::Wchs, "0 connections watching 0 paths\nTotal watches:0\n"),
    ];
    for (word, text) in cases {
        assert_eq!(answer(word, &report), text, "{word:?}");
    }
    report.facts.mode = Mode::ReadOnly;
    assert_eq!(answer(Word::Isro, &report), "ro");
}

#[test]
fn an_electing_server_says_so() {
    let report = Report::default();
    for word in Word::ALL {
        let expected = match word.name() {
            "ruok" => "imok",
            "isro" => "null",
            "gtmk" | "stmk" => "0",
            "envi" => "Environment:\n",
            _ => "This ZooKeeper instance is not currently serving requests\n",
        };
        assert_eq!(answer(*word, &report), expected, "{word:?}");
    }
}

#[test]
fn whitelists() {
    let count = |text, read_only| {
        let list = Whitelist::new(text, read_only);
        Word::ALL.iter().filter(|word| list.allows(**word)).count()
    };
    let cases = [("", false, 1), ("", true, 2), ("*", false, 18), ("ruok, *", false, 18)];
    for (text, read_only, expected) in cases {
        assert_eq!(count(text, read_only), expected, "{text:?}");
    }
    let list = Whitelist::new(" mntr,ruok , nosuch,, conf", false);
    for word in Word::ALL {
        let expected = matches!(word, Word::Mntr | Word::Ruok | Word::Conf | Word::Srvr);
        assert_eq!(list.allows(*word), expected, "{word:?}");
    }
    assert_eq!(refused(Word::Stat), "stat is not executed because it is not in the whitelist.\n");
}

#[test]
fn conf_alone_and_in_a_quorum() {
    let mut report = serving();
    report.sizes = Sizes { data_bytes: 67_109_358, log_bytes: 67_109_358 };
    report.conf = Conf {
        client_port: 21_810,
        secure_client_port: -1,
        data_dir: "/var/lib/zookeeper/version-2".into(),
        data_log_dir: "/var/lib/zookeeper/version-2".into(),
        tick_time_ms: 2000,
        connections_per_address_max: 60,
        session_timeout_ms_min: 4000,
        session_timeout_ms_max: 40_000,
        listen_backlog: -1,
        server_id: ServerId(0),
        quorum: None,
    };
    let alone = "clientPort=21810\nsecureClientPort=-1\ndataDir=/var/lib/zookeeper/version-2\n\
                 dataDirSize=67109358\ndataLogDir=/var/lib/zookeeper/version-2\n\
                 dataLogSize=67109358\ntickTime=2000\nmaxClientCnxns=60\nminSessionTimeout=4000\n\
                 maxSessionTimeout=40000\nclientPortListenBacklog=-1\nserverId=0\n";
    assert_eq!(answer(Word::Conf, &report), alone);
    report.conf.quorum = Some(ConfQuorum {
        init_limit_ticks: 5,
        sync_limit_ticks: 2,
        election_algorithm: 3,
        election_port: 3888,
        quorum_port: 2888,
        observer: true,
        membership: "server.1=a:2888:3888:participant\nversion=0".into(),
    });
    let quorum = "initLimit=5\nsyncLimit=2\nelectionAlg=3\nelectionPort=3888\nquorumPort=2888\n\
                  peerType=1\nmembership: \nserver.1=a:2888:3888:participant\nversion=0";
    assert_eq!(answer(Word::Conf, &report), format!("{alone}{quorum}"));
}

#[test]
fn cons_and_stat_list_connections() {
    let mut report = serving();
    report.connections = vec![connection(54_044, Some(session())), connection(54_070, None)];
    assert_eq!(
        answer(Word::Cons, &report),
        " /127.0.0.1:54044[1](queued=0,recved=5,sent=5,sid=0x100003793e30000,lop=ADDW,\
         est=1795397727127,to=10000,lcxid=0x4,lzxid=0x2,lresp=3644040,llat=2,minlat=0,avglat=9,\
         maxlat=19)\n /127.0.0.1:54070[0](queued=0,recved=1,sent=0)\n\n"
    );
    let fresh = ConnectionSession { last_xid: -2, last_zxid: Zxid(-1), last_op: "NA", ..session() };
    report.connections = vec![connection(1, Some(fresh))];
    report.connections[0].peer = "[::1]:2181".parse().unwrap();
    let text = answer(Word::Cons, &report);
    assert!(text.starts_with(" /[0:0:0:0:0:0:0:1]:2181[1]("), "{text}");
    assert!(text.contains(",to=10000,lzxid=0xffffffffffffffff,lresp="), "{text}");
    report.connections[0].peer = "[::ffff:10.0.0.9]:7".parse().unwrap();
    let text = answer(Word::Stat, &report);
    let middle = "\nClients:\n /10.0.0.9:7[1](queued=0,recved=5,sent=5)\n\nLatency min/avg/max: ";
    assert!(text.contains(middle), "{text}");
    assert!(text.starts_with("Zookeeper version: 3.9.5-") && text.ends_with("Node count: 0\n"));
}

#[test]
fn srvr_in_every_mode() {
    let metrics = Metrics::new();
    let recorder = metrics.recorder();
    for latency_ms in [0, 0, 2, 4, 1, 2, 19, 19] {
        recorder.request_latency_ms(latency_ms);
    }
    recorder.packets_received(15);
    recorder.packets_sent(14);
    let mut report = serving();
    report.readings = metrics.read();
    report.facts.connection_count = 3;
    report.facts.last_zxid = Zxid(3);
    report.facts.node_count = 6;
    let tail = |mode: &str| {
        format!(
            "Latency min/avg/max: 0/5.875/19\nReceived: 15\nSent: 14\nConnections: 3\n\
             Outstanding: 0\nZxid: 0x3\nMode: {mode}\nNode count: 6\n"
        )
    };
    let first = format!("Zookeeper version: {}\n", version::FULL);
    for mode in [Mode::Standalone, Mode::Follower, Mode::Observer, Mode::Leader] {
        report.facts.mode = mode;
        assert_eq!(answer(Word::Srvr, &report), format!("{first}{}", tail(mode.name())));
    }
    report.facts.leader = Some(Leader { proposal_bytes: (36, 32, 210), ..Leader::default() });
    let text = answer(Word::Srvr, &report);
    assert!(text.ends_with("Node count: 6\nProposal sizes last/min/max: 36/32/210\n"), "{text}");
    report.facts.mode = Mode::ReadOnly;
    let notice = "READ-ONLY mode; serving only read-only clients\n";
    assert_eq!(answer(Word::Srvr, &report), format!("{first}{notice}{}", tail("read-only")));
}

#[test]
fn dump_shows_sessions_ephemerals_connections() {
    let ids = [SessionId(0x0100_0037_93e3_0001), SessionId(0x0100_0037_93e3_0000)];
    let expiries = Expiries(vec![
        (Millis(1_795_397_737_000), vec![]),
        (Millis(1_795_397_739_000), ids.to_vec()),
    ]);
    let mut report = serving();
    report.sessions = Sessions::Tracked { local: None, global: expiries.clone() };
    report.ephemerals = vec![(ids[1], vec!["/fe".to_owned()])];
    report.connections = vec![connection(54_078, None), connection(54_044, Some(session()))];
    report.connections[1].session = Some(session());
    let sets = "Sets (2)/(2):\n0 expire at Mon Nov 23 01:35:37 UTC 2026:\n\
                2 expire at Mon Nov 23 01:35:39 UTC 2026:\n\
                \t0x100003793e30001\n\t0x100003793e30000\n";
    let rest = "ephemeral nodes dump:\nSessions with Ephemerals (1):\n0x100003793e30000:\n\t/fe\n\
                Connections dump:\nConnections Sets (1)/(2):\n\
                2 expire at Mon Nov 23 01:35:43 UTC 2026:\n\
                \tip: /127.0.0.1:54078 sessionId: 0x0\n\
                \tip: /127.0.0.1:54044 sessionId: 0x100003793e30000\n";
    let head = "SessionTracker dump:\n";
    assert_eq!(answer(Word::Dump, &report), format!("{head}Session {sets}{rest}"));
    report.sessions =
        Sessions::Tracked { local: Some(Expiries::default()), global: expiries.clone() };
    let both = format!("{head}Local Session Sets (0)/(0):\nGlobal Session {sets}{rest}");
    assert_eq!(answer(Word::Dump, &report), both);
    report.sessions = Sessions::Learned { local: None, global: vec![(ids[1], 10_000)] };
    let learned = "Global Sessions(1):\n0x100003793e30000\t10000ms\n";
    assert_eq!(answer(Word::Dump, &report), format!("{head}{learned}{rest}"));
}

#[test]
fn watches_by_session_and_by_path_and_counted() {
    let mut report = serving();
    report.watches = vec![
        (SessionId(0xa), vec!["/x".to_owned(), "/y".to_owned()]),
        (SessionId(0xb), vec!["/x".to_owned()]),
        (SessionId(0xc), vec![]),
    ];
    assert_eq!(answer(Word::Wchc, &report), "0xa\n\t/x\n\t/y\n0xb\n\t/x\n0xc\n\n");
    assert_eq!(answer(Word::Wchp, &report), "/x\n\t0xa\n\t0xb\n/y\n\t0xa\n\n");
    report.watch_counts = WatchCounts { connections: 3, paths: 2, watches: 4 };
    let counts = "3 connections watching 2 paths\nTotal watches:4\n";
    assert_eq!(answer(Word::Wchs, &report), counts);
}

#[test]
fn digests_and_environment() {
    let mut report = serving();
    report.digests = vec![(Zxid(0x80), 1_371_985_504), (Zxid(0x1_0000_0080), -5)];
    assert_eq!(answer(Word::Hash, &report), "80: 1371985504\n100000080: -5\n");
    report.environment = vec![("zookeeper.version", "3.9.5-x".to_owned())];
    assert_eq!(answer(Word::Envi, &report), "Environment:\nzookeeper.version=3.9.5-x\n");
}

/// Every name of a standalone server's `mntr`, in groups: gauges, counters, summaries.
#[test]
fn mntr_has_every_metric() {
    let metrics = Metrics::new();
    let mut report = serving();
    report.readings = metrics.read();
    report.facts.node_count = 5;
    report.facts.open_files = Some(60);
    let text = answer(Word::Mntr, &report);
    let lines: Vec<(&str, &str)> =
        text.lines().map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!(lines[0], ("zk_version", version::FULL));
    assert_eq!(lines[1], ("zk_server_state", "standalone"));
    let gauges = "approximate_data_size auth_failed_count avg_latency connection_drop_probability \
                  ephemerals_count global_sessions last_client_response_size local_sessions \
                  max_client_response_size max_file_descriptor_count max_latency \
                  min_client_response_size min_latency non_mtls_local_conn_count \
                  non_mtls_remote_conn_count num_alive_connections open_file_descriptor_count \
                  outstanding_requests outstanding_tls_handshake packets_received packets_sent \
                  uptime watch_count znode_count";
    let names = gauges.split_whitespace().map(str::to_owned);
    let names = names.chain(Counter::ALL.iter().map(|counter| counter.name().to_owned()));
    let basics = Basic::ALL.iter().map(|summary| format!("avg_{}", summary.name()));
    let advanced = Advanced::ALL.iter().map(|summary| format!("p999_{}", summary.name()));
    let mut rest = lines[2..].iter().map(|(name, _)| *name);
    for name in names.chain(basics).chain(advanced) {
        let name = format!("zk_{name}");
        assert!(rest.any(|found| found == name), "{name} is missing or out of order");
    }
    let value = |name: &str| lines.iter().find(|(found, _)| *found == name).unwrap().1;
    assert_eq!(value("zk_znode_count"), "5");
    assert_eq!(value("zk_open_file_descriptor_count"), "60");
    assert_eq!(value("zk_max_file_descriptor_count"), "-1");
    assert_eq!(value("zk_connection_drop_probability"), "0.0");
    assert_eq!(value("zk_avg_latency"), "0.0");
    assert_eq!(value("zk_last_client_response_size"), "-1");
}

#[test]
fn mntr_of_a_leader_and_of_quotas() {
    let mut report = serving();
    report.facts.mode = Mode::Leader;
    report.facts.peer_state = Some("leading - broadcast".to_owned());
    report.facts.quorum_size = Some(3);
    report.facts.leader =
        Some(Leader { learners: 2, proposal_bytes: (-1, -1, -1), ..Leader::default() });
    let sum = |count, bytes| Some(QuotaSum { count, bytes });
    report.quotas = [
        ("app".into(), QuotaSums { allowed: sum(10, -1), used: sum(2, 30) }),
        ("limited".into(), QuotaSums { allowed: sum(4, 5), used: None }),
        ("used".into(), QuotaSums { allowed: None, used: sum(6, 7) }),
    ]
    .into();
    let text = answer(Word::Mntr, &report);
    for line in [
        "zk_server_state\tleader\nzk_peer_state\tleading - broadcast\n",
        "\nzk_quorum_size\t3\nzk_learners\t2\nzk_synced_followers\t0\n",
        "\nzk_last_proposal_size\t-1\n",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    let quotas: Vec<&str> = text.lines().filter(|line| line.contains("_quota_")).collect();
    let expected = [
        "zk_app_quota_count_limit_per_namespace\t10",
        "zk_app_quota_bytes_limit_per_namespace\t-1",
        "zk_app_quota_count_usage_per_namespace\t2",
        "zk_app_quota_bytes_usage_per_namespace\t30",
        "zk_limited_quota_count_limit_per_namespace\t4",
        "zk_limited_quota_bytes_limit_per_namespace\t5",
        "zk_used_quota_count_usage_per_namespace\t6",
        "zk_used_quota_bytes_usage_per_namespace\t7",
    ];
    assert_eq!(quotas, expected);
}

#[test]
fn what_each_word_needs_is_enough_and_not_too_much() {
    for word in [Word::Ruok, Word::Isro, Word::Gtmk, Word::Crst] {
        assert!(needs(word).is_empty(), "{word:?}");
    }
    assert_eq!(needs(Word::Srvr), [Needs::Readings]);
    for word in Word::ALL.iter().filter(|word| is_constant(**word)) {
        let idle = answer(*word, &Report::default());
        assert_eq!((answer(*word, &serving()), works_while_electing(*word)), (idle, true));
    }
    let counts_files = |word: &&Word| needs(**word).contains(&Needs::OpenFiles);
    assert!(Word::ALL.iter().filter(counts_files).eq(&[Word::Mntr]));
    let actions: Vec<&str> =
        Word::ALL.iter().filter(|word| action(**word).is_some()).map(|word| word.name()).collect();
    assert_eq!(actions, ["crst", "srst", "stmk"]);
}
