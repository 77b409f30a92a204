use super::*;

const MAX: u32 = crate::limits::QUORUM_PACKET_BYTES_MAX_DEFAULT;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn encoded(packet: &Packet) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(&mut out);
    out
}

fn decoded(input: &[u8], max: u32) -> Result<Option<(Packet, &[u8])>, PacketError> {
    Packet::decode(input, max, &mut Chunk::default())
}

fn info(protocol: Option<i32>, config_version: Option<i64>) -> LearnerInfo {
    LearnerInfo { server: Some(ServerId(3)), protocol, config_version }
}

/// A join by DIFF as Java 3.8 servers held it, packet by packet.
#[test]
fn a_join_has_javas_bytes() {
    let zxid = Zxid(0x1_0000_0006);
    let first = Zxid(0x2_0000_0000);
    let known = info(Some(PROTOCOL_VERSION), Some(0x1_0000_0000));
    let story = [
        (
            Packet::FollowerInfo { accepted: Epoch(1), info: known },
            "0000000b 00000001 00000000 00000014 00000000 00000003 00010000 00000001 00000000 \
             ffffffff",
        ),
        (
            Packet::LeaderInfo { epoch: Epoch(2), protocol: PROTOCOL_VERSION },
            "00000011 00000002 00000000 00000004 00010000 ffffffff",
        ),
        (
            Packet::AckEpoch { last_logged: Zxid(0x1_0000_0005), current: Some(Epoch(1)) },
            "00000012 00000001 00000005 00000004 00000001 ffffffff",
        ),
        (Packet::Diff { zxid }, "0000000d 00000001 00000006 ffffffff ffffffff"),
        (
            Packet::Proposal { zxid, record: Bytes::from_static(&[1, 2, 3]) },
            "00000002 00000001 00000006 00000003 010203 ffffffff",
        ),
        (Packet::Commit { zxid }, "00000004 00000001 00000006 ffffffff ffffffff"),
        (
            Packet::NewLeader { zxid: first, config: Some("version=0".into()) },
            "0000000a 00000002 00000000 00000009 76657273696f6e3d30 ffffffff",
        ),
        (Packet::Ack { zxid: first }, "00000003 00000002 00000000 ffffffff ffffffff"),
        (Packet::UpToDate, "0000000c ffffffff ffffffff ffffffff ffffffff"),
        (
            Packet::Ping { zxid: first, touches: None },
            "00000005 00000002 00000000 ffffffff ffffffff",
        ),
        (
            Packet::Ping { zxid: first, touches: Some(vec![]) },
            "00000005 00000002 00000000 00000000 ffffffff",
        ),
    ];
    for (packet, bytes) in story {
        assert_eq!(encoded(&packet), hex(bytes), "{packet:?}");
        assert_eq!(decoded(&hex(bytes), MAX), Ok(Some((packet, &[][..]))));
    }
}

/// One of every kind, and of every form of its data, with the type's number.
fn every_packet() -> Vec<(i32, Packet)> {
    let zxid = Zxid(0x3_0000_0007);
    let session = SessionId(0x0100_0000_0000_0001);
    let record = Bytes::from_static(&[9; 40]);
    let touch = Touch { session, timeout_ms: 4000 };
    let identities = [("ip", "127.0.0.1"), ("super", "")];
    let forwarded = Forwarded {
        session,
        cxid: Xid(5),
        op: 1,
        body: Bytes::from_static(&[1, 2]),
        identities: Some(Identities::of(identities.into_iter())),
    };
    let own = Forwarded { identities: None, body: Bytes::new(), ..forwarded.clone() };
    let nobody = LearnerInfo { server: None, protocol: None, config_version: None };
    let accepted = Epoch(2);
    vec![
        (1, Packet::Request(forwarded)),
        (1, Packet::Request(own)),
        (2, Packet::Proposal { zxid, record: record.clone() }),
        (3, Packet::Ack { zxid }),
        (4, Packet::Commit { zxid }),
        (5, Packet::Ping { zxid, touches: None }),
        (5, Packet::Ping { zxid, touches: Some(vec![touch, touch]) }),
        (6, Packet::Revalidate(touch)),
        (6, Packet::Revalidated { session, is_valid: true }),
        (6, Packet::Revalidated { session, is_valid: false }),
        (7, Packet::Sync),
        (8, Packet::Inform { zxid, record: record.clone() }),
        (9, Packet::CommitAndActivate { zxid, leader: ServerId(2) }),
        (10, Packet::NewLeader { zxid, config: None }),
        (10, Packet::NewLeader { zxid, config: Some("server.1=é".into()) }),
        (11, Packet::FollowerInfo { accepted, info: info(None, None) }),
        (11, Packet::FollowerInfo { accepted, info: info(Some(1), None) }),
        (12, Packet::UpToDate),
        (13, Packet::Diff { zxid }),
        (14, Packet::Trunc { zxid }),
        (15, Packet::Snap { zxid }),
        (16, Packet::ObserverInfo { accepted, info: info(Some(PROTOCOL_VERSION), Some(-1)) }),
        (16, Packet::ObserverInfo { accepted, info: nobody }),
        (17, Packet::LeaderInfo { epoch: Epoch(3), protocol: PROTOCOL_VERSION }),
        (18, Packet::AckEpoch { last_logged: zxid, current: None }),
        (18, Packet::AckEpoch { last_logged: zxid, current: Some(Epoch(0x7fff_ffff)) }),
        (19, Packet::InformAndActivate { zxid, leader: ServerId(2), record }),
        (20, Packet::Unknown { kind: 20 }),
    ]
}

