//! A bar with rate and time left on a terminal, plain log lines elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// Progress of one long piece of work.
pub struct Progress {
    bar: Option<ProgressBar>,
    label: String,
    unit: &'static str,
    total: u64,
    first: u64,
    at: u64,
    began: Instant,
    said: Option<Instant>,
}

/// Plain lines come no closer together than this.
const QUIET: Duration = Duration::from_secs(15);

impl Progress {
    /// `total` units, none done yet.
    pub fn new(label: &str, unit: &'static str, total: u64) -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let bar = terminal.then(|| {
            let bar = ProgressBar::new(total);
            let template = "{prefix} {wide_bar} {pos}/{len} {msg} {per_sec} left {eta}";
            bar.set_style(ProgressStyle::with_template(template).expect("a fixed template parses"));
            bar.set_prefix(label.to_string());
            bar
        });
        Self {
            bar,
            label: label.into(),
            unit,
            total,
            first: 0,
            at: 0,
            began: Instant::now(),
            said: None,
        }
    }

    /// `count` units were done before and say nothing of the rate.
    pub fn skip(&mut self, count: u64) {
        self.first += count;
        self.at += count;
        if let Some(bar) = &self.bar {
            bar.set_position(self.at);
            bar.reset_eta();
        }
    }

    /// Moves to `at` and shows `message`.
    pub fn set(&mut self, at: u64, message: &str) {
        self.at = at;
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_string());
            bar.set_position(at);
        } else if at >= self.total || self.said.is_none_or(|s| s.elapsed() > QUIET) {
            self.said = Some(Instant::now());
            let done = at.saturating_sub(self.first);
            let rate = done as f64 / self.began.elapsed().as_secs_f64().max(1e-9);
            let left = if done == 0 {
                "?".into()
            } else {
                seconds((self.total.saturating_sub(at)) as f64 / rate)
            };
            let Self {
                label, total, unit, ..
            } = self;
            eprintln!("{label}: {at}/{total} {unit} {message} {rate:.1} {unit}/s, left {left}");
        }
    }

    /// Moves on by `count`.
    pub fn add(&mut self, count: u64, message: &str) {
        self.set(self.at + count, message);
    }

    /// A line that does not disturb the bar.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Leaves the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Seconds as people read them: `48 s`, `12 min 5 s`, `3 h 4 min`.
pub fn seconds(s: f64) -> String {
    let s = s.round() as u64;
    match s {
        0..=119 => format!("{s} s"),
        120..=7199 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}
