//! Where the servers of a cluster live, and how links between them are cut.
//!
//! `Spaces`: a network namespace for each server, joined by a bridge, all with the same ports as on
//! machines of their own. A link is cut one way by a neighbour entry that leads nowhere: packets
//! vanish and no connection is told, as with a dead switch. Clients come in over the bridge and
//! are never cut off. It needs root and `ip`. `Loopback`: 127.0.0.1 and free ports; no cuts.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::process::free_port;

/// An address on no machine: frames to it vanish.
const NOWHERE: &str = "02:00:00:00:de:ad";

/// Where `ip netns exec` looks for files to put over those of `/etc`.
const HOSTS: &str = "/etc/netns";

/// How many networks this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// The addresses of one server.
#[derive(Clone, Debug)]
pub struct Place {
    /// As `server.N` names it: an address, or a name that only these servers know.
    pub host: String,
    pub client: SocketAddr,
    pub quorum_port: u16,
    pub election_port: u16,
    /// What to put before a command so that it runs there.
    pub prefix: Vec<String>,
}

/// A network for one cluster.
#[derive(Debug)]
pub enum Network {
    Loopback,
    Spaces(Spaces),
}

/// Namespaces and their bridge; gone when dropped.
#[derive(Debug)]
pub struct Spaces {
    /// Of this process and cluster, in the names of everything made.
    tag: String,
    /// The third byte pair of 198.18.0.0/15, which is set aside for tests.
    subnet: [u8; 3],
    count: usize,
    cut: Vec<(usize, usize)>,
    /// What host names begin with, once there are some.
    stem: Option<String>,
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(format!("ip {arguments}: {why}"))
        }
        Err(err) => Err(format!("ip: {err}: install iproute2")),
    }
}

impl Network {
    /// Namespaces where this process may make them.
    pub fn spaces(count: usize) -> Result<Self, String> {
        Spaces::new(count).map(Self::Spaces)
    }

    /// Where the server of index `at` lives.
    pub fn place(&self, at: usize) -> Place {
        match self {
            Self::Loopback => Place {
                host: "127.0.0.1".to_owned(),
                client: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())),
                quorum_port: free_port(),
                election_port: free_port(),
                prefix: Vec::new(),
            },
            Self::Spaces(spaces) => Place {
                host: spaces.host(at),
                client: SocketAddr::from((spaces.address(at), 2181)),
                quorum_port: 2888,
                election_port: 3888,
                prefix: ["ip", "netns", "exec", &spaces.name(at)].map(str::to_owned).to_vec(),
            },
        }
    }

    /// The servers have names from now on, as in a hosts file on each: `slave-01`, `slave-02`, …
    pub fn name_hosts(&mut self, stem: &str) -> Result<(), String> {
        match self {
            Self::Loopback => Err("hosts of a loopback network cannot be named".to_owned()),
            Self::Spaces(spaces) => spaces.name_hosts(stem).map_err(|err| err.to_string()),
        }
    }

    /// The hosts file of `at` is right, but for the one address that is `wrong`, if any.
    pub fn map_hosts(&self, at: usize, wrong: Option<(usize, Ipv4Addr)>) -> Result<(), String> {
        match self {
            Self::Loopback => Err("hosts of a loopback network have no names".to_owned()),
            Self::Spaces(spaces) => spaces.write_hosts(at, wrong).map_err(|err| err.to_string()),
        }
    }

    /// Nothing sent by `from` reaches `to` any more.
    pub fn cut(&mut self, from: usize, to: usize) -> Result<(), String> {
        match self {
            Self::Loopback => Err("links of a loopback network cannot be cut".to_owned()),
            Self::Spaces(spaces) => spaces.cut(from, to),
        }
    }

    /// Whether links can be cut here.
    pub const fn can_cut(&self) -> bool {
        matches!(self, Self::Spaces(_))
    }

    /// All links carry again.
    pub fn heal(&mut self) -> Result<(), String> {
        match self {
            Self::Loopback => Ok(()),
            Self::Spaces(spaces) => spaces.heal(),
        }
    }
}

