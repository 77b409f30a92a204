//! What goes with a session when it ends.

use super::*;

#[test]
fn a_session_ends_with_all_it_will_have() {
    let mut server = Server::new();
    server.send(create("/p", 0));
    server.send(create("/p/kept", 1));
    server.send(create("/p/gone", 1));
    server.apply();
    server.send(delete("/p/gone", -1));
    server.send(create("/p/new", 1));
    server.prepare_as(2, Write::Request(create("/p/other", 1)));
    refuse_session(&mut server);
    assert_eq!(server.send(Request::CloseSession), ErrorCode::Ok, "nobody is asked");
    let Txn::CloseSession { paths: Some(paths) } = server.last().txn else { panic!("a close") };
    assert_eq!(paths, ["/p/kept", "/p/new"]);
    server.standing = Standing::Global;
    assert_eq!(server.send(delete("/p", -1)), ErrorCode::NotEmpty);
    server.prepare_as(2, Write::Request(Request::CloseSession));
    assert_eq!(server.send(delete("/p", -1)), ErrorCode::Ok);
    server.apply();
    assert_eq!(server.tree.ephemeral_count(), 0);
}

/// Nodes with a TTL, on a server that does not know of such.
#[test]
fn ephemerals_below_ephemerals_go_first() {
    let mut server = Server::new();
    for (zxid, path) in [(1, "/job"), (2, "/job/task"), (3, "/job/task/step")] {
        let acl = vec![Acl::anyone(31)];
        let (data, ephemeral, parent_cversion) = (None, true, -1);
        let txn =
            Txn::Create(CreateTxn { path: path.into(), data, acl, ephemeral, parent_cversion });
        let (session, cxid, time) = (SessionId(9), Xid(0), Millis(0));
        let header = TxnHeader { session, cxid, zxid: Zxid(zxid), time, op: OpCode::Create };
        server.tree.apply(&Record { header, txn, digest: None }, None);
        server.zxid = Zxid(zxid);
        assert!(server.tree.owns_all_below(SessionId(9)));
    }
    server.prepare_as(9, Write::Request(Request::CloseSession));
    let Txn::CloseSession { paths: Some(paths) } = server.last().txn else { panic!("a close") };
    assert_eq!(paths, ["/job/task/step", "/job/task", "/job"]);
    server.apply();
    assert_eq!(server.tree.ephemeral_count(), 0);
}

#[test]
fn a_close_that_lists_nothing_reads_back() {
    let config = PrepareConfig { close_session_lists_paths: false, ..PrepareConfig::default() };
    let mut server = Server::with(config);
    server.send(create("/e", 1));
    server.send(Request::CloseSession);
    assert_eq!(server.last().txn, Txn::CloseSession { paths: None });
    assert_eq!(server.last().digest, None, "Java would take it for a list");
    server.apply();
    assert_eq!(server.tree.ephemeral_count(), 0);
}
