//! FOLLOWING and OBSERVING: one term of this server under a leader.
//!
//! It dials the elected leader, a few times if need be, and lives as long as that link: whatever
//! goes wrong with it, the server looks for a leader again, with all of its log applied.
//!
//! INVARIANT: `ACKEPOCH` follows the accepted epoch on disk; the `ACK` of `NEWLEADER` follows the
//! history on disk, then the current epoch on disk (ZOOKEEPER-3911, 4643, 4646, 4785); the `ACK`
//! of a proposal follows its flush; a txn is applied once it is both committed and on disk, so
//! the tree is never ahead of the log (ZOOKEEPER-2355, 5094).
//! Source: `Learner`, `Follower`, `Observer`.

mod link;
mod tail;

use super::context::Context;
use super::{EpochRecord, LinkId, Output, Why};
use crate::ids::{Epoch, Millis, ServerId, Zxid};
use crate::limits::DIAL_PAUSES_MS;
use crate::wire::quorum::Packet;
use link::Link;

/// See the module.
#[derive(Debug)]
pub(super) struct Learner {
    leader: ServerId,
    contact: Contact,
}

#[derive(Debug)]
enum Contact {
    /// An attempt to connect is under way.
    Dialing(Attempts),
    /// The next one is to come.
    Resting(Attempts, Millis),
    /// It is connected.
    Linked(Box<Link>),
}

#[derive(Clone, Copy, Debug)]
struct Attempts {
    made: usize,
    give_up_at: Millis,
}

impl Learner {
    /// This server is to learn from `leader`.
    pub(super) fn new(leader: ServerId, context: &mut Context<'_>) -> Self {
        let give_up_at = context.after(context.config.timing.connect_ms());
        let contact = dial(leader, Attempts { made: 0, give_up_at }, context);
        Self { leader, contact }
    }

    /// Its leader.
    pub(super) const fn leader(&self) -> ServerId {
        self.leader
    }

    /// The epoch, once it is up to date.
    pub(super) fn established(&self) -> Option<Epoch> {
        self.link().and_then(Link::established)
    }

    /// The link to the leader, once it stands.
    pub(super) fn link_id(&self) -> Option<LinkId> {
        self.link().map(|link| link.id)
    }

    /// Whether it takes another packet of its leader's.
    pub(super) fn is_reading(&self) -> bool {
        self.link().is_none_or(Link::is_reading)
    }

    fn link(&self) -> Option<&Link> {
        match &self.contact {
            Contact::Linked(link) => Some(link),
            Contact::Dialing(_) | Contact::Resting(..) => None,
        }
    }

    fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        match &mut self.contact {
            Contact::Linked(link) if link.id == id => Some(link),
            Contact::Linked(_) | Contact::Dialing(_) | Contact::Resting(..) => None,
        }
    }

    /// When [`Self::on_time`] has something to do.
    pub(super) fn deadline(&self) -> Option<Millis> {
        match &self.contact {
            Contact::Dialing(_) => None,
            Contact::Resting(_, until) => Some(*until),
            Contact::Linked(link) => link.silent_at(),
        }
    }

    /// Time has passed.
    ///
    /// # Errors
    /// The leader is silent.
    pub(super) fn on_time(&mut self, context: &mut Context<'_>) -> Result<(), Why> {
        match &self.contact {
            Contact::Resting(attempts, until) if *until <= context.now => {
                self.contact = dial(self.leader, *attempts, context);
            }
            Contact::Linked(link) if link.silent_at().is_some_and(|at| at <= context.now) => {
                return Err(Why::Silent { limit_ms: link.limit_ms() });
            }
            Contact::Dialing(_) | Contact::Resting(..) | Contact::Linked(_) => {}
        }
        Ok(())
    }

    /// The leader is connected.
    pub(super) fn on_leader_up(&mut self, id: LinkId, context: &mut Context<'_>) {
        match self.contact {
            Contact::Dialing(_) => {
                self.contact = Contact::Linked(Box::new(Link::new(id, context)));
            }
            Contact::Resting(..) | Contact::Linked(_) => context.close(id, Why::LeftLeader),
        }
    }

    /// The leader is not connected: it may not have opened its port yet.
    ///
    /// # Errors
    /// It was tried often enough.
    pub(super) fn on_unreachable(&mut self, context: &Context<'_>) -> Result<(), Why> {
        let Contact::Dialing(attempts) = self.contact else { return Ok(()) };
        let pause_ms = DIAL_PAUSES_MS.get(attempts.made - 1);
        let until = pause_ms.map(|ms| context.after(*ms)).filter(|it| *it < attempts.give_up_at);
        let until = until.ok_or(Why::Unreachable(self.leader))?;
        self.contact = Contact::Resting(attempts, until);
        Ok(())
    }

    /// # Errors
    /// It was the leader's.
    pub(super) fn on_link_down(&self, id: LinkId) -> Result<(), Why> {
        if self.link_id() == Some(id) { Err(Why::LinkDown) } else { Ok(()) }
    }

    /// # Errors
    /// The leader is to be left.
    pub(super) fn on_packet(
        &mut self,
        id: LinkId,
        packet: Packet,
        context: &mut Context<'_>,
    ) -> Result<(), Why> {
        match self.link_mut(id) {
            Some(link) => link.on_packet(packet, context).map_err(Why::Fault),
            None => Ok(()),
        }
    }

    pub(super) fn on_snapshot_moved(&mut self, id: LinkId, context: &Context<'_>) {
        if let Some(link) = self.link_mut(id) {
            link.heard(context);
        }
    }

    /// # Errors
    /// The leader is to be left.
    pub(super) fn on_rebuilt(&mut self, last: Zxid, context: &mut Context<'_>) -> Result<(), Why> {
        match &mut self.contact {
            Contact::Linked(link) => link.on_rebuilt(last, context).map_err(Why::Fault),
            Contact::Dialing(_) | Contact::Resting(..) => panic!("nothing was to be rebuilt"),
        }
    }

    pub(super) fn on_persisted(&mut self, what: EpochRecord, context: &mut Context<'_>) {
        match &mut self.contact {
            Contact::Linked(link) => link.on_persisted(what, context),
            Contact::Dialing(_) | Contact::Resting(..) => panic!("no epoch was to be kept"),
        }
    }

    pub(super) fn on_durable(&mut self, upto: Zxid, context: &mut Context<'_>) {
        context.history.flushed(upto);
        let Contact::Linked(link) = &mut self.contact else { return };
        link.on_durable(upto, context);
        context.history.apply(context.out);
        link.answer(context);
    }

    /// Something the sessions say.
    pub(super) fn say(&self, id: LinkId, packet: Packet, context: &mut Context<'_>) {
        if self.link().is_some_and(|link| link.id == id && link.is_in_broadcast()) {
            context.send(id, packet);
        }
    }

    /// The term is over.
    pub(super) fn end(&self, why: &Why, context: &mut Context<'_>) {
        if let Some(id) = self.link_id().filter(|_| *why != Why::LinkDown) {
            context.close(id, why.clone());
        }
    }
}

fn dial(leader: ServerId, attempts: Attempts, context: &mut Context<'_>) -> Contact {
    let timeout_ms = attempts.give_up_at.0.saturating_sub(context.now.0).max(1);
    context.out.push(Output::DialLeader { leader, timeout_ms });
    Contact::Dialing(Attempts { made: attempts.made + 1, ..attempts })
}
