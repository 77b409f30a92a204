//! The values that were given, checked against the table of keys.
//!
//! COMPAT: a key of `zoo.cfg` beats the same key given as `-D`, since Java sets its system property
//! from the file (`QuorumPeerConfig.parseProperties`). What is written in the file is checked
//! strictly; a system property that cannot be read leaves the default, as in Java, with a warning.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tracing::Level;

use super::keys::{self, FAMILIES, Key, Kind, Scope, Spelling};
use super::problem::{ConfigError, Place, Warning};
use super::properties::Entry;

/// A value as it was written.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) place: Place,
}

/// All values given, by the name of their key in `zoo.cfg`.
#[derive(Debug, Default)]
pub(super) struct Values {
    given: BTreeMap<&'static str, Given>,
    /// Keys that belong to a family: membership, metrics provider, authentication providers.
    families: BTreeMap<String, Given>,
    pub(super) warnings: Vec<Warning>,
}

impl Values {
    /// Takes `-D` properties, then what a file says.
    pub(super) fn gather(
        properties: &[(String, String)],
        file: Option<&Path>,
        entries: &[Entry],
    ) -> Result<Self, ConfigError> {
        let mut values = Self::default();
        for (name, text) in properties {
            values.take_property(name, text.trim())?;
        }
        if let Some(file) = file {
            for entry in entries {
                values.take_entry(file, entry)?;
            }
        }
        values.warn_of_what_is_kept_only();
        Ok(values)
    }

    fn take_property(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let given = Given { text: text.to_owned(), place: Place::Property(name.to_owned()) };
        let stripped = name.strip_prefix("zookeeper.");
        if let Some(key) = keys::by_property(name) {
            self.take_known_property(key, given)?;
        } else if let Some(rest) = stripped.filter(|rest| is_property_family(rest)) {
            self.families.insert(rest.to_owned(), given);
        } else if keys::by_name(stripped.unwrap_or(name)).is_some() {
            let name = stripped.unwrap_or(name);
            self.warn(format!("{}: has no effect: {name} belongs in zoo.cfg", given.place));
        } else {
            self.warn_of_unknown_property(name, &given.place);
        }
        Ok(())
    }

    /// COMPAT: `Boolean.getBoolean` takes any word but `true` for false; `Integer.getInteger`
    /// leaves the default where there is no number.
    fn take_known_property(
        &mut self,
        key: &'static Key,
        mut given: Given,
    ) -> Result<(), ConfigError> {
        if check(key, &given.text).is_err() {
            if FATAL_PROPERTIES.contains(&key.name) {
                return Err(bad_value(key, key.name, given));
            }
            let Given { text, place } = &given;
            let (name, takes) = (key.name, key.kind);
            if key.kind != Kind::Bool {
                self.warn(format!("{place}: {text} is not allowed; {name} takes {takes}; ignored"));
                return Ok(());
            }
            self.warn(format!("{place}: {text} is taken as false; {name} takes {takes}"));
            "false".clone_into(&mut given.text);
        }
        self.given.insert(key.name, given);
        Ok(())
    }

    fn warn_of_unknown_property(&mut self, name: &str, place: &Place) {
        let nearest = match name.strip_prefix("zookeeper.") {
            Some(rest) => keys::nearest(rest, spelt([Spelling::Property, Spelling::Either]))
                .map(|known| format!("zookeeper.{known}")),
            None => keys::nearest(name, spelt([Spelling::Bare, Spelling::Either])).map(Into::into),
        };
        match nearest {
            Some(known) => {
                self.warn(format!("{place}: unknown property; did you mean -D{known}?"));
            }
            None if name.starts_with("zookeeper.") => {
                self.warn(format!("{place}: unknown property"));
            }
            None => self.say(Level::DEBUG, format!("{place}: means nothing here; ignored")),
        }
    }

    fn take_entry(&mut self, file: &Path, entry: &Entry) -> Result<(), ConfigError> {
        let place = Place::Line(file.to_path_buf(), entry.line);
        let given = Given { text: entry.value.clone(), place };
        let Some(key) = keys::by_name(&entry.key) else {
            if FAMILIES.iter().any(|family| entry.key.starts_with(family)) {
                self.warn_of_repetition(&entry.key, &given, self.families.get(&entry.key).cloned());
                self.families.insert(entry.key.clone(), given);
            } else {
                self.warn_of_unknown_key(&entry.key, &given.place);
            }
            return Ok(());
        };
        if check(key, &entry.value).is_err() {
            return Err(bad_value(key, &entry.key, given));
        }
        self.warn_of_repetition(key.name, &given, self.given.get(key.name).cloned());
        self.given.insert(key.name, given);
        Ok(())
    }

