//! Opcodes and error codes. Source: `ZooDefs.OpCode`, `KeeperException.Code`.

use std::fmt;

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(i32)]
        pub enum $name { $($(#[$vmeta])* $variant = $value,)+ }

        impl $name {
            /// All of them, in the order above.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The one with this number on the wire.
            pub const fn from_wire(value: i32) -> Option<Self> {
                match value { $($value => Some(Self::$variant),)+ _ => None }
            }

            /// Its number on the wire.
            pub const fn to_wire(self) -> i32 {
                self as i32
            }
        }
    };
}

codes! {
    /// What a request asks, and what a txn does.
    OpCode {
        /// A watch event, server to client only.
        Notification = 0,
        /// Create a znode; the reply is its path.
        Create = 1,
        /// Delete a znode.
        Delete = 2,
        /// Stat of a znode that may be missing.
        Exists = 3,
        /// Data and stat.
        GetData = 4,
        /// Replace the data.
        SetData = 5,
        /// ACL and stat.
        GetAcl = 6,
        /// Replace the ACL.
        SetAcl = 7,
        /// Names of the children.
        GetChildren = 8,
        /// Wait for everything committed before it.
        Sync = 9,
        /// Keep the session.
        Ping = 11,
        /// Names of the children, and stat.
        GetChildren2 = 12,
        /// A version check; only inside a multi.
        Check = 13,
        /// A transaction.
        Multi = 14,
        /// Create a znode; the reply is its path and stat.
        Create2 = 15,
        /// Change the ensemble's members.
        Reconfig = 16,
        /// Ask whether a watch is set.
        CheckWatches = 17,
        /// Drop a watch.
        RemoveWatches = 18,
        /// Create a container.
        CreateContainer = 19,
        /// The server's own: reap a container or TTL node.
        DeleteContainer = 20,
        /// Create a node with a time to live.
        CreateTtl = 21,
        /// Several reads in one request.
        MultiRead = 22,
        /// Add an identity to the connection.
        Auth = 100,
        /// Set watches anew after a reconnect.
        SetWatches = 101,
        /// A step of a SASL exchange.
        Sasl = 102,
        /// Paths of the session's ephemerals.
        GetEphemerals = 103,
        /// How many descendants.
        GetAllChildrenNumber = 104,
        /// `SetWatches`, with persistent ones.
        SetWatches2 = 105,
        /// Set a persistent watch.
        AddWatch = 106,
        /// The connection's identities.
        WhoAmI = 107,
        /// The server's own: open a session.
        CreateSession = -10,
        /// Close the session.
        CloseSession = -11,
        /// A txn that did nothing, and a failed step of a multi.
        Error = -1,
    }
}

codes! {
    /// What went wrong, as clients know it. Never invent one: old clients fail on a number they
    /// do not know.
    ErrorCode {
        /// Nothing did.
        Ok = 0,
        /// Internal failure.
        SystemError = -1,
        /// A step of a multi after the one that failed.
        RuntimeInconsistency = -2,
        /// Never sent.
        DataInconsistency = -3,
        /// The client library's own.
        ConnectionLoss = -4,
        /// The request could not be decoded.
        MarshallingError = -5,
        /// Unknown opcode, or not in this set-up.
        Unimplemented = -6,
        /// The client library's own.
        OperationTimeout = -7,
        /// Path, flags, TTL or reconfig arguments.
        BadArguments = -8,
        /// Between servers only.
        UnknownSession = -12,
        /// Reconfig: no quorum of the new members.
        NewConfigNoQuorum = -13,
        /// Reconfig: another one is under way.
        ReconfigInProgress = -14,
        /// No such znode.
        NoNode = -101,
        /// Not permitted.
        NoAuth = -102,
        /// The version differs.
        BadVersion = -103,
        /// The parent is ephemeral.
        NoChildrenForEphemerals = -108,
        /// The znode exists.
        NodeExists = -110,
        /// The znode has children.
        NotEmpty = -111,
        /// The session is closing or gone.
        SessionExpired = -112,
        /// The client library's own.
        InvalidCallback = -113,
        /// The ACL is empty or not valid.
        InvalidAcl = -114,
        /// Authentication failed.
        AuthFailed = -115,
        /// Between servers only: the connection is closed instead.
        SessionMoved = -118,
        /// A write to a read-only server.
        NotReadOnly = -119,
        /// An ephemeral from a local session.
        EphemeralOnLocalSession = -120,
        /// No such watch.
        NoWatcher = -121,
        /// The client library's own.
        RequestTimeout = -122,
        /// Reconfig is off.
        ReconfigDisabled = -123,
        /// Authentication is enforced and missing.
        SessionClosedRequireSaslAuth = -124,
        /// A hard quota would be exceeded.
        QuotaExceeded = -125,
        /// The request waited too long.
        ThrottledOp = -127,
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} ({})", self.to_wire())
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_there_and_back() {
        for op in OpCode::ALL {
            assert_eq!(OpCode::from_wire(op.to_wire()), Some(*op));
        }
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_wire(code.to_wire()), Some(*code));
        }
        assert_eq!(OpCode::from_wire(10), None);
        assert_eq!(ErrorCode::from_wire(-126), None);
    }
}
