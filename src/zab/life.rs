//! One server's life: the role it has, and what becomes of each input in it.

mod status;

use super::config::{Config, Standing};
use super::context::Context;
use super::election::{self, Ballot, Election, Rules};
use super::history::History;
use super::leader::Leader;
use super::learner::Learner;
use super::{Input, Output, Proposal, Why};
use crate::ids::{Millis, ServerId, Zxid};
use crate::limits::{FAILED_TERMS_FREE, REJOIN_PAUSE_MS};
use crate::wire::election::PeerState;
pub use status::LearnerStatus;

/// One server's part in the protocol, for its whole life.
#[derive(Debug)]
pub struct Zab {
    config: Config,
    history: History,
    /// A standalone server has none.
    election: Option<Election>,
    role: Role,
    /// Terms in a row that were not established.
    failed_terms: u32,
    /// When it looks again, at the earliest.
    rests_until: Millis,
    /// What the election put out in this step; empty between steps.
    elected: Vec<election::Output>,
}

#[derive(Debug)]
enum Role {
    /// The last role has ended; the disk may still owe an answer, or it is too soon.
    Settling,
    Looking,
    Leading(Box<Leader>),
    Learning(Box<Learner>),
}

impl Zab {
    /// An ensemble of one, whose log ends at `last`: it leads from the start, in the epoch of its
    /// log, and neither votes nor knows of epochs' files.
    pub fn standalone(last: Zxid, out: &mut Vec<Output>) -> Self {
        let config = Config::standalone();
        let epoch = last.epoch();
        let standing = Standing { accepted: epoch, current: epoch, last_logged: last };
        let mut zab = Self::with(config, standing, Vec::new(), None);
        let mut context = zab.context(Millis(0), out);
        let leader = Leader::alone(&mut context);
        zab.role = Role::Leading(Box::new(leader));
        zab
    }

    /// A member of an ensemble that starts, and looks for a leader. All of its log is durable and
    /// applied; `recent` is the end of it, ascending and without a gap.
    pub fn new(
        config: Config,
        standing: Standing,
        recent: Vec<Proposal>,
        now: Millis,
        out: &mut Vec<Output>,
    ) -> Self {
        let rules = Rules {
            me: config.me,
            is_observer: config.is_observer,
            quorum: config.quorum.clone(),
            interval_ms_min: config.timing.interval_ms_min,
            interval_ms_max: config.timing.interval_ms_max,
            mutations: config.mutations,
        };
        let of_election =
            election::History { last_logged: standing.last_logged, epoch: standing.current };
        let mut elected = Vec::new();
        let election = Election::new(rules, of_election, now, &mut elected);
        let mut zab = Self::with(config, standing, recent, Some(election));
        zab.elected = elected;
        zab.follow_election(now, out);
        zab
    }

    fn with(
        config: Config,
        standing: Standing,
        recent: Vec<Proposal>,
        election: Option<Election>,
    ) -> Self {
        let history = History::new(standing, recent, config.recent_max, config.mutations);
        Self {
            config,
            history,
            election,
            role: Role::Looking,
            failed_terms: 0,
            rests_until: Millis(0),
            elected: Vec::new(),
        }
    }

    fn context<'a>(&'a mut self, now: Millis, out: &'a mut Vec<Output>) -> Context<'a> {
        let Self { config, history, .. } = self;
        Context { config, history, now, out, established: None }
    }

