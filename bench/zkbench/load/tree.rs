//! The run's own znodes: made before, taken away after. Over one session, many requests at a time.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use ringkeeper::ids::Xid;
use ringkeeper::wire::client::ReplyHeader;
use ringkeeper::wire::request::{Read, Request};
use ringkeeper::wire::response::Response;
use ringkeeper::wire::{ErrorCode, OpCode, Reader, frame};

use super::connection::{self, Credentials, REPLY_BYTES_MAX, Stream};
use super::template::{self, FOLDER_ZNODES};
use super::workload::Workload;
use crate::Failure;
use crate::plan::{Load, Plan};

/// Requests that are under way together.
const BATCH: usize = 1000;
/// Bytes of requests that are under way together, but for one that is larger.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// The run's folder, the folders in it, the znodes in them.
const LEVELS: usize = 3;

/// A session for requests that are not load.
#[derive(Debug)]
pub(crate) struct Admin {
    stream: Stream,
    timeout: Duration,
}

impl Admin {
    /// At the first server that answers.
    pub(crate) async fn open(plan: &Plan) -> Result<Self, Failure> {
        let mut last: Failure = "no server".into();
        for server in &plan.servers {
            match Self::open_at(*server, plan.session_timeout_ms, plan.timeout).await {
                Ok(admin) => return Ok(admin),
                Err(failure) => last = format!("{server}: {failure}").into(),
            }
        }
        Err(last)
    }

    pub(crate) async fn open_at(
        server: SocketAddr,
        session_timeout_ms: i32,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let mut credentials = Credentials::NEW;
        let opening = connection::open(server, &mut credentials, session_timeout_ms);
        let stream = tokio::time::timeout(timeout, opening).await??;
        Ok(Self { stream, timeout })
    }

    pub(crate) async fn close(self) -> Result<(), Failure> {
        Ok(tokio::time::timeout(self.timeout, connection::close(&self.stream)).await??)
    }

