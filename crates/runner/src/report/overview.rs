//! One page of several experiments: the table and the claims of each, and one grid of all, as the
//! paper's slides show its tasks side by side.

use super::cells::{test_in_words, verdict_in_words};
use super::html::document;
use super::image_grids::Grid;
use super::markdown::markdown;
use super::page::{SCRIPT, STYLE, grid_table, main_table, missing_jobs, notes_list, verdict_badge};
use super::plot::{GridBlock, write_blocks};
use crate::analysis::claims::{TestedClaim, Verdict};
use crate::analysis::table::Table;
use crate::error::OrInvalidInput;
use crate::plan::Plan;
use anyhow::Result;
use egsde_data::files::{make_writable_folder, write_atomically};
use maud::{Markup, html};
use std::path::Path;

/// Name of the drawing of all grids.
const GRID_FILE: &str = "grid.png";
/// Name of the file of all tables.
const TABLES_FILE: &str = "tables.md";

/// What the page shows of one experiment.
pub struct Part<'a> {
    /// Its task, name and settings.
    pub plan: &'a Plan,
    /// Its numbers and claims.
    pub table: Table,
    /// The first sources and what the chosen rows make of them; none where no row is finished.
    pub grid: Option<Grid>,
}

impl Part<'_> {
    /// How many claims came out in each way, in words; empty where none was tested.
    fn claims_in_words(&self) -> String {
        let verdicts = [
            Verdict::Reproduced,
            Verdict::NotReproduced,
            Verdict::Undecided,
            Verdict::NotTestable,
        ];
        let mut words = Vec::new();
        for verdict in verdicts {
            let claims = self.table.claims.iter();
            match claims.filter(|claim| claim.verdict == verdict).count() {
                0 => {}
                count => words.push(format!("{count} {}", verdict.words())),
            }
        }
        words.join(", ")
    }

    fn section(&self) -> Result<Markup> {
        let Table { notes, missing, .. } = &self.table;
        let claims = self.claims_in_words();
        let grid = self.grid.as_ref().map(grid_table).transpose()?;
        Ok(html! {
            section id=(self.plan.experiment.name) {
                h2 { (self.table.title) }
                (main_table(&self.table))
                (missing_jobs(missing))
                @if !claims.is_empty() {
                    p { "Claims of the paper about this table: " (claims) "." }
                    ul.notes { @for claim in &self.table.claims { (claim_line(claim)) } }
                }
                @if let Some(grid) = grid {
                    h3 { "First sources" }
                    (grid)
                }
                (notes_list(notes))
            }
        })
    }
}

fn claim_line(claim: &TestedClaim) -> Markup {
    let tests: Vec<String> = claim.tests.iter().map(test_in_words).collect();
    html! {
        li title=(tests.join("; ")) {
            (claim.claim) ": " (verdict_badge(claim.verdict, &verdict_in_words(claim)))
        }
    }
}

/// Heading of an experiment's block: what is translated into what.
fn block_heading(part: &Part) -> String {
    let task = &part.plan.task;
    format!("{} -> {}", task.source.domain, task.reference.domain)
}

fn html(title: &str, parts: &[Part], has_grid: bool) -> Result<String> {
    let mut sections = Vec::new();
    for part in parts {
        sections.push(part.section()?);
    }
    let body = html! {
        header {
            h1 { (title) }
            p {
                (parts.len()) " experiments: "
                @for (i, part) in parts.iter().enumerate() {
                    @if i > 0 { ", " }
                    a href=(format!("#{}", part.plan.experiment.name)) { (part.table.title) }
                }
            }
        }
        main {
            @for section in &sections { (section) }
            p {
                "Files beside this page: " (TABLES_FILE)
                @if has_grid { ", " (GRID_FILE) }
            }
        }
    };
    Ok(document(title, STYLE, &body, SCRIPT))
}

/// Writes the page, the tables as Markdown and the grid of all; returns the names of the files.
///
/// # Errors
/// Invalid input: a folder that cannot be written to. Otherwise what cannot be drawn.
pub fn write(title: &str, parts: &[Part], folder: &Path) -> Result<Vec<String>> {
    make_writable_folder(folder).or_invalid_input("overview")?;
    let tables: Vec<String> = parts.iter().map(|part| markdown(&part.table)).collect();
    write_atomically(&folder.join(TABLES_FILE), tables.join("\n\n").as_bytes())?;
    let mut blocks = Vec::new();
    for part in parts {
        if let Some(grid) = &part.grid {
            blocks.push(GridBlock {
                heading: block_heading(part),
                grid,
            });
        }
    }
    let has_grid = !blocks.is_empty();
    let mut files = vec![TABLES_FILE.to_string()];
    if has_grid {
        write_blocks(&blocks, &folder.join(GRID_FILE))?;
        files.push(GRID_FILE.into());
    }
    let page = html(title, parts, has_grid)?;
    write_atomically(&folder.join("index.html"), page.as_bytes())?;
    files.push("index.html".into());
    Ok(files)
}
