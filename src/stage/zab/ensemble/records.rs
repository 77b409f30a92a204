//! A leader's records are looked at before the core hears of them.
//!
//! One that cannot be read would be logged and acked all the same, and end this server when it is
//! applied, and then at every start. So it costs what bytes that are no packet cost: the link.

use std::fmt;

use super::Member;
use crate::ids::Zxid;
use crate::stage::zab::ZabStage;
use crate::wire::DecodeError;
use crate::wire::quorum::Packet;
use crate::wire::txn;
use crate::zab::{Input, LinkId};

/// Why what a leader proposes cannot be logged.
#[derive(Debug)]
pub(super) enum Flaw {
    /// These bytes are no txn.
    Unreadable(DecodeError),
    /// It says that it has another place in history.
    Misplaced(Zxid),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "is no txn: {error}"),
            Self::Misplaced(zxid) => write!(f, "says that it is {zxid}"),
        }
    }
}

fn examine(zxid: Zxid, record: &[u8]) -> Result<(), Flaw> {
    let header = txn::check(record).map_err(Flaw::Unreadable)?;
    if header.zxid == zxid { Ok(()) } else { Err(Flaw::Misplaced(header.zxid)) }
}

impl Member {
    /// What is wrong with a packet's record, and with which one. Others than the leader are not
    /// asked: the core takes no record from them.
    pub(super) fn flaw_of(&self, link: LinkId, packet: &Packet) -> Option<(Zxid, Flaw)> {
        let (Packet::Proposal { zxid, record } | Packet::Inform { zxid, record }) = packet else {
            return None;
        };
        self.leader.filter(|leader| *leader == link)?;
        examine(*zxid, record).err().map(|flaw| (*zxid, flaw))
    }
}

impl ZabStage {
    /// As if the connection had broken: the core looks for a leader again.
    pub(super) fn break_link(&mut self, link: LinkId, zxid: Zxid, flaw: &Flaw) {
        let peer = self.member.as_ref().map(|member| member.name_of(link)).unwrap_or_default();
        tracing::warn!("Closing connection to {peer}: proposal {zxid} {flaw}");
        self.forget_link(link);
        self.peers(|peers, reactor| peers.close(link, reactor));
        self.step(Input::LinkDown(link));
    }
}
