//! Mean and spread over seeds, beside the published numbers.

use crate::error::UserError;
use crate::metric::{METRICS, Metric};
use crate::paired::Differences;
use crate::plan::{Job, Plan};
use crate::spec::Format;
use crate::store::JobFolder;
use anyhow::{Context, Result};
use egsde_metrics::spread::deviations;
use polars::prelude::*;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Mean, sample standard deviation and count over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cell {
    pub mean: f64,
    /// None with one seed, or where the source states none.
    pub std: Option<f64>,
    pub n: Option<u32>,
    /// Half the width of the mean's 95 % interval by Student's t.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<f64>,
}

/// Where a row's numbers are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    Ours,
    Published,
}

impl Origin {
    /// In files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Published => "published",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct TableRow {
    pub method: String,
    pub source: Origin,
    pub metrics: BTreeMap<String, Cell>,
}

/// A rendered experiment.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    pub experiment: String,
    pub rows: Vec<TableRow>,
    /// Differences to the row the experiment compares with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<Differences>,
    #[serde(skip)]
    pub columns: Vec<&'static Metric>,
    #[serde(skip)]
    pub title: String,
    /// What a reader must know about our rows.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// Jobs without a result.
    #[serde(skip)]
    pub missing: Vec<String>,
}

/// What the finished jobs of a plan say.
struct Finished {
    /// One line a finished job and metric: row, seed, metric, value.
    frame: DataFrame,
    missing: Vec<String>,
    /// Jobs whose device had no memory for the whole group, and the smallest group that was left.
    halved: (usize, usize),
}

/// Jobs that are read together; the parts are read on all cores.
const PART: usize = 1000;

fn part(plan: &Plan, jobs: &[Job]) -> Result<Finished> {
    let (mut rows, mut seeds, mut metrics, mut values) = (vec![], vec![], vec![], vec![]);
    let mut missing = Vec::new();
    let group = plan.spec.group.min(plan.spec.pictures);
    let mut halved = (0, group);
    for job in jobs {
        let Some(scores) = JobFolder::of(&plan.folder, job).scores() else {
            missing.push(job.id.clone());
            continue;
        };
        if scores.conditions.group < group {
            halved = (halved.0 + 1, halved.1.min(scores.conditions.group));
        }
        for (metric, value) in scores.metrics {
            rows.push(job.row.as_str());
            seeds.push(job.identity.seed);
            metrics.push(metric);
            values.push(value);
        }
    }
    let frame = df!("row" => rows, "seed" => seeds, "metric" => metrics, "value" => values)?;
    Ok(Finished {
        frame,
        missing,
        halved,
    })
}

fn finished(plan: &Plan) -> Result<Finished> {
    let mut parts = plan
        .jobs
        .par_chunks(PART)
        .map(|jobs| part(plan, jobs))
        .collect::<Result<Vec<_>>>()?
        .into_iter();
    let mut all = parts.next().context("a plan has jobs")?;
    for part in parts {
        all.frame.vstack_mut(&part.frame)?;
        all.missing.extend(part.missing);
        all.halved = (
            all.halved.0 + part.halved.0,
            all.halved.1.min(part.halved.1),
        );
    }
    Ok(all)
}

/// Cells by row, then by metric.
type Cells = HashMap<String, BTreeMap<String, Cell>>;

fn summary(frame: DataFrame) -> Result<Cells> {
    let value = || col("value");
    let grouped = frame.lazy().group_by([col("row"), col("metric")]);
    let out = grouped
        .agg([
            value().mean().alias("mean"),
            value().std(1).alias("std"),
            value().count().alias("n"),
        ])
        .collect()?;
    let text = |name: &str| anyhow::Ok(out.column(name)?.str()?.clone());
    let (rows, metrics) = (text("row")?, text("metric")?);
    let (means, stds) = (out.column("mean")?.f64()?, out.column("std")?.f64()?);
    let counts = out.column("n")?.cast(&DataType::UInt32)?;
    let counts = counts.u32()?;
    let (mut cells, mut widths) = (Cells::new(), BTreeMap::new());
    for i in 0..out.height() {
        let (Some(row), Some(metric), Some(mean)) = (rows.get(i), metrics.get(i), means.get(i))
        else {
            continue;
        };
        let (std, n) = (stds.get(i), counts.get(i));
        let width = n.and_then(|n| *widths.entry(n).or_insert_with(|| deviations(n as usize)));
        let cell = Cell {
            mean,
            std,
            n,
            ci95: std.zip(width).map(|(std, width)| std * width),
        };
        cells
            .entry(row.to_string())
            .or_default()
            .insert(metric.to_string(), cell);
    }
    Ok(cells)
}

#[derive(Debug, serde::Deserialize)]
struct PublishedLine {
    table: String,
    task: String,
    method: String,
    metric: String,
    mean: f64,
    std: Option<f64>,
    #[serde(rename = "source")]
    _source: String,
}

