use super::*;
use crate::ids::{Millis, Xid, Zxid};
use crate::wire::response::{Response, StepResult};
use crate::wire::txn::{CreateTxn, Record, Txn, TxnHeader};
use crate::wire::{Reader, Stat};

const BOB: &str = "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=";

fn entry(perms: i32, scheme: &'static str, id: &'static str) -> Acl<'static> {
    Acl { perms, scheme: scheme.into(), id: id.into() }
}

/// `/a` (data "hi") with `/a/b` (null) and `/a/e` (ephemeral of session 1), `/ae` (the same),
/// `/locked` for bob, `/shown` whose list all may read.
fn tree() -> Tree {
    let open = || vec![Acl::anyone(31)];
    let nodes = [
        ("/a", Some(&b"hi"[..]), open(), false),
        ("/a/b", None, open(), false),
        ("/a/e", Some(b""), open(), true),
        ("/ae", Some(b""), open(), true),
        ("/locked", None, vec![entry(31, "digest", BOB)], false),
        ("/shown", None, vec![Acl::anyone(1), entry(31, "digest", BOB)], false),
    ];
    let mut tree = Tree::new();
    for (zxid, (path, data, acl, ephemeral)) in (1..).zip(nodes) {
        let path = path.into();
        let txn = Txn::Create(CreateTxn { path, data, acl, ephemeral, parent_cversion: -1 });
        let (session, cxid, time) = (SessionId(1), Xid(1), Millis(5));
        let header = TxnHeader { session, cxid, zxid: Zxid(zxid), time, op: OpCode::Create };
        tree.apply(&Record { header, txn, digest: None }, None);
    }
    tree
}

fn bob() -> Identity {
    Identity { scheme: "digest".into(), id: BOB.into() }
}

fn read(op: OpCode, path: &str, watch: bool) -> Request<'_> {
    Request::Read(Read { op, path: path.into(), watch })
}

/// Code, watch and body.
fn ask<'r>(request: &'r Request<'_>, identities: &[Identity]) -> (Served<'r>, Vec<u8>) {
    let caller = Caller { session: SessionId(1), identities };
    let mut out = vec![];
    let served = serve(&AccessConfig::default(), &tree(), request, &caller, &mut out);
    (served, out)
}

fn answer(request: &Request<'_>, identities: &[Identity], check: impl FnOnce(Response<'_>)) {
    let (served, out) = ask(request, identities);
    assert_eq!(served.code, ErrorCode::Ok, "{request:?}");
    let mut r = Reader::new(&out);
    check(Response::decode(request.op(), &mut r).unwrap());
    assert!(r.is_empty(), "{request:?}");
}

#[test]
fn which_reads_fail_and_which_watch() {
    use ErrorCode::{BadArguments, NoAuth, NoNode, Ok};
    use OpCode::{Exists, GetChildren, GetChildren2, GetData};
    let data = Some(Arm::Data("/a"));
    let child = Some(Arm::Child("/a"));
    let cases = [
        (Exists, "/a", Ok, data),
        (Exists, "/missing", NoNode, Some(Arm::Data("/missing"))),
        (Exists, "bad", NoNode, Some(Arm::Data("bad"))),
        (Exists, "/locked", NoAuth, None),
        (Exists, "/\0", BadArguments, None),
        (GetData, "/a", Ok, data),
        (GetData, "", Ok, Some(Arm::Data(""))),
        (GetData, "/missing", NoNode, None),
        (GetData, "/\0", NoNode, None),
        (GetData, "/locked", NoAuth, None),
        (GetChildren, "/a", Ok, child),
        (GetChildren, "/missing", NoNode, None),
        (GetChildren, "/locked", NoAuth, None),
        (GetChildren2, "/a", Ok, child),
        (GetChildren2, "/a/", NoNode, None),
        (GetChildren2, "/locked", NoAuth, None),
    ];
    for (op, path, code, watch) in cases {
        let request = read(op, path, true);
        assert_eq!(ask(&request, &[]).0, Served { code, watch }, "{op:?} {path}");
        assert_eq!(ask(&request, &[]).1.is_empty(), code != Ok, "{op:?} {path}");
        let request = read(op, path, false);
        assert_eq!(ask(&request, &[]).0, Served { code, watch: None }, "{op:?} {path}");
    }
}

