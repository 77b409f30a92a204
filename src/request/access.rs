//! Who a connection is, and what an ACL lets it do.
//!
//! Pure; the identities of a connection are collected by its shard and travel with each request.
//! Schemes with a provider here: `world`, `digest`, `ip`, and `auth` in requests only. Any other
//! cannot be set (INVALIDACL); a node that has it keeps it, and it never matches.
//! Source: `ZooKeeperServer.checkACL`, `PrepRequestProcessor.fixupACL`, `ProviderRegistry`.

mod digest;
mod grants;
mod ip;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

pub use self::digest::{Digest, DigestAlgorithm};
pub use self::grants::Grants;
use crate::wire::record::perms;
use crate::wire::{Acl, ErrorCode};

/// One thing a connection has proved to be.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Identity {
    /// `ip`, `digest`, `super`, …
    pub scheme: Cow<'static, str>,
    /// In the scheme's own form.
    pub id: Box<str>,
}

impl Identity {
    /// Every connection has this one, from its first byte on.
    pub fn of_peer(peer: IpAddr) -> Self {
        Self { scheme: Cow::Borrowed("ip"), id: ip::text(peer).into() }
    }

    /// The one to whom everything is permitted.
    pub fn superuser() -> Self {
        Self { scheme: Cow::Borrowed("super"), id: "".into() }
    }

    /// What whoAmI calls it: scheme and user name.
    pub fn client_info(&self) -> (&str, &str) {
        let user = match &*self.scheme {
            "digest" => self.id.split(':').next().unwrap_or_default(),
            "ip" => &self.id,
            _ => "", // COMPAT: `AuthUtil.getClientInfos`: no provider, no name
        };
        (&self.scheme, user)
    }

    /// Whether `auth` in an ACL stands for it. An address is not a proof of anyone.
    fn is_authentication(&self, config: &AccessConfig) -> bool {
        &*self.scheme == "digest" && config.digest.enabled
    }
}

/// Why an auth packet was refused. Either way the client is told AUTHFAILED and then cut off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthError {
    /// No provider serves this scheme, or it is null.
    UnknownScheme,
    /// The provider cannot use what it was given.
    Refused,
}

impl AuthError {
    /// What the client is told.
    pub const fn code(self) -> ErrorCode {
        ErrorCode::AuthFailed
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownScheme => "no provider for the scheme",
            Self::Refused => "the provider refused the data",
        })
    }
}

impl std::error::Error for AuthError {}

/// What the configuration says about access.
#[derive(Clone, Debug, Default)]
pub struct AccessConfig {
    /// `zookeeper.DigestAuthenticationProvider.*`.
    pub digest: Digest,
    /// `zookeeper.skipACL=yes`: nothing is checked. ACLs are still validated and stored.
    pub skip_acl: bool,
    /// `enforce.auth.enabled` with its schemes: any one suffices. `None` is off.
    pub enforced_schemes: Option<Vec<String>>,
}

impl AccessConfig {
    /// Whether a provider serves this scheme: what `enforce.auth.schemes` may name.
    pub fn has_provider(&self, scheme: &str) -> bool {
        scheme == "ip" || (scheme == "digest" && self.digest.enabled)
    }

    /// Whether requests other than auth and sasl are served yet. If not, the answer is
    /// SESSIONCLOSEDREQUIRESASLAUTH with zxid 0, then the connection is closed.
    pub fn is_admitted(&self, identities: &[Identity]) -> bool {
        let Some(schemes) = &self.enforced_schemes else { return true };
        identities.iter().any(|identity| schemes.iter().any(|scheme| *scheme == identity.scheme))
    }
}

/// The identities an auth packet adds to its connection; adding one twice changes nothing.
///
/// # Errors
/// [`AuthError`] if the scheme has no provider or no data came.
pub fn authenticate(
    config: &AccessConfig,
    peer: IpAddr,
    scheme: Option<&str>,
    data: Option<&[u8]>,
) -> Result<Vec<Identity>, AuthError> {
    match scheme {
        Some("ip") => Ok(vec![Identity::of_peer(peer)]),
        Some("digest") if config.digest.enabled => {
            Ok(config.digest.identities(data.ok_or(AuthError::Refused)?))
        }
        _ => Err(AuthError::UnknownScheme),
    }
}

/// The list as it is stored: no duplicates, every entry valid, `auth` replaced by whom it means.
///
/// # Errors
/// [`ErrorCode::InvalidAcl`] if it is empty, an entry is not valid, or `auth` means nobody;
/// [`ErrorCode::MarshallingError`] if a null is where Java looks at what there is.
pub fn fixup(
    config: &AccessConfig,
    acl: &[Acl<'_>],
    identities: &[Identity],
) -> Result<Vec<Acl<'static>>, ErrorCode> {
    if acl.is_empty() {
        return Err(ErrorCode::InvalidAcl);
    }
    let mut fixed = Vec::with_capacity(acl.len());
    for entry in unique(acl)? {
        let looks_at_id = entry.scheme == "world" || config.has_provider(&entry.scheme);
        if looks_at_id && entry.id == Acl::NULL {
            return Err(ErrorCode::MarshallingError);
        }
        if entry.scheme == "auth" {
            expand(config, entry.perms, identities, &mut fixed)?;
        } else if is_valid(config, entry) {
            fixed.push(owned(entry));
        } else {
            return Err(ErrorCode::InvalidAcl);
        }
    }
    Ok(fixed)
}