/// Rows of `results/published.csv` for one table and task, in the file's order.
pub fn published(root: &Path, table: &str, task: &str) -> Result<Vec<TableRow>> {
    let path = root.join("results/published.csv");
    let mut reader =
        csv::Reader::from_path(&path).user(format!("cannot read {}", path.display()))?;
    let mut rows: Vec<TableRow> = Vec::new();
    for line in reader.deserialize() {
        let line: PublishedLine = line.user(path.display())?;
        if line.table != table || line.task != task {
            continue;
        }
        if rows.last().is_none_or(|r| r.method != line.method) {
            rows.push(TableRow {
                method: line.method.clone(),
                source: Origin::Published,
                metrics: BTreeMap::new(),
            });
        }
        let row = rows.last_mut().context("a row was just pushed")?;
        row.metrics.insert(
            line.metric,
            Cell {
                mean: line.mean,
                std: line.std,
                n: None,
                ci95: None,
            },
        );
    }
    Ok(rows)
}

/// What a reader must know about our rows, and about the published ones beside them.
fn notes(plan: &Plan, halved: (usize, usize)) -> Vec<String> {
    let (spec, task) = (&plan.spec, &plan.task);
    let (seeds, side) = (spec.seeds.len(), task.image_size);
    let format = match spec.format {
        Format::Png => "PNG (without loss)",
        Format::Jpeg75 => "JPEG of quality 75, 4:2:0 (as published)",
    };
    let ours = format!(
        "Ours: {}, {} pictures, {seeds} seeds, precision {}, translations of {side} px stored as {format}.",
        task.title, spec.pictures, spec.precision
    );
    let mut notes = vec![ours];
    match task.protocol.protocol() {
        None => notes.push(format!(
            "The FID column of our rows is a {}: not comparable with the published Inception FID. L2 grows with the picture's size.",
            task.distance
        )),
        Some(protocol) => notes.push(format!("FID of our rows: {}, protocol {protocol:?}.", task.distance)),
    }
    if let (jobs @ 1.., group) = halved {
        notes.push(format!(
            "Memory ran out in {jobs} jobs: the networks saw {group} pictures at once instead of {} (equal to the last rounding).",
            spec.group
        ));
    }
    if spec.published.is_some() {
        notes.push("Published: 256 px, Inception FID, from results/published.csv (* there: quoted from other papers).".into());
    }
    notes
}

impl Table {
    /// The best mean of our rows in each column, by metric.
    pub fn bests(&self) -> BTreeMap<&'static str, f64> {
        let ours = |metric: &Metric| {
            let rows = self.rows.iter().filter(|r| r.source == Origin::Ours);
            let means = rows
                .filter_map(|r| r.metrics.get(metric.key))
                .map(|c| c.mean);
            means.min_by(|a, b| {
                if metric.smaller_is_better {
                    a.total_cmp(b)
                } else {
                    b.total_cmp(a)
                }
            })
        };
        self.columns
            .iter()
            .filter_map(|metric| Some((metric.key, ours(metric)?)))
            .collect()
    }

    /// From whatever is finished; jobs without a result are named in `missing`, a row of them alone has no numbers.
    pub fn of(plan: &Plan, root: &Path) -> Result<Self> {
        let Finished {
            frame,
            missing,
            halved,
        } = finished(plan)?;
        let mut cells = summary(frame)?;
        let ours = plan.spec.methods.iter().map(|row| {
            let metrics = cells.remove(&row.name).unwrap_or_default();
            TableRow {
                method: row.name.clone(),
                source: Origin::Ours,
                metrics,
            }
        });
        let mut rows: Vec<TableRow> = ours.collect();
        if let Some(p) = &plan.spec.published {
            rows.splice(0..0, published(root, &p.table, &p.task)?);
        }
        let spec = &plan.spec;
        let shown = |m: &&Metric| {
            (!m.optional || spec.precision_recall)
                && rows.iter().any(|r| r.metrics.contains_key(m.key))
        };
        let columns = METRICS.iter().filter(shown).collect();
        let differences = Differences::of(plan, root)?;
        Ok(Self {
            differences,
            columns,
            experiment: spec.name.clone(),
            rows,
            title: spec.title.clone(),
            notes: notes(plan, halved),
            missing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_sample_deviation_over_seeds() {
        let frame =
            df!("row" => ["a", "a", "a", "b"], "seed" => [1u64, 2, 3, 1], "metric" => ["l2"; 4], "value" => [1.0, 2.0, 6.0, 4.0]).unwrap();
        let cells = summary(frame).unwrap();
        let a = cells["a"]["l2"];
        assert_eq!((a.mean, a.n), (3.0, Some(3)));
        assert!((a.std.unwrap() - 7f64.sqrt()).abs() < 1e-12);
        assert_eq!(cells["b"]["l2"].std, None);
    }

    #[test]
    fn every_published_row_of_the_task_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let rows = published(&root, "1", "cat2dog").unwrap();
        assert_eq!(rows.len(), 14);
        let dagger = rows.last().unwrap();
        assert_eq!(
            (
                dagger.method.as_str(),
                dagger.metrics["fid"].mean,
                dagger.metrics["fid"].std
            ),
            ("EGSDE†", 51.04, Some(0.37))
        );
    }
}
