//! One self-contained HTML page: it opens from disk and needs no network.

use super::cells::{
    CLAIM_HEADINGS, claims_introduction, format_cell, format_difference, format_interval,
    format_values, is_best, made_tests, row_label, test_in_words, verdict_in_words,
};
use super::conditions::Condition;
use super::html::{data_uri, document};
use super::image_grids::{Column, Grid};
use super::plot::Figure;
use crate::analysis::claims::{Test, TestedClaim, Verdict};
use crate::analysis::differences::Differences;
use crate::analysis::published::PublishedTable;
use crate::analysis::table::{Cell, Origin, Table, TableRow};
use crate::plan::Plan;
use anyhow::Result;
use egsde_metrics::intervals::Interval;
use egsde_metrics::registry::{Metric, paired_metrics};
use maud::{Markup, PreEscaped, html};
use std::collections::BTreeMap;

pub(super) const STYLE: &str = include_str!("../../assets/report/style.css");
pub(super) const SCRIPT: &str = include_str!("../../assets/report/sort.js");

/// Everything that a page shows.
pub struct Page<'a> {
    pub plan: &'a Plan,
    pub table: &'a Table,
    pub tradeoff: Option<Figure>,
    pub cost: Option<Figure>,
    pub curves: Vec<Figure>,
    pub grids: Vec<Grid>,
    pub conditions: Vec<Condition>,
    /// Names of the files beside the page.
    pub files: &'a [String],
}

fn sortable_heading(title: &str) -> Markup {
    html! {
        th scope="col" { button type="button" { (title) span.arrow aria-hidden="true" {} } }
    }
}

/// A table with a column per metric that sorts when a heading is pressed.
fn sortable_table(metrics: &[&Metric], rows: &[Markup]) -> Markup {
    html! {
        div.scroll {
            table.sortable {
                thead {
                    tr {
                        (sortable_heading("Method"))
                        @for metric in metrics {
                            (sortable_heading(&metric.heading_with_arrow()))
                        }
                    }
                }
                tbody { @for row in rows { (row) } }
            }
        }
    }
}

/// A mean's 95 % interval in words, where it has one.
fn interval_in_words(cell: Option<&Cell>, metric: &Metric) -> Option<String> {
    let cell = cell?;
    let (digits, half) = (metric.digits, cell.ci95? * metric.scale);
    let (mean, seeds) = (cell.mean * metric.scale, cell.n.unwrap_or(0));
    let (low, high) = (mean - half, mean + half);
    Some(format!(
        "95 % interval over {seeds} seeds: {low:.digits$} to {high:.digits$}"
    ))
}

fn number_cell(row: &TableRow, metric: &Metric, bests: &BTreeMap<&'static str, f64>) -> Markup {
    let cell = row.metrics.get(metric.key);
    let value = cell.map_or(String::new(), |cell| cell.mean.to_string());
    html! {
        td.best[is_best(row, metric, bests)]
            data-value=(value)
            title=[interval_in_words(cell, metric)] { (format_cell(cell, metric, "±")) }
    }
}

/// The numbers of our rows, the best in bold.
pub(super) fn main_table(table: &Table) -> Markup {
    let bests = table.bests();
    let mut rows = Vec::new();
    for row in &table.rows {
        rows.push(html! {
            tr.published[row.source == Origin::Published] {
                th scope="row" data-value=(row.method) { (row_label(row)) }
                @for metric in &table.columns { (number_cell(row, metric, &bests)) }
            }
        });
    }
    html! {
        p {
            "Mean ± standard deviation over seeds. Bold: the best of ours in quality. Touch a "
            "heading to sort."
        }
        (sortable_table(&table.columns, &rows))
    }
}

fn difference_cell(interval: Option<&Interval>, metric: &Metric) -> Markup {
    match interval {
        Some(found) => html! {
            td.marked[found.excludes_zero()] data-value=(found.estimate) {
                (format_interval(found, metric))
            }
        },
        None => html! { td data-value="" { "-" } },
    }
}

fn differences_section(differences: &Differences) -> Markup {
    let metrics = paired_metrics();
    let mut rows = Vec::new();
    for row in &differences.rows {
        rows.push(html! {
            tr {
                th scope="row" data-value=(row.method) { (row.method) }
                @for metric in &metrics {
                    (difference_cell(row.metrics.get(metric.key), metric))
                }
            }
        });
    }
    html! {
        section #differences {
            h2 { "Differences to " (differences.to) }
            p {
                "The same pictures and seeds; mean and 95 % interval of a paired bootstrap over "
                "the " (differences.pictures) " pictures. A star marks an interval that excludes 0."
            }
            (sortable_table(&metrics, &rows))
        }
    }
}

/// The word that styles a verdict.
fn verdict_class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reproduced => "reproduced",
        Verdict::NotReproduced => "refuted",
        Verdict::Undecided => "undecided",
        Verdict::NotTestable => "untestable",
    }
}

/// A verdict in words, in its colour.
pub(super) fn verdict_badge(verdict: Verdict, words: &str) -> Markup {
    html! { span.verdict.(verdict_class(verdict)) { (words) } }
}

fn test_row(test: &Test) -> Markup {
    html! {
        tr {
            td { (test_in_words(test)) }
            td { (format_values(test.paper.as_ref(), test.metric)) }
            td { (format_values(test.ours.as_ref(), test.metric)) }
            td { (format_difference(test)) }
            td { (verdict_badge(test.verdict, test.verdict.words())) }
        }
    }
}

