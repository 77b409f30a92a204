//! FOLLOWING and OBSERVING: one server's link to its leader, from the first packet on.
//!
//! A life is a chain of states, each spent by leaving it: discovering, promising an epoch, choosing
//! how to be synchronised, rebuilding, receiving, flushing, keeping the epoch, settling, broadcast.
//! What must be on disk before a packet may leave is asked for with an output, and the packet is
//! born where the answer comes in: an order that is not safe cannot be written here.
//!
//! INVARIANT: `ACKEPOCH` follows the accepted epoch on disk; the `ACK` of `NEWLEADER` follows the
//! history on disk, then the current epoch on disk (ZOOKEEPER-3911, 4643, 4646, 4785); the `ACK`
//! of a proposal follows its flush; a txn is applied once it is both committed and on disk, so
//! the tree is never ahead of the log (ZOOKEEPER-2355, 5094).
//! Source: `Learner.syncWithLeader`, `Follower`, `Observer`.

mod tail;

use std::sync::Arc;

use super::{EpochRecord, PeerFault, Proposal, Standing};
use crate::ids::{Epoch, ServerId, Zxid};
use crate::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, Packet};
use tail::Tail;

/// Who the learner is.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its id.
    pub me: ServerId,
    /// Whether it learns without a vote.
    pub is_observer: bool,
    /// Its committed configuration's.
    pub config_version: i64,
}

/// What the learner wants done, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// To the leader.
    Send(Packet),
    /// Make it durable; answer with [`Learner::on_persisted`].
    Persist(EpochRecord),
    /// A snapshot stream follows on the connection: put it in place of tree, log and snapshots,
    /// durably, and answer with [`Learner::on_rebuilt`]. No packet is read until then.
    ReceiveSnapshot {
        /// What it holds at least.
        zxid: Zxid,
    },
    /// Cut the log, and every snapshot, after this one (ZOOKEEPER-4837), durably; reload the tree;
    /// answer with [`Learner::on_rebuilt`]. No packet is read until then.
    Truncate {
        /// The last to keep.
        to: Zxid,
    },
    /// Log it; answer with [`Learner::on_durable`].
    Append(Proposal),
    /// Apply it.
    Commit(Proposal),
    /// The leader's last seen configuration.
    Config(Arc<str>),
    /// Serve clients; others are told of this epoch.
    Serve(Epoch),
    /// An answer to what the sessions asked, or a ping.
    Pass(Packet),
}

/// One link to a leader.
#[derive(Debug)]
pub struct Learner {
    member: Member,
    state: State,
    /// Outlives the link: what is in the log and not in the tree must not be forgotten.
    tail: Tail,
}

#[derive(Debug)]
enum State {
    Discovering(Standing),
    Promising(Promising),
    Choosing(Choosing),
    Rebuilding(Rebuilding),
    Receiving(Receiving),
    Flushing(Flushing),
    Keeping(Keeping),
    Settling(Settling),
    Broadcast,
    /// The leader was left.
    Left,
}

/// Waits for the accepted epoch to be on disk.
#[derive(Debug)]
struct Promising {
    epoch: Epoch,
    standing: Standing,
}

/// Waits for DIFF, TRUNC or SNAP.
#[derive(Debug)]
struct Choosing {
    epoch: Epoch,
}

/// Waits for the snapshot, or for the cut, to be on disk.
#[derive(Debug)]
struct Rebuilding {
    epoch: Epoch,
}

/// Takes the leader's history.
#[derive(Debug)]
struct Receiving {
    epoch: Epoch,
}

/// Has all of it, and waits for the disk to have it.
#[derive(Debug)]
struct Flushing {
    epoch: Epoch,
}

/// Waits for the current epoch to be on disk.
#[derive(Debug)]
struct Keeping {
    epoch: Epoch,
}

/// Has acked the history, and waits for a quorum of others to.
#[derive(Debug)]
struct Settling {
    epoch: Epoch,
}

impl Promising {
    /// The only place where an epoch is accepted.
    fn on_persisted(self, what: EpochRecord, out: &mut Vec<Output>) -> Choosing {
        assert_eq!(what, EpochRecord::Accepted(self.epoch), "what was asked for");
        let Standing { last_logged, current, .. } = self.standing;
        out.push(Output::Send(Packet::AckEpoch { last_logged, current: Some(current) }));
        Choosing { epoch: self.epoch }
    }
}

