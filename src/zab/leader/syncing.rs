//! A learner is brought up to date: the plan is carried out, in one step with the beginning of
//! forwarding, so that nothing falls between and nothing comes twice.
//! Source: `LearnerHandler.syncFollower`, `Leader.startForwarding`.

use super::broadcast::proposed;
use super::link::{Membership, Stage};
use super::sync::{Logged, Offer, SyncPlan, plan};
use super::{Leader, LinkId, Output};
use crate::ids::Zxid;
use crate::limits::LOG_SYNC_BYTES_MAX;
use crate::wire::quorum::Packet;
use crate::zab::Proposal;
use crate::zab::config::Mutation;
use crate::zab::context::Context;

impl Leader {
    /// The log was read for a learner, or cannot be.
    pub(in crate::zab) fn on_log_read(
        &mut self,
        id: LinkId,
        history: Option<Vec<Proposal>>,
        context: &mut Context<'_>,
    ) {
        if self.links.get(&id).is_some_and(|link| matches!(link.stage, Stage::Reading(_))) {
            self.sync(id, Some(history.unwrap_or_default()), context);
            context.history.release();
        }
    }

    /// Decides on a learner's sync, and carries it out. `logged` is what was read for it from the
    /// log, if it was; nothing if that was of no use.
    pub(super) fn sync(
        &mut self,
        id: LinkId,
        logged: Option<Vec<Proposal>>,
        context: &mut Context<'_>,
    ) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (Stage::Promised(last) | Stage::Reading(last)) = link.stage else { return };
        let (membership, server) = (link.membership, link.server);
        let after = match decide(last, logged.as_deref(), context) {
            SyncPlan::ReadLog { from } => {
                link.enter(Stage::Reading(last), context);
                return read_log(id, from, context);
            }
            SyncPlan::Diff { after } => {
                let zxid = context.history.last_committed();
                context.send(id, Packet::Diff { zxid });
                after
            }
            SyncPlan::Trunc { to } => {
                context.send(id, Packet::Trunc { zxid: to });
                to
            }
            SyncPlan::Snap => {
                let zxid = context.history.last_applied();
                context.send(id, Packet::Snap { zxid });
                context.out.push(Output::SendSnapshot { link: id });
                zxid
            }
        };
        link.enter(Stage::Syncing, context);
        if let Some(server) = server {
            self.broadcast.withdraw_acks(server, context);
        }
        forward(id, membership, after, &logged.unwrap_or_default(), context);
        let epoch = self.discovery.open().expect("nobody is synced before it is open");
        let config = Some(context.config.text.clone());
        context.send(id, Packet::NewLeader { zxid: Zxid::new(epoch, 0), config });
    }
}

fn decide(last: Zxid, logged: Option<&[Proposal]>, context: &Context<'_>) -> SyncPlan {
    let recent: Vec<Zxid> = context.history.committed().map(|it| it.zxid).collect();
    let read: Vec<Zxid> = logged.unwrap_or_default().iter().map(|it| it.zxid).collect();
    let logged = match logged {
        Some([]) => Logged::Unusable,
        Some(_) => Logged::From(&read),
        None if context.config.reads_log => Logged::Unread,
        None => Logged::Unusable,
    };
    let mutations = context.config.mutations;
    let offer =
        Offer { last: context.history.last_committed(), recent: &recent, logged, mutations };
    plan(last, &offer)
}

/// Memory keeps what follows until the answer is there.
fn read_log(id: LinkId, from: Zxid, context: &mut Context<'_>) {
    context.history.hold();
    let oldest = context.history.committed().next().map(|oldest| oldest.zxid);
    let upto = oldest.unwrap_or_else(|| context.history.last_committed());
    context.out.push(Output::ReadLog { link: id, from, upto, bytes_max: LOG_SYNC_BYTES_MAX });
}

/// Everything that is committed after `after`, each with its commit, and for who acks proposals
/// what is outstanding.
fn forward(
    id: LinkId,
    membership: Membership,
    after: Zxid,
    logged: &[Proposal],
    context: &mut Context<'_>,
) {
    let Context { history, out, config, .. } = context;
    let oldest = history.committed().next().map_or(Zxid(i64::MAX), |oldest| oldest.zxid);
    let in_log = logged.iter().filter(|it| it.zxid < oldest);
    let is_forgetful = config.mutations.has(Mutation::ForwardWithoutCommitted);
    let upto = if is_forgetful { history.last_applied() } else { history.last_committed() };
    let decided = in_log.chain(history.committed()).filter(|it| it.zxid > after && it.zxid <= upto);
    for proposal in decided {
        out.push(Output::Send(id, proposed(proposal)));
        out.push(Output::Send(id, Packet::Commit { zxid: proposal.zxid }));
    }
    let is_hasty = config.mutations.has(Mutation::ForwardWithoutOutstanding);
    if membership == Membership::Participant && !is_hasty {
        let sent = history.uncommitted().map(|proposal| Output::Send(id, proposed(proposal)));
        out.extend(sent);
    }
}
