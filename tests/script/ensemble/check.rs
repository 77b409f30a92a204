//! What must hold after every step, whatever a story does.

use std::collections::{BTreeMap, BTreeSet};

use ringkeeper::ids::{Epoch, ServerId};
use ringkeeper::zab::Proposal;

use super::disk::Disk;

/// See the module.
#[derive(Default)]
pub(crate) struct Checks {
    /// What some server in service has applied, or an established leader began with.
    decided: Vec<Proposal>,
    leaders: BTreeMap<Epoch, ServerId>,
    serving: BTreeSet<ServerId>,
}

impl Checks {
    /// A role is established. A leader has everything that was ever decided, and is the only one of
    /// its epoch.
    pub(crate) fn served(&mut self, server: ServerId, epoch: Epoch, leads: bool, disk: &Disk) {
        self.serving.insert(server);
        if leads {
            let known = *self.leaders.entry(epoch).or_insert(server);
            assert_eq!(known, server, "two leaders in epoch {}", epoch.0);
            let (has, all) = (disk.tree().len(), self.decided.len());
            assert!(has >= all, "leader {server} lacks {:?}", &self.decided[has..]);
        }
    }

    pub(crate) fn rested(&mut self, server: ServerId) {
        self.serving.remove(&server);
    }

    pub(crate) fn stopped(&mut self, server: ServerId) {
        self.serving.remove(&server);
    }

    /// After a step of one server.
    pub(crate) fn check(&mut self, server: ServerId, disk: &Disk) {
        let tree = disk.tree();
        assert!(disk.log().starts_with(tree), "server {server}: its tree is not as its log");
        if !self.serving.contains(&server) {
            return;
        }
        let common = tree.len().min(self.decided.len());
        let both = tree.iter().zip(&self.decided);
        let other = both.clone().find(|(own, decided)| own != decided);
        assert_eq!(other, None, "server {server} differs from what was decided");
        self.decided.extend_from_slice(&tree[common..]);
    }
}
