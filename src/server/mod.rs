//! A server as a whole: what it is configured to do, how it starts and stops.

pub mod config;
