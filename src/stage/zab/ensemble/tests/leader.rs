//! A leader, and what its own clients are told when.

use super::played::{Played, Told, zxid};
use super::*;

/// The shard takes each reply for the oldest request's, and closes behind the last.
#[test]
fn the_end_of_a_local_session_does_not_overtake_its_sync_or_its_write() {
    let cases = [
        (&[OpCode::SetData][..], &[Told::Reply(1), Told::Closed(2)][..]),
        (&[OpCode::SetData, OpCode::Sync], &[Told::Reply(1), Told::Reply(2), Told::Closed(3)]),
    ];
    for (asked, told) in cases {
        let mut played = Played::leading();
        let session = played.open_local_session();
        let ops = asked.iter().chain([&OpCode::CloseSession]);
        (1..).zip(ops).for_each(|(xid, op)| played.write(session, xid, *op));
        assert_eq!(played.told(), [], "{asked:?}: a proposal is in flight");
        played.hear_acks(zxid(1));
        played.flush(zxid(1));
        assert_eq!(played.told(), told, "{asked:?}");
        assert_eq!(played.stage.sessions.local_count(), 0);
    }
}

#[test]
fn the_end_of_a_local_session_that_waits_for_nothing_is_answered_at_once() {
    let mut played = Played::leading();
    let session = played.open_local_session();
    played.write(session, 1, OpCode::CloseSession);
    assert_eq!(played.told(), [Told::Closed(1)]);
}
