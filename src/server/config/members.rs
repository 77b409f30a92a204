//! Who is in the ensemble: `server.N`, `group.G`, `weight.N`.
//!
//! Pure. Names are not resolved here: that is done anew before each connection.
//! COMPAT: grammar and canonical text of `QuorumPeer.QuorumServer`, `QuorumMaj`,
//! `QuorumHierarchical`.

use std::collections::BTreeMap;
use std::fmt;

use super::settings::ListenAddress;
use crate::ids::ServerId;

/// The members and how their votes count.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Members {
    /// The version of this configuration: the zxid that made it, 0 for one that was written.
    pub version: i64,
    /// Members by id.
    pub servers: BTreeMap<ServerId, Member>,
    /// With groups, a quorum is a majority of weight in a majority of groups.
    pub groups: Option<Groups>,
}

/// One member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Where other members reach it: one address at least.
    pub addresses: Vec<MemberAddress>,
    /// Whether it votes.
    pub role: Role,
    /// Where clients reach it, if its line says so.
    pub client: Option<ListenAddress>,
}

/// One of a member's addresses.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct MemberAddress {
    /// A name or an address literal, without brackets.
    pub host: String,
    /// Where a leader serves learners.
    pub quorum_port: u16,
    /// Where votes are exchanged.
    pub election_port: u16,
}

/// Whether a member votes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Role {
    /// It votes.
    #[default]
    Participant,
    /// It learns.
    Observer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Participant => "participant",
            Self::Observer => "observer",
        })
    }
}

/// Hierarchical quorums.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Groups {
    /// The group of each member that is in one.
    pub of: BTreeMap<ServerId, i64>,
    /// The weight of each participant; 1 where none is written.
    pub weights: BTreeMap<ServerId, i64>,
}

impl Members {
    /// Members that vote.
    pub fn participants(&self) -> impl Iterator<Item = (ServerId, &Member)> {
        self.with_role(Role::Participant)
    }

    /// Members that only learn.
    pub fn observers(&self) -> impl Iterator<Item = (ServerId, &Member)> {
        self.with_role(Role::Observer)
    }

    fn with_role(&self, role: Role) -> impl Iterator<Item = (ServerId, &Member)> {
        self.servers.iter().filter(move |(_, member)| member.role == role).map(|(id, m)| (*id, m))
    }

    /// Reads keys that begin with `server.`, `group`, `weight`, and `version`.
    ///
    /// # Errors
    /// What is wrong with one of them, in Java's words where it has any.
    pub fn parse<'a>(
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
        multi_address: bool,
    ) -> Result<Self, String> {
        let mut members = Self::default();
        let mut groups = None;
        for (key, value) in pairs {
            if let Some(id) = key.strip_prefix("server.") {
                let id = ServerId(number(key, id)?);
                members.servers.insert(id, Member::parse(id, value, multi_address)?);
            } else if key.starts_with("group") {
                read_group(groups.get_or_insert_default(), key, value)?;
            } else if key.starts_with("weight") {
                let groups: &mut Groups = groups.get_or_insert_default();
                let weight = number(key, value)?;
                groups.weights.insert(ServerId(number_after_dot(key)?), weight);
            } else if key == "version" {
                members.version = i64::from_str_radix(value, 16)
                    .map_err(|_| format!("version={value}: not a hexadecimal number"))?;
            }
        }
        if let Some(mut groups) = groups {
            for (id, _) in members.participants() {
                if !groups.of.contains_key(&id) {
                    return Err(format!("Server {id} is not in a group"));
                }
                groups.weights.entry(id).or_insert(1);
            }
            members.groups = Some(groups);
        }
        Ok(members)
    }
}

fn read_group(groups: &mut Groups, key: &str, value: &str) -> Result<(), String> {
    let group = number_after_dot(key)?;
    for id in value.split(':') {
        let id = ServerId(number(key, id)?);
        if groups.of.insert(id, group).is_some() {
            return Err(format!("Server {id} is in multiple groups"));
        }
    }
    Ok(())
}

/// COMPAT: any key that begins with `group` or `weight` must go on with a dot and a number.
fn number_after_dot(key: &str) -> Result<i64, String> {
    number(key, key.split_once('.').map_or(key, |(_, number)| number))
}

fn number(key: &str, text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("{key}: \"{text}\" is not a number"))
}

