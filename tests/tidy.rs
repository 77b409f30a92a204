//! The rules of the source tree that no lint holds, each with the reason it exists.
//!
//! A failure names file and line, the rule, and what to do. There are no exceptions by comment: an
//! exception is an entry in a list below, where a reviewer sees it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom, besides root files and itself. Arrows point one way (docs/ARCHITECTURE.md).
const LAYERS: [(&str, &[&str]); 12] = [
    ("wire", &[]),
    ("net", &[]),
    ("tree", &["wire"]),
    ("zab", &["wire"]),
    ("request", &["wire", "tree"]),
    ("reply", &["wire", "tree"]),
    ("log", &["wire::txn"]),
    ("stage", &["wire", "net", "tree", "zab", "request", "reply", "log"]),
    ("admin", &["wire", "net", "tree", "zab", "request", "reply", "log", "stage"]),
    ("server", &["wire", "net", "tree", "zab", "request", "reply", "log", "stage", "admin"]),
    ("cli", &["server", "wire"]),
    ("main", &["cli", "server", "wire"]),
];

/// The files at the root that every layer may use; of the layers they know only the wire's codes.
const ROOT: [&str; 8] = ["ids", "limits", "clock", "error", "metrics", "version", "hash", "lib"];
const ROOT_MAY: &[&str] = &["wire::ErrorCode"];

/// What the load generator may use of the library.
const BENCH_MAY: &[&str] = &["server", "wire"];

/// Layers that are functions of their inputs.
const PURE: [&str; 5] = ["wire", "tree", "zab", "request", "reply"];

/// The only files with unsafe code.
const UNSAFE: [&str; 3] = ["src/net/ring.rs", "src/net/buffer.rs", "src/log/segment.rs"];

/// The one place that waits by sleeping: a poll for a condition of another process.
const SLEEPING: [&str; 1] = ["tests/support/process.rs"];

/// Hash maps that are iterated to fill something sorted.
const SORTED_AFTER: [(&str, &str); 1] = [("src/request/session/tracker.rs", "sessions")];

/// Files that may be longer than the bound: none.
const LONG: [&str; 0] = [];

const LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 100;

/// A text file of the repository.
struct Source {
    /// From the repository's root, with slashes.
    path: String,
    text: String,
    /// The text of a Rust file without what stands in comments and literals, line for line.
    code: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    fn is_markdown(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "md")
    }

    /// `tests.rs`, or in a folder `tests`.
    fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// Names of the modules it is in: `src/tree/node.rs` is in `tree`, `node`.
    fn module(&self) -> Vec<&str> {
        let inside = self.path.strip_prefix("src/").unwrap_or_default();
        let module = inside.strip_suffix("/mod.rs").or_else(|| inside.strip_suffix(".rs"));
        module.unwrap_or_default().split('/').collect()
    }
}

/// What is wrong, where.
struct Complaints(Vec<String>);

impl Complaints {
    fn add(&mut self, source: &Source, line: usize, what: &str) {
        self.0.push(format!("{}:{}: {what}", source.path, line + 1));
    }

    fn assert_none(self) {
        assert!(self.0.is_empty(), "\n{}\n", self.0.join("\n"));
    }
}

/// Runs a rule over every file it is meant for.
fn check(meant: impl Fn(&Source) -> bool, rule: impl Fn(&Source, &mut Complaints)) {
    let sources = sources();
    assert!(sources.len() > 50, "the whole tree is read, not {} files", sources.len());
    let mut complaints = Complaints(Vec::new());
    for source in sources.iter().filter(|source| meant(source)) {
        rule(source, &mut complaints);
    }
    complaints.assert_none();
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "bench", "docs", "conf"] {
        walk(&root.join(folder), &mut files);
    }
    for file in ["README.md", "CHANGELOG.md", "Cargo.toml", "clippy.toml", "build.rs"] {
        files.extend(Some(root.join(file)).filter(|file| file.exists()));
    }
    files.sort();
    files.into_iter().filter_map(|file| read(root, &file)).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("a directory that can be read").path();
        let ours = path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            !name.starts_with('.') && !["target", "corpus", "artifacts"].contains(&&*name)
        });
        if path.is_dir() && ours {
            walk(&path, files);
        } else if path.is_file() {
            files.push(path);
        }
    }
}

