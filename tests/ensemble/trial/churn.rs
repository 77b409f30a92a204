//! `--churn N`: N sessions, one after the other, on every node at once, while others write: each is
//! opened, owns an ephemeral, asks for a sync, and is closed. None may wait for long.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ringkeeper::wire::request::Request;

use crate::cluster::{BRISK, Cluster};
use crate::load::{Load, must};
use crate::options::Options;
use crate::round::{compare, digest};
use crate::support::client::{create, new_session};
use crate::support::{Client, Connection, Random};

const PATIENCE: Duration = Duration::from_secs(10);
const WRITERS: usize = 3;
const RATE: u64 = 300;

/// The trial.
pub fn churn(options: &Options, dir: &Path) -> Result<String, String> {
    let kinds = options.servers("R,R,R")?;
    let count = options.number("--churn", 200)?;
    let mut cluster = Cluster::prepare(&kinds, crate::network(options, kinds.len())?, BRISK, dir)?;
    cluster.start()?;
    let mut random = Random::new(options.number("--seed", 1)?);
    let load = Load::start(&cluster, "/churn", WRITERS, RATE, &mut random)?;
    let threads: Vec<_> = cluster
        .addresses()
        .into_iter()
        .map(|server| std::thread::spawn(move || come_and_go(server, count)))
        .collect();
    let ended: Vec<_> =
        threads.into_iter().map(|thread| thread.join().expect("sessions")).collect();
    let outcomes = load.stop()?;
    ended.into_iter().collect::<Result<Vec<()>, _>>()?;
    let tree = compare::same_everywhere(&mut cluster)?;
    outcomes.iter().try_for_each(|outcome| outcome.ledger.verify(&tree))?;
    compare::same_counts(&cluster)?;
    digest::no_mismatch(&cluster)?;
    Ok(format!("{count} sessions on each of {} nodes", kinds.len()))
}

fn come_and_go(server: SocketAddr, count: u64) -> Result<(), String> {
    for number in 0..count {
        let told = |what: &str, why: String| format!("session {number} on {server}: {what}: {why}");
        let opened = Connection::open_within(server, PATIENCE)
            .and_then(|connection| Client::over(connection, &new_session(30_000)));
        let mut client = opened.map_err(|why| told("opening it", why.to_string()))?;
        let path = format!("/churn/{}-{number}", client.session);
        must(&mut client, &create(&path, b"", 1)).map_err(|why| told("an ephemeral", why))?;
        let sync = Request::Sync { path: Some("/".into()) };
        must(&mut client, &sync).map_err(|why| told("a sync", why))?;
        must(&mut client, &Request::CloseSession).map_err(|why| told("closing it", why))?;
    }
    Ok(())
}
