//! Stories of single writes: which check answers first, and what follows from what is in flight.

use super::*;
use crate::request::access::AccessConfig;
use crate::tree::{NodeKind, Outcome, TTL_MS_MAX};
use crate::wire::request::{Create, Reconfig};
use crate::wire::txn::{CreateTxn, TxnHeader};

mod quota;
mod session;
mod size;

const BOB: &str = "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=";

/// A server with one writer: what it prepares is in flight until [`Server::apply`].
pub(super) struct Server {
    pub(super) tree: Tree,
    pub(super) preparer: Preparer,
    pub(super) zxid: Zxid,
    pub(super) standing: Standing,
    pub(super) identities: Vec<Identity>,
    pub(super) in_flight: Vec<Vec<u8>>,
}

impl Server {
    pub(super) fn with(config: PrepareConfig) -> Self {
        Self {
            tree: Tree::with_options(config.tree),
            preparer: Preparer::new(config),
            zxid: Zxid::ZERO,
            standing: Standing::Global,
            identities: vec![],
            in_flight: vec![],
        }
    }

    fn new() -> Self {
        Self::with(PrepareConfig::default())
    }

    pub(super) fn prepare_as(&mut self, session: i64, write: Write<'_>) -> Prepared {
        self.zxid = self.zxid.next().unwrap();
        let author = Author {
            session: SessionId(session),
            cxid: Xid(7),
            identities: &self.identities,
            standing: self.standing,
        };
        let stamp = Stamp { zxid: self.zxid, time: Millis(1000 + self.zxid.0) };
        let mut record = Vec::new();
        let prepared = self.preparer.prepare(&self.tree, &author, stamp, write, &mut record);
        self.in_flight.push(record);
        prepared
    }

    fn send(&mut self, request: Request<'_>) -> ErrorCode {
        self.prepare_as(1, Write::Request(request)).error.unwrap_or(ErrorCode::Ok)
    }

    /// Applies everything in flight.
    pub(super) fn apply(&mut self) {
        for record in self.in_flight.drain(..) {
            let record = Record::decode(&record).unwrap();
            let outcome = self.tree.apply(&record, None);
            let failed = matches!(record.txn, Txn::Error { .. });
            assert_eq!(matches!(outcome, Outcome::Error(_)), failed, "{record:?}");
            self.preparer.applied(record.header.zxid);
            if let Some(digest) = record.digest {
                assert_eq!(digest.digest, self.tree.digest(), "{record:?}");
            }
        }
        assert_eq!(self.preparer.outstanding(), 0);
        assert_eq!(self.tree.digest_mismatches().0, 0);
    }

    fn last(&self) -> Record<'_> {
        Record::decode(self.in_flight.last().unwrap()).unwrap()
    }

    /// The path of the last txn, a create.
    fn created(&self) -> String {
        let Txn::Create(create) = self.last().txn else { panic!("a create") };
        create.path.into_owned()
    }
}

fn acl(scheme: &'static str, id: &'static str) -> Vec<Acl<'static>> {
    vec![Acl { perms: 31, scheme: scheme.into(), id: id.into() }]
}

fn make(path: &str, flags: i32) -> Create<'_> {
    Create {
        op: OpCode::Create,
        path: path.into(),
        data: Some(b"data"),
        acl: vec![Acl::anyone(31)],
        flags,
        ttl: -1,
    }
}

fn create(path: &str, flags: i32) -> Request<'_> {
    Request::Create(make(path, flags))
}

fn create_with(path: &'static str, acl: Vec<Acl<'static>>) -> Request<'static> {
    Request::Create(Create { acl, ..make(path, 0) })
}

fn create_as(op: OpCode, path: &str, flags: i32, ttl: i64) -> Request<'_> {
    Request::Create(Create { op, ttl, ..make(path, flags) })
}

fn delete(path: &str, version: i32) -> Request<'_> {
    Request::Delete { path: path.into(), version }
}

