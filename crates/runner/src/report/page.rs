//! One self-contained HTML page: opens from disk, needs no network.

use super::{Grid, Report};
use crate::html::{data_uri, document};
use crate::metric::Metric;
use crate::paired;
use crate::render::{interval, label, shown};
use crate::table::{Origin, Table};
use anyhow::Result;
use egsde_metrics::pictures::Pictures;
use maud::{Markup, PreEscaped, html};

const STYLE: &str = include_str!("../../../../assets/report/style.css");
const SCRIPT: &str = include_str!("../../../../assets/report/sort.js");

fn heading(title: &str) -> Markup {
    html! { th scope="col" { button type="button" { (title) span.arrow aria-hidden="true" {} } } }
}

fn main_table(table: &Table) -> Markup {
    let bests = table.bests();
    html! {
        p { "Mean ± standard deviation over seeds. Bold: the best of ours. Touch a heading to sort." }
        div.scroll {
            table.sortable {
                thead { tr { (heading("Method")) @for m in &table.columns { (heading(&m.arrow())) } } }
                tbody {
                    @for row in &table.rows {
                        tr.published[row.source == Origin::Published] {
                            th scope="row" data-value=(row.method) { (label(row)) }
                            @for m in &table.columns {
                                @let cell = row.metrics.get(m.key);
                                @let is_best = row.source == Origin::Ours && cell.is_some() && cell.map(|c| &c.mean) == bests.get(m.key);
                                td.best[is_best] data-value=(cell.map_or(String::new(), |c| c.mean.to_string())) title=[ci(cell, m)] {
                                    (shown(cell, m, "±"))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn ci(cell: Option<&crate::table::Cell>, m: &Metric) -> Option<String> {
    let cell = cell?;
    let (digits, half) = (m.digits, cell.ci95? * m.scale);
    let mean = cell.mean * m.scale;
    Some(format!(
        "95 % interval over {} seeds: {:.digits$} to {:.digits$}",
        cell.n.unwrap_or(0),
        mean - half,
        mean + half
    ))
}

fn differences(table: &Table) -> Markup {
    let Some(found) = &table.differences else {
        return html! {};
    };
    let metrics = paired::columns();
    html! {
        section #differences {
            h2 { "Differences to " (found.to) }
            p { "The same pictures and seeds; mean and 95 % interval of a paired bootstrap over the " (found.pictures) " pictures. A star marks an interval that excludes 0." }
            div.scroll {
                table.sortable {
                    thead { tr { (heading("Method")) @for m in &metrics { (heading(&m.arrow())) } } }
                    tbody {
                        @for row in &found.rows {
                            tr {
                                th scope="row" data-value=(row.method) { (row.method) }
                                @for m in &metrics {
                                    @match row.metrics.get(m.key) {
                                        Some(i) => { td.marked[i.excludes_zero()] data-value=(i.estimate) { (interval(i, m)) } }
                                        None => { td data-value="" { "-" } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn figure(svg: &str, caption: &str) -> Markup {
    // The drawing is ours; its XML declaration has no place inside a page.
    let drawing = svg.find("<svg").map_or(svg, |at| &svg[at..]);
    html! { figure { div.scroll.paper role="img" aria-label=(caption) { (PreEscaped(drawing)) } figcaption { (caption) } } }
}

fn grid(grid: &Grid) -> Result<Markup> {
    let count = grid.columns.first().map_or(0, |(_, p)| p.len());
    let mut rows = Vec::new();
    for r in 0..count {
        let of = |(name, pictures): &(String, Pictures)| {
            let alt = format!("{name}: {}", pictures.names[r]);
            let uri = data_uri(pictures, r)?;
            anyhow::Ok(html! { td { img src=(uri) alt=(alt) title=(alt) width="96" height="96"; } })
        };
        rows.push(grid.columns.iter().map(of).collect::<Result<Vec<_>>>()?);
    }
    Ok(html! {
        h3 { (grid.title) }
        p { (grid.rule) }
        div.scroll { table.pictures {
            thead { tr { @for (name, _) in &grid.columns { th scope="col" { (name) } } } }
            tbody { @for row in &rows { tr { @for cell in row { (cell) } } } }
        } }
    })
}

/// The whole page.
pub fn html(report: &Report) -> Result<String> {
    let Report { plan, table, .. } = report;
    let grids: Vec<Markup> = report.grids.iter().map(grid).collect::<Result<_>>()?;
    let body = html! {
        header {
            h1 { (table.title) }
            p { (plan.task.title) ", " (plan.spec.pictures) " pictures, " (plan.spec.seeds.len()) " seeds" }
        }
        main {
            section #table {
                h2 { "Numbers" }
                (main_table(table))
                ul.notes { @for note in &table.notes { li { (note) } } }
                @if !table.missing.is_empty() { p.missing { "Not finished: " (table.missing.join(", ")) } }
            }
            (differences(table))
            @if let Some(svg) = &report.tradeoff {
                section #tradeoff {
                    h2 { "Trade-off" }
                    (figure(svg, "Fréchet distance over L2, with one standard deviation over seeds; the line joins the Pareto front."))
                }
            }
            @if !report.curves.is_empty() {
                section #curves {
                    h2 { "Curves" }
                    @for (key, svg) in &report.curves { (figure(svg, &format!("Over {key}, with one standard deviation over seeds."))) }
                }
            }
            @if !grids.is_empty() { section #pictures { h2 { "Pictures" } @for grid in &grids { (grid) } } }
            section #conditions {
                h2 { "Conditions" }
                dl { @for (name, value) in &report.conditions { dt { (name) } dd { (value) } } }
                p { "Files beside this page: " (report.files.join(", ")) }
            }
        }
    };
    Ok(document(&table.title, STYLE, &body, SCRIPT))
}
