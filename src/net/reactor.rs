//! skeleton
#![allow(
    dead_code,
    unused_variables,
    clippy::unused_self,
    clippy::needless_pass_by_value,
    clippy::ptr_arg,
    reason = "skeleton"
)]
use std::marker::PhantomData;
use std::time::Duration;

use super::error::TaskRun;
use super::{
    Close, ConnectionId, Counters, Event, Features, Listener, ListenerId, NetError, Options, Waker,
};

/// One thread's sockets.
pub struct Reactor {
    waker: Waker,
    not_send: PhantomData<*const ()>,
}

impl Reactor {
    /// Sets up a ring for the calling thread.
    pub fn new(options: Options) -> Result<Self, NetError> {
        Ok(Self { waker: Waker::new()?, not_send: PhantomData })
    }
    /// What is in use, for the log.
    pub fn features(&self) -> Features {
        Features { task_run: TaskRun::Deferred }
    }
    /// For other threads.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
    /// Accepts from `listener` from the next turn on.
    pub fn listen(&mut self, listener: Listener) -> Result<ListenerId, NetError> {
        Ok(ListenerId(0))
    }
    /// Stops accepting and closes the listener.
    pub fn unlisten(&mut self, id: ListenerId) {}
    /// One turn.
    pub fn turn(
        &mut self,
        timeout: Option<Duration>,
        events: &mut Vec<Event>,
    ) -> Result<(), NetError> {
        self.turn_unless(timeout, || false, events)
    }
    /// As `turn`, but does not wait if `ready` says so after others were told that this thread sleeps.
    pub fn turn_unless(
        &mut self,
        timeout: Option<Duration>,
        ready: impl FnOnce() -> bool,
        events: &mut Vec<Event>,
    ) -> Result<(), NetError> {
        Ok(())
    }
    /// Received and not yet consumed.
    pub fn input(&self, id: ConnectionId) -> &[u8] {
        &[]
    }
    /// Forgets the first `bytes` of the input.
    pub fn consume(&mut self, id: ConnectionId, bytes: usize) {}
    /// Append here what shall be sent; `None` once closed.
    pub fn outbox(&mut self, id: ConnectionId) -> Option<&mut Vec<u8>> {
        None
    }
    /// Bytes not yet taken by the kernel.
    pub fn outbox_bytes(&self, id: ConnectionId) -> usize {
        0
    }
    /// Stops receiving.
    pub fn pause(&mut self, id: ConnectionId) {}
    /// Receives again.
    pub fn resume(&mut self, id: ConnectionId) {}
    /// Ends a connection.
    pub fn close(&mut self, id: ConnectionId, how: Close) {}
    /// What was done so far.
    pub fn counters(&self) -> Counters {
        Counters::default()
    }
}
