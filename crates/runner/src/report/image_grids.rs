//! The images that a report shows: the first ones, and those with the largest gain and loss. Fixed
//! rules choose them, so that a reader need not suspect that the best-looking ones were picked.

use crate::analysis::table::{Origin, Table};
use crate::project::Project;
use crate::scoring::evaluator::LazyEvaluator;
use crate::store::results::{Finished, Results};
use anyhow::Result;
use egsde_data::image_set::ImageSet;
use egsde_metrics::neighbours::nearest;
use egsde_metrics::registry::FID;

/// Sources that the grid of the first ones shows.
const FIRST_SOURCES: usize = 16;

/// Sources of the largest gain and of the largest loss.
const EXTREMES: usize = 6;

/// Methods that a grid shows; more would be too wide for any screen.
const MAX_METHODS: usize = 24;

/// Images under a heading.
pub struct Column {
    /// What they are: the sources, or a row's name.
    pub heading: String,
    /// One below the other, in the order of the grid's sources.
    pub images: ImageSet,
}

/// Some sources and what each method makes of them.
pub struct Grid {
    /// File name without extension.
    pub stem: &'static str,
    /// Heading for people.
    pub title: &'static str,
    /// How the sources were chosen.
    pub rule: String,
    /// The sources first, then one column per method.
    pub columns: Vec<Column>,
}

/// How much nearer to the reference one row's images are than another's.
struct Gains {
    /// The row with the smallest Fréchet distance.
    best: String,
    /// The row with which it is compared.
    base: String,
    /// By how much each image of `best` is nearer to a reference image than that of `base`.
    by_image: Vec<f64>,
}

/// The sources of an experiment and the rows that translated them.
struct Translations<'a> {
    source: ImageSet,
    /// Without rows that leave the sources as they are: a grid would show these twice.
    rows: Vec<Finished<'a>>,
}

impl Translations<'_> {
    /// The sources at `indices`, then what the first rows of the table make of them. A row whose
    /// images cannot be read is left out.
    fn columns(&self, indices: &[usize]) -> Vec<Column> {
        let images = self.source.select(indices);
        let names = images.names.clone();
        let mut columns = vec![Column {
            heading: "Source".into(),
            images,
        }];
        for finished in self.rows.iter().take(MAX_METHODS) {
            if let Ok(images) = finished.dir().read_all(&names, self.source.side) {
                columns.push(Column {
                    heading: finished.job.row.clone(),
                    images,
                });
            }
        }
        columns
    }

    /// A note on rows that are not shown; empty where all are.
    fn note(&self) -> String {
        match self.rows.len().saturating_sub(MAX_METHODS) {
            0 => String::new(),
            more => format!(" The table's first {MAX_METHODS} rows; {more} more are not shown."),
        }
    }

    fn first_sources(&self, most: usize) -> Grid {
        let count = self.source.len().min(most);
        let indices: Vec<usize> = (0..count).collect();
        let note = self.note();
        Grid {
            stem: "grid",
            title: "First sources",
            rule: format!("The first {count} sources in the data set's order, first seed.{note}"),
            columns: self.columns(&indices),
        }
    }

    /// The sources with the largest gain, and those with the largest loss.
    fn extremes(&self, gains: &Gains) -> [Grid; 2] {
        let gain = &gains.by_image;
        let mut order: Vec<usize> = (0..gain.len()).collect();
        order.sort_by(|a, b| gain[*b].total_cmp(&gain[*a]));
        let largest: Vec<usize> = order.iter().take(EXTREMES).copied().collect();
        let smallest: Vec<usize> = order.iter().rev().take(EXTREMES).copied().collect();
        [
            Grid {
                stem: "grid_gain",
                title: "Largest gain",
                rule: self.rule_of_extremes(gains, largest.len(), "comes most"),
                columns: self.columns(&largest),
            },
            Grid {
                stem: "grid_loss",
                title: "Largest loss",
                rule: self.rule_of_extremes(gains, smallest.len(), "comes least"),
                columns: self.columns(&smallest),
            },
        ]
    }

    fn rule_of_extremes(&self, gains: &Gains, count: usize, verb: &str) -> String {
        let Gains { best, base, .. } = gains;
        format!(
            "The {count} sources whose {best} translation {verb} nearer than {base}'s to its \
             nearest reference picture (features, first seed).{}",
            self.note()
        )
    }
}

