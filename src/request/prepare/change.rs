//! What changes a node and leaves it in place, and the check that changes nothing.

use std::borrow::Cow;

use super::{Preparer, Step, length, next_version, signed};
use crate::request::path;
use crate::wire::record::perms;
use crate::wire::txn::Txn;
use crate::wire::{Acl, ErrorCode, OpCode};

impl Preparer {
    pub(super) fn set_data<'r>(
        &mut self,
        step: &Step<'_>,
        path: Cow<'r, str>,
        data: Option<&'r [u8]>,
        version: i32,
    ) -> Result<(OpCode, Txn<'r>), ErrorCode> {
        step.author.check_session()?;
        path::check(&path)?;
        let mut node = self.find(step, &path)?;
        self.permit(step, &node, perms::WRITE)?;
        self.check_quota(step, &path, 0, signed(length(data)) - signed(node.data_len))?;
        let version = next_version(node.stat.version, version)?;
        let was = node.digest;
        node.stat.version = version;
        node.stat.mtime = step.stamp.time.0;
        node.stat.mzxid = step.stamp.zxid.0;
        self.set_contents(&mut node, &path, data);
        self.put(step, &path, was, node);
        Ok((OpCode::SetData, Txn::SetData { path, data, version }))
    }

    pub(super) fn set_acl<'r>(
        &mut self,
        step: &Step<'_>,
        path: Cow<'r, str>,
        acl: Vec<Acl<'r>>,
        version: i32,
    ) -> Result<(OpCode, Txn<'r>), ErrorCode> {
        step.author.check_session()?;
        path::check(&path)?;
        let acl = self.fixup(step, acl)?;
        let mut node = self.find(step, &path)?;
        self.permit(step, &node, perms::ADMIN)?;
        let version = next_version(node.stat.aversion, version)?;
        let was = node.digest;
        node.stat.aversion = version;
        node.acl = self.share(&acl);
        self.put(step, &path, was, node);
        Ok((OpCode::SetAcl, Txn::SetAcl { path, acl, version }))
    }

    /// COMPAT: the txn of a check carries the version after the one that was checked.
    pub(super) fn check<'r>(
        &mut self,
        step: &Step<'_>,
        path: Cow<'r, str>,
        version: i32,
    ) -> Result<(OpCode, Txn<'r>), ErrorCode> {
        step.author.check_session()?;
        path::check(&path)?;
        let node = self.find(step, &path)?;
        self.permit(step, &node, perms::READ)?;
        let version = next_version(node.stat.version, version)?;
        Ok((OpCode::Check, Txn::Check { path, version }))
    }
}
