//! The lines themselves. Where operators search for Java's words, these are Java's words.

use std::fmt;
use std::net::SocketAddr;

use super::About;
use crate::ids::ServerId;
use crate::net::OsError;
use crate::stage::peers::config::Port;
use crate::stage::peers::dial::Attempt;

/// What there is to say.
#[derive(Clone, Debug)]
pub(in crate::stage::peers) enum Remark {
    /// Somebody has connected to the election port.
    Request { peer: SocketAddr },
    /// A member cannot be reached at any of its addresses; what is odd about each of them.
    NoChannel { to: ServerId, attempts: Vec<(Attempt, Option<String>)> },
    /// The same of the leader and its quorum port.
    NoLeader { leader: ServerId, attempts: Vec<(Attempt, Option<String>)> },
    /// A member is to be reached that is none.
    NoMember { to: ServerId },
    /// A member's name leads somewhere odd.
    Mapping { to: ServerId, what: String },
    /// A member takes calls at this place, and does not call back.
    NoCallBack { to: ServerId, place: String, calls: u32 },
    /// A connection to a member broke.
    Broken { to: ServerId, me: ServerId, peer: SocketAddr, why: String },
    /// A member connects anew while it is connected.
    Twin { server: ServerId, old: SocketAddr, new: SocketAddr },
    /// Somebody has this server's id.
    OwnId { me: ServerId, peer: SocketAddr },
    /// Bytes that are none of the protocol's.
    Nonsense { port: Port, peer: SocketAddr, why: String },
    /// Somebody does not say who it is.
    Silent { port: Port, peer: SocketAddr },
    /// There are too many.
    Crowded { port: Port, peer: SocketAddr },
    /// A port is open.
    Bound { me: ServerId, port: Port, place: String },
    /// A port cannot be bound.
    NotBound { port: Port, place: String, why: String, is_last: bool },
    /// Only this host can reach this server.
    InVain { me: ServerId, what: String },
    /// Connections cannot be accepted.
    NotAccepting { port: Port, error: OsError },
}

impl Remark {
    pub(super) fn about(&self) -> About {
        match self {
            Self::Request { .. } => About::Request,
            Self::NoChannel { to, .. } | Self::NoMember { to } => About::Channel(*to),
            Self::NoLeader { leader, .. } => About::Leader(*leader),
            Self::Mapping { to, .. } | Self::InVain { me: to, .. } => About::Mapping(*to),
            Self::NoCallBack { to, .. } => About::Silence(*to),
            Self::Broken { to, .. } => About::Broken(*to),
            Self::Twin { server, .. } => About::Twin(*server),
            Self::OwnId { .. } => About::OwnId,
            Self::Nonsense { .. } | Self::Silent { .. } => About::Stranger,
            Self::Crowded { .. } => About::Crowd,
            Self::Bound { .. } => About::Milestone,
            Self::NotBound { .. } | Self::NotAccepting { .. } => About::Listening,
        }
    }

    /// What makes two of them the same, where a new one is news.
    pub(super) fn key(&self) -> String {
        match self {
            // A number that grows is no news.
            Self::NoCallBack { place, .. } => place.clone(),
            Self::Broken { .. } => String::new(),
            Self::Request { .. }
            | Self::NoChannel { .. }
            | Self::NoLeader { .. }
            | Self::NoMember { .. }
            | Self::Mapping { .. }
            | Self::Twin { .. }
            | Self::OwnId { .. }
            | Self::Nonsense { .. }
            | Self::Silent { .. }
            | Self::Crowded { .. }
            | Self::Bound { .. }
            | Self::NotBound { .. }
            | Self::InVain { .. }
            | Self::NotAccepting { .. } => self.to_string(),
        }
    }

    /// Whether it is no trouble.
    pub(super) fn is_ordinary(&self) -> bool {
        match self {
            Self::Request { .. } | Self::Bound { .. } => true,
            Self::NoChannel { .. }
            | Self::NoLeader { .. }
            | Self::NoMember { .. }
            | Self::Mapping { .. }
            | Self::NoCallBack { .. }
            | Self::Broken { .. }
            | Self::Twin { .. }
            | Self::OwnId { .. }
            | Self::Nonsense { .. }
            | Self::Silent { .. }
            | Self::Crowded { .. }
            | Self::NotBound { .. }
            | Self::InVain { .. }
            | Self::NotAccepting { .. } => false,
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Election => "election",
            Self::Quorum => "quorum",
        })
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { peer } => write!(f, "Received connection request from /{peer}"),
            Self::NoChannel { to, attempts } => {
                write!(f, "Cannot open channel to {to}")?;
                list(f, " at election address", attempts)
            }
            Self::NoLeader { leader, attempts } if attempts.is_empty() => write!(
                f,
                "Unexpected exception, server {leader} leads and is not in this server's \
                 configuration"
            ),
            Self::NoLeader { leader, attempts } => {
                write!(f, "Unexpected exception, cannot connect to the leader, {leader},")?;
                list(f, " at quorum address", attempts)
            }
            Self::NoMember { to } => write!(
                f,
                "Invalid server id: {to}. It is not in this server's configuration and says no \
                 address of its own"
            ),
            Self::Mapping { to, what } => write!(f, "The address of server {to}: {what}"),
            Self::NoCallBack { to, place, calls } => write!(
                f,
                "Server {to} at election address {place} has taken {calls} calls and has not \
                 called back, as the server with the greater id does: check that this address is \
                 server {to}'s, that the server there has the myid {to}, and that it can connect \
                 to this server's election port"
            ),
            Self::Broken { to, me, peer, why } => {
                write!(f, "Connection broken for id {to} at /{peer}, my id = {me}: {why}")
            }
            Self::Twin { server, old, new } => write!(
                f,
                "Server {server} has connected from /{new} while its connection at /{old} is \
                 open: if both are running, two servers have the myid {server}"
            ),
            Self::OwnId { me, peer } => write!(
                f,
                "The server at /{peer} introduces itself with this server's own id, {me}: two \
                 servers have the same myid, or a name of another server leads here; the \
                 connection is closed"
            ),
            Self::Nonsense { port, peer, why } => {
                write!(f, "Closed the {port} connection of /{peer}: {why}")
            }
            Self::Silent { port, peer } => {
                write!(f, "Closed the {port} connection of /{peer}: it did not say who it is")
            }
            Self::Crowded { port, peer } => write!(
                f,
                "Closed the {port} connection of /{peer}: there are too many of unknown servers"
            ),
            Self::Bound { me, port, place } => {
                write!(f, "{me} is accepting connections now, my {port} bind port: {place}")
            }
            Self::NotBound { port, place, why, is_last } => {
                let then = if *is_last { "given up" } else { "trying again" };
                write!(f, "Exception while listening on the {port} port {place}: {why}; {then}")
            }
            Self::InVain { what, .. } => f.write_str(what),
            Self::NotAccepting { port, error } => {
                write!(f, "Cannot accept connections on the {port} port: {error}")
            }
        }
    }
}

/// Each address that was tried, how it failed, and what is odd about it.
fn list(
    f: &mut fmt::Formatter<'_>,
    first: &str,
    attempts: &[(Attempt, Option<String>)],
) -> fmt::Result {
    for (number, (attempt, hint)) in attempts.iter().enumerate() {
        let at = if number == 0 { first } else { ", nor at" };
        write!(f, "{at} {attempt}")?;
        hint.iter().try_for_each(|hint| write!(f, " ({hint})"))?;
    }
    Ok(())
}
