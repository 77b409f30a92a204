//! Listening sockets.
//!
//! Made on any thread, then given to the reactor that accepts from it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};
use rustix::net::{ipproto, sockopt};

use super::error::{NetError, OsError};

/// Where the operator leaves it to us. Java takes 50, which a fleet that reconnects overflows: each
/// handshake lost that way waits a second.
const BACKLOG_DEFAULT: i32 = 1024;

/// A bound, listening TCP socket that no reactor accepts from yet.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `address`; a `backlog` below 1 means 1024. The wildcard of either family stands
    /// for both, or for IPv4 alone where there is no IPv6. `reuse_port` lets other listeners share
    /// the port, the kernel spreading connections among them.
    ///
    /// # Errors
    /// [`NetError::Bind`] with the system's reason, as a rule that the address is in use.
    pub fn bind(address: SocketAddr, backlog: i32, reuse_port: bool) -> Result<Self, NetError> {
        let backlog = if backlog < 1 { BACKLOG_DEFAULT } else { backlog };
        let open = |address| open(address, backlog, reuse_port);
        let result = if address.ip().is_unspecified() {
            let dual = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port());
            open(dual).or_else(|error| match error {
                Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL => {
                    open(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()))
                }
                error => Err(error),
            })
        } else {
            open(address)
        };
        result.map_err(|error| NetError::Bind { address, error: error.into() })
    }

    /// Whether [`Self::bind_group`] would find nobody else there now; nothing listens after it.
    ///
    /// # Errors
    /// [`NetError::Bind`] as for [`Listener::bind`].
    pub fn probe(address: SocketAddr) -> Result<(), NetError> {
        Self::bind(address, 0, false).map(drop)
    }

    /// `count` listeners that share one port. Fails if anyone else listens there already, which
    /// `SO_REUSEPORT` alone would let pass: two servers of one user would share their clients.
    ///
    /// # Errors
    /// [`NetError::Bind`] as for [`Listener::bind`].
    pub fn bind_group(
        address: SocketAddr,
        backlog: i32,
        count: usize,
    ) -> Result<Vec<Self>, NetError> {
        let alone = Self::bind(address, backlog, false)?;
        if count <= 1 {
            return Ok(vec![alone]);
        }
        let address = SocketAddr::new(address.ip(), alone.address.port());
        drop(alone);
        (0..count).map(|_| Self::bind(address, backlog, true)).collect()
    }

    /// Has the kernel probe idle peers of connections accepted from now on (`SO_KEEPALIVE`).
    ///
    /// # Errors
    /// [`NetError::Call`] if the kernel refuses.
    pub fn set_keep_alive(&self, on: bool) -> Result<(), NetError> {
        sockopt::set_socket_keepalive(&self.socket, on)
            .map_err(|error| NetError::Call { name: "setsockopt", error: error.into() })
    }

    /// The address with the port that was chosen if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A listener that a reactor accepts from.
#[derive(Debug)]
pub(super) struct Accepting {
    listener: Listener,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Armed,
    /// Out of descriptors or memory: accepting at once would fail at once.
    Resting {
        until: Duration,
    },
    /// Being closed, while its accept is cancelled.
    Stopping,
}

impl Accepting {
    /// For a listener whose accept was submitted.
    pub(super) fn new(listener: Listener) -> Self {
        Self { listener, state: State::Armed }
    }

    /// Wants no more; whether it can go at once, as no accept is in flight.
    pub(super) fn stop(&mut self) -> bool {
        let is_resting = self.is_resting();
        self.state = State::Stopping;
        is_resting
    }

    /// Whether it goes with its accept.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Stopping
    }

    pub(super) fn is_resting(&self) -> bool {
        self.retry_at().is_some()
    }

    pub(super) fn retry_at(&self) -> Option<Duration> {
        match self.state {
            State::Resting { until } => Some(until),
            State::Armed | State::Stopping => None,
        }
    }

    pub(super) fn rest_until(&mut self, until: Duration) {
        self.state = State::Resting { until };
    }

    /// What to accept from, now.
    pub(super) fn rearm(&mut self) -> BorrowedFd<'_> {
        self.state = State::Armed;
        self.listener.fd()
    }
}

/// Options set here are inherited by accepted sockets, which saves two calls for each of them.
fn open(address: SocketAddr, backlog: i32, reuse_port: bool) -> Result<Listener, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    // Blocking on purpose: the ring returns EAGAIN for a non-blocking socket instead of waiting.
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if reuse_port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    sockopt::set_tcp_nodelay(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, backlog)?;
    let address = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok(Listener { socket, address })
}

/// The peer's address, IPv4 shown as such; an error if it has gone already.
pub(super) fn peer_of(socket: &OwnedFd) -> Result<SocketAddr, OsError> {
    let peer = rustix::net::getpeername(socket)?.ok_or(Errno::NOTCONN)?;
    let peer = SocketAddr::try_from(peer).map_err(|error| OsError::from(io::Error::from(error)))?;
    Ok(SocketAddr::new(peer.ip().to_canonical(), peer.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn a_port_in_use_is_an_error_that_names_it() {
        let first = Listener::bind(loopback(), -1, false).unwrap();
        let error = Listener::bind(first.local_addr(), -1, false).unwrap_err();
        assert!(error.to_string().contains(&first.local_addr().to_string()), "{error}");
        assert!(error.to_string().contains("in use"), "{error}");
    }

    #[test]
    fn a_group_shares_a_port_but_not_with_strangers() {
        let group = Listener::bind_group(loopback(), 10, 3).unwrap();
        assert!(group.iter().all(|one| one.local_addr() == group[0].local_addr()));
        assert!(Listener::bind_group(group[0].local_addr(), 10, 2).is_err());
    }

    #[test]
    fn the_wildcard_takes_ipv4_too() {
        for wildcard in ["0.0.0.0:0", "[::]:0"] {
            let listener = Listener::bind(wildcard.parse().unwrap(), 5, false).unwrap();
            let port = listener.local_addr().port();
            std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        }
    }
}
