//! A server's disk, and its tree: as much of both as the protocol sees.

use ringkeeper::ids::{Epoch, Zxid};
use ringkeeper::zab::{EpochRecord, Input, Proposal, Standing};

use crate::words::{Words, number};

/// See the module.
pub(crate) struct Disk {
    log: Vec<Proposal>,
    unflushed: Vec<Proposal>,
    accepted: Epoch,
    current: Epoch,
    unpersisted: Vec<EpochRecord>,
    /// Whether a snapshot reaches back far enough for a cut.
    has_old_snapshot: bool,
    /// The tree: what is applied.
    tree: Vec<Proposal>,
}

impl Disk {
    /// As a story says: `log=1:5,2:3`.
    pub(crate) fn of(words: &Words<'_>) -> Self {
        let mut log = Vec::new();
        for part in words.list("log") {
            let (epoch, count) = part.split_once(':').expect("epoch:count");
            for counter in 1..=number(count) {
                let counter = counter.try_into().expect("a counter");
                let zxid = Zxid::new(Epoch(number(epoch)), counter);
                log.push(Proposal { zxid, record: zxid.to_string().into_bytes().into() });
            }
        }
        let last = log.last().map_or(Epoch(0), |last| last.zxid.epoch());
        let current = Epoch(words.number_or("epoch", last.0));
        let accepted = Epoch(words.number_or("accepted", current.0));
        let (unflushed, unpersisted) = (Vec::new(), Vec::new());
        let has_old_snapshot = words.keys.get("cuts") != Some(&"no");
        let tree = Vec::new();
        Self { log, unflushed, accepted, current, unpersisted, has_old_snapshot, tree }
    }

    pub(crate) fn crash(&mut self) {
        self.unflushed.clear();
        self.unpersisted.clear();
    }

    pub(crate) fn recover(&mut self) {
        self.tree.clone_from(&self.log);
    }

    pub(crate) fn standing(&self) -> Standing {
        let Self { accepted, current, .. } = *self;
        Standing { accepted, current, last_logged: self.last_logged() }
    }

    pub(crate) fn recent(&self, max: usize) -> Vec<Proposal> {
        self.log[self.log.len().saturating_sub(max)..].to_vec()
    }

    pub(crate) fn last_logged(&self) -> Zxid {
        let last = self.unflushed.last().or(self.log.last());
        last.map_or(Zxid::ZERO, |last| last.zxid)
    }

    pub(crate) fn last_applied(&self) -> Zxid {
        self.tree.last().map_or(Zxid::ZERO, |last| last.zxid)
    }

    pub(crate) fn applied(&self) -> Vec<Proposal> {
        self.tree.clone()
    }

    pub(crate) fn tree(&self) -> &[Proposal] {
        &self.tree
    }

    pub(crate) fn log(&self) -> &[Proposal] {
        &self.log
    }

    pub(crate) fn append(&mut self, proposal: Proposal) {
        assert!(proposal.zxid > self.last_logged(), "a log is in zxid order");
        self.unflushed.push(proposal);
    }

    pub(crate) fn persist(&mut self, record: EpochRecord) {
        self.unpersisted.push(record);
    }

    /// Everything is on the disk; what the core is told.
    pub(crate) fn flush(&mut self) -> Vec<Input> {
        let mut told = Vec::new();
        if let Some(last) = self.unflushed.last() {
            told.push(Input::Durable(last.zxid));
        }
        self.log.append(&mut self.unflushed);
        for record in self.unpersisted.drain(..) {
            match record {
                EpochRecord::Accepted(epoch) => self.accepted = epoch,
                EpochRecord::Current(epoch) => self.current = epoch,
            }
            told.push(Input::Persisted(record));
        }
        told
    }

    pub(crate) fn apply(&mut self, proposal: &Proposal) {
        self.tree.push(proposal.clone());
    }

    pub(crate) fn truncate(&mut self, to: Zxid) -> Input {
        assert!(self.unflushed.is_empty(), "nothing is appended while the log is cut");
        if !self.has_old_snapshot {
            return Input::NotRebuilt;
        }
        self.log.retain(|proposal| proposal.zxid <= to);
        self.recover();
        Input::Rebuilt { last: self.last_logged() }
    }

    /// A snapshot took the place of everything.
    pub(crate) fn replace(&mut self, history: Vec<Proposal>) -> Zxid {
        self.log = history;
        self.recover();
        self.last_logged()
    }

    /// From the last that is not after `from`, to `upto`.
    pub(crate) fn read(&self, from: Zxid, upto: Zxid) -> Option<Vec<Proposal>> {
        let after = self.log.partition_point(|proposal| proposal.zxid <= from);
        let start = after.checked_sub(1)?;
        let end = self.log.partition_point(|proposal| proposal.zxid <= upto);
        Some(self.log[start..end].to_vec())
    }
}
