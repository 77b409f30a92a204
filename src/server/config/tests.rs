//! `Config::load` as an operator meets it: files on disk, properties, warnings and refusals.

use std::collections::BTreeSet;

use tempfile::TempDir;
use tracing::Level;

use super::keys::{KEYS, Kind, Scope, Spelling};
use super::*;
use crate::ids::ServerId;

const SAMPLE: &str = include_str!("../../../conf/zoo_sample.cfg");

/// The five lines every guide begins with.
const FIVE_LINES: &str = "tickTime=2000\ndataDir=DIR\nclientPort=2181\ninitLimit=5\nsyncLimit=2\n";

const THREE_SERVERS: &str = "server.1=slave-01:2888:3888\nserver.2=slave-02:2888:3888\n\
                             server.3=slave-03:2888:3888\n";

struct Site(TempDir);

impl Site {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.0.path().join(name);
        fs::write(&file, text.replace("DIR", self.0.path().to_str().unwrap())).unwrap();
        file
    }

    fn load(&self, text: &str, properties: &[(&str, &str)]) -> (Config, Vec<Warning>) {
        self.try_load(text, properties).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn try_load(
        &self,
        text: &str,
        properties: &[(&str, &str)],
    ) -> Result<(Config, Vec<Warning>), ConfigError> {
        let file = self.write("zoo.cfg", text);
        Config::load(Some(&file), &owned(properties))
    }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Warnings an operator sees by default.
fn loud(warnings: &[Warning]) -> Vec<&str> {
    let loud = warnings.iter().filter(|warning| warning.level <= Level::WARN);
    loud.map(|warning| warning.text.as_str()).collect()
}

#[test]
fn without_a_file_it_serves_this_machine_only() {
    let (config, warnings) = Config::load(None, &[]).unwrap();
    assert_eq!(config.clients.address.as_ref().unwrap().to_string(), "127.0.0.1:2181");
    assert_eq!(config.storage.data_dir, Path::new("data"));
    assert_eq!(config.clients.four_letter_whitelist, "");
    assert!(config.is_standalone() && config.file.is_none());
    assert_eq!(loud(&warnings), [""; 0]);
}

#[test]
fn the_five_lines() {
    let site = Site::new();
    let (config, warnings) = site.load(FIVE_LINES, &[]);
    assert_eq!(loud(&warnings), [""; 0]);
    assert_eq!(config.clients.address.as_ref().unwrap().to_string(), "0.0.0.0:2181");
    assert_eq!(config.storage.data_dir, site.0.path());
    assert_eq!(config.storage.data_log_dir, site.0.path());
    let sessions = &config.sessions;
    assert_eq!((sessions.tick_time_ms, sessions.timeouts_written_ms), (2000, (-1, -1)));
    assert_eq!((sessions.timeout_ms_min, sessions.timeout_ms_max), (4000, 40_000));
    assert_eq!((config.ensemble.init_limit_ticks, config.ensemble.sync_limit_ticks), (5, 2));
    assert_eq!(config.clients.connections_per_address_max, 60);
    assert_eq!(config.clients.connections_max, None);
    assert_eq!(config.storage.purge_interval_ms, None);
    assert!(config.is_standalone() && config.storage.force_sync && !config.tree.skip_acl);
}

#[test]
fn values_reach_their_setting() {
    let site = Site::new();
    let text = format!(
        "{FIVE_LINES}clientPortAddress=10.0.0.1\ndataLogDir=DIR/log\nmaxClientCnxns=0\n\
         autopurge.purgeInterval=24\nsnapCount=1000\nsnapshot.compression.method=GZ\n\
         forceSync=no\nskipACL=yes\n4lw.commands.whitelist=ruok, mntr\njute.maxbuffer=0x200000\n\
         znode.container.checkIntervalMs=500\nreadonlymode.enabled=true\npreAllocSize=64\n\
         DigestAuthenticationProvider.digestAlg=SHA-256\nenforce.auth.schemes=digest, ip\n\
         authProvider.1=a.B\nringkeeper.shards=3\nringkeeper.cores=0-2,7\nmaxSessionTimeout=9000"
    );
    let (config, warnings) = site.load(&text, &[]);
    assert_eq!(loud(&warnings), [""; 0]);
    assert_eq!(config.clients.address.as_ref().unwrap().to_string(), "10.0.0.1:2181");
    assert_eq!(config.clients.connections_per_address_max, 0);
    assert_eq!((config.clients.frame_bytes_max, config.clients.frame_bytes_extra), {
        (0x20_0000, 0x20_0000)
    });
    assert_eq!(config.clients.four_letter_whitelist, "ruok, mntr");
    assert_eq!(config.storage.purge_interval_ms, Some(86_400_000));
    assert_eq!(config.storage.snap_count, 1000);
    assert_eq!(config.storage.snapshot_compression, Compression::Gzip);
    assert_eq!(config.storage.preallocate_bytes, Some(65_536));
    assert_eq!(config.sessions.timeout_ms_max, 9000);
    assert!(!config.storage.force_sync && config.tree.skip_acl && config.clients.read_only_mode);
    assert_eq!(config.tree.reap_interval_ms, 500);
    assert_eq!(config.auth.enforced_schemes, ["digest", "ip"]);
    assert_eq!(config.auth.providers, owned(&[("1", "a.B")]));
    let placement = Placement { shards: Some(3), cores: vec![0, 1, 2, 7], pin: true };
    assert_eq!(config.placement, placement);
}

#[test]
fn the_file_beats_properties_and_the_last_property_wins() {
    let site = Site::new();
    let properties =
        [("zookeeper.snapCount", "7"), ("zookeeper.snapCount", "8"), ("jute.maxbuffer", "4096")];
    let (config, _) = site.load(FIVE_LINES, &properties);
    assert_eq!((config.storage.snap_count, config.clients.frame_bytes_max), (8, 4096));
    let (config, warnings) = site.load(&format!("{FIVE_LINES}snapCount=9\n"), &properties);
    assert_eq!(config.storage.snap_count, 9);
    assert!(loud(&warnings)[0].ends_with("takes the place of -Dzookeeper.snapCount=8"));
    let (config, _) = Config::load(None, &owned(&properties)).unwrap();
    assert_eq!(config.storage.snap_count, 8, "without a file too");
}

#[test]
fn a_property_overrides_the_key_it_corresponds_to() {
    let site = Site::new();
    let text = format!("{FIVE_LINES}syncEnabled=false\n");
    assert!(!site.load(&text, &[]).0.ensemble.observer_keeps_log);
    let property = [("zookeeper.observer.syncEnabled", "true")];
    assert!(site.load(&text, &property).0.ensemble.observer_keeps_log);
}

/// Each line, added to the five, and the warning it must bring; no warning twice.
#[test]
fn warnings_for_lines() {
    let cases = [
        ("ticktime=5", "zoo.cfg:6: unknown key ticktime; did you mean tickTime?"),
        ("maxClientCnxs=5", "unknown key maxClientCnxs; did you mean maxClientCnxns?"),
        ("frobnicate=5", "unknown key frobnicate; no known key is near it"),
        ("zookeeper.snapCount=5", "zookeeper.snapCount has no effect in a file: write snapCount"),
        ("tickTime=3", "tickTime=3 takes the place of tickTime=2000 on line 1"),
        ("snapCount=1", "Invalid snapCount: 1. Defaulting to 2"),
        ("commitLogCount=5", "Invalid commitLogCount: 5. Defaulting to 500"),
        ("autopurge.snapRetainCount=1", "Invalid autopurge.snapRetainCount: 1. Defaulting to 3"),
        ("snapshotSizeFactor=1.5", "Invalid snapshotSizeFactor: 1.5. Using 0.33"),
        ("secureClientPort=2281", "secureClientPort is kept, but not in force yet"),
        ("admin.serverPort=9090", "admin.serverPort is kept, but not in force yet"),
        ("observerMasterPort=2191", "observerMasterPort is kept, but not in force yet"),
        ("oraclePath=/o", "oraclePath is kept, but not in force yet"),
        ("syncEnabled=false", "syncEnabled is kept, but not in force yet"),
        ("observer.syncEnabled=false", "observer.syncEnabled is kept, but not in force yet"),
        ("quorumCnxnTimeoutMs=900", "quorumCnxnTimeoutMs is kept, but not in force yet"),
        ("leader.maxConcurrentSnapSyncs=2", "leader.maxConcurrentSnapSyncs is kept, but not"),
        ("leader.maxConcurrentDiffSyncs=2", "leader.maxConcurrentDiffSyncs is kept, but not"),
        ("observer.reconnectDelayMs=9", "observer.reconnectDelayMs is kept, but not in force"),
        ("observer.election.DelayMs=9", "observer.election.DelayMs is kept, but not in force"),
        ("dataLogDir=log", "dataLogDir=log is relative to where the server is started"),
        ("peerType=observer", "Peer type from servers list (participant) doesn't match peerType"),
        ("jute.maxbuffer=2147483647", "jute.maxbuffer: 2147483647 is too large. Using 1073741824"),
        ("server.1=a:1:2", "Invalid configuration, only one server specified (ignoring)"),
    ];
    for (line, warning) in cases {
        let site = Site::new();
        let (_, warnings) = site.load(&format!("{FIVE_LINES}{line}\n"), &[]);
        let loud = loud(&warnings);
        assert_eq!(loud.len(), 1, "{line}: {loud:?}");
        assert!(loud[0].contains(warning), "{line}: {loud:?}");
    }
}

#[test]
fn warnings_for_properties() {
    let cases = [
        ("zookeeper.snapcout", "5", "unknown property; did you mean -Dzookeeper.snapCount?"),
        ("jute.maxbufer", "5", "unknown property; did you mean -Djute.maxbuffer?"),
        ("zookeeper.frobnicate", "5", "-Dzookeeper.frobnicate: unknown property"),
        ("zookeeper.tickTime", "5", "has no effect: tickTime belongs in zoo.cfg"),
        ("dataDir", "x", "has no effect: dataDir belongs in zoo.cfg"),
        ("zookeeper.snapCount", "many", "many is not allowed; snapCount takes a whole number"),
        ("jute.maxbuffer", "1073741825", "jute.maxbuffer: 1073741825 is too large. Using 107374"),
        ("jute.maxbuffer", "9999999999", "9999999999 is not allowed; jute.maxbuffer takes a whole"),
        ("zookeeper.enforceQuota", "yes", "yes is taken as false; enforceQuota takes true or fal"),
    ];
    for (name, value, warning) in cases {
        let site = Site::new();
        let (_, warnings) = site.load(FIVE_LINES, &[(name, value)]);
        let loud = loud(&warnings);
        assert_eq!(loud.len(), 1, "-D{name}={value}: {loud:?}");
        assert!(loud[0].contains(warning), "-D{name}={value}: {loud:?}");
    }
    let site = Site::new();
    let foreign = [("java.awt.headless", "true"), ("com.sun.management.jmxremote", "")];
    let (_, warnings) = site.load(FIVE_LINES, &foreign);
    assert_eq!((loud(&warnings).len(), warnings.len()), (0, 2), "a debug line each");
}

/// The extra size as `BinaryInputArchive` takes it, whatever is written.
#[test]
fn the_extra_size_is_never_refused() {
    const ELSE: u32 = crate::limits::FRAME_BYTES_MAX_DEFAULT;
    let cases = [("4096", 4096), ("7", 1024), ("-1", 1024), ("", ELSE), ("4m", ELSE)];
    let site = Site::new();
    for (text, bytes) in cases {
        let line = format!("{FIVE_LINES}jute.maxbuffer.extrasize={text}\n");
        let property = ("zookeeper.jute.maxbuffer.extrasize", text);
        for (config, warnings) in [site.load(&line, &[]), site.load(FIVE_LINES, &[property])] {
            assert_eq!(config.clients.frame_bytes_extra, bytes, "{text:?}");
            assert_eq!(loud(&warnings), [""; 0], "{text:?}");
        }
    }
}

#[test]
fn the_largest_frame_has_a_ceiling() {
    let site = Site::new();
    for text in ["1073741824", "1073741825", "2147483647"] {
        let (in_file, _) = site.load(&format!("{FIVE_LINES}jute.maxbuffer={text}\n"), &[]);
        let (property, _) = site.load(FIVE_LINES, &[("jute.maxbuffer", text)]);
        for config in [in_file, property] {
            assert_eq!(config.clients.frame_bytes_max, 1 << 30, "{text}");
        }
    }
}

/// Each line, added to the five, and the words that refuse it.
#[test]
fn lines_that_are_refused() {
    let cases = [
        ("tickTime=0", "zoo.cfg:6: tickTime=0: not allowed; tickTime takes a whole number from 1"),
        ("tickTime=", "tickTime=: not allowed"),
        ("tickTime=2s", "tickTime=2s: not allowed"),
        ("clientPort=70000", "clientPort takes a whole number from 0 to 65535"),
        ("clientPort=http", "clientPort=http: not allowed"),
        ("minSessionTimeout=-2", "a whole number from -1 to 2147483647"),
        ("reconfigEnabled=yes", "reconfigEnabled takes true or false"),
        ("electionAlg=1", "electionAlg takes only 3"),
        ("peerType=voter", "peerType takes participant or observer"),
        ("autopurge.purgeInterval=soon", "a whole number of hours, or with ms, s, m, h or d"),
        ("snapCount=many", "snapCount takes a whole number"),
        ("skipACL=true", "skipACL takes yes or no"),
        ("forceSync=NO", "forceSync takes yes or no"),
        ("snapshot.compression.method=zip", "takes nothing or gz or snappy"),
        ("globalOutstandingLimit=0", "a whole number from 1"),
        ("jute.maxbuffer=9999999999", "a whole number from 1 to 2147483647"),
        ("minSessionTimeout=50000", "minSessionTimeout must not be larger than maxSessionTimeout"),
        ("secureClientPortAddress=::1", "secureClientPortAddress is set but secureClientPort is"),
        ("metricsProvider.className=x.Y", "metrics provider class was not found: x.Y"),
        ("quorum.auth.learnerRequireSasl=true", "quorum.auth.enableSasl is disabled, so cannot"),
        ("quorum.auth.serverRequireSasl=true", "cannot enable quorum.auth.serverRequireSasl"),
        (
            "quorum.auth.enableSasl=true\nquorum.auth.serverRequireSasl=true",
            "quorum.auth.learnerRequireSasl is disabled, so cannot enable quorum.auth.serverReq",
        ),
        ("ringkeeper.cores=a-b", "ringkeeper.cores=a-b: not allowed"),
        ("groupFoo=1", "groupFoo: \"groupFoo\" is not a number"),
        ("x=\\uzzzz", "zoo.cfg:6: malformed \\uxxxx encoding"),
        (
            "standaloneEnabled=false",
            "standaloneEnabled = false then number of participants should be >0",
        ),
        ("server.1=a:1:2:observer", "Observers w/o participants is an invalid configuration"),
        (
            "server.1=a:1:2\nserver.2=b:1:2:observer",
            "Observers w/o quorum is an invalid configuration",
        ),
        ("server.1=a:1\nserver.2=b:1:2", "does not have the form server_config"),
        ("server.1=a:1:2\nserver.2=b:1:2", "myid file is missing"),
        ("server.1=a:1:2\nserver.2=b:1:2\ninitLimit=0", "initLimit is not set"),
        ("server.1=a:1:2\nserver.2=b:1:2\nsyncLimit=0", "syncLimit is not set"),
        ("server.1=a:1:2|b:1:2\nserver.2=c:1:2", "Multiple address feature is disabled"),
        ("dynamicConfigFile=x\nserver.1=a:1:2", "server.1 must be in a separate dynamic config"),
        ("dynamicConfigFile=/no/such/file", "Error processing /no/such/file"),
    ];
    for (line, why) in cases {
        let site = Site::new();
        let error = site.try_load(&format!("{FIVE_LINES}{line}\n"), &[]).expect_err(line);
        assert!(error.to_string().contains(why), "{line}: {error}");
        let fatal = crate::error::Fatal::from(error);
        assert_eq!(fatal.code(), crate::error::ExitCode::Invocation);
        assert!(fatal.to_string().starts_with("Invalid config, exiting abnormally: "));
    }
}

/// An ensemble has local sessions: nobody is told that they are not in force.
#[test]
fn local_sessions_are_in_force() {
    let text =
        format!("{FIVE_LINES}localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\n");
    let (config, warnings) = Site::new().load(&text, &[]);
    assert!(config.sessions.local && config.sessions.local_upgrading);
    assert_eq!(loud(&warnings), [""; 0]);
}

/// The default hash in place of the one asked for would lock every user out.
#[test]
fn a_property_that_is_refused() {
    let name = "zookeeper.DigestAuthenticationProvider.digestAlg";
    for algorithm in ["MD5", "SHA257", "SHA_256", ""] {
        let error = Config::load(None, &owned(&[(name, algorithm)])).unwrap_err().to_string();
        assert!(error.starts_with(&format!("-D{name}: ")), "{error}");
        assert!(error.contains("SHA-256 or SHA256 or"), "what is allowed: {error}");
    }
}

/// The names of `MessageDigest.getInstance`, Java 17.
#[test]
fn hashes_have_the_names_that_java_knows() {
    use crate::request::access::DigestAlgorithm as Hash;
    let cases: [(&str, Hash); 11] = [
        ("SHA SHA1 SHA-1 sha", Hash::Sha1),
        ("SHA-224 SHA224 sha224", Hash::Sha224),
        ("SHA-256 SHA256 Sha256", Hash::Sha256),
        ("SHA-384 SHA384", Hash::Sha384),
        ("SHA-512 SHA512", Hash::Sha512),
        ("SHA-512/224 SHA512/224", Hash::Sha512_224),
        ("SHA-512/256 SHA512/256", Hash::Sha512_256),
        ("SHA3-224 sha3-224", Hash::Sha3_224),
        ("SHA3-256", Hash::Sha3_256),
        ("SHA3-384", Hash::Sha3_384),
        ("SHA3-512", Hash::Sha3_512),
    ];
    for (names, hash) in cases {
        for name in names.split(' ') {
            let property = ("zookeeper.DigestAuthenticationProvider.digestAlg", name);
            let loaded = Config::load(None, &owned(&[property]));
            assert_eq!(loaded.expect(name).0.auth.digest_algorithm, hash, "{name}");
        }
    }
}

#[test]
fn files_that_lack_something() {
    let site = Site::new();
    let error = site.try_load("clientPort=2181\n", &[]).unwrap_err().to_string();
    assert!(error.ends_with("zoo.cfg: dataDir is not set"), "{error}");
    let error = site.try_load("dataDir=DIR\nclientPortAddress=::1\n", &[]).unwrap_err();
    assert!(error.to_string().ends_with("clientPortAddress is set but clientPort is not set"));
    let (config, warnings) = site.load("dataDir=DIR\n", &[]);
    assert_eq!(config.clients.address, None);
    assert_eq!(loud(&warnings), ["clientPort is not set: no client can connect"]);
    let error = Config::load(Some(Path::new("/no/such/zoo.cfg")), &[]).unwrap_err().to_string();
    assert!(error.starts_with("Error processing /no/such/zoo.cfg: No such file"), "{error}");
}

#[test]
fn three_servers() {
    let site = Site::new();
    site.write("myid", "2\n");
    let (config, warnings) = site.load(&format!("{FIVE_LINES}{THREE_SERVERS}"), &[]);
    assert_eq!(loud(&warnings), [""; 0]);
    let ensemble = &config.ensemble;
    assert_eq!((ensemble.my_id, ensemble.observer), (ServerId(2), false));
    let members = ensemble.members.as_ref().unwrap();
    assert_eq!(members.participants().count(), 3);
    assert!(members.to_string().starts_with("server.1=slave-01:2888:3888:participant\n"));
    assert_eq!(ensemble.connect_limit_ticks, 5);
}

#[test]
fn ensembles_with_a_warning() {
    let site = Site::new();
    site.write("myid", "1");
    let two = "server.1=a:1:2\nserver.2=b:1:2\n";
    let four = format!("{THREE_SERVERS}server.4=d:1:2\n");
    let one = "server.1=a:1:2\nstandaloneEnabled=false\n";
    let cases = [
        (two, "No server failure will be tolerated. You need at least 3 servers."),
        (one, "No server failure will be tolerated. You need at least 3 servers."),
        (&*four, "Non-optimal configuration, consider an odd number of servers."),
    ];
    for (lines, warning) in cases {
        let (config, warnings) = site.load(&format!("{FIVE_LINES}{lines}"), &[]);
        assert_eq!(loud(&warnings), [warning], "{lines}");
        assert!(!config.is_standalone(), "{lines}");
    }
}

#[test]
fn myid_is_one_number_and_one_of_the_list() {
    let three = format!("{FIVE_LINES}{THREE_SERVERS}");
    let cases = [
        ("9", "", "My id 9 not in the peer list"),
        ("1 ", "", "serverid 1  is not a number"),
        ("", "", "serverid  is not a number"),
        ("one\n", "", "serverid one is not a number"),
        ("300", "extendedTypesEnabled=true\n", "Server ID is too large. Cannot be larger than 254"),
    ];
    for (myid, more, why) in cases {
        let site = Site::new();
        site.write("myid", myid);
        let error = site.try_load(&format!("{three}{more}"), &[]).expect_err(myid);
        assert!(error.to_string().contains(why), "{myid:?}: {error}");
    }
}

/// Debian's package leaves a `myid` with a sentence in it; alone, nobody needs the number.
#[test]
fn a_myid_that_nobody_needs_is_only_a_warning() {
    let site = Site::new();
    site.write("myid", "replace this text\n");
    let (config, warnings) = site.load(FIVE_LINES, &[]);
    assert_eq!(config.ensemble.my_id, ServerId(0));
    let loud = loud(&warnings);
    assert!(loud.len() == 1 && loud[0].contains("serverid replace this text is not"), "{loud:?}");
}

#[test]
fn client_addresses_of_file_and_line_must_agree() {
    let own = |client: &str| format!("server.1=a:1:2;{client}\nserver.2=b:1:2\nserver.3=c:1:2\n");
    let without = "tickTime=2000\ndataDir=DIR\ninitLimit=5\nsyncLimit=2\n";
    let site = Site::new();
    site.write("myid", "1");
    let agreeing = [
        ("2181", "", "0.0.0.0:2181"),
        ("h:2181", "", "h:2181"),
        ("2181", "clientPort=2181\n", "0.0.0.0:2181"),
        ("h:2181", "clientPort=2181\n", "h:2181"),
        ("h:2181", "clientPort=2181\nclientPortAddress=h\n", "h:2181"),
    ];
    for (line, given, address) in agreeing {
        let (config, _) = site.load(&format!("{without}{given}{}", own(line)), &[]);
        assert_eq!(config.clients.address.unwrap().to_string(), address, "{line} {given}");
    }
    let disagreeing = [
        ("2182", "clientPort=2181\n"),
        ("g:2181", "clientPort=2181\nclientPortAddress=h\n"),
        ("2181", "clientPort=2181\nclientPortAddress=h\n"),
    ];
    for (line, given) in disagreeing {
        let error = site.try_load(&format!("{without}{given}{}", own(line)), &[]).expect_err(line);
        let why = "client address for this server (id = 1) in static config file is";
        assert!(error.to_string().contains(why), "{line} {given}: {error}");
    }
}

#[test]
fn dynamic_files() {
    let site = Site::new();
    site.write("myid", "3");
    let dynamic = |name: &str, text: &str| {
        site.write(name, text);
        site.try_load(&format!("{FIVE_LINES}dynamicConfigFile=DIR/{name}\n"), &[])
    };
    let (config, _) = dynamic("zoo.cfg.dynamic.1f", THREE_SERVERS).unwrap();
    assert_eq!(config.ensemble.members.unwrap().version, 0x1f);
    let (config, _) = dynamic("zoo.cfg.dynamic", THREE_SERVERS).unwrap();
    assert_eq!(config.ensemble.members.unwrap().version, 0, "dynamic is no number");
    let cases = [
        ("version=1\n", "dynamic file shouldn't have version inside"),
        ("tickTime=1\n", "Unrecognised parameter: tickTime"),
    ];
    for (line, why) in cases {
        let error = dynamic("d", &format!("{THREE_SERVERS}{line}")).unwrap_err().to_string();
        assert!(error.contains("/d: ") && error.contains(why), "{error}");
    }
    let next = format!("{THREE_SERVERS}version=20\n");
    site.write("zoo.cfg.dynamic.next", &next);
    let (config, _) = dynamic("d", THREE_SERVERS).unwrap();
    assert_eq!(config.ensemble.members_next.unwrap().version, 0x20);
    site.write("zoo.cfg.dynamic.next", "server.1=nonsense\n");
    let (config, warnings) = dynamic("d", THREE_SERVERS).unwrap();
    assert_eq!(config.ensemble.members_next, None);
    assert!(loud(&warnings)[0].contains("zoo.cfg.dynamic.next: nonsense does not have the form"));
}

#[test]
fn multiple_addresses_with_either_switch() {
    let site = Site::new();
    site.write("myid", "1");
    let text = format!("{FIVE_LINES}server.1=a:1:2|b:1:2\nserver.2=c:1:2\nserver.3=d:1:2\n");
    let property = [("zookeeper.multiAddress.enabled", "true")];
    let (config, _) = site.load(&text, &property);
    assert_eq!(config.ensemble.members.unwrap().servers[&ServerId(1)].addresses.len(), 2);
    site.load(&format!("{text}multiAddress.enabled=true\n"), &[]);
}

/// The sample with a directory of the test's own, as the machine's may hold anything.
fn sample() -> String {
    SAMPLE.replace("/var/lib/zookeeper\n", "DIR\n")
}

/// The commented keys of the sample: name and value.
fn commented_keys() -> Vec<(&'static str, &'static str)> {
    let comments = SAMPLE.lines().filter_map(|line| line.strip_prefix('#'));
    let keys = comments.filter(|comment| !comment.starts_with(' ') && comment.contains('='));
    keys.map(|key| key.split_once('=').unwrap()).collect()
}

#[test]
fn the_sample_begins_with_the_five_lines_and_has_no_warning() {
    let active: Vec<&str> =
        SAMPLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let five = "tickTime=2000 dataDir=/var/lib/zookeeper clientPort=2181 initLimit=5 syncLimit=2";
    assert_eq!(active.join(" "), five);
    assert_eq!(SAMPLE.lines().take(5).collect::<Vec<_>>(), active, "before any comment");
    let (_, warnings) = Site::new().load(&sample(), &[]);
    assert_eq!(warnings, []);
}

#[test]
fn the_sample_tells_every_default_and_every_key() {
    let mut told = BTreeSet::new();
    for (name, value) in commented_keys() {
        if ["server.", "group.", "weight."].iter().any(|family| name.starts_with(family)) {
            continue;
        }
        let key = keys::by_name(name).unwrap_or_else(|| panic!("{name} is in the table"));
        assert!(key.default.is_empty() || key.default == value, "{name}={value}");
        assert!(told.insert(name), "{name} once");
    }
    told.extend(["tickTime", "dataDir", "clientPort", "initLimit", "syncLimit"]);
    // For tests of ZooKeeper itself, or written only by a server.
    told.extend(["forceSnapshotSync", "test.allowDiscontinuousProposals", "version"]);
    let obeyed = [Scope::Server, Scope::Ensemble, Scope::Fixed];
    for key in KEYS.iter().filter(|key| obeyed.contains(&key.scope)) {
        assert!(told.contains(key.name), "{} is in the sample", key.name);
    }
}

#[test]
fn each_line_of_the_sample_can_be_uncommented() {
    for (name, value) in commented_keys() {
        let site = Site::new();
        site.write("dynamic", "server.1=a:1:2\n");
        site.write("myid", "1");
        let text = match name {
            "dynamicConfigFile" => "dynamicConfigFile=DIR/dynamic".to_owned(),
            _ => format!("{name}={value}"),
        };
        let group = if name.starts_with("group") || name.starts_with("weight") {
            "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\ngroup.1=1:2:3\n"
        } else {
            ""
        };
        let group = if name.starts_with("group.1") {
            group.replace("group.1=1:2:3\n", "")
        } else {
            group.to_owned()
        };
        site.load(&format!("{}\n{group}{text}\n", sample()), &[]);
    }
}

/// Whatever key is given its own default anywhere, nothing changes and nobody complains.
#[test]
fn every_default_can_be_written_down() {
    for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
        let site = Site::new();
        let (_, warnings) =
            site.load(&format!("dataDir=DIR\nclientPort=1\n{}={}\n", key.name, key.default), &[]);
        assert_eq!(loud(&warnings), [""; 0], "{}", key.name);
        let property = match key.spelling {
            Spelling::File => continue,
            Spelling::Property | Spelling::Either => format!("zookeeper.{}", key.name),
            Spelling::Bare => key.name.to_owned(),
        };
        let (_, warnings) = site.load("dataDir=DIR\nclientPort=1\n", &[(&property, key.default)]);
        assert_eq!(loud(&warnings), [""; 0], "-D{property}");
    }
}