    fn warn_of_repetition(&mut self, key: &str, given: &Given, before: Option<Given>) {
        let Some(before) = before else { return };
        match &before.place {
            Place::Line(_, line) => self.warn(format!(
                "{}: {key}={} takes the place of {key}={} on line {line}",
                given.place, given.text, before.text
            )),
            Place::Property(name) if before.text != given.text => self.warn(format!(
                "{}: {key}={} takes the place of -D{name}={}",
                given.place, given.text, before.text
            )),
            Place::Property(_) => {}
        }
    }

    fn warn_of_unknown_key(&mut self, key: &str, place: &Place) {
        if let Some(rest) = key.strip_prefix("zookeeper.")
            && keys::by_name(rest).is_some()
        {
            self.warn(format!("{place}: {key} has no effect in a file: write {rest}"));
            return;
        }
        let names = keys::KEYS.iter().map(|key| key.name).chain(FAMILIES);
        match keys::nearest(key, names) {
            Some(known) => {
                self.warn(format!("{place}: unknown key {key}; did you mean {known}?"));
            }
            None => self.warn(format!("{place}: unknown key {key}; no known key is near it")),
        }
    }

    /// One warning for each key that asks for something this server cannot do yet.
    fn warn_of_what_is_kept_only(&mut self) {
        let mut warnings = Vec::new();
        for (name, given) in &self.given {
            let key = keys::by_name(name).expect("given under its key's name");
            let place = &given.place;
            match key.scope {
                Scope::Later | Scope::Fixed if asks_for_something(key, &given.text) => {
                    let text = format!("{place}: {name} is kept, but not in force yet");
                    warnings.push(Warning { level: Level::WARN, text });
                }
                Scope::Java => {
                    let text = format!("{place}: {name} means nothing here; ignored");
                    warnings.push(Warning { level: Level::DEBUG, text });
                }
                Scope::Server | Scope::Ensemble | Scope::Later | Scope::Fixed => {}
            }
        }
        self.warnings.extend(warnings);
    }

    pub(super) fn warn(&mut self, text: String) {
        self.say(Level::WARN, text);
    }

    pub(super) fn say(&mut self, level: Level, text: String) {
        self.warnings.push(Warning { level, text });
    }

    /// What was given for a key; `None` leaves its default.
    pub(super) fn given(&self, name: &str) -> Option<&Given> {
        self.given.get(name)
    }

    /// Keys of a family, without its name, sorted.
    pub(super) fn family<'a>(
        &'a self,
        family: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Given)> {
        self.families
            .iter()
            .filter_map(move |(key, given)| Some((key.strip_prefix(family)?, given)))
    }

    /// A key's value or its default, as text.
    pub(super) fn text(&self, name: &str) -> &str {
        let key = keys::by_name(name).expect("asked for by its name in the table");
        self.given.get(name).map_or(key.default, |given| &given.text)
    }

    /// The same; `None` where it is empty.
    pub(super) fn text_given(&self, name: &str) -> Option<String> {
        Some(self.text(name).to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text_given(name).map(PathBuf::from)
    }

    /// A comma list.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let parts = self.text(name).split(',').map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }

    /// A whole number of a type that the table's range fits.
    pub(super) fn whole<T: TryFrom<i64>>(&self, name: &str) -> T {
        let number = whole(self.text(name)).expect("checked when given, or the table's");
        T::try_from(number).ok().expect("the table's range fits the type")
    }

    /// A number that nobody checked; `None` where Java (`Integer.getInteger`) finds none.
    pub(super) fn int_given(&self, name: &str) -> Option<i32> {
        i32::try_from(whole(self.text(name))?).ok()
    }

    /// A limit: `None` where 0 or less turns it off.
    pub(super) fn limit<T: TryFrom<i64>>(&self, name: &str) -> Option<T> {
        let number: i64 = self.whole(name);
        (number > 0).then(|| self.whole(name))
    }

    pub(super) fn real(&self, name: &str) -> f64 {
        self.text(name).parse().expect("checked when given, or the table's")
    }

    /// A time in milliseconds, given in hours or with a unit; `None` for 0 or less.
    pub(super) fn hours_ms(&self, name: &str) -> Option<u64> {
        let millis = hours_ms(self.text(name)).expect("checked when given, or the table's");
        u64::try_from(millis).ok().filter(|millis| *millis > 0)
    }
}

