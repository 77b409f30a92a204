//! The wish to stop, for work on files that takes long: it looks at it between two small steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Error;

/// Raised once, by whoever wants the work to end. Clones are the same flag; one that nobody else
/// has is never raised.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Whoever heeds it ends soon.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// For `?` between two steps.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it was raised.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_raised() { Err(Error::Stopped) } else { Ok(()) }
    }
}
