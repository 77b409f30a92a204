//! The leader's side of agreeing on an epoch: `FOLLOWERINFO`, `LEADERINFO`, `ACKEPOCH`.
//!
//! A quorum says which epochs it has accepted; the leader opens a greater one, and a quorum
//! promises to accept no smaller one and shows that it has no history the leader lacks. What a
//! learner does in answer is in [`super::learner`].
//!
//! INVARIANT: `LEADERINFO` follows the accepted epoch on the leader's disk; a learner is synced
//! only after a quorum has promised, and the current epoch is on the leader's disk.
//! Source: `Leader.getEpochToPropose`, `waitForEpochAck`, `LearnerHandler.run`.

use std::collections::BTreeMap;

use super::quorum::{AckSet, Quorum};
use super::{EpochRecord, Refusal, Standing};
use crate::ids::{Epoch, ServerId, Zxid};
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, Packet};

/// What discovery wants done, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// To a learner.
    Send(ServerId, Packet),
    /// Make it durable; answer with [`Discovery::on_persisted`].
    Persist(EpochRecord),
    /// The epoch is open: bring this learner, whose log ends here, up to date.
    Sync {
        /// Whom.
        learner: ServerId,
        /// Its last.
        last_logged: Zxid,
    },
}

/// The leader's side of one epoch's beginning.
#[derive(Debug)]
pub struct Discovery {
    quorum: Quorum,
    /// The leader's own, from before it led.
    standing: Standing,
    config_version: i64,
    links: BTreeMap<ServerId, Link>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Servers say what they have accepted.
    Gathering { reports: AckSet, epoch: Epoch },
    /// The leader accepts its own epoch.
    Accepting { epoch: Epoch },
    /// A quorum is to promise.
    Promised { epoch: Epoch, promises: AckSet },
    /// The leader makes it its current one.
    Keeping { epoch: Epoch },
    /// Learners are synced as they come.
    Open { epoch: Epoch },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Link {
    /// Waits for the epoch.
    Introduced,
    /// Was told the epoch.
    Informed,
    /// Waits for the epoch to be open, or was handed over to be synced.
    Promised(Zxid),
}

impl Discovery {
    /// `me` was elected with what it has on disk.
    pub fn new(
        me: ServerId,
        quorum: Quorum,
        standing: Standing,
        config_version: i64,
        out: &mut Vec<Output>,
    ) -> Self {
        let mut reports = AckSet::default();
        quorum.ack(&mut reports, me);
        let phase = Phase::Gathering { reports, epoch: next(standing.accepted) };
        let links = BTreeMap::new();
        let mut discovery = Self { quorum, standing, config_version, links, phase };
        discovery.accept_if_met(out);
        discovery
    }

    /// The epoch that is being opened, once it is fixed.
    pub fn epoch(&self) -> Option<Epoch> {
        match self.phase {
            Phase::Gathering { .. } => None,
            Phase::Accepting { epoch }
            | Phase::Promised { epoch, .. }
            | Phase::Keeping { epoch }
            | Phase::Open { epoch } => Some(epoch),
        }
    }

    /// `FOLLOWERINFO` or `OBSERVERINFO`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn on_info(
        &mut self,
        learner: ServerId,
        accepted: Epoch,
        info: LearnerInfo,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let protocol = info.protocol.unwrap_or(0);
        if protocol < PROTOCOL_VERSION {
            return Err(Refusal::Protocol(protocol));
        }
        if let Some(version) = info.config_version.filter(|it| *it > self.config_version) {
            return Err(Refusal::ConfigAhead(version));
        }
        self.links.insert(learner, Link::Introduced);
        match &mut self.phase {
            Phase::Gathering { reports, epoch } => {
                *epoch = next(accepted).max(*epoch);
                self.quorum.ack(reports, learner);
                self.accept_if_met(out);
            }
            Phase::Accepting { .. } => {}
            // Too late to raise it: a learner that has accepted a greater one leaves by itself.
            Phase::Promised { epoch, .. } | Phase::Keeping { epoch } | Phase::Open { epoch } => {
                let epoch = *epoch;
                self.inform(epoch, out);
            }
        }
        Ok(())
    }

