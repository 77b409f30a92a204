//! The snapshot stage: writes point-in-time images in the background.
//!
//! Thread: `snapshot`, niced, unpinned. In: an image the zab thread has begun. Out: a file.
//! Takes the read side of the tree's lock for one bounded chunk at a time, and does its reading,
//! compressing and writing outside: no request waits for a snapshot longer than for a flush.

mod turns;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use parking_lot::RwLock;

use crate::clock::Clock;
use crate::error::{ExitCode, Fatal};
use crate::ids::Zxid;
use crate::limits::{
    SNAPSHOT_CHUNK_BYTES, SNAPSHOT_CHUNK_NODES, SNAPSHOT_REST_FACTOR, SNAPSHOT_STRETCH_BYTES,
};
use crate::log::snapshot::{
    self, Compression, DigestTrailer, SnapshotFile, SnapshotWriter, Trailers,
};
use crate::log::{Error, StopFlag};
use crate::metrics::{Basic, Counter, Recorder};
use crate::stage::shared::Shared;
use crate::tree::Tree;
use crate::tree::image::{Image, Progress};
use crate::wire::txn::DIGEST_VERSION;

pub use turns::SnapshotTurns;

/// What the snapshot thread is asked for, one at a time.
pub enum SnapshotAsk {
    /// Write this image, which the zab thread has begun.
    Write(Image),
    /// Say when there is nothing more of what was asked before: files are about to be deleted.
    Barrier(SyncSender<()>),
}

/// How snapshots are written.
#[derive(Clone, Debug)]
pub struct SnapshotOptions {
    /// `version-2` of `dataDir`.
    pub snap_dir: PathBuf,
    /// Of new files.
    pub compression: Compression,
    /// `zookeeper.serializeLastProcessedZxid.enabled`.
    pub zxid_trailer: bool,
}

/// Writes images as they come, until nobody can send one any more.
pub fn run(asks: &Receiver<SnapshotAsk>, shared: &Arc<Shared>, options: &SnapshotOptions) {
    let recorder = shared.metrics.recorder();
    for ask in asks {
        let image = match ask {
            SnapshotAsk::Write(image) => image,
            SnapshotAsk::Barrier(done) => {
                shared.snapshots.resume();
                let _ = done.try_send(()); // who asked may have left
                continue;
            }
        };
        if let Err(error) = take(&image, shared, options, &recorder) {
            shared.fail(Fatal::new(ExitCode::Snapshot, error));
            return;
        }
    }
}