/// `None` for what is not text: captured bytes, archives.
fn read(root: &Path, file: &Path) -> Option<Source> {
    let text = fs::read_to_string(file).ok()?;
    let path = file.strip_prefix(root).expect("walked from the root").to_string_lossy();
    let path = path.replace('\\', "/");
    let mut source = Source { path, text, code: String::new() };
    if source.is_rust() {
        source.code = code_of(&source.text);
    }
    Some(source)
}

/// Blanks comments, strings and characters, and keeps line breaks.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = literal_or_comment(rest).unwrap_or(0);
        if skipped == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            if next.is_alphanumeric() || next == '_' {
                // The rest of a word: an `r` or `b` inside one opens no literal.
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
                code.push_str(word);
                rest = after;
            }
        } else {
            let (blanked, after) = rest.split_at(skipped);
            code.extend(blanked.chars().filter(|c| *c == '\n'));
            code.push(' ');
            rest = after;
        }
    }
    code
}

/// How many bytes of a comment or literal `text` begins with.
fn literal_or_comment(text: &str) -> Option<usize> {
    let until = |pattern: &str, from: usize| {
        text[from..].find(pattern).map_or(text.len(), |at| from + at + pattern.len())
    };
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(until("*/", 2));
    }
    let unprefixed = text.strip_prefix('b').unwrap_or(text);
    let prefix = text.len() - unprefixed.len();
    if let Some(raw) = unprefixed.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return Some(until(&format!("\"{}", "#".repeat(hashes)), prefix + hashes + 2));
        }
    }
    if unprefixed.starts_with('"') {
        return Some(quoted(text, prefix + 1, '"'));
    }
    // A lifetime has no closing quote one character on.
    let mut inner = unprefixed.strip_prefix('\'')?.chars();
    let first = inner.next()?;
    (first == '\\' || inner.next() == Some('\'')).then(|| quoted(text, prefix + 1, '\''))
}

/// Where a literal that began before `from` ends.
fn quoted(text: &str, from: usize, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text[from..].char_indices() {
        if !escaped && c == quote {
            return from + at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    text.len()
}

/// Paths that begin at the crate's root, as `wire::txn`, with their lines: of `crate::`,
/// `ringkeeper::` and of `super::` as often as it takes to get there.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let depth = source.module().len();
    let mut imports = Vec::new();
    for (line, code) in source.code.lines().enumerate() {
        for (at, word) in code.match_indices(|c: char| c.is_alphanumeric() || c == '_') {
            let before = code[..at].chars().next_back();
            let starts = !before.is_some_and(|c| c.is_alphanumeric() || "_:$".contains(c));
            if !starts || !["c", "r", "s"].contains(&word) {
                continue;
            }
            let path = &code[at..];
            let supers = path.split("::").take_while(|part| *part == "super").count();
            let rest = if supers >= depth && supers > 0 {
                path.get(supers * "super::".len()..)
            } else {
                path.strip_prefix("crate::").or_else(|| path.strip_prefix("ringkeeper::"))
            };
            imports.extend(rest.into_iter().flat_map(named).map(|path| (line, path)));
        }
    }
    imports
}

/// The paths that stand at the beginning of `text`, two names deep: one, or several in braces.
fn named(text: &str) -> Vec<String> {
    let path = |text: &str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        let path = text[..end.unwrap_or(text.len())].trim_end_matches(':');
        path.splitn(3, "::").take(2).collect::<Vec<_>>().join("::")
    };
    match text.strip_prefix('{') {
        // A brace within a brace ends the list early; each layer is then named once at least.
        Some(list) => list.split(['}', ',']).map(|part| path(part.trim())).collect(),
        None => vec![path(text)],
    }
}

/// A layer's name if `path` begins with one.
fn layer_of(path: &str) -> Option<&str> {
    let first = path.split("::").next()?;
    LAYERS.iter().map(|(layer, _)| *layer).find(|layer| *layer == first)
}

