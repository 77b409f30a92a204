//! What a reader of a story is told: not of notifications and pings.

use std::fmt::Write as _;

use ringkeeper::ids::{Epoch, ServerId};
use ringkeeper::wire::quorum::Packet;
use ringkeeper::zab::election::Output as Elected;
use ringkeeper::zab::{EpochRecord, Output};

use super::network::Network;

/// See the module.
#[derive(Default)]
pub(crate) struct Trace {
    text: String,
}

impl Trace {
    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    pub(crate) fn say(&mut self, now: i64, server: ServerId, what: &str) {
        let _ = writeln!(self.text, "{now:>6} ms  {server}: {what}");
    }

    /// The same packet to several peers is one line.
    pub(crate) fn outputs(
        &mut self,
        now: i64,
        server: ServerId,
        outputs: &[Output],
        network: &Network,
    ) {
        let mut told: Option<(String, String)> = None;
        for output in outputs {
            let Some((what, to)) = described(output, network) else { continue };
            match &mut told {
                Some((same, all)) if *same == what && !to.is_empty() => {
                    let _ = write!(all, " {to}");
                }
                _ => self.flush(now, server, told.replace((what, to))),
            }
        }
        self.flush(now, server, told);
    }

    fn flush(&mut self, now: i64, server: ServerId, told: Option<(String, String)>) {
        let Some((what, to)) = told else { return };
        let arrow = if to.is_empty() { "" } else { " -> " };
        self.say(now, server, &format!("{what}{arrow}{to}"));
    }
}

/// What is done, and to whom if it is sent.
fn described(output: &Output, network: &Network) -> Option<(String, String)> {
    let peer = |link| network.peer(link).map_or("?".to_owned(), |(peer, _)| peer.to_string());
    let alone = |what: String| Some((what, String::new()));
    match output {
        Output::Send(link, packet) => Some((packet_described(packet)?, peer(*link))),
        Output::Election(Elected::Decided { state, vote }) => {
            alone(format!("=> {state}, leader {}", vote.leader))
        }
        Output::DialLeader { leader, .. } => alone(format!("dials {leader}")),
        Output::Close(link, why) => alone(format!("closes the link to {}: {why}", peer(*link))),
        Output::Commit(proposal) => alone(format!("applies {}", proposal.zxid)),
        Output::Persist(EpochRecord::Accepted(Epoch(epoch))) => {
            alone(format!("keeps acceptedEpoch {epoch}"))
        }
        Output::Persist(EpochRecord::Current(Epoch(epoch))) => {
            alone(format!("keeps currentEpoch {epoch}"))
        }
        Output::Truncate { to } => alone(format!("cuts its log after {to}")),
        Output::ReceiveSnapshot { .. } => alone("takes a snapshot".to_owned()),
        Output::SendSnapshot { link } => Some(("a snapshot".to_owned(), peer(*link))),
        Output::ReadLog { from, upto, .. } => alone(format!("reads its log, {from} to {upto}")),
        Output::Pass { packet: Packet::Sync, .. } => alone("its sync is answered".to_owned()),
        Output::Pass { packet: Packet::Revalidated { .. }, .. } => {
            alone("has the session".to_owned())
        }
        Output::Serve { epoch: Epoch(epoch), to_clients: true } => {
            alone(format!("serves, epoch {epoch}"))
        }
        Output::Serve { epoch: Epoch(epoch), to_clients: false } => {
            alone(format!("serves no clients, epoch {epoch}"))
        }
        Output::Rest(why) => alone(format!("rests: {why}")),
        Output::Election(
            Elected::Send { .. }
            | Elected::Dial(_)
            | Elected::TimedOut { .. }
            | Elected::UnknownLeader { .. },
        )
        | Output::Listen
        | Output::Unlisten
        | Output::Append(_)
        | Output::Pass { .. } => None,
    }
}

fn packet_described(packet: &Packet) -> Option<String> {
    Some(match packet {
        Packet::Ping { .. } => return None,
        Packet::FollowerInfo { accepted, .. } => format!("FOLLOWERINFO, accepted {}", accepted.0),
        Packet::ObserverInfo { accepted, .. } => format!("OBSERVERINFO, accepted {}", accepted.0),
        Packet::LeaderInfo { epoch, .. } => format!("LEADERINFO, epoch {}", epoch.0),
        Packet::AckEpoch { last_logged, current } => {
            let current = current.map_or("none".to_owned(), |epoch| epoch.0.to_string());
            format!("ACKEPOCH, log {last_logged}, current {current}")
        }
        Packet::Diff { zxid } => format!("DIFF {zxid}"),
        Packet::Trunc { zxid } => format!("TRUNC {zxid}"),
        Packet::Snap { zxid } => format!("SNAP {zxid}"),
        Packet::NewLeader { zxid, .. } => format!("NEWLEADER {zxid}"),
        Packet::UpToDate => "UPTODATE".to_owned(),
        Packet::Proposal { zxid, .. } => format!("PROPOSAL {zxid}"),
        Packet::Ack { zxid } => format!("ACK {zxid}"),
        Packet::Commit { zxid } => format!("COMMIT {zxid}"),
        Packet::Inform { zxid, .. } => format!("INFORM {zxid}"),
        Packet::Sync => "SYNC".to_owned(),
        Packet::Request(request) => format!("REQUEST, op {}", request.op),
        Packet::Revalidate(_) => "REVALIDATE".to_owned(),
        Packet::Revalidated { .. } => "REVALIDATED".to_owned(),
        Packet::CommitAndActivate { .. }
        | Packet::InformAndActivate { .. }
        | Packet::Unknown { .. } => format!("{packet:?}"),
    })
}