fn take(
    image: &Image,
    shared: &Shared,
    options: &SnapshotOptions,
    recorder: &Recorder,
) -> Result<(), Error> {
    let start = shared.clock.micros();
    let written = write(image, &shared.tree, options, &shared.snapshots);
    let garbage = shared.tree.write().end_image(image);
    drop(garbage); // after the lock
    let file = match written {
        Ok(Some(file)) => file,
        Ok(None) => {
            shared.snapshots.end(0);
            tracing::info!(zxid = %image.zxid, "snapshot given up: the tree was replaced");
            return Ok(());
        }
        Err(Error::Stopped) => {
            shared.snapshots.end_unfinished();
            tracing::info!(zxid = %image.zxid, "snapshot given up: the leader takes history back");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let end = shared.clock.micros();
    let micros = end - start;
    shared.snapshots.end(end + micros * SNAPSHOT_REST_FACTOR);
    let millis = micros / 1000;
    recorder.record(Basic::Snapshottime, millis);
    recorder.add(Counter::SnapCount, 1);
    tracing::info!(file = %file.path.display(), millis, "snapshot taken");
    Ok(())
}

/// Half of the disk's time is the log's, whatever the size of the tree.
fn give_way(file: &mut SnapshotWriter, turns: &SnapshotTurns) -> Result<(), Error> {
    let clock = Clock::start();
    file.settle()?;
    turns.pause(clock.elapsed());
    Ok(())
}

/// Writes one image to a file of its own; `None`, and no file, if the tree that the image was of
/// is there no more.
///
/// # Errors
/// The disk's, or [`Error::Stopped`] if it is given up; what was written of the file is removed.
pub fn write(
    image: &Image,
    tree: &RwLock<Tree>,
    options: &SnapshotOptions,
    turns: &SnapshotTurns,
) -> Result<Option<SnapshotFile>, Error> {
    let mut file = create(image, options)?;
    let settle = |file: &mut SnapshotWriter| give_way(file, turns);
    if !append(&mut file, image, tree, || turns.check(), settle)? {
        return Ok(None);
    }
    file.finish(&trailers(image, options)).map(Some)
}

/// The same, with no log to give way to, and given up soon after `stop` was raised.
///
/// # Errors
/// The disk's, or that it was stopped; what was written of the file is removed.
pub fn write_first(
    image: &Image,
    tree: &RwLock<Tree>,
    options: &SnapshotOptions,
    stop: &StopFlag,
) -> Result<Option<SnapshotFile>, Error> {
    let mut file = create(image, options)?;
    if !append(&mut file, image, tree, || stop.check(), SnapshotWriter::settle)? {
        return Ok(None);
    }
    file.finish(&trailers(image, options)).map(Some)
}

/// The same, for a snapshot that is to take the place of everything else; false if it is gone.
/// There is no log to give way to, and a leader that waits for it, for `initLimit`.
///
/// # Errors
/// The disk's; what was written of the file is removed.
pub fn write_to_install(
    image: &Image,
    tree: &RwLock<Tree>,
    options: &SnapshotOptions,
) -> Result<bool, Error> {
    let SnapshotOptions { snap_dir, compression, .. } = options;
    let mut file = SnapshotWriter::create_to_install(snap_dir, image.zxid, *compression)?;
    if !append(&mut file, image, tree, || Ok(()), SnapshotWriter::settle)? {
        return Ok(false);
    }
    file.finish(&trailers(image, options)).map(|_| true)
}

fn create(image: &Image, options: &SnapshotOptions) -> Result<SnapshotWriter, Error> {
    SnapshotWriter::create(&options.snap_dir, image.zxid, options.compression)
}

/// Whether all of the image is in the file; else the tree it was of is there no more.
fn append(
    file: &mut SnapshotWriter,
    image: &Image,
    tree: &RwLock<Tree>,
    check: impl Fn() -> Result<(), Error>,
    settle: impl Fn(&mut SnapshotWriter) -> Result<(), Error>,
) -> Result<bool, Error> {
    let mut chunk = Vec::with_capacity(2 * SNAPSHOT_CHUNK_BYTES);
    image.encode_tables(&mut chunk);
    let mut walker = image.walker();
    let mut progress = Progress::More;
    let mut settled = 0;
    while progress == Progress::More {
        check()?;
        {
            let tree = tree.read();
            progress = walker.append(&tree, &mut chunk, SNAPSHOT_CHUNK_NODES, SNAPSHOT_CHUNK_BYTES);
        }
        file.append(&chunk)?;
        chunk.clear();
        if file.bytes() - settled >= SNAPSHOT_STRETCH_BYTES {
            settled = file.bytes();
            settle(file)?;
        }
    }
    Ok(progress == Progress::Done)
}

fn trailers(image: &Image, options: &SnapshotOptions) -> Trailers {
    let zxid = image.zxid;
    // COMPAT: zxid 0 says that there is no digest (`DataTree.serializeZxidDigest`).
    let of = |digest| if zxid == Zxid::ZERO { 0 } else { digest };
    let covered = if image.is_fuzzy { snapshot::UNKNOWN } else { zxid };
    let trailer =
        |digest| DigestTrailer { zxid: covered, version: DIGEST_VERSION, digest: of(digest) };
    Trailers { digest: image.digest.map(trailer), last_zxid: options.zxid_trailer.then_some(zxid) }
}
