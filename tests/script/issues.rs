//! Known bugs of the protocol, each as the story that led to it.

use crate::ensemble::Ensemble;

/// Runs a story's commands; what must hold is checked after every step.
fn tell(commands: &str) -> Ensemble {
    let mut ensemble = Ensemble::default();
    for line in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
        ensemble.command(line);
    }
    ensemble
}

#[test]
fn three_servers_serve() {
    let ensemble = tell("ensemble 1 2 3\nstart 1\nstart 2\nstart 3\nrun 1000\nwrite 3 2\nrun 100");
    assert_eq!(ensemble.zab(1).epoch(), ensemble.zab(3).epoch());
}