/// The mean Fréchet distance of one of our rows; infinite where it has none.
fn mean_fid(table: &Table, row: &str) -> f64 {
    let mut ours = table.rows.iter().filter(|row| row.source == Origin::Ours);
    let found = ours.find(|found| found.method == row);
    found
        .and_then(|row| row.metrics.get(FID.key))
        .map_or(f64::INFINITY, |cell| cell.mean)
}

/// The gains of the best row over the one with which the experiment compares, or over the first;
/// none with fewer than two rows, or where the reference images' features are not known.
fn gains(
    results: &Results,
    jobs: &[Finished],
    table: &Table,
    evaluator: &LazyEvaluator,
) -> Result<Option<Gains>> {
    let base = match &results.plan.experiment.compare_to {
        Some(to) => jobs.iter().find(|finished| finished.job.row == *to),
        None => jobs.first(),
    };
    let Some(base) = base else { return Ok(None) };
    let others = jobs.iter().filter(|other| other.job.row != base.job.row);
    let best =
        others.min_by(|a, b| mean_fid(table, &a.job.row).total_cmp(&mean_fid(table, &b.job.row)));
    let Some(best) = best else { return Ok(None) };
    let Some(real) = &evaluator.reference()?.features else {
        return Ok(None);
    };
    let base_distances = nearest(&base.per_image()?.features, real)?.distances;
    let best_distances = nearest(&best.per_image()?.features, real)?.distances;
    Ok(Some(Gains {
        best: best.job.row.clone(),
        base: base.job.row.clone(),
        by_image: base_distances
            .iter()
            .zip(&best_distances)
            .map(|(base, best)| base - best)
            .collect(),
    }))
}

/// The sources and the rows that translated them, of the first seed of each; none when no job is
/// finished.
fn translations<'a>(results: &'a Results, project: &Project) -> Result<Option<Translations<'a>>> {
    let mut rows = results.first_of_each_row();
    if rows.is_empty() {
        return Ok(None);
    }
    rows.retain(|finished| !finished.job.identity.settings.is_source());
    let (experiment, task) = (&results.plan.experiment, &results.plan.task);
    let source = task
        .source
        .load(project, task.image_size, experiment.pictures)?;
    Ok(Some(Translations { source, rows }))
}

/// The grid of the first sources alone; none when no job is finished.
///
/// # Errors
/// Invalid input: source images that are missing.
pub fn first_grid(results: &Results, project: &Project) -> Result<Option<Grid>> {
    Ok(translations(results, project)?.map(|found| found.first_sources(FIRST_SOURCES)))
}

/// The grid of at most `most` first sources and of these rows alone, in this order; none when none
/// of them is finished.
///
/// # Errors
/// Invalid input: source images that are missing.
pub fn grid_of_rows(
    results: &Results,
    project: &Project,
    rows: &[String],
    most: usize,
) -> Result<Option<Grid>> {
    let Some(mut found) = translations(results, project)? else {
        return Ok(None);
    };
    let mut chosen = Vec::new();
    for row in rows {
        let place = found
            .rows
            .iter()
            .position(|finished| finished.job.row == *row);
        chosen.extend(place.map(|place| found.rows.remove(place)));
    }
    found.rows = chosen;
    Ok((!found.rows.is_empty()).then(|| found.first_sources(most)))
}

/// All grids; none when no job is finished.
///
/// # Errors
/// Invalid input: source images or, for gains, reference images that are missing. Otherwise
/// per-image values that were changed.
pub fn grids(
    results: &Results,
    table: &Table,
    project: &Project,
    evaluator: &LazyEvaluator,
) -> Result<Vec<Grid>> {
    let Some(translations) = translations(results, project)? else {
        return Ok(Vec::new());
    };
    let mut grids = vec![translations.first_sources(FIRST_SOURCES)];
    let jobs = results.first_of_each_row();
    if let Some(gains) = gains(results, &jobs, table, evaluator)? {
        grids.extend(translations.extremes(&gains));
    }
    Ok(grids)
}
