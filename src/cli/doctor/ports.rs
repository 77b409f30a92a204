//! This server itself: does it run, and if not, are its ports free?

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;

use rustix::process::Pid;

use super::Report;
use crate::cli::instance::Instance;
use crate::cli::status;
use crate::server;

pub(super) fn check(instance: &Instance, report: &mut Report) {
    if let Some(pid) = instance.signs.holder() {
        return check_running(instance, pid, report);
    }
    let config = &instance.config;
    let clients = [("clientPort", &config.clients.address)];
    for (key, address) in clients {
        let Some(address) = address else { continue };
        let host = address.host.as_deref().unwrap_or("0.0.0.0");
        check_free(key, host, address.port, report);
    }
    let ensemble = &config.ensemble;
    let own = ensemble.members.as_ref().and_then(|members| members.servers.get(&ensemble.my_id));
    for address in own.into_iter().flat_map(|member| &member.addresses) {
        let host = if ensemble.listen_on_all { "0.0.0.0" } else { address.host.as_str() };
        check_free("quorum port", host, address.quorum_port, report);
        check_free("election port", host, address.election_port, report);
    }
}

fn check_running(instance: &Instance, pid: Pid, report: &mut Report) {
    let what = format!("this server (process {pid})");
    match instance.config.clients.address.as_ref().map(status::mode) {
        None => report.fine(&what, "it runs; no client port to ask it at"),
        Some(Ok(mode)) => report.fine(&what, &format!("it serves; {mode}")),
        Some(Err(why)) => report.problem(&what, &why, "look at its log"),
    }
}

/// Binds and lets go again. A name without an address is told where members are looked at.
fn check_free(key: &str, host: &str, port: u16, report: &mut Report) {
    let found = server::addresses_of(host, port).unwrap_or_default();
    let Some(address) = found.first() else { return };
    let what = format!("{key} {port}");
    match TcpListener::bind(address) {
        Ok(_) => report.fine(&what, "free"),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let who = holder(port).unwrap_or_else(|| "another process".to_owned());
            report.problem(&what, &format!("taken by {who}"), "stop that, or choose another port");
        }
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            let found = format!("{host} is {}, which is not of this machine", address.ip());
            report.problem(
                &what,
                &found,
                "correct the name in /etc/hosts, or in the configuration",
            );
        }
        Err(error) => report.problem(&what, &error.to_string(), "choose another port or user"),
    }
}

/// Whether an address is this machine's: something can be bound to it.
pub(super) fn is_local(address: IpAddr) -> bool {
    TcpListener::bind(SocketAddr::new(address, 0)).is_ok()
}

/// Whoever listens on a port, as far as this user may see.
fn holder(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let mut lines = tables.iter().flatten().flat_map(|table| table.lines().skip(1));
    let inode = lines.find_map(|line| listening(line, port))?;
    let link = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let has_it = |process: &Path| {
        let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let mut targets = files.filter_map(|file| fs::read_link(file.path()).ok());
        targets.any(|target| target.as_os_str() == link.as_str())
    };
    for process in processes.map(|process| process.path()) {
        let name = process.file_name()?.to_string_lossy().into_owned();
        if name.parse::<u32>().is_ok() && has_it(&process) {
            let command = fs::read_to_string(process.join("comm")).unwrap_or_default();
            return Some(format!("process {name} ({})", command.trim()));
        }
    }
    None
}

/// The inode of a line of `/proc/net/tcp`, if it is of a socket that listens on `port`.
fn listening(line: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
    let (_, local_port) = local.rsplit_once(':')?;
    (*state == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port)).then_some(*inode)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = format!("process {} (", std::process::id());
        assert!(holder(port).is_some_and(|who| who.starts_with(&own)), "{:?}", holder(port));
        let line = "   0: 0100007F:0885 00000000:0000 0A 00000000:00000000 00:00000000 00000000     \
                    0        0 4711 1 0000000000000000 100 0 0 10 0";
        assert_eq!(listening(line, 0x885), Some("4711"));
        assert_eq!(listening(line, 0x886), None);
        assert_eq!(listening(&line.replace(" 0A ", " 01 "), 0x885), None);
    }

    #[test]
    fn addresses_of_this_machine() {
        assert!(is_local(Ipv4Addr::LOCALHOST.into()));
        assert!(!is_local(Ipv4Addr::new(192, 0, 2, 1).into()), "kept for documentation");
    }
}
