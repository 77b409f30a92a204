//! From a write to its txn: every check, against the tree as it will be.
//!
//! Runs on the zab thread of a leader or standalone server. In: a decoded write, its author, a
//! fresh zxid and the time. Out: the bytes of the txn's record, which are what is logged, sent to
//! learners and applied. A write that fails is a txn too, and its zxid is spent.
//! INVARIANT: the state and digest foreseen here are the tree's own once the txn is applied.
//! Source: `PrepRequestProcessor`, `ZooKeeperServer.checkQuota`.

mod change;
mod create;
mod delete;
mod multi;
mod outstanding;
mod quota;
mod session;
mod size;

use std::borrow::Cow;

use self::outstanding::{Outstanding, State};
pub use self::quota::Exceeded;
use self::size::RecordSize;
use super::access::{self, AccessConfig, Grants, Identity};
use crate::ids::{Millis, SessionId, Xid, Zxid};
use crate::limits::QUORUM_PACKET_BYTES_MAX_DEFAULT;
use crate::tree::digest::{Prefix, is_digested};
use crate::tree::{SharedAcl, Tree, TreeOptions};
use crate::wire::record::perms;
use crate::wire::request::Request;
use crate::wire::txn::{DIGEST_VERSION, Record, Txn, TxnDigest, TxnHeader};
use crate::wire::{Acl, ErrorCode, OpCode, Reader};

/// What the configuration says about writes.
#[derive(Clone, Debug)]
pub struct PrepareConfig {
    /// Schemes, super user, skipACL.
    pub access: AccessConfig,
    /// As the tree has them: TTL nodes, digest, the key of the hash of paths.
    pub tree: TreeOptions,
    /// `zookeeper.enforceQuota`.
    pub enforce_quota: bool,
    /// `reconfigEnabled`.
    pub reconfig: bool,
    /// `zookeeper.closeSessionTxn.enabled`: a closeSession lists the paths it deletes.
    pub close_session_lists_paths: bool,
    /// The longest record that every learner takes: `jute.maxbuffer`, and what is added.
    pub record_bytes_max: usize,
    /// `znode.container.maxNeverUsedIntervalMs`; 0 is never.
    pub container_never_used_max: Millis,
}

impl Default for PrepareConfig {
    fn default() -> Self {
        Self {
            access: AccessConfig::default(),
            tree: TreeOptions::default(),
            enforce_quota: false,
            reconfig: false,
            close_session_lists_paths: true,
            record_bytes_max: QUORUM_PACKET_BYTES_MAX_DEFAULT as usize,
            container_never_used_max: Millis(0),
        }
    }
}

/// What may be asked on behalf of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Everything.
    Global,
    /// No ephemerals: only its own server knows the session.
    Local,
    /// Nothing: `SessionExpired` or `SessionMoved`, as the session tracker says.
    Refused(ErrorCode),
}

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// [`SessionId::NONE`] for the server's own requests.
    pub session: SessionId,
    /// The request's number.
    pub cxid: Xid,
    /// Of the connection when the request was read.
    pub identities: &'a [Identity],
    /// What the session tracker says of the session.
    pub standing: Standing,
}

/// The place in history a write is given.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// One more than the last.
    pub zxid: Zxid,
    /// The leader's wall clock.
    pub time: Millis,
}

/// A write, decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Write<'a> {
    /// As a client sent it; one that is not a write is answered UNIMPLEMENTED.
    Request(Request<'a>),
    /// The server's own: open a session.
    CreateSession {
        /// Negotiated.
        timeout_ms: i32,
    },
    /// The server's own: reap a container or TTL node.
    DeleteContainer {
        /// Of the node.
        path: Cow<'a, str>,
    },
    /// Bytes that are no request: MARSHALLINGERROR.
    Undecodable,
}

impl<'a> Write<'a> {
    /// The write with this opcode and record.
    pub fn decode(op: OpCode, record: &'a [u8]) -> Self {
        Request::decode(op, &mut Reader::new(record)).map_or(Self::Undecodable, Self::Request)
    }
}

