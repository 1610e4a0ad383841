//! Differences of rows to a chosen one on the same pictures and seeds, with paired bootstrap intervals.

use crate::distances::{Kept, RESAMPLES, SEED, of_draws};
use crate::error::Problem;
use crate::evidence::Evidence;
use crate::judge::Judge;
use crate::metric::Metric;
use crate::plan::Plan;
use crate::store::JobFolder;
use crate::yaml::offer;
use anyhow::Result;
use egsde_metrics::frechet::Anchor;
use egsde_metrics::pair::{COLUMNS, PairScore};
use egsde_metrics::spread::{Interval, bootstrap, percentiles};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use tch::Device;

/// More decompositions than these (their number times the cube of their size) would take minutes: then differences of the
/// Fréchet distance are left out.
const FID_WORK: f64 = 4e11;

/// One row less the chosen one.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    pub method: String,
    /// Mean difference and its 95 % interval by metric (fid, l2, psnr, ssim).
    pub metrics: BTreeMap<String, Interval>,
}

/// All of an experiment's.
#[derive(Debug, Clone, Serialize)]
pub struct Differences {
    /// The row the others are compared with.
    pub to: String,
    pub pictures: usize,
    pub rows: Vec<Difference>,
}

/// Columns of a table of differences.
pub fn columns() -> Vec<&'static Metric> {
    ["fid", "l2", "psnr", "ssim"]
        .into_iter()
        .filter_map(Metric::of)
        .collect()
}

/// A finished job.
struct Finished {
    evidence: Evidence,
    /// Where its distances are kept.
    kept: Kept,
}

type BySeed = BTreeMap<u64, Finished>;

/// The finished jobs by row and seed.
fn finished(plan: &Plan) -> Result<BTreeMap<String, BySeed>> {
    let task = serde_json::to_string(&plan.task)?;
    let mut found: BTreeMap<String, BySeed> = BTreeMap::new();
    for job in &plan.jobs {
        let folder = JobFolder::of(&plan.folder, job);
        if let Some(scores) = folder.scores() {
            let compared_with = format!("{task} {:?}", job.identity.inputs);
            let kept = Kept::new(folder.path(), &scores.evidence_sha256, &compared_with);
            found.entry(job.row.clone()).or_default().insert(
                job.identity.seed,
                Finished {
                    evidence: folder.evidence(&scores)?,
                    kept,
                },
            );
        }
    }
    Ok(found)
}

/// The seeds both have, as pairs; a row without seeds (sources, a folder) stands against each seed of the other.
fn common<T>(row: &BTreeMap<u64, T>, base: &BTreeMap<u64, T>) -> Vec<(u64, u64)> {
    match (row.len(), base.len()) {
        (1, n) if n > 1 => row
            .keys()
            .flat_map(|r| base.keys().map(move |b| (*r, *b)))
            .collect(),
        (n, 1) if n > 1 => base
            .keys()
            .flat_map(|b| row.keys().map(move |r| (*r, *b)))
            .collect(),
        _ => row
            .keys()
            .filter(|seed| base.contains_key(seed))
            .map(|seed| (*seed, *seed))
            .collect(),
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0usize), |(s, n), v| (s + v, n + 1));
    sum / n as f64
}

/// Of a number each picture has.
fn of_pairs(seeds: &[(&Evidence, &Evidence)], value: fn(&PairScore) -> f64) -> Result<Interval> {
    let n = seeds[0].0.pairs.len();
    let by_picture: Vec<f64> = (0..n)
        .map(|i| {
            mean(
                seeds
                    .iter()
                    .map(|(r, b)| value(&r.pairs[i]) - value(&b.pairs[i])),
            )
        })
        .collect();
    bootstrap(n, SEED, |drawn| mean(drawn.iter().map(|i| by_picture[*i])))
}

type Distances = BTreeMap<(String, u64), Vec<f64>>;

/// Of every row and seed; nothing where that would take minutes. `anchor` is asked for when a job's are not kept yet.
fn all_distances(
    all: &BTreeMap<String, BySeed>,
    anchor: impl Fn() -> Result<Anchor>,
) -> Result<Distances> {
    let each = || {
        all.iter().flat_map(|(row, seeds)| {
            seeds
                .iter()
                .map(move |(seed, job)| ((row.clone(), *seed), job))
        })
    };
    let side = |e: &Evidence| (e.pairs.len().min(e.features.size()[1] as usize)) as f64;
    let work: f64 = each()
        .map(|(_, job)| side(&job.evidence).powi(3) * RESAMPLES as f64)
        .sum();
    if work > FID_WORK || each().any(|(_, job)| job.evidence.pairs.len() < 2) {
        return Ok(Distances::new());
    }
    let (mut opened, mut found) = (None, Distances::new());
    for (key, Finished { evidence, kept }) in each() {
        let values = match kept.read() {
            Some(values) => values,
            None => {
                let anchor = match &opened {
                    Some(anchor) => anchor,
                    None => opened.insert(anchor()?),
                };
                let values = of_draws(evidence, anchor)?;
                // Where nothing can be written, they are computed anew each time.
                let _ = kept.write(&values);
                values
            }
        };
        found.insert(key, values);
    }
    Ok(found)
}

