//! Trials that measure: the same on our ensemble and on Java's, in one run. They tell, and judge
//! nothing: on a machine with other work a figure proves little.

pub mod failover;
pub mod rejoin;
pub mod throughput;

/// What ours is measured against.
const REFERENCE: &str = "J39,J39,J39";
