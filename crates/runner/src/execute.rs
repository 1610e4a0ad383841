//! Runs the unfinished jobs of a plan.

use crate::error::{Problem, UserError};
use crate::judge::Judge;
use crate::measured::Measured;
use crate::plan::{Job, Plan};
use crate::progress::Progress;
use crate::store::{Conditions, JobFolder, Scores, peak_memory_bytes, pictures_hash};
use crate::workbench::Workbench;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tch::Device;

/// How to run; none of it changes a result.
#[derive(Debug, Clone)]
pub struct Resources {
    pub device: Device,
    pub batch_size: usize,
}

impl Resources {
    /// The device's name in conditions and measurements.
    pub fn device_name(&self) -> String {
        format!("{:?}", self.device)
    }
}

/// What a run works with.
struct Runner<'a> {
    plan: &'a Plan,
    bench: Workbench,
    judge: Judge,
    resources: &'a Resources,
}

impl Runner<'_> {
    /// An external method's pictures must be there, readable and as large as the sources.
    fn check_external(&self, job: &Job, folder: &JobFolder) -> Result<()> {
        let Some(images) = &job.images else { return Ok(()) };
        let side = self.plan.task.image_size;
        let bad: Vec<&String> = self.bench.source.names.iter().filter(|n| folder.read_image(n, side).is_none()).collect();
        match bad.first() {
            None => Ok(()),
            Some(first) => Err(Problem::user(format!(
                "row {:?}: {} of {} sources have no readable {side} x {side} translation in {}, first {first}",
                job.row,
                bad.len(),
                self.bench.source.len(),
                images.display()
            ))),
        }
    }

    /// Makes the pictures that are not there yet; returns how many and the seconds it took.
    fn sample(&self, job: &Job, folder: &JobFolder, bar: &mut Progress) -> Result<(usize, f64)> {
        let (names, side) = (&self.bench.source.names, self.plan.task.image_size);
        let missing: Vec<usize> = (0..names.len()).filter(|i| folder.read_image(&names[*i], side).is_none()).collect();
        let each = job.identity.settings.evaluations().diffusion as u64;
        bar.skip(each * (names.len() - missing.len()) as u64);
        let began = Instant::now();
        self.bench.with_method(&job.identity.settings, |method| {
            for indices in missing.chunks(self.resources.batch_size) {
                let made = self.bench.translate(job, method, indices, &mut |count| bar.add(count, &job.id))?;
                folder.write_images(&made).user("cannot write results")?;
            }
            Ok(())
        })?;
        Ok((missing.len(), began.elapsed().as_secs_f64()))
    }

    fn run(&self, job: &Job, folder: &JobFolder, bar: &mut Progress) -> Result<()> {
        folder.begin(job).user("cannot write results")?;
        self.check_external(job, folder)?;
        let (sampled_pictures, sampling_seconds) = self.sample(job, folder, bar)?;
        let source = &self.bench.source;
        let translated = folder.read_all(&source.names, self.plan.task.image_size)?;
        let files: Vec<PathBuf> = source.names.iter().map(|n| folder.image(n)).collect();
        let metrics = self.judge.score(source, &files, &translated)?;
        let conditions = Conditions {
            device: self.resources.device_name(),
            threads: tch::get_num_threads() as usize,
            batch_size: self.resources.batch_size,
            libtorch: env!("EGSDE_LIBTORCH").into(),
            code: crate::CODE.into(),
            sampling_seconds,
            sampled_pictures,
            peak_memory_bytes: peak_memory_bytes(),
        };
        folder
            .finish(&Scores { metrics, pictures: source.len(), images_sha256: pictures_hash(&translated), conditions })
            .user("cannot write results")?;
        Measured::add(self.plan, job, &self.resources.device_name(), sampled_pictures, sampling_seconds)
    }
}

/// Runs what is not finished; returns how many jobs were run. A job that fails does not stop the others.
pub fn execute(plan: &Plan, root: &Path, resources: &Resources, limit: Option<usize>) -> Result<usize> {
    std::fs::create_dir_all(&plan.folder)
        .user(format!("cannot write to {}: choose another folder with --set runs_dir=DIR", plan.folder.display()))?;
    let todo: Vec<(&Job, JobFolder)> = plan
        .jobs
        .iter()
        .map(|j| (j, JobFolder::of(&plan.folder, j)))
        .filter(|(_, f)| f.scores().is_none())
        .take(limit.unwrap_or(usize::MAX))
        .collect();
    if todo.is_empty() {
        return Ok(0);
    }
    let bench = Workbench::open(plan, root, resources.device)?;
    bench.check(todo.iter().map(|(job, _)| *job))?;
    let cache = root.join(&plan.spec.runs_dir).join(".statistics");
    let judge = Judge::open(&plan.task, root, resources.device, cache)?;
    let runner = Runner { plan, bench, judge, resources };
    let evaluations: u64 = todo.iter().map(|(j, _)| (j.identity.settings.evaluations().diffusion * plan.spec.pictures) as u64).sum();
    let mut bar = Progress::new(&plan.spec.name, "evaluations", evaluations);
    let mut failed = Vec::new();
    for (job, folder) in &todo {
        match runner.run(job, folder, &mut bar) {
            Ok(()) => {}
            Err(error) if error.is::<Problem>() => return Err(error),
            Err(error) => {
                bar.say(&format!("egsde: job {}: {error:#}", job.id));
                failed.push(job.id.clone());
            }
        }
    }
    bar.finish();
    if failed.is_empty() {
        Ok(todo.len())
    } else {
        Err(Problem::No(format!("{} of {} jobs failed: {}", failed.len(), todo.len(), failed.join(", "))).into())
    }
}
