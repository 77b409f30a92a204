//! The other servers: what their names resolve to here, and whether they answer there.
//!
//! The classic failure of an ensemble is a name that resolves to something else on one machine: a
//! name server that answers for everything, or the loopback line of an installer.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use super::Report;
use super::ports::is_local;
use crate::cli::instance::Instance;
use crate::cli::status;
use crate::ids::ServerId;
use crate::limits::STATUS_WAIT_MS_MAX;
use crate::server;
use crate::server::config::ListenAddress;
use crate::server::config::members::{Member, MemberAddress, Members};

const HOSTS: &str =
    "add it to /etc/hosts or DNS on this machine ('getent hosts NAME' shows what is found)";

/// A member's address and what its name resolves to on this machine.
struct Resolved<'a> {
    id: ServerId,
    address: &'a MemberAddress,
    ips: Vec<IpAddr>,
}

pub(super) fn check(instance: &Instance, report: &mut Report) {
    let ensemble = &instance.config.ensemble;
    let Some(members) = &ensemble.members else {
        return report.fine("ensemble", "none: this server stands alone");
    };
    let my_id = ensemble.my_id;
    // The configuration could not be read if it were not among them.
    report.fine("myid", &format!("this is server {my_id} of {}", members.servers.len()));
    let resolved = resolve(members, report);
    check_same_place(&resolved, report);
    for member in &resolved {
        if member.id == my_id {
            check_own(member, &resolved, report);
        } else {
            check_other(member, &resolved, report);
        }
    }
    let port = instance.config.clients.address.as_ref().map(|address| address.port);
    for other in resolved.iter().filter(|other| other.id != my_id) {
        ask(other, &members.servers[&other.id], port, report);
    }
}

fn resolve<'a>(members: &'a Members, report: &mut Report) -> Vec<Resolved<'a>> {
    let mut resolved = Vec::new();
    for (id, member) in &members.servers {
        for address in &member.addresses {
            let found = server::addresses_of(&address.host, address.election_port);
            let ips: Vec<IpAddr> = found.into_iter().flatten().map(|found| found.ip()).collect();
            if ips.is_empty() {
                let what = format!("server.{id}");
                let found = format!("the name {} has no address here", address.host);
                report.problem(&what, &found, HOSTS);
            } else {
                resolved.push(Resolved { id: *id, address, ips });
            }
        }
    }
    resolved
}

/// Two members at one address and port are one too many.
fn check_same_place(resolved: &[Resolved<'_>], report: &mut Report) {
    let mut places: BTreeMap<SocketAddr, ServerId> = BTreeMap::new();
    for member in resolved {
        let place = SocketAddr::new(member.ips[0], member.address.election_port);
        if let Some(other) = places.insert(place, member.id).filter(|other| *other != member.id) {
            let what = format!("server.{}", member.id);
            let found = format!("{} is {place} here, where server.{other} is too", member.name());
            report.problem(&what, &found, "give each name its own address in /etc/hosts");
        }
    }
}

impl Resolved<'_> {
    fn name(&self) -> &str {
        &self.address.host
    }

    fn is_on_loopback(&self) -> bool {
        self.ips.iter().all(IpAddr::is_loopback)
    }

    fn what(&self) -> String {
        format!("server.{} {}", self.id, self.name())
    }
}

/// Others must be able to reach this server where they are told it is.
fn check_own(own: &Resolved<'_>, all: &[Resolved<'_>], report: &mut Report) {
    let found = format!("this server, {} here", listed(&own.ips));
    if !own.ips.iter().any(|ip| is_local(*ip)) {
        let advice = "no address of this machine: correct the name in /etc/hosts, or myid";
        report.problem(&own.what(), &found, advice);
    } else if own.is_on_loopback() && all.iter().any(|other| !other.is_on_loopback()) {
        let advice = "the others cannot reach it on a loopback address: give the name this \
                      machine's real address in /etc/hosts";
        report.problem(&own.what(), &found, advice);
    } else {
        report.fine(&own.what(), &found);
    }
}

fn check_other(other: &Resolved<'_>, all: &[Resolved<'_>], report: &mut Report) {
    let all_loopback = all.iter().all(Resolved::is_on_loopback);
    if other.is_on_loopback() && !all_loopback {
        let found = format!("it is {} here, which is this machine itself", listed(&other.ips));
        let advice = "give the name that machine's address in /etc/hosts";
        return report.problem(&other.what(), &found, advice);
    }
    let private_elsewhere = all.iter().filter(|member| member.id != other.id);
    let mut private_elsewhere = private_elsewhere.flat_map(|member| &member.ips);
    if other.ips.iter().all(|ip| !is_private(*ip)) && private_elsewhere.any(|ip| is_private(*ip)) {
        let found = format!("it is {} here, a public address", listed(&other.ips));
        let advice = "other servers have private ones: is the line for it missing in /etc/hosts?";
        report.warn(&other.what(), &found, advice);
    }
    check_election_port(other, report);
}

/// COMPAT: a Java server logs a line of a connection that says nothing, and goes on.
fn check_election_port(other: &Resolved<'_>, report: &mut Report) {
    let port = other.address.election_port;
    let patience = Duration::from_millis(STATUS_WAIT_MS_MAX);
    let mut last = None;
    for ip in &other.ips {
        match TcpStream::connect_timeout(&SocketAddr::new(*ip, port), patience) {
            Ok(_) => {
                let found = format!("{ip}, where its election port {port} answers");
                return report.fine(&other.what(), &found);
            }
            Err(error) => last = Some(error),
        }
    }
    let found = format!(
        "it is {} here, and at its election port {port}: {}",
        listed(&other.ips),
        last.as_ref().map_or_else(String::new, ToString::to_string)
    );
    let advice = match last.as_ref().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            "start that server; if it runs, the name resolves to another machine: compare with \
             'getent hosts' there"
        }
        _ => "is that its address? compare with 'getent hosts' there; then look at the firewall",
    };
    report.warn(&other.what(), &found, advice);
}

/// Where a member's line does not say where its clients connect, it is asked at our own port, but
/// not on this machine: there that port is ours.
fn ask(other: &Resolved<'_>, member: &Member, own_port: Option<u16>, report: &mut Report) {
    let (address, advice) = match (&member.client, own_port) {
        (Some(client), _) => {
            let host = client.host.clone().unwrap_or_else(|| other.name().to_owned());
            let address = ListenAddress { host: Some(host), port: client.port };
            (address, "start it, or look at its log")
        }
        (None, Some(port)) if !other.ips.iter().any(|ip| is_local(*ip)) => {
            let address = ListenAddress { host: Some(other.name().to_owned()), port };
            (address, "it does not run, or its clientPort is another than ours")
        }
        (None, _) => return,
    };
    let what = format!("server.{} at client port {address}", other.id);
    match status::mode(&address) {
        Ok(mode) => report.fine(&what, &mode),
        Err(why) => report.warn(&what, &why, advice),
    }
}

fn listed(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Not to be found from everywhere: private networks, link-local and loopback addresses.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_and_private() {
        for text in ["10.1.2.3", "192.168.0.1", "127.0.1.1", "172.16.0.9", "::1", "fd00::1"] {
            assert!(is_private(text.parse().unwrap()), "{text}");
        }
        for text in ["202.106.199.35", "2001:db8::1", "172.32.0.1"] {
            assert!(!is_private(text.parse().unwrap()), "{text}");
        }
    }
}