/// Each entry once, where it comes first.
///
/// COMPAT: Java compares schemes of entries with the same permissions, and ids if those are the
/// same, whether there are any or not (`removeDuplicates`, `Id.equals`).
fn unique<'l, 'r>(acl: &'l [Acl<'r>]) -> Result<Vec<&'l Acl<'r>>, ErrorCode> {
    let mut seen: BTreeSet<(i32, &str, &str)> = BTreeSet::new();
    let mut kept = Vec::with_capacity(acl.len());
    for entry in acl {
        let Acl { perms, scheme, id } = entry;
        let (perms, scheme, id) = (*perms, &**scheme, &**id);
        let first_from = |from| seen.range(from..).next();
        let has_same_perms = || first_from((perms, "", "")).is_some_and(|it| it.0 == perms);
        let has_same_scheme =
            || first_from((perms, scheme, "")).is_some_and(|it| (it.0, it.1) == (perms, scheme));
        if (scheme == Acl::NULL && has_same_perms()) || (id == Acl::NULL && has_same_scheme()) {
            return Err(ErrorCode::MarshallingError);
        }
        if seen.insert((perms, scheme, id)) {
            kept.push(entry);
        }
    }
    Ok(kept)
}

/// Whether [`fixup`] would leave `acl` as it is, whoever asks.
pub fn is_fixed(config: &AccessConfig, acl: &[Acl<'_>]) -> bool {
    !acl.is_empty() && acl.iter().all(|entry| is_valid(config, entry)) && is_each_once(acl)
}

/// A long list must not keep its thread busy: no entry is looked for in all of the others.
fn is_each_once(acl: &[Acl<'_>]) -> bool {
    let mut seen = BTreeSet::new();
    acl.len() < 2 || acl.iter().all(|entry| seen.insert(entry))
}

fn expand(
    config: &AccessConfig,
    perms: i32,
    identities: &[Identity],
    fixed: &mut Vec<Acl<'static>>,
) -> Result<(), ErrorCode> {
    let before = fixed.len();
    let proofs = identities.iter().filter(|identity| identity.is_authentication(config));
    fixed.extend(proofs.map(|identity| Acl {
        perms,
        scheme: identity.scheme.clone(),
        id: Cow::Owned(identity.id.to_string()),
    }));
    if fixed.len() == before { Err(ErrorCode::InvalidAcl) } else { Ok(()) }
}

fn is_valid(config: &AccessConfig, entry: &Acl<'_>) -> bool {
    match &*entry.scheme {
        "world" => entry.id == "anyone",
        "digest" => config.digest.enabled && digest::is_valid(&entry.id),
        "ip" => ip::Range::parse(&entry.id).is_some(),
        _ => false,
    }
}

/// The common names are not allocated anew.
fn owned(entry: &Acl<'_>) -> Acl<'static> {
    let known =
        |text: &str| ["world", "anyone", "digest", "ip"].into_iter().find(|name| *name == text);
    let own = |text: &str| known(text).map_or_else(|| Cow::Owned(text.to_owned()), Cow::Borrowed);
    Acl { perms: entry.perms, scheme: own(&entry.scheme), id: own(&entry.id) }
}

/// Whether `acl` grants any of the bits in `needed` to a connection with these identities.
pub fn permits(
    config: &AccessConfig,
    acl: &[Acl<'_>],
    needed: i32,
    identities: &[Identity],
) -> bool {
    config.skip_acl
        || acl.is_empty()
        || acl.iter().any(|entry| {
            entry.perms & needed != 0 && entry.scheme == "world" && entry.id == "anyone"
        })
        || identities.iter().any(|identity| identity.scheme == "super")
        || acl.iter().any(|entry| entry.perms & needed != 0 && admits(config, entry, identities))
}

fn admits(config: &AccessConfig, entry: &Acl<'_>, identities: &[Identity]) -> bool {
    let mut same = identities.iter().filter(|identity| identity.scheme == entry.scheme);
    match &*entry.scheme {
        "digest" => config.digest.enabled && same.any(|identity| *identity.id == *entry.id),
        "ip" => ip::Range::parse(&entry.id).is_some_and(|range| {
            same.any(|identity| ip::parse(&identity.id).is_some_and(|peer| range.holds(peer)))
        }),
        _ => false,
    }
}

/// What getACL shows: everything to who may change it, else without the digests' hashes.
pub fn shown<'a>(
    config: &AccessConfig,
    acl: &'a [Acl<'static>],
    identities: &[Identity],
) -> Cow<'a, [Acl<'static>]> {
    let has_digest = acl.iter().any(|entry| entry.scheme == "digest");
    if !has_digest || permits(config, acl, perms::ADMIN, identities) {
        return Cow::Borrowed(acl);
    }
    Cow::Owned(acl.iter().map(masked).collect())
}

fn masked(entry: &Acl<'static>) -> Acl<'static> {
    match entry.id.split_once(':') {
        Some((user, _)) if entry.scheme == "digest" => {
            Acl { id: Cow::Owned(format!("{user}:x")), ..entry.clone() }
        }
        _ => entry.clone(),
    }
}

#[cfg(test)]
mod tests;
