//! Scores jobs on one device, one after another, beside the sampling of the next.

use super::run_progress::RunProgress;
use super::workers::{Sampled, ScoreJob};
use crate::error::OrInvalidInput;
use crate::plan::{Job, Plan};
use crate::project::Project;
use crate::runtime::device::device_name;
use crate::scoring::{Evaluation, Evaluator};
use crate::store::job_dir::{CANNOT_WRITE_RESULTS, JobDir, pixels_sha256};
use crate::store::per_image::PerImage;
use crate::store::scores::{SamplingConditions, Scores, ScoringConditions};
use crate::store::timings::Timings;
use anyhow::Result;
use egsde_data::image_set::ImageSet;
use egsde_data::lock::lock;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tch::Device;

/// Held while a device scores. Sampling that runs out of memory waits for it before it takes
/// smaller batches, which round differently: what was missing may be what scoring has.
pub type ScoringTurn = Arc<Mutex<()>>;

/// What one device scores with.
pub struct JobScorer<'a> {
    plan: &'a Plan,
    source: Arc<ImageSet>,
    evaluator: Evaluator,
    device: Device,
    turn: ScoringTurn,
    bar: &'a RunProgress,
}

impl<'a> JobScorer<'a> {
    /// Opens the evaluator.
    ///
    /// # Errors
    /// Invalid input: something is missing, or another file.
    pub fn open(
        plan: &'a Plan,
        project: &Project,
        device: Device,
        source: Arc<ImageSet>,
        bar: &'a RunProgress,
    ) -> Result<Self> {
        Ok(Self {
            plan,
            source,
            evaluator: Evaluator::open(plan, project, device)?,
            device,
            turn: ScoringTurn::default(),
            bar,
        })
    }

    /// Held while it scores.
    pub fn turn(&self) -> ScoringTurn {
        self.turn.clone()
    }

    /// Scores of the first `count` images that lie in a job's folder, with the hash of the
    /// per-image values left open, and these values.
    fn evaluate(
        &self,
        dir: &JobDir,
        count: usize,
        sampling: SamplingConditions,
    ) -> Result<(Scores, PerImage)> {
        let _turn = lock(&self.turn);
        let source = self.source.first(count);
        let translated = dir.read_all(&source.names, self.plan.task.image_size)?;
        let names = source.names.iter();
        let files: Vec<PathBuf> = names.map(|name| dir.image(name)).collect();
        let began = Instant::now();
        let evaluated = self.evaluator.evaluate(&source, &files, &translated)?;
        let seconds = began.elapsed().as_secs_f64();
        let Evaluation { metrics, per_image } = evaluated;
        let scores = Scores {
            metrics,
            images: source.len(),
            images_sha256: pixels_sha256(&translated),
            per_image_sha256: String::new(),
            sampling,
            scoring: ScoringConditions {
                identity: self.plan.scoring.clone(),
                code: crate::CODE.into(),
                device: device_name(self.device),
                seconds,
            },
        };
        Ok((scores, per_image))
    }
}

impl ScoreJob for JobScorer<'_> {
    fn score(&self, job: &Job, dir: &JobDir, sampled: Sampled) -> Result<()> {
        let (mut scores, per_image) = self.evaluate(dir, self.source.len(), sampled.conditions)?;
        scores.per_image_sha256 = dir
            .write_per_image(&per_image)
            .or_invalid_input(CANNOT_WRITE_RESULTS)?;
        dir.finish(&scores).or_invalid_input(CANNOT_WRITE_RESULTS)?;
        let (images, seconds) = (sampled.images, sampled.seconds);
        // The job is done; only the next plan's estimate lacks this time.
        if let Err(error) = Timings::add(self.plan, job, self.device, images, seconds) {
            self.bar
                .print_line(&format!("cannot keep how long it took: {error:#}"));
        }
        Ok(())
    }

    fn score_first(&self, dir: &JobDir, count: usize, sampled: Sampled) -> Result<Scores> {
        Ok(self.evaluate(dir, count, sampled.conditions)?.0)
    }
}
