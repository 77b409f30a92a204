//! The end of the guide's story: a hosts file sends one server to a wrong address. The log must
//! tell the name and the address outright, and once the file is right, no server needs a restart.

use std::net::Ipv4Addr;

use super::operator::Operator;
use crate::cluster::Role;

/// Set aside for documentation: no machine of the test's has it.
const WRONG: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 35);

/// Servers 1 and 2 of three that are all down: without the link between them there is no quorum.
pub fn wrong_mapping(operator: &mut Operator<'_>) -> Result<String, String> {
    operator.cluster.network.map_hosts(0, Some((1, WRONG)))?;
    let from = operator.cluster.nodes[0].server.log().len();
    operator.start(0)?;
    let named = format!("Cannot open channel to 2 at election address slave-02/{WRONG}:3888");
    let line = operator.line(0, from, &[&named])?;
    operator.start(1)?;
    names_the_mapping(operator, from)?;
    if let Some(mode) = operator.mode(0) {
        return Err(format!("node 1 is a {mode:?}, though it cannot reach node 2"));
    }
    operator.cluster.network.map_hosts(0, None)?;
    operator.expect_modes(&[Role::Follower, Role::Leader])?;
    Ok(line)
}

/// Server 2 has said where it listens: the log says where the name leads instead, and where to
/// look. Java's does not.
fn names_the_mapping(operator: &Operator<'_>, from: usize) -> Result<(), String> {
    if operator.cluster.nodes[0].kind.program.is_java() {
        return operator.line(0, from, &["leader"]).map(|_| ());
    }
    let right = operator.cluster.nodes[1].place.client.ip();
    let what = format!("slave-02:2888 resolves to {WRONG}:2888 here, which is not at {right}");
    operator.line(0, from, &[&what, "check slave-02 in the hosts file"]).map(|_| ())
}
