//! What `envi` says of the process, and what is logged of it at start.

use std::env;
use std::fs;

use crate::version;

/// COMPAT: `Environment`'s keys in its order. There is no Java here: `<NA>`, as Java says of a
/// property that is not set.
pub fn gather() -> Vec<(&'static str, String)> {
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| NOT_AVAILABLE.to_owned());
    let directory = env::current_dir();
    let memory = Memory::read();
    let mut entries = vec![
        ("zookeeper.version", version::FULL.to_owned()),
        ("host.name", text(system.nodename())),
    ];
    for key in JAVA_KEYS {
        entries.push((key, NOT_AVAILABLE.to_owned()));
    }
    entries.extend([
        ("java.io.tmpdir", env::temp_dir().display().to_string()),
        ("java.compiler", NOT_AVAILABLE.to_owned()),
        ("os.name", text(system.sysname())),
        ("os.arch", java_architecture(env::consts::ARCH).to_owned()),
        ("os.version", text(system.release())),
        ("user.name", variable("USER")),
        ("user.home", variable("HOME")),
        ("user.dir", directory.map_or(NOT_AVAILABLE.to_owned(), |path| path.display().to_string())),
        ("os.memory.free", memory.free),
        ("os.memory.max", memory.max),
        ("os.memory.total", memory.total),
    ]);
    entries
}

const NOT_AVAILABLE: &str = "<NA>";

const JAVA_KEYS: [&str; 5] =
    ["java.version", "java.vendor", "java.home", "java.class.path", "java.library.path"];

fn java_architecture(architecture: &'static str) -> &'static str {
    if architecture == "x86_64" { "amd64" } else { architecture }
}

struct Memory {
    free: String,
    max: String,
    total: String,
}

impl Memory {
    /// What the machine has to give, what it has, and what this process holds.
    fn read() -> Self {
        let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let process = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            free: megabytes(&machine, "MemAvailable:"),
            max: megabytes(&machine, "MemTotal:"),
            total: megabytes(&process, "VmRSS:"),
        }
    }
}

/// The kibibytes after `label`, as megabytes.
fn megabytes(text: &str, label: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(NOT_AVAILABLE.to_owned(), |kib| format!("{}MB", kib / 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_in_their_order() {
        let keys: Vec<&str> = gather().iter().map(|(key, _)| *key).collect();
        let expected = "zookeeper.version host.name java.version java.vendor java.home \
                        java.class.path java.library.path java.io.tmpdir java.compiler os.name \
                        os.arch os.version user.name user.home user.dir os.memory.free \
                        os.memory.max os.memory.total";
        assert_eq!(keys.join(" "), expected);
        assert!(gather().iter().all(|(_, value)| !value.is_empty()));
    }

    #[test]
    fn memory_is_read_from_its_line() {
        let text = "MemTotal:       16384256 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(megabytes(text, "MemTotal:"), "16000MB");
        assert_eq!(megabytes(text, "MemAvailable:"), "2MB");
        assert_eq!(megabytes(text, "VmRSS:"), NOT_AVAILABLE);
    }
}
