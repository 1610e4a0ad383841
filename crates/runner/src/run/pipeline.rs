//! The networks of a task on one device, opened once for all jobs, and translation with them.

use super::job_scorer::ScoringTurn;
use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::references::References;
use crate::plan::{Job, Plan};
use crate::project::Project;
use crate::runtime::memory::{OutOfMemory, within_memory};
use crate::runtime::memory_fault::{self, Place};
use anyhow::{Context, Result, bail};
use egsde_data::image_set::ImageSet;
use egsde_data::lock::lock;
use egsde_models::cuda::takes_own_ways;
use egsde_models::networks::Diffusion;
use egsde_models::{Dse, Loaded};
use egsde_sampler::energy::SourceFeatures;
use egsde_sampler::finite_check::{FiniteCheck, NonFinite};
use egsde_sampler::generators::{Generator, GeneratorName, ReferenceImages};
use egsde_sampler::method::{Method, MethodConfig, MethodSettings};
use egsde_sampler::noise::{ImageNoise, Purpose, draw_ahead};
use egsde_sampler::settings::Networks;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, TryLockError};
use tch::{Device, Kind, Tensor};

/// Bytes of source features that rows share.
const SHARED_FEATURES: usize = 256 << 20;

/// How many rows of a plan ask for the source's features.
fn rows_with_source_features(plan: &Plan) -> usize {
    let seeds = plan.experiment.seeds.len().max(1);
    let asks = |job: &&Job| {
        job.identity
            .settings
            .experts()
            .iter()
            .any(|expert| expert.needs_source_features())
    };
    plan.jobs.iter().filter(asks).count() / seeds
}

/// Networks of a task on a device.
pub struct Pipeline {
    image_size: usize,
    /// None where no row needs it.
    diffusion: Option<Diffusion>,
    /// None where no row needs it.
    extractor: Option<Loaded<Dse>>,
    /// Those that rows need.
    generators: BTreeMap<GeneratorName, Generator>,
    /// None where no row draws from the reference.
    references: Option<References>,
    /// The source's features for rows that share noise and start; none where there is one such row.
    source_features: Option<SourceFeatures>,
    device: Device,
    /// The networks always see batches of this size (a last one is padded): libtorch's convolutions
    /// and matrix products round differently for different shapes, so a free size would move
    /// results.
    batch_size: Cell<usize>,
    /// Held while the device also scores.
    scoring: ScoringTurn,
}

impl Pipeline {
    /// Opens and verifies the networks that a plan's jobs need, for `source_count` source images;
    /// `scoring` is held while the device also scores.
    ///
    /// # Errors
    /// Invalid input: a network that is missing, another one, or cannot do what a row asks.
    pub fn open(
        plan: &Plan,
        project: &Project,
        device: Device,
        source_count: usize,
        scoring: ScoringTurn,
    ) -> Result<Self> {
        let (task, kind) = (&plan.task, plan.experiment.precision.kind());
        let diffusion = match plan.uses_diffusion() {
            true => Some(task.diffusion.open_diffusion(project, device, kind)?),
            false => None,
        };
        let extractor = match plan.uses_extractor() {
            true => Some(task.extractor.open(project, device, kind)?),
            false => None,
        };
        let shares_features = rows_with_source_features(plan) > 1;
        let pipeline = Self {
            image_size: task.image_size,
            diffusion,
            extractor,
            generators: open_generators(plan, project, device, kind)?,
            references: open_references(plan, project)?,
            source_features: shares_features.then(|| SourceFeatures::new(SHARED_FEATURES)),
            device,
            batch_size: Cell::new(plan.experiment.batch_size.min(source_count)),
            scoring,
        };
        for job in &plan.jobs {
            pipeline.check(job)?;
        }
        Ok(pipeline)
    }

