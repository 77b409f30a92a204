//! The environment variables of `ZooKeeper`'s scripts, and where they lead to a configuration.
//!
//! Read once, by [`Variables::from_process`]; what follows from them is a function of them and of
//! which files exist. COMPAT: `zkEnv.sh`, `zkServer.sh`. Ours where they have no such rule: without
//! any folder named, `./conf` and `/etc/ringkeeper` are looked into, and logs go to dataDir.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const CONFIG_NAME: &str = "zoo.cfg";
/// Where a package or an operator puts the configuration of this machine's server.
const SYSTEM_CONFIG_DIR: &str = "/etc/ringkeeper";

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// `ZOOCFGDIR`
    pub config_dir: Option<PathBuf>,
    /// `ZOOCFG`: a name in that folder, or a path.
    pub config_name: Option<PathBuf>,
    /// `ZOOBINDIR`, or the folder of this program.
    pub program_dir: Option<PathBuf>,
    /// `ZOO_LOG_DIR`
    pub log_dir: Option<PathBuf>,
    /// `ZOO_LOG_FILE`
    pub log_name: Option<PathBuf>,
    /// `ZOOPIDFILE`
    pub pid_file: Option<PathBuf>,
    /// `ZOO_DATADIR_AUTOCREATE_DISABLE`
    pub no_autocreate: bool,
    /// `USER`, for the log's name.
    pub user: String,
}

impl Variables {
    /// Reads the environment. COMPAT: an empty variable is one that is not set.
    pub fn from_process() -> Self {
        let text = |name: &str| env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        let own_dir = || Some(env::current_exe().ok()?.parent()?.to_path_buf());
        let user = text("USER").or_else(|| text("LOGNAME"));
        Self {
            config_dir: path("ZOOCFGDIR"),
            config_name: path("ZOOCFG"),
            program_dir: path("ZOOBINDIR").or_else(own_dir),
            log_dir: path("ZOO_LOG_DIR"),
            log_name: path("ZOO_LOG_FILE"),
            pid_file: path("ZOOPIDFILE"),
            no_autocreate: text("ZOO_DATADIR_AUTOCREATE_DISABLE").is_some(),
            user: user.map_or_else(number_of_user, |user| user.to_string_lossy().into_owned()),
        }
    }

    /// The configuration file: `word` as it was typed, `folder` of `--config`. `None` is the
    /// embedded default, which serves where nobody named anything and no file is found.
    pub fn config_file(&self, word: Option<&Path>, folder: Option<&Path>) -> Option<PathBuf> {
        let folder = folder.or(self.config_dir.as_deref());
        match word.or(self.config_name.as_deref()) {
            Some(path) if has_folder(path) => Some(path.to_path_buf()),
            Some(name) => match folder {
                Some(folder) => Some(folder.join(name)),
                // A file that is there, or else the name itself, for the message.
                None if word.is_some() && name.exists() => Some(name.to_path_buf()),
                None => Some(self.found(name).unwrap_or_else(|| name.to_path_buf())),
            },
            None => match folder {
                Some(folder) => Some(folder.join(CONFIG_NAME)),
                None => self.found(Path::new(CONFIG_NAME)),
            },
        }
    }

    fn found(&self, name: &Path) -> Option<PathBuf> {
        let beside = self.program_dir.as_ref().map(|dir| dir.join("../conf"));
        let others = [PathBuf::from("conf"), PathBuf::from(SYSTEM_CONFIG_DIR)];
        beside.into_iter().chain(others).map(|dir| dir.join(name)).find(|path| path.is_file())
    }

    /// Where `start` has its server log.
    pub fn log_file(&self, data_dir: &Path) -> PathBuf {
        let dir = self.log_dir.as_deref().unwrap_or(data_dir);
        let named = self.log_name.clone();
        dir.join(named.unwrap_or_else(|| {
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            PathBuf::from(format!("zookeeper-{}-server-{host}.log", self.user))
        }))
    }

    /// The file `start` leaves its server's number in.
    pub fn pid_file(&self, data_dir: &Path) -> PathBuf {
        self.pid_file.clone().unwrap_or_else(|| data_dir.join("zookeeper_server.pid"))
    }
}

/// Service managers need not set `USER`.
fn number_of_user() -> String {
    let number = rustix::process::getuid().as_raw();
    if number == 0 { "root".to_owned() } else { number.to_string() }
}

fn has_folder(path: &Path) -> bool {
    path.parent().is_some_and(|parent| !parent.as_os_str().is_empty()) || path.is_absolute()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_configuration_is_where_the_scripts_have_it() {
        let root = tempfile::tempdir().unwrap();
        let (bin, conf) = (root.path().join("bin"), root.path().join("conf"));
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&conf).unwrap();
        let plain = Variables { program_dir: Some(bin.clone()), ..Variables::default() };
        let file = |variables: &Variables, word: Option<&str>, folder: Option<&str>| {
            let found = variables.config_file(word.map(Path::new), folder.map(Path::new));
            found.map(|path| path.display().to_string())
        };
        assert_eq!(file(&plain, None, None), None, "nothing named, nothing found");
        assert_eq!(file(&plain, Some("x.cfg"), None).as_deref(), Some("x.cfg"));
        fs::write(conf.join("zoo.cfg"), "").unwrap();
        let beside = format!("{}/../conf/zoo.cfg", bin.display());
        assert_eq!(file(&plain, None, None), Some(beside.clone()));
        assert_eq!(file(&plain, Some("zoo.cfg"), None), Some(beside));
        assert_eq!(file(&plain, Some("a/zoo.cfg"), None).as_deref(), Some("a/zoo.cfg"));
        assert_eq!(file(&plain, None, Some("etc")).as_deref(), Some("etc/zoo.cfg"));
        assert_eq!(file(&plain, Some("b.cfg"), Some("etc")).as_deref(), Some("etc/b.cfg"));
        let named = Variables {
            config_dir: Some("dir".into()),
            config_name: Some("my.cfg".into()),
            ..plain.clone()
        };
        assert_eq!(file(&named, None, None).as_deref(), Some("dir/my.cfg"));
        assert_eq!(file(&named, None, Some("etc")).as_deref(), Some("etc/my.cfg"));
        assert_eq!(file(&named, Some("b.cfg"), None).as_deref(), Some("dir/b.cfg"));
        let path = Variables { config_name: Some("/e/zoo.cfg".into()), ..plain };
        assert_eq!(file(&path, None, Some("etc")).as_deref(), Some("/e/zoo.cfg"));
    }

    #[test]
    fn files_of_a_server_in_the_background() {
        let data = Path::new("/d");
        let plain = Variables { user: "zoe".into(), ..Variables::default() };
        assert_eq!(plain.pid_file(data), Path::new("/d/zookeeper_server.pid"));
        let log = plain.log_file(data).display().to_string();
        assert!(log.starts_with("/d/zookeeper-zoe-server-"), "{log}");
        let named = Variables {
            log_dir: Some("/l".into()),
            log_name: Some("zk.log".into()),
            pid_file: Some("/run/zk.pid".into()),
            ..plain
        };
        assert_eq!(named.log_file(data), Path::new("/l/zk.log"));
        assert_eq!(named.pid_file(data), Path::new("/run/zk.pid"));
    }
}
