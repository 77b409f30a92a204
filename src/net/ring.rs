//! One `io_uring`: operations in, completions out.
//!
//! Thread: the reactor's, which made it. Owns all memory that the kernel is using: receive buffers,
//! the bytes of each send from `send` until its completion hands them back, the address of each
//! connect. So no order of
//! calls to this file can make the kernel read or write memory that is someone else's. A descriptor
//! passed in must stay open until the operation's last completion; that is the caller's part, and a
//! mistake would reach the wrong file but no memory.
//! INVARIANT: `in_flight` counts the operations whose last completion was not reaped.

#![expect(unsafe_code, reason = "submission entries carry addresses")]

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{SendFlags, SocketAddrAny, SocketFlags};
use slab::Slab;

use super::buffer::{Buffers, Lent};
use super::error::{Features, NetError, Obstacle, TaskRun};
use super::{Options, slot_key};

/// The one group of receive buffers.
const GROUP: u16 = 0;

/// Completions that fit before the kernel has to keep them elsewhere, per submission entry.
const COMPLETIONS_PER_ENTRY: u32 = 4;

/// How often in vain, and for how long each time, the end of a ring waits for its operations.
const QUIESCE_TRIES: u32 = 20;
const QUIESCE_WAIT: Duration = Duration::from_millis(100);

/// What an operation was for; in the high byte of its user data, a key in the low half.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Kind {
    Wake,
    Accept,
    Receive,
    /// The key is a place in `sends`.
    Send,
    Cancel,
    Connect,
}

impl Kind {
    fn user_data(self, key: u32) -> u64 {
        u64::from(self as u8) << 56 | u64::from(key)
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes the halves apart")]
    fn of(user_data: u64) -> (Self, u32) {
        let kind = match user_data >> 56 {
            0 => Self::Wake,
            1 => Self::Accept,
            2 => Self::Receive,
            3 => Self::Send,
            4 => Self::Cancel,
            5 => Self::Connect,
            _ => unreachable!("the kernel returns user data as it was given"),
        };
        (kind, user_data as u32)
    }
}

/// What became of an operation; `more` says that it goes on and will be heard of again.
#[derive(Debug)]
pub(super) enum Completion {
    Woken {
        more: bool,
    },
    Accepted {
        key: u32,
        result: Result<OwnedFd, Errno>,
        more: bool,
    },
    /// `None` is the end of input.
    Received {
        key: u32,
        result: Result<Option<Lent>, Errno>,
        more: bool,
    },
    /// `bytes` from `from` on were to be sent; the result says how many of these were.
    Sent {
        key: u32,
        bytes: Vec<u8>,
        from: usize,
        result: Result<usize, Errno>,
    },
    Cancelled {
        key: u32,
    },
    Connected {
        key: u32,
        result: Result<(), Errno>,
    },
}

/// Names a send in flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SendKey(u32);

/// Bytes that the kernel reads.
#[derive(Debug)]
struct Sending {
    key: u32,
    bytes: Vec<u8>,
    from: usize,
}

/// One `io_uring` and the memory it uses.
pub(super) struct Ring {
    /// First, so that it is closed before the memory below goes.
    io: IoUring,
    buffers: Buffers,
    sends: Slab<Sending>,
    /// Where each connection that is being made goes.
    dialed: HashMap<u32, Box<SocketAddrAny>>,
    /// Entries that found the submission queue full; they go first next time.
    waiting: VecDeque<squeue::Entry>,
    in_flight: usize,
    /// Sends queued since the last submission: they complete at once as a rule.
    sends_queued: usize,
    task_run: TaskRun,
    enters: u64,
    completions: u64,
}

impl Ring {
    /// Sets up a ring for this thread, with what this kernel offers.
    pub(super) fn new(options: &Options) -> Result<Self, NetError> {
        let (io, task_run) = set_up(options.ring_entries)?;
        probe(&io)?;
        let unavailable = |error| NetError::Unavailable(Obstacle::diagnose(error));
        let buffers = Buffers::new(options.buffers, options.buffer_bytes).map_err(unavailable)?;
        let (address, count) = buffers.registration();
        // SAFETY: the entries stay mapped until `Drop` has seen the last operation complete, or for
        // ever.
        unsafe { io.submitter().register_buf_ring_with_flags(address, count, GROUP, 0) }
            .map_err(|error| unavailable(errno(&error)))?;
        Ok(Self {
            io,
            buffers,
            sends: Slab::new(),
            dialed: HashMap::new(),
            waiting: VecDeque::new(),
            in_flight: 0,
            sends_queued: 0,
            task_run,
            enters: 0,
            completions: 0,
        })
    }

