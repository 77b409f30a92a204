//! Who is in the ensemble.

/// The members and how they count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Members {}