impl Choosing {
    fn on_packet(self, packet: Packet, out: &mut Vec<Output>) -> Result<State, PeerFault> {
        let Self { epoch } = self;
        let order = if let Packet::Diff { .. } = packet {
            return Ok(State::Receiving(Receiving { epoch }));
        } else if let Packet::Trunc { zxid } = packet {
            Output::Truncate { to: zxid }
        } else if let Packet::Snap { zxid } = packet {
            Output::ReceiveSnapshot { zxid }
        } else {
            return Err(PeerFault::Unexpected { state: "choosing", packet });
        };
        out.push(order);
        Ok(State::Rebuilding(Rebuilding { epoch }))
    }
}

impl Receiving {
    fn on_packet(
        self,
        packet: Packet,
        tail: &mut Tail,
        out: &mut Vec<Output>,
    ) -> Result<State, PeerFault> {
        let Packet::NewLeader { zxid, config } = packet else {
            tail.on_packet(packet, "receiving", out)?;
            tail.append_committed(out);
            return Ok(State::Receiving(self));
        };
        if zxid != Zxid::new(self.epoch, 0) {
            return Err(PeerFault::OtherEpoch(zxid));
        }
        // COMPAT: a byte is no configuration (`Learner.syncWithLeader`).
        out.extend(config.filter(|config| config.len() > 1).map(Output::Config));
        Ok(Flushing { epoch: self.epoch }.advance(tail, out))
    }
}

impl Flushing {
    /// The current epoch is asked for only once the history it stands for is on disk.
    fn advance(self, tail: &Tail, out: &mut Vec<Output>) -> State {
        if !tail.is_flushed() {
            return State::Flushing(self);
        }
        out.push(Output::Persist(EpochRecord::Current(self.epoch)));
        State::Keeping(Keeping { epoch: self.epoch })
    }
}

impl Keeping {
    /// The only place where a leader's history is acked.
    fn on_persisted(self, what: EpochRecord, tail: &Tail, out: &mut Vec<Output>) -> Settling {
        assert_eq!(what, EpochRecord::Current(self.epoch), "what was asked for");
        assert!(tail.is_flushed(), "the history is on disk");
        out.push(Output::Send(Packet::Ack { zxid: Zxid::new(self.epoch, 0) }));
        Settling { epoch: self.epoch }
    }
}

impl Settling {
    /// Proposals that came meanwhile take the usual way from here.
    fn on_packet(
        self,
        packet: Packet,
        tail: &mut Tail,
        out: &mut Vec<Output>,
    ) -> Result<State, PeerFault> {
        if packet != Packet::UpToDate {
            tail.on_packet(packet, "settling", out)?;
            return Ok(State::Settling(self));
        }
        out.push(Output::Send(Packet::Ack { zxid: Zxid::new(self.epoch, 0) }));
        out.push(Output::Serve(self.epoch));
        tail.append_all(out);
        Ok(State::Broadcast)
    }
}

impl Learner {
    /// A learner that is connected to its leader, and introduces itself.
    pub fn new(member: Member, standing: Standing, out: &mut Vec<Output>) -> Self {
        let info = LearnerInfo {
            server: Some(member.me),
            protocol: Some(PROTOCOL_VERSION),
            config_version: Some(member.config_version),
        };
        let accepted = standing.accepted;
        out.push(Output::Send(if member.is_observer {
            Packet::ObserverInfo { accepted, info }
        } else {
            Packet::FollowerInfo { accepted, info }
        }));
        let tail = Tail::new(standing.last_logged, member.is_observer);
        Self { member, state: State::Discovering(standing), tail }
    }

    /// A packet of the leader's.
    ///
    /// # Errors
    /// The leader is to be left: the connection is closed, and the server looks for a leader.
    ///
    /// # Panics
    /// If a packet is given while the snapshot or the cut is awaited, or after the leader was left.
    pub fn on_packet(&mut self, packet: Packet, out: &mut Vec<Output>) -> Result<(), PeerFault> {
        let tail = &mut self.tail;
        self.state = match std::mem::replace(&mut self.state, State::Left) {
            State::Discovering(standing) => discovered(standing, packet, out)?,
            State::Choosing(choosing) => choosing.on_packet(packet, out)?,
            State::Receiving(receiving) => receiving.on_packet(packet, tail, out)?,
            State::Settling(settling) => settling.on_packet(packet, tail, out)?,
            State::Flushing(flushing) => {
                tail.on_packet(packet, "flushing", out)?;
                State::Flushing(flushing)
            }
            State::Keeping(keeping) => {
                tail.on_packet(packet, "keeping the epoch", out)?;
                State::Keeping(keeping)
            }
            State::Broadcast => {
                broadcast(packet, tail, out)?;
                State::Broadcast
            }
            State::Promising(_) => {
                return Err(PeerFault::Unexpected { state: "promising", packet });
            }
            State::Rebuilding(_) => panic!("no packet is read while the state is rebuilt"),
            State::Left => panic!("the leader was left"),
        };
        Ok(())
    }

