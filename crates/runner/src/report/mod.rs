//! `egsde report`: tables, plots and image grids as files, and one page that holds them all.

mod cells;
mod conditions;
pub mod escape;
pub mod export;
mod export_files;
pub mod fingerprint;
pub mod html;
pub mod image_grids;
mod latex;
pub mod markdown;
pub mod overview;
mod page;
mod parquet_table;
pub mod plot;

use crate::analysis::table::Table;
use crate::error::{OrInvalidInput, invalid_input};
use crate::project::Project;
use crate::runtime::console::log;
use crate::scoring::evaluator::LazyEvaluator;
use crate::store::results::Results;
use anyhow::Result;
use egsde_data::files::{make_writable_folder, write_atomically};
use page::Page;
use std::path::Path;

/// Files that every report has.
const REPORT_FILES: [&str; 5] = [
    "index.html",
    "table.md",
    "table.tex",
    "table.csv",
    "table.parquet",
];

/// Refuses a folder in which a report would be written over files that no report left.
///
/// # Errors
/// Invalid input: such a file, by name.
pub fn check_target(folder: &Path) -> Result<()> {
    let page = std::fs::read_to_string(folder.join("index.html")).unwrap_or_default();
    if page.contains(html::GENERATOR) {
        return Ok(());
    }
    match REPORT_FILES.iter().find(|name| folder.join(name).exists()) {
        Some(name) => Err(invalid_input(format!(
            "{} is there, and no report of this program lies beside it: choose another folder, or \
             --force writes over it",
            folder.join(name).display()
        ))),
        None => Ok(()),
    }
}

/// Tells of characters in names that no font of this machine can draw.
fn warn_of_undrawable_names(table: &Table) {
    let names = table.rows.iter().map(|row| row.method.as_str());
    let boxes = plot::choose_fallback(names);
    if !boxes.is_empty() {
        writeln!(
            log(),
            "{}: plots show boxes for {boxes}: no font on this machine has them (install one, \
             for example fonts-noto-cjk)",
            table.experiment
        );
    }
}

/// Writes everything into `folder`; returns the names of the files.
///
/// # Errors
/// Invalid input: a folder that cannot be written to, or source images that are missing. Otherwise
/// per-image values that were changed, and what cannot be drawn.
pub fn write(
    results: &Results,
    table: &Table,
    project: &Project,
    evaluator: &LazyEvaluator,
    folder: &Path,
) -> Result<Vec<String>> {
    make_writable_folder(folder).or_invalid_input("report")?;
    warn_of_undrawable_names(table);
    let mut files = export_files::write_tables(table, folder)?;
    let tradeoff = plot::write_tradeoff(table, folder)?;
    let cost = plot::write_cost(table, folder)?;
    let curves = plot::write_curves(results.plan, table, folder)?;
    for figure in tradeoff.iter().chain(&cost).chain(&curves) {
        files.extend(figure.files.iter().cloned());
    }
    let grids = image_grids::grids(results, table, project, evaluator)?;
    for grid in &grids {
        files.push(plot::write_grid(grid, folder)?);
    }
    let conditions = conditions::conditions(results);
    let page = Page {
        plan: results.plan,
        table,
        tradeoff,
        cost,
        curves,
        grids,
        conditions,
        files: &files,
    };
    write_atomically(&folder.join("index.html"), page.html()?.as_bytes())?;
    files.push("index.html".into());
    Ok(files)
}

/// Writes a table as Markdown and the grid of the first sources; returns the names of the files.
///
/// # Errors
/// Invalid input: a folder that cannot be written to, or source images that are missing.
pub fn write_preview(
    results: &Results,
    table: &Table,
    project: &Project,
    folder: &Path,
) -> Result<Vec<String>> {
    let text = markdown::markdown(table);
    make_writable_folder(folder).or_invalid_input("report")?;
    write_atomically(&folder.join("table.md"), text.as_bytes())?;
    let mut files = vec!["table.md".to_string()];
    if let Some(grid) = image_grids::first_grid(results, project)? {
        files.push(plot::write_grid(&grid, folder)?);
    }
    Ok(files)
}
