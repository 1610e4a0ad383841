//! Finished jobs of rows side by side: paired bootstrap intervals of the difference of any two rows
//! on the same images and seeds, each computed once.

use super::fid_bootstrap::{BOOTSTRAP_SEED, BootstrapCache, RESAMPLES, bootstrap_distances};
use crate::runtime::progress::Progress;
use crate::scoring::evaluator::LazyEvaluator;
use crate::store::per_image::PerImage;
use crate::store::results::Results;
use anyhow::{Context, Result};
use egsde_metrics::frechet::{FEWEST_FOR_FID, FrechetReference};
use egsde_metrics::intervals::{Interval, bootstrap_interval, percentile_interval};
use egsde_metrics::registry::{FID, Metric};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// Decompositions cost their number times the cube of their size. Where that is more than this,
/// they take minutes, and differences of the Fréchet distance are left out.
const MOST_FID_WORK: f64 = 4e11;

/// The same for the rows of the paper's claims: a claim about the distance is worth the minutes,
/// which a job's folder keeps from the second time on.
const MOST_FID_WORK_FOR_CLAIMS: f64 = 4e12;

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

/// A row, the row less which it is taken, and the key of a metric.
type Comparison = (String, String, &'static str);

/// Finished jobs of rows, and what was computed from them.
pub struct PairedRows<'a> {
    evaluator: &'a LazyEvaluator<'a>,
    jobs: ByRow<JobValues>,
    /// Rows whose Fréchet distances are computed.
    with_distances: BTreeSet<String>,
    distances: OnceCell<ByRow<Vec<f64>>>,
    intervals: RefCell<BTreeMap<Comparison, Option<Interval>>>,
}

/// The finished jobs of the rows that are wanted.
fn finished_jobs(results: &Results, is_wanted: impl Fn(&str) -> bool) -> Result<ByRow<JobValues>> {
    let mut found: ByRow<JobValues> = BTreeMap::new();
    for finished in results
        .finished()
        .filter(|finished| is_wanted(&finished.job.row))
    {
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

/// What the decompositions of some jobs' draws cost; infinite where a job has fewer than two
/// images.
fn distance_work<'a>(jobs: impl Iterator<Item = &'a JobValues>) -> f64 {
    let mut work = 0.0;
    for job in jobs {
        let count = job.per_image.count();
        let dimensions = job.per_image.features.size()[1] as usize;
        if count < FEWEST_FOR_FID {
            return f64::INFINITY;
        }
        work += (count.min(dimensions) as f64).powi(3) * RESAMPLES as f64;
    }
    work
}

/// The rows whose distances are affordable: all of them, or those of claims, or none.
fn rows_with_distances(jobs: &ByRow<JobValues>, claimed: &BTreeSet<&str>) -> BTreeSet<String> {
    let rows = || jobs.keys().cloned();
    if distance_work(jobs.values().flat_map(BTreeMap::values)) <= MOST_FID_WORK {
        return rows().collect();
    }
    let of_claims = jobs
        .iter()
        .filter(|(row, _)| claimed.contains(row.as_str()));
    let work = distance_work(of_claims.flat_map(|(_, seeds)| seeds.values()));
    if work <= MOST_FID_WORK_FOR_CLAIMS {
        return rows()
            .filter(|row| claimed.contains(row.as_str()))
            .collect();
    }
    BTreeSet::new()
}

/// A job's values of a per-image metric.
fn column<'a>(job: &'a JobValues, metric: &Metric) -> Option<&'a [f64]> {
    job.per_image.values.get(metric.key).map(Vec::as_slice)
}

/// Columns of pairs, where every job has its own.
fn all_columns<T>(columns: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let columns: Option<Vec<T>> = columns.collect();
    columns.filter(|columns| !columns.is_empty())
}

impl<'a> PairedRows<'a> {
    /// The finished jobs of all rows where the experiment compares with a row, else those of the
    /// rows that claims name.
    ///
    /// # Errors
    /// Per-image values that are missing or were changed.
    pub fn read(
        results: &Results,
        evaluator: &'a LazyEvaluator,
        claimed: &BTreeSet<&str>,
    ) -> Result<Self> {
        let compares = results.plan.experiment.compare_to.is_some();
        let jobs = finished_jobs(results, |row| compares || claimed.contains(row))?;
        Ok(Self {
            evaluator,
            with_distances: rows_with_distances(&jobs, claimed),
            jobs,
            distances: OnceCell::new(),
            intervals: RefCell::default(),
        })
    }

