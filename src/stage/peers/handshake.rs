//! Who keeps an election connection.
//!
//! Pure. Of two servers the one with the greater id dials; a dialer that is the smaller says who
//! it is, is closed, and is dialed back. So there is one connection for each pair.
//! Source: `QuorumCnxManager.startConnection`, `handleConnection`.

use std::net::IpAddr;

use crate::ids::ServerId;
use crate::limits::DIAL_ADDRESSES_MAX;
use crate::wire::election::{ANONYMOUS, Handshake, PeerAddress};
use crate::zab::election::is_kept;

/// What becomes of a connection whose dialer has said who it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It stays, as the connection to this server.
    Keep(ServerId),
    /// It stays, under an id to be made up: an observer without one.
    ///
    /// COMPAT: Java makes up a negative id, finds it smaller than its own, and dials in vain.
    KeepAnonymous,
    /// It is closed, and this server dialed.
    DialBack(ServerId),
    /// It is closed: the dialer has this server's own id.
    OwnId,
    /// It is closed: no server has such an id.
    NoServer,
}

/// Judges the dialer's words.
pub(super) fn judge(handshake: &Handshake, me: ServerId) -> Verdict {
    let dialer = handshake.server;
    match () {
        () if dialer == ANONYMOUS => Verdict::KeepAnonymous,
        () if dialer == me => Verdict::OwnId,
        () if dialer < ServerId(0) => Verdict::NoServer,
        () if is_kept(dialer, me) => Verdict::Keep(dialer),
        () => Verdict::DialBack(dialer),
    }
}

/// The addresses of a handshake that can be dialed. Names are left out, for what a stranger says
/// is no reason to ask a name server.
pub(super) fn dialable(addresses: &[PeerAddress]) -> Vec<PeerAddress> {
    let is_literal = |one: &&PeerAddress| one.host.parse::<IpAddr>().is_ok();
    let literals = addresses.iter().filter(is_literal).filter(|one| !one.is_wildcard());
    literals.take(DIAL_ADDRESSES_MAX).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::election::HandshakeForm;

    #[test]
    fn the_greater_id_dials() {
        let cases = [
            (3, Verdict::Keep(ServerId(3))),
            (1, Verdict::DialBack(ServerId(1))),
            (0, Verdict::DialBack(ServerId(0))),
            (2, Verdict::OwnId),
            (-1, Verdict::NoServer),
            (i64::MIN, Verdict::NoServer),
            (i64::MAX, Verdict::KeepAnonymous),
            (i64::MAX - 1, Verdict::Keep(ServerId(i64::MAX - 1))),
        ];
        for (dialer, verdict) in cases {
            let form = HandshakeForm::OneAddress;
            let handshake = Handshake { form, server: ServerId(dialer), addresses: Vec::new() };
            assert_eq!(judge(&handshake, ServerId(2)), verdict, "{dialer}");
        }
    }

    #[test]
    fn only_literals_of_one_host_are_dialed_back() {
        let at = |host: &str| PeerAddress { host: host.to_owned(), port: 3888 };
        let all = [at("0.0.0.0"), at("::"), at("slave-01"), at("10.0.0.1"), at("fd00::1")];
        assert_eq!(dialable(&all), [at("10.0.0.1"), at("fd00::1")]);
        assert_eq!(dialable(&vec![at("10.0.0.1"); 1000]).len(), DIAL_ADDRESSES_MAX);
    }
}
