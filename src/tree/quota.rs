//! Quotas: who has one, and what is used of it. Source: `Quotas`, `StatsTrack`, `PathTrie`.

/// What a quota allows; -1 is no limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Nodes, past which the log warns.
    pub count: i64,
    /// Bytes of data, past which the log warns.
    pub bytes: i64,
    /// Nodes, past which a request fails.
    pub count_hard: i64,
    /// Bytes of data, past which a request fails.
    pub bytes_hard: i64,
}

/// What is used: -1 where the stats node does not say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Usage {
    /// Nodes, the root of the quota among them.
    pub count: i64,
    /// Bytes of their data.
    pub bytes: i64,
}

/// The quota that counts for a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Quota<'a> {
    /// The node it is set on, which need not exist.
    pub root: &'a str,
    /// What it allows.
    pub limits: Limits,
    /// What is used of it.
    pub usage: Usage,
}
