//! Connections that this side makes.
//!
//! Thread: the reactor's. The kernel connects; the reactor gives up what takes too long by
//! cancelling it, so that the kernel is lent no clock. A connect ends in `Connected`, in
//! `ConnectFailed`, or in `Closed` if its owner gave it up before.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, getsockname, socket_with};
use rustix::net::{bind, ipproto, sockopt};

use super::connection::Life;
use super::error::OsError;
use super::listener::peer_of;
use super::reactor::{Reactor, find};
use super::{CloseReason, ConnectionId, Event};

/// Where a connection goes, and how.
#[derive(Clone, Copy, Debug)]
pub struct Dial {
    /// The peer.
    pub to: SocketAddr,
    /// The local address to come from; the system's choice if `None`.
    pub from: Option<IpAddr>,
    /// How long it may take.
    pub timeout: Duration,
    /// Has the kernel probe the peer while nothing is said (`SO_KEEPALIVE`).
    pub keep_alive: bool,
}

/// Why a connection could not be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnectFailure {
    /// Nobody listens there.
    Refused,
    /// No answer in time.
    TimedOut,
    /// No way there: no route, or a firewall that says so.
    Unreachable(OsError),
    /// Anything else.
    Other(OsError),
}

impl ConnectFailure {
    fn of(error: Errno) -> Self {
        match error {
            Errno::CONNREFUSED => Self::Refused,
            Errno::TIMEDOUT => Self::TimedOut,
            Errno::NETUNREACH | Errno::HOSTUNREACH => Self::Unreachable(error.into()),
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Unreachable(error) | Self::Other(error) => error.fmt(f),
        }
    }
}

impl Reactor {
    /// Begins to connect; what comes of it is an event. Nothing can be sent before `Connected`;
    /// [`Reactor::close`] gives it up.
    ///
    /// # Errors
    /// There is no socket to be had, or `from` is no address of this host.
    pub fn connect(&mut self, dial: Dial) -> Result<ConnectionId, OsError> {
        let socket = open(&dial)?;
        let id = self.take_slot(socket);
        let connection = &mut self.connections[id.key as usize];
        connection.life = Life::Connecting;
        connection.connecting = true;
        self.ring.connect(connection.socket.as_fd(), id.key, dial.to);
        self.dialing.push((self.clock.elapsed() + dial.timeout, id));
        Ok(id)
    }

    pub(super) fn on_connected(
        &mut self,
        key: u32,
        result: Result<(), Errno>,
        events: &mut Vec<Event>,
    ) {
        let connection = &mut self.connections[key as usize];
        connection.connecting = false;
        if connection.life == Life::Connecting {
            let id = connection.id;
            self.dialing.retain(|(_, dialed)| *dialed != id);
            match result {
                Ok(()) if is_to_itself(&connection.socket) => {
                    self.fail_dial(id, ConnectFailure::Refused, events);
                }
                Ok(()) => {
                    connection.life = Life::Open;
                    events.push(Event::Connected { id });
                    self.steer(key);
                }
                Err(error) => self.fail_dial(id, ConnectFailure::of(error), events),
            }
        }
        self.free_if_over(key);
    }

    /// Ends the connects whose time is over.
    pub(super) fn give_up_dials(&mut self, now: Duration, events: &mut Vec<Event>) {
        let mut at = 0;
        while let Some((deadline, id)) = self.dialing.get(at).copied() {
            if deadline > now {
                at += 1;
                continue;
            }
            self.dialing.swap_remove(at);
            self.fail_dial(id, ConnectFailure::TimedOut, events);
            self.free_if_over(id.key);
        }
    }

    /// By its owner's wish.
    pub(super) fn give_up_dial(&mut self, id: ConnectionId) {
        self.dialing.retain(|(_, dialed)| *dialed != id);
        self.end_between_turns(id.key, CloseReason::Local);
    }

    fn fail_dial(&mut self, id: ConnectionId, reason: ConnectFailure, events: &mut Vec<Event>) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.life = Life::Dead;
        events.push(Event::ConnectFailed { id, reason });
        self.cancel(id.key);
    }
}

fn open(dial: &Dial) -> Result<OwnedFd, Errno> {
    let family = if dial.to.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    // Blocking, as those accepted: the ring waits for what would block.
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, dial.keep_alive)?;
    if let Some(from) = dial.from {
        bind(&socket, &SocketAddr::new(from, 0))?;
    }
    Ok(socket)
}

/// A port among those the system chooses from may be chosen to connect to itself, which TCP
/// allows while nobody listens there.
fn is_to_itself(socket: &OwnedFd) -> bool {
    let local = getsockname(socket).ok().and_then(|own| SocketAddr::try_from(own).ok());
    let local = local.map(|own| SocketAddr::new(own.ip().to_canonical(), own.port()));
    local.is_some() && local == peer_of(socket).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_an_operator_has_to_tell_apart() {
        let cases = [
            (Errno::CONNREFUSED, ConnectFailure::Refused, "connection refused"),
            (Errno::TIMEDOUT, ConnectFailure::TimedOut, "timed out"),
            (
                Errno::NETUNREACH,
                ConnectFailure::Unreachable(Errno::NETUNREACH.into()),
                "Network is unreachable",
            ),
            (
                Errno::HOSTUNREACH,
                ConnectFailure::Unreachable(Errno::HOSTUNREACH.into()),
                "No route to host",
            ),
            (Errno::ACCESS, ConnectFailure::Other(Errno::ACCESS.into()), "Permission denied"),
        ];
        for (errno, failure, words) in cases {
            assert_eq!(ConnectFailure::of(errno), failure);
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }
}
