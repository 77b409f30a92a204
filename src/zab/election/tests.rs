use super::*;
use crate::zab::quorum::Rule;

const VOTERS: [i64; 3] = [1, 2, 3];

fn rules(me: i64) -> Rules {
    Rules {
        me: ServerId(me),
        is_observer: !VOTERS.contains(&me),
        quorum: Quorum::new(Rule::majority(VOTERS.map(ServerId)).unwrap()),
        interval_ms_min: 200,
        interval_ms_max: 60_000,
        mutations: Mutations::NONE,
    }
}

fn history(zxid: i64, epoch: i64) -> History {
    History { last_logged: Zxid(zxid), epoch: Epoch(epoch) }
}

/// A server with its peers, at time 0, connected to everybody.
struct Server {
    election: Election,
    out: Vec<Output>,
}

impl Server {
    fn with(rules: Rules, history: History) -> Self {
        let mut out = Vec::new();
        let mut election = Election::new(rules, history, Millis(0), &mut out);
        for peer in 1..=9 {
            election.on_connected(ServerId(peer), &mut out);
        }
        out.clear();
        Self { election, out }
    }

    fn new(me: i64) -> Self {
        Self::with(rules(me), history(5, 1))
    }

    fn hears(&mut self, from: i64, ballot: Ballot) -> Vec<Output> {
        self.hears_at(0, from, ballot)
    }