    /// Asks all of it; `on_reply` gets each reply's place, error and body, in order.
    async fn ask(
        &self,
        requests: &[Request<'_>],
        mut on_reply: impl FnMut(usize, i32, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for (turn, batch) in requests.chunks(BATCH).enumerate() {
            let mut out = Vec::new();
            for (xid, request) in (1..).zip(batch) {
                template::append(&mut out, Xid(xid), request);
            }
            let replies = self.batch(out, batch.len(), |place, err, body| {
                on_reply(turn * BATCH + place, err, body)
            });
            replies.await?;
        }
        Ok(())
    }

    async fn batch(
        &self,
        out: Vec<u8>,
        count: usize,
        mut on_reply: impl FnMut(usize, i32, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        tokio::time::timeout(self.timeout, self.stream.write_all(out)).await?.0?;
        let (mut input, mut place) = (Vec::new(), 0);
        while place < count {
            let reading = connection::read_more(&self.stream, &mut input);
            if tokio::time::timeout(self.timeout, reading).await?? == 0 {
                return Err("the server closed the connection".into());
            }
            let mut rest = &input[..];
            while let Some((body, after)) = frame::split(rest, REPLY_BYTES_MAX)? {
                let mut r = Reader::new(body);
                let header = ReplyHeader::decode(&mut r)?;
                if header.xid != Xid::NOTIFICATION {
                    on_reply(place, header.err, r.rest())?;
                    place += 1;
                }
                rest = after;
            }
            let used = input.len() - rest.len();
            input.drain(..used);
        }
        Ok(())
    }

    /// Creates what is not there yet.
    async fn create(&self, paths: &[String], data: &[u8]) -> Result<(), Failure> {
        let batch = (BATCH_BYTES_MAX / (data.len() + 128)).clamp(1, BATCH);
        for paths in paths.chunks(batch) {
            let requests: Vec<_> = paths.iter().map(|path| template::create(path, data)).collect();
            let created = self.ask(&requests, |place, err, _| {
                if [ErrorCode::Ok.to_wire(), ErrorCode::NodeExists.to_wire()].contains(&err) {
                    return Ok(());
                }
                Err(format!("create {}: error {}", paths[place], name(err)).into())
            });
            created.await?;
        }
        Ok(())
    }

    /// Makes the znodes that the plan's load needs.
    pub(crate) async fn prepare(&self, plan: &Plan) -> Result<(), Failure> {
        let ancestors: Vec<String> =
            plan.root.match_indices('/').skip(1).map(|(at, _)| plan.root[..at].into()).collect();
        self.create(&ancestors, b"").await?;
        self.create(std::slice::from_ref(&plan.root), b"").await?;
        match plan.load {
            Load::Open => Ok(()),
            Load::Ask(Workload::Create) => {
                let sessions = (0..plan.sessions).map(|n| template::session_path(&plan.root, n));
                self.create(&sessions.collect::<Vec<_>>(), b"").await
            }
            Load::Ask(Workload::Load { znodes }) => self.create_folders(plan, znodes).await,
            Load::Ask(Workload::Mixed { znodes, .. }) => {
                self.create_folders(plan, znodes).await?;
                let value = template::value(plan.value_bytes, plan.seed);
                for first in (0..znodes).step_by(BATCH) {
                    let keys = first..znodes.min(first + BATCH as u64);
                    let paths = keys.map(|key| template::key_path(&plan.root, key));
                    self.create(&paths.collect::<Vec<_>>(), &value).await?;
                }
                Ok(())
            }
        }
    }

    async fn create_folders(&self, plan: &Plan, znodes: u64) -> Result<(), Failure> {
        let folders = 0..znodes.div_ceil(FOLDER_ZNODES);
        let paths = folders.map(|number| template::folder_path(&plan.root, number));
        self.create(&paths.collect::<Vec<_>>(), b"").await
    }

    /// Deletes `root` and all below it; how many znodes that were.
    ///
    /// Whole levels at a time: the children of all znodes of a level are the next one. What is
    /// deeper than a run's own znodes was not made by one and stays.
    pub(crate) async fn delete_all(&self, root: &str) -> Result<usize, Failure> {
        let mut levels = vec![vec![root.to_owned()]];
        while levels.len() < LEVELS {
            let level = &levels[levels.len() - 1];
            let requests: Vec<_> = level.iter().map(|path| children(path)).collect();
            let mut next = Vec::new();
            let listed = self.ask(&requests, |place, err, body| {
                if err == ErrorCode::Ok.to_wire() {
                    let parent = &level[place];
                    if let Response::Names(names) =
                        Response::decode(OpCode::GetChildren, &mut Reader::new(body))?
                    {
                        next.extend(names.iter().map(|name| format!("{parent}/{name}")));
                    }
                }
                Ok(())
            });
            listed.await?;
            levels.push(next);
        }
        let mut deleted = 0;
        let mut failed = BTreeSet::new();
        for paths in levels.iter().rev().flat_map(|level| level.chunks(BATCH)) {
            let requests: Vec<_> = paths
                .iter()
                .map(|path| Request::Delete { path: path.as_str().into(), version: -1 })
                .collect();
            let asked = self.ask(&requests, |_, err, _| {
                deleted += usize::from(err == ErrorCode::Ok.to_wire());
                if ![ErrorCode::Ok.to_wire(), ErrorCode::NoNode.to_wire()].contains(&err) {
                    failed.insert(err);
                }
                Ok(())
            });
            asked.await?;
        }
        match failed.first() {
            Some(err) => Err(format!("could not delete all of {root}: {}", name(*err)).into()),
            None => Ok(deleted),
        }
    }

    /// Deletes a folder that is empty, and nothing otherwise.
    pub(crate) async fn delete_if_empty(&self, path: &str) -> Result<(), Failure> {
        self.ask(&[Request::Delete { path: path.into(), version: -1 }], |_, _, _| Ok(())).await
    }
}

fn children(path: &str) -> Request<'_> {
    Request::Read(Read { op: OpCode::GetChildren, path: path.into(), watch: false })
}

/// An error code as the report calls it.
pub(crate) fn name(err: i32) -> String {
    ErrorCode::from_wire(err).map_or_else(|| err.to_string(), |code| format!("{code:?}"))
}
