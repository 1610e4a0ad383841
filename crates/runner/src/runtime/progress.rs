//! Progress of long work: a bar with rate and time left on a terminal, log lines elsewhere.

use super::console::log;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Progress of one piece of work, counted in units.
pub struct Progress {
    /// None where standard error is not a terminal.
    bar: Option<ProgressBar>,
    label: String,
    unit: &'static str,
    total: u64,
    /// Units that were done before this work began; the rate leaves them out.
    skipped: u64,
    /// Units that are done, the skipped ones included.
    done: u64,
    began: Instant,
    last_line: Option<Instant>,
    /// Whether nothing is shown, because another bar is.
    is_silent: bool,
}

/// Least time between two log lines.
const INTERVAL: Duration = Duration::from_secs(15);

/// Layout of the bar, in indicatif's syntax.
const TEMPLATE: &str = "{prefix} {wide_bar} {pos}/{len} {msg} {per_sec} left {eta}";

fn terminal_bar(label: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    bar.set_style(ProgressStyle::with_template(TEMPLATE).expect("a fixed template parses"));
    bar.set_prefix(label.to_string());
    bar
}

impl Progress {
    /// Begins with none of `total` units done; `unit` is their name in the plural.
    pub fn new(label: &str, unit: &'static str, total: u64) -> Self {
        Self {
            bar: std::io::stderr()
                .is_terminal()
                .then(|| terminal_bar(label, total)),
            label: label.into(),
            unit,
            total,
            skipped: 0,
            done: 0,
            began: Instant::now(),
            last_line: None,
            is_silent: false,
        }
    }

    /// Progress that is not shown, of work beside another that is.
    pub fn silent() -> Self {
        Self {
            bar: None,
            is_silent: true,
            ..Self::new("", "", 0)
        }
    }

    /// Counts `count` units as done before; the rate leaves them out.
    pub fn skip(&mut self, count: u64) {
        self.skipped += count;
        self.done += count;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
            bar.reset_eta();
        }
    }

    /// Sets the number of units that are done and shows `message`.
    pub fn set(&mut self, done: u64, message: &str) {
        self.done = done;
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_string());
            bar.set_position(done);
        } else if self.is_silent {
            // Another bar is on the terminal.
        } else if done >= self.total || self.last_line.is_none_or(|at| at.elapsed() > INTERVAL) {
            self.last_line = Some(Instant::now());
            writeln!(log(), "{}", self.line(message));
        }
    }

    /// The log line: units done, `message`, rate and time left.
    fn line(&self, message: &str) -> String {
        let Self {
            label,
            unit,
            total,
            done,
            ..
        } = self;
        let counted = done.saturating_sub(self.skipped);
        let rate = counted as f64 / self.began.elapsed().as_secs_f64().max(1e-9);
        let left = match counted {
            0 => "?".into(),
            _ => seconds(total.saturating_sub(*done) as f64 / rate),
        };
        format!("{label}: {done}/{total} {unit} {message} {rate:.1} {unit}/s, left {left}")
    }

    /// Adds `count` units that are done and shows `message`.
    pub fn add(&mut self, count: u64, message: &str) {
        self.set(self.done + count, message);
    }

    /// Logs a line without disturbing the bar.
    pub fn print_line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| writeln!(log(), "{text}")),
            None => writeln!(log(), "{text}"),
        }
    }

    /// Removes the bar from the terminal.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A duration of `s` seconds as text: `48 s`, `12 min 5 s`, `3 h 4 min`.
pub fn seconds(s: f64) -> String {
    let s = s.round() as u64;
    match s {
        0..=119 => format!("{s} s"),
        120..=7199 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_leaves_out_what_was_done_before() {
        let mut progress = Progress::new("run", "evaluations", 100);
        progress.skip(40);
        assert!(
            progress
                .line("job")
                .starts_with("run: 40/100 evaluations job 0.0 evaluations/s")
        );
        assert!(progress.line("job").ends_with("left ?"));
        assert_eq!(
            (seconds(48.4), seconds(725.0)),
            ("48 s".into(), "12 min 5 s".into())
        );
        assert_eq!(seconds(11_040.0), "3 h 4 min");
    }
}
