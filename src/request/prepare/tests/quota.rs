//! What exceeds a quota fails or is told of, as Java has it.

use super::*;

/// A server that keeps to quotas, with a node `/a` of these limits.
fn limited(limits: &'static [u8]) -> Server {
    let mut server =
        Server::with(PrepareConfig { enforce_quota: true, ..PrepareConfig::default() });
    let quota = |name: &'static str, data: &'static [u8]| {
        Request::Create(Create { data: Some(data), ..make(name, 0) })
    };
    for request in [
        create("/a", 0),
        quota("/zookeeper/quota/a", b""),
        quota("/zookeeper/quota/a/zookeeper_limits", limits),
        quota("/zookeeper/quota/a/zookeeper_stats", b""),
    ] {
        assert_eq!(server.send(request), ErrorCode::Ok);
    }
    server.apply();
    server
}

fn empty(path: &str) -> Request<'_> {
    Request::Create(Create { data: None, ..make(path, 0) })
}

/// What the log is told, and whether the write is counted as refused.
fn told(server: &mut Server) -> Option<(String, bool)> {
    let exceeded = server.preparer.take_exceeded()?;
    assert_eq!((&*exceeded.root, &*exceeded.namespace), ("/a", "a"));
    Some((exceeded.to_string(), exceeded.is_hard))
}

#[test]
fn hard_quotas_hold() {
    let mut server = limited(b"count=1,bytes=1=;byteHardLimit=12;countHardLimit=3");
    let big = |version| Request::SetData { path: "/a".into(), data: Some(&[0; 13]), version };
    assert_eq!(server.send(create("/a/b", 0)), ErrorCode::Ok);
    assert_eq!(server.send(empty("/a/c")), ErrorCode::Ok);
    server.apply();
    assert_eq!(told(&mut server), None);
    assert_eq!(server.send(empty("/a/d")), ErrorCode::QuotaExceeded, "three nodes");
    let text = "Quota exceeded: /a [current count=4, hardCountLimit=3]";
    assert_eq!(told(&mut server), Some((text.to_owned(), true)));
    assert_eq!(server.send(big(9)), ErrorCode::QuotaExceeded, "before the version is looked at");
    let text = "Quota exceeded: /a [current bytes=17, hardByteLimit=12]";
    assert_eq!(told(&mut server), Some((text.to_owned(), true)));
    assert_eq!(server.send(set("/a", 9)), ErrorCode::BadVersion);
    assert_eq!(server.send(create("/b", 0)), ErrorCode::Ok, "elsewhere nothing is limited");
    // Only what is committed counts: the second does not see the first.
    assert_eq!(server.send(delete("/a/c", 0)), ErrorCode::Ok);
    server.apply();
    let both = vec![empty("/a/c"), empty("/a/d")];
    assert_eq!(server.send(Request::Multi(both)), ErrorCode::Ok);
    server.apply();
}

#[test]
fn soft_quotas_are_told_of() {
    let mut server = limited(b"count=1,bytes=12=;byteHardLimit=-1;countHardLimit=-1");
    let set =
        |len| Request::SetData { path: "/a".into(), data: Some(&[0; 20][..len]), version: -1 };
    assert_eq!(server.send(set(12)), ErrorCode::Ok);
    assert_eq!(told(&mut server), None, "as much as there may be");
    server.apply();
    assert_eq!(server.send(set(13)), ErrorCode::Ok);
    let text = "Quota exceeded: /a [current bytes=13, softByteLimit=12]";
    assert_eq!(told(&mut server), Some((text.to_owned(), false)));
    server.apply();
    assert_eq!(server.send(empty("/a/b")), ErrorCode::Ok);
    let text = "Quota exceeded: /a [current count=2, softCountLimit=1]";
    assert_eq!(told(&mut server), Some((text.to_owned(), false)));
    assert_eq!(server.send(delete("/a/b", -1)), ErrorCode::Ok);
    assert_eq!(told(&mut server), None);
    server.apply();
}

#[test]
fn what_a_write_exceeds_is_not_told_of_with_the_next() {
    let mut server = limited(b"count=1,bytes=-1");
    assert_eq!(server.send(empty("/a/b")), ErrorCode::Ok);
    assert_eq!(server.send(create("/b", 0)), ErrorCode::Ok);
    assert_eq!(told(&mut server), None);
    server.apply();
}