/// The path whose node is looked up first when this write is prepared: of a create the parent's.
/// `None` if that takes more than a look at the record's beginning.
pub fn first_sought(op: OpCode, record: &[u8]) -> Option<&str> {
    let path = std::str::from_utf8(Reader::new(record).buffer().ok()??).ok()?;
    let creates = matches!(
        op,
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl
    );
    if creates {
        return path.rsplit_once('/').map(|(parent, _)| parent);
    }
    matches!(op, OpCode::SetData | OpCode::Delete | OpCode::SetAcl | OpCode::Check).then_some(path)
}

/// What became of a write, beside the bytes of its record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Prepared {
    /// Why it will do nothing; of a multi, why its first failing step fails. The reply is made
    /// from what the tree says when the record is applied.
    pub error: Option<ErrorCode>,
}

/// See the module.
pub struct Preparer {
    config: PrepareConfig,
    outstanding: Outstanding,
    /// The last list stored: most nodes have the same, and share it.
    recent_acl: SharedAcl,
    /// Of this write's record.
    size: RecordSize,
    /// Of this write's author.
    grants: Grants,
    /// See [`Self::take_exceeded`].
    exceeded: Option<Exceeded>,
}

/// One write on its way to a txn.
struct Step<'a> {
    tree: &'a Tree,
    author: &'a Author<'a>,
    stamp: Stamp,
}

impl Author<'_> {
    fn check_session(&self) -> Result<(), ErrorCode> {
        match self.standing {
            Standing::Global | Standing::Local => Ok(()),
            Standing::Refused(code) => Err(code),
        }
    }

    fn check_global_session(&self) -> Result<(), ErrorCode> {
        match self.standing {
            Standing::Global => Ok(()),
            Standing::Local => Err(ErrorCode::EphemeralOnLocalSession),
            Standing::Refused(code) => Err(code),
        }
    }
}

/// COMPAT: versions wrap (`PrepRequestProcessor.checkAndIncVersion` of 3.9); 3.10 skips -1.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected == -1 || expected == current {
        Ok(current.wrapping_add(1))
    } else {
        Err(ErrorCode::BadVersion)
    }
}

fn length(data: Option<&[u8]>) -> usize {
    data.map_or(0, <[u8]>::len)
}

fn signed(len: usize) -> i64 {
    i64::try_from(len).expect("no buffer is as long as that")
}

impl Preparer {
    /// One with nothing in flight.
    pub fn new(config: PrepareConfig) -> Self {
        let outstanding = Outstanding::new(config.tree.digest);
        let size = RecordSize::new(config.record_bytes_max);
        let recent_acl = [Acl::anyone(perms::ALL)].into();
        let grants = Grants::default();
        Self { config, outstanding, recent_acl, size, grants, exceeded: None }
    }

    /// Changes in flight: two or so for each txn. Bounded by the proposals in flight.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Everything up to `zxid` is in the tree.
    pub fn applied(&mut self, zxid: Zxid) {
        self.outstanding.applied(zxid);
    }

    /// Appends the record of `write` to `out`. `tree` is as far as it has been applied; what is in
    /// flight since then is known here.
    pub fn prepare(
        &mut self,
        tree: &Tree,
        author: &Author<'_>,
        stamp: Stamp,
        write: Write<'_>,
        out: &mut Vec<u8>,
    ) -> Prepared {
        let step = Step { tree, author, stamp };
        self.size.begin();
        self.grants.forget();
        self.exceeded = None;
        let mut error = None;
        let (op, txn) = match self.txn(&step, write, &mut error) {
            Ok(txn) => txn,
            Err(code) => {
                error = Some(code);
                (OpCode::Error, Txn::Error { err: code.to_wire() })
            }
        };
        // COMPAT: Java gives no digest to a request that failed on its own, only to a failed multi;
        // and would take one behind a closeSession without a list for that list.
        let is_bare = matches!(txn, Txn::Error { .. } | Txn::CloseSession { paths: None });
        let with_digest = self.config.tree.digest && !is_bare;
        let digest = with_digest
            .then(|| TxnDigest { version: DIGEST_VERSION, digest: self.outstanding.digest(tree) });
        let Author { session, cxid, .. } = *author;
        let header = TxnHeader { session, cxid, zxid: stamp.zxid, time: stamp.time, op };
        Record { header, txn, digest }.encode(out);
        Prepared { error }
    }

