//! One server whose peers and disk are played by a test, a packet at a time.

use ringkeeper::ids::{Epoch, Millis, Round, ServerId, Zxid};
use ringkeeper::wire::election::{PeerState, Vote};
use ringkeeper::wire::quorum::{LearnerInfo, PROTOCOL_VERSION, Packet};
use ringkeeper::zab::election::Ballot;
use ringkeeper::zab::{
    Config, EpochRecord, Input, LinkId, Mutations, Output, Proposal, Quorum, Rule, Standing,
    Timing, Zab,
};

/// The link of a learner to its leader.
pub(crate) const UP: LinkId = LinkId(100);

/// See the module. Server 3 of the voters 1, 2, 3 unless it is made otherwise.
pub(crate) struct Lone {
    pub(crate) zab: Zab,
    pub(crate) now: i64,
}

/// Of epoch 1: what there was when the story begins.
pub(crate) fn old(counter: u32) -> Zxid {
    Zxid::new(Epoch(1), counter)
}

/// Of epoch 2: the story's.
pub(crate) fn new(counter: u32) -> Zxid {
    Zxid::new(Epoch(2), counter)
}

pub(crate) fn proposal(zxid: Zxid) -> Proposal {
    Proposal { zxid, record: zxid.to_string().into_bytes().into() }
}

pub(crate) fn proposed(zxid: Zxid) -> Packet {
    Packet::Proposal { zxid, record: proposal(zxid).record }
}

pub(crate) fn commit(zxid: Zxid) -> Packet {
    Packet::Commit { zxid }
}

pub(crate) fn ack(zxid: Zxid) -> Packet {
    Packet::Ack { zxid }
}

pub(crate) fn new_leader() -> Packet {
    Packet::NewLeader { zxid: new(0), config: Some("version=0".into()) }
}

pub(crate) const ACCEPTED: EpochRecord = EpochRecord::Accepted(Epoch(2));
pub(crate) const CURRENT: EpochRecord = EpochRecord::Current(Epoch(2));

fn config(me: i64, voters: i64, mutations: Mutations) -> Config {
    Config {
        me: ServerId(me),
        is_observer: me > voters,
        quorum: Quorum::new(Rule::majority((1..=voters).map(ServerId)).expect("sound")),
        text: "version=0".into(),
        version: 0,
        timing: Timing {
            tick_ms: 1000,
            init_limit: 10,
            sync_limit: 5,
            connect_limit: 0,
            interval_ms_min: 200,
            interval_ms_max: 60_000,
        },
        recent_max: 500,
        reads_log: true,
        leader_serves: true,
        counter_max: 5,
        mutations,
    }
}

impl Lone {
    /// A server that looks; its log ends with 0x100000005, and so do those of its peers.
    pub(crate) fn looking(me: i64, voters: i64, mutations: Mutations) -> Self {
        let standing = Standing { accepted: Epoch(1), current: Epoch(1), last_logged: old(5) };
        Self::with(config(me, voters, mutations), standing)
    }

    pub(crate) fn with(config: Config, standing: Standing) -> Self {
        let recent = (4..=5).map(|counter| proposal(old(counter))).collect();
        let zab = Zab::new(config, standing, recent, Millis(0), &mut Vec::new());
        let mut lone = Self { zab, now: 0 };
        for peer in 1..=9 {
            lone.step(Input::ElectionUp(ServerId(peer)));
        }
        lone
    }

    pub(crate) fn step(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.zab.step(Millis(self.now), input, &mut out);
        out
    }

    pub(crate) fn hears(&mut self, link: LinkId, packet: Packet) -> Vec<Output> {
        self.step(Input::Packet { link, packet })
    }

    pub(crate) fn durable(&mut self, upto: Zxid) -> Vec<Output> {
        self.step(Input::Durable(upto))
    }

    pub(crate) fn persisted(&mut self, what: EpochRecord) -> Vec<Output> {
        self.step(Input::Persisted(what))
    }

    pub(crate) fn at(&mut self, now: i64) -> Vec<Output> {
        self.now = now;
        self.step(Input::Time)
    }

