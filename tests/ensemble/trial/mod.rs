//! Trials that are not rounds: each is one question to one ensemble or two.

pub mod failover;
pub mod hostile;
pub mod roll;
pub mod walkthrough;
