//! The whole tree as one server tells it: every path with its data, stat and ACL.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ringkeeper::wire::request::Request;
use ringkeeper::wire::response::Response;
use ringkeeper::wire::{OpCode, Reader, Stat};

use crate::support::Client;
use crate::support::client::{append, read};

/// Paths asked for in one go.
const AT_A_TIME: usize = 64;
/// As every server of these tests is configured.
const SUPER_USER: &str = "super:test";

/// One znode.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Znode {
    pub data: Option<Vec<u8>>,
    pub stat: Stat,
    /// As text, in the order of the list.
    pub acl: String,
}

/// A tree by path.
pub type Tree = BTreeMap<String, Znode>;

/// Walks the tree of the server at `address`, after a `sync`.
pub fn walk(address: SocketAddr) -> Result<Tree, String> {
    let said = |err: std::io::Error| format!("a walk through {address}: {err}");
    let mut client = Client::connect(address).map_err(said)?;
    client.digest(SUPER_USER);
    let synced = client.call(&Request::Sync { path: Some("/".into()) }).map_err(said)?;
    if synced.header.err != 0 {
        return Err(format!("{address}: sync failed: {}", synced.header.err));
    }
    let mut tree = Tree::new();
    let mut paths = vec!["/".to_owned()];
    while !paths.is_empty() {
        let some = paths.split_off(paths.len().saturating_sub(AT_A_TIME));
        read_some(&mut client, &some, &mut tree, &mut paths).map_err(said)?;
    }
    // the tree is read; whether its session ends well is not asked here
    let _ = client.call(&Request::CloseSession);
    Ok(tree)
}

fn read_some(
    client: &mut Client,
    some: &[String],
    tree: &mut Tree,
    paths: &mut Vec<String>,
) -> std::io::Result<()> {
    let mut out = Vec::new();
    for path in some {
        append(&mut out, client.next_xid(), &read(OpCode::GetData, path, false));
        append(&mut out, client.next_xid(), &Request::GetAcl { path: path.as_str().into() });
        append(&mut out, client.next_xid(), &read(OpCode::GetChildren, path, false));
    }
    client.connection.send(&out)?;
    for path in some {
        let (data, acl, names) = (body(client)?, body(client)?, body(client)?);
        // it may be gone since its parent was read: an ephemeral, a container
        let (Some(data), Some(acl), Some(names)) = (data, acl, names) else { continue };
        let Ok(Response::Data(bytes, stat)) = decode(OpCode::GetData, &data) else {
            return Err(std::io::Error::other("not a getData's reply"));
        };
        let acl = format!("{:?}", decode(OpCode::GetAcl, &acl));
        let acl = acl.split(", Stat {").next().unwrap_or_default().to_owned();
        tree.insert(path.clone(), Znode { data: bytes.map(<[u8]>::to_vec), stat, acl });
        let names = Reader::new(&names).texts().map_err(std::io::Error::other)?;
        let parent = path.trim_end_matches('/');
        paths.extend(names.iter().map(|name| format!("{parent}/{name}")));
    }
    Ok(())
}

/// The next reply's body; `None` if it is an error.
fn body(client: &mut Client) -> std::io::Result<Option<Vec<u8>>> {
    let reply = client.reply()?.ok_or(std::io::ErrorKind::ConnectionReset)?;
    Ok((reply.header.err == 0).then_some(reply.body))
}

fn decode(op: OpCode, body: &[u8]) -> Result<Response<'_>, String> {
    Response::decode(op, &mut Reader::new(body)).map_err(|err| format!("{err:?}"))
}
