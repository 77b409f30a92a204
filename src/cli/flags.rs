//! Java-style properties as command lines and flag variables carry them.
//!
//! Pure. `ZooKeeper`'s scripts hand `SERVER_JVMFLAGS` and `JVMFLAGS` to the Java machine through a
//! shell, so quotes and backslashes mean here what they mean there. Only `-Dname=value` is for us.

use std::iter::Peekable;
use std::str::Chars;

/// A flag variable taken apart.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct JvmFlags {
    /// `-Dname=value`, in their order.
    pub properties: Vec<(String, String)>,
    /// All other flags: they speak to a Java machine.
    pub ignored: Vec<String>,
}

/// Takes the text of a flag variable apart.
pub fn jvm_flags(text: &str) -> JvmFlags {
    let mut flags = JvmFlags::default();
    for word in words(text) {
        match word.strip_prefix("-D") {
            Some(property_text) if !property_text.is_empty() => {
                flags.properties.push(property(property_text));
            }
            Some(_) | None => flags.ignored.push(word),
        }
    }
    flags
}

/// `name=value`; without the sign the value is empty, as Java has it.
pub fn property(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.to_owned())
}

/// Splits as a shell does: blanks part words, quotes and backslashes join them.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return words;
        }
        words.push(word(&mut chars));
    }
}

fn word(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut word = String::new();
    while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
        match c {
            '\'' => word.extend(chars.by_ref().take_while(|c| *c != '\'')),
            '"' => double_quoted(chars, &mut word),
            '\\' => word.extend(chars.next()),
            _ => word.push(c),
        }
    }
    word
}

/// Up to the closing quote; a backslash is itself unless it guards a quote or a backslash.
fn double_quoted(chars: &mut Peekable<Chars<'_>>, word: &mut String) {
    while let Some(c) = chars.next() {
        match c {
            '"' => return,
            '\\' => {
                word.push(chars.next_if(|next| matches!(next, '"' | '\\' | '$')).unwrap_or('\\'));
            }
            _ => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_a_shell_splits_them() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("  \t\n", &[]),
            ("-Xmx1000m -Da=b", &["-Xmx1000m", "-Da=b"]),
            ("-Da='b c' d", &["-Da=b c", "d"]),
            ("-Da=\"b c\"d e", &["-Da=b cd", "e"]),
            ("'' x", &["", "x"]),
            (r"a\ b", &["a b"]),
            (r#""a\"b\\c\n""#, &[r#"a"b\c\n"#]),
            ("'unclosed end", &["unclosed end"]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }

    #[test]
    fn properties_are_told_from_flags() {
        let flags = jvm_flags("-Xms1g -Dzookeeper.snapCount=5 -D -Dempty -XX:+UseG1GC '-Dp=a b'");
        let pairs = [("zookeeper.snapCount", "5"), ("empty", ""), ("p", "a b")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(flags.properties, pairs);
        assert_eq!(flags.ignored, ["-Xms1g", "-D", "-XX:+UseG1GC"]);
    }
}