    fn txn<'r>(
        &mut self,
        step: &Step<'_>,
        write: Write<'r>,
        step_error: &mut Option<ErrorCode>,
    ) -> Result<(OpCode, Txn<'r>), ErrorCode> {
        match write {
            Write::Undecodable => Err(ErrorCode::MarshallingError),
            Write::CreateSession { timeout_ms } => {
                Ok((OpCode::CreateSession, Txn::CreateSession { timeout_ms }))
            }
            Write::DeleteContainer { path } => self.delete_container(step, path),
            Write::Request(Request::CloseSession) => Ok(self.close_session(step)),
            Write::Request(Request::Multi(steps)) => {
                let (txn, error) = self.multi(step, steps)?;
                *step_error = error;
                Ok((OpCode::Multi, txn))
            }
            Write::Request(Request::SetAcl { path, acl, version }) => {
                self.size.add(size::of_acl_change(&path, &acl))?;
                self.set_acl(step, path, acl, version)
            }
            Write::Request(Request::Reconfig(_)) => self.reconfig(step),
            Write::Request(request) => self.step(step, request),
        }
    }

    /// The writes that may also be steps of a multi.
    fn step<'r>(
        &mut self,
        step: &Step<'_>,
        request: Request<'r>,
    ) -> Result<(OpCode, Txn<'r>), ErrorCode> {
        self.size.add(size::of_step(&request))?;
        match request {
            Request::Create(create) => self.create(step, create),
            Request::Delete { path, version } => self.delete(step, path, version),
            Request::SetData { path, data, version } => self.set_data(step, path, data, version),
            Request::Check { path, version } => self.check(step, path, version),
            Request::Read(_)
            | Request::GetAcl { .. }
            | Request::SetAcl { .. }
            | Request::Sync { .. }
            | Request::Ping
            | Request::Multi(_)
            | Request::MultiRead(_)
            | Request::Reconfig(_)
            | Request::Watches(_)
            | Request::SetWatches(_)
            | Request::AddWatch { .. }
            | Request::GetEphemerals { .. }
            | Request::GetAllChildrenNumber { .. }
            | Request::WhoAmI
            | Request::Auth { .. }
            | Request::Sasl { .. }
            | Request::CloseSession => Err(ErrorCode::Unimplemented),
        }
    }

    fn find(&self, step: &Step<'_>, path: &str) -> Result<State, ErrorCode> {
        self.outstanding.get(step.tree, path).ok_or(ErrorCode::NoNode)
    }

    fn permit(&mut self, step: &Step<'_>, node: &State, needed: i32) -> Result<(), ErrorCode> {
        self.grants.check(&self.config.access, &node.acl, needed, step.author.identities)
    }

    fn put(&mut self, step: &Step<'_>, path: &str, was: u32, state: State) {
        self.outstanding.put(step.tree, step.stamp.zxid, path, was, state);
    }

    fn set_contents(&self, node: &mut State, path: &str, data: Option<&[u8]>) {
        node.data_len = length(data);
        if self.config.tree.digest && is_digested(path) {
            node.prefix = Prefix::new(path, data);
        }
    }

    /// As a standalone server answers it.
    fn reconfig<'r>(&self, step: &Step<'_>) -> Result<(OpCode, Txn<'r>), ErrorCode> {
        if !self.config.reconfig {
            return Err(ErrorCode::ReconfigDisabled);
        }
        step.author.check_session()?;
        Err(ErrorCode::Unimplemented)
    }

    /// [`access::fixup`], leaving a list that needs none as it is.
    ///
    /// `auth` stands for all that a connection has proved to be, and counts as that.
    fn fixup<'r>(&mut self, step: &Step<'_>, acl: Vec<Acl<'r>>) -> Result<Vec<Acl<'r>>, ErrorCode> {
        if access::is_fixed(&self.config.access, &acl) {
            return Ok(acl);
        }
        let fixed = access::fixup(&self.config.access, &acl, step.author.identities)?;
        let more = size::of_acl(&fixed).saturating_sub(size::of_acl(&acl));
        self.size.add(more).map_err(|_| ErrorCode::InvalidAcl)?;
        Ok(fixed)
    }

    fn share(&mut self, acl: &[Acl<'_>]) -> SharedAcl {
        if *self.recent_acl != *acl {
            self.recent_acl = acl.iter().cloned().map(Acl::into_owned).collect();
        }
        self.recent_acl.clone()
    }
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;
