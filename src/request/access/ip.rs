//! The `ip` scheme: where a connection comes from. Source: `IPAuthenticationProvider`.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A peer as it stands in its identity. COMPAT: an IPv4 address mapped into IPv6 is IPv4, and
/// IPv6 is not shortened (`Inet6Address.getHostAddress`).
pub(super) fn text(peer: IpAddr) -> String {
    match peer.to_canonical() {
        IpAddr::V4(peer) => peer.to_string(),
        IpAddr::V6(peer) => {
            let mut text = String::with_capacity(39);
            for (at, group) in peer.segments().into_iter().enumerate() {
                let colon = if at == 0 { "" } else { ":" };
                write!(text, "{colon}{group:x}").expect("a string takes what is written to it");
            }
            text
        }
    }
}

/// An address as an ACL or an identity has it.
///
/// Four decimal parts, or up to eight groups of hex around at most one `::`; no dotted tail.
pub(super) fn parse(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        if text.contains('.') { None } else { text.parse::<Ipv6Addr>().ok().map(IpAddr::V6) }
    } else {
        parse_v4(text).map(IpAddr::V4)
    }
}

/// COMPAT: Java takes leading zeros for decimal; Rust's own parser refuses them.
fn parse_v4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then_some(Ipv4Addr::from(octets))
}

/// The id of an ACL entry: an address, or all that share its first bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    address: IpAddr,
    bits: u32,
}

impl Range {
    /// `address` or `address/bits`.
    pub(super) fn parse(id: &str) -> Option<Self> {
        let (address, bits) = match id.split_once('/') {
            None => (parse(id)?, None),
            Some((address, bits)) => (parse(address)?, Some(bits.parse::<u32>().ok()?)),
        };
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { address, bits })
    }

    /// Whether `peer` is of the same family and shares the bits.
    pub(super) fn holds(self, peer: IpAddr) -> bool {
        match (self.address, peer) {
            (IpAddr::V4(address), IpAddr::V4(peer)) => {
                let differing = address.to_bits() ^ peer.to_bits();
                differing.checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(address), IpAddr::V6(peer)) => {
                let differing = address.to_bits() ^ peer.to_bits();
                differing.checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}
