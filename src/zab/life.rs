//! One server's life: the role it has, and what becomes of each input in it.

use super::config::{Config, Standing};
use super::election::{Election, History, Rules};
use super::leader::Leader;
use super::quorum::Quorum;
use super::{Input, Output, Proposal, election};
use crate::ids::{Epoch, Millis, ServerId, Zxid};
use crate::wire::election::{PeerState, Vote};

/// One server's part in the protocol, for its whole life.
#[derive(Debug)]
pub struct Zab {
    /// A standalone server has none.
    election: Option<Election>,
    role: Role,
}

#[derive(Debug)]
enum Role {
    Looking,
    Leading(Box<Leader>),
}

impl Zab {
    /// An ensemble of one, whose log ends at `last`: it leads from the start, in the epoch of its
    /// log, and neither votes nor knows of epochs' files.
    pub fn standalone(last: Zxid, out: &mut Vec<Output>) -> Self {
        out.push(Output::Serve { epoch: last.epoch(), to_clients: true });
        let leader = Leader::new(ServerId(0), Quorum::of_one(), last);
        Self { election: None, role: Role::Leading(Box::new(leader)) }
    }

    /// A member of an ensemble that starts, and looks for a leader. All of its log is durable and
    /// applied; `recent` is the end of it, ascending and without a gap.
    pub fn new(
        config: &Config,
        standing: Standing,
        _recent: Vec<Proposal>,
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
        let history = History { last_logged: standing.last_logged, epoch: standing.current };
        let mut elected = Vec::new();
        let election = Election::new(rules, history, now, &mut elected);
        out.extend(elected.into_iter().map(Output::Election));
        Self { election: Some(election), role: Role::Looking }
    }

    /// Takes one input; appends what it asks for to `out`.
    ///
    /// # Panics
    /// If a proposal's zxid is not the next one, or the disk reports what it was not asked for:
    /// bugs of the caller, after which no order could be promised.
    pub fn step(&mut self, now: Millis, input: Input, out: &mut Vec<Output>) {
        match (&mut self.role, input) {
            (Role::Leading(leader), Input::Propose(proposal)) => leader.propose(proposal, out),
            (Role::Leading(leader), Input::Durable(upto)) => leader.on_durable(upto, out),
            (Role::Looking | Role::Leading(_), input) => self.elect(now, &input, out),
        }
    }

    fn elect(&mut self, now: Millis, input: &Input, out: &mut Vec<Output>) {
        let Some(election) = &mut self.election else { return };
        let mut elected: Vec<election::Output> = Vec::new();
        if let Input::Notified { from, ballot } = *input {
            election.on_notification(from, ballot, now, &mut elected);
        } else if let Input::ElectionUp(peer) = *input {
            election.on_connected(peer, &mut elected);
        } else if let Input::ElectionDown(peer) = *input {
            election.on_disconnected(peer);
        } else if *input == Input::Time {
            election.on_time(now, &mut elected);
        }
        out.extend(elected.into_iter().map(Output::Election));
    }

    /// When [`Input::Time`] is due; `None` as long as nothing is waited for.
    pub fn deadline(&self) -> Option<Millis> {
        self.election.as_ref().and_then(Election::deadline)
    }

    /// What this server is doing.
    pub fn state(&self) -> PeerState {
        self.election.as_ref().map_or(PeerState::Leading, Election::state)
    }

    /// Its vote; a standalone server has none.
    pub fn vote(&self) -> Option<Vote> {
        self.election.as_ref().map(Election::vote)
    }

    /// The epoch it serves in; `None` while it does not serve.
    pub fn epoch(&self) -> Option<Epoch> {
        self.next_zxid().map(Zxid::epoch)
    }

    /// The zxid that the next proposal must have; `None` if this server proposes nothing: it does
    /// not lead, is not established, or its counter is spent.
    pub fn next_zxid(&self) -> Option<Zxid> {
        match &self.role {
            Role::Leading(leader) => Some(leader.next_zxid()),
            Role::Looking => None,
        }
    }

    /// The last proposal's zxid.
    pub fn last_proposed(&self) -> Zxid {
        match &self.role {
            Role::Leading(leader) => leader.last_proposed(),
            Role::Looking => Zxid::ZERO,
        }
    }

    /// How many proposals were appended and are not committed, or not yet durable: what the log's
    /// queue has to have room for.
    pub fn outstanding(&self) -> usize {
        match &self.role {
            Role::Leading(leader) => leader.outstanding(),
            Role::Looking => 0,
        }
    }

    /// Whether a learner takes another packet of its leader's: not while its tree is rebuilt, or
    /// its disk is far behind. Its socket is not read until then.
    pub fn is_reading(&self) -> bool {
        true
    }
}