    /// Tree, log and snapshots are what the leader wants, and end here.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn on_rebuilt(&mut self, last: Zxid) {
        let state = std::mem::replace(&mut self.state, State::Left);
        let State::Rebuilding(Rebuilding { epoch }) = state else {
            panic!("nothing was to be rebuilt")
        };
        self.tail = Tail::rebuilt(last, self.member.is_observer);
        self.state = State::Receiving(Receiving { epoch });
    }

    /// An epoch is on disk.
    ///
    /// # Panics
    /// If it is not the one that was asked for.
    pub fn on_persisted(&mut self, what: EpochRecord, out: &mut Vec<Output>) {
        self.state = match std::mem::replace(&mut self.state, State::Left) {
            State::Promising(promising) => State::Choosing(promising.on_persisted(what, out)),
            State::Keeping(keeping) => State::Settling(keeping.on_persisted(what, &self.tail, out)),
            // The disk answers after the leader was left.
            State::Left => State::Left,
            State::Discovering(_)
            | State::Choosing(_)
            | State::Rebuilding(_)
            | State::Receiving(_)
            | State::Flushing(_)
            | State::Settling(_)
            | State::Broadcast => panic!("no epoch was to be kept, and {what:?} was"),
        };
    }

    /// The log is durable up to here. Once the leader was left, nothing is acked any more.
    ///
    /// # Panics
    /// If it holds more than it was given.
    pub fn on_durable(&mut self, upto: Zxid, out: &mut Vec<Output>) {
        if matches!(self.state, State::Left) {
            self.tail.forget_acks();
        }
        self.tail.on_durable(upto, out);
        let state = std::mem::replace(&mut self.state, State::Left);
        self.state = if let State::Flushing(flushing) = state {
            flushing.advance(&self.tail, out)
        } else {
            state
        };
    }

    /// Whether the next packet may be given.
    pub fn is_reading(&self) -> bool {
        !matches!(self.state, State::Rebuilding(_) | State::Left)
    }

    /// The role ends, by a fault or because the connection is gone: what the log was given and the
    /// tree was not, in order. All of it is to be applied, once it is durable, before this server
    /// takes part in an election with the end of its log (ZOOKEEPER-2845).
    pub fn into_unapplied(mut self) -> Vec<Proposal> {
        self.tail.take_unapplied()
    }
}

fn discovered(
    standing: Standing,
    packet: Packet,
    out: &mut Vec<Output>,
) -> Result<State, PeerFault> {
    let Packet::LeaderInfo { epoch, protocol } = packet else {
        return Err(PeerFault::Unexpected { state: "discovering", packet });
    };
    if protocol < PROTOCOL_VERSION {
        return Err(PeerFault::Protocol(protocol));
    }
    let Standing { accepted, last_logged, .. } = standing;
    if epoch < accepted {
        return Err(PeerFault::StaleEpoch { proposed: epoch, accepted });
    }
    if epoch == accepted {
        // Accepted before, perhaps from another leader: this answer must not count.
        out.push(Output::Send(Packet::AckEpoch { last_logged, current: None }));
        return Ok(State::Choosing(Choosing { epoch }));
    }
    out.push(Output::Persist(EpochRecord::Accepted(epoch)));
    Ok(State::Promising(Promising { epoch, standing }))
}

fn broadcast(packet: Packet, tail: &mut Tail, out: &mut Vec<Output>) -> Result<(), PeerFault> {
    if let Packet::Ping { .. } = packet {
        out.push(Output::Pass(packet));
    } else {
        tail.on_packet(packet, "in broadcast", out)?;
    }
    tail.append_all(out);
    Ok(())
}

#[cfg(test)]
mod tests;
