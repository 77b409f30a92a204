//! What a socket may bring before anything is known of it: no bytes panic, and a whole frame is
//! what its length says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringkeeper::wire::client::{ConnectRequest, ConnectResponse, RequestHeader};
use ringkeeper::wire::word::FirstBytes;
use ringkeeper::wire::{Reader, frame};

const FRAME_BYTES_MAX: u32 = 4096;

fuzz_target!(|bytes: &[u8]| {
    if let Some(first) = bytes.first_chunk() {
        let _ = FirstBytes::of(*first);
    }
    if let Ok(Some((body, rest))) = frame::split(bytes, FRAME_BYTES_MAX) {
        assert_eq!(frame::LENGTH_BYTES + body.len() + rest.len(), bytes.len());
        let _ = ConnectRequest::decode(body);
        let _ = ConnectResponse::decode(body);
        let _ = RequestHeader::decode(&mut Reader::new(body));
    }
});
