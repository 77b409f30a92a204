//! Receive buffers, lent to the kernel as a group and lent by it, filled, to connections; and spare
//! vectors.
//!
//! Thread: the reactor's. The kernel picks a buffer when bytes arrive, so a connection that is
//! silent holds none. Never grows.
//! INVARIANT: a buffer is either the kernel's (offered, it may write) or lent (a [`Lent`] names it,
//! nobody writes). `claim` moves it one way when a completion says so, `give_back` the other way.

#![expect(unsafe_code, reason = "memory that the kernel writes to")]

use std::ptr::{NonNull, null_mut};
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::limits::{POOL_BYTES_MAX, POOL_VECTOR_BYTES_MAX};

/// The kernel wants the ring of entries to begin on a page.
const PAGE_BYTES: usize = 4096;

/// A filled buffer: who holds it may read it, and must give it back.
#[derive(Debug)]
#[must_use = "a buffer that is not given back is lost to receiving"]
pub(super) struct Lent {
    id: u16,
    len: u32,
}

impl Lent {
    /// Bytes received into it.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }
}

/// One mapping: the entries that offer buffers to the kernel, then the buffers.
pub(super) struct Buffers {
    base: NonNull<u8>,
    mapped_bytes: usize,
    /// Where the first buffer begins.
    offset: usize,
    count: u16,
    buffer_bytes: u32,
    /// The next entry to fill; the kernel reads it masked.
    tail: u16,
    /// Which buffers are lent.
    lent: Vec<bool>,
}

impl Buffers {
    /// `count` buffers, all of them offered.
    pub(super) fn new(count: u16, buffer_bytes: u32) -> Result<Self, Errno> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "the kernel masks positions");
        assert!(buffer_bytes > 0, "an empty buffer would look like the end of input");
        let entries_bytes = usize::from(count) * size_of::<BufRingEntry>();
        let offset = entries_bytes.next_multiple_of(PAGE_BYTES);
        let mapped_bytes = offset + usize::from(count) * buffer_bytes as usize;
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other
        // memory.
        let base = unsafe { mmap_anonymous(null_mut(), mapped_bytes, prot, flags) }?;
        let base = NonNull::new(base.cast()).ok_or(Errno::NOMEM)?;
        let lent = vec![true; usize::from(count)];
        let mut buffers = Self { base, mapped_bytes, offset, count, buffer_bytes, tail: 0, lent };
        for id in 0..count {
            buffers.give_back(Lent { id, len: 0 });
        }
        Ok(buffers)
    }

    /// What is registered with the ring: the address of the entries and how many there are.
    pub(super) fn registration(&self) -> (u64, u16) {
        (self.base.as_ptr().addr() as u64, self.count)
    }

    /// Takes the buffer that a completion named.
    ///
    /// # Safety
    /// The kernel has just said that it has put `len` bytes into buffer `id` of this group.
    pub(super) unsafe fn claim(&mut self, id: u16, len: u32) -> Lent {
        assert!(len <= self.buffer_bytes, "the kernel knows the size of a buffer");
        let lent = &mut self.lent[usize::from(id)];
        assert!(!*lent, "the kernel fills only what it was offered");
        *lent = true;
        Lent { id, len }
    }

    /// The bytes received.
    pub(super) fn bytes(&self, lent: &Lent) -> &[u8] {
        assert!(self.lent[usize::from(lent.id)], "only a lent buffer is read");
        assert!(lent.len <= self.buffer_bytes, "it was lent by this group");
        let at = self.position(lent.id);
        // SAFETY: `position` is that of a buffer inside the live mapping, and `len` is no more than
        // its size. It is lent, so the kernel does not write to it, and `give_back` needs
        // `&mut self`.
        unsafe { slice::from_raw_parts(self.base.as_ptr().add(at), lent.len()) }
    }

    /// Offers the buffer to the kernel again.
    #[expect(clippy::needless_pass_by_value, reason = "spent: nobody reads it any more")]
    #[expect(clippy::cast_ptr_alignment, reason = "mappings are aligned to pages")]
    pub(super) fn give_back(&mut self, lent: Lent) {
        let flag = &mut self.lent[usize::from(lent.id)];
        assert!(*flag, "a buffer is given back once");
        *flag = false;
        let at = self.position(lent.id);
        let entries = self.base.as_ptr().cast::<BufRingEntry>();
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: `slot` is below `count`, the number of entries at the head of the mapping, which
        // is page aligned and zeroed. Of the entries only those between the kernel's head and the
        // tail are read by the kernel; this one is past the tail, for there are as many entries as
        // buffers. The setters leave the tail, which overlays the first entry's last field, alone.
        let address = unsafe {
            let address = self.base.as_ptr().add(at).addr() as u64;
            let entry = &mut *entries.add(slot);
            entry.set_addr(address);
            entry.set_len(self.buffer_bytes);
            entry.set_bid(lent.id);
            BufRingEntry::tail(entries)
        };
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the live mapping, aligned, and is only accessed atomically, by
        // this thread and the kernel. Release: the kernel sees the entry before it sees the tail
        // that covers it.
        unsafe { AtomicU16::from_ptr(address.cast_mut()) }.store(self.tail, Ordering::Release);
    }

    /// Gives up the memory without unmapping it: for a ring that may still write to it.
    pub(super) fn leak(&mut self) {
        self.mapped_bytes = 0;
    }

    fn position(&self, id: u16) -> usize {
        self.offset + usize::from(id) * self.buffer_bytes as usize
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.mapped_bytes == 0 {
            return;
        }
        // SAFETY: the mapping made in `new`, of that size; no slice of it outlives `self`. The ring
        // drops its buffers only after its last operation has completed, and leaks them otherwise.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.mapped_bytes) };
        debug_assert!(unmapped.is_ok(), "our own mapping can be unmapped");
    }
}