impl Member {
    fn parse(id: ServerId, text: &str, multi_address: bool) -> Result<Self, String> {
        let wrong_form = || {
            format!(
                "{text} does not have the form server_config or server_config;client_config, \
                 where server_config is host:port:port or host:port:port:type, several parted by \
                 |, and client_config is port or host:port"
            )
        };
        let mut halves = text.split(';');
        let addresses: Vec<&str> = halves.next().unwrap_or_default().split('|').collect();
        let client = match halves.next().filter(|text| !text.is_empty()) {
            Some(text) => Some(client_address(text)?.ok_or_else(wrong_form)?),
            None => None,
        };
        if halves.next().is_some() {
            return Err(wrong_form());
        }
        if addresses.len() > 1 && !multi_address {
            return Err(format!(
                "Multiple address feature is disabled, but multiple addresses were specified for \
                 sid {id}; multiAddress.enabled=true turns it on"
            ));
        }
        let mut member = Self { addresses: Vec::new(), role: Role::default(), client };
        let mut role_given = None;
        for address in addresses {
            let parts = host_and_ports(address)?;
            let [host, quorum, election, roles @ ..] = &parts[..] else { return Err(wrong_form()) };
            member.addresses.push(member_address(id, host, quorum, election)?);
            let role = match roles {
                [] => continue,
                [role] => role_of(role)?,
                [_, _, ..] => return Err(wrong_form()),
            };
            let first = *role_given.get_or_insert(role);
            if first != role {
                return Err(format!(
                    "Multiple addresses should have similar roles: {first} vs {role}"
                ));
            }
        }
        member.role = role_given.unwrap_or_default();
        Ok(member)
    }
}

fn member_address(
    id: ServerId,
    host: &str,
    quorum: &str,
    election: &str,
) -> Result<MemberAddress, String> {
    let (quorum_port, election_port) = (port(host, quorum)?, port(host, election)?);
    if quorum_port == election_port {
        return Err(format!(
            "Client and election port must be different! Please update the configuration file on \
             server.{id}"
        ));
    }
    Ok(MemberAddress { host: host.to_owned(), quorum_port, election_port })
}

fn role_of(text: &str) -> Result<Role, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "participant" => Ok(Role::Participant),
        "observer" => Ok(Role::Observer),
        _ => Err(format!("Unrecognised peertype: {text}")),
    }
}

/// `port` or `host:port`; `None` for another form.
fn client_address(text: &str) -> Result<Option<ListenAddress>, String> {
    let parts = host_and_ports(text)?;
    match &parts[..] {
        [number] => Ok(Some(ListenAddress { host: None, port: port("0.0.0.0", number)? })),
        [host, number] => {
            let host = Some(host.clone()).filter(|host| host != "0.0.0.0");
            Ok(Some(ListenAddress { host, port: port(text, number)? }))
        }
        _ => Ok(None),
    }
}

fn port(host: &str, text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("Address unresolved: {host}:{text}"))
}

/// COMPAT: `ConfigUtils.getHostAndPort`: parts at colons, but a literal in brackets stays whole.
fn host_and_ports(text: &str) -> Result<Vec<String>, String> {
    let Some(literal) = text.strip_prefix('[') else {
        return Ok(text.split(':').map(str::to_owned).collect());
    };
    let Some((host, rest)) = literal.split_once(']') else {
        return Err(format!("{text} starts with '[' but has no matching ']:'"));
    };
    let Some(ports) = rest.strip_prefix(':') else { return Ok(vec![host.to_owned()]) };
    if ports.is_empty() {
        return Err(format!("{text} doesn't have a port after colon"));
    }
    Ok(std::iter::once(host).chain(ports.split(':')).map(str::to_owned).collect())
}

/// As the line of a configuration text: addresses sorted, the role once, then the client part.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut addresses: Vec<&MemberAddress> = self.addresses.iter().collect();
        addresses.sort_unstable();
        for (position, address) in addresses.iter().enumerate() {
            let bar = if position == 0 { "" } else { "|" };
            let (quorum, election) = (address.quorum_port, address.election_port);
            if address.host.contains(':') {
                write!(f, "{bar}[{}]:{quorum}:{election}", address.host)?;
            } else {
                write!(f, "{bar}{}:{quorum}:{election}", address.host)?;
            }
        }
        write!(f, ":{}", self.role)?;
        match &self.client {
            Some(client) => write!(f, ";{client}"),
            None => Ok(()),
        }
    }
}