    /// `ACKEPOCH`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn on_ack_epoch(
        &mut self,
        learner: ServerId,
        last_logged: Zxid,
        current: Option<Epoch>,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        if self.links.get(&learner) != Some(&Link::Informed) {
            return Err(Refusal::Unexpected);
        }
        let own = (self.standing.current, self.standing.last_logged);
        if let Some(epoch) = current.filter(|current| (*current, last_logged) > own) {
            self.links.remove(&learner);
            return Err(Refusal::HistoryAhead { epoch, zxid: last_logged });
        }
        self.links.insert(learner, Link::Promised(last_logged));
        match &mut self.phase {
            Phase::Promised { promises, .. } => {
                // One that accepted the epoch before, or has lost its data, promises nothing.
                if current.is_some() && last_logged != Zxid(-1) {
                    self.quorum.ack(promises, learner);
                }
                self.keep_if_met(out);
            }
            Phase::Keeping { .. } => {}
            Phase::Open { .. } => out.push(Output::Sync { learner, last_logged }),
            Phase::Gathering { .. } | Phase::Accepting { .. } => {
                unreachable!("nobody was informed before an epoch was fixed")
            }
        }
        Ok(())
    }

    /// A learner's connection is gone. What it has promised it has promised.
    pub fn on_lost(&mut self, learner: ServerId) {
        self.links.remove(&learner);
    }

    /// An epoch is on the leader's disk.
    ///
    /// # Panics
    /// If it is not the one that was asked for.
    pub fn on_persisted(&mut self, me: ServerId, what: EpochRecord, out: &mut Vec<Output>) {
        if let Phase::Accepting { epoch } = self.phase
            && what == EpochRecord::Accepted(epoch)
        {
            let mut promises = AckSet::default();
            self.quorum.ack(&mut promises, me);
            self.phase = Phase::Promised { epoch, promises };
            self.inform(epoch, out);
            return self.keep_if_met(out);
        }
        let Phase::Keeping { epoch } = self.phase else { panic!("{what:?} was not to be kept") };
        assert_eq!(what, EpochRecord::Current(epoch), "was not to be kept");
        self.phase = Phase::Open { epoch };
        for (learner, link) in &self.links {
            if let Link::Promised(last_logged) = *link {
                out.push(Output::Sync { learner: *learner, last_logged });
            }
        }
    }

    fn accept_if_met(&mut self, out: &mut Vec<Output>) {
        if let Phase::Gathering { reports, epoch } = self.phase
            && self.quorum.is_met(reports)
        {
            self.phase = Phase::Accepting { epoch };
            out.push(Output::Persist(EpochRecord::Accepted(epoch)));
        }
    }

    fn keep_if_met(&mut self, out: &mut Vec<Output>) {
        if let Phase::Promised { epoch, promises } = self.phase
            && self.quorum.is_met(promises)
        {
            self.phase = Phase::Keeping { epoch };
            out.push(Output::Persist(EpochRecord::Current(epoch)));
        }
    }

    /// Tells the epoch to everybody who waits for it.
    fn inform(&mut self, epoch: Epoch, out: &mut Vec<Output>) {
        for (learner, link) in &mut self.links {
            if *link == Link::Introduced {
                *link = Link::Informed;
                let packet = Packet::LeaderInfo { epoch, protocol: PROTOCOL_VERSION };
                out.push(Output::Send(*learner, packet));
            }
        }
    }
}

