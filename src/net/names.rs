//! Names to addresses, as the system answers. Waits for it: not for the thread of a reactor.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

/// The addresses of a name, those of IPv4 first: whoever needs one of them takes the first.
///
/// COMPAT: Java prefers IPv4 (`java.net.preferIPv6Addresses`), the system's own order does not.
///
/// # Errors
/// The system's reason why there are none.
pub fn addresses_of(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(ipv4_first((host, port).to_socket_addrs()?.collect()))
}

/// Within a family the system's order stays.
fn ipv4_first(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_its_first_ipv4_address() {
        let cases: [(&[&str], &[&str]); 4] = [
            (&["[::1]:1", "127.0.0.1:1"], &["127.0.0.1:1", "[::1]:1"]),
            (
                &["127.0.0.2:1", "[::1]:1", "127.0.0.1:1"],
                &["127.0.0.2:1", "127.0.0.1:1", "[::1]:1"],
            ),
            (&["[fd00::2]:1", "[fd00::1]:1"], &["[fd00::2]:1", "[fd00::1]:1"]),
            (&[], &[]),
        ];
        for (found, expected) in cases {
            let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
            let expected: Vec<SocketAddr> = parsed(expected);
            assert_eq!(ipv4_first(parsed(found)), expected, "{found:?}");
        }
    }

    #[test]
    fn literals_and_names() {
        assert_eq!(addresses_of("::1", 7).unwrap(), ["[::1]:7".parse().unwrap()]);
        assert!(addresses_of("localhost", 7).unwrap()[0].ip().is_loopback());
        assert!(addresses_of("no-such-host.invalid", 7).is_err());
    }
}
