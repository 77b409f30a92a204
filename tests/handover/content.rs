//! What is written before a folder changes hands: one of everything a data folder can hold.

use std::fmt::Write as _;
use std::net::SocketAddr;

use ringkeeper::ids::SessionId;
use ringkeeper::wire::request::{Create, Request};
use ringkeeper::wire::response::Response;
use ringkeeper::wire::{Acl, OpCode, Reader};

use crate::support::Client;
use crate::support::client::{create, new_session, read};

/// Sessions that outlive their servers.
#[derive(Default)]
pub struct Content {
    clients: Vec<Client>,
    sleeping: Vec<(SessionId, [u8; 16])>,
}

const TIMEOUT_MS: i32 = 600_000;

impl Content {
    /// Writes, as the `turn`-th server of a chain.
    pub fn write(&mut self, address: SocketAddr, turn: usize) {
        let mut client = Client::attach(address, &new_session(TIMEOUT_MS)).expect("a session");
        let root = format!("/turn{turn}");
        client.create(&root, b"root", 0);
        Self::plain_nodes(&mut client, &root);
        Self::access_lists(&mut client, &root);
        Self::special_nodes(&mut client, &root);
        Self::quota(&mut client, &root);
        Self::transactions(&mut client, &root);
        let mut other = Client::attach(address, &new_session(TIMEOUT_MS)).expect("a session");
        for owner in [&mut client, &mut other] {
            for flags in [1, 3] {
                let path = format!("{root}/ephemeral-{}-{flags}", owner.session);
                owner.create(&path, b"here", flags);
            }
        }
        let mut gone = Client::connect(address).expect("a session");
        gone.create(&format!("{root}/gone"), b"", 1);
        gone.must(&Request::CloseSession);
        // enough to pass a snapshot's count
        for number in 0..200 {
            let path = format!("{root}/many-{number}");
            client.create(&path, &vec![b'm'; number], 0);
            if number % 3 == 0 {
                client.must(&Request::Delete { path: path.as_str().into(), version: 0 });
            }
        }
        self.clients.extend([client, other]);
    }

    fn plain_nodes(client: &mut Client, root: &str) {
        for (name, data) in [("empty", Some(&b""[..])), ("null", None), ("some", Some(b"data"))] {
            let path = format!("{root}/{name}");
            let acl = vec![Acl::anyone(31)];
            let op = OpCode::Create;
            client.must(&Request::Create(Create {
                op,
                path: path.into(),
                data,
                acl,
                flags: 0,
                ttl: -1,
            }));
        }
        client.create(&format!("{root}/é 中"), "é".as_bytes(), 0);
        for _ in 0..3 {
            client.create(&format!("{root}/seq-"), b"", 2);
            let path = format!("{root}/some");
            let path = path.as_str().into();
            client.must(&Request::SetData { path, data: Some(b"again"), version: -1 });
        }
        let path = format!("{root}/empty");
        client.must(&Request::SetData { path: path.as_str().into(), data: None, version: 0 });
        // failures take zxids too
        assert_eq!(client.call(&create(&path, b"", 0)).unwrap().header.err, -110);
    }

    fn access_lists(client: &mut Client, root: &str) {
        client.digest("bob:pw");
        let entry = |scheme: &'static str, id: &'static str, perms| Acl {
            perms,
            scheme: scheme.into(),
            id: id.into(),
        };
        let lists = [
            vec![entry("auth", "", 31)],
            vec![entry("digest", "alice:x", 3), entry("ip", "10.0.0.0/8", 31), Acl::anyone(1)],
            vec![Acl::anyone(0)],
            vec![Acl::anyone(0xff)],
        ];
        for (number, acl) in lists.into_iter().enumerate() {
            let path = format!("{root}/acl{number}");
            client.create(&path, b"", 0);
            client.must(&Request::SetAcl { path: path.as_str().into(), acl, version: -1 });
        }
    }