/// Emptied vectors kept for the next connection that needs one, so that the busy few do not
/// allocate and the idle many hold nothing.
#[derive(Debug, Default)]
pub(super) struct Pool {
    spare: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pool {
    /// An empty vector, with room if there is one to spare.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let vector = self.spare.pop().unwrap_or_default();
        self.bytes -= vector.capacity();
        vector
    }

    /// Keeps `vector`, or frees it if it is large or enough are kept.
    pub(super) fn give(&mut self, mut vector: Vec<u8>) {
        let bytes = vector.capacity();
        if bytes > 0 && bytes <= POOL_VECTOR_BYTES_MAX && self.bytes + bytes <= POOL_BYTES_MAX {
            vector.clear();
            self.bytes += bytes;
            self.spare.push(vector);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_goes_round_and_past_the_end_of_the_ring() {
        let mut buffers = Buffers::new(4, 16).unwrap();
        for turn in 0..70_000_u32 {
            let id = u16::try_from(turn % 4).unwrap();
            // SAFETY: no ring is registered, so nobody else writes; the bytes are the mapping's
            // zeros.
            let lent = unsafe { buffers.claim(id, 16) };
            assert_eq!(buffers.bytes(&lent), [0; 16]);
            buffers.give_back(lent);
        }
    }

    #[test]
    #[should_panic(expected = "only what it was offered")]
    fn a_buffer_is_not_lent_twice() {
        let mut buffers = Buffers::new(2, 16).unwrap();
        for _ in 0..2 {
            // SAFETY: as above; the second call is what must be refused.
            let _kept = unsafe { buffers.claim(1, 16) };
        }
    }

    #[test]
    fn the_pool_is_bounded_and_forgets_large_vectors() {
        let mut pool = Pool::default();
        pool.give(Vec::with_capacity(POOL_VECTOR_BYTES_MAX + 1));
        assert_eq!(pool.take().capacity(), 0);
        for _ in 0..2 * POOL_BYTES_MAX / POOL_VECTOR_BYTES_MAX {
            pool.give(Vec::with_capacity(POOL_VECTOR_BYTES_MAX));
        }
        assert!(pool.bytes <= POOL_BYTES_MAX);
        let vector = pool.take();
        assert!(vector.is_empty() && vector.capacity() == POOL_VECTOR_BYTES_MAX);
    }
}
