//! Reads: the body of a reply, from the tree as it stands.
//!
//! Runs on a shard, under the read side of the tree's lock. Appends to the connection's outbox;
//! nothing is allocated on the way. What watch to set is told, not done: the table is the shard's.
//! Source: `FinalRequestProcessor`.

use super::access::{self, AccessConfig, Grants, Identity};
use crate::ids::SessionId;
use crate::limits::MULTI_READ_BYTES_MAX;
use crate::tree::{Node, Tree};
use crate::wire::record::perms;
use crate::wire::request::{Read, Request};
use crate::wire::response::{step_error, step_header, steps_end};
use crate::wire::{Acl, ErrorCode, OpCode, Writer};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Whose ephemerals getEphemerals lists.
    pub session: SessionId,
    /// What ACLs are asked about.
    pub identities: &'a [Identity],
}

/// The watch a read sets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arm<'a> {
    /// Of a node's data, or of its coming to be.
    Data(&'a str),
    /// Of a node's children.
    Child(&'a str),
}

/// What a read came to. Unless `code` is Ok, the body is empty.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Served<'a> {
    /// For the header.
    pub code: ErrorCode,
    /// Set even if `code` is NONODE: exists of a missing node waits for it.
    pub watch: Option<Arm<'a>>,
}

/// Serves one, appending the body of the reply to `out`. Requests about watches, auth and sasl are
/// the shard's own, writes are the zab thread's: all of them are UNIMPLEMENTED here.
pub fn serve<'r>(
    config: &AccessConfig,
    tree: &Tree,
    request: &'r Request<'_>,
    caller: &Caller<'_>,
    out: &mut Vec<u8>,
) -> Served<'r> {
    let mut view = View { config, tree, caller, grants: Grants::default() };
    let served = view.serve(request, &mut Writer::new(out));
    served.unwrap_or_else(|code| Served { code, watch: None })
}

struct View<'a> {
    config: &'a AccessConfig,
    tree: &'a Tree,
    caller: &'a Caller<'a>,
    grants: Grants,
}

const DONE: Served<'static> = Served { code: ErrorCode::Ok, watch: None };

