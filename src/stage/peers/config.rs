//! What the sockets of an ensemble are told of it.
//!
//! Pure. Names stay names here: they are resolved anew for each dial.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::ServerId;
use crate::wire::election::{Handshake, HandshakeForm, PeerAddress};

/// Who is in the ensemble, and how patient this server is.
#[derive(Clone, Debug)]
pub struct Config {
    /// This server.
    pub me: ServerId,
    /// All members, this server among them.
    pub members: BTreeMap<ServerId, Vec<Address>>,
    /// Binds the wildcard instead of this server's own addresses (`quorumListenOnAllIPs`).
    pub listen_on_all: bool,
    /// Introduces itself with all of its addresses (`multiAddress.enabled`).
    pub multi_address: bool,
    /// Has the kernel probe silent peers (`tcpKeepAlive`).
    pub keep_alive: bool,
    /// How long a dial to an election port may take (`cnxTimeout`).
    pub connect_timeout: Duration,
    /// How long a dialer may take to say who it is on the election port (tickTime * syncLimit).
    pub handshake_timeout: Duration,
    /// The same on the quorum port (tickTime * initLimit).
    pub introduction_timeout: Duration,
    /// How often the election port is tried (`electionPortBindRetry`); 0 is for ever.
    pub bind_tries_max: u32,
    /// Data of one quorum packet between members: twice `jute.maxbuffer`.
    pub packet_bytes_max: u32,
}

/// One of a member's addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// A name or an address literal, without brackets.
    pub host: String,
    /// Where a leader serves learners.
    pub quorum_port: u16,
    /// Where votes are exchanged.
    pub election_port: u16,
}

/// Which of a member's two ports.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Port {
    Election,
    Quorum,
}

impl Config {
    /// Where `member` is to be reached: none if it is no member.
    pub(super) fn addresses(&self, member: ServerId, port: Port) -> Vec<PeerAddress> {
        let all = self.members.get(&member).map_or(&[][..], Vec::as_slice);
        let at = |address: &Address| match port {
            Port::Election => address.election_port,
            Port::Quorum => address.quorum_port,
        };
        all.iter().map(|one| PeerAddress { host: one.host.clone(), port: at(one) }).collect()
    }

    /// How this server introduces itself; `own` is where it listens, as literals once they are
    /// known.
    pub(super) fn handshake(&self, own: &[PeerAddress]) -> Handshake {
        let configured = self.addresses(self.me, Port::Election);
        let mut addresses = if own.is_empty() { configured } else { own.to_vec() };
        if !self.multi_address {
            addresses.truncate(1);
        }
        let form = match () {
            () if addresses.is_empty() => HandshakeForm::Bare,
            () if self.multi_address => HandshakeForm::Addresses,
            () => HandshakeForm::OneAddress,
        };
        Handshake { form, server: self.me, addresses }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(multi_address: bool) -> Config {
        let address =
            |host: &str| Address { host: host.to_owned(), quorum_port: 2888, election_port: 3888 };
        Config {
            me: ServerId(1),
            members: BTreeMap::from([(ServerId(1), vec![address("a"), address("b")])]),
            listen_on_all: false,
            multi_address,
            keep_alive: false,
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            introduction_timeout: Duration::from_secs(5),
            bind_tries_max: 3,
            packet_bytes_max: 1 << 21,
        }
    }

    #[test]
    fn only_servers_with_several_addresses_say_so() {
        let one = config(false).handshake(&[]);
        assert_eq!((one.form, one.addresses.len()), (HandshakeForm::OneAddress, 1));
        let own = [PeerAddress { host: "10.0.0.1".to_owned(), port: 3888 }];
        assert_eq!(config(false).handshake(&own).addresses, own, "the literal, once known");
        let all = config(true).handshake(&[]);
        assert_eq!((all.form, all.addresses.len()), (HandshakeForm::Addresses, 2));
        let nowhere = Config { members: BTreeMap::new(), ..config(true) };
        assert_eq!(nowhere.handshake(&[]).form, HandshakeForm::Bare, "no text may be empty");
    }

    #[test]
    fn each_port_has_its_address() {
        let config = config(false);
        let ports = |port| config.addresses(ServerId(1), port).iter().map(|a| a.port).sum::<u16>();
        assert_eq!((ports(Port::Election), ports(Port::Quorum)), (2 * 3888, 2 * 2888));
        assert_eq!(config.addresses(ServerId(9), Port::Election), []);
    }
}
