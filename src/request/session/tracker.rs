//! Which sessions live, until when, and which server holds them.
//!
//! A session expires in the bucket of its deadline, never before its timeout and at most a tick
//! after it. Being heard of moves nothing: only when a session's bucket is due is its real
//! deadline looked at, and the session is dropped into a later bucket if it has one. Shards keep
//! the time a session was last heard of in an atomic; the tracker asks for it then, and only then.
//! INVARIANT: each session stands in the bucket its entry names; another mention of it is stale.
//! Source: `SessionTrackerImpl`, `ExpiryQueue`, `LeaderSessionTracker`.

use std::collections::{BTreeMap, HashMap};

use crate::ids::{Millis, SessionId};
use crate::limits::SESSIONS_MAX;
use crate::wire::ErrorCode;

/// Whose client the session is; only that server's writes count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    /// This server's.
    Here,
    /// A learner's, by its connection: one that comes back has to ask for its sessions anew.
    Link(u64),
}

#[derive(Debug)]
struct Entry {
    timeout_ms: i32,
    heard: Millis,
    bucket: Millis,
    owner: Option<Owner>,
    is_closing: bool,
}

/// See the module.
#[derive(Debug)]
pub struct SessionTracker {
    tick_ms: i64,
    sessions: HashMap<SessionId, Entry>,
    buckets: BTreeMap<Millis, Vec<SessionId>>,
}

impl SessionTracker {
    /// An empty one.
    ///
    /// # Panics
    /// If the tick is not positive.
    pub fn new(tick_ms: i32) -> Self {
        assert!(tick_ms > 0, "tickTime is checked when the configuration is read");
        Self { tick_ms: i64::from(tick_ms), sessions: HashMap::new(), buckets: BTreeMap::new() }
    }

    /// How many there are, closing ones included.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Whether a new client must be turned away ([`SESSIONS_MAX`]).
    pub fn is_full(&self) -> bool {
        self.sessions.len() >= SESSIONS_MAX
    }

    /// Takes up a session: a new one, one from the log or a snapshot, or one that re-attaches and
    /// so has a new timeout. It has its whole timeout from `now` on, unless it is closing.
    pub fn add(&mut self, session: SessionId, timeout_ms: i32, now: Millis) {
        let deadline = self.bucket_of(now, timeout_ms);
        let entry = self.sessions.entry(session).or_insert_with(|| Entry {
            timeout_ms,
            heard: now,
            bucket: Millis(i64::MAX),
            owner: None,
            is_closing: false,
        });
        if entry.is_closing {
            return;
        }
        entry.timeout_ms = timeout_ms;
        entry.heard = entry.heard.max(now);
        if deadline < entry.bucket {
            entry.bucket = deadline;
            self.buckets.entry(deadline).or_default().push(session);
        }
    }

    /// Re-attaches: `false` if the session is unknown or closing and the client must be told so.
    pub fn reattach(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
        owner: Owner,
        now: Millis,
    ) -> bool {
        match self.sessions.get_mut(&session) {
            Some(entry) if !entry.is_closing => entry.owner = Some(owner),
            _ => return false,
        }
        self.add(session, timeout_ms, now);
        true
    }

    /// Notes that it was heard of. Shards that keep the time themselves need not call this.
    pub fn touch(&mut self, session: SessionId, now: Millis) -> bool {
        match self.sessions.get_mut(&session) {
            Some(entry) if !entry.is_closing => {
                entry.heard = entry.heard.max(now);
                true
            }
            _ => false,
        }
    }

