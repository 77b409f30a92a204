//! What happens by itself as time passes: containers and TTL nodes are reaped, sessions expire.
//!
//! One thing at a time, as the order of several is chance. Each is waited for on both servers; then
//! what every watcher was told is compared, with its zxid, and at the end the whole trees are.

use std::time::Duration;

use ringkeeper::wire::request::{AddWatchMode, Create, Read, Request};
use ringkeeper::wire::{Acl, OpCode};

use crate::accepted::Moment;
use crate::canon::Said;
use crate::op::Op;
use crate::run::{Difference, Run, Step};
use crate::side::{Hello, Side, Whose};
use crate::support::wait_for;

/// Asks for the node until it is gone.
const ASKER: usize = 1;
/// Makes nodes, and watches their parent.
const MAKER: usize = 2;
/// Watches everything.
const WATCHER: usize = 3;
/// Expires.
const MORTAL: usize = 4;

/// Longer than a busy machine may need from the handshake to the last of the mortal's requests.
const TIMEOUT_MS: i32 = 3000;
const PATIENCE: Duration = Duration::from_secs(30);
const CONTAINER: i32 = 4;
const TTL: i32 = 5;

impl Run<'_> {
    /// The story, in `rounds`.
    pub fn lapse(&mut self, rounds: usize) -> Step {
        self.begin()?;
        let path = self.root();
        let watch = Request::AddWatch { path: path.into(), mode: AddWatchMode::Recursive };
        self.say(WATCHER, &watch)?;
        for round in 0..rounds {
            self.reap_emptied(&format!("{}/c{round}", self.root()), CONTAINER)?;
            self.reap_emptied(&format!("{}/t{round}", self.root()), TTL)?;
            self.reap_unused(&format!("{}/u{round}", self.root()))?;
            self.expire(&format!("{}/e{round}", self.root()))?;
        }
        self.finish()
    }

    /// It has a child from the beginning, so nobody reaps it before it is watched.
    fn reap_emptied(&mut self, path: &str, flags: i32) -> Step {
        let child = format!("{path}/child");
        let made = Request::Multi(vec![create(path, flags), create(&child, 0)]);
        self.say(MAKER, &made)?;
        self.say(ASKER, &read(OpCode::Exists, path, true))?;
        self.say(MAKER, &read(OpCode::GetChildren, &self.root(), true))?;
        self.say(MAKER, &Request::Delete { path: child.into(), version: -1 })?;
        self.await_end(path)
    }

    /// A container that never had a child.
    fn reap_unused(&mut self, path: &str) -> Step {
        self.say(MAKER, &create(path, CONTAINER))?;
        self.await_end(path)
    }

    /// A session that says nothing more takes its nodes along, and is closed.
    fn expire(&mut self, path: &str) -> Step {
        self.close_quietly(MORTAL)?;
        let hello = Hello { timeout_ms: TIMEOUT_MS, ..Hello::new(Whose::New) };
        self.connect(MORTAL, &hello, &[])?;
        let paths: Vec<_> = (0..3).map(|at| format!("{path}-{at}")).collect();
        let ops: Vec<_> = (1..).zip(&paths).map(|(xid, path)| op(xid, &create(path, 1))).collect();
        self.burst(MORTAL, &ops)?;
        self.say(MAKER, &read(OpCode::GetChildren, &self.root(), true))?;
        self.await_end(&paths[0])?;
        let said = [0, 1].map(|side: usize| self.sides[side].farewell(MORTAL));
        self.compare_farewell(Moment::Broken, &format!("{path}: its session has expired"), &said)?;
        self.connect(MORTAL, &Hello::new(Whose::Own), &[])?; // it must be invalid
        self.connect(MORTAL, &Hello::new(Whose::New), &[])
    }

    /// Waits until both have let it go, and compares what the watchers were told.
    fn await_end(&mut self, path: &str) -> Step {
        let ask = [op(0, &read(OpCode::Exists, path, false))];
        let mut said = Vec::new();
        for side in &mut *self.sides {
            let heard = until_gone(side, &ask);
            said.push(heard.ok_or_else(|| Difference(format!("{}: {path} stays", side.name)))?);
        }
        self.compare(ASKER, &ask, &said[0], &said[1])?;
        for slot in [MAKER, WATCHER] {
            let look = [op(0, &read(OpCode::Exists, "/", false))];
            let mut said = Vec::new();
            for side in &mut *self.sides {
                side.send(slot, &look);
                said.push(in_order(side.listen(slot, &look, &mut Vec::new())));
            }
            self.compare(slot, &look, &said[0], &said[1])?;
        }
        Ok(())
    }

    fn say(&mut self, slot: usize, request: &Request<'_>) -> Step {
        self.burst(slot, &[op(1, request)])
    }
}

/// The events that came, and the answer that there is no such node.
fn until_gone(side: &mut Side, ask: &[Op]) -> Option<Vec<Said>> {
    let mut all = Vec::new();
    let is_gone = wait_for(PATIENCE, || {
        side.send(ASKER, ask);
        let said = side.listen(ASKER, ask, &mut Vec::new());
        let is_there = matches!(said.last(), Some(Said::Reply { err: 0, .. }));
        all.extend(said.into_iter().filter(|it| !is_there || matches!(it, Said::Event { .. })));
        !is_there
    });
    is_gone.then(|| in_order(all))
}

/// Ephemerals of a session go in any order.
fn in_order(mut said: Vec<Said>) -> Vec<Said> {
    let is_event = |it: &Said| matches!(it, Said::Event { .. });
    for run in said.chunk_by_mut(|one, other| is_event(one) && is_event(other)) {
        run.sort_by_key(Said::text);
    }
    said
}

fn op(xid: i32, request: &Request<'_>) -> Op {
    Op { xid, ..Op::new(request) }
}

fn read(op: OpCode, path: &str, watch: bool) -> Request<'static> {
    Request::Read(Read { op, path: path.to_owned().into(), watch })
}

fn create(path: &str, flags: i32) -> Request<'static> {
    let (op, ttl) = match flags {
        CONTAINER => (OpCode::CreateContainer, -1),
        TTL => (OpCode::CreateTtl, 1),
        _ => (OpCode::Create, -1),
    };
    let acl = vec![Acl::anyone(31)];
    Request::Create(Create { op, path: path.to_owned().into(), data: None, acl, flags, ttl })
}
