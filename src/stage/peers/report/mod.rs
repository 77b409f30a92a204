//! What the log is told of peers, and how often.
//!
//! Pure but for the log itself. What repeats is said at once, then ever more seldom, with the
//! number of times it was not said; what changes is said at once. So a peer that is away for a
//! night costs a line a minute, and a flood of bad connections a line a second.

pub(super) mod mapping;
mod remark;

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Millis, ServerId};
use crate::limits::{COMPLAINT_INTERVAL_MS, COMPLAINT_INTERVAL_MS_MAX};
pub(super) use remark::Remark;

/// What a remark is about; each has its own pace.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum About {
    /// A member cannot be reached.
    Channel(ServerId),
    /// A member leads and cannot be reached.
    Leader(ServerId),
    /// A member's connection broke.
    Broken(ServerId),
    /// What a member's name resolves to.
    Mapping(ServerId),
    /// A member takes calls and does not call back.
    Silence(ServerId),
    /// A member's connection is replaced while it is open.
    Twin(ServerId),
    /// Somebody has this server's id.
    OwnId,
    /// Connections, as they come.
    Request,
    /// Bytes that are none of the protocol's, or none at all.
    Stranger,
    /// More connections than there is room for.
    Crowd,
    /// A port that cannot be bound, or does not accept.
    Listening,
    /// What comes seldom, and is always said.
    Milestone,
}

impl About {
    /// Whether it goes on for hours; the others come in floods.
    fn lasts(self) -> bool {
        match self {
            Self::Channel(_)
            | Self::Leader(_)
            | Self::Broken(_)
            | Self::Mapping(_)
            | Self::Silence(_) => true,
            Self::Twin(_)
            | Self::OwnId
            | Self::Request
            | Self::Stranger
            | Self::Crowd
            | Self::Listening
            | Self::Milestone => false,
        }
    }

    /// The same, for whoever is no member: strangers could make up any number of ids, and share
    /// one pace.
    fn among(self, members: &BTreeSet<ServerId>) -> Self {
        match self {
            Self::Channel(of)
            | Self::Leader(of)
            | Self::Broken(of)
            | Self::Mapping(of)
            | Self::Silence(of)
            | Self::Twin(of)
                if !members.contains(&of) =>
            {
                Self::Stranger
            }
            Self::Channel(_)
            | Self::Leader(_)
            | Self::Broken(_)
            | Self::Mapping(_)
            | Self::Silence(_)
            | Self::Twin(_)
            | Self::OwnId
            | Self::Request
            | Self::Stranger
            | Self::Crowd
            | Self::Listening
            | Self::Milestone => self,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Log {
    members: BTreeSet<ServerId>,
    last: BTreeMap<About, Last>,
}

#[derive(Debug)]
struct Last {
    text: String,
    /// Not before this is it said again.
    again: Millis,
    gap_ms: i64,
    unsaid: u64,
}

impl Log {
    pub(super) fn new(members: BTreeSet<ServerId>) -> Self {
        Self { members, last: BTreeMap::new() }
    }

    /// Logs it, unless that was done only just now.
    pub(super) fn tell(&mut self, now: Millis, remark: &Remark) {
        let line = remark.to_string();
        let about = remark.about().among(&self.members);
        let Some(line) = self.admit(now, about, &remark.key(), &line) else { return };
        if remark.is_ordinary() {
            tracing::info!("{line}");
        } else {
            tracing::warn!("{line}");
        }
    }

    /// A member is connected: the next trouble with it is said at once.
    pub(super) fn forget(&mut self, member: ServerId) {
        for about in [About::Channel(member), About::Leader(member), About::Silence(member)] {
            self.last.remove(&about);
        }
    }

    /// What to log now, if anything. `key` is what makes two remarks the same.
    fn admit(&mut self, now: Millis, about: About, key: &str, line: &str) -> Option<String> {
        let slowly = about.lasts();
        let fresh = Last {
            text: key.to_owned(),
            again: Millis(now.0 + COMPLAINT_INTERVAL_MS),
            gap_ms: COMPLAINT_INTERVAL_MS,
            unsaid: 0,
        };
        if about == About::Milestone {
            return Some(line.to_owned());
        }
        let Some(last) = self.last.get_mut(&about) else {
            self.last.insert(about, fresh);
            return Some(line.to_owned());
        };
        if slowly && last.text != key {
            *last = fresh;
            return Some(line.to_owned());
        }
        if now < last.again {
            last.unsaid += 1;
            return None;
        }
        let grown = if slowly { last.gap_ms * 2 } else { COMPLAINT_INTERVAL_MS };
        last.gap_ms = grown.min(COMPLAINT_INTERVAL_MS_MAX);
        last.again = Millis(now.0 + last.gap_ms);
        Some(match std::mem::take(&mut last.unsaid) {
            0 => line.to_owned(),
            1 => format!("{line} (1 more like it was not logged)"),
            unsaid => format!("{line} ({unsaid} more like it were not logged)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_stays_away_is_mentioned_ever_more_seldom() {
        let mut log = Log::default();
        let mut said = Vec::new();
        for second in 0..600 {
            let now = Millis(second * 1000);
            if log.admit(now, About::Channel(ServerId(2)), "refused", "refused").is_some() {
                said.push(second);
            }
        }
        assert_eq!(said[..6], [0, 1, 3, 7, 15, 31]);
        assert!(said.len() < 16, "then one a minute: {said:?}");
    }

    #[test]
    fn another_reason_is_said_at_once_and_so_is_the_next_after_success() {
        let mut log = Log::default();
        let about = About::Channel(ServerId(2));
        assert!(log.admit(Millis(0), about, "refused", "refused").is_some());
        assert!(log.admit(Millis(1), about, "refused", "refused").is_none());
        assert!(log.admit(Millis(2), about, "timed out", "timed out").is_some());
        assert!(log.admit(Millis(3), About::Channel(ServerId(3)), "x", "x").is_some());
        log.forget(ServerId(2));
        assert!(log.admit(Millis(4), about, "timed out", "timed out").is_some());
    }

    #[test]
    fn ids_that_strangers_make_up_cost_no_memory_and_share_a_pace() {
        let members = BTreeSet::from([ServerId(1)]);
        let pace = |about: About| about.among(&members);
        assert_eq!(pace(About::Channel(ServerId(1))), About::Channel(ServerId(1)));
        assert_eq!(pace(About::Channel(ServerId(2))), About::Stranger);
        assert_eq!(pace(About::Twin(ServerId(-1))), About::Stranger);
        assert_eq!(pace(About::Crowd), About::Crowd);
    }

    #[test]
    fn a_flood_is_one_line_a_second_and_is_counted() {
        let mut log = Log::default();
        let mut lines = Vec::new();
        for millis in 0..3000 {
            let text = format!("from port {millis}");
            lines.extend(log.admit(Millis(millis), About::Stranger, &text, &text));
        }
        assert_eq!(lines.len(), 3);
        assert!(lines[1].ends_with("(999 more like it were not logged)"), "{}", lines[1]);
    }
}