impl<'a> View<'a> {
    fn serve<'r>(
        &mut self,
        request: &'r Request<'_>,
        w: &mut Writer<'_>,
    ) -> Result<Served<'r>, ErrorCode> {
        match request {
            Request::Read(read) => return self.read(read, w),
            Request::GetAcl { path } => self.acl(path, w)?,
            Request::MultiRead(reads) => self.multi_read(reads, w)?,
            Request::GetEphemerals { prefix } => self.ephemerals(prefix.as_deref(), w),
            Request::GetAllChildrenNumber { path } => {
                self.readable(path)?;
                // COMPAT: of the root by its other name, the root is one more
                // (`DataTree.getAllChildrenNumber`).
                let count = self.tree.descendants(path) + usize::from(path.is_empty());
                w.i32(i32::try_from(count).unwrap_or(i32::MAX));
            }
            Request::WhoAmI => self.who_am_i(w),
            Request::Sync { path } => w.buffer(path.as_ref().map(|text| text.as_bytes())),
            Request::Ping => {}
            Request::Create(_)
            | Request::Delete { .. }
            | Request::SetData { .. }
            | Request::SetAcl { .. }
            | Request::Check { .. }
            | Request::Multi(_)
            | Request::Reconfig(_)
            | Request::Watches(_)
            | Request::SetWatches(_)
            | Request::AddWatch { .. }
            | Request::Auth { .. }
            | Request::Sasl { .. }
            | Request::CloseSession => return Err(ErrorCode::Unimplemented),
        }
        Ok(DONE)
    }

    /// The node, if the caller may read it.
    fn readable(&mut self, path: &str) -> Result<&'a Node, ErrorCode> {
        let node = self.tree.find(path).ok_or(ErrorCode::NoNode)?;
        self.permit(node, perms::READ)?;
        Ok(node)
    }

    fn permit(&mut self, node: &Node, needed: i32) -> Result<(), ErrorCode> {
        let acl = self.tree.acl(node);
        self.grants.check(self.config, acl, needed, self.caller.identities)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a Read has one of these four opcodes")]
    fn read<'r>(
        &mut self,
        read: &'r Read<'_>,
        w: &mut Writer<'_>,
    ) -> Result<Served<'r>, ErrorCode> {
        let path = &*read.path;
        let watch = match read.op {
            OpCode::Exists => return self.exists(read, w),
            OpCode::GetData => {
                self.data(path, w, |_| {})?;
                Arm::Data(path)
            }
            OpCode::GetChildren => {
                w.strings(self.tree.child_names(self.readable(path)?));
                Arm::Child(path)
            }
            OpCode::GetChildren2 => {
                let node = self.readable(path)?;
                w.strings(self.tree.child_names(node));
                self.tree.stat(node).encode(w);
                Arm::Child(path)
            }
            _ => return Err(ErrorCode::Unimplemented),
        };
        Ok(Served { code: ErrorCode::Ok, watch: read.watch.then_some(watch) })
    }

    /// A node that is missing is waited for; one that may not be read is not.
    fn exists<'r>(
        &mut self,
        read: &'r Read<'_>,
        w: &mut Writer<'_>,
    ) -> Result<Served<'r>, ErrorCode> {
        if read.path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let watch = read.watch.then_some(Arm::Data(&read.path));
        let Some(node) = self.tree.find(&read.path) else {
            return Ok(Served { code: ErrorCode::NoNode, watch });
        };
        self.permit(node, perms::READ)?;
        self.tree.stat(node).encode(w);
        Ok(Served { code: ErrorCode::Ok, watch })
    }

    fn data(
        &mut self,
        path: &str,
        w: &mut Writer<'_>,
        before: impl FnOnce(&mut Writer<'_>),
    ) -> Result<(), ErrorCode> {
        let node = self.readable(path)?;
        before(w);
        w.buffer(node.data());
        self.tree.stat(node).encode(w);
        Ok(())
    }

    fn acl(&mut self, path: &str, w: &mut Writer<'_>) -> Result<(), ErrorCode> {
        let node = self.tree.find(path).ok_or(ErrorCode::NoNode)?;
        self.permit(node, perms::READ | perms::ADMIN)?;
        let acl = self.tree.acl(node);
        Acl::encode_list(&access::shown(self.config, acl, self.caller.identities), w);
        self.tree.stat(node).encode(w);
        Ok(())
    }

    /// Each step stands alone, and sets no watch. A small request can ask for more than there is
    /// memory; then it fails as a whole.
    fn multi_read(&mut self, reads: &[Read<'_>], w: &mut Writer<'_>) -> Result<(), ErrorCode> {
        let start = w.written();
        for read in reads {
            let done = if read.op == OpCode::GetChildren {
                self.readable(&read.path).map(|node| {
                    step_header(w, OpCode::GetChildren.to_wire(), 0);
                    w.strings(self.tree.child_names(node));
                })
            } else {
                let header = |w: &mut Writer<'_>| step_header(w, OpCode::GetData.to_wire(), 0);
                self.data(&read.path, w, header)
            };
            if let Err(code) = done {
                step_error(w, code.to_wire());
            }
            if w.written() - start > MULTI_READ_BYTES_MAX {
                return Err(ErrorCode::MarshallingError);
            }
        }
        steps_end(w);
        Ok(())
    }

    /// A plain string prefix; null, blank or `/` is all of them.
    fn ephemerals(&self, prefix: Option<&str>, w: &mut Writer<'_>) {
        // COMPAT: blank is what Java's `String.trim` takes away: everything up to the space.
        let is_all = |prefix: &str| matches!(prefix.trim_matches(|c| c <= ' '), "" | "/");
        let prefix = prefix.filter(|prefix| !is_all(prefix)).unwrap_or("");
        let wanted = || {
            let paths = self.tree.ephemerals(self.caller.session);
            paths.filter(|path| path.starts_with(prefix))
        };
        w.count(wanted().count());
        for path in wanted() {
            w.string(path);
        }
    }

    fn who_am_i(&self, w: &mut Writer<'_>) {
        w.count(self.caller.identities.len());
        for identity in self.caller.identities {
            let (scheme, user) = identity.client_info();
            w.string(scheme);
            w.string(user);
        }
    }
}

#[cfg(test)]
mod tests;
