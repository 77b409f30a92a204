//! The answers to four-letter words, byte for byte as monitoring parses them.
//!
//! Pure: from a [`Report`] to text. The shard recognises the word ([`crate::wire::word`]), asks the
//! control thread, sends what comes back and closes.

mod lines;
mod monitor;

use std::fmt::Write;

use super::report::{Mode, Report};
use crate::version;
pub use crate::wire::word::{FirstBytes, Word};

/// A part of a [`Report`] that costs something to gather. The other facts are always needed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Needs {
    /// `report.readings`: every thread's metrics.
    Readings,
    /// `report.conf`
    Conf,
    /// `report.sizes`: looks at the directories.
    Sizes,
    /// `report.connections`: asks every shard.
    Connections,
    /// `report.sessions`
    Sessions,
    /// `report.ephemerals`: from the tree.
    Ephemerals,
    /// `report.watches`: asks every shard.
    Watches,
    /// `report.watch_counts`: the same.
    WatchCounts,
    /// `report.digests`: from the tree.
    Digests,
    /// `report.quotas`: from the tree.
    Quotas,
    /// `report.environment`
    Environment,
    /// `report.facts.open_files`: looks at every descriptor.
    OpenFiles,
}

/// Something to do before the answer is true.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Forget every connection's counts.
    ResetConnections,
    /// Forget latencies, packets, metrics.
    ResetServer,
    /// Keep the eight bytes after the word as `facts.trace_mask`.
    SetTraceMask,
}

/// What must be gathered to answer `word`.
pub fn needs(word: Word) -> &'static [Needs] {
    match word {
        Word::Conf => &[Needs::Conf, Needs::Sizes],
        Word::Cons => &[Needs::Connections],
        Word::Dirs => &[Needs::Sizes],
        Word::Dump => &[Needs::Sessions, Needs::Ephemerals, Needs::Connections],
        Word::Envi => &[Needs::Environment],
        Word::Hash => &[Needs::Digests],
        Word::Mntr => &[Needs::Readings, Needs::Quotas, Needs::OpenFiles],
        Word::Srvr => &[Needs::Readings],
        Word::Stat => &[Needs::Readings, Needs::Connections],
        Word::Wchc | Word::Wchp => &[Needs::Watches],
        Word::Wchs => &[Needs::WatchCounts],
        Word::Crst | Word::Gtmk | Word::Isro | Word::Ruok | Word::Srst | Word::Stmk => &[],
    }
}

/// What must be done, if the word may be executed and the server serves.
pub fn action(word: Word) -> Option<Action> {
    match word {
        Word::Crst => Some(Action::ResetConnections),
        Word::Srst => Some(Action::ResetServer),
        Word::Stmk => Some(Action::SetTraceMask),
        Word::Conf
        | Word::Cons
        | Word::Dirs
        | Word::Dump
        | Word::Envi
        | Word::Gtmk
        | Word::Hash
        | Word::Isro
        | Word::Mntr
        | Word::Ruok
        | Word::Srvr
        | Word::Stat
        | Word::Wchc
        | Word::Wchp
        | Word::Wchs => None,
    }
}

/// Whether a server that does not serve (it is electing) executes `word` all the same.
pub fn works_while_electing(word: Word) -> bool {
    matches!(word, Word::Ruok | Word::Isro | Word::Envi | Word::Gtmk | Word::Stmk)
}

/// Whether the answer is the same whatever the server does, so that nobody need be asked: who wants
/// to know whether it lives waits for no other thread.
pub const fn is_constant(word: Word) -> bool {
    matches!(word, Word::Ruok)
}

/// Which words may be executed: `4lw.commands.whitelist`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Whitelist(u32);

impl Whitelist {
    /// Reads a comma list; `*` is all. COMPAT: `srvr` always, since `zkServer.sh status` asks it,
    /// and `isro` where read-only mode is on (`FourLetterCommands.isEnabled`).
    pub fn new(text: &str, read_only_mode: bool) -> Self {
        let mut bits = bit(Word::Srvr);
        if read_only_mode {
            bits |= bit(Word::Isro);
        }
        for name in text.split(',').map(str::trim) {
            if name == "*" {
                return Self(u32::MAX);
            }
            bits |= Word::ALL.iter().find(|word| word.name() == name).map_or(0, |word| bit(*word));
        }
        Self(bits)
    }

    /// Whether `word` may be executed.
    pub fn allows(self, word: Word) -> bool {
        self.0 & bit(word) != 0
    }
}

const fn bit(word: Word) -> u32 {
    1 << word as u32
}

const _: () = assert!(Word::ALL.len() <= 32, "a bit for each");

/// The answer to a word that may not be executed.
pub fn refused(word: Word) -> String {
    format!("{} is not executed because it is not in the whitelist.\n", word.name())
}

/// The answer of a server that is electing.
pub const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// The answer to a word that may be executed, its [`action`] done.
pub fn answer(word: Word, report: &Report) -> String {
    let facts = &report.facts;
    if !facts.serving && !works_while_electing(word) {
        return NOT_SERVING.to_owned();
    }
    let mut out = String::new();
    match word {
        Word::Conf => lines::conf(&mut out, &report.conf, report.sizes),
        Word::Cons => {
            lines::connections(&mut out, &report.connections, lines::Detail::Full);
            out.push('\n');
        }
        Word::Crst => out.push_str("Connection stats reset.\n"),
        Word::Dirs => lines::sizes(&mut out, report.sizes),
        Word::Dump => lines::dump(&mut out, report),
        Word::Envi => lines::environment(&mut out, &report.environment),
        Word::Gtmk | Word::Stmk => put(&mut out, format_args!("{}", facts.trace_mask)),
        Word::Hash => lines::digests(&mut out, &report.digests),
        Word::Isro => out.push_str(match (facts.serving, facts.mode) {
            (false, _) => "null",
            (true, Mode::ReadOnly) => "ro",
            (true, Mode::Standalone | Mode::Leader | Mode::Follower | Mode::Observer) => "rw",
        }),
        Word::Mntr => monitor::write(&mut out, report),
        Word::Ruok => out.push_str("imok"),
        Word::Srst => out.push_str("Server stats reset.\n"),
        Word::Srvr => {
            version_lines(&mut out, report);
            lines::server(&mut out, report);
        }
        Word::Stat => {
            version_lines(&mut out, report);
            out.push_str("Clients:\n");
            lines::connections(&mut out, &report.connections, lines::Detail::Brief);
            out.push('\n');
            lines::server(&mut out, report);
        }
        Word::Wchc => lines::watches_by_session(&mut out, &report.watches),
        Word::Wchp => lines::watches_by_path(&mut out, &report.watches),
        Word::Wchs => lines::watch_counts(&mut out, report.watch_counts),
    }
    out
}

fn version_lines(out: &mut String, report: &Report) {
    put(out, format_args!("Zookeeper version: {}\n", version::FULL));
    if report.facts.mode == Mode::ReadOnly {
        out.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes all that fits in memory");
}

#[cfg(test)]
mod tests;
