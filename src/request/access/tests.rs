use super::*;

fn config() -> AccessConfig {
    let digest = Digest {
        super_digest: Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU=".into()),
        ..Digest::default()
    };
    AccessConfig { digest, ..AccessConfig::default() }
}

fn peer(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn identity(scheme: &'static str, id: &str) -> Identity {
    Identity { scheme: scheme.into(), id: id.into() }
}

fn entry(perms: i32, scheme: &str, id: &str) -> Acl<'static> {
    Acl { perms, scheme: scheme.to_owned().into(), id: id.to_owned().into() }
}

const BOB: &str = "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=";

#[test]
fn digest_ids_are_javas() {
    let mut digest = Digest::default();
    assert_eq!(digest.id("bob:pw"), BOB);
    assert_eq!(digest.id("super:test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
    assert!(digest.id("bob").starts_with("bob:"));
    let hashes = [
        ("SHA-224", "V2mvd2ffOcs02HpVY83ycSg9kqz4jTlMn1ET9Q=="),
        ("sha-256", "lXdkgIa9O1CDDWAryQ0pe9wUYi2LkG6M7Uocn/Vyn2g="),
        ("SHA-512/224", "cqvSV2UbZ2q5COXLGv28T5tsr77x6AK7tzbGZg=="),
        ("SHA-512/256", "A9N1joy8pAxXpZyuKoYHmry5YD7X6ES6VJn8WVyn8xY="),
    ];
    for (name, hash) in hashes {
        digest.algorithm = DigestAlgorithm::from_name(name).unwrap();
        assert_eq!(digest.id("bob:pw"), format!("bob:{hash}"), "{name}");
    }
    assert_eq!(DigestAlgorithm::from_name("MD4"), None);
}

#[test]
fn what_an_auth_packet_brings() {
    let auth = |scheme, data| authenticate(&config(), peer("::ffff:10.0.0.1"), scheme, data);
    assert_eq!(auth(Some("digest"), Some(b"bob:pw")), Ok(vec![identity("digest", BOB)]));
    let root = auth(Some("digest"), Some(b"super:test")).unwrap();
    assert_eq!(root[0], Identity::superuser());
    assert_eq!(&*root[1].scheme, "digest");
    assert_eq!(auth(Some("ip"), Some(b"1.2.3.4")), Ok(vec![identity("ip", "10.0.0.1")]));
    assert_eq!(auth(Some("digest"), None), Err(AuthError::Refused));
    for scheme in [None, Some("world"), Some("auth"), Some("sasl"), Some("super"), Some("")] {
        assert_eq!(auth(scheme, Some(b"x")), Err(AuthError::UnknownScheme), "{scheme:?}");
    }
}

#[test]
fn a_disabled_digest_is_no_provider() {
    let mut config = config();
    config.digest.enabled = false;
    let auth = authenticate(&config, peer("10.0.0.1"), Some("digest"), Some(b"bob:pw"));
    assert_eq!(auth, Err(AuthError::UnknownScheme));
    let identities = [identity("digest", BOB)];
    let acl = [entry(31, "digest", BOB)];
    assert_eq!(fixup(&config, &acl, &identities), Err(ErrorCode::InvalidAcl));
    assert!(!permits(&config, &acl, perms::READ, &identities));
}

#[test]
fn which_entries_may_be_set() {
    let cases = [
        ("world", "anyone", true),
        ("world", "someone", false),
        ("digest", "a:b", true),
        ("digest", ":b", true),
        ("digest", "a:b:", true),
        ("digest", "a:", false),
        ("digest", "a", false),
        ("digest", "", false),
        ("digest", ":", false),
        ("digest", "a:b:c", false),
        ("ip", "10.0.0.1", true),
        ("ip", "010.0.0.001", true),
        ("ip", "10.0.0.0/8", true),
        ("ip", "10.0.0.0/33", false),
        ("ip", "10.0.0.0/-1", false),
        ("ip", "10.0.0.0/", false),
        ("ip", "10.0.0", false),
        ("ip", "10.0.0.256", false),
        ("ip", "host", false),
        ("ip", "::1", true),
        ("ip", "2001:db8::/32", true),
        ("ip", "1:2:3:4:5:6:7:8/128", true),
        ("ip", "1:2:3:4:5:6:7:8/129", false),
        ("ip", "1::2::3", false),
        ("ip", "12345::", false),
        ("ip", "::ffff:1.2.3.4", false),
        ("super", "", false),
        ("sasl", "bob", false),
        ("", "x", false),
    ];
    for (scheme, id, valid) in cases {
        let acl = [entry(31, scheme, id)];
        let fixed = fixup(&config(), &acl, &[]);
        assert_eq!(fixed.is_ok(), valid, "{scheme}:{id}");
        assert_eq!(is_fixed(&config(), &acl), valid, "{scheme}:{id}");
    }
}

#[test]
fn a_list_is_fixed_up() {
    let me = [
        identity("ip", "10.0.0.1"),
        Identity::superuser(),
        identity("digest", "a:1"),
        identity("digest", "b:2"),
    ];
    let anyone = entry(1, "world", "anyone");
    let twice = [anyone.clone(), entry(31, "digest", "a:1"), anyone.clone()];
    assert_eq!(fixup(&config(), &twice, &[]), Ok(twice[..2].to_vec()));
    assert!(!is_fixed(&config(), &twice));
    let expanded = fixup(&config(), &[entry(31, "digest", "a:1"), entry(31, "auth", "")], &me);
    let wanted =
        vec![entry(31, "digest", "a:1"), entry(31, "digest", "a:1"), entry(31, "digest", "b:2")];
    assert_eq!(expanded, Ok(wanted));
    assert_eq!(fixup(&config(), &[entry(31, "auth", "")], &me[..2]), Err(ErrorCode::InvalidAcl));
    assert_eq!(fixup(&config(), &[], &me), Err(ErrorCode::InvalidAcl));
}

/// Each seen of Java 3.9.5.
#[test]
fn a_null_in_a_list_is_an_error_of_its_own_where_java_looks_at_it() {
    const NULL: &str = Acl::NULL;
    let invalid = Err(ErrorCode::InvalidAcl);
    let marshalling = Err(ErrorCode::MarshallingError);
    let anyone = || entry(31, "world", "anyone");
    let cases = [
        (vec![entry(31, "world", NULL)], marshalling.clone()),
        (vec![entry(31, "digest", NULL)], marshalling.clone()),
        (vec![entry(31, "ip", NULL)], marshalling.clone()),
        (vec![entry(31, "nope", NULL)], invalid.clone()),
        (vec![entry(31, NULL, "x")], invalid.clone()),
        (vec![anyone(), entry(31, NULL, "x")], marshalling.clone()),
        (vec![anyone(), entry(1, NULL, "x")], invalid.clone()),
        (vec![entry(31, "nope", NULL), entry(31, "nope", NULL)], marshalling.clone()),
        (vec![entry(31, "nope", "x"), anyone(), entry(31, "world", NULL)], marshalling),
        (vec![entry(31, "auth", NULL)], Ok(vec![entry(31, "digest", "a:1")])),
    ];
    for (acl, wanted) in cases {
        assert_eq!(fixup(&config(), &acl, &[identity("digest", "a:1")]), wanted, "{acl:?}");
        assert!(!is_fixed(&config(), &acl), "{acl:?}");
    }
}

#[test]
fn who_may_what() {
    let from = |address: &str| vec![Identity::of_peer(peer(address))];
    let cases = [
        (entry(1, "world", "anyone"), 1, vec![], true),
        (entry(1, "world", "anyone"), 2, vec![], false),
        (entry(0, "world", "anyone"), 31, vec![], false),
        (entry(16, "world", "anyone"), 17, vec![], true),
        (entry(0, "world", "anyone"), 31, vec![Identity::superuser()], true),
        (entry(31, "digest", BOB), 1, vec![identity("digest", BOB)], true),
        (entry(31, "digest", BOB), 1, vec![identity("digest", "bob:x")], false),
        (entry(31, "digest", BOB), 1, vec![identity("sasl", BOB)], false),
        (entry(31, "sasl", "bob"), 1, vec![identity("sasl", "bob")], false),
        (entry(31, "ip", "10.0.0.1"), 1, from("10.0.0.1"), true),
        (entry(31, "ip", "10.0.0.1"), 1, from("::ffff:10.0.0.1"), true),
        (entry(31, "ip", "10.0.0.1"), 1, from("10.0.0.2"), false),
        (entry(31, "ip", "10.9.9.9/8"), 1, from("10.0.0.2"), true),
        (entry(31, "ip", "10.0.0.0/31"), 1, from("10.0.0.2"), false),
        (entry(31, "ip", "1.2.3.4/0"), 1, from("10.0.0.2"), true),
        (entry(31, "ip", "::/0"), 1, from("10.0.0.2"), false),
        (entry(31, "ip", "2001:db8::/32"), 1, from("2001:db8:1::9"), true),
        (entry(31, "ip", "2001:db8::/32"), 1, from("2001:db9::9"), false),
        (entry(31, "ip", "::/0"), 1, from("2001:db9::9"), true),
    ];
    for (entry, needed, identities, permitted) in cases {
        let acl = [entry];
        assert_eq!(
            permits(&config(), &acl, needed, &identities),
            permitted,
            "{acl:?} {identities:?}"
        );
        let skipping = AccessConfig { skip_acl: true, ..config() };
        assert!(permits(&skipping, &acl, needed, &identities));
    }
    assert!(permits(&config(), &[], 31, &[]), "an empty list forbids nothing");
    let nobody = [entry(0, "world", "nobody")];
    assert!(!permits(&config(), &nobody, 31, &[]), "as of a node whose list is lost");
    assert!(!is_fixed(&config(), &nobody));
}

#[test]
fn hashes_are_shown_to_admins_only() {
    let acl = [entry(31, "digest", BOB), entry(1, "world", "anyone"), entry(1, "digest", "c:d:e")];
    let masked = [entry(31, "digest", "bob:x"), acl[1].clone(), entry(1, "digest", "c:x")];
    assert_eq!(*shown(&config(), &acl, &[]), masked);
    assert_eq!(*shown(&config(), &acl, &[identity("digest", BOB)]), acl);
}

#[test]
fn names_of_identities() {
    let cases = [
        (Identity::of_peer(peer("10.0.0.1")), ("ip", "10.0.0.1")),
        (Identity::of_peer(peer("2001:db8::1")), ("ip", "2001:db8:0:0:0:0:0:1")),
        (identity("digest", BOB), ("digest", "bob")),
        (Identity::superuser(), ("super", "")),
        (identity("sasl", "bob"), ("sasl", "")),
    ];
    for (identity, info) in cases {
        assert_eq!(identity.client_info(), info);
    }
}

#[test]
fn enforced_authentication_wants_one_of_its_schemes() {
    let mut config = config();
    let me = [identity("ip", "10.0.0.1")];
    assert!(config.is_admitted(&[]));
    config.enforced_schemes = Some(vec!["digest".into(), "sasl".into()]);
    assert!(!config.is_admitted(&me));
    assert!(config.is_admitted(&[me[0].clone(), identity("digest", BOB)]));
}

/// The rule as Java has it, entry by entry; against every list of up to four of these.
#[test]
fn what_is_kept_of_a_list_is_what_looking_at_every_pair_keeps() {
    let words = [Acl::NULL, "ip", "1.2.3.4"];
    let all: Vec<_> = [1, 31]
        .iter()
        .flat_map(|perms| words.iter().flat_map(|scheme| words.map(|id| entry(*perms, scheme, id))))
        .collect();
    for number in 0..all.len().pow(4) {
        let acl: Vec<_> =
            (0..4).map(|at| all[number / all.len().pow(at) % all.len()].clone()).collect();
        let length = 1 + number % 4;
        assert_eq!(unique(&acl[..length]), unique_by_pairs(&acl[..length]), "{:?}", &acl[..length]);
    }
}

fn unique_by_pairs<'l, 'r>(acl: &'l [Acl<'r>]) -> Result<Vec<&'l Acl<'r>>, ErrorCode> {
    let mut kept: Vec<&Acl<'_>> = Vec::new();
    'entries: for entry in acl {
        for other in kept.iter().filter(|other| other.perms == entry.perms) {
            let is_same_scheme = entry.scheme == other.scheme;
            if entry.scheme == Acl::NULL || (is_same_scheme && entry.id == Acl::NULL) {
                return Err(ErrorCode::MarshallingError);
            }
            if is_same_scheme && entry.id == other.id {
                continue 'entries;
            }
        }
        kept.push(entry);
    }
    Ok(kept)
}

/// As many as a request of 1 MB holds: pair by pair it would be a billion looks.
#[test]
fn a_long_list_is_no_burden() {
    let id = |n: u32| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
    let mut acl: Vec<_> = (0..45_000).map(|n| entry(31, "ip", &id(n))).collect();
    assert!(is_fixed(&config(), &acl));
    acl.push(acl[7].clone());
    assert!(!is_fixed(&config(), &acl));
    assert_eq!(fixup(&config(), &acl, &[]), Ok(acl[..45_000].to_vec()));
}
