//! What long lists were found to let a caller do, for the rest of its request.
//!
//! A list may have tens of thousands of entries, and one request may ask of it as many times.
//! While it does, neither the list nor the caller changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{AccessConfig, Identity, permits};
use crate::tree::SharedAcl;
use crate::wire::ErrorCode;

/// Entries above which a list is long. To look through a shorter one costs no more than to look
/// it up here.
const SHORT_LIST_MAX: usize = 32;

/// See the module. Of one caller.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// By the list's address, and what was needed. The list is held, so that no other can come to
    /// have its address.
    known: BTreeMap<(usize, i32), (SharedAcl, bool)>,
}

impl Verdicts {
    /// Whether the list [permits](permits) it, found out once for each long list.
    ///
    /// # Errors
    /// [`ErrorCode::NoAuth`] if the list does not grant it.
    pub fn check(
        &mut self,
        config: &AccessConfig,
        acl: &SharedAcl,
        needed: i32,
        identities: &[Identity],
    ) -> Result<(), ErrorCode> {
        let decide = || permits(config, acl, needed, identities);
        let is_permitted = if acl.len() <= SHORT_LIST_MAX {
            decide()
        } else {
            let key = (Arc::as_ptr(acl).addr(), needed);
            self.known.entry(key).or_insert_with(|| (Arc::clone(acl), decide())).1
        };
        if is_permitted { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    /// The next request may be another caller's.
    pub fn forget(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Acl;
    use crate::wire::record::perms;

    fn caller(id: &str) -> [Identity; 1] {
        [Identity::of_peer(id.parse().unwrap())]
    }

    /// Addresses of others, and at its end one to which `last` is granted.
    fn list(len: usize, last: i32) -> SharedAcl {
        let entry = |perms, id: String| Acl { perms, scheme: "ip".into(), id: id.into() };
        let others =
            (1..len).map(|at| entry(perms::ALL, format!("10.1.{}.{}", at / 256, at % 256)));
        others.chain([entry(last, "10.0.0.1".into())]).collect()
    }

    #[test]
    fn each_list_is_asked_about_each_permission_and_each_caller() {
        let config = AccessConfig::default();
        let mut verdicts = Verdicts::default();
        for len in [1, SHORT_LIST_MAX, SHORT_LIST_MAX + 1, 1000] {
            let (read, write) = (list(len, perms::READ), list(len, perms::WRITE));
            for _ in 0..2 {
                let mut check = |acl, needed, caller: &str| {
                    verdicts.check(&config, acl, needed, &self::caller(caller))
                };
                assert_eq!(check(&read, perms::READ, "10.0.0.1"), Ok(()), "{len}");
                assert_eq!(check(&read, perms::WRITE, "10.0.0.1"), Err(ErrorCode::NoAuth), "{len}");
                assert_eq!(check(&write, perms::WRITE, "10.0.0.1"), Ok(()), "{len}");
                verdicts.forget();
                let stranger = verdicts.check(&config, &read, perms::READ, &caller("10.0.0.2"));
                assert_eq!(stranger, Err(ErrorCode::NoAuth), "{len}");
                verdicts.forget();
            }
        }
    }

    /// A list that was freed within the request must not speak for the next at its address.
    #[test]
    fn a_list_that_is_known_is_held() {
        let mut verdicts = Verdicts::default();
        let known = list(SHORT_LIST_MAX + 1, perms::READ);
        let config = AccessConfig::default();
        assert!(verdicts.check(&config, &known, perms::READ, &caller("10.0.0.1")).is_ok());
        assert_eq!(Arc::strong_count(&known), 2);
        assert_eq!(verdicts.known.len(), 1);
        verdicts.forget();
        assert_eq!(Arc::strong_count(&known), 1);
    }

    #[test]
    fn short_lists_are_not_kept() {
        let mut verdicts = Verdicts::default();
        let short = list(SHORT_LIST_MAX, perms::READ);
        let config = AccessConfig::default();
        assert!(verdicts.check(&config, &short, perms::READ, &caller("10.0.0.1")).is_ok());
        assert!(verdicts.known.is_empty());
    }
}
