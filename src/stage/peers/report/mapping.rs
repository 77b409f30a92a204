//! What is suspicious about the address that a member's name resolved to.
//!
//! Pure. Half of all ensembles that do not come up have a hosts file that maps one name wrongly,
//! and a line that says "timed out" lets nobody find it. This says which name, which address, and
//! where to look.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::ids::ServerId;
use crate::limits::ELECTION_GUESTS_MAX;
use crate::stage::peers::resolve::Target;
use crate::wire::election::PeerAddress;
use crate::zab::VOTERS_MAX;

/// Servers whose own words are remembered: members, and a few that are none.
const CLAIMS_MAX: usize = VOTERS_MAX + ELECTION_GUESTS_MAX;

/// What this server knows of where servers are.
#[derive(Clone, Debug, Default)]
pub(in crate::stage::peers) struct Atlas {
    /// Where this server listens for elections.
    pub(in crate::stage::peers) own: Vec<SocketAddr>,
    /// What members' names resolved to when they were last dialed.
    pub(in crate::stage::peers) resolved: BTreeMap<ServerId, Vec<SocketAddr>>,
    /// What members say of themselves.
    pub(in crate::stage::peers) claimed: BTreeMap<ServerId, Vec<PeerAddress>>,
}

impl Atlas {
    /// A server has said where it is. Of those that are no members only so many are remembered.
    pub(in crate::stage::peers) fn claim(&mut self, server: ServerId, at: Vec<PeerAddress>) {
        if at.is_empty() {
            self.claimed.remove(&server);
            return;
        }
        if self.claimed.len() > CLAIMS_MAX {
            self.claimed.clear();
        }
        self.claimed.insert(server, at);
    }

    /// Where a server says that it is.
    pub(in crate::stage::peers) fn claims(&self, server: ServerId) -> &[PeerAddress] {
        self.claimed.get(&server).map_or(&[], Vec::as_slice)
    }

    /// What a member's configured names came to.
    pub(in crate::stage::peers) fn resolve(
        &mut self,
        member: ServerId,
        names: &[PeerAddress],
        targets: &[Target],
    ) {
        let ours = targets.iter().filter(|target| names.contains(&target.name));
        let resolved: Vec<SocketAddr> = ours.map(|target| target.at).collect();
        if !resolved.is_empty() {
            self.resolved.insert(member, resolved);
        }
    }

    /// Where the other members are.
    pub(in crate::stage::peers) fn elsewhere(&self) -> Vec<SocketAddr> {
        self.resolved.values().flatten().copied().collect()
    }

    /// Whether `target` is where this server itself listens; nobody else is to be met there.
    pub(in crate::stage::peers) fn is_own(&self, target: &Target) -> bool {
        let same = |own: &SocketAddr| {
            let everywhere = own.ip().is_unspecified() && target.is_local;
            own.port() == target.at.port() && (everywhere || own.ip() == target.at.ip())
        };
        self.own.iter().any(same)
    }

    /// What is wrong with dialing `to` at `target`, and what to do about it; `None` if nothing
    /// meets the eye.
    pub(in crate::stage::peers) fn suspicion(
        &self,
        to: ServerId,
        target: &Target,
    ) -> Option<String> {
        self.what_is_wrong(to, target).map(|what| advice(to, target, &what))
    }

    /// The same of the leader's quorum port: of that port no server says anything, so what it says
    /// of its election port is held against the address alone.
    pub(in crate::stage::peers) fn suspicion_of_leader(
        &self,
        to: ServerId,
        target: &Target,
    ) -> Option<String> {
        let claims = self.claimed.get(&to)?;
        let own_words = literals(claims).next()?.ip();
        if literals(claims).any(|claim| claim.ip() == target.at.ip()) {
            return None;
        }
        let what = format!("is not at {own_words}, where server {to} says that it listens");
        Some(advice(to, target, &what))
    }

    /// Whether somebody else is to be met there.
    pub(in crate::stage::peers) fn is_of_another(&self, to: ServerId, target: &Target) -> bool {
        self.claimant(to, target.at).is_some() || self.namesake(to, target.at).is_some()
    }

