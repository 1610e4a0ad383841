//! Mean and spread over seeds, beside the published numbers.

use super::claims::{TestedClaim, claimed_rows, test_claims};
use super::cost::Costs;
use super::differences::Differences;
use super::paired::PairedRows;
use super::published::{PublishedTable, published_notes, published_rows};
use super::table_row::shown_metrics;
pub use super::table_row::{Cell, CellNote, Origin, TableRow};
use crate::config::image_format::ImageFormat;
use crate::scoring::evaluator::LazyEvaluator;
use crate::store::results::Results;
use anyhow::Result;
use egsde_metrics::averages::mean;
use egsde_metrics::intervals::half_width_factor;
use egsde_metrics::registry::{Metric, REFERENCE_TARGET_SHARE, SOURCE_TARGET_SHARE, TARGET_SHARE};
use polars::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The table of an experiment.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    /// The experiment's name, which is also its folder's.
    pub experiment: String,
    /// Ours in the experiment's order; before them the published ones, where they are of the same
    /// protocol.
    pub rows: Vec<TableRow>,
    /// Published rows of another protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishedTable>,
    /// Differences to the row with which the experiment compares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<Differences>,
    /// The paper's claims about its table, each with its verdict.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<TestedClaim>,
    /// Source images per job.
    pub pictures: usize,
    /// The machines that times were measured on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<String>,
    /// The metrics that are shown, in the registry's order; those without any value are left out.
    #[serde(skip)]
    pub columns: Vec<&'static Metric>,
    /// Heading that the experiment file gives.
    #[serde(skip)]
    pub title: String,
    /// What a reader must know about our rows.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// Names of the jobs without a result.
    #[serde(skip)]
    pub missing: Vec<String>,
}

/// One line per finished job and metric: row, seed, metric, value.
fn job_values(results: &Results) -> Result<DataFrame> {
    let (mut rows, mut seeds, mut metrics, mut values) = (vec![], vec![], vec![], vec![]);
    for finished in results.finished() {
        for (metric, value) in &finished.scores.metrics {
            rows.push(finished.job.row.as_str());
            seeds.push(finished.job.identity.seed);
            metrics.push(metric.as_str());
            values.push(*value);
        }
    }
    Ok(df!("row" => rows, "seed" => seeds, "metric" => metrics, "value" => values)?)
}

/// Cells by row, then by metric.
type Cells = HashMap<String, BTreeMap<String, Cell>>;

/// Mean and spread of each row's metrics over seeds.
///
/// The eager aggregations are called deprecated in favour of the lazy engine, which takes longer
/// to compile than all of this project; the numbers are the same.
#[expect(deprecated)]
fn summarise(frame: &DataFrame) -> Result<Cells> {
    let groups = frame.group_by(["row", "metric"])?.select(["value"]);
    let (out, deviations, sizes) = (groups.mean()?, groups.std(1)?, groups.count()?);
    let (rows, metrics) = (out.column("row")?.str()?, out.column("metric")?.str()?);
    let means = out.column("value_mean")?.f64()?;
    let stds = deviations.column("value_agg_std")?.f64()?;
    let counts = sizes.column("value_count")?.cast(&DataType::UInt32)?;
    let counts = counts.u32()?;
    let (mut cells, mut factors) = (Cells::new(), BTreeMap::new());
    for i in 0..out.height() {
        let (Some(row), Some(metric), Some(mean)) = (rows.get(i), metrics.get(i), means.get(i))
        else {
            continue;
        };
        let (std, n) = (stds.get(i), counts.get(i));
        let factor = n.and_then(|n| {
            *factors
                .entry(n)
                .or_insert_with(|| half_width_factor(n as usize))
        });
        let ci95 = std.zip(factor).map(|(std, factor)| std * factor);
        let of_row = cells.entry(row.to_string()).or_default();
        let cell = Cell {
            mean,
            std,
            n,
            ci95,
            note: None,
        };
        of_row.insert(metric.to_string(), cell);
    }
    Ok(cells)
}

/// Jobs whose device had no memory for the planned batch, and the smallest batch that was left.
struct SmallerBatches {
    jobs: usize,
    smallest: usize,
}

fn smaller_batches(results: &Results) -> SmallerBatches {
    let experiment = &results.plan.experiment;
    let planned = experiment.batch_size.min(experiment.pictures);
    let mut found = SmallerBatches {
        jobs: 0,
        smallest: planned,
    };
    for finished in results.finished() {
        let used = finished.scores.sampling.batch_size;
        if used < planned {
            found.jobs += 1;
            found.smallest = found.smallest.min(used);
        }
    }
    found
}

/// The rows whose translations are stored otherwise than the experiment asks: generators' are
/// always stored without loss, as their authors store them. None where there is no such row.
fn other_format(results: &Results) -> Option<String> {
    let plan = results.plan;
    let jobs = plan.jobs.iter();
    let stored = jobs.filter(|job| job.identity.format != plan.experiment.format);
    let rows: BTreeSet<&str> = stored.map(|job| job.row.as_str()).collect();
    let rows: Vec<&str> = rows.into_iter().collect();
    (!rows.is_empty()).then(|| {
        format!(
            "Stored as {}, as their authors store them: {}.",
            ImageFormat::Png.description(),
            rows.join(", ")
        )
    })
}