#[test]
fn bodies() {
    let tree = tree();
    let stat = |path| tree.stat(tree.find(path).unwrap());
    let sorted = |mut names: Vec<std::borrow::Cow<'_, str>>| {
        names.sort();
        names.join(" ")
    };
    answer(&read(OpCode::Exists, "/a", false), &[], |response| {
        assert_eq!(response, Response::Stat(stat("/a")));
    });
    answer(&read(OpCode::GetData, "/a", false), &[], |response| {
        assert_eq!(response, Response::Data(Some(b"hi"), stat("/a")));
    });
    answer(&read(OpCode::GetData, "/a/b", false), &[], |response| {
        assert_eq!(response, Response::Data(None, stat("/a/b")), "null is not empty");
    });
    answer(&read(OpCode::GetChildren, "", false), &[], |response| {
        let Response::Names(names) = response else { panic!("names") };
        assert_eq!(sorted(names), "a ae locked shown zookeeper");
    });
    answer(&read(OpCode::GetChildren2, "/a", false), &[], |response| {
        let Response::NamesStat(names, of) = response else { panic!("names") };
        assert_eq!((sorted(names).as_str(), of), ("b e", stat("/a")));
    });
    for (path, count) in [("/", 9), ("/a", 2), ("/a/b", 0)] {
        answer(&Request::GetAllChildrenNumber { path: path.into() }, &[], |response| {
            assert_eq!(response, Response::Number(count), "{path}");
        });
    }
    answer(&Request::Sync { path: Some("any".into()) }, &[], |response| {
        assert_eq!(response, Response::Path("any".into()));
    });
    answer(&Request::Ping, &[], |response| assert_eq!(response, Response::Empty));
    answer(&Request::WhoAmI, &[bob(), Identity::superuser()], |response| {
        let expected = vec![("digest".into(), "bob".into()), ("super".into(), "".into())];
        assert_eq!(response, Response::Identities(expected));
    });
}

#[test]
fn ephemerals_by_prefix() {
    let cases = [
        (None, "/a/e /ae"),
        (Some(""), "/a/e /ae"),
        (Some(" "), "/a/e /ae"),
        (Some("/"), "/a/e /ae"),
        (Some("/a"), "/a/e /ae"),
        (Some("/a/"), "/a/e"),
        (Some("/b"), ""),
    ];
    for (prefix, expected) in cases {
        let request = Request::GetEphemerals { prefix: prefix.map(Into::into) };
        answer(&request, &[], |response| {
            let Response::Names(mut names) = response else { panic!("names") };
            names.sort();
            assert_eq!(names.join(" "), expected, "{prefix:?}");
        });
    }
}

#[test]
fn hashes_in_a_list_are_for_who_may_change_it() {
    let acl = |path: &'static str| Request::GetAcl { path: path.into() };
    let masked = "bob:x";
    for (path, identities, id) in
        [("/shown", vec![], masked), ("/shown", vec![bob()], BOB), ("/locked", vec![bob()], BOB)]
    {
        answer(&acl(path), &identities, |response| {
            let Response::Acl(list, _) = response else { panic!("a list") };
            assert_eq!(list.last().unwrap().id, id, "{path} {identities:?}");
        });
    }
    assert_eq!(ask(&acl("/locked"), &[]).0.code, ErrorCode::NoAuth);
    assert_eq!(ask(&acl("/missing"), &[]).0.code, ErrorCode::NoNode);
}

#[test]
fn each_step_of_a_multi_read_stands_alone() {
    let step = |op, path: &'static str| Read { op, path: path.into(), watch: true };
    let request = Request::MultiRead(vec![
        step(OpCode::GetData, "/a/b"),
        step(OpCode::GetData, "/missing"),
        step(OpCode::GetChildren, "/locked"),
        step(OpCode::GetChildren, "/a/b"),
    ]);
    assert_eq!(ask(&request, &[]).0, DONE, "no watch");
    answer(&request, &[], |response| {
        let Response::Multi(steps) = response else { panic!("steps") };
        let is_data = matches!(&steps[0], StepResult::Data(None, Stat { .. }));
        assert!(is_data, "{steps:?}");
        let rest = [StepResult::Error(-101), StepResult::Error(-102), StepResult::Children(vec![])];
        assert_eq!(steps[1..], rest);
    });
    answer(&Request::MultiRead(vec![]), &[], |response| {
        assert_eq!(response, Response::Multi(vec![]));
    });
}

#[test]
fn writes_are_not_served_here() {
    let request = Request::Delete { path: "/a".into(), version: -1 };
    assert_eq!(ask(&request, &[]).0, Served { code: ErrorCode::Unimplemented, watch: None });
}
