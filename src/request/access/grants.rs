//! What long lists were found to grant, for as long as neither they nor those who ask change.
//!
//! A list may have tens of thousands of entries, and one request may ask of it as many times: in
//! the steps of a multi, or by the events of its changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{AccessConfig, Identity, permits};
use crate::limits::GRANTS_KEPT_MAX;
use crate::tree::SharedAcl;
use crate::wire::ErrorCode;

/// Entries above which a list is long. To look through a shorter one costs no more than to look
/// it up here.
const SHORT_LIST_MAX: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub struct Grants {
    known: BTreeMap<Question, (SharedAcl, bool)>,
}

/// Who asks is known by the address of the identities, which stay until [`Grants::forget`]. The
/// list is held, so that no other can come to have its address.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Question {
    list: usize,
    needed: i32,
    identities: usize,
}

impl Grants {
    /// Whether the list [permits] it, found out once for each long list.
    pub fn permit(
        &mut self,
        config: &AccessConfig,
        acl: &SharedAcl,
        needed: i32,
        identities: &[Identity],
    ) -> bool {
        if acl.len() <= SHORT_LIST_MAX {
            return permits(config, acl, needed, identities);
        }
        let (list, asking) = (Arc::as_ptr(acl).addr(), identities.as_ptr().addr());
        let question = Question { list, needed, identities: asking };
        if let Some((_, is_granted)) = self.known.get(&question) {
            return *is_granted;
        }
        let is_granted = permits(config, acl, needed, identities);
        if self.known.len() < GRANTS_KEPT_MAX {
            self.known.insert(question, (Arc::clone(acl), is_granted));
        }
        is_granted
    }

    /// The same as a check.
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
        if self.permit(config, acl, needed, identities) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    /// Identities may change from here on.
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
        let mut grants = Grants::default();
        for len in [1, SHORT_LIST_MAX, SHORT_LIST_MAX + 1, 1000] {
            let (read, write) = (list(len, perms::READ), list(len, perms::WRITE));
            for _ in 0..2 {
                let mut check = |acl, needed, caller: &str| {
                    grants.check(&config, acl, needed, &self::caller(caller))
                };
                assert_eq!(check(&read, perms::READ, "10.0.0.1"), Ok(()), "{len}");
                assert_eq!(check(&read, perms::WRITE, "10.0.0.1"), Err(ErrorCode::NoAuth), "{len}");
                assert_eq!(check(&write, perms::WRITE, "10.0.0.1"), Ok(()), "{len}");
                grants.forget();
                let stranger = grants.check(&config, &read, perms::READ, &caller("10.0.0.2"));
                assert_eq!(stranger, Err(ErrorCode::NoAuth), "{len}");
                grants.forget();
            }
        }
    }

    /// A list that was freed within the request must not speak for the next at its address.
    #[test]
    fn a_list_that_is_known_is_held() {
        let mut grants = Grants::default();
        let known = list(SHORT_LIST_MAX + 1, perms::READ);
        let config = AccessConfig::default();
        assert!(grants.check(&config, &known, perms::READ, &caller("10.0.0.1")).is_ok());
        assert_eq!(Arc::strong_count(&known), 2);
        assert_eq!(grants.known.len(), 1);
        grants.forget();
        assert_eq!(Arc::strong_count(&known), 1);
    }

    #[test]
    fn short_lists_are_not_kept() {
        let mut grants = Grants::default();
        let short = list(SHORT_LIST_MAX, perms::READ);
        let config = AccessConfig::default();
        assert!(grants.check(&config, &short, perms::READ, &caller("10.0.0.1")).is_ok());
        assert!(grants.known.is_empty());
    }

    #[test]
    fn what_there_is_no_room_for_is_answered_all_the_same() {
        let config = AccessConfig::default();
        let mut grants = Grants::default();
        let acl = list(SHORT_LIST_MAX + 1, perms::READ);
        let callers: Vec<_> = (0..=GRANTS_KEPT_MAX).map(|_| caller("10.0.0.1")).collect();
        assert!(callers.iter().all(|caller| grants.permit(&config, &acl, perms::READ, caller)));
        assert_eq!(grants.known.len(), GRANTS_KEPT_MAX);
        assert!(!grants.permit(&config, &acl, perms::WRITE, &callers[0]));
        assert_eq!(grants.known.len(), GRANTS_KEPT_MAX, "those known stay");
    }
}
