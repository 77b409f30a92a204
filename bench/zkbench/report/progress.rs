//! Live progress on standard error: a line that moves on a terminal, one every few seconds else.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Where progress is shown.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: Shown,
    last_line: Duration,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let shown = if quiet {
            Shown::Nothing
        } else if stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::with_template("{spinner} {msg}").expect("the template is sound"),
            );
            Shown::Bar(bar)
        } else {
            Shown::Lines
        };
        Self { shown, last_line: Duration::ZERO }
    }

    /// Something that happens once.
    pub(crate) fn say(&self, text: &str) {
        match &self.shown {
            Shown::Bar(bar) => {
                bar.set_message(text.to_owned());
                bar.tick();
            }
            Shown::Lines => eprintln!("zkbench: {text}"),
            Shown::Nothing => {}
        }
    }

    /// How things stand, at this time on the run's clock.
    pub(crate) fn update(&mut self, at: Duration, text: impl FnOnce() -> String) {
        match &self.shown {
            Shown::Bar(bar) => {
                bar.set_message(text());
                bar.tick();
            }
            Shown::Lines if at.saturating_sub(self.last_line) >= LINE_EVERY => {
                self.last_line = at;
                eprintln!("zkbench: {}", text());
            }
            Shown::Lines | Shown::Nothing => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
