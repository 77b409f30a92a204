//! One seed: the same story told to both servers, and what they said compared step by step.

use std::fmt::Write as _;

use ringkeeper::wire::request::{Read, Request};
use ringkeeper::wire::{Acl, OpCode};

use crate::accepted::{ACCEPTED, Moment};
use crate::canon::Said;
use crate::generate::Generator;
use crate::op::Op;
use crate::side::{Hello, Side, Slot, Whose};
use crate::support::Server;

/// The slot of the super user, who opens and closes the run.
const KEEPER: usize = 0;
const CLIENTS: usize = 4;
/// Where a connection waits for the server to close it.
const GRAVE: usize = CLIENTS + 1;

const BURST_OPS_MAX: usize = 24;
const DUMP_OPS_MAX: usize = 60;

/// Why a run ended before its last operation.
#[derive(Debug)]
pub struct Difference(pub String);

/// Both servers, and the state of a run.
#[derive(Debug)]
pub struct Run<'a> {
    pub sides: &'a mut [Side; 2],
    generator: Generator,
    xids: [i32; GRAVE + 1],
    /// Whether the slot's session lives.
    alive: [bool; GRAVE + 1],
    pub ops: u64,
    pub accepted: Vec<u64>,
    /// Differences so far; at `found_max` the run ends.
    pub found: Vec<Difference>,
    pub found_max: usize,
}

pub type Step = Result<(), Difference>;

impl<'a> Run<'a> {
    pub fn new(sides: &'a mut [Side; 2], seed: u64, enforced: bool) -> Self {
        let mut generator = Generator::new(seed);
        generator.enforced = enforced;
        Self {
            sides,
            generator,
            xids: [0; GRAVE + 1],
            alive: [false; GRAVE + 1],
            ops: 0,
            accepted: vec![0; ACCEPTED.len()],
            found: Vec::new(),
            found_max: 1,
        }
    }

    /// The whole story: `ops` random operations, then the whole tree, then everything is removed.
    pub fn play(&mut self, ops: u64, restarts: u64) -> Step {
        self.begin()?;
        let mut next_restart = if restarts == 0 { u64::MAX } else { ops / (restarts + 1) };
        while self.ops < ops {
            if self.ops >= next_restart {
                self.restart()?;
                next_restart = next_restart.saturating_add(ops / (restarts + 1));
            }
            self.turn()?;
        }
        self.finish()
    }

    pub fn begin(&mut self) -> Step {
        for side in &mut *self.sides {
            side.slots = (0..=GRAVE).map(|_| Slot::default()).collect();
            side.names.begin(0, 0);
            side.connect(KEEPER, &Hello::new(Whose::New), &[]);
            side.send(KEEPER, &[Op { xid: -2, ..Op::new(&Request::Ping) }]);
            side.last_zxid = 0;
            side.listen(KEEPER, &[Op::new(&Request::Ping)], &mut Vec::new());
            let (base, session) = (side.last_zxid, side.slots[KEEPER].session);
            side.names.begin(base, side.started);
            side.names.session(session);
        }
        self.alive[KEEPER] = true;
        self.authorize()?;
        let path = self.generator.root().to_owned();
        let create = crate::support::client::create(&path, b"root", 0);
        self.burst(KEEPER, &[Op::new(&create)])?;
        for slot in 1..=CLIENTS {
            self.connect(slot, &Hello::new(Whose::New), &[])?;
        }
        Ok(())
    }

    fn authorize(&mut self) -> Step {
        let auth = Request::Auth { scheme: Some("digest".into()), auth: Some(b"super:test") };
        self.burst(KEEPER, &[Op { xid: -4, ..Op::new(&auth) }])
    }

    /// The node below which everything happens.
    pub fn root(&self) -> String {
        self.generator.root().to_owned()
    }