#[test]
fn every_packet_reads_back_and_every_prefix_waits_for_more() {
    for (kind, packet) in every_packet() {
        let mut bytes = encoded(&packet);
        assert_eq!(bytes[..4], kind.to_be_bytes(), "{packet:?}");
        for end in 0..bytes.len() {
            assert_eq!(decoded(&bytes[..end], MAX), Ok(None), "{packet:?} {end}");
        }
        bytes.extend_from_slice(b"next");
        assert_eq!(decoded(&bytes, MAX), Ok(Some((packet, &b"next"[..]))));
    }
}

/// Every packet whose data is cut short, and framed as if that were all.
#[test]
fn data_that_is_cut_short_is_refused() {
    // What may be shorter: opaque bytes, LearnerInfo's tail, whole touches.
    let shortest = [
        (kind::REQUEST, 16),
        (kind::FOLLOWER_INFO, 8),
        (kind::OBSERVER_INFO, 8),
        (kind::INFORM_AND_ACTIVATE, 8),
    ];
    for (kind, packet) in every_packet() {
        let shortest = shortest.iter().find(|(of, _)| *of == kind).map_or(usize::MAX, |it| it.1);
        let bytes = encoded(&packet);
        let len = i32::from_be_bytes(bytes[12..16].try_into().expect("4 bytes"));
        let opaque = matches!(
            packet,
            Packet::Proposal { .. } | Packet::Inform { .. } | Packet::NewLeader { .. }
        );
        for cut in 0..usize::try_from(len).unwrap_or(0) {
            let touches = matches!(packet, Packet::Ping { .. }) && cut % 12 == 0;
            let answer = matches!(packet, Packet::Revalidate(_)) && cut == 9;
            if opaque || touches || answer || cut >= shortest {
                continue;
            }
            let length = i32::try_from(cut).expect("short").to_be_bytes();
            let framed = [&bytes[..12], &length, &bytes[16..16 + cut], &[0xff; 4]].concat();
            let decoded = decoded(&framed, MAX);
            assert!(matches!(decoded, Err(PacketError::Data { .. })), "{packet:?} {cut}");
        }
    }
}

#[test]
fn a_null_where_data_must_be_is_refused() {
    for kind in [1, 2, 6, 8, 9, 17, 18, 19] {
        let bytes = hex(&format!("{kind:08x} ffffffffffffffff ffffffff ffffffff"));
        let refused = decoded(&bytes, MAX);
        assert!(matches!(refused, Err(PacketError::Data { .. })), "{kind}");
    }
}

#[test]
fn lengths_are_refused_before_anything_is_waited_for() {
    let head = "00000002 0000000100000001";
    for (len, max) in [(-2, MAX), (i32::MAX, MAX), (0x1f_ffff, MAX), (65, 64)] {
        let bytes = [hex(head), len.to_be_bytes().to_vec()].concat();
        let refused = PacketError::Length { what: "data", len, max };
        assert_eq!(decoded(&bytes, max), Err(refused));
    }
    let most = [hex(head), MAX.to_be_bytes().to_vec()].concat();
    assert_eq!(decoded(&most, MAX), Ok(None));
    for (count, is_refused) in [(1025, true), (-2, true), (1024, false)] {
        let bytes = [hex(head), hex("00000000"), i32::to_be_bytes(count).to_vec()].concat();
        assert_eq!(decoded(&bytes, MAX).is_err(), is_refused, "{count}");
    }
    let ids = [hex(head), hex("00000000 00000001 00000028"), vec![b'a'; 40], hex("00000019")];
    let refused = PacketError::Length { what: "identity", len: 25, max: 24 };
    assert_eq!(decoded(&ids.concat(), 64), Err(refused), "together they are bounded");
}

/// Null strings and broken UTF-8 come from servers as old or as wrong as you like.
#[test]
fn strange_identities_do_no_harm() {
    let bytes = hex("00000003 0000000000000001 ffffffff 00000001 ffffffff 00000002 2fff");
    assert_eq!(decoded(&bytes, MAX), Ok(Some((Packet::Ack { zxid: Zxid(1) }, &[][..]))));
}
