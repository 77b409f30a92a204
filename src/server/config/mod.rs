//! `zoo.cfg`, Java-style properties, and what they come to.
//!
//! Runs once, at start, on the main thread. In: a file and `-D` properties. Out: a [`Config`] and
//! what an operator should be told, or an error that ends the process with code 2.
//! Reads `zoo.cfg`, the dynamic file and `myid`; writes nothing.

use std::path::{Path, PathBuf};

pub mod flags;
pub mod members;
mod problem;
mod settings;

pub use problem::{ConfigError, Place, Warning};
pub use settings::{
    Admin, Auth, Clients, Compression, ConnectionThrottle, DigestAlgorithm, Ensemble,
    ListenAddress, Placement, RequestThrottle, Sessions, Storage, Tree,
};

/// Everything a server is told before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from; `None` for the embedded default.
    pub file: Option<PathBuf>,
    /// Connections and what they may cost.
    pub clients: Clients,
    /// How long a session may be silent.
    pub sessions: Sessions,
    /// The disk.
    pub storage: Storage,
    /// What the tree allows.
    pub tree: Tree,
    /// Who may do what.
    pub auth: Auth,
    /// The admin server.
    pub admin: Admin,
    /// This server's place among others.
    pub ensemble: Ensemble,
    /// Where threads run.
    pub placement: Placement,
}

impl Config {
    /// Reads `file` (none: the embedded default) and `properties` (`-D`, the last of a name wins).
    ///
    /// # Errors
    /// When a file cannot be read, a value is not allowed, or the whole makes no server.
    pub fn load(
        _file: Option<&Path>,
        _properties: &[(String, String)],
    ) -> Result<(Self, Vec<Warning>), ConfigError> {
        Err(ConfigError::rule(None, "not read yet"))
    }
}
