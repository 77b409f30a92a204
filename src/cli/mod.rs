//! What a person types: the command lines of `zkserver`.

pub mod args;
pub mod flags;
pub mod start;
