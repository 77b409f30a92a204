//! Differences from Java that are accepted, each with its reason. Nothing else is.

use crate::canon::Said;
use crate::op::Op;

/// One accepted difference.
pub struct Accepted {
    pub name: &'static str,
    pub reason: &'static str,
    /// Whether `(left, right)`, after `op` or a connection's end, is this difference.
    pub is: fn(op: Option<&Op>, left: &Said, right: &Said) -> bool,
}

/// The table. Keep it short; `docs/COMPATIBILITY.md` repeats it for users.
pub const ACCEPTED: &[Accepted] = &[Accepted {
    name: "a taken-over connection stays open",
    reason: "Java: the end of a session's last connection but one may strike the new one off its list",
    is: |op, left, right| op.is_none() && *left == Said::Nothing && *right == Said::Closed,
}];