    /// Takes one input; appends what it asks for to `out`.
    ///
    /// # Panics
    /// If a proposal's zxid is not the next one, or the disk reports what it was not asked for:
    /// bugs of the caller, after which no order could be promised.
    pub fn step(&mut self, now: Millis, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::ElectionUp(peer) => {
                if let Some(election) = &mut self.election {
                    election.on_connected(peer, &mut self.elected);
                }
            }
            Input::ElectionDown(peer) => {
                if let Some(election) = &mut self.election {
                    election.on_disconnected(peer, &mut self.elected);
                }
            }
            Input::Notified { from, ballot } => self.on_notified(from, ballot, now, out),
            Input::Time => {
                if let Some(election) = &mut self.election {
                    election.on_time(now, &mut self.elected);
                }
                self.play(now, Input::Time, out);
            }
            input @ (Input::LinkUp(_)
            | Input::LeaderUp(_)
            | Input::LeaderUnreachable
            | Input::LinkDown(_)
            | Input::Packet { .. }
            | Input::SnapshotMoved(_)
            | Input::Durable(_)
            | Input::Persisted(_)
            | Input::Rebuilt { .. }
            | Input::NotRebuilt
            | Input::LogRead { .. }
            | Input::Propose(_)
            | Input::Sync(_)
            | Input::Say { .. }) => self.play(now, input, out),
        }
        self.settle(now, out);
        self.follow_election(now, out);
    }

    fn on_notified(&mut self, from: ServerId, ballot: Ballot, now: Millis, out: &mut Vec<Output>) {
        let Some(election) = &mut self.election else { return };
        election.on_notification(from, ballot, now, &mut self.elected);
        let looks = ballot.state == PeerState::Looking
            && ballot.vote.round >= election.round()
            && self.config.quorum.is_voter(from);
        let Self { role, config, history, .. } = self;
        if let Role::Leading(leader) = role
            && looks
        {
            let context = Context { config, history, now, out, established: None };
            let ended = leader.on_looking(from, |voter| election.is_connected(voter), &context);
            self.leave_if(ended, now, out);
        }
    }

    /// Gives an input to the role.
    fn play(&mut self, now: Millis, input: Input, out: &mut Vec<Output>) {
        let Self { role, config, history, .. } = self;
        let mut context = Context { config, history, now, out, established: None };
        let played = match role {
            Role::Leading(leader) => lead(leader, input, &mut context),
            Role::Learning(learner) => learn(learner, input, &mut context),
            Role::Looking | Role::Settling => {
                rest(&input, &mut context);
                Ok(())
            }
        };
        if let Some(epoch) = context.established
            && let Some(election) = &mut self.election
        {
            election.establish(epoch);
        }
        self.leave_if(played, now, out);
    }

    /// Ends the role, if it has come to its end.
    fn leave_if(&mut self, played: Result<(), Why>, now: Millis, out: &mut Vec<Output>) {
        let Err(why) = played else { return };
        out.push(Output::Rest(why.clone()));
        self.failed_terms = match self.epoch() {
            Some(_) => 0,
            None => self.failed_terms.saturating_add(1),
        };
        self.rests_until = Millis(now.0.saturating_add(pause_ms(self.failed_terms)));
        let role = std::mem::replace(&mut self.role, Role::Settling);
        let mut context = self.context(now, out);
        match role {
            Role::Leading(mut leader) => leader.end(&mut context),
            Role::Learning(learner) => learner.end(&why, &mut context),
            Role::Looking | Role::Settling => unreachable!("these have no end of their own"),
        }
        if let Some(election) = &mut self.election {
            election.rest();
        }
    }

    /// Looks again, once the disk has everything.
    fn settle(&mut self, now: Millis, out: &mut Vec<Output>) {
        let is_due = self.rests_until <= now && self.history.is_settled();
        if !matches!(self.role, Role::Settling) || !is_due {
            return;
        }
        self.history.settle(out);
        self.role = Role::Looking;
        let history = election::History {
            last_logged: self.history.last_logged(),
            epoch: self.history.current(),
        };
        if let Some(election) = &mut self.election {
            election.look(history, now, &mut self.elected);
        }
    }

    /// Passes on what the election put out; begins a role if it is decided.
    fn follow_election(&mut self, now: Millis, out: &mut Vec<Output>) {
        let mut decided = None;
        for output in self.elected.drain(..) {
            if let election::Output::Decided { state, vote } = output {
                decided = Some((state, vote));
            }
            out.push(Output::Election(output));
        }
        let Some((state, vote)) = decided else { return };
        assert!(matches!(self.role, Role::Looking), "only who looks can be elected");
        let mut context = self.context(now, out);
        self.role = if state == PeerState::Leading {
            Role::Leading(Box::new(Leader::new(&mut context)))
        } else {
            Role::Learning(Box::new(Learner::new(vote.leader, &mut context)))
        };
    }

    /// When [`Input::Time`] is due; `None` as long as nothing is waited for.
    pub fn deadline(&self) -> Option<Millis> {
        let of_election = self.election.as_ref().and_then(Election::deadline);
        let of_role = match &self.role {
            Role::Leading(leader) => leader.deadline(),
            Role::Learning(learner) => learner.deadline(),
            Role::Settling if self.history.is_settled() => Some(self.rests_until),
            Role::Looking | Role::Settling => None,
        };
        of_election.into_iter().chain(of_role).min()
    }
}