/// The mean over finished jobs of a metric, as it is shown; none where no job has it.
fn mean_shown(results: &Results, metric: &Metric) -> Option<String> {
    let jobs = results.finished();
    let values: Vec<f64> = jobs
        .filter_map(|job| job.scores.metrics.get(metric.key).copied())
        .collect();
    let shown = (!values.is_empty()).then(|| mean(&values) * metric.scale)?;
    Some(format!("{shown:.*}", metric.digits))
}

/// Who calls translations the target, and how often that is said of sources and of the target's
/// own images. None where nobody does.
fn target_share_note(results: &Results) -> Option<String> {
    let sources = mean_shown(results, &SOURCE_TARGET_SHARE)?;
    let reference = mean_shown(results, &REFERENCE_TARGET_SHARE)?;
    let target = &results.plan.task.reference.domain;
    Some(format!(
        "{}: how many translations the classifier behind the features, which takes no part in \
         translating, calls {target}; of the sources {sources}, of the reference {reference}.",
        TARGET_SHARE.heading
    ))
}

/// What a reader must know about our rows.
fn notes(results: &Results) -> Vec<String> {
    let (experiment, task) = (&results.plan.experiment, &results.plan.task);
    let mut notes = vec![format!(
        "Ours: {}, {} pictures, {} seeds, precision {}, translations of {} px stored as {}.",
        task.title,
        experiment.pictures,
        experiment.seeds.len(),
        experiment.precision,
        task.image_size,
        experiment.format.description()
    )];
    notes.extend(other_format(results));
    notes.push(match task.protocol.published() {
        None => format!(
            "The FID column of our rows is a {}: not comparable with the published Inception FID. \
             L2 grows with the picture's size.",
            task.distance
        ),
        Some(protocol) => format!("FID of our rows: {}, protocol {protocol}.", task.distance),
    });
    notes.extend(target_share_note(results));
    notes.extend(results.plan.notes());
    let SmallerBatches { jobs, smallest } = smaller_batches(results);
    if jobs > 0 {
        notes.push(format!(
            "Memory ran out in {jobs} jobs: the networks saw batches of {smallest} instead of {} \
             (equal to the last rounding).",
            experiment.batch_size
        ));
    }
    notes
}

impl Table {
    /// The best mean of our rows in each column of quality, by metric.
    pub fn bests(&self) -> BTreeMap<&'static str, f64> {
        let mut bests = BTreeMap::new();
        for metric in self.columns.iter().filter(|metric| !metric.is_cost()) {
            let ours = self.rows.iter().filter(|row| row.source == Origin::Ours);
            let means = ours
                .filter_map(|row| row.metrics.get(metric.key))
                .map(|cell| cell.mean);
            if let Some(best) = means.min_by(|a, b| metric.compare(*a, *b)) {
                bests.insert(metric.key, best);
            }
        }
        bests
    }

    /// The table of whatever is finished. Jobs without a result are named in `missing`; a row of
    /// them alone has no numbers.
    ///
    /// # Errors
    /// Per-image values that were changed.
    pub fn new(results: &Results, evaluator: &LazyEvaluator) -> Result<Self> {
        let (experiment, paper) = (&results.plan.experiment, results.plan.paper.as_ref());
        let (mut cells, mut costs) = (summarise(&job_values(results)?)?, Costs::new(results)?);
        let (mut rows, mut notes) = (Vec::new(), notes(results));
        notes.append(&mut costs.notes);
        // Numbers of one protocol stand in one table.
        let is_same_protocol = results.plan.task.protocol.published().is_some();
        if let Some(paper) = paper.filter(|_| is_same_protocol) {
            rows = published_rows(&paper.lines);
            notes.extend(published_notes(&paper.lines));
        }
        for row in &experiment.methods {
            let mut metrics = cells.remove(&row.name).unwrap_or_default();
            metrics.append(&mut costs.take(&row.name));
            rows.push(TableRow {
                method: row.name.clone(),
                source: Origin::Ours,
                metrics,
            });
        }
        let paired = PairedRows::read(results, evaluator, &claimed_rows(paper))?;
        Ok(Self {
            experiment: experiment.name.clone(),
            differences: Differences::new(experiment, &paired)?,
            claims: test_claims(paper, &rows, &paired)?,
            published: paper.filter(|_| !is_same_protocol).map(PublishedTable::new),
            columns: shown_metrics(&rows, experiment.precision_recall),
            rows,
            pictures: experiment.pictures,
            machines: costs.machines,
            title: experiment.title.clone(),
            notes,
            missing: results.missing().into_iter().map(String::from).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_sample_deviation_over_seeds() {
        let frame = df!(
            "row" => ["a", "a", "a", "b"],
            "seed" => [1u64, 2, 3, 1],
            "metric" => ["l2"; 4],
            "value" => [1.0, 2.0, 6.0, 4.0]
        );
        let cells = summarise(&frame.unwrap()).unwrap();
        let a = cells["a"]["l2"];
        assert_eq!((a.mean, a.n), (3.0, Some(3)));
        assert!((a.std.unwrap() - 7f64.sqrt()).abs() < 1e-12);
        assert_eq!(cells["b"]["l2"].std, None);
    }
}
