//! Carries out what the core wants done.

use std::sync::Arc;
use std::time::Duration;

use super::ZabStage;
use crate::error::{ExitCode, Fatal};
use crate::stage::log::LogAsk;
use crate::stage::peers::Peers;
use crate::stage::storage::StorageAsk;
use crate::wire::quorum::Packet;
use crate::zab::{Input, LinkId, Output, Why};

impl ZabStage {
    /// Gives the core an input, and carries out what it answers as far as that can be done now.
    pub(super) fn step(&mut self, input: Input) {
        let mut fresh = std::mem::take(&mut self.fresh);
        let committed = self.committed_as_leader();
        self.zab.step(self.now, input, &mut fresh);
        if let Some(committed) = committed {
            self.count_quorum_acks(committed);
        }
        if self.is_carrying_out || !self.outputs.is_empty() {
            self.outputs.extend(fresh.drain(..));
        } else {
            self.carry_out_fresh(&mut fresh);
        }
        self.fresh = fresh; // for its capacity
        self.carry_out();
    }

    /// [`Self::carry_out`] where nothing waits: most often none of these has to, either.
    fn carry_out_fresh(&mut self, fresh: &mut Vec<Output>) {
        self.is_carrying_out = true;
        let mut fresh = fresh.drain(..);
        while let Some(output) = fresh.next() {
            if self.has_to_wait(&output) {
                let led_to = std::mem::take(&mut self.outputs);
                self.outputs.push_back(output);
                self.outputs.extend(fresh.chain(led_to));
                break;
            }
            self.carry_out_one(output);
        }
        self.is_carrying_out = false;
    }

    /// In their order, up to one that has to wait. What these lead to comes behind them.
    pub(super) fn carry_out(&mut self) {
        if self.is_carrying_out {
            return;
        }
        self.is_carrying_out = true;
        while let Some(output) = self.outputs.pop_front() {
            if self.has_to_wait(&output) {
                self.outputs.push_front(output);
                break;
            }
            self.carry_out_one(output);
        }
        self.is_carrying_out = false;
    }

    /// What has to do with the tree needs it as of all commits before; an append needs room.
    fn has_to_wait(&self, output: &Output) -> bool {
        match output {
            Output::Append(_) => self.parts.log.room() == 0,
            Output::SendSnapshot { .. }
            | Output::ReceiveSnapshot { .. }
            | Output::Truncate { .. }
            | Output::Serve { .. }
            | Output::Rest(_) => !self.committed.is_empty(),
            // A client that has synced, or moved, finds all applied that was committed before.
            Output::Pass { packet: Packet::Sync | Packet::Revalidated { .. }, .. } => {
                !self.committed.is_empty()
            }
            Output::Election(_)
            | Output::Listen
            | Output::Unlisten
            | Output::DialLeader { .. }
            | Output::Send(..)
            | Output::Close(..)
            | Output::Commit(_)
            | Output::Persist(_)
            | Output::Pass { .. }
            | Output::ReadLog { .. } => false,
        }
    }

    fn carry_out_one(&mut self, output: Output) {
        match output {
            Output::Append(proposal) => {
                let pushed = self.parts.log.push(LogAsk::Append(proposal));
                assert!(pushed.is_ok(), "there was room a moment ago");
                self.is_appending = true;
            }
            Output::Commit(proposal) => self.committed.push_back(proposal),
            Output::Election(output) => self.carry_out_election(output),
            Output::Listen => self.peers(|peers, _| peers.listen_quorum()),
            Output::Unlisten => self.peers(Peers::unlisten_quorum),
            Output::DialLeader { leader, timeout_ms } => {
                let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
                self.peers(|peers, reactor| peers.dial_leader(leader, timeout, reactor));
            }
            Output::Send(link, packet) => self.send_packet(link, &packet),
            Output::Close(link, why) => self.close_link(link, &why),
            Output::Persist(record) => self.ask_storage(StorageAsk::Persist(record)),
            Output::Truncate { to } => {
                self.set_rebuilding(true);
                self.ask_storage(StorageAsk::Truncate(to));
            }
            Output::ReceiveSnapshot { link, zxid } => self.receive_snapshot(link, zxid),
            Output::SendSnapshot { link } => self.send_snapshot(link),
            Output::ReadLog { link, from, upto, bytes_max } => {
                self.read_log(link, from, upto, bytes_max);
            }
            Output::Pass { link, packet } => self.on_passed(link, packet),
            Output::Serve { epoch, to_clients } => self.serve(epoch, to_clients),
            Output::Rest(why) => self.rest(&why),
        }
    }

    fn close_link(&mut self, link: LinkId, why: &Why) {
        let peer = self.member.as_ref().map(|member| member.name_of(link)).unwrap_or_default();
        if matches!(why, Why::LinkDown | Why::LeftLeader | Why::NotLeading) {
            tracing::info!("Closing connection to {peer}: {why}");
        } else {
            tracing::warn!("Closing connection to {peer}: {why}");
        }
        self.forget_link(link);
        self.peers(|peers, reactor| peers.close(link, reactor));
    }

    /// The storage thread answers each ask; there are never more than it has room for.
    pub(super) fn ask_storage(&mut self, ask: StorageAsk) {
        let Some(member) = &self.member else { return };
        if member.storage.try_send(ask).is_err() {
            let shared = Arc::clone(&self.parts.shared);
            shared.fail(Fatal::new(ExitCode::Unexpected, "the storage thread does not take asks"));
        }
    }
}
