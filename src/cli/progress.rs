//! Shows how far a run is, on standard error, when a person is looking.

use indicatif::{ProgressBar, ProgressStyle};

use super::render::Screen;
use crate::refresh::run::{Progress, Step};

/// A line that says what is being done.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A line that shows when a person is looking.
    pub(crate) fn new(screen: Screen) -> Self {
        let bar = if screen.shows_progress() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.enable_steady_tick(std::time::Duration::from_millis(120));
        Self(bar)
    }

    /// Says what is being done.
    pub(crate) fn say(&self, message: impl Into<std::borrow::Cow<'static, str>>) {
        self.0.set_message(message);
    }

    /// Shows how much of a known whole is done.
    pub(crate) fn advance(&self, done: u64, of: u64) {
        if self.0.length() != Some(of) {
            self.0.set_length(of);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {human_pos}/{human_len} {eta}") {
                self.0.set_style(style);
            }
        }
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn step(&self, step: Step<'_>) {
        match step {
            Step::Waiting => self.say("waiting for other writers"),
            Step::Opening => self.say("opening the tables"),
            Step::Evaluating { subject, segments } => self.say(format!("evaluating {segments} {} segments", subject.keyword())),
            Step::Writing { segment, done, of } => {
                self.say(format!("writing {segment}"));
                self.advance(done as u64, of as u64);
            }
            Step::Recording { as_of, done, of } => {
                self.say(format!("recording {as_of}"));
                self.advance(done as u64, of as u64);
            }
            Step::Committing => self.say("committing"),
        }
    }
}
