use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn address(host: &str, port: u16) -> PeerAddress {
    PeerAddress { host: host.to_owned(), port }
}

/// What a Java 3.8 server 3 sent.
#[test]
fn a_handshake_of_java_decodes_to_the_byte() {
    let mut bytes = hex("ffffffffffff0000 0000000000000003 0000000f");
    bytes.extend_from_slice(b"127.0.0.1:21830");
    let handshake = Handshake {
        form: HandshakeForm::OneAddress,
        server: ServerId(3),
        addresses: vec![address("127.0.0.1", 21830)],
    };
    assert_eq!(Handshake::decode(&bytes), Ok(Some((handshake.clone(), &[][..]))));
    let mut out = Vec::new();
    handshake.encode(&mut out);
    assert_eq!(out, bytes);
}

#[test]
fn handshakes_read_back_and_every_prefix_waits_for_more() {
    let forms = [
        (HandshakeForm::Bare, vec![]),
        (HandshakeForm::OneAddress, vec![address("slave-01", 3888)]),
        (HandshakeForm::Addresses, vec![address("::1", 1), address("10.0.0.1", 65535)]),
    ];
    for (form, addresses) in forms {
        let handshake = Handshake { form, server: ServerId(7), addresses };
        let mut out = Vec::new();
        handshake.encode(&mut out);
        for end in 0..out.len() {
            assert_eq!(Handshake::decode(&out[..end]), Ok(None), "{form:?} {end}");
        }
        out.extend_from_slice(b"more");
        assert_eq!(Handshake::decode(&out), Ok(Some((handshake, &b"more"[..]))));
    }
}

#[test]
fn strangers_are_refused_by_the_first_bytes_that_show_it() {
    let cases = [
        ("ffffffffffff0002", HandshakeError::Version(-65534)),
        ("8000000000000000", HandshakeError::Version(i64::MIN)),
        ("ffffffffffff0000 0000000000000003 00000000", HandshakeError::AddressBytes(0)),
        ("ffffffffffff0000 0000000000000003 00000801", HandshakeError::AddressBytes(2049)),
        ("ffffffffffff0001 0000000000000003 ffffffff", HandshakeError::AddressBytes(-1)),
    ];
    for (bytes, error) in cases {
        assert_eq!(Handshake::decode(&hex(bytes)), Err(error));
    }
}

#[test]
fn addresses_are_read_as_java_reads_them() {
    let good = [
        ("a:1|b:2|", vec![address("a", 1), address("b", 2)]),
        ("[fe80::1]:3888", vec![address("fe80::1", 3888)]),
        ("|", vec![]),
    ];
    for (text, expected) in good {
        assert_eq!(addresses(text), Ok(expected), "{text}");
    }
    for text in ["a", "a:", ":1", "a:65536", "a:1||b:2", "[::1", "[::1]", "fe80::1:3888", "a:1:2"] {
        assert!(matches!(addresses(text), Err(HandshakeError::Address(_))), "{text}");
    }
    assert!(address("0.0.0.0", 1).is_wildcard() && address("::", 1).is_wildcard());
    assert!(!address("10.0.0.1", 1).is_wildcard() && !address("host", 1).is_wildcard());
}

fn notification() -> Notification<'static> {
    Notification {
        state: PeerState::Leading,
        vote: Vote {
            leader: ServerId(3),
            zxid: Zxid(0x1_0000_0005),
            round: Round(2),
            epoch: Epoch(1),
        },
        version: Notification::VERSION,
        config: Some("version=100000000".into()),
    }
}

const HEAD: &str = "00000002 0000000000000003 0000000100000005 0000000000000002";

#[test]
fn a_notification_has_javas_bytes() {
    let mut bytes = hex(&format!("0000003d {HEAD} 0000000000000001 00000002 00000011"));
    bytes.extend_from_slice(b"version=100000000");
    let mut out = Vec::new();
    notification().encode_frame(&mut out);
    assert_eq!(out, bytes);
    assert_eq!(split(&out), Ok(Some((&bytes[4..], &[][..]))));
    assert_eq!(Notification::decode(&bytes[4..]), Ok(notification()));
}

#[test]
fn older_forms_are_read() {
    let old = |version, epoch| {
        let vote = Vote { epoch: Epoch(epoch), ..notification().vote };
        Ok(Notification { vote, version, config: None, ..notification() })
    };
    let epoch = "0000000000000009";
    let cases = [
        (HEAD.to_owned(), old(0, 1)),
        (format!("{HEAD} {epoch} 00000001"), old(0, 9)),
        (format!("{HEAD} {epoch} 00000002"), old(0, 9)),
        (format!("{HEAD} {epoch} 00000001 aa"), old(1, 9)),
        (format!("{HEAD} {epoch} ffffffff aa"), old(-1, 9)),
    ];
    for (text, expected) in cases {
        assert_eq!(Notification::decode(&hex(&text)), expected, "{text}");
    }
}

#[test]
fn every_other_prefix_of_a_notification_is_refused() {
    let mut frame = Vec::new();
    notification().encode_frame(&mut frame);
    let message = frame.split_off(LENGTH_BYTES);
    for end in (0..message.len()).filter(|end| ![28, 40].contains(end)) {
        assert!(Notification::decode(&message[..end]).is_err(), "{end}");
    }
}

#[test]
fn nonsense_is_skipped() {
    let epoch = "0000000000000001";
    let negative = hex(&format!("{HEAD} {epoch} 00000002 fffffffe"));
    assert_eq!(
        Notification::decode(&negative),
        Err(DecodeError::NegativeLength { len: -2 }),
        "ZOOKEEPER-3769"
    );
    let long = hex(&format!("{HEAD} {epoch} 00000002 7fffffff"));
    assert!(matches!(Notification::decode(&long), Err(DecodeError::Truncated { .. })));
    let mut unknown = hex(HEAD);
    unknown[3] = 4;
    let error = DecodeError::Unknown { what: "server state", value: 4 };
    assert_eq!(Notification::decode(&unknown), Err(error));
}

#[test]
fn frame_lengths_are_javas() {
    for len in [0, -1, 0x8_0001] {
        let max = NOTIFICATION_BYTES_MAX;
        assert_eq!(split(&i32::to_be_bytes(len)), Err(FrameLengthError { len, max }));
    }
    assert_eq!(split(&0x8_0000i32.to_be_bytes()), Ok(None));
    assert_eq!(split(&[0, 0, 0]), Ok(None));
}
