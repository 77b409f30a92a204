//! `zoo.cfg`, Java-style properties, and what they come to.
//!
//! Runs once, at start, on the main thread. In: a file and `-D` properties. Out: a [`Config`] and
//! what an operator should be told, or an error that ends the process with code 2.
//! Reads `zoo.cfg`, the dynamic file and `myid`; writes nothing.

use std::fs;
use std::path::{Path, PathBuf};

pub mod keys;
pub mod members;
mod problem;
mod properties;
mod resolve;
mod settings;
mod shape;
mod values;

pub use members::{Member, MemberAddress, Members, Role};
pub use problem::{ConfigError, Place, Warning};
pub use settings::{
    Admin, Auth, Clients, Compression, Ensemble, ListenAddress, Placement, RequestThrottle,
    Sessions, Storage, Tree,
};
use values::Values;

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
        file: Option<&Path>,
        properties: &[(String, String)],
    ) -> Result<(Self, Vec<Warning>), ConfigError> {
        let entries = file.map(read_entries).transpose()?.unwrap_or_default();
        let mut values = Values::gather(properties, file, &entries)?;
        // The rules know no file; whoever reads their words should.
        let config = Self::resolve(&mut values, file).map_err(|error| error.in_file(file))?;
        Ok((config, values.warnings))
    }

    fn resolve(values: &mut Values, file: Option<&Path>) -> Result<Self, ConfigError> {
        check_quorum_auth(values)?;
        let mut clients = resolve::clients(values)?;
        let storage = resolve::storage(values, file.is_none())?;
        let sessions = resolve::sessions(values)?;
        let ensemble = shape::ensemble(values, file, &storage.data_dir, &mut clients.address)?;
        if clients.address.is_none() && clients.secure_address.is_none() {
            if file.is_none() {
                clients.address = Some(resolve::embedded_address());
            } else {
                values.warn("clientPort is not set: no client can connect".to_owned());
            }
        }
        Ok(Self {
            file: file.map(Path::to_path_buf),
            clients,
            sessions,
            storage,
            tree: resolve::tree(values),
            auth: resolve::auth(values),
            admin: resolve::admin(values)?,
            ensemble,
            placement: resolve::placement(values)?,
        })
    }

    /// The file that the server which runs on this data holds locked.
    pub fn lock_file(&self) -> PathBuf {
        crate::log::lock_file(&self.storage.data_dir)
    }

    /// Whether it stands alone.
    pub fn is_standalone(&self) -> bool {
        self.ensemble.members.is_none()
    }
}

fn read_entries(file: &Path) -> Result<Vec<properties::Entry>, ConfigError> {
    let bytes = fs::read(file)
        .map_err(|source| ConfigError::Unreadable { file: file.to_path_buf(), source })?;
    properties::parse(&bytes).map_err(|malformed| ConfigError::Malformed {
        place: Place::Line(file.to_path_buf(), malformed.line),
        why: "malformed \\uxxxx encoding",
    })
}

/// Each of the three asks for the one before it.
fn check_quorum_auth(values: &Values) -> Result<(), ConfigError> {
    let (enable, learner, server) = (
        "quorum.auth.enableSasl",
        "quorum.auth.learnerRequireSasl",
        "quorum.auth.serverRequireSasl",
    );
    for (needed, needing) in [(enable, server), (enable, learner), (learner, server)] {
        if values.flag(needing) && !values.flag(needed) {
            let text = format!("{needed} is disabled, so cannot enable {needing}");
            return Err(ConfigError::rule(None, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