fn set(path: &str, version: i32) -> Request<'_> {
    Request::SetData { path: path.into(), data: Some(b"new"), version }
}

fn set_acl<'a>(path: &'a str, acl: Vec<Acl<'static>>, version: i32) -> Request<'a> {
    Request::SetAcl { path: path.into(), acl, version }
}

fn check(path: &str, version: i32) -> Request<'_> {
    Request::Check { path: path.into(), version }
}

/// `/open` with `/open/kid`, `/locked` with `/locked/kid` for bob alone, `/eph` of session 1.
fn furnished() -> Server {
    let mut server = Server::new();
    server.identities = vec![Identity { scheme: "digest".into(), id: BOB.into() }];
    for path in ["/open", "/open/kid"] {
        assert_eq!(server.send(create(path, 0)), ErrorCode::Ok);
    }
    for path in ["/locked", "/locked/kid"] {
        assert_eq!(server.send(create_with(path, acl("digest", BOB))), ErrorCode::Ok);
    }
    assert_eq!(server.send(create("/eph", 1)), ErrorCode::Ok);
    server.identities.clear();
    server.apply();
    server
}

fn refuse_session(server: &mut Server) {
    server.standing = Standing::Refused(ErrorCode::SessionExpired);
}

/// The rows of the reference's table, each failing also as the next ones do.
#[test]
fn create_checks_in_order() {
    use ErrorCode::{
        BadArguments, InvalidAcl, NoAuth, NoChildrenForEphemerals, NoNode, NodeExists, Ok,
        SessionExpired, Unimplemented,
    };
    let nobody = || acl("super", "");
    let cases = [
        (true, create("a", 7), BadArguments),
        (true, create("a", -1), BadArguments),
        (true, create("a", 5), Unimplemented),
        (true, create_as(OpCode::CreateTtl, "a", 5, -1), Unimplemented),
        (true, create_as(OpCode::CreateTtl, "a", 0, 5), BadArguments),
        (true, create_as(OpCode::CreateTtl, "a", 0, -1), BadArguments),
        (true, create("a", 0), SessionExpired),
        (true, create("a", 1), SessionExpired),
        (false, create_with("a", nobody()), BadArguments),
        (false, create_with("", nobody()), BadArguments),
        (false, create_with("/\0", nobody()), BadArguments),
        (false, create_with("/missing/x", nobody()), InvalidAcl),
        (false, create_with("/missing/x", vec![]), InvalidAcl),
        (false, create("/missing/x", 0), NoNode),
        (false, create("/missing/", 0), NoNode),
        (false, create("x/y", 0), NoNode),
        (false, create("/locked/..", 0), NoAuth),
        (false, create("/locked/kid", 0), NoAuth),
        (false, create("/zookeeper/config/x", 0), NoAuth),
        (false, create("/open/..", 0), BadArguments),
        (false, create("//open", 0), BadArguments),
        (false, create("/open/", 0), BadArguments),
        (false, create("/open/\u{1f600}", 0), BadArguments),
        (false, create("/", 0), NodeExists),
        (false, create("/open/kid", 0), NodeExists),
        (false, create("/eph/x", 0), NoChildrenForEphemerals),
        (false, create("/open/x", 0), Ok),
        (false, create("/", 2), Ok),
        (false, create("/open/", 2), Ok),
    ];
    for (refused, request, expected) in cases {
        let mut server = furnished();
        if refused {
            refuse_session(&mut server);
        }
        let before = server.zxid;
        let story = format!("{request:?}");
        assert_eq!(server.send(request), expected, "{story}");
        assert_eq!(server.zxid, before.next().unwrap(), "every attempt spends its zxid");
        if expected != Ok {
            assert_eq!(server.last().txn, Txn::Error { err: expected.to_wire() });
            assert_eq!(server.last().digest, None);
        }
        server.apply();
    }
}

