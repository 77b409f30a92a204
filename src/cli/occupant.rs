//! Whose process a number is: numbers in pid files go stale, and are given out again.
//!
//! Reads `/proc` and nothing else. A server is told by the data directory whose lock it holds, or,
//! while it starts or stops, by the configuration it was given; a Java server, which locks nothing,
//! by its configuration or the files of this data it has open. So another server of this machine is
//! a stranger too, which matters after a reboot, when numbers come back in the same order. Of
//! another user's process only the command line and the locks can be seen: they have to tell.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use super::args::Verb;

/// What our program is called, whatever folder it is in.
const PROGRAM: &str = "zkserver";
/// What a Java server runs; the words behind it are for the server.
const JAVA_CLASSES: [&str; 2] = [
    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
    "org.apache.zookeeper.server.ZooKeeperServerMain",
];
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
    /// Where its snapshots and logs are.
    pub version_dirs: [PathBuf; 2],
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
        let is_java = || java_arguments(&words).is_some_and(|of| self.is_java_server(pid, of));
        if is_ours || is_java() {
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
        match open_files(pid) {
            Some(mut files) => files.any(|file| file == lock_file),
            None => is_locked(&lock_file, pid),
        }
    }

    /// Whether the Java server with these arguments has this configuration or data.
    fn is_java_server(&self, pid: Pid, arguments: &[&OsStr]) -> bool {
        let folder = PathBuf::from(format!("/proc/{}/cwd", pid.as_raw_pid()));
        let names = |file: &PathBuf| {
            let file = real(file);
            arguments.iter().any(|word| real(&folder.join(word)) == file)
        };
        let dirs = || self.version_dirs.each_ref().map(|dir| real(dir));
        let has_open = |dirs: [PathBuf; 2]| {
            let mut files = open_files(pid).into_iter().flatten();
            files.any(|file| dirs.iter().any(|dir| file.starts_with(dir)))
        };
        self.config_file.as_ref().is_some_and(names) || has_open(dirs())
    }

    /// Whether a server was started with these words. One of our own errands, such as `stop`, names
    /// the configuration, too, and may have a number that a server had.
    fn configures(&self, words: &[&OsStr]) -> bool {
        let mut verbs = words.iter().filter_map(|word| Verb::from_word(word.to_str()?));
        self.config_file.as_ref().is_some_and(|file| words.iter().any(|word| *word == file))
            && verbs.all(|verb| verb == Verb::StartForeground)
    }
}

/// What the process has open; `None` if that is hidden, as another user's files are.
fn open_files(pid: Pid) -> Option<impl Iterator<Item = PathBuf>> {
    let links = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid())).ok()?;
    Some(links.flatten().filter_map(|link| fs::read_link(link.path()).ok()))
}

/// The path without links, or as it is if nothing is there.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
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

/// What a Java server is given; `None` if the process is none.
fn java_arguments<'a>(words: &'a [&'a OsStr]) -> Option<&'a [&'a OsStr]> {
    let is_java = Path::new(words[0]).file_name().is_some_and(|name| name == "java");
    let at = words.iter().position(|word| JAVA_CLASSES.iter().any(|class| word == class));
    at.filter(|_| is_java).map(|at| &words[at + 1..])
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn signs() -> Signs {
        Signs {
            lock_file: "/no/lock".into(),
            version_dirs: ["/no".into(), "/no".into()],
            config_file: Some("/c/zoo.cfg".into()),
        }
    }

    fn shell(name: &str, words: &[&str]) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg0(name).arg("-c").arg("echo runs; read line").args(words);
        command
    }

    /// The shell as a process with its words by now, which waits for its input to end.
    fn run(command: &mut Command) -> Child {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 4];
        child.stdout.as_mut().unwrap().read_exact(&mut said).expect("it has its words by now");
        child
    }

    #[test]
    fn a_number_is_told_by_what_runs_under_it() {
        let java = ["-cp", "x", JAVA_CLASSES[0], "/c/zoo.cfg"];
        let alone = [JAVA_CLASSES[1], "/c/zoo.cfg"];
        let other = ["-Dx=/c/zoo.cfg", "/c/zoo.cfg", JAVA_CLASSES[0], "/other/zoo.cfg"];
        let relative = [JAVA_CLASSES[0], "zoo.cfg"];
        let errand = ["org.apache.zookeeper.server.PurgeTxnLog", "/c/zoo.cfg"];
        let cases: [(&str, &[&str], bool); 12] = [
            ("zkserver", &["/c/zoo.cfg"], true),
            ("zkserver", &["stop", "/c/zoo.cfg"], false),
            ("zkserver", &["start-foreground", "/c/zoo.cfg"], true),
            ("/usr/bin/zkserver", &["start-foreground", "/c/zoo.cfg"], true),
            ("zkserver", &["start-foreground", "/other/zoo.cfg"], false),
            ("/usr/bin/java", &java, true),
            ("java", &alone, true),
            ("java", &other, false),
            ("java", &relative, false),
            ("java", &errand, false),
            ("javac", &java, false),
            ("vi", &["/c/zoo.cfg"], false),
        ];
        for (name, words, is_server) in cases {
            let mut child = run(&mut shell(name, words));
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

    /// What the signs say of a process while it runs.
    fn is_server(signs: &Signs, command: &mut Command) -> bool {
        let mut child = run(command);
        let occupant = signs.occupant(Pid::from_child(&child));
        drop(child.stdin.take());
        child.wait().unwrap();
        matches!(occupant, Occupant::Server(_))
    }

    #[test]
    fn a_java_server_is_told_by_its_configuration_or_its_open_files() {
        let dir = tempfile::tempdir().unwrap();
        let [ours, other] = ["ours", "other"].map(|name| dir.path().join(name));
        for dir in [&ours, &other] {
            fs::create_dir_all(dir.join("data/version-2")).unwrap();
            fs::create_dir_all(dir.join("log/version-2")).unwrap();
            fs::write(dir.join("zoo.cfg"), "").unwrap();
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&ours, &link).unwrap();
        let signs = Signs {
            lock_file: link.join("data/version-2/lock"),
            version_dirs: ["data", "log"].map(|name| link.join(name).join("version-2")),
            config_file: Some(link.join("zoo.cfg")),
        };
        let java = |file: &str| shell("java", &[JAVA_CLASSES[0], file]);

        let by_path = |path: &Path| is_server(&signs, &mut java(path.to_str().unwrap()));
        assert!(by_path(&ours.join("zoo.cfg")) && by_path(&link.join("zoo.cfg")));
        assert!(!by_path(&other.join("zoo.cfg")));
        let in_folder = |dir: &Path| is_server(&signs, java("zoo.cfg").current_dir(dir));
        assert!(in_folder(&ours) && !in_folder(&other) && !in_folder(dir.path()));

        let with_open = |name: &str, file: &Path| {
            let open = fs::File::create(file).unwrap();
            is_server(&signs, shell(name, &[JAVA_CLASSES[0], "zoo.cfg"]).stderr(open))
        };
        assert!(with_open("java", &ours.join("log/version-2/log.1")));
        assert!(with_open("java", &ours.join("data/version-2/snapshot.1")));
        assert!(!with_open("java", &ours.join("data/out")), "its log, not its data");
        assert!(!with_open("java", &other.join("log/version-2/log.1")));
        assert!(!with_open("vi", &ours.join("log/version-2/log.1")));
    }

    #[test]
    fn whoever_holds_the_lock_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let lock_file = dir.path().join("lock");
        let signs = Signs { lock_file: lock_file.clone(), config_file: None, ..signs() };
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
