//! A transaction: all of its steps, or none. Source: `PrepRequestProcessor.pRequestHelper`.

use super::{Preparer, Step};
use crate::wire::request::Request;
use crate::wire::txn::Txn;
use crate::wire::{ErrorCode, OpCode};

impl Preparer {
    /// The txn, and the error of its first failing step.
    ///
    /// Each step sees what those before it will have done. After one fails, nothing of the txn is
    /// foreseen; those before it are kept in the record, which is applied as nothing all the same.
    ///
    /// # Errors
    /// COMPAT: a null that Java stumbles over in a step fails the whole, not that step alone; so
    /// does a record that is too long.
    pub(super) fn multi<'r>(
        &mut self,
        step: &Step<'_>,
        requests: Vec<Request<'r>>,
    ) -> Result<(Txn<'r>, Option<ErrorCode>), ErrorCode> {
        let mut failed = None;
        let mut steps = Vec::with_capacity(requests.len());
        self.outstanding.begin();
        for request in requests {
            if failed.is_some() {
                self.size.add_failed();
                steps.push(error(ErrorCode::RuntimeInconsistency));
                continue;
            }
            steps.push(self.step(step, request).unwrap_or_else(|code| {
                failed = Some(code);
                error(code)
            }));
        }
        match failed {
            None => self.outstanding.keep(),
            Some(_) => self.outstanding.undo(),
        }
        let fails_whole = failed == Some(ErrorCode::MarshallingError) || self.size.is_too_much();
        if let Some(code) = failed.filter(|_| fails_whole) {
            return Err(code);
        }
        Ok((Txn::Multi(steps), failed))
    }
}

fn error<'r>(code: ErrorCode) -> (OpCode, Txn<'r>) {
    (OpCode::Error, Txn::Error { err: code.to_wire() })
}