    pub(super) fn features(&self) -> Features {
        Features { task_run: self.task_run }
    }

    /// System calls made, and completions reaped.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.enters, self.completions)
    }

    /// Reports each write to the eventfd `fd`.
    pub(super) fn poll(&mut self, fd: BorrowedFd<'_>) {
        let events = u32::from(PollFlags::IN.bits());
        let entry = opcode::PollAdd::new(raw(fd), events).multi(true).build();
        self.push(entry, Kind::Wake, 0);
    }

    /// Accepts connections until told otherwise.
    pub(super) fn accept(&mut self, fd: BorrowedFd<'_>, key: u32) {
        let flags = flag_bits(SocketFlags::CLOEXEC.bits());
        let entry = opcode::AcceptMulti::new(raw(fd)).flags(flags).build();
        self.push(entry, Kind::Accept, key);
    }

    /// Connects the socket of connection `key`, once.
    pub(super) fn connect(&mut self, fd: BorrowedFd<'_>, key: u32, to: SocketAddr) {
        let address = Box::new(to.as_any());
        // The address stays good until the completion: `dialed` owns it, nothing reaches into it,
        // and moving a box does not move what it points to.
        let entry = opcode::Connect::new(raw(fd), address.as_ptr().cast(), address.addr_len());
        let before = self.dialed.insert(key, address);
        assert!(before.is_none(), "a slot is not reused before its connect has ended");
        self.push(entry.build(), Kind::Connect, key);
    }

    /// Receives until told otherwise.
    pub(super) fn receive(&mut self, fd: BorrowedFd<'_>, key: u32) {
        let entry = opcode::RecvMulti::new(raw(fd), GROUP).build();
        self.push(entry, Kind::Receive, key);
    }

