//! The `digest` scheme: a user proves to know a password. Source: `DigestAuthenticationProvider`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Digest as _;

use super::Identity;
use crate::wire::jute::text_of;

/// The hash behind `digest` ids; all servers must agree, and stored ACLs do not convert.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum DigestAlgorithm {
    /// The default.
    #[default]
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-512/224.
    Sha512_224,
    /// SHA-512/256.
    Sha512_256,
    /// SHA3-224.
    Sha3_224,
    /// SHA3-256.
    Sha3_256,
    /// SHA3-384.
    Sha3_384,
    /// SHA3-512.
    Sha3_512,
}

impl DigestAlgorithm {
    /// The one with this name in Java, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match &*name.to_ascii_uppercase() {
            "SHA1" | "SHA-1" | "SHA" => Self::Sha1,
            "SHA-224" | "SHA224" => Self::Sha224,
            "SHA-256" | "SHA256" => Self::Sha256,
            "SHA-384" | "SHA384" => Self::Sha384,
            "SHA-512" | "SHA512" => Self::Sha512,
            "SHA-512/224" | "SHA512/224" => Self::Sha512_224,
            "SHA-512/256" | "SHA512/256" => Self::Sha512_256,
            "SHA3-224" => Self::Sha3_224,
            "SHA3-256" => Self::Sha3_256,
            "SHA3-384" => Self::Sha3_384,
            "SHA3-512" => Self::Sha3_512,
            _ => return None,
        })
    }

    fn base64(self, text: &[u8]) -> String {
        match self {
            Self::Sha1 => STANDARD.encode(sha1::Sha1::digest(text)),
            Self::Sha224 => STANDARD.encode(sha2::Sha224::digest(text)),
            Self::Sha256 => STANDARD.encode(sha2::Sha256::digest(text)),
            Self::Sha384 => STANDARD.encode(sha2::Sha384::digest(text)),
            Self::Sha512 => STANDARD.encode(sha2::Sha512::digest(text)),
            Self::Sha512_224 => STANDARD.encode(sha2::Sha512_224::digest(text)),
            Self::Sha512_256 => STANDARD.encode(sha2::Sha512_256::digest(text)),
            Self::Sha3_224 => STANDARD.encode(sha3::Sha3_224::digest(text)),
            Self::Sha3_256 => STANDARD.encode(sha3::Sha3_256::digest(text)),
            Self::Sha3_384 => STANDARD.encode(sha3::Sha3_384::digest(text)),
            Self::Sha3_512 => STANDARD.encode(sha3::Sha3_512::digest(text)),
        }
    }
}

/// How the scheme is set up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Digest {
    /// `zookeeper.DigestAuthenticationProvider.enabled`, true by default.
    pub enabled: bool,
    /// `zookeeper.DigestAuthenticationProvider.digestAlg`.
    pub algorithm: DigestAlgorithm,
    /// `zookeeper.DigestAuthenticationProvider.superDigest`: an id that makes a super user.
    pub super_digest: Option<String>,
}

impl Default for Digest {
    fn default() -> Self {
        Self { enabled: true, algorithm: DigestAlgorithm::default(), super_digest: None }
    }
}

impl Digest {
    /// The id of a `user:password`; without a colon all of it is the user.
    pub fn id(&self, user_and_password: &str) -> String {
        let user = user_and_password.split(':').next().unwrap_or_default();
        format!("{user}:{}", self.algorithm.base64(user_and_password.as_bytes()))
    }

    pub(super) fn identities(&self, data: &[u8]) -> Vec<Identity> {
        let id = self.id(&text_of(data));
        let mut identities = Vec::with_capacity(2);
        if self.super_digest.as_deref() == Some(&*id) {
            identities.push(Identity::superuser());
        }
        identities.push(Identity { scheme: Cow::Borrowed("digest"), id: id.into() });
        identities
    }
}

/// Whether it may stand in an ACL: exactly two parts around a colon.
///
/// COMPAT: Java's `split` drops empty parts at the end, so `a:` has one and `:b` has two.
pub(super) fn is_valid(id: &str) -> bool {
    let kept = id.trim_end_matches(':');
    !kept.is_empty() && kept.split(':').count() == 2
}