    fn special_nodes(client: &mut Client, root: &str) {
        client.create(&format!("{root}/container"), b"box", 4);
        client.create(&format!("{root}/container/child"), b"", 0);
        for (name, flags, ttl) in [("ttl", 5, 86_400_000), ("ttl-", 6, 0xff_ffff_ffff)] {
            client.must(&Request::Create(Create {
                op: OpCode::CreateTtl,
                path: format!("{root}/{name}").into(),
                data: Some(b"for a time"),
                acl: vec![Acl::anyone(31)],
                flags,
                ttl,
            }));
        }
    }

    fn quota(client: &mut Client, root: &str) {
        let quota = format!("/zookeeper/quota{root}");
        client.create(&quota, b"", 0);
        client.create(&format!("{quota}/zookeeper_limits"), b"count=9,bytes=-1", 0);
        client.create(&format!("{quota}/zookeeper_stats"), b"count=0,bytes=0", 0);
        client.create(&format!("{root}/counted"), b"twelve bytes", 0);
    }

    /// With plain creates: a 3.8.0 cannot replay a `create2` inside a multi, whoever logged it.
    fn transactions(client: &mut Client, root: &str) {
        let (first, second) = (format!("{root}/multi"), format!("{root}/multi/child"));
        let path = || first.as_str().into();
        client.must(&Request::Multi(vec![
            plain_create(&first, b"1"),
            plain_create(&second, b"2"),
            Request::SetData { path: path(), data: Some(b"3"), version: 0 },
            Request::Check { path: path(), version: 1 },
        ]));
        client.must(&Request::Multi(vec![
            Request::SetData { path: path(), data: Some(b"never"), version: -1 },
            Request::Check { path: path(), version: 77 },
        ]));
        client.must(&Request::Multi(vec![]));
    }

    /// Forgets the connections, keeps the sessions.
    pub fn disconnect(&mut self) {
        for client in self.clients.drain(..) {
            self.sleeping.push((client.session, client.password));
        }
    }

    /// Every session must still be there, with its ephemerals.
    pub fn reattach(&mut self, address: SocketAddr) {
        for (session, password) in self.sleeping.drain(..) {
            let request = ringkeeper::wire::client::ConnectRequest {
                session,
                password: Some(&password),
                ..new_session(TIMEOUT_MS)
            };
            let mut client = Client::attach(address, &request)
                .unwrap_or_else(|err| panic!("session {session}: {err}"));
            let reply = client.must(&Request::GetEphemerals { prefix: None });
            let paths = Reader::new(&reply.body).texts().expect("paths");
            assert_eq!(paths.len(), 2, "ephemerals of session {session}: {paths:?}");
            self.clients.push(client);
        }
    }
}

fn plain_create<'a>(path: &'a str, data: &'a [u8]) -> Request<'a> {
    let Request::Create(create) = create(path, data, 0) else { unreachable!("a create is one") };
    Request::Create(Create { op: OpCode::Create, ..create })
}

/// Every node below `/`, one line each: path, data, stat, ACL.
pub fn dump(address: SocketAddr) -> Vec<String> {
    let mut client = Client::connect(address).expect("a session");
    client.digest("super:test");
    let mut lines = Vec::new();
    let mut paths = vec!["/".to_owned()];
    while let Some(path) = paths.pop() {
        let mut line = format!("{path} ");
        let reply = client.must(&read(OpCode::GetData, &path, false));
        let body = Response::decode(OpCode::GetData, &mut Reader::new(&reply.body));
        let _ = write!(line, "{body:?} ");
        let reply = client.must(&Request::GetAcl { path: path.as_str().into() });
        let body = Response::decode(OpCode::GetAcl, &mut Reader::new(&reply.body));
        if let Ok(Response::Acl(acl, _)) = body {
            let _ = write!(line, "{acl:?}");
        }
        lines.push(line);
        let reply = client.must(&read(OpCode::GetChildren, &path, false));
        let mut names = Reader::new(&reply.body).texts().expect("names");
        names.sort();
        let parent = path.trim_end_matches('/');
        paths.extend(names.iter().rev().map(|name| format!("{parent}/{name}")));
    }
    client.must(&Request::CloseSession);
    lines
}