    /// Refuses settings that these networks cannot do.
    fn check(&self, job: &Job) -> Result<()> {
        let settings = &job.identity.settings;
        let checked = match &self.diffusion {
            Some(diffusion) if settings.uses_diffusion() => settings.check_network(diffusion),
            _ if settings.generator().is_some() => self.method(settings).map(drop),
            _ => Ok(()),
        };
        checked.map_err(|error| invalid_input(format!("row {:?}: {error:#}", job.row)))
    }

    /// The method of settled settings.
    ///
    /// # Errors
    /// Settings from which no method can be built.
    pub fn method(&self, settings: &MethodConfig) -> Result<Box<dyn Method + '_>> {
        let generator = settings.generator();
        let references = self.references.as_ref();
        settings.build(&Networks {
            diffusion: self.diffusion.as_ref(),
            extractor: self.extractor.as_ref(),
            generator: generator.and_then(|name| self.generators.get(&name)),
            references: references.map(|images| images as &dyn ReferenceImages),
            source_features: self.source_features.as_ref(),
            image_size: self.image_size,
            device: self.device,
        })
    }

    /// The batch that the networks see; smaller than the plan's after memory ran out.
    pub fn batch_size(&self) -> usize {
        self.batch_size.get()
    }

    /// Translates the source images at `indices`, in batches of one size. A batch for which the
    /// device has no room, even while it does not score, is halved, for good. `count_step` is
    /// called with the number of images after each step.
    ///
    /// # Errors
    /// No memory for a single image, or a translation that is not finite.
    pub fn translate(
        &self,
        job: &Job,
        method: &dyn Method,
        source: &ImageSet,
        indices: &[usize],
        count_step: &mut dyn FnMut(u64),
    ) -> Result<ImageSet> {
        let mut translated = ImageSet::empty(source.side);
        while translated.len() < indices.len() {
            let size = self.batch_size.get();
            let wanted: Vec<usize> = indices[translated.len()..]
                .iter()
                .take(size)
                .copied()
                .collect();
            let batch = source.select(&padded(&wanted, size));
            let count = wanted.len();
            let step = &mut || count_step(count as u64);
            match alone_without_room(&self.scoring, || {
                self.translate_batch(job, method, &batch, step)
            })? {
                Ok(whole) => translated.append(whole.first(count)),
                Err(OutOfMemory(text)) if size == 1 => {
                    bail!(
                        "no memory on {:?} even for one picture: {text}",
                        self.device
                    )
                }
                Err(_) => {
                    if let Some(features) = &self.source_features {
                        features.disable();
                    }
                    self.batch_size.set(size / 2);
                }
            }
        }
        Ok(translated)
    }

    fn translate_batch(
        &self,
        job: &Job,
        method: &dyn Method,
        batch: &ImageSet,
        count_step: &mut dyn FnMut(),
    ) -> Result<ImageSet> {
        memory_fault::check(Place::Batch);
        let x0 = batch.tensor().to_device(self.device) * 2.0 - 1.0;
        let noise = ImageNoise {
            seed: job.identity.seed,
            names: batch.names.clone(),
            side: batch.side,
            device: self.device,
        };
        let mut check = FiniteCheck::new(batch.len(), self.device);
        let mut observe = |repeat: usize, i: usize, y: &Tensor| {
            memory_fault::check(Place::Step);
            check.check(repeat, i, y);
            count_step();
        };
        let order = draws_ahead(method, self.device);
        let out = draw_ahead(&noise, &order, |noise| {
            method.translate(&x0, noise, &mut observe)
        })?;
        let out = out.to_device(Device::Cpu);
        match check.non_finite().first() {
            Some(found) => bail!(non_finite_text(found, batch, job)),
            None => ImageSet::from_tensor(&out, batch.names.clone()),
        }
    }
}