fn claims_section(claims: &[TestedClaim], pictures: usize) -> Markup {
    html! {
        section #claims {
            h2 { "Claims of the paper" }
            p { (claims_introduction(pictures)) }
            div.scroll {
                table.claims {
                    thead { tr { @for heading in CLAIM_HEADINGS { th scope="col" { (heading) } } } }
                    @for claim in claims {
                        tbody {
                            tr {
                                th scope="rowgroup" colspan="4" title=(claim.source) {
                                    (claim.claim)
                                }
                                td { (verdict_badge(claim.verdict, &verdict_in_words(claim))) }
                            }
                            @for test in made_tests(claim) { (test_row(test)) }
                        }
                    }
                }
            }
        }
    }
}

fn published_section(table: &PublishedTable) -> Markup {
    let nothing_is_best = BTreeMap::new();
    let mut rows = Vec::new();
    for row in &table.rows {
        rows.push(html! {
            tr {
                th scope="row" data-value=(row.method) { (row.method) }
                @for metric in &table.columns { (number_cell(row, metric, &nothing_is_best)) }
            }
        });
    }
    html! {
        section #published {
            h2 { (table.title) }
            (sortable_table(&table.columns, &rows))
            (notes_list(&table.notes))
        }
    }
}

/// A drawing inside the page. The XML declaration of its file has no place there.
fn figure_element(figure: &Figure) -> Markup {
    let Figure { svg, caption, .. } = figure;
    let drawing = svg.find("<svg").map_or(svg.as_str(), |at| &svg[at..]);
    html! {
        figure {
            div.scroll.paper role="img" aria-label=(caption) { (PreEscaped(drawing)) }
            figcaption { (caption) }
        }
    }
}

fn image_cell(column: &Column, i: usize) -> Result<Markup> {
    let alt = format!("{}: {}", column.heading, column.images.names[i]);
    let uri = data_uri(&column.images, i)?;
    // Pixels of small images stay what they are: the sizes of the style are whole multiples of 32.
    let class = (column.images.side < 96).then_some("small");
    Ok(html! {
        td { img class=[class] src=(uri) alt=(alt) title=(alt) width="96" height="96"; }
    })
}

/// The images of a grid, one row per source.
///
/// # Errors
/// Those of the PNG encoder.
pub(super) fn grid_table(grid: &Grid) -> Result<Markup> {
    let count = grid.columns.first().map_or(0, |column| column.images.len());
    let mut rows = Vec::new();
    for i in 0..count {
        let mut cells = Vec::new();
        for column in &grid.columns {
            cells.push(image_cell(column, i)?);
        }
        rows.push(cells);
    }
    Ok(html! {
        p { (grid.rule) }
        div.scroll {
            table.pictures {
                thead {
                    tr { @for column in &grid.columns { th scope="col" { (column.heading) } } }
                }
                tbody { @for row in &rows { tr { @for cell in row { (cell) } } } }
            }
        }
    })
}

fn grid_element(grid: &Grid) -> Result<Markup> {
    let images = grid_table(grid)?;
    Ok(html! {
        h3 { (grid.title) }
        (images)
    })
}

/// What must be known to read the numbers.
pub(super) fn notes_list(notes: &[String]) -> Markup {
    html! { ul.notes { @for note in notes { li { (note) } } } }
}

/// Which jobs have no result; nothing where all have.
pub(super) fn missing_jobs(missing: &[String]) -> Markup {
    html! {
        @if !missing.is_empty() { p.missing { "Not finished: " (missing.join(", ")) } }
    }
}

impl Page<'_> {
    fn numbers_section(&self) -> Markup {
        let Table { notes, missing, .. } = self.table;
        html! {
            section #table {
                h2 { "Numbers" }
                (main_table(self.table))
                (notes_list(notes))
                (missing_jobs(missing))
            }
        }
    }

    fn figure_sections(&self) -> Markup {
        html! {
            @if let Some(figure) = &self.tradeoff {
                section #tradeoff { h2 { "Trade-off" } (figure_element(figure)) }
            }
            @if let Some(figure) = &self.cost {
                section #cost { h2 { "Quality over seconds" } (figure_element(figure)) }
            }
            @if !self.curves.is_empty() {
                section #curves {
                    h2 { "Curves" }
                    @for figure in &self.curves { (figure_element(figure)) }
                }
            }
        }
    }

    fn conditions_section(&self) -> Markup {
        html! {
            section #conditions {
                h2 { "Conditions" }
                dl {
                    @for condition in &self.conditions {
                        dt { (condition.name) }
                        dd { (condition.value) }
                    }
                }
                p { "Files beside this page: " (self.files.join(", ")) }
            }
        }
    }

    /// The whole page.
    ///
    /// # Errors
    /// Those of the PNG encoder.
    pub fn html(&self) -> Result<String> {
        let grids: Vec<Markup> = self.grids.iter().map(grid_element).collect::<Result<_>>()?;
        let Plan {
            task, experiment, ..
        } = self.plan;
        let body = html! {
            header {
                h1 { (self.table.title) }
                p {
                    (task.title) ", " (experiment.pictures) " pictures, "
                    (experiment.seeds.len()) " seeds"
                }
            }
            main {
                (self.numbers_section())
                @if let Some(differences) = &self.table.differences {
                    (differences_section(differences))
                }
                @if !self.table.claims.is_empty() {
                    (claims_section(&self.table.claims, self.table.pictures))
                }
                (self.figure_sections())
                @if !grids.is_empty() {
                    section #pictures { h2 { "Pictures" } @for grid in &grids { (grid) } }
                }
                @if let Some(published) = &self.table.published {
                    (published_section(published))
                }
                (self.conditions_section())
            }
        };
        Ok(document(&self.table.title, STYLE, &body, SCRIPT))
    }
}
