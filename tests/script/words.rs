//! The words of a story's command.

use std::collections::BTreeMap;

use ringkeeper::ids::ServerId;

/// A command's words: those of the form `key=value` apart.
pub(crate) struct Words<'a> {
    pub(crate) plain: Vec<&'a str>,
    pub(crate) keys: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        let (keyed, plain): (Vec<_>, Vec<_>) =
            line.split_whitespace().partition(|word| word.contains('='));
        Self { plain, keys: keyed.iter().filter_map(|word| word.split_once('=')).collect() }
    }

    pub(crate) fn number(&self, key: &str) -> i64 {
        self.number_or(key, 0)
    }

    pub(crate) fn number_or(&self, key: &str, default: i64) -> i64 {
        self.keys.get(key).map_or(default, |text| number(text))
    }

    pub(crate) fn list(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.keys.get(key).into_iter().flat_map(|list| list.split(','))
    }

    pub(crate) fn server(&self, place: usize) -> ServerId {
        ServerId(number(self.plain[place]))
    }
}

pub(crate) fn number(text: &str) -> i64 {
    let number = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.unwrap_or_else(|_| panic!("{text:?} is no number"))
}
