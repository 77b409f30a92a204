//! `--stop`: a leader that has lost its quorum, and was asked for more than it may have in flight,
//! stops at once when it is told to: it does not wait for what it cannot get.

use std::path::Path;
use std::time::Duration;

use ringkeeper::clock::Clock;
use ringkeeper::limits::{PROPOSALS_IN_FLIGHT_MAX, PROPOSALS_RESERVED};
use ringkeeper::wire::request::Request;

use crate::cluster::Cluster;
use crate::cluster::node::said;
use crate::options::Options;
use crate::support::client::{Client, append};
use crate::support::process::wait_for;

/// The leader notices after 10 s that nobody acks; until then it hopes.
const SETTINGS: &[&str] =
    &["tickTime=2000", "initLimit=5", "syncLimit=5", "globalOutstandingLimit=100000"];
const CLIENTS: usize = 24;
/// What clients may have in flight.
const ROOM: usize = PROPOSALS_IN_FLIGHT_MAX - PROPOSALS_RESERVED;
const WRITES_EACH: usize = 3 * ROOM / CLIENTS;
/// Far from what the leader needs to notice, and from what a clean stop takes.
const STOP_MAX: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(5);

/// The trial.
pub fn stop(options: &Options, dir: &Path) -> Result<String, String> {
    let kinds = options.servers("R,R,R")?;
    let network = crate::network(options, kinds.len())?;
    let mut cluster = Cluster::prepare(&kinds, network, SETTINGS, dir)?;
    cluster.start()?;
    let leader = cluster.wait_leader(&[])?;
    let address = cluster.addresses()[leader];
    let connect = |_| Client::connect(address).map_err(said);
    let mut clients = (0..CLIENTS).map(connect).collect::<Result<Vec<_>, _>>()?;
    for follower in (0..kinds.len()).filter(|at| *at != leader) {
        cluster.pause(follower)?;
    }
    clients.iter_mut().try_for_each(flood)?;
    let asked = || cluster.nodes[leader].metric("zk_outstanding_requests");
    let full = i64::try_from(ROOM).map_err(said)?;
    let is_full = || asked().is_some_and(|asked| asked > full);
    if !wait_for(PATIENCE, is_full) {
        return Err(format!("the leader has only {:?} requests in flight", asked()));
    }
    let clock = Clock::start();
    cluster.stop(leader)?;
    let took = clock.elapsed();
    cluster.heal()?;
    cluster.wait_serving()?;
    let text = format!("the leader stopped in {took:?}");
    if took < STOP_MAX { Ok(text) } else { Err(text) }
}

fn flood(client: &mut Client) -> Result<(), String> {
    let mut out = Vec::new();
    for _ in 0..WRITES_EACH {
        let request = Request::SetData { path: "/".into(), data: Some(b"x"), version: -1 };
        append(&mut out, client.next_xid(), &request);
    }
    client.connection.send(&out).map_err(said)
}
