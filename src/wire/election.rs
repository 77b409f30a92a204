//! The election port: who dials, and whom it votes for.
//!
//! Pure. A connection opens with one handshake, sent by the dialer and not answered; after it both
//! sides send frames that each hold one notification. Nothing is allocated by a length that has
//! not been bounded, and a message that makes no sense costs its sender the message or the
//! connection, nobody else anything (ZOOKEEPER-3769).
//! Source: `QuorumCnxManager.InitialMessage`, `FastLeaderElection.buildMsg`, `WorkerReceiver`.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use super::frame::{self, FrameLengthError, LENGTH_BYTES, Split};
use super::jute::{DecodeError, Reader, Writer};
use crate::ids::{Epoch, Round, ServerId, Zxid};
use crate::limits::{HANDSHAKE_ADDRESS_BYTES_MAX, NOTIFICATION_BYTES_MAX};

const VERSION_ONE_ADDRESS: i64 = -65536;
const VERSION_ADDRESSES: i64 = -65535;

/// The id by which an observer without one of its own introduces itself.
pub const ANONYMOUS: ServerId = ServerId(i64::MAX);

/// What a dialer says of itself.
///
/// COMPAT: to be sent with a single write; Java reads the addresses with a single read
/// (`InitialMessage.parse`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Handshake {
    /// Its form.
    pub form: HandshakeForm,
    /// The dialer.
    pub server: ServerId,
    /// Where the dialer listens for elections, as it sees it. May be a wildcard, may be none.
    pub addresses: Vec<PeerAddress>,
}

/// What a handshake looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HandshakeForm {
    /// Before 3.5: the id and nothing else.
    Bare,
    /// V1: one address. What to send, unless `multiAddress.enabled` (ZOOKEEPER-3720).
    OneAddress,
    /// V2: several addresses; servers before 3.6 refuse it.
    Addresses,
}

/// A host name or IP address, and a port.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PeerAddress {
    /// Without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl PeerAddress {
    /// Whether it names every address of a host, so that nobody can dial it.
    pub fn is_wildcard(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
    }

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once("]:")?,
            None => text.split_once(':')?,
        };
        let port = port.parse().ok()?;
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }
}

/// `host:port`, an IPv6 address in brackets.
impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Why bytes are no handshake; the connection is closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HandshakeError {
    /// A version that nobody has defined: not a member, or one from the future.
    Version(i64),
    /// The length of the addresses.
    AddressBytes(i32),
    /// An address that is not `host:port`.
    Address(String),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "unknown election protocol version {version}"),
            Self::AddressBytes(len) => write!(
                f,
                "an election address of {len} bytes is not in 1..={HANDSHAKE_ADDRESS_BYTES_MAX}"
            ),
            Self::Address(text) => write!(f, "election address {text:?} is not host:port"),
        }
    }
}

impl std::error::Error for HandshakeError {}

impl Handshake {
    /// The handshake at the head of `input` and what follows it; `None` until all of it is there.
    ///
    /// # Errors
    /// [`HandshakeError`], as soon as the bytes that show it are there.
    pub fn decode(input: &[u8]) -> Result<Option<(Self, &[u8])>, HandshakeError> {
        let mut r = Reader::new(input);
        let Ok(version) = r.i64() else { return Ok(None) };
        let form = match version {
            0.. => {
                let server = ServerId(version);
                let bare = Self { form: HandshakeForm::Bare, server, addresses: Vec::new() };
                return Ok(Some((bare, r.rest())));
            }
            VERSION_ONE_ADDRESS => HandshakeForm::OneAddress,
            VERSION_ADDRESSES => HandshakeForm::Addresses,
            _ => return Err(HandshakeError::Version(version)),
        };
        let Ok(server) = r.i64() else { return Ok(None) };
        let Ok(len) = r.i32() else { return Ok(None) };
        let bytes = match usize::try_from(len) {
            Ok(bytes) if (1..=HANDSHAKE_ADDRESS_BYTES_MAX).contains(&bytes) => bytes,
            _ => return Err(HandshakeError::AddressBytes(len)),
        };
        let Ok(text) = r.bytes(bytes) else { return Ok(None) };
        let addresses = addresses(&String::from_utf8_lossy(text))?;
        Ok(Some((Self { form, server: ServerId(server), addresses }, r.rest())))
    }

    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let version = match self.form {
            HandshakeForm::Bare => return Writer::new(out).i64(self.server.0),
            HandshakeForm::OneAddress => VERSION_ONE_ADDRESS,
            HandshakeForm::Addresses => VERSION_ADDRESSES,
        };
        let mut w = Writer::new(out);
        w.i64(version);
        w.i64(self.server.0);
        let texts: Vec<String> = self.addresses.iter().map(PeerAddress::to_string).collect();
        w.string(&texts.join("|"));
    }
}

