//! Which pictures a report shows: by a fixed rule, and those with the largest gain and loss, so that nobody can choose nice ones.

use crate::judge::Judge;
use crate::plan::{Job, Plan};
use crate::spec::MethodKind;
use crate::store::JobFolder;
use crate::table::{Origin, Table};
use anyhow::Result;
use egsde_metrics::pictures::Pictures;
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Sources a grid shows.
const ROWS: usize = 10;

/// Sources of the largest gain and loss.
const EXTREMES: usize = 6;

/// Methods a grid shows; more would be too wide for any screen.
const COLUMNS: usize = 24;

/// Some sources and what each method makes of them.
pub struct Grid {
    /// File name without extension.
    pub file: &'static str,
    pub title: String,
    /// How the sources were chosen.
    pub rule: String,
    /// Heading and pictures: the sources first, then a column each method.
    pub columns: Vec<(String, Pictures)>,
}

/// The finished job of each row at the first seed it has.
fn first_jobs(plan: &Plan) -> Vec<(&Job, JobFolder)> {
    let mut chosen: Vec<(&Job, JobFolder)> = Vec::new();
    for job in &plan.jobs {
        let folder = JobFolder::of(&plan.folder, job);
        if chosen.last().is_none_or(|(last, _)| last.row != job.row) && folder.scores().is_some() {
            chosen.push((job, folder));
        }
    }
    chosen
}

/// Rows that change the sources: the others would show them twice.
fn translated<'a, 'b>(
    jobs: &'a [(&'b Job, JobFolder)],
) -> impl Iterator<Item = &'a (&'b Job, JobFolder)> {
    jobs.iter()
        .filter(|(job, _)| job.identity.settings.method != MethodKind::Source)
}

/// The sources at `indices`, then what the first [`COLUMNS`] rows of the table make of them.
fn columns(
    source: &Pictures,
    jobs: &[(&Job, JobFolder)],
    indices: &[usize],
) -> Vec<(String, Pictures)> {
    let rows = source.select(indices);
    let shown = translated(jobs).take(COLUMNS);
    let made = shown.filter_map(|(job, folder)| {
        Some((
            job.row.clone(),
            folder.read_all(&rows.names, source.side).ok()?,
        ))
    });
    let made: Vec<(String, Pictures)> = made.collect();
    std::iter::once(("Source".to_string(), rows))
        .chain(made)
        .collect()
}

/// Distance of each picture's features to the nearest real picture's.
fn nearest(features: &Tensor, real: &Tensor) -> Result<Vec<f64>> {
    let distances = Tensor::f_cdist(
        &features.to_kind(Kind::Double),
        &real.to_kind(Kind::Double),
        2.0,
        None::<i64>,
    )?;
    Ok(Vec::try_from(distances.amin([1i64].as_slice(), false))?)
}

/// By how much each picture of the best row is nearer to a real one than the other row's, with both rows' names.
fn gains(
    plan: &Plan,
    table: &Table,
    root: &Path,
    jobs: &[(&Job, JobFolder)],
) -> Result<Option<(String, String, Vec<f64>)>> {
    let ours = table.rows.iter().filter(|r| r.source == Origin::Ours);
    let fids: BTreeMap<&str, f64> = ours
        .filter_map(|r| Some((r.method.as_str(), r.metrics.get("fid")?.mean)))
        .collect();
    let fid = |name: &str| fids.get(name).copied().unwrap_or(f64::INFINITY);
    let base = plan
        .spec
        .compare_to
        .clone()
        .or_else(|| jobs.first().map(|(j, _)| j.row.clone()));
    let Some(base) = jobs.iter().find(|(j, _)| Some(&j.row) == base.as_ref()) else {
        return Ok(None);
    };
    let others = jobs.iter().filter(|(j, _)| j.row != base.0.row);
    let Some(best) = others.min_by(|a, b| fid(&a.0.row).total_cmp(&fid(&b.0.row))) else {
        return Ok(None);
    };
    let judge = Judge::of_plan(plan, root, Device::Cpu)?;
    let Some(real) = &judge.reference().features else {
        return Ok(None);
    };
    let far = |folder: &JobFolder| -> Result<Option<Vec<f64>>> {
        let Some(scores) = folder.scores() else {
            return Ok(None);
        };
        Ok(Some(nearest(&folder.evidence(&scores)?.features, real)?))
    };
    let (Some(before), Some(after)) = (far(&base.1)?, far(&best.1)?) else {
        return Ok(None);
    };
    let gain = before.iter().zip(&after).map(|(b, a)| b - a).collect();
    Ok(Some((best.0.row.clone(), base.0.row.clone(), gain)))
}

/// All grids; none when no pictures are there.
pub fn grids(plan: &Plan, table: &Table, root: &Path) -> Result<Vec<Grid>> {
    let jobs = first_jobs(plan);
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let source = plan
        .task
        .source
        .load(root, plan.task.image_size, plan.spec.pictures)?;
    let first: Vec<usize> = (0..source.len().min(ROWS)).collect();
    let left_out = translated(&jobs).count().saturating_sub(COLUMNS);
    let some = if left_out == 0 {
        String::new()
    } else {
        format!(" The table's first {COLUMNS} rows; {left_out} more are not shown.")
    };
    let mut grids = vec![Grid {
        file: "grid",
        title: "First sources".into(),
        rule: format!(
            "The first {} sources in the data set's order, first seed.{some}",
            first.len()
        ),
        columns: columns(&source, &jobs, &first),
    }];
    if let Some((best, base, gain)) = gains(plan, table, root, &jobs)? {
        let mut order: Vec<usize> = (0..gain.len()).collect();
        order.sort_by(|a, b| gain[*b].total_cmp(&gain[*a]));
        let count = EXTREMES.min(order.len());
        let last: Vec<usize> = order.iter().rev().take(count).copied().collect();
        let rule = |which: &str| {
            format!(
                "The {count} sources whose {best} translation {which} nearer than {base}'s to its nearest reference picture (features, first seed).{some}"
            )
        };
        grids.push(Grid {
            file: "grid_gain",
            title: "Largest gain".into(),
            rule: rule("comes most"),
            columns: columns(&source, &jobs, &order[..count]),
        });
        grids.push(Grid {
            file: "grid_loss",
            title: "Largest loss".into(),
            rule: rule("comes least"),
            columns: columns(&source, &jobs, &last),
        });
    }
    Ok(grids)
}
