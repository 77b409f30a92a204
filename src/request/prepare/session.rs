//! The end of a session: its ephemerals go in one txn.

use std::borrow::Cow;
use std::cmp::Reverse;

use super::{Preparer, Step, size};
use crate::request::path;
use crate::wire::OpCode;
use crate::wire::txn::Txn;

impl Preparer {
    /// Never fails: who may close a session is not asked, as its server does it when it expires.
    ///
    /// The paths are those the session will have once all in flight is applied; what is below
    /// comes first. Only nodes with a TTL can be one below the other: where those are not known
    /// (`extendedTypesEnabled`), they are ephemerals of a session that never was.
    pub(super) fn close_session<'r>(&mut self, step: &Step<'_>) -> (OpCode, Txn<'r>) {
        let mut paths = self.outstanding.ephemerals_of(step.tree, step.author.session);
        paths.sort_by_cached_key(|path| Reverse(path.bytes().filter(|byte| *byte == b'/').count()));
        for path in &paths {
            let node = self.outstanding.get(step.tree, path);
            let parent = self.outstanding.get(step.tree, path::parent(path));
            let (node, parent) = node.zip(parent).expect("an ephemeral, and so its parent, exists");
            self.remove(step, path, &node, parent);
        }
        // A list that is too long is left out: so Java did before 3.6, and each server deletes what
        // the session has in its tree, which is the same, as nothing follows its end.
        let lists =
            self.config.close_session_lists_paths && self.size.add(size::of_close(&paths)).is_ok();
        let paths = lists.then(|| paths.into_iter().map(Cow::Owned).collect());
        (OpCode::CloseSession, Txn::CloseSession { paths })
    }
}
