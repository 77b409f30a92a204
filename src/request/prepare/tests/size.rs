//! Records that no learner would take are not made.

use super::*;
use crate::limits::FRAME_BYTES_MAX_DEFAULT;

/// A server whose records have so many bytes at most.
fn limited(record_bytes_max: usize) -> Server {
    Server::with(PrepareConfig { record_bytes_max, ..PrepareConfig::default() })
}

/// Of the last record.
fn last_len(server: &Server) -> usize {
    server.in_flight.last().unwrap().len()
}

/// ZOOKEEPER-4306: a list that no learner takes would end each leader's term, again and again.
#[test]
fn a_session_with_too_many_ephemerals_ends_without_a_list() {
    let mut server = limited(200);
    for count in 1..30 {
        server.send(create(&format!("/e{count}"), 1));
        server.apply();
        if count % 7 == 0 {
            server.send(Request::CloseSession);
            let bytes = last_len(&server);
            assert!(bytes <= 200, "{bytes}");
            let Txn::CloseSession { paths } = server.last().txn else { panic!("a close") };
            assert_eq!(paths.is_some(), count < 21, "{count}");
            server.send(create("/after", 0));
            server.apply(); // and what was foreseen, the digest too, has come
            assert_eq!(server.tree.ephemeral_count(), 0);
            server.send(delete("/after", -1));
            for count in 1..=count {
                server.send(create(&format!("/e{count}"), 1));
            }
            server.apply();
        }
    }
}

#[test]
fn an_acl_that_stands_for_too_much_is_refused() {
    let mut server = limited(240);
    let known = |name: &str| Identity { scheme: "digest".into(), id: name.into() };
    server.identities = vec![known(BOB), known("ann:other")];
    let auth = |perms| Acl { perms, scheme: "auth".into(), id: "".into() };
    let with = |perms: std::ops::Range<i32>| create_with("/a", perms.map(auth).collect());
    assert_eq!(server.send(with(1..3)), ErrorCode::InvalidAcl, "two for each of two");
    let twice = vec![with(1..2), with(1..2)];
    assert_eq!(server.send(Request::Multi(twice)), ErrorCode::InvalidAcl, "all of it counts");
    assert_eq!(server.send(with(1..2)), ErrorCode::Ok);
    server.apply();
}

/// A record that no learner takes is not made, nor is one refused that is much shorter.
#[test]
fn a_multi_whose_record_would_be_too_long_is_refused() {
    const MAX: usize = 4096;
    let mut server = limited(MAX);
    let mut multi = |count| {
        let steps = (0..count).map(|_| create("/s", 2)).collect();
        let code = server.send(Request::Multi(steps));
        let bytes = last_len(&server);
        server.apply();
        (code, bytes)
    };
    let (count, (code, _)) = (1..MAX)
        .map(|count| (count, multi(count)))
        .find(|(_, (code, _))| *code != ErrorCode::Ok)
        .unwrap();
    assert_eq!(code, ErrorCode::BadArguments);
    let (code, bytes) = multi(count - 1);
    assert_eq!(code, ErrorCode::Ok);
    assert!((MAX * 9 / 10..=MAX).contains(&bytes), "{bytes}");
}

/// Of steps that are short as can be as many as a request holds: records are no longer than those.
#[test]
fn a_multi_of_very_many_small_steps_is_not_refused() {
    let mut server = Server::new();
    server.send(create("/a", 0));
    let step_bytes = 9 + 4 + 2 + 4;
    let count = FRAME_BYTES_MAX_DEFAULT as usize / step_bytes;
    assert_eq!(
        server.send(Request::Multi((0..count).map(|_| check("/a", -1)).collect())),
        ErrorCode::Ok
    );
    server.apply();
}

/// Those behind the step that failed are in the record too.
#[test]
fn a_multi_that_failed_is_no_longer_than_one_that_did_not() {
    const MAX: usize = 1000;
    let mut server = limited(MAX);
    let (mut steps, mut whole) = (0, 0);
    for count in 1..100 {
        let deletes = (0..count).map(|_| delete("/x", -1)).collect();
        assert_eq!(server.send(Request::Multi(deletes)), ErrorCode::NoNode);
        assert!(last_len(&server) <= MAX);
        if matches!(server.last().txn, Txn::Multi(_)) {
            steps += 1;
        } else {
            assert!(matches!(server.last().txn, Txn::Error { .. }));
            whole += 1;
        }
    }
    assert!(steps > 70 && whole > 15, "{steps} {whole}");
}

/// Each byte that is no UTF-8 becomes three, as in Java.
#[test]
fn an_acl_that_is_no_utf8_counts_as_what_it_becomes() {
    const MAX: usize = 2000;
    let mut server = limited(MAX);
    server.send(create("/a", 0));
    for (bytes, expected) in [(500, ErrorCode::Ok), (700, ErrorCode::BadArguments)] {
        let id = [&b"a:"[..], &vec![0xff; bytes]].concat();
        let id = String::from_utf8_lossy(&id).into_owned().into();
        let acl = vec![Acl { perms: 31, scheme: "digest".into(), id }];
        assert_eq!(server.send(set_acl("/a", acl.clone(), -1)), expected, "{bytes}");
        assert!(last_len(&server) <= MAX);
        let node = if bytes == 500 { "/b" } else { "/c" };
        assert_eq!(server.send(create_with(node, acl)), expected, "{bytes}");
        assert!(last_len(&server) <= MAX);
    }
    server.apply();
}