    /// One random action.
    fn turn(&mut self) -> Step {
        let slot = 1 + self.generator.random.below(CLIENTS);
        if self.sides[0].slots[slot].connection.is_none() {
            let whose = if self.alive[slot] { Whose::Own } else { Whose::New };
            let behind =
                if self.generator.random.one_in(3) { self.some_ops(slot, 3) } else { Vec::new() };
            return self.connect(slot, &Hello::new(whose), &behind);
        }
        match self.generator.random.below(400) {
            0..4 => self.close(slot),
            4..10 => self.drop_connection(slot),
            10..14 => self.takeover(slot, &Hello::new(Whose::Own)),
            14 => self.takeover(slot, &Hello { right_password: false, ..Hello::new(Whose::Own) }),
            15 => self.strange_hello(),
            16 => self.broken_frame(slot),
            17..24 => self.burst(KEEPER, &[Op { xid: -2, ..Op::new(&Request::Ping) }]),
            _ => {
                let most = 1 + self.generator.random.below(BURST_OPS_MAX);
                let ops = self.some_ops(slot, most);
                self.burst(slot, &ops)
            }
        }
    }

    /// At most `most` operations that can go out together.
    fn some_ops(&mut self, slot: usize, most: usize) -> Vec<Op> {
        self.generator.elapsed_zxids = self.sides[0].last_zxid - self.sides[0].names.base;
        let mut ops = Vec::new();
        while ops.len() < most {
            let op = self.generator.op(&mut self.xids[slot]);
            if op.alone {
                if ops.is_empty() {
                    ops.push(op);
                }
                break;
            }
            let last = op.last;
            ops.push(op);
            if last {
                break;
            }
        }
        ops
    }

    /// Sends a burst on one connection to both, and compares what comes back.
    pub fn burst(&mut self, slot: usize, ops: &[Op]) -> Step {
        for side in &mut *self.sides {
            side.send(slot, ops);
        }
        self.answers(slot, ops)
    }

    fn answers(&mut self, slot: usize, ops: &[Op]) -> Step {
        let mut saw = Vec::new();
        let [left, right] = &mut *self.sides;
        let left = left.listen(slot, ops, &mut saw);
        let right = right.listen(slot, ops, &mut Vec::new());
        for path in saw {
            self.generator.saw(&path);
        }
        self.ops += ops.len() as u64;
        self.compare(slot, ops, &left, &right)
    }

    pub fn connect(&mut self, slot: usize, hello: &Hello, behind: &[Op]) -> Step {
        let said = [0, 1].map(|side: usize| self.sides[side].connect(slot, hello, behind));
        self.ops += 1;
        self.compare_connect(slot, hello, &said)?;
        if self.sides[0].slots[slot].connection.is_some() {
            self.alive[slot] = true;
            if !behind.is_empty() {
                return self.answers(slot, behind);
            }
        }
        Ok(())
    }

    /// closeSession; the slot gets a new session later.
    fn close(&mut self, slot: usize) -> Step {
        self.xids[slot] += 1;
        let op = Op { xid: self.xids[slot], ..Op::new(&Request::CloseSession) };
        self.alive[slot] = false;
        self.burst(slot, &[op])?;
        if self.generator.random.one_in(4) {
            return self.connect(slot, &Hello::new(Whose::Own), &[]); // it must be invalid
        }
        Ok(())
    }

    fn drop_connection(&mut self, slot: usize) -> Step {
        for side in &mut *self.sides {
            side.slots[slot].connection = None;
        }
        let seen = [None, Some(0), Some(1_000_000)];
        let seen = *self.generator.random.pick(&seen);
        self.connect(slot, &Hello { seen, ..Hello::new(Whose::Own) }, &[])
    }

    /// Re-attaches while the old connection stands: the server must close that one.
    fn takeover(&mut self, slot: usize, hello: &Hello) -> Step {
        for side in &mut *self.sides {
            let old = side.slots[slot].connection.take();
            side.slots[GRAVE].connection = old;
        }
        self.connect(slot, hello, &[])?;
        let said = [0, 1].map(|side: usize| self.sides[side].farewell(GRAVE));
        let what = format!("slot {slot}: the connection that was taken over with {hello:?}");
        self.compare_farewell(Moment::TakenOver, &what, &said)
    }