const fn next(accepted: Epoch) -> Epoch {
    Epoch(accepted.0.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zab::quorum::Rule;

    const ME: ServerId = ServerId(3);
    const LAST: Zxid = Zxid(0x1_0000_0005);

    fn info(config_version: i64) -> LearnerInfo {
        LearnerInfo {
            server: None,
            protocol: Some(PROTOCOL_VERSION),
            config_version: Some(config_version),
        }
    }

    struct Leader {
        discovery: Discovery,
        out: Vec<Output>,
    }

    impl Leader {
        fn of(voters: i64) -> Self {
            let quorum = Quorum::new(Rule::majority((1..=voters).map(ServerId)).unwrap());
            let standing = Standing { accepted: Epoch(1), current: Epoch(1), last_logged: LAST };
            let mut out = Vec::new();
            let discovery = Discovery::new(ME, quorum, standing, 0, &mut out);
            Self { discovery, out }
        }

        fn info(&mut self, learner: i64, accepted: i64) -> Vec<Output> {
            let (learner, accepted) = (ServerId(learner), Epoch(accepted));
            self.discovery.on_info(learner, accepted, info(0), &mut self.out).unwrap();
            std::mem::take(&mut self.out)
        }

        fn ack(&mut self, learner: i64, last: Zxid, current: Option<i64>) -> Vec<Output> {
            self.try_ack(learner, last, current).expect("not refused")
        }

        fn try_ack(
            &mut self,
            learner: i64,
            last: Zxid,
            current: Option<i64>,
        ) -> Result<Vec<Output>, Refusal> {
            let (learner, current) = (ServerId(learner), current.map(Epoch));
            self.discovery.on_ack_epoch(learner, last, current, &mut self.out)?;
            Ok(std::mem::take(&mut self.out))
        }

        fn persisted(&mut self, what: EpochRecord) -> Vec<Output> {
            self.discovery.on_persisted(ME, what, &mut self.out);
            std::mem::take(&mut self.out)
        }
    }

    fn accepted(epoch: i64) -> EpochRecord {
        EpochRecord::Accepted(Epoch(epoch))
    }

    fn current(epoch: i64) -> EpochRecord {
        EpochRecord::Current(Epoch(epoch))
    }

    fn informed(learner: i64, epoch: i64) -> Output {
        let packet = Packet::LeaderInfo { epoch: Epoch(epoch), protocol: PROTOCOL_VERSION };
        Output::Send(ServerId(learner), packet)
    }

    fn sync(learner: i64, last_logged: Zxid) -> Output {
        Output::Sync { learner: ServerId(learner), last_logged }
    }

    #[test]
    fn an_epoch_is_above_all_accepted_and_on_disk_before_anybody_hears_of_it() {
        let mut leader = Leader::of(5);
        assert_eq!(leader.info(9, 7), [], "an observer raises it, and is no quorum");
        assert_eq!(leader.info(1, 4), []);
        assert_eq!(leader.info(2, 2), [Output::Persist(accepted(8))]);
        assert_eq!(leader.info(4, 6), []);
        let all = [1, 2, 4, 9].map(|learner| informed(learner, 8));
        assert_eq!(leader.persisted(accepted(8)), all);
        assert_eq!(leader.info(5, 20), [informed(5, 8)], "too late to raise it");
    }

    #[test]
    fn nobody_is_synced_before_a_quorum_has_promised_and_the_epoch_is_on_disk() {
        let mut leader = Leader::of(5);
        for learner in [1, 2, 4, 9] {
            leader.info(learner, 1);
        }
        leader.persisted(accepted(2));
        assert_eq!(leader.ack(9, LAST, Some(1)), [], "an observer");
        assert_eq!(leader.ack(1, LAST, None), [], "it had accepted the epoch before");
        assert_eq!(leader.ack(2, Zxid(7), Some(0)), []);
        assert_eq!(leader.info(5, 1), [informed(5, 2)]);
        assert_eq!(leader.ack(5, Zxid(-1), Some(0)), [], "it has lost its data");
        assert_eq!(leader.ack(4, LAST, Some(1)), [Output::Persist(current(2))]);
        let order = [(1, LAST), (2, Zxid(7)), (4, LAST), (5, Zxid(-1)), (9, LAST)];
        assert_eq!(leader.persisted(current(2)), order.map(|(who, last)| sync(who, last)));
        leader.discovery.on_lost(ServerId(1));
        assert_eq!(leader.info(1, 2), [informed(1, 2)]);
        assert_eq!(leader.ack(1, LAST, None), [sync(1, LAST)]);
    }

    /// ZOOKEEPER-1154: who has history that the leader lacks must not lose it.
    #[test]
    fn a_learner_that_is_ahead_is_refused() {
        let of = |last, epoch| {
            let mut leader = Leader::of(3);
            leader.info(1, 1);
            leader.persisted(accepted(2));
            leader.try_ack(1, last, Some(epoch)).map(|_| ())
        };
        assert_eq!(of(LAST, 1), Ok(()));
        assert_eq!(of(Zxid(LAST.0 + 9), 0), Ok(()), "of an older epoch");
        for (zxid, epoch) in [(Zxid(LAST.0 + 1), 1), (Zxid(0), 2)] {
            let refusal = Refusal::HistoryAhead { epoch: Epoch(epoch), zxid };
            assert_eq!(of(zxid, epoch), Err(refusal));
        }
    }

    #[test]
    fn strange_learners_are_refused() {
        let mut leader = Leader::of(3);
        let old = LearnerInfo { protocol: None, ..info(0) };
        let cases = [(old, Refusal::Protocol(0)), (info(1), Refusal::ConfigAhead(1))];
        for (info, refusal) in cases {
            let refused = leader.discovery.on_info(ServerId(1), Epoch(1), info, &mut leader.out);
            assert_eq!(refused, Err(refusal));
        }
        leader.info(1, 1);
        assert_eq!(leader.try_ack(1, LAST, Some(1)), Err(Refusal::Unexpected), "not yet asked");
        leader.persisted(accepted(2));
        leader.ack(1, LAST, Some(1));
        assert_eq!(leader.try_ack(1, LAST, Some(1)), Err(Refusal::Unexpected), "twice");
    }

    #[test]
    #[should_panic(expected = "was not to be kept")]
    fn an_answer_of_the_disk_that_was_not_asked_for_is_a_bug() {
        Leader::of(3).persisted(current(2));
    }
}
