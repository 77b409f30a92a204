//! What a server answers: the record behind a reply header.
//!
//! The server's hot paths append fields straight to a connection's outbox; this enum is for
//! everything that reads replies, and for the replies that are not hot.

use std::borrow::Cow;

use super::code::OpCode;
use super::jute::{DecodeError, Reader, Writer};
use super::record::{Acl, Stat};

/// A decoded reply body, borrowing from its frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Response<'a> {
    /// Nothing: delete, ping, auth, setWatches, checkWatches, removeWatches, closeSession.
    Empty,
    /// create, sync.
    Path(Cow<'a, str>),
    /// create2, createContainer, createTTL.
    PathStat(Cow<'a, str>, Stat),
    /// exists, setData, setACL.
    Stat(Stat),
    /// getData, reconfig.
    Data(Option<&'a [u8]>, Stat),
    /// getACL.
    Acl(Vec<Acl<'a>>, Stat),
    /// getChildren, getEphemerals.
    Names(Vec<Cow<'a, str>>),
    /// getChildren2.
    NamesStat(Vec<Cow<'a, str>>, Stat),
    /// getAllChildrenNumber; also addWatch, whose body is an error code of 0.
    Number(i32),
    /// whoAmI: scheme and user of each identity.
    Identities(Vec<(Cow<'a, str>, Cow<'a, str>)>),
    /// sasl.
    Token(Option<&'a [u8]>),
    /// multi, multiRead.
    Multi(Vec<StepResult<'a>>),
}

/// The result of one step of a multi or multiRead.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StepResult<'a> {
    /// create.
    Create(Cow<'a, str>),
    /// create2, createContainer, createTTL.
    Create2(Cow<'a, str>, Stat),
    /// delete.
    Delete,
    /// setData.
    SetData(Stat),
    /// check.
    Check,
    /// getData.
    Data(Option<&'a [u8]>, Stat),
    /// getChildren.
    Children(Vec<Cow<'a, str>>),
    /// An [`super::ErrorCode`]; 0 for a step before the one that failed.
    Error(i32),
}

/// Appends the header in front of a step's result.
pub fn step_header(w: &mut Writer<'_>, op: i32, err: i32) {
    w.i32(op);
    w.bool(false);
    w.i32(err);
}

/// Appends the mark behind the last step's result.
pub fn steps_end(w: &mut Writer<'_>) {
    w.i32(-1);
    w.bool(true);
    w.i32(-1);
}

/// Appends a step that failed, or that did not because another one did.
pub fn step_error(w: &mut Writer<'_>, err: i32) {
    step_header(w, OpCode::Error.to_wire(), err);
    w.i32(err);
}

impl<'a> StepResult<'a> {
    fn decode(op: i32, r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match OpCode::from_wire(op) {
            Some(OpCode::Create) => Self::Create(r.text()?),
            Some(OpCode::Create2) => Self::Create2(r.text()?, Stat::decode(r)?),
            Some(OpCode::Delete) => Self::Delete,
            Some(OpCode::SetData) => Self::SetData(Stat::decode(r)?),
            Some(OpCode::Check) => Self::Check,
            Some(OpCode::GetData) => Self::Data(r.buffer()?, Stat::decode(r)?),
            Some(OpCode::GetChildren) => Self::Children(r.texts()?),
            Some(OpCode::Error) => Self::Error(r.i32()?),
            _ => return Err(DecodeError::Unknown { what: "step result", value: op }),
        })
    }

    /// Appends header and record.
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Self::Create(path) => {
                step_header(w, OpCode::Create.to_wire(), 0);
                w.string(path);
            }
            Self::Create2(path, stat) => {
                step_header(w, OpCode::Create2.to_wire(), 0);
                w.string(path);
                stat.encode(w);
            }
            Self::Delete => step_header(w, OpCode::Delete.to_wire(), 0),
            Self::SetData(stat) => {
                step_header(w, OpCode::SetData.to_wire(), 0);
                stat.encode(w);
            }
            Self::Check => step_header(w, OpCode::Check.to_wire(), 0),
            Self::Data(data, stat) => {
                step_header(w, OpCode::GetData.to_wire(), 0);
                w.buffer(*data);
                stat.encode(w);
            }
            Self::Children(names) => {
                step_header(w, OpCode::GetChildren.to_wire(), 0);
                w.strings(names.iter());
            }
            Self::Error(err) => step_error(w, *err),
        }
    }
}

impl<'a> Response<'a> {
    /// Reads the body of the reply to a request with this opcode.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not one.
    pub fn decode(op: OpCode, r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::Create | OpCode::Sync => Self::Path(r.text()?),
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Self::PathStat(r.text()?, Stat::decode(r)?)
            }
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl => Self::Stat(Stat::decode(r)?),
            OpCode::GetData | OpCode::Reconfig => Self::Data(r.buffer()?, Stat::decode(r)?),
            OpCode::GetAcl => {
                let acl = Acl::decode_list(r)?.ok_or(DecodeError::Null)?;
                Self::Acl(acl, Stat::decode(r)?)
            }
            OpCode::GetChildren | OpCode::GetEphemerals => Self::Names(r.texts()?),
            OpCode::GetChildren2 => Self::NamesStat(r.texts()?, Stat::decode(r)?),
            OpCode::GetAllChildrenNumber | OpCode::AddWatch => Self::Number(r.i32()?),
            OpCode::WhoAmI => {
                let count = r.count(8)?.ok_or(DecodeError::Null)?;
                let identities = (0..count).map(|_| Ok((r.text()?, r.text()?)));
                Self::Identities(identities.collect::<Result<_, _>>()?)
            }
            OpCode::Sasl => Self::Token(r.buffer()?),
            OpCode::Multi | OpCode::MultiRead => Self::Multi(decode_steps(r)?),
            OpCode::Delete
            | OpCode::Ping
            | OpCode::Auth
            | OpCode::SetWatches
            | OpCode::SetWatches2
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
            | OpCode::CloseSession => Self::Empty,
            OpCode::Notification
            | OpCode::Check
            | OpCode::DeleteContainer
            | OpCode::CreateSession
            | OpCode::Error => {
                return Err(DecodeError::Unknown { what: "reply to opcode", value: op.to_wire() });
            }
        })
    }

    /// Appends the body.
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Self::Empty => {}
            Self::Path(path) => w.string(path),
            Self::PathStat(path, stat) => {
                w.string(path);
                stat.encode(w);
            }
            Self::Stat(stat) => stat.encode(w),
            Self::Data(data, stat) => {
                w.buffer(*data);
                stat.encode(w);
            }
            Self::Acl(acl, stat) => {
                Acl::encode_list(acl, w);
                stat.encode(w);
            }
            Self::Names(names) => w.strings(names.iter()),
            Self::NamesStat(names, stat) => {
                w.strings(names.iter());
                stat.encode(w);
            }
            Self::Number(number) => w.i32(*number),
            Self::Identities(identities) => {
                w.count(identities.len());
                for (scheme, user) in identities {
                    w.string(scheme);
                    w.string(user);
                }
            }
            Self::Token(token) => w.buffer(*token),
            Self::Multi(steps) => {
                for step in steps {
                    step.encode(w);
                }
                steps_end(w);
            }
        }
    }
}

fn decode_steps<'a>(r: &mut Reader<'a>) -> Result<Vec<StepResult<'a>>, DecodeError> {
    let mut steps = Vec::new();
    loop {
        let op = r.i32()?;
        let done = r.bool()?;
        r.i32()?;
        if done {
            return Ok(steps);
        }
        steps.push(StepResult::decode(op, r)?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_response_reads_back() {
        let stat = Stat { mzxid: 4, data_length: 2, ..Stat::default() };
        let names = || vec![Cow::Borrowed("a"), Cow::Borrowed("b")];
        let cases = [
            (OpCode::Delete, Response::Empty),
            (OpCode::Create, Response::Path("/a".into())),
            (OpCode::Create2, Response::PathStat("/a".into(), stat)),
            (OpCode::Exists, Response::Stat(stat)),
            (OpCode::GetData, Response::Data(None, stat)),
            (OpCode::GetAcl, Response::Acl(vec![Acl::anyone(31)], stat)),
            (OpCode::GetChildren, Response::Names(names())),
            (OpCode::GetChildren2, Response::NamesStat(names(), stat)),
            (OpCode::GetAllChildrenNumber, Response::Number(3)),
            (OpCode::WhoAmI, Response::Identities(vec![("ip".into(), "127.0.0.1".into())])),
            (OpCode::Sasl, Response::Token(None)),
            (
                OpCode::Multi,
                Response::Multi(vec![
                    StepResult::Create("/a".into()),
                    StepResult::Create2("/a".into(), stat),
                    StepResult::Delete,
                    StepResult::SetData(stat),
                    StepResult::Check,
                    StepResult::Data(Some(b"x"), stat),
                    StepResult::Children(names()),
                    StepResult::Error(-103),
                ]),
            ),
        ];
        for (op, response) in cases {
            let mut out = Vec::new();
            response.encode(&mut Writer::new(&mut out));
            let mut r = Reader::new(&out);
            assert_eq!(Response::decode(op, &mut r).as_ref(), Ok(&response));
            assert!(r.is_empty(), "{response:?}");
        }
    }
}
