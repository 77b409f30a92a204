//! Snapshots on their way to learners, and from a leader.
//!
//! A learner's is made by a thread of its own, piece by piece, as the socket takes them: a slow
//! learner costs memory for a few pieces, and no time here. A leader's is passed on to the storage
//! thread as fast as that makes a tree of it, and no faster; only its end is looked for here.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use crate::ids::Zxid;
use crate::limits::{
    SNAPSHOT_CHUNK_NODES, STREAM_OUTBOX_BYTES_MAX, STREAM_PIECE_BYTES, STREAM_PIECES_MAX,
};
use crate::metrics::Counter;
use crate::stage::queue::{Bell, StickyBell};
use crate::stage::shared::Shared;
use crate::stage::storage::{StorageAsk, Stream};
use crate::stage::zab::ZabStage;
use crate::tree::Tree;
use crate::tree::image::{Image, Progress, Scanner};
use crate::wire::Writer;
use crate::wire::quorum::SNAPSHOT_SIGNATURE;
use crate::zab::{Input, LinkId};

/// A snapshot on its way to a learner.
pub(in crate::stage::zab) struct Outgoing {
    /// The end is an empty one.
    pieces: Receiver<Vec<u8>>,
}

/// A snapshot on its way from the leader.
pub(in crate::stage::zab) struct Incoming {
    pub(in crate::stage::zab) link: LinkId,
    /// `None` once all of it is passed on.
    pieces: Option<SyncSender<Vec<u8>>>,
    scanner: Scanner,
}

/// What a stream brought in a turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Brought {
    Nothing,
    Bytes,
    End,
    /// Its thread has given up.
    Ruin,
}

impl ZabStage {
    /// Begins an image of the tree as it is now, and a thread that reads it.
    pub(in crate::stage::zab) fn send_snapshot(&mut self, link: LinkId) {
        let Some(member) = &mut self.member else { return };
        if member.has_lost(link) {
            return; // while this waited for the tree: an image would be read for nobody
        }
        let shared = Arc::clone(&self.parts.shared);
        let Some(image) = shared.tree.write().begin_image() else {
            tracing::warn!("too many snapshots at once; {} is let go", member.name_of(link));
            self.give_up(link);
            return;
        };
        self.recorder.add(Counter::SnapCount, 1);
        tracing::info!("Sending snapshot to {}: last zxid {}", member.name_of(link), image.zxid);
        let (sink, pieces) = sync_channel(STREAM_PIECES_MAX);
        let moved = Arc::clone(&member.moved);
        let work = move || read_image(&shared, &image, sink, &moved);
        if let Err(error) = std::thread::Builder::new().name("learner-snap".into()).spawn(work) {
            // The image stays until the tree is replaced: rare enough, and only memory.
            tracing::warn!(%error, "no thread to read a snapshot for a learner");
            self.give_up(link);
            return;
        }
        member.peers.begin_stream(link);
        member.outgoing.insert(link, Outgoing { pieces });
    }

    pub(in crate::stage::zab) fn give_up(&mut self, link: LinkId) {
        self.forget_link(link);
        self.peers(|peers, reactor| peers.close(link, reactor));
        self.step(Input::LinkDown(link));
    }

    /// The leader's snapshot goes to the storage thread.
    pub(in crate::stage::zab) fn receive_snapshot(&mut self, link: LinkId, zxid: Zxid) {
        let Some(member) = &mut self.member else { return };
        if member.has_lost(link) {
            // While this waited for the tree: nobody would end the stream a second time.
            self.step(Input::NotRebuilt);
            return;
        }
        let (sink, pieces) = sync_channel(STREAM_PIECES_MAX);
        let scanner = Scanner::default();
        member.incoming = Some(Incoming { link, pieces: Some(sink), scanner });
        let stream = Stream { zxid, pieces, moved: Arc::clone(&member.moved) };
        self.set_rebuilding(true);
        self.ask_storage(StorageAsk::Receive(stream));
    }

    /// Moves what can be moved.
    pub(in crate::stage::zab) fn pump_streams(&mut self) {
        let Some(member) = &self.member else { return };
        member.moved.answer();
        let outgoing: Vec<_> = member.outgoing.keys().copied().collect();
        for link in outgoing {
            self.pump_out(link);
        }
        self.pump_in();
    }