/// Of the Fréchet distance: both rows on the same drawn pictures. Small samples raise it, on both sides alike.
fn of_distance(pairs: &[(&Vec<f64>, &Vec<f64>)]) -> Result<Interval> {
    let difference = |at: usize| mean(pairs.iter().map(|(r, b)| r[at] - b[at]));
    percentiles(difference(0), (1..=RESAMPLES).map(difference).collect())
}

impl Difference {
    fn of(
        row: &str,
        base: &str,
        all: &BTreeMap<String, BySeed>,
        distances: &Distances,
    ) -> Result<Option<Self>> {
        let (Some(ours), Some(theirs)) = (all.get(row), all.get(base)) else {
            return Ok(None);
        };
        let seeds = common(ours, theirs);
        let evidence: Vec<_> = seeds
            .iter()
            .map(|(r, b)| (&ours[r].evidence, &theirs[b].evidence))
            .collect();
        if evidence.is_empty() || evidence[0].0.pairs.len() < 2 {
            return Ok(None);
        }
        let mut metrics = BTreeMap::new();
        for (key, value) in COLUMNS {
            metrics.insert(key.to_string(), of_pairs(&evidence, value)?);
        }
        let of = |row: &str, seed: u64| distances.get(&(row.to_string(), seed));
        if let Some(pairs) = seeds
            .iter()
            .map(|(r, b)| of(row, *r).zip(of(base, *b)))
            .collect::<Option<Vec<_>>>()
        {
            metrics.insert("fid".to_string(), of_distance(&pairs)?);
        }
        Ok(Some(Self {
            method: row.into(),
            metrics,
        }))
    }
}

impl Differences {
    /// Of everything that is finished, to the row the experiment names in `compare_to`; nothing where it names none.
    pub fn of(plan: &Plan, root: &Path) -> Result<Option<Self>> {
        let Some(to) = &plan.spec.compare_to else {
            return Ok(None);
        };
        let all = finished(plan)?;
        if !all.contains_key(to) {
            return Ok(None);
        }
        let anchor = || {
            Ok(Anchor::new(
                &Judge::of_plan(plan, root, Device::Cpu)?
                    .reference()
                    .statistics,
            ))
        };
        let distances = all_distances(&all, anchor)?;
        let others = plan
            .spec
            .methods
            .iter()
            .map(|r| &r.name)
            .filter(|name| *name != to);
        let rows: Vec<Option<Difference>> = others
            .map(|name| Difference::of(name, to, &all, &distances))
            .collect::<Result<_>>()?;
        Ok(Some(Self {
            to: to.clone(),
            pictures: plan.spec.pictures,
            rows: rows.into_iter().flatten().collect(),
        }))
    }
}

/// Names in `compare_to` must be rows.
pub fn check(to: &str, rows: &[&str], at: &str) -> Result<()> {
    if rows.contains(&to) {
        return Ok(());
    }
    Err(Problem::user(format!(
        "{at}: compare_to names no row `{to}`{}",
        offer(to, rows.iter().copied())
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use egsde_metrics::frechet::Statistics;
    use tch::{Kind, Tensor};

    fn evidence(l2: &[f64], shift: f64) -> Evidence {
        let pairs = l2
            .iter()
            .map(|l2| PairScore {
                l2: *l2,
                mse: 0.0,
                psnr: 0.0,
                ssim: 0.0,
            })
            .collect();
        let n = l2.len() as i64;
        let features = (Tensor::arange(n * 3, (Kind::Float, Device::Cpu)) * 0.7)
            .sin()
            .reshape([n, 3])
            + shift;
        Evidence { pairs, features }
    }

    #[test]
    fn a_constant_difference_has_a_narrow_interval_and_none_has_zero() {
        let base = evidence(&[1.0, 5.0, 2.0, 9.0, 4.0, 7.0], 0.0);
        let row = evidence(&[1.5, 5.5, 2.5, 9.5, 4.5, 7.5], 0.0);
        let found = of_pairs(&[(&row, &base)], |p| p.l2).unwrap();
        assert!(
            (found.low - 0.5).abs() < 1e-12
                && (found.high - 0.5).abs() < 1e-12
                && found.excludes_zero()
        );
        let same = of_pairs(&[(&base, &base)], |p| p.l2).unwrap();
        assert!(same.low == 0.0 && same.high == 0.0 && !same.excludes_zero());
    }

    #[test]
    fn a_shift_of_the_features_is_seen_in_the_distance() {
        let n = [0.0; 40];
        let (near, far) = (evidence(&n, 0.1), evidence(&n, 2.0));
        let anchor = Anchor::new(&Statistics::of(&evidence(&n, 0.0).features).unwrap());
        let of = |e: &Evidence| of_draws(e, &anchor).unwrap();
        let found = of_distance(&[(&of(&far), &of(&near))]).unwrap();
        // Three dimensions shifted by 2.0 and by 0.1: 12.0 less 0.03.
        assert!(
            (found.estimate - 11.97).abs() < 1e-3 && found.excludes_zero(),
            "{found:?}"
        );
    }

    #[test]
    fn only_common_seeds_are_paired() {
        let of = |seeds: &[u64]| {
            seeds
                .iter()
                .map(|s| (*s, ()))
                .collect::<BTreeMap<u64, ()>>()
        };
        assert_eq!(common(&of(&[1, 2, 3]), &of(&[2, 3, 4])).len(), 2);
        assert_eq!(common(&of(&[1]), &of(&[2, 3])).len(), 2);
    }
}
