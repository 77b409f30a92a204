//! Differences from Java that are accepted, each with its reason. Nothing else is.

use crate::canon::Said;
use crate::op::Op;

/// One accepted difference.
pub struct Accepted {
    pub name: &'static str,
    pub reason: &'static str,
    /// Whether `(left, right)` after `op` is this difference.
    pub is: fn(op: &Op, left: &Said, right: &Said) -> bool,
}

/// The table. Keep it short; `docs/COMPATIBILITY.md` repeats it for users.
pub const ACCEPTED: &[Accepted] = &[];
