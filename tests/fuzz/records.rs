//! Requests, replies and txns: no bytes panic, and what decodes encodes to what decodes alike.
//! The first byte picks the opcode.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringkeeper::wire::request::Request;
use ringkeeper::wire::response::Response;
use ringkeeper::wire::txn::{Record, check};
use ringkeeper::wire::{OpCode, Reader, Writer};

fn encoded(encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut Writer::new(&mut out));
    out
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else { return };
    let op = OpCode::ALL[usize::from(*first) % OpCode::ALL.len()];
    if let Ok(request) = Request::decode(op, &mut Reader::new(body)) {
        let out = encoded(|w| request.encode(w));
        // the opcode may have become another one, as a multi's steps do; and a createTTL step with
        // an unknown mode is a plain create, which could not have come with it
        match Request::decode(request.op(), &mut Reader::new(&out)) {
            Ok(again) => assert_eq!(again, request),
            Err(error) => assert!(matches!(request, Request::Multi(_)), "{error}: {request:?}"),
        }
    }
    if let Ok(response) = Response::decode(op, &mut Reader::new(body)) {
        let out = encoded(|w| response.encode(w));
        assert_eq!(Response::decode(op, &mut Reader::new(&out)), Ok(response));
    }
    assert_eq!(check(body), Record::decode(body).map(|record| record.header));
    if let Ok(record) = Record::decode(body) {
        let mut out = Vec::new();
        record.encode(&mut out);
        assert_eq!(Record::decode(&out).map(|again| again.txn), Ok(record.txn));
    }
});