#[test]
fn ttl_bounds() {
    let tree = TreeOptions { extended_types: true, ..TreeOptions::default() };
    let cases = [
        (OpCode::CreateTtl, 5, 1, ErrorCode::Ok),
        (OpCode::CreateTtl, 6, TTL_MS_MAX, ErrorCode::Ok),
        (OpCode::CreateTtl, 5, 0, ErrorCode::BadArguments),
        (OpCode::CreateTtl, 5, -1, ErrorCode::BadArguments),
        (OpCode::CreateTtl, 5, TTL_MS_MAX + 1, ErrorCode::BadArguments),
        (OpCode::CreateTtl, 0, 1, ErrorCode::BadArguments),
        (OpCode::CreateTtl, 4, -1, ErrorCode::BadArguments),
        (OpCode::Create, 5, -1, ErrorCode::BadArguments),
        (OpCode::Create2, 6, -1, ErrorCode::BadArguments),
        (OpCode::CreateContainer, 5, -1, ErrorCode::BadArguments),
    ];
    for (op, flags, ttl, expected) in cases {
        let mut server = Server::with(PrepareConfig { tree, ..PrepareConfig::default() });
        assert_eq!(server.send(create_as(op, "/t", flags, ttl)), expected, "{op:?} {flags} {ttl}");
        server.apply();
    }
}

#[test]
fn the_opcode_decides_what_is_created() {
    let cases = [
        (OpCode::Create, 4, NodeKind::Persistent),
        (OpCode::Create2, 4, NodeKind::Persistent),
        (OpCode::CreateContainer, 4, NodeKind::Container),
        (OpCode::CreateContainer, 0, NodeKind::Container),
        (OpCode::CreateContainer, 1, NodeKind::Container),
        (OpCode::Create2, 1, NodeKind::Ephemeral),
    ];
    for (op, flags, kind) in cases {
        let mut server = Server::new();
        assert_eq!(server.send(create_as(op, "/n", flags, -1)), ErrorCode::Ok);
        server.apply();
        assert_eq!(server.tree.find("/n").unwrap().kind(), kind, "{op:?} {flags}");
    }
}

#[test]
fn delete_checks_in_order() {
    use ErrorCode::{BadArguments, BadVersion, NoAuth, NoNode, NotEmpty, Ok, SessionExpired};
    let cases = [
        (true, delete("/", 9), SessionExpired),
        (false, delete("/", 9), BadArguments),
        (false, delete("/zookeeper/quota", 9), BadArguments),
        (false, delete("x", 9), BadArguments),
        (false, delete("/missing/x", 9), NoNode),
        (false, delete("/locked/missing", 9), NoAuth),
        (false, delete("/locked/kid", 9), NoAuth),
        (false, delete("/open/missing", 9), NoNode),
        (false, delete("/open", 9), BadVersion),
        (false, delete("/open", 0), NotEmpty),
        (false, delete("/open", -1), NotEmpty),
        (false, delete("/open/kid", 1), BadVersion),
        (false, delete("/open/kid", 0), Ok),
        (false, delete("/eph", -1), Ok),
    ];
    for (refused, request, expected) in cases {
        let mut server = furnished();
        if refused {
            refuse_session(&mut server);
        }
        let story = format!("{request:?}");
        assert_eq!(server.send(request), expected, "{story}");
        server.apply();
    }
}