/// Does the work within the memory that there is. What finds no room while the device also scores
/// is done again once it does not.
fn alone_without_room<T>(
    scoring: &Mutex<()>,
    mut work: impl FnMut() -> Result<T>,
) -> Result<Result<T, OutOfMemory>> {
    let was_scoring = is_held(scoring);
    let first = within_memory(&mut work)?;
    if first.is_ok() || !(was_scoring || is_held(scoring)) {
        return Ok(first);
    }
    let _turn = lock(scoring);
    within_memory(work)
}

fn is_held(scoring: &Mutex<()>) -> bool {
    matches!(scoring.try_lock(), Err(TryLockError::WouldBlock))
}

/// The draws to make ahead, beside the networks: all on a GPU. On a CPU, networks and draws share
/// the cores, and nothing is gained.
pub(crate) fn draws_ahead(method: &dyn Method, device: Device) -> Vec<Purpose> {
    if takes_own_ways(device) {
        method.draws()
    } else {
        Vec::new()
    }
}

/// Indices filled up to `size` with the first.
fn padded(indices: &[usize], size: usize) -> Vec<usize> {
    let fill = std::iter::repeat(&indices[0]);
    indices.iter().chain(fill).take(size).copied().collect()
}

fn non_finite_text(found: &NonFinite, batch: &ImageSet, job: &Job) -> String {
    let (name, place) = (&batch.names[found.image], found.image);
    let which = format!("the translation of {name} (picture {place} of its batch) is not finite");
    match job.identity.settings.generator() {
        Some(generator) => format!(
            "{which}: the weights of the generator of {generator} are damaged, or not those of its \
             configuration (egsde weights check)"
        ),
        None => format!(
            "{which} from step {} (counted down to 0) on: lower lambda_s or lambda_i",
            found.step
        ),
    }
}

/// The generators that a plan's jobs need.
fn open_generators(
    plan: &Plan,
    project: &Project,
    device: Device,
    kind: Kind,
) -> Result<BTreeMap<GeneratorName, Generator>> {
    let task_file = project.task_file(&plan.experiment.task);
    let mut generators = BTreeMap::new();
    for name in plan.generators() {
        let at = format!("{}: generators.{name}", task_file.display());
        // A plan has no row without its generator.
        let file = plan.task.generators.get(&name).context(at.clone())?;
        let side = plan.task.image_size;
        let generator = file.open_generator(name, side, project, device, kind);
        generators.insert(name, generator.or_invalid_input(at)?);
    }
    Ok(generators)
}

/// The reference's images, where a job draws from them.
fn open_references(plan: &Plan, project: &Project) -> Result<Option<References>> {
    let mut jobs = plan.jobs.iter();
    let Some(job) = jobs.find(|job| job.identity.settings.uses_references()) else {
        return Ok(None);
    };
    let (reference, side) = (&plan.task.reference, plan.task.image_size);
    let references = References::open(reference, project, side, job.resize_filter());
    Ok(Some(
        references.or_invalid_input(format!("row {:?}", job.row))?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_batch_without_room_waits_for_scoring_before_it_is_halved() {
        let scoring = Mutex::new(());
        let (began, has_begun) = channel();
        let (failed, has_failed) = channel();
        let (mut calls, scoring) = (0, &scoring);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _turn = lock(scoring);
                began.send(()).unwrap();
                has_failed.recv().unwrap();
            });
            has_begun.recv().unwrap();
            let done = alone_without_room(scoring, || {
                calls += 1;
                if calls == 1 {
                    failed.send(()).unwrap();
                    bail!("CUDA out of memory. Tried to allocate 2.00 GiB");
                }
                Ok(calls)
            });
            assert_eq!(done.unwrap(), Ok(2));
        });
    }

    #[test]
    fn a_batch_without_room_beside_nothing_is_halved_at_once() {
        let mut calls = 0;
        let done = alone_without_room::<()>(&Mutex::new(()), || {
            calls += 1;
            bail!("out of memory")
        });
        assert!(done.unwrap().is_err());
        assert_eq!(calls, 1);
    }
}