    /// Sends `bytes` from `from` on, or as much of it as the socket takes; hands them back when
    /// done. What it returns names the send, to cancel it.
    pub(super) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        key: u32,
        bytes: Vec<u8>,
        from: usize,
    ) -> SendKey {
        let slot = self.sends.insert(Sending { key, bytes, from });
        let rest = &self.sends[slot].bytes[from..];
        let len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let flags = flag_bits(SendFlags::NOSIGNAL.bits());
        // The address stays good until the completion: `sends` owns the bytes, nothing reaches into
        // it, and moving a vector does not move what it points to.
        let entry = opcode::Send::new(raw(fd), rest.as_ptr(), len).flags(flags).build();
        self.sends_queued += 1;
        let send = SendKey(slot_key(slot));
        self.push(entry, Kind::Send, send.0);
        send
    }

    /// Ends the receive of connection `key`. By user data, by which the kernel finds it at once; by
    /// descriptor it would look at all operations, and closing many connections would be quadratic.
    pub(super) fn cancel_receive(&mut self, key: u32) {
        let entry = opcode::AsyncCancel::new(Kind::Receive.user_data(key)).build();
        self.push(entry, Kind::Cancel, key);
    }

    /// Ends the accept of listener `key`; nothing is reported but the end of the accept.
    pub(super) fn cancel_accept(&mut self, key: u32) {
        let entry = opcode::AsyncCancel::new(Kind::Accept.user_data(key)).build();
        self.push(entry, Kind::Cancel, u32::MAX);
    }

    /// Ends the connect of connection `key`.
    pub(super) fn cancel_connect(&mut self, key: u32) {
        let entry = opcode::AsyncCancel::new(Kind::Connect.user_data(key)).build();
        self.push(entry, Kind::Cancel, key);
    }

    /// Ends a send of connection `key`.
    pub(super) fn cancel_send(&mut self, key: u32, send: SendKey) {
        let entry = opcode::AsyncCancel::new(Kind::Send.user_data(send.0)).build();
        self.push(entry, Kind::Cancel, key);
    }

    pub(super) fn bytes(&self, lent: &Lent) -> &[u8] {
        self.buffers.bytes(lent)
    }

    pub(super) fn give_back(&mut self, lent: Lent) {
        self.buffers.give_back(lent);
    }

    /// Whether sends are queued, for which nobody should wait.
    pub(super) fn has_sends(&self) -> bool {
        self.sends_queued > 0
    }

    /// Submits what is queued, without waiting; no system call if there is nothing to submit or
    /// reap.
    pub(super) fn submit(&mut self) -> Result<(), NetError> {
        self.refill();
        let queue = self.io.submission();
        if queue.is_empty() && !queue.taskrun() && !queue.cq_overflow() {
            return Ok(());
        }
        drop(queue);
        self.enter(0, None)
    }

    /// Submits what is queued and waits for a completion, at most for `timeout`.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> Result<(), NetError> {
        self.refill();
        if self.io.completion().is_empty() { self.enter(1, timeout) } else { self.submit() }
    }

    /// Whether there is a completion, or one that the kernel keeps until it is asked.
    pub(super) fn has_news(&mut self) -> bool {
        !self.io.completion().is_empty() || self.io.submission().taskrun()
    }

    /// Takes the completions that are there.
    pub(super) fn reap(&mut self, into: &mut Vec<Completion>) {
        let Self { io, buffers, sends, dialed, in_flight, completions, .. } = self;
        for entry in io.completion() {
            *completions += 1;
            let more = cqueue::more(entry.flags());
            *in_flight -= usize::from(!more);
            into.push(completion(buffers, sends, dialed, &entry, more));
        }
    }

    fn push(&mut self, entry: squeue::Entry, kind: Kind, key: u32) {
        let entry = entry.user_data(kind.user_data(key));
        self.in_flight += 1;
        if self.waiting.is_empty() && self.offer(&entry) {
            return;
        }
        // A failure here shows again, and is reported, at the next `submit` or `wait`.
        let _ = self.submit();
        if !self.waiting.is_empty() || !self.offer(&entry) {
            self.waiting.push_back(entry);
        }
    }

    fn offer(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: all entries are built in this file. What they point to (the bytes of a send, the
        // address of a connect) is owned by `self` until the completion; descriptors are plain
        // numbers to the memory's safety.
        unsafe { self.io.submission().push(entry) }.is_ok()
    }

    fn refill(&mut self) {
        while let Some(entry) = self.waiting.pop_front() {
            if !self.offer(&entry) {
                self.waiting.push_front(entry);
                return;
            }
        }
    }

    fn enter(&mut self, want: usize, timeout: Option<Duration>) -> Result<(), NetError> {
        self.enters += 1;
        self.sends_queued = 0;
        let time = timeout.map(Timespec::from);
        let args = SubmitArgs::new();
        let result = match &time {
            Some(time) => self.io.submitter().submit_with_args(want, &args.timespec(time)),
            None => self.io.submitter().submit_with_args(want, &args),
        };
        match result.map_err(|error| errno(&error)) {
            // The time is over; a signal came; completions must be reaped before more is submitted.
            Ok(_) | Err(Errno::TIME | Errno::INTR | Errno::BUSY | Errno::AGAIN) => Ok(()),
            Err(error) => Err(NetError::Call { name: "io_uring_enter", error: error.into() }),
        }
    }

    /// Ends the reports of `poll`.
    pub(super) fn cancel_poll(&mut self) {
        let entry = opcode::AsyncCancel::new(Kind::Wake.user_data(0)).build();
        self.push(entry, Kind::Cancel, u32::MAX);
    }

    /// Waits until all operations have ended; whether they have. The reactor has cancelled them,
    /// one by one: the kernel takes quadratic time for a cancellation of all, so that comes only if
    /// one was forgotten.
    fn quiesce(&mut self) -> bool {
        let mut ended = Vec::new();
        let mut tries = QUIESCE_TRIES;
        while self.in_flight > 0 {
            let before = self.in_flight;
            if tries == 0 || self.wait(Some(QUIESCE_WAIT)).is_err() {
                return false;
            }
            self.reap(&mut ended);
            ended.clear(); // closes what was accepted in the meantime
            if self.in_flight == before {
                tries -= 1;
                let all = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
                self.push(all, Kind::Cancel, u32::MAX);
            }
        }
        true
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.quiesce() {
            // The kernel may still use the memory: better lost than written to by it.
            self.buffers.leak();
            mem::forget(mem::take(&mut self.sends));
            mem::forget(mem::take(&mut self.dialed));
        }
    }
}