    /// Whether a row has finished jobs.
    pub fn has_results(&self, row: &str) -> bool {
        self.jobs.contains_key(row)
    }

    /// Whether differences of a row with results have an interval in this metric, for all that its
    /// own size decides.
    pub fn is_affordable(&self, row: &str, metric: &Metric) -> bool {
        *metric != FID || self.with_distances.contains(row)
    }

    /// Computes or reads the distances of one job.
    fn job_distances(
        &self,
        job: &JobValues,
        reference: &OnceCell<FrechetReference>,
    ) -> Result<Vec<f64>> {
        if let Some(values) = job.cache.read() {
            return Ok(values);
        }
        // The reference is opened when a job's distances are not kept yet.
        if reference.get().is_none() {
            let statistics = &self.evaluator.reference()?.statistics;
            let _ = reference.set(FrechetReference::new(statistics));
        }
        let reference = reference.get().context("the reference was just opened")?;
        let values = bootstrap_distances(&job.per_image, reference)?;
        // Where nothing can be written, they are computed each time.
        let _ = job.cache.write(&values);
        Ok(values)
    }

    /// Distances of every affordable row and seed.
    fn all_distances(&self) -> Result<ByRow<Vec<f64>>> {
        let rows = || {
            let rows = self.jobs.iter();
            rows.filter(|(row, _)| self.with_distances.contains(*row))
        };
        let jobs = || rows().flat_map(|(_, seeds)| seeds.values());
        let takes_minutes = distance_work(jobs()) > MOST_FID_WORK;
        let mut bar = takes_minutes.then(|| {
            Progress::new(
                "intervals of the Fréchet distance",
                "jobs",
                jobs().count() as u64,
            )
        });
        let reference = OnceCell::new();
        let mut found: ByRow<Vec<f64>> = BTreeMap::new();
        for (row, seeds) in rows() {
            for (seed, job) in seeds {
                let values = self.job_distances(job, &reference)?;
                found.entry(row.clone()).or_default().insert(*seed, values);
                if let Some(bar) = &mut bar {
                    bar.add(1, row);
                }
            }
        }
        if let Some(bar) = &bar {
            bar.finish();
        }
        Ok(found)
    }

    fn distances(&self) -> Result<&ByRow<Vec<f64>>> {
        if self.distances.get().is_none() {
            let _ = self.distances.set(self.all_distances()?);
        }
        self.distances
            .get()
            .context("the distances were just computed")
    }

    /// Difference of a row less another in a metric and its 95 % interval; none where they have no
    /// seeds or fewer than two images in common, or where it is not affordable.
    ///
    /// # Errors
    /// A reference or a decomposition that fails.
    pub fn interval(
        &self,
        row: &str,
        base: &str,
        metric: &'static Metric,
    ) -> Result<Option<Interval>> {
        let key = (row.to_string(), base.to_string(), metric.key);
        if let Some(known) = self.intervals.borrow().get(&key) {
            return Ok(*known);
        }
        let found = self.compute_interval(row, base, metric)?;
        self.intervals.borrow_mut().insert(key, found);
        Ok(found)
    }

    fn compute_interval(
        &self,
        row: &str,
        base: &str,
        metric: &'static Metric,
    ) -> Result<Option<Interval>> {
        let (Some(ours), Some(theirs)) = (self.jobs.get(row), self.jobs.get(base)) else {
            return Ok(None);
        };
        let pairs = pair_seeds(ours, theirs);
        if pairs
            .first()
            .is_none_or(|(job, _)| job.per_image.count() < 2)
        {
            return Ok(None);
        }
        if *metric != FID {
            let columns = pairs
                .iter()
                .map(|(ours, theirs)| Some((column(ours, metric)?, column(theirs, metric)?)));
            let columns = all_columns(columns);
            return columns
                .map(|columns| per_image_interval(&columns))
                .transpose();
        }
        let distances = self.distances()?;
        match (distances.get(row), distances.get(base)) {
            (Some(ours), Some(theirs)) => distance_interval(&pair_seeds(ours, theirs)).map(Some),
            _ => Ok(None),
        }
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
