//! The end of a session: its ephemerals go in one txn.

use std::borrow::Cow;

use super::{Preparer, Step};
use crate::request::path;
use crate::wire::OpCode;
use crate::wire::txn::Txn;

impl Preparer {
    /// Never fails: who may close a session is not asked, as its server does it when it expires.
    ///
    /// The paths are those the session will have once all in flight is applied.
    pub(super) fn close_session<'r>(&mut self, step: &Step<'_>) -> (OpCode, Txn<'r>) {
        let paths = self.outstanding.ephemerals_of(step.tree, step.author.session);
        for path in &paths {
            let node = self.outstanding.get(step.tree, path);
            let parent = self.outstanding.get(step.tree, path::parent(path));
            let (node, parent) = node.zip(parent).expect("an ephemeral, and so its parent, exists");
            self.remove(step, path, &node, parent);
        }
        let lists = self.config.close_session_lists_paths;
        let paths = lists.then(|| paths.into_iter().map(Cow::Owned).collect());
        (OpCode::CloseSession, Txn::CloseSession { paths })
    }
}