/// As `/zookeeper/config` and the dynamic files hold it, the version last.
impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, member) in &self.servers {
            writeln!(f, "server.{id}={member}")?;
        }
        if let Some(groups) = &self.groups {
            let mut members_of: BTreeMap<i64, Vec<String>> = BTreeMap::new();
            for (id, group) in &groups.of {
                members_of.entry(*group).or_default().push(id.to_string());
            }
            for (group, members) in members_of {
                writeln!(f, "group.{group}={}", members.join(":"))?;
            }
            for (id, weight) in &groups.weights {
                writeln!(f, "weight.{id}={weight}")?;
            }
        }
        write!(f, "version={:x}", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[(&str, &str)]) -> Result<Members, String> {
        Members::parse(lines.iter().copied(), true)
    }

    #[test]
    fn lines_and_their_canonical_text() {
        let cases = [
            ("a:2888:3888", "a:2888:3888:participant"),
            ("a:2888:3888:observer", "a:2888:3888:observer"),
            ("a:2888:3888:OBSERVER;2181", "a:2888:3888:observer;0.0.0.0:2181"),
            ("a:2888:3888;0.0.0.0:2181", "a:2888:3888:participant;0.0.0.0:2181"),
            ("a:2888:3888;b:2181", "a:2888:3888:participant;b:2181"),
            ("a:2888:3888;", "a:2888:3888:participant"),
            ("[::1]:2888:3888;[::2]:2181", "[::1]:2888:3888:participant;[::2]:2181"),
            ("b:1:2|a:3:4:observer", "a:3:4|b:1:2:observer"),
            ("b:1:2:participant|a:3:4:participant", "a:3:4|b:1:2:participant"),
        ];
        for (text, canonical) in cases {
            let members = parse(&[("server.7", text)]).expect(text);
            assert_eq!(members.to_string(), format!("server.7={canonical}\nversion=0"), "{text}");
            let again = parse(&[("server.7", canonical)]).expect(canonical);
            assert_eq!(again.to_string(), members.to_string(), "read back");
        }
    }

    #[test]
    fn lines_that_are_wrong_and_why() {
        let cases = [
            ("server.1", "a", "a does not have the form server_config"),
            ("server.1", "a:1", "does not have the form"),
            ("server.1", "", "does not have the form"),
            ("server.1", "a:1:2:observer:3", "does not have the form"),
            ("server.1", "a:1:2;3;4", "does not have the form"),
            ("server.1", "a:1:2;b:3:4", "does not have the form"),
            ("server.1", "a:x:2", "Address unresolved: a:x"),
            ("server.1", "a:1:70000", "Address unresolved: a:70000"),
            ("server.1", "a:1:2;x", "Address unresolved: 0.0.0.0:x"),
            ("server.1", "a:5:5", "Client and election port must be different!"),
            ("server.1", "a:1:2:voter", "Unrecognised peertype: voter"),
            ("server.1", "[::1:1:2", "starts with '[' but has no matching ']:'"),
            ("server.1", "[::1]:", "doesn't have a port after colon"),
            ("server.1", "[::1]", "does not have the form"),
            ("server.1", "a:1:2:observer|b:1:2:participant", "should have similar roles"),
            ("server.x", "a:1:2", "server.x: \"x\" is not a number"),
            ("server.", "a:1:2", "is not a number"),
            ("groupFoo", "1", "groupFoo: \"groupFoo\" is not a number"),
            ("group.1", "1:x", "\"x\" is not a number"),
            ("group.1", "1:1", "Server 1 is in multiple groups"),
            ("weight.1", "heavy", "\"heavy\" is not a number"),
            ("version", "xyz", "not a hexadecimal number"),
        ];
        for (key, value, why) in cases {
            let error = parse(&[(key, value)]).expect_err(value);
            assert!(error.contains(why), "{key}={value}: {error}");
        }
        let error = Members::parse([("server.3", "a:1:2|b:1:2")].into_iter(), false);
        let why = "Multiple address feature is disabled, but multiple addresses were specified for";
        assert!(error.expect_err("one only").starts_with(why));
    }

    #[test]
    fn groups_and_weights() {
        let servers =
            [("server.1", "a:1:2"), ("server.2", "b:1:2"), ("server.3", "c:1:2:observer")];
        let grouped = [("group.1", "1"), ("group.2", "2"), ("weight.1", "5"), ("version", "1f")];
        let members = parse(&[&servers[..], &grouped[..]].concat()).expect("complete");
        assert_eq!(
            members.to_string(),
            "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nserver.3=c:1:2:observer\n\
             group.1=1\ngroup.2=2\nweight.1=5\nweight.2=1\nversion=1f"
        );
        assert_eq!((members.participants().count(), members.observers().count()), (2, 1));
        let error = parse(&[&servers[..], &[("group.1", "1")]].concat());
        assert_eq!(error, Err("Server 2 is not in a group".to_owned()));
    }
}
