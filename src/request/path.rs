//! Which strings are paths. Two checks exist, and which one applies decides the error a client
//! sees. Source: `PathUtils.validatePath`, `PrepRequestProcessor`.
//!
//! Pure. Java checks UTF-16 units, so everything above U+FFFF is refused with the surrogates.

use crate::wire::ErrorCode;

/// Membership lives here; it cannot be deleted.
pub const CONFIG: &str = "/zookeeper/config";

/// What no delete may name: `/` and the server's own nodes.
const PROTECTED: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", CONFIG];

/// The check of create (with its suffix), setData, setACL and check.
///
/// # Errors
/// [`ErrorCode::BadArguments`] unless `path` is `/`, or `/` before each of its components, none of
/// them empty, `.` or `..`, and free of control and private characters.
pub fn check(path: &str) -> Result<(), ErrorCode> {
    let Some(rest) = path.strip_prefix('/') else { return Err(ErrorCode::BadArguments) };
    if rest.is_empty() {
        return Ok(());
    }
    let mut names = rest.as_bytes().split(|byte| *byte == b'/');
    let whole = names.all(|name| !matches!(name, b"" | b"." | b".."));
    if whole && is_clean(rest) { Ok(()) } else { Err(ErrorCode::BadArguments) }
}

fn is_clean(text: &str) -> bool {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte);
    text.bytes().all(plain) || text.chars().all(is_allowed)
}

const fn is_allowed(c: char) -> bool {
    !matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..)
}

/// The parent of a path about to be created: the weak check, before anything else is looked at.
///
/// # Errors
/// [`ErrorCode::BadArguments`] without a slash or with a NUL.
pub fn parent_for_create(path: &str) -> Result<&str, ErrorCode> {
    match path.rfind('/') {
        Some(slash) if !path.contains('\0') => Ok(or_root(&path[..slash])),
        _ => Err(ErrorCode::BadArguments),
    }
}

/// The parent of a path about to be deleted.
///
/// # Errors
/// [`ErrorCode::BadArguments`] as for a create, and for the nodes that must stay.
pub fn parent_for_delete(path: &str) -> Result<&str, ErrorCode> {
    if PROTECTED.contains(&path) {
        return Err(ErrorCode::BadArguments);
    }
    parent_for_create(path)
}

/// The textual parent; that of `/` is `/`.
pub fn parent(path: &str) -> &str {
    or_root(path.rfind('/').map_or("", |slash| &path[..slash]))
}

/// `""` is an alias of `/`.
pub const fn or_root(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_check() {
        for good in ["/", "/a", "/a/b", "/...", "/.a", "/a..", "/a b", "/é/漢字", "/\u{ffef}"] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        let bad = [
            "",
            "a",
            "a/b",
            "/a/",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/./b",
            "/a/../b",
            "/a/..",
            "/a\0",
            "/\u{1}",
            "/\u{1f}",
            "/\u{7f}",
            "/\u{9f}",
            "/\u{e000}",
            "/\u{f8ff}",
            "/\u{fff0}",
            "/\u{fffd}",
            "/\u{ffff}",
            "/\u{1f600}",
            "/\u{10ffff}",
        ];
        for bad in bad {
            assert_eq!(check(bad), Err(ErrorCode::BadArguments), "{bad:?}");
        }
    }

    #[test]
    fn weak_check_of_a_create() {
        let cases = [
            ("/a", Ok("/")),
            ("/", Ok("/")),
            ("/a/b", Ok("/a")),
            ("/a/", Ok("/a")),
            ("//a", Ok("/")),
            ("a/b", Ok("a")),
            ("a", Err(ErrorCode::BadArguments)),
            ("", Err(ErrorCode::BadArguments)),
            ("/a\0", Err(ErrorCode::BadArguments)),
        ];
        for (path, parent) in cases {
            assert_eq!(parent_for_create(path), parent, "{path:?}");
        }
    }

    #[test]
    fn what_a_delete_refuses() {
        for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "a", "", "/a\0"] {
            assert_eq!(parent_for_delete(path), Err(ErrorCode::BadArguments), "{path:?}");
        }
        assert_eq!(parent_for_delete("/zookeeper/quota/a"), Ok("/zookeeper/quota"));
        assert_eq!(parent_for_delete("/a"), Ok("/"));
    }
}