    /// A connection that asks oddly, and is closed again.
    fn strange_hello(&mut self) -> Step {
        let random = &mut self.generator.random;
        let hello = Hello {
            timeout_ms: *random.pick(&[0, -1, 1, 3999, 4000, 39_999, 40_000, i32::MAX, i32::MIN]),
            session: *random.pick(&[Whose::New, Whose::New, Whose::Nobody]),
            right_password: random.one_in(2),
            read_only: *random.pick(&[None, Some(false), Some(true)]),
            seen: *random.pick(&[None, None, Some(0), Some(1), Some(i64::MAX / 2)]),
            protocol: *random.pick(&[0, 7, -1]),
        };
        self.connect(GRAVE, &hello, &[])?;
        if self.sides[0].slots[GRAVE].connection.is_some() {
            self.close_quietly(GRAVE)?;
        }
        Ok(())
    }

    pub fn close_quietly(&mut self, slot: usize) -> Step {
        self.xids[slot] += 1;
        let op = Op { xid: self.xids[slot], ..Op::new(&Request::CloseSession) };
        self.alive[slot] = false;
        self.burst(slot, &[op])
    }

    /// A frame that cannot be: the connection ends, the session does not.
    fn broken_frame(&mut self, slot: usize) -> Step {
        let frames: [&[u8]; 6] = [
            &[0; 4],
            &[0, 0, 0, 4, 0, 0, 0, 1],
            &[0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0],
            &[0xff; 4],
            &[0, 0x10, 0, 0],
            &[0x7f, 0xff, 0xff, 0xff],
        ];
        let bytes = *self.generator.random.pick(&frames);
        for side in &mut *self.sides {
            if let Some(connection) = &mut side.slots[slot].connection {
                let _ = connection.send(bytes);
            }
        }
        let said = [0, 1].map(|side: usize| self.sides[side].farewell(slot));
        let what = format!("slot {slot}: after the frame {bytes:?}");
        self.compare_farewell(Moment::Broken, &what, &said)
    }

    /// Both servers stop, in order or by SIGKILL, and start again on the files of one of them.
    ///
    /// The same files, because what a quota has used is counted anew from a snapshot that is
    /// loaded, and when snapshots are taken is chance: Java differs from Java on files of its own.
    /// (Java on its own fuzzy snapshots also counts digest mismatches, so that is asked of ours.)
    fn restart(&mut self) -> Step {
        let kill = self.generator.random.one_in(2);
        let giver = self.generator.random.below(2);
        for side in &mut *self.sides {
            for slot in &mut side.slots {
                slot.connection = None;
            }
            let Some(server) = &mut side.server else { return Ok(()) };
            let stopped = if kill { server.kill() } else { server.stop() };
            stopped.map_err(|err| Difference(format!("stop of {}: {err}", side.name)))?;
        }
        let [left, right] = &mut *self.sides;
        let (giver, taker) = if giver == 0 { (left, right) } else { (right, left) };
        let giver_name = giver.name.clone();
        let taken = taker.take_over(giver);
        taken.map_err(|err| Difference(format!("{} to {}: {err}", giver.name, taker.name)))?;
        for side in &mut *self.sides {
            let started = side.server.as_mut().map_or(Ok(()), Server::launch);
            started.map_err(|err| Difference(format!("restart of {}: {err}", side.name)))?;
            if !giver_name.starts_with("java") {
                side.no_digest_mismatch().map_err(Difference)?;
            }
        }
        self.connect(KEEPER, &Hello::new(Whose::Own), &[])?;
        self.authorize()
    }

    /// Ends the sessions, compares the whole trees, and removes what the run made.
    pub fn finish(&mut self) -> Step {
        for slot in 1..=CLIENTS {
            if self.alive[slot] {
                if self.sides[0].slots[slot].connection.is_none() {
                    self.connect(slot, &Hello::new(Whose::Own), &[])?;
                }
                self.close_quietly(slot)?;
            }
        }
        let all = self.compare_trees()?;
        let mut ops = Vec::new();
        for path in ["/", "/zookeeper", "/zookeeper/quota"] {
            let acl = vec![Acl::anyone(31)];
            ops.push(Op::new(&Request::SetAcl { path: path.into(), acl, version: -1 }));
        }
        for path in all.iter().rev().filter(|path| !is_system(path)) {
            ops.push(Op::new(&Request::Delete { path: path.into(), version: -1 }));
        }
        for chunk in ops.chunks(DUMP_OPS_MAX) {
            let chunk: Vec<_> = chunk.iter().map(|op| Op { xid: 1, ..op.clone() }).collect();
            self.burst(KEEPER, &chunk)?;
        }
        self.close_quietly(KEEPER)
    }