    /// Forgets it: its closeSession was applied.
    pub fn remove(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// From here on its writes fail and it does not expire again.
    pub fn set_closing(&mut self, session: SessionId) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.is_closing = true;
            entry.bucket = Millis(i64::MAX);
        }
    }

    /// Makes `owner` the only server whose requests for it count.
    pub fn set_owner(&mut self, session: SessionId, owner: Owner) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.owner = Some(owner);
        }
    }

    /// Whether a request of this session, from this server, may go on. The first to ask owns it.
    ///
    /// # Errors
    /// [`ErrorCode::SessionExpired`] if it is unknown or closing, [`ErrorCode::SessionMoved`] if
    /// another server holds it: then the connection is closed without a reply.
    pub fn check(&mut self, session: SessionId, owner: Owner) -> Result<(), ErrorCode> {
        let entry = self.sessions.get_mut(&session).filter(|entry| !entry.is_closing);
        let entry = entry.ok_or(ErrorCode::SessionExpired)?;
        if *entry.owner.get_or_insert(owner) == owner {
            Ok(())
        } else {
            Err(ErrorCode::SessionMoved)
        }
    }

    /// Whether it is known and not closing.
    pub fn is_alive(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|entry| !entry.is_closing)
    }

    /// Its timeout, if it is known.
    pub fn timeout_ms(&self, session: SessionId) -> Option<i32> {
        self.sessions.get(&session).map(|entry| entry.timeout_ms)
    }

    /// When [`Self::expired`] has something to look at; `None` without sessions.
    pub fn next_due(&self) -> Option<Millis> {
        self.buckets.first_key_value().map(|(due, _)| *due)
    }

    /// Appends the sessions whose time is up to `out`, until it holds `max`, and marks them
    /// closing: a closeSession is owed for each. The rest stays due. `last_heard` is asked once
    /// for each session of a due bucket.
    pub fn expired(
        &mut self,
        now: Millis,
        max: usize,
        last_heard: impl Fn(SessionId) -> Option<Millis>,
        out: &mut Vec<SessionId>,
    ) {
        while let Some(first) = self.buckets.first_entry() {
            let due = *first.key();
            if due > now {
                return;
            }
            let mut sessions = first.remove();
            while out.len() < max
                && let Some(session) = sessions.pop()
            {
                self.look_at(session, due, now, &last_heard, out);
            }
            if !sessions.is_empty() {
                self.buckets.insert(due, sessions);
                return;
            }
        }
    }

    fn look_at(
        &mut self,
        session: SessionId,
        due: Millis,
        now: Millis,
        last_heard: &impl Fn(SessionId) -> Option<Millis>,
        out: &mut Vec<SessionId>,
    ) {
        let tick_ms = self.tick_ms;
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if entry.bucket != due {
            return; // stale: closing, or moved to another bucket
        }
        entry.heard = entry.heard.max(last_heard(session).unwrap_or(entry.heard));
        let deadline = bucket_of(entry.heard, entry.timeout_ms, tick_ms);
        if deadline <= now {
            entry.is_closing = true;
            entry.bucket = Millis(i64::MAX);
            out.push(session);
        } else {
            entry.bucket = deadline;
            self.buckets.entry(deadline).or_default().push(session);
        }
    }

    fn bucket_of(&self, heard: Millis, timeout_ms: i32) -> Millis {
        bucket_of(heard, timeout_ms, self.tick_ms)
    }

    /// Sessions by the time they expire, sorted: what the words `dump` and `sess` print. Closing
    /// ones are left out.
    pub fn dump(
        &self,
        last_heard: impl Fn(SessionId) -> Option<Millis>,
    ) -> BTreeMap<Millis, Vec<SessionId>> {
        let mut sets: BTreeMap<Millis, Vec<SessionId>> = BTreeMap::new();
        for (session, entry) in self.sessions.iter().filter(|(_, entry)| !entry.is_closing) {
            let heard = entry.heard.max(last_heard(*session).unwrap_or(entry.heard));
            sets.entry(self.bucket_of(heard, entry.timeout_ms)).or_default().push(*session);
        }
        for set in sets.values_mut() {
            set.sort_unstable();
        }
        sets
    }
}

