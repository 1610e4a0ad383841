//! Differences of rows to a chosen one on the same images and seeds, with paired bootstrap
//! intervals.

use super::fid_bootstrap::{BOOTSTRAP_SEED, BootstrapCache, RESAMPLES, bootstrap_distances};
use crate::scoring::evaluator::LazyEvaluator;
use crate::store::per_image::PerImage;
use crate::store::results::Results;
use anyhow::Result;
use egsde_metrics::frechet::FrechetReference;
use egsde_metrics::intervals::{Interval, bootstrap_interval, percentile_interval};
use egsde_metrics::registry::{FID, METRICS, Metric};
use serde::Serialize;
use std::collections::BTreeMap;

/// Decompositions cost their number times the cube of their size. Where that is more than this,
/// they would take minutes, and differences of the Fréchet distance are left out.
const MOST_FID_WORK: f64 = 4e11;

/// One row less the chosen one.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// Name of the row that is compared.
    pub method: String,
    /// Mean difference and its 95 % interval by metric.
    pub metrics: BTreeMap<String, Interval>,
}

/// All differences of an experiment.
#[derive(Debug, Clone, Serialize)]
pub struct Differences {
    /// The row with which the others are compared.
    pub to: String,
    /// Source images per job.
    pub pictures: usize,
    /// The other rows that share finished jobs with it, in the experiment's order.
    pub rows: Vec<Difference>,
}

/// The metrics that have a paired interval, in table order: those per image, and the Fréchet
/// distance.
pub fn paired_metrics() -> Vec<&'static Metric> {
    METRICS
        .into_iter()
        .filter(|metric| metric.is_per_image() || **metric == FID)
        .collect()
}

/// What a paired comparison needs of one job.
struct JobValues {
    per_image: PerImage,
    /// Where its distances are kept.
    cache: BootstrapCache,
}

/// Jobs of a row by seed.
type BySeed<T> = BTreeMap<u64, T>;
/// Jobs by row and seed.
type ByRow<T> = BTreeMap<String, BySeed<T>>;

/// The finished jobs.
fn finished_jobs(results: &Results) -> Result<ByRow<JobValues>> {
    let mut found: ByRow<JobValues> = BTreeMap::new();
    for finished in results.finished() {
        let (dir, scores) = (finished.dir(), finished.scores);
        let cache = BootstrapCache::new(
            dir.path(),
            &scores.per_image_sha256,
            &scores.scoring.identity,
        );
        let values = JobValues {
            per_image: dir.per_image(scores)?,
            cache,
        };
        let row = found.entry(finished.job.row.clone()).or_default();
        row.insert(finished.job.identity.seed, values);
    }
    Ok(found)
}

/// The jobs of two rows that stand against each other: those of the same seed. A row without seeds
/// (sources, a folder) stands against each seed of the other.
fn pair_seeds<'a, T>(row: &'a BySeed<T>, base: &'a BySeed<T>) -> Vec<(&'a T, &'a T)> {
    let mut pairs = Vec::new();
    for (seed, job) in row {
        for (base_seed, base_job) in base {
            let without_seeds = (row.len() == 1) != (base.len() == 1);
            if without_seeds || seed == base_seed {
                pairs.push((job, base_job));
            }
        }
    }
    pairs
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0usize);
    for value in values {
        sum += value;
        count += 1;
    }
    sum / count as f64
}

/// Paired bootstrap interval of one per-image metric, over images; all seeds of an image stay
/// together. `pairs` are the values of the row and of the base.
fn per_image_interval(pairs: &[(&[f64], &[f64])]) -> Result<Interval> {
    let count = pairs[0].0.len();
    let by_image: Vec<f64> = (0..count)
        .map(|i| mean(pairs.iter().map(|(row, base)| row[i] - base[i])))
        .collect();
    bootstrap_interval(count, BOOTSTRAP_SEED, |drawn| {
        mean(drawn.iter().map(|i| by_image[*i]))
    })
}

/// Paired bootstrap interval of the Fréchet distance: both rows on the same drawn images. Small
/// samples raise the distance, on both sides alike.
fn distance_interval(pairs: &[(&Vec<f64>, &Vec<f64>)]) -> Result<Interval> {
    let difference = |at: usize| mean(pairs.iter().map(|(row, base)| row[at] - base[at]));
    percentile_interval(difference(0), (1..=RESAMPLES).map(difference).collect())
}

/// Whether the distances of all draws are computed within seconds, and every job has at least two
/// images.
fn distances_are_affordable(jobs: &ByRow<JobValues>) -> bool {
    let mut work = 0.0;
    for job in jobs.values().flat_map(BTreeMap::values) {
        let (count, dimensions) = (
            job.per_image.count(),
            job.per_image.features.size()[1] as usize,
        );
        if count < 2 {
            return false;
        }
        work += (count.min(dimensions) as f64).powi(3) * RESAMPLES as f64;
    }
    work <= MOST_FID_WORK
}

/// Distances of every row and seed; none where they would take minutes.
fn all_distances(
    jobs: &ByRow<JobValues>,
    evaluator: &LazyEvaluator,
) -> Result<Option<ByRow<Vec<f64>>>> {
    if !distances_are_affordable(jobs) {
        return Ok(None);
    }
    let mut reference: Option<FrechetReference> = None;
    let mut found: ByRow<Vec<f64>> = BTreeMap::new();
    for (row, seeds) in jobs {
        for (seed, JobValues { per_image, cache }) in seeds {
            let values = match cache.read() {
                Some(values) => values,
                None => {
                    // The reference is opened when a job's distances are not kept yet.
                    if reference.is_none() {
                        let statistics = &evaluator.reference()?.statistics;
                        reference = Some(FrechetReference::new(statistics));
                    }
                    let Some(reference) = &reference else {
                        continue;
                    };
                    let values = bootstrap_distances(per_image, reference)?;
                    // Where nothing can be written, they are computed each time.
                    let _ = cache.write(&values);
                    values
                }
            };
            found.entry(row.clone()).or_default().insert(*seed, values);
        }
    }
    Ok(Some(found))
}