/// Properties whose default must not stand in for what was asked.
///
/// COMPAT: Java does not start with a hash it does not have (`DigestAuthenticationProvider`).
const FATAL_PROPERTIES: [&str; 1] = ["DigestAuthenticationProvider.digestAlg"];

fn bad_value(key: &Key, written: &str, given: Given) -> ConfigError {
    ConfigError::BadValue {
        place: given.place,
        key: written.to_owned(),
        value: given.text,
        allowed: key.kind.to_string(),
    }
}

fn is_property_family(name: &str) -> bool {
    ["authProvider.", "superUser."].iter().any(|family| name.starts_with(family))
}

fn spelt<const N: usize>(how: [Spelling; N]) -> impl Iterator<Item = &'static str> {
    keys::KEYS.iter().filter(move |key| how.contains(&key.spelling)).map(|key| key.name)
}

fn asks_for_something(key: &Key, text: &str) -> bool {
    // Of what is absent, a switch that is off asks for nothing, whatever Java's default is.
    let is_off = key.scope == Scope::Later && text.eq_ignore_ascii_case("false");
    !text.eq_ignore_ascii_case(key.default) && !is_off
}

fn check(key: &Key, text: &str) -> Result<(), ()> {
    let fits = match key.kind {
        // What nobody reads is not checked.
        Kind::Text => true,
        _ if key.scope == Scope::Java => true,
        Kind::Bool => ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word)),
        Kind::Whole(least, greatest) => {
            whole(text).is_some_and(|number| (least..=greatest).contains(&number))
        }
        Kind::Real(least, greatest) => {
            text.parse().is_ok_and(|number: f64| (least..=greatest).contains(&number))
        }
        Kind::Hours => hours_ms(text).is_some(),
        Kind::OneOf(words) => words.contains(&text),
        Kind::OneOfAnyCase(words) => words.iter().any(|word| text.eq_ignore_ascii_case(word)),
    };
    if fits { Ok(()) } else { Err(()) }
}

/// A decimal number as `Integer.parseInt` reads it, or a hexadecimal one as `Integer.decode` does.
fn whole(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = ["0x", "0X", "#"].iter().find_map(|prefix| digits.strip_prefix(prefix));
    let (digits, radix) = hex.map_or((digits, 10), |digits| (digits, 16));
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// COMPAT: 3.9 takes whole hours; the release after it also `ms`, `s`, `m`, `h`, `d`.
fn hours_ms(text: &str) -> Option<i64> {
    const HOUR_MS: i64 = 3_600_000;
    let units =
        [("ms", 1), ("s", 1000), ("m", 60_000), ("h", HOUR_MS), ("d", 24 * HOUR_MS), ("", HOUR_MS)];
    let (number, unit_ms) =
        units.iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, *ms)))?;
    whole(number)?.checked_mul(unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        let cases = [
            ("0", Some(0)),
            ("+5", Some(5)),
            ("-1", Some(-1)),
            ("0x10", Some(16)),
            ("#ff", Some(255)),
            ("-0x1", Some(-1)),
            ("007", Some(7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("+", None),
            ("--1", None),
            ("+-1", None),
            ("1_000", None),
            ("1k", None),
            ("1.0", None),
        ];
        for (text, number) in cases {
            assert_eq!(whole(text), number, "{text:?}");
        }
    }

    #[test]
    fn hours_and_other_units() {
        let cases = [
            ("0", Some(0)),
            ("-1", Some(-3_600_000)),
            ("24", Some(86_400_000)),
            ("5ms", Some(5)),
            ("5s", Some(5000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("2d", Some(172_800_000)),
            ("d", None),
            ("5 h", None),
            ("5w", None),
            ("", None),
        ];
        for (text, millis) in cases {
            assert_eq!(hours_ms(text), millis, "{text:?}");
        }
    }

    #[test]
    fn every_default_is_allowed() {
        for key in keys::KEYS {
            let default = key.default;
            assert!(default.is_empty() || check(key, default).is_ok(), "{}={default}", key.name);
        }
    }
}
