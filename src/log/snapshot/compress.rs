//! Compression of snapshots: gzip, and snappy as xerial frames it.