fn may(allowed: &[&str], path: &str) -> bool {
    allowed.iter().any(|allowed| {
        path.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

#[test]
fn layers_import_only_what_is_below_them() {
    check(
        |source| source.is_rust() && !source.path.starts_with("tests/"),
        |source, complaints| {
            let module = source.module();
            let own = if source.path.starts_with("bench/") { "bench" } else { module[0] };
            let allowed = match LAYERS.iter().find(|(layer, _)| *layer == own) {
                Some((_, allowed)) => allowed,
                None if own == "bench" => BENCH_MAY,
                None if ROOT.contains(&own) => ROOT_MAY,
                None if source.path == "build.rs" => &[],
                None => {
                    let what = format!("`{own}` has no row in tests/tidy.rs: which layer is it?");
                    return complaints.add(source, 0, &what);
                }
            };
            for (line, path) in imports(source) {
                let foreign = layer_of(&path).is_some_and(|layer| layer != own);
                if foreign && !may(allowed, &path) {
                    let what = format!("`{own}` may not import `{path}`, only {allowed:?}");
                    complaints.add(source, line, &what);
                }
            }
        },
    );
}

#[test]
fn unsafe_code_stays_in_its_three_files() {
    check(Source::is_rust, |source, complaints| {
        for (line, code) in source.code.lines().enumerate() {
            let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.into_iter().any(|word| word == "unsafe")
                && !UNSAFE.contains(&source.path.as_str())
            {
                complaints.add(source, line, &format!("unsafe code belongs in {UNSAFE:?}"));
            }
        }
    });
}

#[test]
fn pure_layers_forbid_unsafe_code_and_read_no_clock() {
    check(
        |source| PURE.contains(&source.module()[0]),
        |source, complaints| {
            let forbids = source.code.contains("#![forbid(unsafe_code)]");
            if source.module().len() == 1 && source.path.ends_with("mod.rs") && !forbids {
                complaints.add(source, 0, "a pure layer opens with #![forbid(unsafe_code)]");
            }
            // Addresses are values; sockets are not.
            let sockets = ["TcpStream", "TcpListener", "UdpSocket", "UnixStream"];
            let outside = ["std::fs", "std::thread", "std::time", "std::env", "std::process"];
            for (line, code) in source.code.lines().enumerate().filter(|_| !source.is_test()) {
                if let Some(path) = outside.iter().chain(&sockets).find(|path| code.contains(*path))
                {
                    complaints.add(source, line, &format!("a pure layer knows no {path}"));
                }
                if code.contains("crate::clock") {
                    complaints.add(source, line, "a pure layer is told the time");
                }
            }
        },
    );
}

/// The order of a `HashMap` differs from run to run, and from server to server.
#[test]
fn pure_layers_do_not_iterate_hash_maps() {
    check(
        |source| PURE.contains(&source.module()[0]) && !source.is_test(),
        |source, complaints| {
            let names: BTreeSet<&str> = source.code.lines().filter_map(hash_map_name).collect();
            let sorted = |name: &&&str| !SORTED_AFTER.contains(&(source.path.as_str(), **name));
            for (line, code) in source.code.lines().enumerate() {
                for name in names.iter().filter(sorted) {
                    let calls = ["iter", "iter_mut", "into_iter", "keys", "values", "drain"];
                    let called = calls.iter().any(|call| code.contains(&format!("{name}.{call}(")));
                    let looped = ["in &", "in &mut ", "in &self.", "in &mut self."]
                        .iter()
                        .any(|opening| code.contains(&format!("{opening}{name} {{")));
                    if called || looped {
                        let what = format!("`{name}` is a hash map: its order is not to be seen");
                        complaints.add(source, line, &what);
                    }
                }
            }
        },
    );
}

/// The name a line declares as a hash map or set.
fn hash_map_name(code: &str) -> Option<&str> {
    let at = ["HashMap<", "HashSet<", "HashMap::", "HashSet::"]
        .iter()
        .find_map(|kind| code.find(kind))?;
    let declared = code[..at].trim_end().trim_end_matches([':', '=']).trim_end();
    let start = declared.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
    Some(&declared[start..]).filter(|name| !name.is_empty() && *name != "use")
}

#[test]
fn lines_and_files_are_short() {
    check(Source::is_rust, |source, complaints| {
        // A long literal is no reason to break it, so only comments count whole.
        for (line, (text, code)) in source.text.lines().zip(source.code.lines()).enumerate() {
            let counted = if text.trim_start().starts_with("//") { text } else { code };
            if counted.chars().count() > COLUMNS_MAX {
                complaints.add(source, line, &format!("longer than {COLUMNS_MAX} columns"));
            }
        }
        let lines = source.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
        let lines = if source.is_test() { 0 } else { lines.count() };
        if lines > LINES_MAX && !LONG.contains(&source.path.as_str()) {
            let what = format!("{lines} lines without tests: split it by idea");
            complaints.add(source, LINES_MAX, &what);
        }
    });
}

#[test]
fn banned_words_and_calls() {
    let fix_me = concat!("FIX", "ME");
    let calls = [
        ("dbg!", "a trace for the author only"),
        ("todo!", "unfinished work is `TODO(#n):` in a comment, and an issue"),
        ("unimplemented!", "unfinished work is `TODO(#n):` in a comment, and an issue"),
    ];
    check(
        |_| true,
        |source, complaints| {
            for (line, text) in source.text.lines().enumerate() {
                if text.contains(fix_me) {
                    complaints.add(source, line, "fix it, or write `TODO(#n):` and open an issue");
                }
                if text.contains(concat!("TO", "DO ")) || text.contains(concat!("TO", "DO:")) {
                    complaints.add(source, line, "it names its issue: `TODO(#n)`, then a colon");
                }
            }
            for (line, code) in source.code.lines().enumerate() {
                for (call, why) in calls.iter().filter(|(call, _)| code.contains(call)) {
                    complaints.add(source, line, &format!("{call} is banned: {why}"));
                }
            }
        },
    );
}

#[test]
fn tests_wait_for_conditions_not_for_time() {
    check(
        |source| source.is_rust() && !SLEEPING.contains(&source.path.as_str()),
        |source, complaints| {
            let mut in_tests = source.is_test();
            for (line, code) in source.code.lines().enumerate() {
                in_tests |= code.starts_with("#[cfg(test)]");
                let slept = code.match_indices("sleep(").any(|(at, _)| {
                    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                });
                if in_tests && slept {
                    complaints.add(source, line, "wait for a condition, do not sleep");
                }
            }
        },
    );
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    check(Source::is_markdown, |source, complaints| {
        let folder = root.join(&source.path).parent().expect("a file is in a folder").to_path_buf();
        for (line, text) in source.text.lines().enumerate() {
            for (at, _) in text.match_indices("](") {
                let target = text[at + 2..].split([')', '#', ' ']).next().unwrap_or_default();
                let elsewhere = target.contains("://") || target.starts_with("mailto:");
                if !target.is_empty() && !elsewhere && !folder.join(target).exists() {
                    complaints.add(source, line, &format!("dead link to {target}"));
                }
            }
        }
    });
}

/// A metric that nothing feeds is named, with the reason, where users look for it.
#[test]
fn metrics_that_stay_0_are_documented() {
    const NAMES: &str = "src/metrics/names.rs";
    let sources = sources();
    let text_of = |path: &str| {
        let source = sources.iter().find(|source| source.path == path);
        &*source.expect("a file of the tree").text
    };
    let metrics = metrics(text_of(NAMES));
    assert!(metrics.len() > 100, "all are read, not {}", metrics.len());
    let feeds = |source: &&Source| {
        source.path.starts_with("src/") && source.path != NAMES && !source.is_test()
    };
    let fed: BTreeSet<&str> = sources
        .iter()
        .filter(feeds)
        .filter_map(|source| source.code.split("\nmod tests {").next())
        .flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != ':'))
        .collect();
    let is_idle = |(variant, _): &&(String, &str)| !fed.contains(variant.as_str());
    let idle: BTreeSet<&str> = metrics.iter().filter(is_idle).map(|(_, name)| *name).collect();
    let (_, section) = text_of("docs/COMPATIBILITY.md")
        .split_once("\n## Metrics that stay 0\n")
        .expect("the section about them");
    let rows = section.lines().filter_map(|row| row.split(" | ").nth(1));
    let documented: BTreeSet<&str> =
        rows.flat_map(|names| names.split('`').skip(1).step_by(2)).collect();
    assert_eq!(idle, documented, "what nothing feeds, and what COMPATIBILITY.md has");
}

/// `Counter::SnapCount` and its name, for each metric.
fn metrics(text: &str) -> Vec<(String, &str)> {
    let mut kind = "";
    let mut metrics = Vec::new();
    for line in text.lines() {
        if let Some(opened) = line.trim_start().strip_suffix(" {") {
            kind = opened;
        } else if let Some((variant, name)) = line.trim().split_once(" => \"") {
            metrics.push((format!("{kind}::{variant}"), name.trim_end_matches("\",")));
        }
    }
    metrics
}

/// Invisible characters hide what a reviewer should see; paths of one machine mean nothing on
/// another.
#[test]
fn text_holds_nothing_hidden_and_no_machine_paths() {
    let machine = concat!("/wo", "rk/");
    check(
        |_| true,
        |source, complaints| {
            for (line, text) in source.text.lines().enumerate() {
                let hidden = text.chars().find(|c| {
                    (source.is_rust() || *c != '\t') && c.is_control()
                        || matches!(*c, '\u{a0}' | '\u{ad}' | '\u{feff}')
                        || ('\u{200b}'..='\u{200f}').contains(c)
                        || ('\u{202a}'..='\u{202e}').contains(c)
                        || ('\u{2060}'..='\u{2069}').contains(c)
                });
                if let Some(c) = hidden {
                    let what = format!("hidden character U+{:04X}: write an escape", u32::from(c));
                    complaints.add(source, line, &what);
                }
                if text.contains(machine) {
                    complaints.add(source, line, "a path of one machine");
                }
            }
        },
    );
}

#[test]
fn the_reader_of_rust_knows_code_from_text() {
    let cases = [
        ("let a = \"crate::x\"; // crate::y\nb", "let a =  ;  \nb"),
        ("'\"' + b'\\'' + 'a' /* \n */ x", "  +   +   \n  x"),
        ("r#\"a\"b\"# br\"c\" for<'a> &'a str", "    for<'a> &'a str"),
        ("\"a\\\"b\\\\\" c", "  c"),
        ("attr\"x\" nub'y'", "attr  nub "),
    ];
    for (text, code) in cases {
        assert_eq!(code_of(text), code, "{text}");
    }
}

#[test]
fn the_reader_of_imports_finds_every_way_to_write_one() {
    let text = "use crate::wire::txn::{A, B};\nuse super::super::net::Ring;\nuse super::own;\n\
                use crate::{log::Writer, zab};\nlet x = crate::reply::respond(); $crate::tree;\n";
    let source =
        Source { path: "src/tree/node.rs".to_owned(), text: text.to_owned(), code: code_of(text) };
    let mut found = String::new();
    for (line, path) in imports(&source) {
        let _ = write!(found, "{line} {path}, ");
    }
    assert_eq!(found, "0 wire::txn, 1 net::Ring, 3 log::Writer, 3 zab, 3 , 4 reply::respond, ");
    assert!(may(&["wire::txn"], "wire::txn") && !may(&["wire::txn"], "wire::txns"));
    assert!(may(&["wire"], "wire::txn") && !may(&["wire::txn"], "wire"));
    assert_eq!(hash_map_name("    sessions: HashMap<SessionId, Entry>,"), Some("sessions"));
    assert_eq!(hash_map_name("    let mut seen = HashSet::new();"), Some("seen"));
    assert_eq!(hash_map_name("use std::collections::HashMap;"), None);
}
