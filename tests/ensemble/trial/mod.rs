//! Trials that are not rounds: each asks one thing, and it holds or not.

pub mod checkers;
pub mod churn;
pub mod hostile;
pub mod mapping;
pub mod operator;
pub mod roll;
pub mod stop;
pub mod walkthrough;
pub mod wiped;