    /// Every node's data, stat and ACL; returns the paths, parents first.
    fn compare_trees(&mut self) -> Result<Vec<String>, Difference> {
        let mut all = Vec::new();
        let mut level = vec!["/".to_owned()];
        while !level.is_empty() {
            let mut ops = Vec::new();
            for path in &level {
                for op in [OpCode::GetChildren2, OpCode::GetData] {
                    ops.push(Op::new(&Request::Read(Read { op, path: path.into(), watch: false })));
                }
                ops.push(Op::new(&Request::GetAcl { path: path.into() }));
            }
            all.append(&mut level);
            for chunk in ops.chunks(DUMP_OPS_MAX) {
                let mut saw = Vec::new();
                for side in &mut *self.sides {
                    side.send(KEEPER, chunk);
                }
                let [left, right] = &mut *self.sides;
                let left = left.listen(KEEPER, chunk, &mut saw);
                let right = right.listen(KEEPER, chunk, &mut Vec::new());
                self.compare(KEEPER, chunk, &left, &right)?;
                level.append(&mut saw);
            }
        }
        Ok(all)
    }

    fn compare_connect(&mut self, slot: usize, hello: &Hello, said: &[Said; 2]) -> Step {
        if said[0] == said[1] {
            return Ok(());
        }
        Err(self.difference(&format!("slot {slot} connects with {hello:?}"), &said[0], &said[1]))
    }

    pub fn compare_farewell(
        &mut self,
        when: Moment<'_>,
        what: &str,
        said: &[Vec<Said>; 2],
    ) -> Step {
        for at in 0..said[0].len().max(said[1].len()) {
            let [left, right] =
                [0, 1].map(|side: usize| said[side].get(at).unwrap_or(&Said::Closed));
            if left.text() != right.text() && !self.is_accepted(when, left, right) {
                return Err(self.difference(what, left, right));
            }
        }
        Ok(())
    }

    pub fn compare(&mut self, slot: usize, ops: &[Op], left: &[Said], right: &[Said]) -> Step {
        let mut answered = 0;
        for at in 0..left.len().max(right.len()) {
            let silent = Said::Nothing;
            let (l, r) = (left.get(at).unwrap_or(&silent), right.get(at).unwrap_or(&silent));
            let op = ops.get(answered);
            let moment = op.map_or(Moment::Behind, Moment::Answer);
            if l.text() != r.text() && !self.is_accepted(moment, l, r) {
                let what = op.map_or_else(|| "after all replies".to_owned(), Op::describe);
                let mut context = format!("slot {slot}: {what}\n  burst of {}:", ops.len());
                for op in ops.iter().take(answered).skip(answered.saturating_sub(4)) {
                    let _ = write!(context, "\n    before: {}", op.describe());
                }
                let difference = self.difference(&context, l, r);
                self.found.push(difference);
                if self.found.len() >= self.found_max || self.parted(slot) {
                    let last = self.found.pop();
                    return Err(last.expect("pushed above"));
                }
            }
            answered += usize::from(matches!(l, Said::Reply { .. }));
        }
        Ok(())
    }

    /// Whether only one of the two still has the connection: nothing more can be compared.
    fn parted(&self, slot: usize) -> bool {
        let [left, right] = &*self.sides;
        left.slots[slot].connection.is_some() != right.slots[slot].connection.is_some()
    }

    fn is_accepted(&mut self, moment: Moment<'_>, left: &Said, right: &Said) -> bool {
        let found = ACCEPTED.iter().position(|accepted| (accepted.is)(moment, left, right));
        if let Some(at) = found {
            self.accepted[at] += 1;
        }
        found.is_some()
    }

    fn difference(&self, context: &str, left: &Said, right: &Said) -> Difference {
        let (left_name, right_name) = (&self.sides[0].name, &self.sides[1].name);
        let width = left_name.len().max(right_name.len());
        Difference(format!(
            "operation {} {context}\n  {left_name:width$}: {}\n  {right_name:width$}: {}",
            self.ops,
            left.text(),
            right.text()
        ))
    }
}

fn is_system(path: &str) -> bool {
    matches!(path, "/" | "/zookeeper" | "/zookeeper/quota" | "/zookeeper/config")
}
