//! The order of one connection: replies leave in the order of their requests, and a read sees the
//! writes before it.
//!
//! Pure; each connection of a shard has one [`Order`]. Writes may be many in flight, as the zab
//! thread answers them in order; anything served in place waits until none is. Auth and sasl are
//! answered at once and may overtake. After a closeSession nothing more is read.

use crate::limits::CONNECTION_WRITES_IN_FLIGHT_MAX;
use crate::wire::OpCode;

/// How a request travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lane {
    /// To the zab thread; the reply comes with its commit.
    Write,
    /// Served in place by the shard.
    Read,
    /// Answered in place at once, past everything else: auth, sasl.
    Aside,
    /// To the zab thread, as the last request of its connection.
    Close,
    /// No client's to send: UNIMPLEMENTED with zxid -1, then the connection is closed.
    Foreign,
}

/// The lane of a request with this opcode. A sync is a read where a server is alone: all that
/// anybody was told of is in the tree a shard reads. A member of an ensemble may be behind others.
pub const fn lane(op: OpCode) -> Lane {
    match op {
        OpCode::Create
        | OpCode::Create2
        | OpCode::CreateContainer
        | OpCode::CreateTtl
        | OpCode::Delete
        | OpCode::SetData
        | OpCode::SetAcl
        | OpCode::Multi
        | OpCode::Reconfig => Lane::Write,
        OpCode::Exists
        | OpCode::GetData
        | OpCode::GetAcl
        | OpCode::GetChildren
        | OpCode::GetChildren2
        | OpCode::Sync
        | OpCode::Ping
        | OpCode::CheckWatches
        | OpCode::RemoveWatches
        | OpCode::MultiRead
        | OpCode::SetWatches
        | OpCode::SetWatches2
        | OpCode::GetEphemerals
        | OpCode::GetAllChildrenNumber
        | OpCode::AddWatch
        | OpCode::WhoAmI => Lane::Read,
        OpCode::Auth | OpCode::Sasl => Lane::Aside,
        OpCode::CloseSession => Lane::Close,
        OpCode::Notification
        | OpCode::Check
        | OpCode::DeleteContainer
        | OpCode::CreateSession
        | OpCode::Error => Lane::Foreign,
    }
}

/// Whether one request of this kind may take long: its cost grows with the tree, or with how much
/// it asks for at once.
pub const fn is_costly(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::GetAllChildrenNumber
            | OpCode::GetChildren
            | OpCode::GetChildren2
            | OpCode::GetEphemerals
            | OpCode::MultiRead
            | OpCode::SetWatches
            | OpCode::SetWatches2
    )
}

/// What to do with the next request of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// Send it to the zab thread; it is counted as in flight.
    Submit,
    /// Serve it now.
    Serve,
    /// Leave it, and all behind it, in the input buffer until a write is answered.
    Wait,
    /// Forget it: the session is being closed.
    Drop,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Order {
    in_flight: u32,
    /// Its closeSession was submitted.
    is_closing: bool,
}

impl Order {
    /// Decides on the next request. What is told to wait is asked about again.
    pub const fn admit(&mut self, lane: Lane) -> Admission {
        if self.is_closing {
            return Admission::Drop;
        }
        match lane {
            Lane::Aside => Admission::Serve,
            Lane::Read | Lane::Foreign if self.in_flight == 0 => Admission::Serve,
            Lane::Read | Lane::Foreign => Admission::Wait,
            Lane::Write | Lane::Close if self.in_flight >= CONNECTION_WRITES_IN_FLIGHT_MAX => {
                Admission::Wait
            }
            Lane::Write | Lane::Close => {
                self.in_flight += 1;
                self.is_closing = matches!(lane, Lane::Close);
                Admission::Submit
            }
        }
    }

    /// A write came back. `true` if requests that waited may go on.
    ///
    /// # Panics
    /// If none is in flight.
    pub const fn answered(&mut self) -> bool {
        assert!(self.in_flight > 0, "an answer to nothing");
        self.in_flight -= 1;
        self.in_flight == 0 || self.in_flight == CONNECTION_WRITES_IN_FLIGHT_MAX - 1
    }

    /// Writes the zab thread has not answered.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_waits_for_the_writes_before_it() {
        let mut order = Order::default();
        assert_eq!(order.admit(Lane::Read), Admission::Serve);
        assert_eq!(order.admit(Lane::Write), Admission::Submit);
        assert_eq!(order.admit(Lane::Write), Admission::Submit);
        assert_eq!(order.admit(Lane::Read), Admission::Wait);
        assert_eq!(order.admit(Lane::Aside), Admission::Serve);
        assert!(!order.answered());
        assert_eq!(order.admit(Lane::Read), Admission::Wait);
        assert!(order.answered());
        assert_eq!(order.admit(Lane::Read), Admission::Serve);
    }

    #[test]
    fn nothing_follows_a_close() {
        let mut order = Order::default();
        assert_eq!(order.admit(Lane::Write), Admission::Submit);
        assert_eq!(order.admit(Lane::Close), Admission::Submit);
        for lane in [Lane::Read, Lane::Write, Lane::Aside, Lane::Close, Lane::Foreign] {
            assert_eq!(order.admit(lane), Admission::Drop);
        }
        assert_eq!(order.in_flight(), 2);
    }

    #[test]
    fn writes_in_flight_are_bounded() {
        let mut order = Order::default();
        while order.admit(Lane::Write) == Admission::Submit {}
        assert_eq!(order.in_flight(), CONNECTION_WRITES_IN_FLIGHT_MAX);
        assert_eq!(order.admit(Lane::Close), Admission::Wait);
        assert!(order.answered());
        assert_eq!(order.admit(Lane::Close), Admission::Submit);
    }
}
