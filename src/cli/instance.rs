//! One server of this machine: its configuration and the files it is controlled by.

use std::path::{Path, PathBuf};

use super::args::Start;
use super::occupant::Signs;
use super::variables::Variables;
use crate::error::{ExitCode, Fatal};
use crate::server::config::{Config, Warning};

/// Which server, and where things are.
#[derive(Clone, Debug)]
pub struct Instance {
    /// What it is configured to do.
    pub config: Config,
    /// What may be wrong with that.
    pub warnings: Vec<Warning>,
    /// Its configuration file, an absolute path; `None` for the embedded default.
    pub file: Option<PathBuf>,
    /// Java-style properties it is started with.
    pub properties: Vec<(String, String)>,
    /// Where `start` leaves its number.
    pub pid_file: PathBuf,
    /// Where it logs when it is in the background.
    pub log_file: PathBuf,
    /// What its process is known by.
    pub signs: Signs,
}

impl Instance {
    /// Reads the configuration that `start` names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load(start: &Start, variables: &Variables) -> Result<Self, Fatal> {
        let (config, warnings) = Config::load(start.file.as_deref(), &start.properties)?;
        let data_dir = &config.storage.data_dir;
        let (pid_file, log_file) = (variables.pid_file(data_dir), variables.log_file(data_dir));
        let lock_file = config.lock_file();
        let version_dirs =
            [data_dir, &config.storage.data_log_dir].map(|dir| dir.join("version-2"));
        let file = start.file.as_deref().map(absolute).transpose()?;
        Ok(Self {
            warnings,
            properties: start.properties.clone(),
            pid_file,
            log_file,
            signs: Signs { lock_file, version_dirs, config_file: file.clone() },
            file,
            config,
        })
    }

    /// What `ZOO_DATADIR_AUTOCREATE_DISABLE` asks for: the directories are there already.
    pub fn missing_directory(&self) -> Option<String> {
        let storage = &self.config.storage;
        let of = [("data", &storage.data_dir), ("txnlog", &storage.data_log_dir)];
        let missing = of.into_iter().find(|(_, dir)| !dir.join("version-2").is_dir());
        missing.map(|(what, dir)| {
            let dir = dir.display();
            format!("ZooKeeper {what} directory is missing at {dir} fix the path or run initialize")
        })
    }
}

fn absolute(file: &Path) -> Result<PathBuf, Fatal> {
    std::path::absolute(file).map_err(|error| {
        Fatal::new(ExitCode::Unexpected, format!("where is {}? {error}", file.display()))
    })
}