    /// A voter is for this leader.
    pub(crate) fn vote(&mut self, from: i64, leader: i64, state: PeerState) -> Vec<Output> {
        let round = Round(1);
        let vote = Vote { leader: ServerId(leader), zxid: old(5), round, epoch: Epoch(1) };
        let ballot = Ballot { state, vote, version: 2 };
        self.step(Input::Notified { from: ServerId(from), ballot })
    }

    /// Everybody else is for this leader, and nobody better is heard of.
    pub(crate) fn elect(&mut self, leader: i64, voters: i64) -> Vec<Output> {
        for voter in 1..=voters {
            self.vote(voter, leader, PeerState::Looking);
        }
        self.at(self.now + 200)
    }

    /// Server 3 of as many voters, elected.
    pub(crate) fn leading(voters: i64, mutations: Mutations) -> Self {
        let mut lone = Self::looking(voters, voters, mutations);
        lone.elect(voters, voters);
        lone
    }

    /// A learner connects, on the link of its number, and introduces itself.
    pub(crate) fn joined(&mut self, learner: u32, is_observer: bool) -> Vec<Output> {
        let link = LinkId(learner.into());
        let mut out = self.step(Input::LinkUp(link));
        let info = LearnerInfo {
            server: Some(ServerId(learner.into())),
            protocol: Some(PROTOCOL_VERSION),
            config_version: Some(0),
        };
        let accepted = Epoch(1);
        out.extend(self.hears(
            link,
            if is_observer {
                Packet::ObserverInfo { accepted, info }
            } else {
                Packet::FollowerInfo { accepted, info }
            },
        ));
        out
    }

    pub(crate) fn promised(&mut self, learner: u64, last_logged: Zxid) -> Vec<Output> {
        let current = Some(Epoch(1));
        self.hears(LinkId(learner), Packet::AckEpoch { last_logged, current })
    }

    /// A leader in service with these followers.
    pub(crate) fn serving(voters: i64, followers: &[u32], mutations: Mutations) -> Self {
        let mut lone = Self::leading(voters, mutations);
        for follower in followers {
            lone.joined(*follower, false);
        }
        lone.persisted(ACCEPTED);
        for follower in followers {
            lone.promised(u64::from(*follower), old(5));
        }
        lone.persisted(CURRENT);
        for follower in followers {
            lone.hears(LinkId(u64::from(*follower)), ack(new(0)));
        }
        assert_eq!(lone.zab.epoch(), Some(Epoch(2)), "a quorum has its history");
        lone
    }

    pub(crate) fn propose(&mut self) -> Vec<Output> {
        let zxid = self.zab.next_zxid().expect("it serves");
        self.step(Input::Propose(proposal(zxid)))
    }

    /// Server 3, connected to leader 2.
    pub(crate) fn following(me: i64, mutations: Mutations) -> Self {
        let mut lone = Self::looking(me, 3, mutations);
        lone.vote(1, 2, PeerState::Following);
        let other = if me == 3 { PeerState::Leading } else { PeerState::Following };
        lone.vote(2, 2, PeerState::Leading);
        lone.vote(3, 2, other);
        lone.step(Input::LeaderUp(UP));
        lone
    }

    /// It looks again, and comes to leader 2, which opens this epoch.
    pub(crate) fn returns(&mut self, epoch: Epoch) -> Vec<Output> {
        self.vote(1, 2, PeerState::Following);
        self.vote(2, 2, PeerState::Leading);
        self.step(Input::LeaderUp(UP));
        self.hears(UP, Packet::LeaderInfo { epoch, protocol: PROTOCOL_VERSION })
    }

    /// Its leader's history is on its way.
    pub(crate) fn receiving(me: i64, mutations: Mutations) -> Self {
        let mut lone = Self::following(me, mutations);
        lone.hears(UP, Packet::LeaderInfo { epoch: Epoch(2), protocol: PROTOCOL_VERSION });
        lone.persisted(ACCEPTED);
        lone.hears(UP, Packet::Diff { zxid: old(5) });
        lone
    }

    /// It is up to date.
    pub(crate) fn learning(me: i64, mutations: Mutations) -> Self {
        let mut lone = Self::receiving(me, mutations);
        lone.hears(UP, new_leader());
        lone.persisted(CURRENT);
        lone.hears(UP, Packet::UpToDate);
        assert_eq!(lone.zab.epoch(), Some(Epoch(2)), "it is up to date");
        lone
    }
}