impl Difference {
    /// The difference of one row; none where the rows have no seeds or fewer than two images in
    /// common.
    fn new(
        row: &str,
        base: &str,
        jobs: &ByRow<JobValues>,
        distances: Option<&ByRow<Vec<f64>>>,
    ) -> Result<Option<Self>> {
        let (Some(ours), Some(theirs)) = (jobs.get(row), jobs.get(base)) else {
            return Ok(None);
        };
        let pairs = pair_seeds(ours, theirs);
        if pairs
            .first()
            .is_none_or(|(job, _)| job.per_image.count() < 2)
        {
            return Ok(None);
        }
        let mut metrics = BTreeMap::new();
        for metric in paired_metrics() {
            let columns: Option<Vec<_>> = pairs
                .iter()
                .map(|(ours, theirs)| Some((column(ours, metric)?, column(theirs, metric)?)))
                .collect();
            if let Some(columns) = columns {
                metrics.insert(metric.key.to_string(), per_image_interval(&columns)?);
            }
        }
        let of_rows = distances.and_then(|all| Some((all.get(row)?, all.get(base)?)));
        if let Some((ours, theirs)) = of_rows {
            let interval = distance_interval(&pair_seeds(ours, theirs))?;
            metrics.insert(FID.key.to_string(), interval);
        }
        Ok(Some(Self {
            method: row.into(),
            metrics,
        }))
    }
}

/// A job's values of a per-image metric.
fn column<'a>(job: &'a JobValues, metric: &Metric) -> Option<&'a [f64]> {
    job.per_image.values.get(metric.key).map(Vec::as_slice)
}

impl Differences {
    /// Differences of everything that is finished to the row that the experiment names in
    /// `compare_to`; none where it names none or that row has no results.
    ///
    /// # Errors
    /// Per-image values that are missing or were changed.
    pub fn new(results: &Results, evaluator: &LazyEvaluator) -> Result<Option<Self>> {
        let experiment = &results.plan.experiment;
        let Some(to) = &experiment.compare_to else {
            return Ok(None);
        };
        let jobs = finished_jobs(results)?;
        if !jobs.contains_key(to) {
            return Ok(None);
        }
        let distances = all_distances(&jobs, evaluator)?;
        let mut rows = Vec::new();
        for row in experiment.methods.iter().filter(|row| row.name != *to) {
            rows.extend(Difference::new(&row.name, to, &jobs, distances.as_ref())?);
        }
        Ok(Some(Self {
            to: to.clone(),
            pictures: experiment.pictures,
            rows,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egsde_metrics::frechet::Statistics;
    use egsde_metrics::registry::PerImageValues;
    use tch::{Device, Kind, Tensor};

    fn shifted_features(count: i64, shift: f64) -> PerImage {
        let features = Tensor::arange(count * 3, (Kind::Float, Device::Cpu)) * 0.7;
        let features = features.sin().reshape([count, 3]) + shift;
        PerImage {
            values: PerImageValues::new(),
            features,
        }
    }

    #[test]
    fn a_constant_difference_has_a_narrow_interval_and_none_has_zero() {
        let base = [1.0, 5.0, 2.0, 9.0, 4.0, 7.0];
        let row = [1.5, 5.5, 2.5, 9.5, 4.5, 7.5];
        let found = per_image_interval(&[(&row, &base)]).unwrap();
        assert!((found.low - 0.5).abs() < 1e-12 && (found.high - 0.5).abs() < 1e-12);
        assert!(found.excludes_zero());
        let same = per_image_interval(&[(&base, &base)]).unwrap();
        assert!(same.low == 0.0 && same.high == 0.0 && !same.excludes_zero());
    }

    #[test]
    fn a_shift_of_the_features_is_seen_in_the_distance() {
        let (near, far) = (shifted_features(40, 0.1), shifted_features(40, 2.0));
        let statistics = Statistics::from_features(&shifted_features(40, 0.0).features).unwrap();
        let reference = FrechetReference::new(&statistics);
        let distances = |job: &PerImage| bootstrap_distances(job, &reference).unwrap();
        let found = distance_interval(&[(&distances(&far), &distances(&near))]).unwrap();
        // Three dimensions shifted by 2.0 and by 0.1: 12.0 less 0.03.
        assert!(
            (found.estimate - 11.97).abs() < 1e-3 && found.excludes_zero(),
            "{found:?}"
        );
    }

    #[test]
    fn only_common_seeds_are_paired() {
        let jobs = |seeds: &[u64]| -> BySeed<u64> { seeds.iter().map(|s| (*s, *s)).collect() };
        assert_eq!(
            pair_seeds(&jobs(&[1, 2, 3]), &jobs(&[2, 3, 4])),
            [(&2, &2), (&3, &3)]
        );
        assert_eq!(pair_seeds(&jobs(&[1]), &jobs(&[2, 3])).len(), 2);
        assert_eq!(pair_seeds(&jobs(&[1]), &jobs(&[2])).len(), 0);
    }
}
