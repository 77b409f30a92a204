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
pub const ACCEPTED: &[Accepted] = &[
    Accepted {
        name: "a taken-over connection stays open",
        reason: "Java: the end of a session's last connection but one may strike off the new one",
        is: |op, left, right| op.is_none() && *left == Said::Nothing && *right == Said::Closed,
    },
    Accepted {
        name: "no body behind error -5 of a multiRead",
        reason: "Java sends the steps up to one with a null path; clients ignore what follows an error",
        is: |op, left, right| {
            let header = |said: &Said| {
                let text = said.text();
                text.split(" bytes ").next().unwrap_or_default().trim_end().to_owned()
            };
            op.is_some_and(|op| op.code == 22)
                && matches!(left, Said::Reply { err: -5, .. })
                && header(left) == right.text().trim_end()
        },
    },
];