#[test]
fn set_data_set_acl_and_check_in_order() {
    use ErrorCode::{BadArguments, BadVersion, InvalidAcl, NoAuth, NoNode, Ok, SessionExpired};
    let nobody = || acl("super", "");
    let open = || acl("world", "anyone");
    let cases = [
        (true, set("/locked/", 9), SessionExpired),
        (false, set("", 9), BadArguments),
        (false, set("/missing/..", 9), BadArguments),
        (false, set("/missing", 9), NoNode),
        (false, set("/locked", 9), NoAuth),
        (false, set("/zookeeper/config", 9), NoAuth),
        (false, set("/open", 9), BadVersion),
        (false, set("/open", -2), BadVersion),
        (false, set("/open", 0), Ok),
        (false, set("/", -1), Ok),
        (true, set_acl("/locked/", nobody(), 9), SessionExpired),
        (false, set_acl("/missing/", nobody(), 9), BadArguments),
        (false, set_acl("/missing", nobody(), 9), InvalidAcl),
        (false, set_acl("/missing", vec![], 9), InvalidAcl),
        (false, set_acl("/missing", open(), 9), NoNode),
        (false, set_acl("/locked", open(), 9), NoAuth),
        (false, set_acl("/open", open(), 9), BadVersion),
        (false, set_acl("/open", open(), 0), Ok),
    ];
    for (refused, request, expected) in cases {
        let mut server = furnished();
        if refused {
            refuse_session(&mut server);
        }
        let story = format!("{request:?}");
        assert_eq!(server.send(request), expected, "{story}");
        server.apply();
    }
    let checks = [
        ("", 9, BadArguments),
        ("/missing/..", 9, BadArguments),
        ("/missing", 9, NoNode),
        ("/locked", 9, NoAuth),
        ("/open", 9, BadVersion),
        ("/open", 0, Ok),
    ];
    for (path, version, expected) in checks {
        let mut server = furnished();
        assert_eq!(server.send(Request::Multi(vec![check(path, version)])), expected, "{path}");
        server.apply();
    }
}

#[test]
fn an_auth_entry_becomes_who_asks() {
    let mut server = furnished();
    assert_eq!(server.send(create_with("/mine", acl("auth", ""))), ErrorCode::InvalidAcl);
    server.identities = vec![Identity { scheme: "digest".into(), id: BOB.into() }];
    assert_eq!(server.send(create_with("/mine", acl("auth", ""))), ErrorCode::Ok);
    server.identities.clear();
    assert_eq!(server.send(set("/mine", -1)), ErrorCode::NoAuth, "the pending list counts");
    server.apply();
    assert_eq!(**server.tree.acl(server.tree.find("/mine").unwrap()), *acl("digest", BOB));
    assert_eq!(server.send(set("/mine", -1)), ErrorCode::NoAuth);
}

#[test]
fn a_local_session_owns_no_ephemerals() {
    let mut server = Server::new();
    server.standing = Standing::Local;
    let refused = ErrorCode::EphemeralOnLocalSession;
    assert_eq!(server.send(create("/e", 1)), refused);
    assert_eq!(server.send(create("/e", 3)), refused);
    assert_eq!(server.send(create("/p", 0)), ErrorCode::Ok);
    assert_eq!(server.send(delete("/p", 0)), ErrorCode::Ok);
}

#[test]
fn what_is_in_flight_counts() {
    let mut server = Server::new();
    for (request, expected) in [
        (create("/a", 0), ErrorCode::Ok),
        (create("/a", 0), ErrorCode::NodeExists),
        (create("/a/b", 0), ErrorCode::Ok),
        (delete("/a", 0), ErrorCode::NotEmpty),
        (set("/a", 0), ErrorCode::Ok),
        (set("/a", 0), ErrorCode::BadVersion),
        (set("/a", 1), ErrorCode::Ok),
        (delete("/a/b", 0), ErrorCode::Ok),
        (delete("/a/b", 0), ErrorCode::NoNode),
        (delete("/a", 2), ErrorCode::Ok),
        (create("/a/c", 0), ErrorCode::NoNode),
        (create("/a", 0), ErrorCode::Ok),
    ] {
        let story = format!("{request:?}");
        assert_eq!(server.send(request), expected, "{story}");
    }
    server.apply();
    assert_eq!(server.tree.find("/a").unwrap().version(), 0);
}