/// COMPAT: Java splits in either form, and `String.split` drops what is empty at the end.
fn addresses(text: &str) -> Result<Vec<PeerAddress>, HandshakeError> {
    let text = text.trim_end_matches('|');
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let parse = |text| PeerAddress::parse(text).ok_or_else(|| HandshakeError::Address(clip(text)));
    text.split('|').map(parse).collect()
}

/// What is shown of a text that a stranger sent.
fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

/// What a server is doing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PeerState {
    /// In an election.
    Looking,
    /// Learns from a leader, and votes.
    Following,
    /// Leads.
    Leading,
    /// Learns from a leader, without a vote.
    Observing,
}

impl PeerState {
    fn from_wire(value: i32) -> Option<Self> {
        Some(match value {
            0 => Self::Looking,
            1 => Self::Following,
            2 => Self::Leading,
            3 => Self::Observing,
            _ => return None,
        })
    }

    const fn to_wire(self) -> i32 {
        match self {
            Self::Looking => 0,
            Self::Following => 1,
            Self::Leading => 2,
            Self::Observing => 3,
        }
    }
}

/// As `ZooKeeper` logs it.
impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Looking => "LOOKING",
            Self::Following => "FOLLOWING",
            Self::Leading => "LEADING",
            Self::Observing => "OBSERVING",
        })
    }
}

/// Whom a server wants to lead, or is led by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Vote {
    /// The candidate.
    pub leader: ServerId,
    /// The end of the candidate's history when the vote was cast.
    pub zxid: Zxid,
    /// The election it was cast in.
    pub round: Round,
    /// The candidate's current epoch then; once it leads, the epoch it opened.
    pub epoch: Epoch,
}

/// One message on an election connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notification<'a> {
    /// What the sender is doing.
    pub state: PeerState,
    /// Its vote.
    pub vote: Vote,
    /// 0 before 3.4.6, 1 before 3.5, else 2: how votes of established servers are compared
    /// depends on it.
    pub version: i32,
    /// The sender's configuration, since version 2.
    pub config: Option<Cow<'a, str>>,
}

impl<'a> Notification<'a> {
    /// What is sent today.
    pub const VERSION: i32 = 2;

    const BYTES_WITHOUT_EPOCH: usize = 28;
    const BYTES_WITHOUT_VERSION: usize = 40;

    /// Reads one. What follows it in the frame is ignored.
    ///
    /// # Errors
    /// The message is to be skipped; the connection may go on.
    pub fn decode(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(frame);
        let value = r.i32()?;
        let leader = ServerId(r.i64()?);
        let zxid = Zxid(r.i64()?);
        let round = Round(r.i64()?);
        let is_oldest = frame.len() == Self::BYTES_WITHOUT_EPOCH;
        let epoch = if is_oldest { zxid.epoch() } else { Epoch(r.i64()?) };
        // COMPAT: the number in a message of 40 bytes is not read (`WorkerReceiver`).
        let is_old = is_oldest || frame.len() == Self::BYTES_WITHOUT_VERSION;
        let version = if is_old { 0 } else { r.i32()? };
        let config = if version > 1 { Some(r.text()?) } else { None };
        let what = "server state";
        let state = PeerState::from_wire(value).ok_or(DecodeError::Unknown { what, value })?;
        Ok(Self { state, vote: Vote { leader, zxid, round, epoch }, version, config })
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Notification<'static> {
        let Self { state, vote, version, config } = self;
        let config = config.map(|config| Cow::Owned(config.into_owned()));
        Notification { state, vote, version, config }
    }

    /// Appends it, in the form of its version.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.i32(self.state.to_wire());
        w.i64(self.vote.leader.0);
        w.i64(self.vote.zxid.0);
        w.i64(self.vote.round.0);
        w.i64(self.vote.epoch.0);
        w.i32(self.version);
        if self.version > 1 {
            w.string(self.config.as_deref().unwrap_or_default());
        }
    }

    /// Appends it with its length in front.
    pub fn encode_frame(&self, out: &mut Vec<u8>) {
        frame::write(out, |out| self.encode(&mut Writer::new(out)));
    }
}

/// The first frame in `input` and what follows it; `None` until all of it is there.
///
/// # Errors
/// A length that is not in 1..=512 KiB: the connection is closed.
pub fn split(input: &[u8]) -> Result<Option<Split<'_>>, FrameLengthError> {
    if input.starts_with(&[0; LENGTH_BYTES]) {
        return Err(FrameLengthError { len: 0, max: NOTIFICATION_BYTES_MAX });
    }
    frame::split(input, NOTIFICATION_BYTES_MAX)
}

#[cfg(test)]
mod tests;