/// Numbers just outside what a key takes are refused, the bounds themselves are not.
#[test]
fn ranges_are_kept() {
    for key in KEYS.iter().filter(|key| key.scope != Scope::Java) {
        let Kind::Whole(least, greatest) = key.kind else { continue };
        let inside = [Some(least), Some(greatest)];
        let outside = [least.checked_sub(1), greatest.checked_add(1)];
        for (numbers, allowed) in [(inside, true), (outside, false)] {
            for number in numbers.into_iter().flatten() {
                let site = Site::new();
                let text = format!("dataDir=DIR\nclientPort=1\n{}={number}\n", key.name);
                let refused = matches!(
                    site.try_load(&text, &[]),
                    Err(ConfigError::BadValue { key: named, .. }) if named == key.name
                );
                assert_eq!(refused, !allowed, "{}={number}", key.name);
            }
        }
    }
}

/// What only a Java machine obeys is not checked, so it may hold anything.
#[test]
fn keys_of_a_java_machine_take_anything() {
    for key in KEYS.iter().filter(|key| key.scope == Scope::Java) {
        for text in ["", "abc", "-1", "9999999999"] {
            let site = Site::new();
            site.load(&format!("{FIVE_LINES}{}={text}\n", key.name), &[]);
            site.load(FIVE_LINES, &[(&format!("zookeeper.{}", key.name), text)]);
        }
    }
}
