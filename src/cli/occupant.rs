//! Whose process a number is: numbers in pid files go stale, and are given out again.
//!
//! Reads `/proc` and nothing else. A server is told by the data directory whose lock it holds, or,
//! while it starts or stops, by the configuration it was given. So another server of this machine
//! is a stranger too, which matters after a reboot, when numbers come back in the same order.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use super::args::Verb;

/// What our program is called, whatever folder it is in.
const PROGRAM: &str = "zkserver";
/// What a Java server is told by among its arguments.
const JAVA_CLASSES: &str = "org.apache.zookeeper.server.";
const STRANGER_CHARS_MAX: usize = 60;

/// Who has a number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Occupant {
    /// Nobody.
    Gone,
    /// The server in question, ours or Java's.
    Server(Pid),
    /// Somebody else: its command line.
    Stranger(Pid, String),
}

/// What the server in question is known by.
#[derive(Clone, Debug)]
pub struct Signs {
    /// The lock of its data directory.
    pub lock_file: PathBuf,
    /// Its configuration, an absolute path.
    pub config_file: Option<PathBuf>,
}

impl Signs {
    /// Who has the number `pid`.
    pub fn occupant(&self, pid: Pid) -> Occupant {
        let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_pid()));
        let Ok(line) = fs::read(folder.join("cmdline")) else { return Occupant::Gone };
        if has_ended(&folder) {
            return Occupant::Gone;
        }
        let words: Vec<&OsStr> = line.split(|b| *b == 0).map(OsStr::from_bytes).collect();
        let is_ours = is_program(words[0]) && (self.is_locked_by(pid) || self.configures(&words));
        if is_ours || is_java_server(&words) {
            return Occupant::Server(pid);
        }
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        Occupant::Stranger(pid, line.trim().chars().take(STRANGER_CHARS_MAX).collect())
    }

    /// The process that holds the data directory, however it was started.
    pub fn holder(&self) -> Option<Pid> {
        let pid = read_pid(&self.lock_file)?;
        self.is_locked_by(pid).then_some(pid)
    }

    /// Whether the process has the lock file open: whoever cannot lock it ends at once.
    fn is_locked_by(&self, pid: Pid) -> bool {
        let Ok(lock_file) = fs::canonicalize(&self.lock_file) else { return false };
        match fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid())) {
            Ok(files) => {
                let mut links = files.flatten();
                links.any(|link| fs::read_link(link.path()).is_ok_and(|target| target == lock_file))
            }
            Err(_) => is_locked(&lock_file, pid),
        }
    }

    /// Whether a server was started with these words. One of our own errands, such as `stop`, names
    /// the configuration, too, and may have a number that a server had.
    fn configures(&self, words: &[&OsStr]) -> bool {
        let mut verbs = words.iter().filter_map(|word| Verb::from_word(word.to_str()?));
        self.config_file.as_ref().is_some_and(|file| words.iter().any(|word| *word == file))
            && verbs.all(|verb| verb == Verb::StartForeground)
    }
}

/// Whether the kernel lists such a lock. Another user's open files are hidden, its locks are not.
fn is_locked(file: &Path, pid: Pid) -> bool {
    let Ok(inode) = fs::metadata(file).map(|about| about.ino().to_string()) else { return false };
    let pid = pid.as_raw_pid().to_string();
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    // 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words[..], [_, "FLOCK", _, _, holder, place, ..]
            if holder == pid && place.rsplit(':').next() == Some(&inode))
    })
}

/// The number a file holds; `None` if there is no such file, or it holds none.
pub fn read_pid(file: &Path) -> Option<Pid> {
    Pid::from_raw(fs::read_to_string(file).ok()?.trim().parse().ok()?)
}

/// A process that waits for its parent to notice has ended.
fn has_ended(folder: &Path) -> bool {
    let stat = fs::read_to_string(folder.join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X']))
}

fn is_program(word: &OsStr) -> bool {
    Path::new(word).file_name().is_some_and(|name| name == PROGRAM)
}

fn is_java_server(words: &[&OsStr]) -> bool {
    let class = |word: &&OsStr| word.as_bytes().starts_with(JAVA_CLASSES.as_bytes());
    Path::new(words[0]).file_name().is_some_and(|name| name == "java") && words.iter().any(class)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn signs() -> Signs {
        Signs { lock_file: "/no/lock".into(), config_file: Some("/c/zoo.cfg".into()) }
    }

    /// A process with these words as its command line, which waits for its input to end.
    fn with_words(name: &str, words: &[&str]) -> Child {
        let mut command = Command::new("/bin/sh");
        command.arg0(name).arg("-c").arg("echo runs; read line").args(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 4];
        child.stdout.as_mut().unwrap().read_exact(&mut said).expect("it has its words by now");
        child
    }

    #[test]
    fn a_number_is_told_by_what_runs_under_it() {
        let java = ["-cp", "x", "org.apache.zookeeper.server.quorum.QuorumPeerMain", "zoo.cfg"];
        let cases: [(&str, &[&str], bool); 7] = [
            ("zkserver", &["/c/zoo.cfg"], true),
            ("zkserver", &["stop", "/c/zoo.cfg"], false),
            ("zkserver", &["start-foreground", "/c/zoo.cfg"], true),
            ("/usr/bin/zkserver", &["start-foreground", "/c/zoo.cfg"], true),
            ("zkserver", &["start-foreground", "/other/zoo.cfg"], false),
            ("/usr/bin/java", &java, true),
            ("vi", &["/c/zoo.cfg"], false),
        ];
        for (name, words, is_server) in cases {
            let mut child = with_words(name, words);
            let pid = Pid::from_child(&child);
            let occupant = signs().occupant(pid);
            drop(child.stdin.take());
            child.wait().unwrap();
            match occupant {
                Occupant::Server(found) => assert!(is_server && found == pid, "{name} {words:?}"),
                Occupant::Stranger(found, line) => {
                    assert!(!is_server && found == pid, "{name} {words:?}");
                    assert!(line.starts_with(name), "{line}");
                }
                Occupant::Gone => panic!("{name} {words:?} still ran"),
            }
            assert_eq!(signs().occupant(pid), Occupant::Gone);
        }
    }

    #[test]
    fn whoever_holds_the_lock_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let lock_file = dir.path().join("lock");
        let signs = Signs { lock_file: lock_file.clone(), config_file: None };
        assert_eq!(signs.holder(), None, "there is no file");
        let own = std::process::id();
        fs::write(&lock_file, own.to_string()).unwrap();
        assert_eq!(signs.holder(), None, "the number is of an earlier run");
        let held = fs::File::open(&lock_file).unwrap();
        assert_eq!(signs.holder().map(Pid::as_raw_pid), i32::try_from(own).ok());
        let pid = Pid::from_raw(i32::try_from(own).unwrap()).unwrap();
        assert!(!is_locked(&lock_file, pid), "open is not locked");
        held.try_lock().unwrap();
        assert!(is_locked(&lock_file, pid));
        held.unlock().unwrap();
        assert!(!is_locked(&lock_file, pid));
        drop(held);
        fs::write(&lock_file, "none").unwrap();
        assert_eq!(read_pid(&lock_file), None);
    }
}
