//! The command line.

use crate::cluster::Kind;

/// What to run, on what.
#[derive(Debug)]
pub struct Options {
    arguments: Vec<String>,
}

impl Options {
    pub fn read() -> Self {
        Self { arguments: std::env::args().skip(1).collect() }
    }

    /// Whether `--name` was given.
    pub fn has(&self, name: &str) -> bool {
        self.arguments.iter().any(|argument| argument == name)
    }

    /// What stands behind `--name`.
    pub fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        let at = self.arguments.iter().position(|argument| argument == name);
        at.and_then(|at| self.arguments.get(at + 1)).map_or(default, String::as_str)
    }

    pub fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        match self.text(name, "") {
            "" => Ok(default),
            text => text.parse().map_err(|_| format!("{name} takes a number, not {text:?}")),
        }
    }

    /// `--servers`.
    pub fn servers(&self, default: &str) -> Result<Vec<Kind>, String> {
        Kind::parse_list(self.text("--servers", default))
    }

    /// The command that runs this again.
    pub fn replay(&self) -> String {
        format!("cargo test --test ensemble -- {}", self.arguments.join(" "))
    }
}
