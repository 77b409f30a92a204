//! Trials that are not rounds: each is one question to one ensemble or two.

pub mod checkers;
pub mod churn;
pub mod failover;
pub mod hostile;
pub mod rejoin;
pub mod roll;
pub mod throughput;
pub mod walkthrough;
