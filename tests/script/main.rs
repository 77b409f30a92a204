//! Stories of the protocol, as data: `tests/script/*/*.txt`.
//!
//! A block is commands, a line `----`, and what they lead to, up to an empty line. Lines that begin
//! with `#` are for the reader. `REWRITE=1 cargo test --test script` writes down what happens now:
//! read the difference before it is committed. `env.rs` says what the commands of elections are,
//! `ensemble/mod.rs` those of whole ensembles; `issues/` has the stories of known bugs.

mod ensemble;
mod env;
mod issues;
mod lone;
mod strange;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use ensemble::Ensemble;
use env::Cluster;

#[test]
fn stories_of_elections_go_as_they_are_told() {
    check_stories("election", 7, || {
        let mut cluster = Cluster::default();
        move |told| match told {
            Told::Command(line) => {
                cluster.command(line);
                String::new()
            }
            Told::Outcome => cluster.take_trace(),
        }
    });
}

#[test]
fn stories_of_ensembles_go_as_they_are_told() {
    check_stories("zab", 8, || {
        let mut ensemble = Ensemble::default();
        move |told| match told {
            Told::Command(line) => {
                ensemble.command(line);
                String::new()
            }
            Told::Outcome => ensemble.take_trace(),
        }
    });
}

/// What a story's reader comes across.
enum Told<'a> {
    Command(&'a str),
    /// What the commands so far have led to is to be said.
    Outcome,
}

/// Compares every story of a folder with what happens; `begin` sets up the world of one.
fn check_stories<W: FnMut(Told<'_>) -> String>(
    folder: &str,
    stories_min: usize,
    begin: impl Fn() -> W,
) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/script").join(folder);
    let mut stories: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of stories")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    stories.sort();
    let count = stories.len();
    assert!(count >= stories_min, "only {count} stories in {}", folder.display());
    let rewrite = std::env::var_os("REWRITE").is_some();
    let mut wrong = Vec::new();
    for story in stories {
        let told = fs::read_to_string(&story).expect("a story");
        let happened = retell(&told, begin());
        if rewrite {
            fs::write(&story, &happened).expect("a story that can be written");
        } else if told != happened {
            wrong.push(format!("{}\n{}", story.display(), difference(&told, &happened)));
        }
    }
    let replay = "to accept: REWRITE=1 cargo test --test script";
    assert!(wrong.is_empty(), "\n{}\n{replay}", wrong.join("\n"));
}

/// The story with what happens now in place of what it says.
fn retell(story: &str, mut world: impl FnMut(Told<'_>) -> String) -> String {
    let mut out = String::new();
    let mut is_outcome = false;
    for line in story.lines() {
        if is_outcome {
            is_outcome = !line.is_empty();
            if is_outcome {
                continue;
            }
        }
        out.push_str(line);
        out.push('\n');
        if line == "----" {
            is_outcome = true;
            out.push_str(&world(Told::Outcome));
        } else if !line.is_empty() && !line.starts_with('#') {
            world(Told::Command(line));
        }
    }
    out
}

/// The first line that differs.
fn difference(told: &str, happened: &str) -> String {
    let mut lines = told.lines().zip(happened.lines()).enumerate();
    match lines.find(|(_, (told, happened))| told != happened) {
        Some((line, (told, happened))) => {
            format!("line {}:\n- {told}\n+ {happened}", line + 1)
        }
        None => format!("{} lines, not {}", happened.lines().count(), told.lines().count()),
    }
}
