//! `egsde report`: tables, plots and picture grids as files, and one page that holds them all.

mod chosen;
mod conditions;
mod files;
mod page;
pub mod stamp;

use crate::error::UserError;
use crate::plan::Plan;
use crate::plot;
use crate::table::Table;
use anyhow::Result;
use chosen::Grid;
use egsde_models::files::write_atomically;
use std::path::Path;

/// Everything a page shows.
struct Report<'a> {
    plan: &'a Plan,
    table: &'a Table,
    /// SVG text of the trade-off plot and of each curve with its key.
    tradeoff: Option<String>,
    curves: Vec<(String, String)>,
    grids: Vec<Grid>,
    conditions: Vec<(String, String)>,
    /// Files beside the page.
    files: Vec<String>,
}

/// Writes everything into `folder`; returns the names of the files.
pub fn write(plan: &Plan, table: &Table, root: &Path, folder: &Path) -> Result<Vec<String>> {
    std::fs::create_dir_all(folder).user(format!("cannot write to {}", folder.display()))?;
    let mut names = files::tables(table, folder)?;
    let mut tradeoff = None;
    if plot::draw_tradeoff(table, &folder.join("tradeoff"))? {
        tradeoff = Some(plot::svg(&folder.join("tradeoff"))?);
        names.extend(["tradeoff.png".to_string(), "tradeoff.svg".to_string()]);
    }
    let mut curves = Vec::new();
    for curve in plot::curves(plan, table) {
        let stem = format!("curve_{}", curve.key.replace(['.', ' '], "_"));
        plot::draw_curve(&curve, &folder.join(&stem))?;
        curves.push((curve.key, plot::svg(&folder.join(&stem))?));
        names.extend([format!("{stem}.png"), format!("{stem}.svg")]);
    }
    let grids = chosen::grids(plan, table, root)?;
    for grid in &grids {
        let name = format!("{}.png", grid.file);
        plot::draw_grid(&grid.columns, &folder.join(&name))?;
        names.push(name);
    }
    let conditions = conditions::of(plan)?;
    let report = Report {
        plan,
        table,
        tradeoff,
        curves,
        grids,
        conditions,
        files: names.clone(),
    };
    write_atomically(&folder.join("index.html"), page::html(&report)?.as_bytes())?;
    names.push("index.html".into());
    Ok(names)
}
