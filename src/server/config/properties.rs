//! The syntax of `zoo.cfg`: that of `java.util.Properties`.
//!
//! Pure. Bytes are ISO-8859-1. `#` and `!` open a comment; the first unescaped `=`, `:` or blank
//! parts key from value; a line that ends in a backslash goes on in the next.

/// A key and its value, both trimmed as `ZooKeeper` trims them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    /// Where it begins, from 1.
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

/// A `\u` without four hex digits: the only thing that makes a file malformed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct MalformedEscape {
    pub(super) line: usize,
}

/// All entries in their order, repeated keys included: the last one counts.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Entry>, MalformedEscape> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut entries = Vec::new();
    for LogicalLine { line, chars } in logical_lines(&text) {
        let (key, value) = split(&chars).ok_or(MalformedEscape { line })?;
        let (key, value) = (java_trim(&key).to_owned(), java_trim(&value).to_owned());
        entries.push(Entry { line, key, value });
    }
    Ok(entries)
}

/// COMPAT: `String.trim` takes everything up to the blank off both ends.
fn java_trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// A line with its continuations, escapes still in it.
struct LogicalLine {
    line: usize,
    chars: Vec<char>,
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

fn logical_lines(text: &str) -> Vec<LogicalLine> {
    let mut lines = Vec::new();
    let mut open: Option<LogicalLine> = None;
    for (number, natural) in natural_lines(text).into_iter().enumerate() {
        let content = natural.trim_start_matches(is_blank);
        if open.is_none() && (content.is_empty() || content.starts_with(['#', '!'])) {
            continue;
        }
        let content_end = content.trim_end_matches('\\').len();
        let continues = (content.len() - content_end) % 2 == 1;
        let content = if continues { &content[..content.len() - 1] } else { content };
        let logical =
            open.get_or_insert_with(|| LogicalLine { line: number + 1, chars: Vec::new() });
        logical.chars.extend(content.chars());
        if !continues {
            lines.extend(open.take());
        }
    }
    lines.extend(open);
    lines.retain(|logical| !logical.chars.is_empty());
    lines
}

/// Parted by `\n`, `\r` or both together.
fn natural_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(['\n', '\r']) {
        lines.push(&rest[..end]);
        let after = &rest[end..];
        rest = after.strip_prefix("\r\n").unwrap_or(&after[1..]);
    }
    lines.push(rest);
    lines
}

/// Key and value, unescaped; `None` for a malformed escape.
fn split(chars: &[char]) -> Option<(String, String)> {
    let mut key_end = 0;
    while key_end < chars.len() && !is_blank(chars[key_end]) && !matches!(chars[key_end], '=' | ':')
    {
        // An escaped character is part of the key, whatever it is.
        key_end += if chars[key_end] == '\\' { 2 } else { 1 };
    }
    let (key, rest) = chars.split_at(key_end.min(chars.len()));
    let rest = skip_blanks(rest);
    let rest = match rest.first() {
        Some('=' | ':') => skip_blanks(&rest[1..]),
        Some(_) | None => rest,
    };
    Some((unescape(key)?, unescape(rest)?))
}

fn skip_blanks(chars: &[char]) -> &[char] {
    let blanks = chars.iter().take_while(|c| is_blank(**c)).count();
    &chars[blanks..]
}

fn unescape(chars: &[char]) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(chars.len());
    let mut rest = chars.iter().copied();
    while let Some(c) = rest.next() {
        let c = match c {
            '\\' => match rest.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('u') => {
                    units.push(hex_unit(&mut rest)?);
                    continue;
                }
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend(c.encode_utf16(&mut [0; 2]).iter());
    }
    Some(String::from_utf16_lossy(&units))
}

fn hex_unit(chars: &mut impl Iterator<Item = char>) -> Option<u16> {
    (0..4).try_fold(0, |unit: u16, _| {
        let digit = chars.next()?.to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).expect("a hex digit"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        let entries = parse(text.as_bytes()).expect("well-formed");
        entries.into_iter().map(|entry| (entry.line, entry.key, entry.value)).collect()
    }

    #[test]
    fn one_entry_in_many_spellings() {
        for text in [
            "a=b",
            "a = b",
            "a:b",
            "a b",
            "a\tb",
            "a\x0cb",
            " \t a=b",
            "a =b",
            "a= b",
            "a  :  b  ",
            "a=b\n",
            "a=b\r",
            "a=b\r\n",
            "\r\r\na=b",
            "#x\na=b",
            "!x=y\na=b",
            "  # x\na=b",
            "\\a=b",
            "a=\\b",
            "a=\\\nb",
            "a\\\n=b",
            "a=\\\r\n   b",
            "a=\\\r\tb",
            "# c \\\na=b",
            "\\\na=b",
            "a=b\\",
            "\\u0061=\\u0062",
        ] {
            let found = pairs(text);
            assert_eq!(found.len(), 1, "{text:?}: {found:?}");
            assert_eq!((&*found[0].1, &*found[0].2), ("a", "b"), "{text:?}");
        }
    }

    #[test]
    fn keys_and_values_of_single_lines() {
        let cases = [
            ("a", "a", ""),
            ("a=", "a", ""),
            ("=b", "", "b"),
            ("a==b", "a", "=b"),
            ("a = = b", "a", "= b"),
            ("a b c", "a", "b c"),
            ("a=b#c", "a", "b#c"),
            ("a\\ b=c", "a b", "c"),
            ("a\\=b=c", "a=b", "c"),
            ("a\\:b:c", "a:b", "c"),
            ("a=b\\\\", "a", "b\\"),
            ("a=b\\\\\\\n  c", "a", "b\\c"),
            ("a=b\\tc\\nd\\qe", "a", "b\tc\ndqe"),
            ("a=\\u00e9\\u4E2d", "a", "\u{e9}\u{4e2d}"),
            ("a=\\ud83d\\ude00", "a", "\u{1f600}"),
            ("a=b \\\n   # c", "a", "b # c"),
            ("server.1:host:2888:3888", "server.1", "host:2888:3888"),
            ("dataDir=C\\:\\\\data", "dataDir", "C:\\data"),
            ("a=\\\n\n", "a", ""),
        ];
        for (text, key, value) in cases {
            assert_eq!(pairs(text), [(1, key.to_owned(), value.to_owned())], "{text:?}");
        }
    }

    #[test]
    fn lines_are_counted_by_where_an_entry_begins() {
        let text = "# one\n\na=1\\\n2\\\n3\nb=4\r\nc=5\rd=6\na=7";
        let lines: Vec<(usize, String)> =
            pairs(text).into_iter().map(|(line, key, value)| (line, key + &value)).collect();
        let expected = [(3, "a123"), (6, "b4"), (7, "c5"), (8, "d6"), (9, "a7")];
        assert_eq!(lines, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn bytes_are_latin_1() {
        let entries = parse(b"a=\xe9\xc3\xa9").expect("well-formed");
        assert_eq!(entries[0].value, "\u{e9}\u{c3}\u{a9}");
    }

    #[test]
    fn what_holds_nothing_and_what_is_malformed() {
        for text in ["", "\n\n", "   ", "# only\n! comments", "\\", "\\\n\\\n"] {
            assert_eq!(pairs(text), [], "{text:?}");
        }
        for (text, line) in [("a=\\u12", 1), ("\n\nx\\uqqqq=1", 3), ("a=\\u00g0", 1)] {
            assert_eq!(parse(text.as_bytes()), Err(MalformedEscape { line }), "{text:?}");
        }
    }
}