/// The end of the tick after the one the deadline falls in, as `ExpiryQueue.roundToNextInterval`.
fn bucket_of(heard: Millis, timeout_ms: i32, tick_ms: i64) -> Millis {
    let deadline = heard.0.saturating_add(i64::from(timeout_ms));
    Millis((deadline.div_euclid(tick_ms)).saturating_add(1).saturating_mul(tick_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Owner = Owner::Here;
    const THERE: Owner = Owner::Link(2);
    const A: SessionId = SessionId(0xa);
    const B: SessionId = SessionId(0xb);

    fn expired(tracker: &mut SessionTracker, now: i64) -> Vec<SessionId> {
        expired_hearing(tracker, now, &[])
    }

    fn expired_hearing(
        tracker: &mut SessionTracker,
        now: i64,
        heard: &[(SessionId, i64)],
    ) -> Vec<SessionId> {
        let mut out = Vec::new();
        let last = |id| heard.iter().find(|(heard, _)| *heard == id).map(|(_, at)| Millis(*at));
        tracker.expired(Millis(now), usize::MAX, last, &mut out);
        out.sort_unstable();
        out
    }

    #[test]
    fn never_early_and_at_most_a_tick_late() {
        for start in 0..50 {
            for timeout in [20, 25, 29, 30] {
                let mut tracker = SessionTracker::new(10);
                tracker.add(A, timeout, Millis(start));
                let end =
                    (start..start + 100).find(|now| expired(&mut tracker, *now) == [A]).unwrap();
                let late = end - (start + i64::from(timeout));
                assert!((1..=10).contains(&late), "start {start} timeout {timeout}: {late}");
            }
        }
    }

    #[test]
    fn being_heard_of_moves_the_deadline_in_either_way() {
        let mut tracker = SessionTracker::new(10);
        tracker.add(A, 20, Millis(0));
        tracker.add(B, 20, Millis(0));
        assert!(tracker.touch(A, Millis(25)));
        assert_eq!(expired_hearing(&mut tracker, 30, &[(B, 29)]), []);
        assert_eq!(tracker.next_due(), Some(Millis(50)));
        assert_eq!(expired(&mut tracker, 49), []);
        assert_eq!(expired(&mut tracker, 50), [A, B]);
        assert_eq!(expired(&mut tracker, 1000), [], "once is enough");
        assert!(!tracker.touch(A, Millis(51)), "too late");
        assert_eq!(tracker.len(), 2, "until their closeSession is applied");
        tracker.remove(A);
        tracker.remove(B);
        assert!(tracker.is_empty());
    }

    #[test]
    fn a_late_look_expires_everything_due_and_spares_the_living() {
        let mut tracker = SessionTracker::new(10);
        tracker.add(A, 20, Millis(0));
        tracker.add(B, 1000, Millis(0));
        assert_eq!(expired(&mut tracker, 500), [A]);
        assert_eq!(expired(&mut tracker, 1009), []);
        assert_eq!(expired(&mut tracker, 1010), [B]);
    }

    #[test]
    fn a_crowd_expires_in_portions_and_nobody_is_forgotten() {
        let mut tracker = SessionTracker::new(10);
        for id in 1..=10 {
            tracker.add(SessionId(id), 20, Millis(id % 2 * 10));
        }
        let mut all = Vec::new();
        for portion in [4, 4, 2, 0] {
            let mut out = Vec::new();
            tracker.expired(Millis(100), 4, |_| None, &mut out);
            assert_eq!(out.len(), portion);
            assert_eq!(tracker.next_due().is_none(), all.len() + portion == 10);
            all.append(&mut out);
        }
        all.sort_unstable();
        assert_eq!(all, (1..=10).map(SessionId).collect::<Vec<_>>());
    }

    #[test]
    fn a_shorter_timeout_counts_at_once_and_a_longer_one_too() {
        let mut tracker = SessionTracker::new(10);
        tracker.add(A, 1000, Millis(0));
        assert!(tracker.reattach(A, 20, HERE, Millis(5)));
        assert_eq!(tracker.timeout_ms(A), Some(20));
        assert_eq!(expired(&mut tracker, 29), []);
        assert_eq!(expired(&mut tracker, 30), [A]);
        tracker.add(B, 20, Millis(100));
        assert!(tracker.reattach(B, 1000, HERE, Millis(105)));
        assert_eq!(expired(&mut tracker, 1109), []);
        assert_eq!(expired(&mut tracker, 1110), [B]);
        assert!(!tracker.reattach(B, 1000, HERE, Millis(1111)), "it is closing");
        assert!(!tracker.reattach(SessionId(9), 1000, HERE, Millis(1111)), "unknown");
    }

    #[test]
    fn only_its_owner_speaks_for_a_session() {
        let mut tracker = SessionTracker::new(10);
        assert_eq!(tracker.check(A, HERE), Err(ErrorCode::SessionExpired));
        tracker.add(A, 20, Millis(0));
        assert_eq!(tracker.check(A, HERE), Ok(()));
        assert_eq!(tracker.check(A, THERE), Err(ErrorCode::SessionMoved));
        tracker.set_owner(A, THERE);
        assert_eq!(tracker.check(A, THERE), Ok(()));
        tracker.set_closing(A);
        assert_eq!(tracker.check(A, THERE), Err(ErrorCode::SessionExpired));
        assert!(!tracker.is_alive(A));
        assert_eq!(expired(&mut tracker, 1000), [], "it is closing already");
    }

    #[test]
    fn a_dump_shows_when_each_would_expire() {
        let mut tracker = SessionTracker::new(10);
        tracker.add(B, 20, Millis(0));
        tracker.add(A, 20, Millis(3));
        tracker.add(SessionId(0xc), 20, Millis(0));
        let dump = tracker.dump(|id| (id == SessionId(0xc)).then_some(Millis(15)));
        let wanted = BTreeMap::from([(Millis(30), vec![A, B]), (Millis(40), vec![SessionId(0xc)])]);
        assert_eq!(dump, wanted);
    }
}
