//! Quotas, where they are enforced. Source: `ZooKeeperServer.checkQuota`.

use std::fmt;

use super::{Preparer, Step};
use crate::wire::ErrorCode;

/// A limit that a write exceeds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exceeded {
    /// The node whose quota it is.
    pub root: Box<str>,
    /// The child of the root below which the write is: what metrics call a namespace.
    pub namespace: Box<str>,
    /// `count` of nodes or `Byte`s of data, as in the names of limits.
    what: &'static str,
    /// What would be used.
    used: i64,
    limit: i64,
    /// The write fails. Else there is no more than a line in the log.
    pub is_hard: bool,
}

/// In Java's words, which an operator may look for.
impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { root, what, used, limit, is_hard, .. } = self;
        let (unit, kind) = (if *what == "Count" { "count" } else { "bytes" }, hardness(*is_hard));
        write!(f, "Quota exceeded: {root} [current {unit}={used}, {kind}{what}Limit={limit}]")
    }
}

const fn hardness(is_hard: bool) -> &'static str {
    if is_hard { "hard" } else { "soft" }
}

impl Preparer {
    /// The quota that the last write that was prepared exceeds: the one it fails for, if it does.
    pub fn take_exceeded(&mut self) -> Option<Exceeded> {
        self.exceeded.take()
    }

    /// Against what is used in the tree as applied, not as it will be: so does Java.
    pub(super) fn check_quota(
        &mut self,
        step: &Step<'_>,
        path: &str,
        nodes: i64,
        bytes: i64,
    ) -> Result<(), ErrorCode> {
        if !self.config.enforce_quota {
            return Ok(());
        }
        let Some(quota) = step.tree.quota_of(path) else { return Ok(()) };
        let (limits, usage) = (quota.limits, quota.usage);
        let measures = [
            ("Count", nodes, usage.count, limits.count_hard, limits.count),
            ("Byte", bytes, usage.bytes, limits.bytes_hard, limits.bytes),
        ];
        for (what, more, used, hard, soft) in measures {
            // COMPAT: where there is a hard limit, the soft one is not looked at.
            let is_hard = hard > -1;
            let (limit, used) = (if is_hard { hard } else { soft }, used.saturating_add(more));
            if more == 0 || limit < 0 || used <= limit {
                continue;
            }
            let namespace = path.split('/').nth(1).unwrap_or_default().into();
            let root = quota.root.into();
            self.exceeded = Some(Exceeded { root, namespace, what, used, limit, is_hard });
            if is_hard {
                return Err(ErrorCode::QuotaExceeded);
            }
        }
        Ok(())
    }
}