#[test]
fn suffixes_count_creates_of_the_parent() {
    let mut server = Server::new();
    server.send(create("/q", 0));
    let mut named = |request| {
        assert_eq!(server.send(request), ErrorCode::Ok);
        server.created()
    };
    assert_eq!(named(create("/q/x-", 2)), "/q/x-0000000000");
    assert_eq!(named(create("/q/", 3)), "/q/0000000001");
    assert_eq!(named(create("/q/plain", 0)), "/q/plain");
    assert_eq!(named(create("/q/x-", 2)), "/q/x-0000000003");
    assert_eq!(server.send(delete("/q/plain", -1)), ErrorCode::Ok);
    assert_eq!(server.send(create("/q/", 0)), ErrorCode::BadArguments);
    assert_eq!(server.send(create("/q/x-", 2)), ErrorCode::Ok);
    assert_eq!(server.created(), "/q/x-0000000004", "neither deletes nor failures count");
    server.apply();
    assert_eq!(server.send(create("/q/x-", 2)), ErrorCode::Ok);
    assert_eq!(server.created(), "/q/x-0000000005");
}

#[test]
fn versions_wrap() {
    assert_eq!(next_version(i32::MAX, -1), Ok(i32::MIN));
    assert_eq!(next_version(-2, -2), Ok(-1));
    assert_eq!(next_version(-1, -1), Ok(0));
    assert_eq!(next_version(5, 4), Err(ErrorCode::BadVersion));
    assert_eq!(format!("{:010}", i32::MIN), "-2147483648");
}

#[test]
fn a_multi_sees_itself_and_fails_as_one() {
    let mut server = furnished();
    let steps = vec![
        create("/m", 0),
        create("/m/s-", 2),
        create("/m/s-", 2),
        set("/m", 0),
        check("/m", 1),
        delete("/m/s-0000000000", 0),
    ];
    assert_eq!(server.send(Request::Multi(steps)), ErrorCode::Ok);
    let Txn::Multi(txns) = server.last().txn else { panic!("a multi") };
    let ops: Vec<_> = txns.iter().map(|(op, _)| *op).collect();
    assert_eq!(ops.iter().map(|op| op.to_wire()).collect::<Vec<_>>(), [1, 1, 1, 5, 13, 2]);
    server.apply();
    assert_eq!(server.tree.find("/m").unwrap().child_count(), 1);

    server.send(set("/m", 1));
    let steps = || vec![set("/m", 2), create("/m/s-", 2), delete("/m", 7), create("/x", 0)];
    assert_eq!(server.send(Request::Multi(steps())), ErrorCode::BadVersion);
    let Txn::Multi(txns) = server.last().txn else { panic!("a multi") };
    assert!(matches!(txns[1].1, Txn::Create(_)), "what would have been done is on record");
    assert_eq!(txns[2], (OpCode::Error, Txn::Error { err: -103 }));
    assert_eq!(txns[3], (OpCode::Error, Txn::Error { err: -2 }));
    assert_eq!(server.send(set("/m", 2)), ErrorCode::Ok, "as before the multi");
    assert_eq!(server.send(create("/m/s-", 2)), ErrorCode::Ok);
    assert_eq!(server.created(), "/m/s-0000000002", "its numbers are free again");
    server.apply();
    assert_eq!(server.tree.find("/x").map(|_| ()), None);

    assert_eq!(server.send(Request::Multi(vec![])), ErrorCode::Ok, "an empty one is legal");
    server.apply();
}

