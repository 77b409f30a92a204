//! What a role works with in one step: the configuration, this server's history, the time, and
//! where its outputs go.

use super::config::{Config, Mutation};
use super::history::History;
use super::{EpochRecord, LinkId, Output, Why};
use crate::ids::{Epoch, Millis};
use crate::wire::quorum::Packet;

/// Lent to a role for one step.
pub(super) struct Context<'a> {
    pub(super) config: &'a Config,
    pub(super) history: &'a mut History,
    pub(super) now: Millis,
    pub(super) out: &'a mut Vec<Output>,
    /// The role was established in this step.
    pub(super) established: Option<Epoch>,
}

impl Context<'_> {
    pub(super) fn send(&mut self, to: LinkId, packet: Packet) {
        self.out.push(Output::Send(to, packet));
    }

    pub(super) fn close(&mut self, link: LinkId, why: Why) {
        self.out.push(Output::Close(link, why));
    }

    pub(super) fn persist(&mut self, record: EpochRecord) {
        self.history.persist(record, self.out);
    }

    pub(super) fn serve(&mut self, epoch: Epoch, to_clients: bool) {
        self.established = Some(epoch);
        self.out.push(Output::Serve { epoch, to_clients });
    }

    /// So long from now.
    pub(super) const fn after(&self, ms: i64) -> Millis {
        Millis(self.now.0.saturating_add(ms))
    }

    pub(super) fn has(&self, mutation: Mutation) -> bool {
        self.config.mutations.has(mutation)
    }
}