    fn what_is_wrong(&self, to: ServerId, target: &Target) -> Option<String> {
        if self.is_own(target) {
            return Some("is where this server itself listens".to_owned());
        }
        if let Some(other) = self.claimant(to, target.at) {
            return Some(format!("is where server {other} says that it listens"));
        }
        if let Some(other) = self.namesake(to, target.at) {
            return Some(format!("is what server {other} resolves to as well"));
        }
        if let Some(own_words) = self.contradiction(to, target.at) {
            return Some(format!("is not {own_words}, where server {to} says that it listens"));
        }
        let kind = Kind::of(target.at.ip());
        let others: Vec<Kind> = self.others(to).map(|at| Kind::of(at.ip())).collect();
        let differs = !others.is_empty() && others.iter().all(|other| *other != kind);
        match kind {
            Kind::Loopback if differs => {
                Some("is a loopback address, while the other servers have none".to_owned())
            }
            Kind::Public if differs => {
                Some("is a public address, while the other servers have private ones".to_owned())
            }
            Kind::Private if target.is_local && differs => {
                Some("is an address of this very host".to_owned())
            }
            Kind::Loopback | Kind::Public | Kind::Private => None,
        }
    }

    /// Another server that says it is there.
    fn claimant(&self, to: ServerId, at: SocketAddr) -> Option<ServerId> {
        let mut others = self.claimed.iter().filter(|(server, _)| **server != to);
        others.find(|(_, claims)| literals(claims).any(|claim| claim == at)).map(|(id, _)| *id)
    }

    /// Another server whose name leads there too.
    fn namesake(&self, to: ServerId, at: SocketAddr) -> Option<ServerId> {
        let mut others = self.resolved.iter().filter(|(server, _)| **server != to);
        others.find(|(_, resolved)| resolved.contains(&at)).map(|(id, _)| *id)
    }

    /// Where `to` says it is, if that is elsewhere.
    fn contradiction(&self, to: ServerId, at: SocketAddr) -> Option<SocketAddr> {
        let claims = self.claimed.get(&to)?;
        let elsewhere = literals(claims).all(|claim| claim != at);
        literals(claims).next().filter(|_| elsewhere)
    }

    /// Where the other members are, this server among them.
    fn others(&self, to: ServerId) -> impl Iterator<Item = SocketAddr> {
        let others = self.resolved.iter().filter(move |(server, _)| **server != to);
        let others = others.flat_map(|(_, resolved)| resolved.iter().copied());
        others.chain(self.own.iter().copied().filter(|own| !own.ip().is_unspecified()))
    }
}

/// What to do about an address that is wrong.
fn advice(to: ServerId, target: &Target, what: &str) -> String {
    let (host, at) = (&target.name.host, target.at);
    if host.parse::<IpAddr>().is_ok() {
        return format!("{at} {what}: check server.{to} in this server's configuration");
    }
    format!(
        "{} resolves to {at} here, which {what}: check {host} in the hosts file or DNS of this \
         server, and server.{to} in its configuration",
        target.name
    )
}

fn literals(claims: &[PeerAddress]) -> impl Iterator<Item = SocketAddr> {
    let literal = |one: &PeerAddress| Some(SocketAddr::new(one.host.parse().ok()?, one.port));
    claims.iter().filter(|one| !one.is_wildcard()).filter_map(literal)
}

/// Who can reach an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// This host.
    Loopback,
    /// A network of one's own.
    Private,
    /// Anybody.
    Public,
}

impl Kind {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            ip if ip.is_loopback() => Self::Loopback,
            IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() => Self::Private,
            IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Self::Private,
            IpAddr::V4(_) | IpAddr::V6(_) => Self::Public,
        }
    }
}

