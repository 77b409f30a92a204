//! Txns onto the tree.

use std::sync::Arc;

use super::acl::SharedAcl;
use crate::ids::Zxid;
use crate::wire::Stat;

/// What happened to a node, for those who watch it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChangeKind {
    /// It is there now; its parent has a child more.
    Created,
    /// It is gone; its parent has a child less.
    Deleted,
    /// It has other data.
    DataChanged,
}

/// One change of one node, in the order of application.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Of the txn.
    pub zxid: Zxid,
    /// What happened.
    pub kind: ChangeKind,
    /// To which node; the parent is before its last `/`.
    pub path: Arc<str>,
    /// The node's list, when deleted the one it had.
    pub acl: SharedAcl,
    /// The parent's list; `None` when its children are the same.
    pub parent_acl: Option<SharedAcl>,
}

/// What a txn came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome<'a> {
    /// A node is there.
    Created {
        /// With the sequence suffix.
        path: &'a str,
        /// As clients see it.
        stat: Stat,
    },
    /// A node is gone.
    Deleted,
    /// A node has other data, or another ACL.
    Changed(Stat),
    /// A check, which held when it was prepared.
    Checked,
    /// One for each step, in order. If any step is an error, all are, and nothing happened.
    Multi(Vec<Outcome<'a>>),
    /// The session table has one more.
    SessionOpened,
    /// The session table has one less, and its ephemerals are gone.
    SessionClosed,
    /// [`crate::wire::ErrorCode::to_wire`]; a txn may carry a number we have no name for.
    Error(i32),
}