impl Spaces {
    fn new(count: usize) -> Result<Self, String> {
        let me = std::process::id();
        // the kernel takes a namespace down some time after `ip netns del` has returned, and its
        // names and addresses until then: no two networks of a process share any
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            sweep(me);
        }
        let tag = format!("rk{me}n{number}");
        let [_, high, low, _] =
            me.wrapping_mul(0x9e37_79b9).wrapping_add(number << 8).to_be_bytes();
        let subnet = [198, 18 + (high & 1), low];
        let spaces = Self { tag, subnet, count, cut: vec![], stem: None };
        spaces.make_bridge()?;
        (0..count).try_for_each(|at| spaces.join(at))?;
        Ok(spaces)
    }

    /// The bridge, with this machine on it.
    fn make_bridge(&self) -> Result<(), String> {
        let (bridge, [a, b, c]) = (&self.tag, self.subnet);
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {a}.{b}.{c}.254/24 dev {bridge}"))?;
        ip(&format!("link set {bridge} up"))
    }

    fn join(&self, at: usize) -> Result<(), String> {
        let (bridge, space, address) = (&self.tag, self.name(at), self.address(at));
        let port = self.port(at);
        ip(&format!("netns add {space}"))?;
        ip(&format!("link add {port} type veth peer name eth0 netns {space}"))?;
        ip(&format!("link set {port} master {bridge} up"))?;
        ip(&format!("-n {space} addr add {address}/24 dev eth0"))?;
        ip(&format!("-n {space} link set lo up"))?;
        ip(&format!("-n {space} link set eth0 up"))
    }

    fn name(&self, at: usize) -> String {
        format!("{}-{}", self.tag, at + 1)
    }

    /// The end on the bridge of the server's link.
    fn port(&self, at: usize) -> String {
        format!("{}p{at}", self.tag)
    }

    fn address(&self, at: usize) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, u8::try_from(at + 1).expect("a small cluster"))
    }

    fn host(&self, at: usize) -> String {
        match &self.stem {
            Some(stem) => format!("{stem}{:02}", at + 1),
            None => self.address(at).to_string(),
        }
    }

    fn name_hosts(&mut self, stem: &str) -> std::io::Result<()> {
        self.stem = Some(stem.to_owned());
        (0..self.count).try_for_each(|at| self.write_hosts(at, None))
    }

    /// `ip netns exec` puts this file over `/etc/hosts`, where a server that runs sees it change.
    fn write_hosts(&self, at: usize, wrong: Option<(usize, Ipv4Addr)>) -> std::io::Result<()> {
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for other in 0..self.count {
            let right = self.address(other);
            let address = wrong.filter(|(whose, _)| *whose == other).map_or(right, |(_, at)| at);
            writeln!(text, "{address} {}", self.host(other)).expect("a string takes it");
        }
        let folder = Path::new(HOSTS).join(self.name(at));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("hosts"), &text)
    }

    fn cut(&mut self, from: usize, to: usize) -> Result<(), String> {
        let (space, address) = (self.name(from), self.address(to));
        self.cut.push((from, to));
        ip(&format!("-n {space} neigh replace {address} lladdr {NOWHERE} nud permanent dev eth0"))
    }

    fn heal(&mut self) -> Result<(), String> {
        for (from, to) in std::mem::take(&mut self.cut) {
            let (space, address) = (self.name(from), self.address(to));
            ip(&format!("-n {space} neigh del {address} dev eth0"))?;
        }
        Ok(())
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        for at in 0..self.count {
            // its other end goes with it at once; left to the namespace, both would go later
            let _ = ip(&format!("link del {}", self.port(at)));
            let _ = ip(&format!("netns del {}", self.name(at)));
            let _ = std::fs::remove_dir_all(Path::new(HOSTS).join(self.name(at)));
        }
        let _ = ip(&format!("link del {}", self.tag));
    }
}

/// Takes away what a test left that was killed: names hold the pid of who made them, which may be
/// that of this process, `me`, that has made nothing yet.
fn sweep(me: u32) {
    let alive = |name: &str| {
        let digits = name.strip_prefix("rk").unwrap_or("");
        let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
        let other = digits != me.to_string();
        digits.is_empty() || other && Path::new("/proc").join(digits).exists()
    };
    for entry in std::fs::read_dir(HOSTS).into_iter().flatten().flatten() {
        if !alive(&entry.file_name().to_string_lossy()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    for (folder, command) in [("/run/netns", "netns del"), ("/sys/class/net", "link del")] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !alive(&name) {
                let _ = ip(&format!("{command} {name}"));
            }
        }
    }
}
