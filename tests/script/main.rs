//! Stories of the protocol, as data: `tests/script/*/*.txt`.
//!
//! A block is commands, a line `----`, and what they lead to, up to an empty line. Lines that begin
//! with `#` are for the reader. `REWRITE=1 cargo test --test script` writes down what happens now:
//! read the difference before it is committed. `env.rs` says what the commands are.

mod env;

use std::fs;
use std::path::{Path, PathBuf};

use env::Cluster;

#[test]
fn stories_go_as_they_are_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/script/election");
    let mut stories: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of stories")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    stories.sort();
    assert!(stories.len() >= 7, "only {} stories in {}", stories.len(), folder.display());
    let rewrite = std::env::var_os("REWRITE").is_some();
    let mut wrong = Vec::new();
    for story in stories {
        let told = fs::read_to_string(&story).expect("a story");
        let happened = retell(&told);
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
fn retell(story: &str) -> String {
    let mut cluster = Cluster::default();
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
            out.push_str(&cluster.take_trace());
        } else if !line.is_empty() && !line.starts_with('#') {
            cluster.command(line);
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
