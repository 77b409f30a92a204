//! From a leader's snapshot stream to a tree and a snapshot file.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use parking_lot::RwLock;

use super::Parts;
use crate::error::{ExitCode, Fatal};
use crate::ids::Zxid;
use crate::stage::log::Cut;
use crate::stage::queue::{Bell, StickyBell};
use crate::stage::snapshot;
use crate::tree::Tree;
use crate::tree::image::{self, LoadError};
use crate::wire::quorum::SNAPSHOT_SIGNATURE;

/// The bytes of a snapshot, piece by piece, as the zab thread gets them from the leader. It drops
/// its end when the leader is lost.
pub struct Stream {
    /// What the leader's packet says that it holds.
    pub zxid: Zxid,
    /// In their order.
    pub pieces: Receiver<Vec<u8>>,
    /// Tells the zab thread that there is room for more.
    pub moved: Arc<StickyBell>,
}

/// A [`Stream`] as a reader.
struct Source {
    stream: Stream,
    piece: Vec<u8>,
    used: usize,
}

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.used == self.piece.len() {
            let Ok(piece) = self.stream.pieces.recv() else { return Ok(0) };
            self.stream.moved.ring();
            (self.piece, self.used) = (piece, 0);
        }
        let bytes = out.len().min(self.piece.len() - self.used);
        out[..bytes].copy_from_slice(&self.piece[self.used..self.used + bytes]);
        self.used += bytes;
        Ok(bytes)
    }
}

/// Why a stream is no snapshot.
enum Unusable {
    Image(LoadError),
    Signature,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(error) => error.fmt(f),
            Self::Signature => write!(f, "it does not end with {SNAPSHOT_SIGNATURE}"),
        }
    }
}

impl Parts {
    /// The tree of the stream, once a snapshot file of it is in place of all that was; `None` if
    /// the stream broke off, or is no snapshot: then nothing was changed.
    pub(super) fn receive(&self, stream: Stream) -> Result<Option<Tree>, Fatal> {
        let zxid = stream.zxid;
        let start = self.shared.clock.now();
        let mut tree = match self.load(stream) {
            Ok(tree) => tree,
            Err(error) => {
                tracing::warn!(%zxid, %error, "the leader's snapshot cannot be used");
                return Ok(None);
            }
        };
        self.config.put(&mut tree, crate::clock::wall());
        tree.set_fuzzy(true); // a Java leader writes it while txns go on
        let nodes = tree.node_count();
        let image = tree.begin_image();
        let image =
            image.ok_or_else(|| Fatal::new(ExitCode::Unexpected, "no room for an image"))?;
        let tree = RwLock::new(tree);
        let _files = self.shared.files.lock();
        self.shared.snapshots.give_up(); // already: it shares the disk with the leader's
        snapshot::write_to_install(&image, &tree, &self.options)
            .map_err(|error| Fatal::new(ExitCode::Snapshot, error))?;
        self.cut(Cut::Install(zxid))?;
        let _ = self.shared.snapshots.take_owed(); // this one is in its place
        let dir = self.options.snap_dir.display();
        let millis = self.shared.clock.now().0 - start.0;
        tracing::info!(nodes, millis, "Snapshotting: {zxid} to {dir}/snapshot.{:x}", zxid.0);
        let mut tree = tree.into_inner();
        drop(tree.end_image(&image));
        Ok(Some(tree))
    }

    fn load(&self, stream: Stream) -> Result<Tree, Unusable> {
        let zxid = stream.zxid;
        let mut source = Source { stream, piece: Vec::new(), used: 0 };
        let tree = image::load(&mut source, zxid, self.recover.tree).map_err(Unusable::Image)?;
        let length = u32::try_from(SNAPSHOT_SIGNATURE.len()).map_err(|_| Unusable::Signature)?;
        let expected = [&length.to_be_bytes()[..], SNAPSHOT_SIGNATURE.as_bytes()].concat();
        let mut signature = vec![0; expected.len()];
        let read = source.read_exact(&mut signature);
        if read.is_ok() && signature == expected { Ok(tree) } else { Err(Unusable::Signature) }
    }
}