    fn hears_at(&mut self, now: i64, from: i64, ballot: Ballot) -> Vec<Output> {
        self.election.on_notification(ServerId(from), ballot, Millis(now), &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn at(&mut self, now: i64) -> Vec<Output> {
        self.election.on_time(Millis(now), &mut self.out);
        std::mem::take(&mut self.out)
    }
}

/// Of the round and epoch all of these servers are in, and their zxid.
fn vote(leader: i64) -> Vote {
    Vote { leader: ServerId(leader), zxid: Zxid(5), round: Round(1), epoch: Epoch(1) }
}

fn ballot(state: PeerState, vote: Vote) -> Ballot {
    answer(state, vote)
}

fn looking(leader: i64) -> Ballot {
    ballot(PeerState::Looking, vote(leader))
}

fn in_round(round: i64, ballot: Ballot) -> Ballot {
    Ballot { vote: Vote { round: Round(round), ..ballot.vote }, ..ballot }
}

fn sends(ballot: Ballot, to: &[i64]) -> Vec<Output> {
    to.iter().map(|to| Output::Send { to: ServerId(*to), ballot }).collect()
}

fn decided(state: PeerState, vote: Vote) -> Vec<Output> {
    vec![Output::Decided { state, vote }]
}

#[test]
fn a_better_vote_is_taken_over_and_a_quorum_is_final_after_a_wait() {
    let mut server = Server::new(1);
    assert_eq!(server.hears(2, looking(2)), sends(looking(2), &[2, 3]));
    assert_eq!(server.at(199), []);
    assert_eq!(server.at(200), decided(PeerState::Following, vote(2)));
    assert_eq!(server.election.deadline(), None);
    let mut server = Server::new(2);
    assert_eq!(server.hears(1, looking(2)), []);
    assert_eq!(server.at(200), decided(PeerState::Leading, vote(2)));
}

/// It may have begun to look only after this server's vote had come to it.
#[test]
fn who_wants_somebody_worse_in_this_round_is_told_at_once() {
    let mut server = Server::new(2);
    assert_eq!(server.hears(1, looking(1)), sends(looking(2), &[1]));
    assert_eq!(server.hears(1, looking(2)), [], "it wants the same now");
}

#[test]
fn epoch_then_zxid_then_id_make_a_vote_better() {
    let own = vote(2);
    let cases = [
        (Vote { epoch: Epoch(2), zxid: Zxid(0), leader: ServerId(1), ..own }, true),
        (Vote { epoch: Epoch(0), zxid: Zxid(9), leader: ServerId(3), ..own }, false),
        (Vote { zxid: Zxid(6), leader: ServerId(1), ..own }, true),
        (Vote { zxid: Zxid(4), leader: ServerId(3), ..own }, false),
        (Vote { zxid: Zxid(-2), leader: ServerId(3), ..own }, false),
        (vote(3), true),
        (vote(1), false),
        (own, false),
    ];
    for (new, expected) in cases {
        assert_eq!(rules(2).is_better(new, own), expected, "{new:?}");
    }
}

#[test]
fn a_better_vote_during_the_wait_reopens_the_election() {
    let mut server = Server::new(1);
    server.hears(2, looking(2));
    let better = sends(looking(3), &[2, 3]);
    assert_eq!(server.hears_at(150, 3, looking(3)), better);
    assert_eq!(server.at(200), [], "the wait begins again");
    assert_eq!(server.at(350), decided(PeerState::Following, vote(3)));
}

/// In Java each message begins the wait again, so a chatty peer can put off a decision for ever.
#[test]
fn nothing_but_a_better_vote_puts_off_a_decision() {
    let mut server = Server::new(1);
    server.hears(2, looking(2));
    for ballot in [looking(2), looking(1), looking(9), in_round(7, looking(1))] {
        server.hears_at(199, 2, ballot);
    }
    assert_eq!(server.at(200), decided(PeerState::Following, vote(2)));
}

#[test]
fn intervals_double_up_to_the_longest() {
    let mut server = Server::new(1);
    let mut now = 0;
    let mut intervals = vec![];
    for _ in 0..11 {
        now = server.election.deadline().expect("it looks").0;
        let mut out = server.at(now);
        let Some(Output::TimedOut { interval_ms }) = out.pop() else { panic!("{out:?}") };
        assert_eq!(out, sends(looking(1), &[2, 3]), "it tells its vote again");
        intervals.push(interval_ms);
    }
    let doubled = [400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000, 60_000];
    assert_eq!(intervals, doubled);
    server.hears_at(now + 5, 2, looking(1));
    assert!(server.election.deadline() < Some(Millis(now + 300)), "there is a quorum");
}

#[test]
fn who_is_not_connected_is_dialed_and_told_on_arrival() {
    let mut server = Server::new(1);
    server.election.on_disconnected(ServerId(3), &mut server.out);
    let out = server.hears(2, looking(3));
    let two = Output::Send { to: ServerId(2), ballot: looking(3) };
    assert_eq!(out, [two, Output::Dial(ServerId(3))]);
    server.election.on_connected(ServerId(3), &mut server.out);
    assert_eq!(server.out, sends(looking(3), &[3]), "what it wants now");
    assert!(is_kept(ServerId(2), ServerId(1)) && !is_kept(ServerId(1), ServerId(2)));
}

#[test]
fn who_is_missing_is_dialed_however_long_the_interval_has_become() {
    let mut server = Server::new(1);
    server.election.on_disconnected(ServerId(3), &mut server.out);
    let dials = |now: i64| (now, vec![Output::Dial(ServerId(3))]);
    let mut seen = Vec::new();
    while let Some(Millis(now)) = server.election.deadline().filter(|at| at.0 < 16_000) {
        let out = server.at(now);
        let only_dials = !out.iter().any(|it| matches!(it, Output::TimedOut { .. }));
        seen.extend(only_dials.then_some((now, out)));
    }
    assert_eq!(seen, [2000, 4000, 6000, 8000, 10_000, 12_000, 14_000].map(dials));
}

#[test]
fn a_later_round_begins_the_count_again() {
    let mut server = Server::new(2);
    let later = in_round(4, looking(2));
    assert_eq!(server.hears(1, in_round(4, looking(1))), sends(later, &[1, 3]), "its own is best");
    assert_eq!(server.election.round(), Round(4));
    let answer = sends(later, &[1]);
    assert_eq!(server.hears(1, looking(2)), answer, "who is behind is told, and not counted");
    assert_eq!(server.at(200).len(), 3, "no quorum yet: it tells its vote again");
    server.hears_at(210, 1, later);
    assert_eq!(server.at(410), decided(PeerState::Leading, later.vote));
}

#[test]
fn who_looks_is_answered_by_who_does_not() {
    let mut server = Server::new(2);
    server.hears(1, looking(2));
    server.at(200);
    server.election.establish(Epoch(2));
    let current = Vote { epoch: Epoch(2), ..vote(2) };
    let told = sends(ballot(PeerState::Leading, current), &[3]);
    assert_eq!(server.hears(3, in_round(9, looking(3))), told, "the vote's zxid and round");
    assert_eq!(server.hears(3, ballot(PeerState::Following, current)), []);
    server.election.look(history(6, 2), Millis(1000), &mut server.out);
    let again = Vote { zxid: Zxid(6), round: Round(2), epoch: Epoch(2), ..vote(2) };
    assert_eq!(server.out, sends(ballot(PeerState::Looking, again), &[1, 3]));
}

#[test]
fn a_late_joiner_needs_a_quorum_of_followers_and_the_leader_itself() {
    let established = |zxid, round| Vote {
        leader: ServerId(3),
        zxid: Zxid(zxid),
        round: Round(round),
        epoch: Epoch(2),
    };
    let mut server = Server::new(1);
    let following = ballot(PeerState::Following, established(5, 7));
    assert_eq!(server.hears(2, following), []);
    let of_other_epoch = Vote { epoch: Epoch(3), ..established(5, 7) };
    assert_eq!(server.hears(3, ballot(PeerState::Leading, of_other_epoch)), []);
    // Another zxid and round: whoever joined late kept its own.
    let leading = ballot(PeerState::Leading, established(4, 6));
    assert_eq!(server.hears(3, leading), decided(PeerState::Following, established(4, 6)));
    assert_eq!(server.election.round(), Round(6));
}

#[test]
fn nobody_follows_a_leader_that_does_not_say_it_leads() {
    let mut server = Server::with(
        Rules { quorum: Quorum::new(Rule::majority((1..=5).map(ServerId)).unwrap()), ..rules(1) },
        history(5, 1),
    );
    for from in [2, 4, 5] {
        assert_eq!(server.hears(from, ballot(PeerState::Following, vote(3))), []);
    }
    assert_eq!(server.hears(3, in_round(9, ballot(PeerState::Following, vote(3)))), []);
    let leading = in_round(9, ballot(PeerState::Leading, vote(3)));
    assert_eq!(server.hears(3, leading), decided(PeerState::Following, leading.vote));
}

/// A server that was elected, crashed before it led, and is told so of a round that is not its.
#[test]
fn a_server_takes_up_a_lead_only_in_its_own_round() {
    for (round, is_leader) in [(1, true), (2, false)] {
        let mut server = Server::new(3);
        for follower in [1, 2] {
            server.hears(follower, in_round(round, ballot(PeerState::Following, vote(3))));
        }
        assert_eq!(server.election.state() == PeerState::Leading, is_leader, "round {round}");
    }
}

#[test]
fn votes_are_the_same_as_in_java() {
    use PeerState::{Following, Leading, Looking};
    let other = Vote { zxid: Zxid(6), round: Round(8), ..vote(3) };
    let epoch = Vote { epoch: Epoch(8), ..vote(3) };
    let of = |state, vote, version| Ballot { state, vote, version };
    let cases = [
        (of(Looking, vote(3), 0), of(Looking, vote(3), 2), true),
        (of(Looking, vote(3), 2), of(Looking, other, 2), false),
        (of(Looking, vote(3), 2), of(Following, other, 2), false),
        (of(Leading, vote(3), 2), of(Following, other, 1), true),
        (of(Leading, vote(3), 2), of(Following, epoch, 2), false),
        (of(Leading, vote(3), 0), of(Following, epoch, 0), false),
        (of(Leading, vote(3), 0), of(Following, epoch, 2), true),
        (of(Leading, vote(3), 0), of(Following, vote(2), 2), false),
    ];
    for (one, two, expected) in cases {
        assert_eq!(looking::is_same(one, two), expected, "{one:?} {two:?}");
        assert_eq!(looking::is_same(two, one), expected, "{one:?} {two:?}");
    }
}

#[test]
fn a_server_without_data_neither_votes_nor_is_voted_for() {
    let mut empty = Server::with(rules(1), history(-1, 0));
    empty.hears(2, looking(2));
    empty.hears(3, looking(2));
    assert_eq!(empty.election.vote().leader, ServerId(1), "it keeps its vote to itself");
    let leading = ballot(PeerState::Leading, vote(2));
    empty.hears(3, ballot(PeerState::Following, vote(2)));
    assert_eq!(empty.hears(2, leading), decided(PeerState::Following, vote(2)), "it may follow");
    let mut server = Server::new(2);
    let vote_of_empty = Vote { zxid: UNINITIALIZED, epoch: Epoch(9), ..vote(3) };
    server.hears(3, ballot(PeerState::Looking, vote_of_empty));
    server.hears(1, ballot(PeerState::Looking, vote_of_empty));
    assert_eq!(server.election.vote(), vote(2));
}

#[test]
fn an_observer_finds_the_leader_and_has_no_vote() {
    let mut observer = Server::new(9);
    assert_eq!(observer.election.vote().leader, ServerId(i64::MIN));
    observer.hears(1, looking(3));
    assert_eq!(observer.hears(2, looking(3)), []);
    assert_eq!(observer.at(200), decided(PeerState::Observing, vote(3)));
}

#[test]
fn strangers_are_answered_at_once_but_not_for_ever() {
    let mut server = Server::new(1);
    server.hears(2, looking(2));
    server.at(200);
    let answer = sends(ballot(PeerState::Following, vote(2)), &[9]);
    assert_eq!(server.hears_at(300, 9, looking(i64::MIN)), answer);
    assert_eq!(server.hears_at(301, 9, looking(i64::MIN)), []);
    assert_eq!(server.hears_at(350, 9, ballot(PeerState::Leading, vote(9))), answer);
    assert_eq!(server.election.vote(), vote(2));
}

#[test]
fn an_unknown_leader_is_named_and_ignored() {
    let mut server = Server::new(1);
    let unknown = Output::UnknownLeader { from: ServerId(2), leader: ServerId(77) };
    assert_eq!(server.hears(2, looking(77)), [unknown]);
    assert_eq!(server.hears(2, ballot(PeerState::Leading, vote(77))), [unknown]);
    assert_eq!(server.hears(2, ballot(PeerState::Observing, vote(2))), []);
}

/// Even with the best history of all.
#[test]
fn a_server_of_weight_0_is_not_elected() {
    let group = [VOTERS.map(ServerId).to_vec()];
    let weightless = [(ServerId(3), 0)];
    let rule = Rule::hierarchical(VOTERS.map(ServerId), &group, &weightless).unwrap();
    let rules = |me| Rules { quorum: Quorum::new(rule.clone()), ..rules(me) };
    let mut server = Server::with(rules(1), history(5, 1));
    assert_eq!(server.hears(3, ballot(PeerState::Looking, Vote { zxid: Zxid(9), ..vote(3) })), []);
    assert_eq!(server.hears(2, looking(2)), sends(looking(2), &[2, 3]));
    assert_eq!(server.at(200), decided(PeerState::Following, vote(2)));
}

#[test]
fn a_quorum_of_one_leads_at_once() {
    let quorum = Quorum::new(Rule::majority([ServerId(1)]).unwrap());
    let mut out = Vec::new();
    Election::new(Rules { quorum, ..rules(1) }, history(5, 1), Millis(0), &mut out);
    assert_eq!(out, decided(PeerState::Leading, vote(1)));
}

#[test]
fn who_hears_all_voters_want_the_same_does_not_wait_for_a_better_vote() {
    let mut server = Server::new(1);
    server.hears(3, looking(3));
    assert_eq!(server.hears(2, looking(3)), decided(PeerState::Following, vote(3)));
}

#[test]
fn a_lost_voter_is_not_waited_for_unless_it_is_wanted() {
    let lose = |server: &mut Server, voter| {
        server.election.on_disconnected(ServerId(voter), &mut server.out);
        std::mem::take(&mut server.out)
    };
    let mut server = Server::new(1);
    server.hears(2, looking(2));
    assert_eq!(lose(&mut server, 3), decided(PeerState::Following, vote(2)));
    let mut server = Server::new(1);
    lose(&mut server, 3);
    server.election.on_connected(ServerId(3), &mut server.out);
    server.hears(2, looking(2));
    assert_eq!(server.at(199), [], "it has come back, and may want better");
    let mut server = Server::new(1);
    server.hears(2, looking(3));
    assert_eq!(lose(&mut server, 3), [], "the best is gone, and has not voted");
    assert_eq!(server.at(200), decided(PeerState::Following, vote(3)));
}