#[test]
fn the_reaper_looks_again() {
    let tree = TreeOptions { extended_types: true, ..TreeOptions::default() };
    let mut server = Server::with(PrepareConfig { tree, ..PrepareConfig::default() });
    let container = |path| create_as(OpCode::CreateContainer, path, 4, -1);
    let reap = |server: &mut Server, path: &'static str| {
        server.prepare_as(0, Write::DeleteContainer { path: path.into() }).error
    };
    // The clock of these tests ticks once for each write.
    server.send(create_as(OpCode::CreateTtl, "/ttl", 5, 12));
    server.send(container("/c"));
    server.send(create("/c/x", 0));
    server.send(delete("/c/x", 0));
    server.send(container("/full"));
    server.send(create("/full/x", 0));
    server.send(container("/unused"));
    server.send(create("/plain", 0));
    server.send(create("/eph", 1));
    for (path, expected) in [
        ("/full", Some(ErrorCode::NotEmpty)),
        ("/unused", Some(ErrorCode::BadVersion)),
        ("/plain", Some(ErrorCode::BadVersion)),
        ("/ttl", Some(ErrorCode::BadVersion)),
        ("/ttl", None),
        ("/eph", Some(ErrorCode::BadVersion)),
        ("/missing", Some(ErrorCode::NoNode)),
        ("/zookeeper", Some(ErrorCode::BadArguments)),
        ("/c", None),
    ] {
        assert_eq!(reap(&mut server, path), expected, "{path}");
    }
    assert_eq!(server.last().header.op, OpCode::DeleteContainer);
    server.apply();
    assert!(server.tree.find("/c").is_none() && server.tree.find("/ttl").is_none());
    server.preparer.config.container_never_used_max = Millis(1);
    assert_eq!(reap(&mut server, "/unused"), None);
}

#[test]
fn standalone_knows_no_reconfig() {
    let reconfig =
        || Request::Reconfig(Reconfig { joining: None, leaving: None, members: None, config: -1 });
    let mut server = Server::new();
    assert_eq!(server.send(reconfig()), ErrorCode::ReconfigDisabled);
    let mut server = Server::with(PrepareConfig { reconfig: true, ..PrepareConfig::default() });
    assert_eq!(server.send(reconfig()), ErrorCode::Unimplemented);
    refuse_session(&mut server);
    assert_eq!(server.send(reconfig()), ErrorCode::SessionExpired);
    server.apply();
}

#[test]
fn bytes_that_are_no_request_spend_a_zxid() {
    let mut server = Server::new();
    let write = Write::decode(OpCode::Multi, &[0, 0, 0, 3]);
    assert_eq!(write, Write::Undecodable);
    let error = Some(ErrorCode::MarshallingError);
    assert_eq!(server.prepare_as(1, write), Prepared { error });
    assert_eq!(server.last().header.zxid, Zxid(1));
    assert_eq!(server.last().txn, Txn::Error { err: -5 });
}

#[test]
fn access_can_be_switched_off() {
    let access = AccessConfig { skip_acl: true, ..AccessConfig::default() };
    let mut server = Server::with(PrepareConfig { access, ..PrepareConfig::default() });
    assert_eq!(server.send(create_with("/l", acl("digest", BOB))), ErrorCode::Ok);
    assert_eq!(server.send(set("/l", -1)), ErrorCode::Ok);
    let invalid = create_with("/m", acl("super", ""));
    assert_eq!(server.send(invalid), ErrorCode::InvalidAcl, "lists are validated all the same");
}

#[test]
fn what_is_sought_first_is_known_from_the_head_of_the_record() {
    let mut path = 4_i32.to_be_bytes().to_vec();
    path.extend(b"/a/b");
    let whole = [&path[..], b"what follows"].concat();
    for op in [OpCode::SetData, OpCode::Delete, OpCode::SetAcl, OpCode::Check] {
        assert_eq!(first_sought(op, &whole), Some("/a/b"), "{op:?}");
    }
    for op in [OpCode::Create, OpCode::Create2, OpCode::CreateContainer, OpCode::CreateTtl] {
        assert_eq!(first_sought(op, &whole), Some("/a"), "{op:?}");
    }
    for op in [OpCode::Multi, OpCode::CloseSession, OpCode::Reconfig] {
        assert_eq!(first_sought(op, &whole), None, "{op:?}");
    }
    for end in 0..path.len() {
        assert_eq!(first_sought(OpCode::SetData, &path[..end]), None, "cut after {end}");
    }
    assert_eq!(first_sought(OpCode::SetData, &[0, 0, 0, 1, 0xff]), None, "no text");
    assert_eq!(first_sought(OpCode::Create, &[0, 0, 0, 1, b'a']), None, "no parent");
}
