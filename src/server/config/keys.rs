//! Every key that `ZooKeeper` 3.9 knows, and ours: one table.
//!
//! The table is the only place with types, ranges and defaults. A key that is not in it is unknown:
//! a warning, never an error, as Java makes a system property of it.

use std::fmt;

mod table;

pub use table::KEYS;

/// How a key may be written besides its name in `zoo.cfg`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spelling {
    /// Only in `zoo.cfg`.
    File,
    /// Also as `-Dzookeeper.name=`.
    Property,
    /// Also as `-Dname=`. COMPAT: in Java only so; we take it in the file too.
    Bare,
    /// Also as `-Dzookeeper.name=` or `-Dname=`.
    Either,
}

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number, least and greatest.
    Whole(i64, i64),
    /// A decimal number, least and greatest.
    Real(f64, f64),
    /// A time in hours, or with a unit.
    Hours,
    /// One of these words, spelt so.
    OneOf(&'static [&'static str]),
    /// One of these words in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// Anything.
    Text,
}

/// What a key takes, for a person.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Whole(least, greatest) if least == greatest => write!(f, "only {least}"),
            Self::Whole(i64::MIN, i64::MAX) => f.write_str("a whole number"),
            Self::Whole(least, i64::MAX) => write!(f, "a whole number, at least {least}"),
            Self::Whole(least, greatest) => {
                write!(f, "a whole number from {least} to {greatest}")
            }
            Self::Real(least, greatest) if *least <= f64::MIN && *greatest >= f64::MAX => {
                f.write_str("a decimal number")
            }
            Self::Real(least, greatest) => write!(f, "a decimal number from {least} to {greatest}"),
            Self::Hours => {
                f.write_str("a whole number of hours, or with ms, s, m, h or d after it")
            }
            Self::OneOf(words) | Self::OneOfAnyCase(words) => {
                let words: Vec<&str> = words
                    .iter()
                    .map(|word| if word.is_empty() { "nothing" } else { word })
                    .collect();
                write!(f, "{}", words.join(" or "))
            }
            Self::Text => f.write_str("any text"),
        }
    }
}

/// Who obeys a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Every server.
    Server,
    /// A server among others; checked and kept by one that stands alone.
    Ensemble,
    /// Nobody yet: checked and kept, with a warning.
    Later,
    /// Nobody yet; here a switch that is off asks for something too.
    Fixed,
    /// A Java machine, its threads or its libraries: taken and ignored.
    Java,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in `zoo.cfg`.
    pub name: &'static str,
    /// How else it may be written.
    pub spelling: Spelling,
    /// What it takes.
    pub kind: Kind,
    /// What holds where it is not given; empty where nothing does, or other keys decide.
    pub default: &'static str,
    /// Who obeys it.
    pub scope: Scope,
}

/// Keys whose names go on after these beginnings. Their values are free, or have a grammar.
pub const FAMILIES: [&str; 6] =
    ["server.", "group", "weight", "metricsProvider.", "authProvider.", "superUser."];

/// The key of this name in `zoo.cfg`.
pub fn by_name(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key that `-Dproperty=` sets.
pub fn by_property(property: &str) -> Option<&'static Key> {
    let stripped = property.strip_prefix("zookeeper.");
    KEYS.iter().find(|key| match key.spelling {
        Spelling::File => false,
        Spelling::Property => stripped == Some(key.name),
        Spelling::Bare => property == key.name,
        Spelling::Either => stripped == Some(key.name) || property == key.name,
    })
}

/// The known spelling nearest to one that is unknown, if it is near at all.
pub fn nearest(
    written: &str,
    spellings: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let near = written.len() / 4 + 1;
    spellings
        .map(|spelling| (distance(written, spelling), spelling))
        .min()
        .filter(|(distance, _)| *distance <= near)
        .map(|(_, spelling)| spelling)
}

/// Edits from one to the other, whatever their case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (deleted, from) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], deleted + 1);
        for (column, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from.to_ascii_lowercase() != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let mut names = BTreeSet::new();
        for key in KEYS {
            assert!(names.insert(key.name), "{} twice", key.name);
            assert_eq!(by_name(key.name).map(|found| found.name), Some(key.name));
        }
    }

    #[test]
    fn properties_find_their_key() {
        let cases = [
            ("zookeeper.snapCount", Some("snapCount")),
            ("snapCount", None),
            ("zookeeper.tickTime", None),
            ("jute.maxbuffer", Some("jute.maxbuffer")),
            ("zookeeper.jute.maxbuffer", None),
            ("zookeeper.jute.maxbuffer.extrasize", Some("jute.maxbuffer.extrasize")),
            ("fsync.warningthresholdms", Some("fsync.warningthresholdms")),
            ("zookeeper.fsync.warningthresholdms", Some("fsync.warningthresholdms")),
            ("zookeeper.ssl.quorum.keyStore.type", Some("ssl.quorum.keyStore.type")),
            ("ringkeeper.shards", Some("ringkeeper.shards")),
        ];
        for (property, name) in cases {
            assert_eq!(by_property(property).map(|key| key.name), name, "{property}");
        }
    }

    #[test]
    fn misspellings_find_what_was_meant() {
        let cases = [
            ("ticktime", Some("tickTime")),
            ("tickTme", Some("tickTime")),
            ("clientport", Some("clientPort")),
            ("maxClientCnxs", Some("maxClientCnxns")),
            ("snapcounts", Some("snapCount")),
            ("4lw.command.whitelist", Some("4lw.commands.whitelist")),
            ("frobnicate", None),
            ("x", None),
        ];
        for (written, meant) in cases {
            let names = KEYS.iter().map(|key| key.name);
            assert_eq!(nearest(written, names), meant, "{written}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("AB", "ab", 0), ("ab", "ba", 2)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
