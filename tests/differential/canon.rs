//! Frames in a form in which two servers that behave alike say the same: zxids relative to the
//! start of the run, sessions by number, times as "within the run", unordered lists in order.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use ringkeeper::wire::client::{ConnectResponse, ReplyHeader};
use ringkeeper::wire::response::{Response, StepResult};
use ringkeeper::wire::{Acl, OpCode, Reader, Stat};

use crate::op::{Op, hex};

/// What one server's answers are relative to.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The last zxid before the run.
    pub base: i64,
    /// Wall clock before the run, ms.
    pub started: i64,
    sessions: HashMap<i64, usize>,
    /// Zxids of closeSession txns: their events come in any order.
    pub closes: HashSet<i64>,
}

/// One thing a server said on one connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Said {
    Reply {
        text: String,
        zxid: i64,
        err: i32,
    },
    Event {
        zxid: i64,
        text: String,
    },
    Connected(String),
    Closed,
    /// Neither an answer nor a close in time.
    Nothing,
}

impl Said {
    pub fn text(&self) -> String {
        match self {
            Self::Reply { text, .. } | Self::Event { text, .. } | Self::Connected(text) => {
                text.clone()
            }
            Self::Closed => "closed".to_owned(),
            Self::Nothing => "nothing".to_owned(),
        }
    }
}

impl Names {
    /// Forgets the sessions of the run before.
    pub fn begin(&mut self, base: i64, started: i64) {
        *self = Self { base, started, ..Self::default() };
    }

    pub fn session(&mut self, id: i64) -> usize {
        let next = self.sessions.len() + 1;
        *self.sessions.entry(id).or_insert(next)
    }

    fn zxid(&self, zxid: i64) -> String {
        match zxid {
            0 | -1 => zxid.to_string(),
            _ => format!("z{}", zxid.wrapping_sub(self.base)),
        }
    }

    fn time(&self, time: i64) -> String {
        match time {
            0 => "0".to_owned(),
            _ if time >= self.started && time <= self.started + 86_400_000 => "t".to_owned(),
            _ => format!("{time}(not within the run)"),
        }
    }

    fn stat(&self, stat: &Stat) -> String {
        let owner = match (stat.ephemeral_owner, self.sessions.get(&stat.ephemeral_owner)) {
            (0, _) => "0".to_owned(),
            (_, Some(number)) => format!("s{number}"),
            (raw, None) => format!("{raw:#x}"),
        };
        let fresh = stat.czxid == stat.mzxid && stat.version == 0;
        let odd = if fresh && stat.ctime != stat.mtime { " ctime≠mtime" } else { "" };
        format!(
            "{{c {} m {} p {} ct {} mt {} v {} cv {} av {} own {owner} len {} kids {}{odd}}}",
            self.zxid(stat.czxid),
            self.zxid(stat.mzxid),
            self.zxid(stat.pzxid),
            self.time(stat.ctime),
            self.time(stat.mtime),
            stat.version,
            stat.cversion,
            stat.aversion,
            stat.data_length,
            stat.num_children
        )
    }

    /// The first frame of a connection.
    pub fn connected(&mut self, frame: &[u8]) -> Said {
        let text = match ConnectResponse::decode(frame) {
            Ok(r) if r.timeout_ms == 0 => format!("invalid {}", hex(frame)),
            Ok(r) => {
                let number = self.session(r.session.0);
                format!(
                    "session s{number} timeout {} read-only {:?} in {} bytes",
                    r.timeout_ms,
                    r.read_only,
                    frame.len()
                )
            }
            Err(err) => format!("no connect response ({err}): {}", hex(frame)),
        };
        Said::Connected(text)
    }

    pub fn event(&self, header: &ReplyHeader, body: &[u8]) -> Said {
        let mut r = Reader::new(body);
        let mut text = || {
            Some(format!(
                "event {} zxid {} state {} {:?} rest {}",
                r.i32().ok()?,
                self.zxid(header.zxid.0),
                r.i32().ok()?,
                r.text().ok()?,
                r.rest().len()
            ))
        };
        let text = text().unwrap_or_else(|| format!("event {}", hex(body)));
        Said::Event { zxid: header.zxid.0, text }
    }

