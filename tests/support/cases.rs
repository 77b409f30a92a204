//! A runner for tests that share servers and take long: each case has a name, a panic fails it,
//! and the last line counts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use ringkeeper::clock::Clock;

/// A named test.
pub type Case<C> = (&'static str, fn(&mut C));

/// Runs the cases whose names contain one of the program's arguments, or all without any.
pub fn run<C>(context: &mut C, cases: &[Case<C>]) -> ExitCode {
    let filters: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let (mut passed, mut failed, mut left_out) = (0, 0, 0);
    for (name, case) in cases {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            left_out += 1;
            continue;
        }
        let clock = Clock::start();
        let outcome = catch_unwind(AssertUnwindSafe(|| case(context)));
        let millis = clock.now().0;
        if outcome.is_ok() {
            passed += 1;
            println!("ok      {name} ({millis} ms)");
        } else {
            failed += 1;
            println!("FAILED  {name} ({millis} ms)");
        }
    }
    println!("{passed} passed, {failed} failed, {left_out} skipped");
    ExitCode::from(u8::from(failed > 0))
}