    fn pump_out(&mut self, link: LinkId) {
        let Some(member) = &mut self.member else { return };
        let reactor = &mut self.parts.reactor;
        let mut brought = Brought::Nothing;
        while let Some(stream) = member.outgoing.get(&link)
            && member.peers.stream_outbox_bytes(link, reactor) < STREAM_OUTBOX_BYTES_MAX
        {
            match stream.pieces.try_recv() {
                Ok(piece) if piece.is_empty() => {
                    brought = Brought::End;
                    break;
                }
                Ok(piece) => {
                    member.peers.send_bytes(link, &piece, reactor);
                    brought = Brought::Bytes;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    brought = Brought::Ruin;
                    break;
                }
            }
        }
        match brought {
            Brought::Nothing => {}
            Brought::Bytes => self.step(Input::SnapshotMoved(link)),
            Brought::End => {
                member.outgoing.remove(&link);
                member.peers.end_stream(link, reactor);
                self.step(Input::SnapshotMoved(link));
            }
            Brought::Ruin => self.give_up(link),
        }
    }

    fn pump_in(&mut self) {
        let Some(member) = &mut self.member else { return };
        let Some(incoming) = &mut member.incoming else { return };
        let (link, reactor) = (incoming.link, &mut self.parts.reactor);
        let mut has_moved = false;
        while let Some(sink) = &incoming.pieces {
            let bytes = member.peers.stream_bytes(link, reactor);
            let bytes = &bytes[..bytes.len().min(STREAM_PIECE_BYTES)];
            if bytes.is_empty() {
                break;
            }
            let mut scanner = incoming.scanner.clone();
            let taken = scanner.scan(bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, "what the leader sends is no snapshot");
                bytes.len()
            });
            match sink.try_send(bytes[..taken].to_vec()) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => break, // the storage thread wakes this one
                // It has found the stream unusable and says so itself.
                Err(TrySendError::Disconnected(_)) => {
                    incoming.pieces = None;
                    break;
                }
            }
            has_moved = true;
            member.peers.consume(link, taken, reactor);
            if scanner.is_done() {
                incoming.pieces = None;
                member.peers.end_intake(link);
            }
            incoming.scanner = scanner;
        }
        if has_moved {
            self.step(Input::SnapshotMoved(link));
        }
    }

    /// What the storage thread has made takes the tree's place. Returns where it ends.
    pub(in crate::stage::zab) fn replace_tree(&mut self, mut tree: Box<Tree>) -> Zxid {
        let last = tree.last_zxid();
        if let Some(member) = &mut self.member {
            member.incoming = None;
        }
        let shared = Arc::clone(&self.parts.shared);
        {
            let mut served = shared.tree.write();
            tree.succeed(&served);
            std::mem::swap(&mut *served, &mut *tree);
        }
        self.mismatches = 0;
        self.parts.durable.store(last.0, std::sync::atomic::Ordering::Release);
        self.chores.durable_seen = last;
        self.ask_storage(StorageAsk::Drop(tree));
        last
    }
}

/// Reads all of an image, and its signature; ends early when nobody takes it any more.
fn read_image(shared: &Shared, image: &Image, sink: SyncSender<Vec<u8>>, moved: &StickyBell) {
    let mut piece = Vec::with_capacity(2 * STREAM_PIECE_BYTES);
    image.encode_tables(&mut piece);
    let mut walker = image.walker();
    let mut progress = Progress::More;
    while progress == Progress::More {
        while progress == Progress::More && piece.len() < STREAM_PIECE_BYTES {
            let tree = shared.tree.read();
            progress = walker.append(&tree, &mut piece, SNAPSHOT_CHUNK_NODES, STREAM_PIECE_BYTES);
        }
        if progress == Progress::Done {
            Writer::new(&mut piece).string(SNAPSHOT_SIGNATURE);
        }
        let full = std::mem::replace(&mut piece, Vec::with_capacity(2 * STREAM_PIECE_BYTES));
        if progress == Progress::Gone || sink.send(full).is_err() {
            break;
        }
        moved.ring();
    }
    if progress == Progress::Done {
        let _ = sink.send(Vec::new()); // the learner may have left
    }
    drop(sink); // an end too soon is to be noticed
    moved.ring();
    let garbage = shared.tree.write().end_image(image);
    drop(garbage); // after the lock
}