/// Warns of a server that listens where only its own host can reach it, though others are
/// elsewhere: the name of the host itself is often mapped to a loopback address.
pub(in crate::stage::peers) fn listens_in_vain(
    own: &Target,
    others: &[SocketAddr],
) -> Option<String> {
    let elsewhere = others.iter().find(|other| !other.ip().is_loopback())?;
    own.at.ip().is_loopback().then(|| {
        let (host, ip, other) = (&own.name.host, own.at.ip(), elsewhere.ip());
        format!(
            "this server listens on {ip} only, a loopback address, as {host} resolves to it here, \
             while another server is at {other} and cannot reach it: check {host} in the hosts \
             file of this server, or set quorumListenOnAllIPs=true"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: ServerId = ServerId(2);

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn target(host: &str, address: &str, is_local: bool) -> Target {
        let at = at(address);
        let name = PeerAddress { host: host.to_owned(), port: at.port() };
        Target { name, at, is_local }
    }

    fn says(address: &str) -> Vec<PeerAddress> {
        let at = at(address);
        vec![PeerAddress { host: at.ip().to_string(), port: at.port() }]
    }

    fn atlas() -> Atlas {
        Atlas {
            own: vec![at("10.0.0.1:3888")],
            resolved: BTreeMap::from([(ServerId(3), vec![at("10.0.0.3:3888")])]),
            claimed: BTreeMap::new(),
        }
    }

    #[test]
    fn the_story_of_the_public_address() {
        let wrong = target("slave-02", "202.106.199.35:3888", false);
        assert_eq!(
            atlas().suspicion(TWO, &wrong).unwrap(),
            "slave-02:3888 resolves to 202.106.199.35:3888 here, which is a public address, while \
             the other servers have private ones: check slave-02 in the hosts file or DNS of this \
             server, and server.2 in its configuration"
        );
        let mut atlas = atlas();
        atlas.claimed.insert(TWO, says("10.0.0.2:3888"));
        let better = atlas.suspicion(TWO, &wrong).unwrap();
        assert!(better.contains("is not 10.0.0.2:3888, where server 2 says"), "{better}");
    }

    #[test]
    fn a_leader_that_says_it_is_elsewhere() {
        let mut atlas = atlas();
        let wrong = target("slave-02", "202.106.199.35:2888", false);
        assert_eq!(atlas.suspicion_of_leader(TWO, &wrong), None, "it has said nothing");
        atlas.claimed.insert(TWO, says("10.0.0.2:3888"));
        assert_eq!(
            atlas.suspicion_of_leader(TWO, &wrong).unwrap(),
            "slave-02:2888 resolves to 202.106.199.35:2888 here, which is not at 10.0.0.2, where \
             server 2 says that it listens: check slave-02 in the hosts file or DNS of this \
             server, and server.2 in its configuration"
        );
        let right = target("slave-02", "10.0.0.2:2888", false);
        assert_eq!(atlas.suspicion_of_leader(TWO, &right), None);
    }

    #[test]
    fn addresses_of_somebody_else() {
        let mut atlas = atlas();
        let cases = [
            ("10.0.0.1:3888", true, "is where this server itself listens"),
            ("10.0.0.3:3888", false, "is what server 3 resolves to as well"),
            ("127.0.1.1:3888", true, "is a loopback address, while the other servers have none"),
        ];
        for (address, is_local, what) in cases {
            let suspicion = atlas.suspicion(TWO, &target("slave-02", address, is_local));
            assert!(suspicion.as_ref().unwrap().contains(what), "{suspicion:?}");
        }
        atlas.claimed.insert(ServerId(3), says("10.0.0.9:3888"));
        let claimed = atlas.suspicion(TWO, &target("slave-02", "10.0.0.9:3888", false)).unwrap();
        assert!(claimed.contains("is where server 3 says that it listens"), "{claimed}");
        let literal = atlas.suspicion(TWO, &target("10.0.0.9", "10.0.0.9:3888", false)).unwrap();
        assert!(literal.ends_with("check server.2 in this server's configuration"), "{literal}");
    }

    #[test]
    fn nothing_is_wrong_with_ordinary_ensembles() {
        assert_eq!(atlas().suspicion(TWO, &target("slave-02", "10.0.0.2:3888", false)), None);
        let on_one_machine = Atlas {
            own: vec![at("127.0.0.1:3888")],
            resolved: BTreeMap::from([(ServerId(3), vec![at("127.0.0.1:3890")])]),
            claimed: BTreeMap::from([(TWO, says("127.0.0.1:3889"))]),
        };
        assert_eq!(
            on_one_machine.suspicion(TWO, &target("localhost", "127.0.0.1:3889", true)),
            None
        );
        assert_eq!(Atlas::default().suspicion(TWO, &target("b", "8.8.8.8:3888", false)), None);
    }

    #[test]
    fn a_wildcard_is_own_on_this_host_only() {
        let atlas = Atlas { own: vec![at("[::]:3888")], ..Atlas::default() };
        assert!(atlas.is_own(&target("a", "10.0.0.1:3888", true)));
        assert!(!atlas.is_own(&target("a", "10.0.0.2:3888", false)));
        assert!(!atlas.is_own(&target("a", "10.0.0.1:3889", true)));
    }

    #[test]
    fn a_server_that_only_its_own_host_can_reach() {
        let own = target("slave-01", "127.0.1.1:3888", true);
        let warning = listens_in_vain(&own, &[at("10.0.0.2:3888")]).unwrap();
        assert!(warning.contains("slave-01") && warning.contains("127.0.1.1"), "{warning}");
        assert_eq!(listens_in_vain(&own, &[at("127.0.0.1:3889")]), None);
        let reachable = target("slave-01", "10.0.0.1:3888", true);
        assert_eq!(listens_in_vain(&reachable, &[at("10.0.0.2:3888")]), None);
    }
}