/// A server that cannot join its leader, whatever the reason, does not try without end.
fn pause_ms(failed_terms: u32) -> i64 {
    let (first, max) = REJOIN_PAUSE_MS;
    match failed_terms.checked_sub(FAILED_TERMS_FREE + 1) {
        Some(doublings) => max.min(first.saturating_mul(1 << doublings.min(16))),
        None => 0,
    }
}

fn lead(leader: &mut Leader, input: Input, context: &mut Context<'_>) -> Result<(), Why> {
    match input {
        Input::Propose(proposal) => leader.propose(&proposal, context),
        Input::Durable(upto) => leader.on_durable(upto, context)?,
        Input::Packet { link, packet } => leader.on_packet(link, packet, context)?,
        Input::Say { link, packet } => leader.say(link, packet, context),
        Input::Sync(link) => leader.on_sync(link, context),
        Input::Time => leader.on_time(context)?,
        Input::LinkUp(link) => leader.on_link_up(link, context),
        Input::LinkDown(link) => leader.on_link_down(link, context),
        Input::SnapshotMoved(link) => leader.on_snapshot_moved(link, context),
        Input::LogRead { link, history } => leader.on_log_read(link, history, context),
        Input::Persisted(what) => {
            context.history.persisted(what);
            leader.on_persisted(what, context);
        }
        Input::LeaderUp(link) => context.close(link, Why::LeftLeader),
        Input::LeaderUnreachable
        | Input::Rebuilt { .. }
        | Input::NotRebuilt
        | Input::Notified { .. }
        | Input::ElectionUp(_)
        | Input::ElectionDown(_) => unexpected(&input),
    }
    Ok(())
}

fn learn(learner: &mut Learner, input: Input, context: &mut Context<'_>) -> Result<(), Why> {
    match input {
        Input::Packet { link, packet } => learner.on_packet(link, packet, context)?,
        Input::Durable(upto) => learner.on_durable(upto, context),
        Input::Say { link, packet } => learner.say(link, packet, context),
        Input::Time => learner.on_time(context)?,
        Input::LeaderUp(link) => learner.on_leader_up(link, context),
        Input::LeaderUnreachable => learner.on_unreachable(context)?,
        Input::LinkDown(link) => learner.on_link_down(link)?,
        Input::SnapshotMoved(link) => learner.on_snapshot_moved(link, context),
        Input::Persisted(what) => {
            context.history.persisted(what);
            learner.on_persisted(what, context);
        }
        Input::Rebuilt { last } => {
            context.history.rebuilt(last);
            learner.on_rebuilt(last, context)?;
        }
        Input::NotRebuilt => {
            context.history.not_rebuilt();
            return Err(Why::NotRebuilt);
        }
        Input::LinkUp(link) => context.close(link, Why::NotLeading),
        // Of an earlier term.
        Input::LogRead { .. } | Input::Sync(_) => {}
        Input::Propose(_)
        | Input::Notified { .. }
        | Input::ElectionUp(_)
        | Input::ElectionDown(_) => unexpected(&input),
    }
    Ok(())
}

/// Between two roles: the disk's answers still count, and nobody is connected.
fn rest(input: &Input, context: &mut Context<'_>) {
    match *input {
        Input::Durable(upto) => {
            context.history.flushed(upto);
            context.history.apply(context.out);
        }
        Input::Persisted(what) => context.history.persisted(what),
        Input::Rebuilt { last } => context.history.rebuilt(last),
        Input::NotRebuilt => context.history.not_rebuilt(),
        Input::LinkUp(link) => context.close(link, Why::NotLeading),
        Input::LeaderUp(link) => context.close(link, Why::LeftLeader),
        Input::Time
        | Input::LeaderUnreachable
        | Input::LinkDown(_)
        | Input::Packet { .. }
        | Input::SnapshotMoved(_)
        | Input::LogRead { .. }
        | Input::Sync(_)
        | Input::Say { .. } => {}
        Input::Propose(_)
        | Input::Notified { .. }
        | Input::ElectionUp(_)
        | Input::ElectionDown(_) => unexpected(input),
    }
}

fn unexpected(input: &Input) -> ! {
    panic!("nobody asked for {input:?}")
}
