//! `zkserver`: parse the command line, run it, turn a failure into an exit code.

fn main() {}