fn completion(
    buffers: &mut Buffers,
    sends: &mut Slab<Sending>,
    dialed: &mut HashMap<u32, Box<SocketAddrAny>>,
    entry: &cqueue::Entry,
    more: bool,
) -> Completion {
    let (kind, key) = Kind::of(entry.user_data());
    let result = u32::try_from(entry.result())
        .map_err(|_| Errno::from_raw_os_error(entry.result().wrapping_neg()));
    match kind {
        Kind::Wake => Completion::Woken { more },
        Kind::Accept => {
            // SAFETY: the kernel has just made this descriptor for us, and tells it once.
            let socket = result.map(|_| unsafe { OwnedFd::from_raw_fd(entry.result()) });
            Completion::Accepted { key, result: socket, more }
        }
        Kind::Receive => {
            let len = result.unwrap_or(0);
            // SAFETY: this completion is of a receive, whose group is `buffers`, and is seen once.
            let lent =
                cqueue::buffer_select(entry.flags()).map(|id| unsafe { buffers.claim(id, len) });
            Completion::Received { key, result: received(buffers, lent, result), more }
        }
        Kind::Send => {
            let Sending { key, bytes, from } = sends.remove(key as usize);
            Completion::Sent { key, bytes, from, result: result.map(|sent| sent as usize) }
        }
        Kind::Cancel => Completion::Cancelled { key },
        Kind::Connect => {
            dialed.remove(&key);
            Completion::Connected { key, result: result.map(|_| ()) }
        }
    }
}

/// Bytes come in a buffer; the end and errors do not, and if they do it is of no use.
fn received(
    buffers: &mut Buffers,
    lent: Option<Lent>,
    result: Result<u32, Errno>,
) -> Result<Option<Lent>, Errno> {
    match (lent, result?) {
        (None, 0) => Ok(None),
        (Some(lent), 0) => {
            buffers.give_back(lent);
            Ok(None)
        }
        (lent, _) => Ok(Some(lent.ok_or(Errno::IO)?)),
    }
}

/// From the least disturbing way of delivering completions to the one that all kernels know.
fn set_up(entries: u32) -> Result<(IoUring, TaskRun), NetError> {
    let mut last = Errno::INVAL;
    for task_run in [TaskRun::Deferred, TaskRun::Cooperative, TaskRun::Interrupting] {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(entries * COMPLETIONS_PER_ENTRY).setup_clamp().setup_submit_all();
        match task_run {
            TaskRun::Deferred => {
                builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
            }
            TaskRun::Cooperative => {
                builder.setup_coop_taskrun().setup_taskrun_flag();
            }
            TaskRun::Interrupting => {}
        }
        match builder.build(entries) {
            Ok(io) => return Ok((io, task_run)),
            Err(error) => last = errno(&error),
        }
        if last != Errno::INVAL {
            break;
        }
    }
    Err(NetError::Unavailable(Obstacle::diagnose(last)))
}

/// Asks for what cannot be done without.
fn probe(io: &IoUring) -> Result<(), NetError> {
    let mut probe = Probe::new();
    let too_old = |missing| NetError::Unavailable(Obstacle::TooOld { missing });
    io.submitter().register_probe(&mut probe).map_err(|_| too_old("IORING_REGISTER_PROBE"))?;
    let needed = [
        (opcode::AcceptMulti::CODE, "IORING_OP_ACCEPT"),
        (opcode::Send::CODE, "IORING_OP_SEND"),
        (opcode::Connect::CODE, "IORING_OP_CONNECT"),
        (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
        (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
        // Multishot receive cannot be probed for; this operation came with the same kernel, 6.0.
        (opcode::SendZc::CODE, "multishot receive"),
    ];
    if let Some((_, missing)) = needed.iter().find(|(code, _)| !probe.is_supported(*code)) {
        return Err(too_old(missing));
    }
    let params = io.params();
    if !params.is_feature_ext_arg() || !params.is_feature_nodrop() {
        return Err(too_old("IORING_FEAT_EXT_ARG or IORING_FEAT_NODROP"));
    }
    Ok(())
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn raw(fd: BorrowedFd<'_>) -> Fd {
    Fd(fd.as_raw_fd())
}

fn flag_bits(bits: u32) -> i32 {
    bits.cast_signed()
}
