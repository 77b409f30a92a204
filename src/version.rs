//! Which `ZooKeeper` this server is to its clients, and what it really is.

/// The release whose contract this server keeps; clients parse it and adapt.
pub const CONTRACT: &str = "3.9.5";

/// What `srvr`, `mntr` and `envi` print. COMPAT: `Version.getFullVersion`, of which clients match
/// `[A-Za-z0-9.-]+, built on .*`.
pub const FULL: &str = concat!(
    "3.9.5-ringkeeper-",
    env!("CARGO_PKG_VERSION"),
    "-",
    env!("RINGKEEPER_COMMIT"),
    ", built on ",
    env!("RINGKEEPER_DATE"),
);

/// What `zkserver version` prints.
pub const LINE: &str = concat!(
    "Ringkeeper, version ",
    env!("CARGO_PKG_VERSION"),
    " (Apache ZooKeeper contract, version 3.9.5), commit ",
    env!("RINGKEEPER_COMMIT"),
    " of ",
    env!("RINGKEEPER_DATE"),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_version_is_what_clients_match() {
        let (version, built) = FULL.split_once(", built on ").expect("both parts");
        assert!(version.starts_with(CONTRACT) && LINE.contains(CONTRACT));
        assert!(
            version.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)),
            "{version}"
        );
        assert!(built.ends_with(" UTC") && built.len() == "2026-01-01 00:00 UTC".len(), "{built}");
    }
}
