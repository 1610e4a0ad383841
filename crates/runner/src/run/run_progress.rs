//! The bar that all workers of a run share.

use crate::plan::Job;
use crate::runtime::progress::Progress;
use egsde_data::lock::lock;
use std::collections::HashMap;
use std::sync::Mutex;

/// Progress in evaluations of the networks that make images, over all jobs.
pub struct RunProgress {
    bar: Mutex<Progress>,
    /// How many images of each job the bar shows already, by the job's id.
    shown: Mutex<HashMap<String, usize>>,
}

impl RunProgress {
    /// Nothing is done of a total of evaluations.
    pub fn new(name: &str, evaluations: usize) -> Self {
        let bar = Progress::new(name, "evaluations", evaluations as u64);
        Self {
            bar: Mutex::new(bar),
            shown: Mutex::default(),
        }
    }

    /// Notes that the bar shows `images` of a job, or has none of them in its total; returns how
    /// many more these are than before.
    pub fn note_shown(&self, job: &Job, images: usize) -> usize {
        let mut shown = lock(&self.shown);
        let before = shown.insert(job.id.clone(), images).unwrap_or(0);
        images.saturating_sub(before)
    }

    /// `images` of a job are there. Those that the bar does not show yet were made before this
    /// process.
    pub fn skip_to(&self, job: &Job, images: usize) {
        let new = self.note_shown(job, images) * job.evaluations();
        lock(&self.bar).skip(new as u64);
    }

    /// One step of so many images of a job is done.
    pub fn add_step(&self, job: &Job, images: u64) {
        lock(&self.bar).add(images, &job.id);
    }

    /// Prints a line, or several, that do not disturb the bar.
    pub fn print_line(&self, text: &str) {
        lock(&self.bar).print_line(text);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        lock(&self.bar).finish();
    }
}