    pub fn reply(&self, op: Option<&Op>, header: &ReplyHeader, body: &[u8]) -> Said {
        let ReplyHeader { xid, zxid, err } = *header;
        let mut text = format!("reply xid {} zxid {} err {err} ", xid.0, self.zxid(zxid.0));
        let code = op.and_then(|op| OpCode::from_wire(op.code));
        let mut r = Reader::new(body);
        match code.map(|code| Response::decode(code, &mut r)) {
            Some(Ok(response)) if err == 0 && r.is_empty() => {
                text.push_str(&self.body(&response));
            }
            _ if body.is_empty() => {}
            _ => {
                let _ = write!(text, "bytes {}", hex(body));
            }
        }
        Said::Reply { text, zxid: zxid.0, err }
    }

    fn body(&self, response: &Response<'_>) -> String {
        match response {
            Response::Empty => String::new(),
            Response::Path(path) => format!("{path:?}"),
            Response::PathStat(path, stat) => format!("{path:?} {}", self.stat(stat)),
            Response::Stat(stat) => self.stat(stat),
            Response::Data(data, stat) => format!("{} {}", bytes(*data), self.stat(stat)),
            Response::Acl(acl, stat) => format!("{} {}", entries(acl), self.stat(stat)),
            Response::Names(names) => format!("{:?}", sorted(names)),
            Response::NamesStat(names, stat) => {
                format!("{:?} {}", sorted(names), self.stat(stat))
            }
            Response::Number(number) => number.to_string(),
            Response::Identities(who) => format!("{:?}", sorted(who)),
            Response::Token(token) => bytes(*token),
            Response::Multi(steps) => {
                steps.iter().map(|step| self.step(step)).collect::<Vec<_>>().join("; ")
            }
        }
    }

    fn step(&self, step: &StepResult<'_>) -> String {
        match step {
            StepResult::Create(path) => format!("create {path:?}"),
            StepResult::Create2(path, stat) => format!("create2 {path:?} {}", self.stat(stat)),
            StepResult::Delete => "delete".to_owned(),
            StepResult::SetData(stat) => format!("setData {}", self.stat(stat)),
            StepResult::Check => "check".to_owned(),
            StepResult::Data(data, stat) => format!("data {} {}", bytes(*data), self.stat(stat)),
            StepResult::Children(names) => format!("children {:?}", sorted(names)),
            StepResult::Error(err) => format!("error {err}"),
        }
    }

    /// Puts what has no order into one: the events of one closeSession.
    pub fn settle(&self, said: &mut [Said]) {
        let mut at = 0;
        while at < said.len() {
            let Said::Event { zxid, .. } = said[at] else {
                at += 1;
                continue;
            };
            let same =
                |said: &&Said| matches!(said, Said::Event { zxid: other, .. } if *other == zxid);
            let run = said[at..].iter().take_while(same).count();
            if self.closes.contains(&zxid) {
                said[at..at + run].sort_by_key(Said::text);
            }
            at += run;
        }
    }
}

fn sorted<T: Ord + Clone>(items: &[T]) -> Vec<T> {
    let mut items = items.to_vec();
    items.sort();
    items
}

fn bytes(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |bytes| format!("x{}", hex(bytes)))
}

/// What `auth` stands for is in no particular order (Java keeps a connection's identities in a hash
/// set): neighbours that it may have become, digests with the same permissions, are sorted.
fn entries(acl: &[Acl<'_>]) -> String {
    let may_be_auth = |a: &Acl<'_>, b: &Acl<'_>| {
        (a.perms, &*a.scheme, &*b.scheme) == (b.perms, "digest", "digest")
    };
    let mut texts = Vec::new();
    for run in acl.chunk_by(may_be_auth) {
        let start = texts.len();
        texts.extend(run.iter().map(|acl| format!("{}:{}:{}", acl.scheme, acl.id, acl.perms)));
        texts[start..].sort();
    }
    texts.join(",")
}

/// The paths that a reply names, for later operations: what was created, and children.
pub fn named(op: &Op, header: &ReplyHeader, body: &[u8]) -> Vec<String> {
    let code = OpCode::from_wire(op.code).filter(|_| header.err == 0);
    let response = code.map(|code| Response::decode(code, &mut Reader::new(body)));
    match (code, response) {
        (Some(OpCode::Create), Some(Ok(Response::Path(path))))
        | (_, Some(Ok(Response::PathStat(path, _)))) => vec![path.into_owned()],
        (_, Some(Ok(Response::NamesStat(names, _)))) => {
            let parent = Reader::new(&op.body).text().unwrap_or_default();
            let parent = parent.trim_end_matches('/');
            names.iter().map(|name| format!("{parent}/{name}")).collect()
        }
        _ => Vec::new(),
    }
}
