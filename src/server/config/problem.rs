//! What can be wrong with a configuration, in the words an operator reads.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use tracing::Level;

use crate::error::{ExitCode, Fatal};

/// Where a value was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In a file, on a line (from 1).
    Line(PathBuf, usize),
    /// As `-Dname=value`, under this name.
    Property(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{}:{line}", file.display()),
            Self::Property(name) => write!(f, "-D{name}"),
        }
    }
}

/// Something an operator should know, though the server starts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning {
    /// How loudly to say it. `ERROR` where Java logs an error and goes on all the same.
    pub level: Level,
    /// One line.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a configuration cannot be used.
#[derive(Debug)]
pub enum ConfigError {
    /// A file could not be read.
    Unreadable {
        /// Which one.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no properties file.
    Malformed {
        /// Where.
        place: Place,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A value is not one its key allows.
    BadValue {
        /// Where it was given.
        place: Place,
        /// The key as it was written.
        key: String,
        /// The value as it was written.
        value: String,
        /// What the key takes.
        allowed: String,
    },
    /// Values that are fine one by one do not fit together, or something needed is missing.
    Rule {
        /// The file at fault, where one is.
        file: Option<PathBuf>,
        /// The rule, in the words Java uses, where an operator greps for them.
        text: String,
    },
}

impl ConfigError {
    /// A rule broken by `file` as a whole.
    pub(super) fn rule(file: Option<&Path>, text: impl Into<String>) -> Self {
        Self::Rule { file: file.map(Path::to_path_buf), text: text.into() }
    }

    /// The same, with the file at fault where a rule does not know it.
    pub(super) fn in_file(mut self, at_fault: Option<&Path>) -> Self {
        if let Self::Rule { file: file @ None, .. } = &mut self {
            *file = at_fault.map(Path::to_path_buf);
        }
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, source } => {
                write!(f, "Error processing {}: {source}", file.display())
            }
            Self::Malformed { place, why } => write!(f, "{place}: {why}"),
            Self::BadValue { place, key, value, allowed } => {
                write!(f, "{place}: {key}={value}: not allowed; {key} takes {allowed}")
            }
            Self::Rule { file: Some(file), text } => write!(f, "{}: {text}", file.display()),
            Self::Rule { file: None, text } => f.write_str(text),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Fatal {
    fn from(error: ConfigError) -> Self {
        Self::new(ExitCode::Invocation, format!("Invalid config, exiting abnormally: {error}"))
    }
}
