//! A table as text: Markdown, CSV, LaTeX (booktabs).

use super::escape;
use crate::analysis::differences::{Differences, paired_metrics};
use crate::analysis::table::{Cell, Origin, Table, TableRow};
use crate::error::one_line;
use anyhow::Result;
use comfy_table::presets::ASCII_MARKDOWN;
use egsde_metrics::intervals::Interval;
use egsde_metrics::registry::{Direction, Metric};
use std::collections::BTreeMap;

/// A cell as people read it: mean and standard deviation, with the format's sign between them.
pub fn format_cell(cell: Option<&Cell>, metric: &Metric, plus_minus: &str) -> String {
    let (digits, scale) = (metric.digits, metric.scale);
    match cell {
        None => "-".into(),
        Some(Cell {
            mean, std: None, ..
        }) => format!("{:.digits$}", mean * scale),
        Some(Cell {
            mean,
            std: Some(std),
            ..
        }) => {
            format!(
                "{:.digits$} {plus_minus} {:.digits$}",
                mean * scale,
                std * scale
            )
        }
    }
}

/// `+0.50 [+0.10, +0.90] *`: the star says that the interval excludes 0.
pub fn format_interval(interval: &Interval, metric: &Metric) -> String {
    let (digits, scale) = (metric.digits, metric.scale);
    let star = if interval.excludes_zero() { " *" } else { "" };
    format!(
        "{:+.digits$} [{:+.digits$}, {:+.digits$}]{star}",
        interval.estimate * scale,
        interval.low * scale,
        interval.high * scale
    )
}

/// `EGSDE` or `EGSDE (published)`.
pub fn row_label(row: &TableRow) -> String {
    match row.source {
        Origin::Ours => row.method.clone(),
        Origin::Published => format!("{} (published)", row.method),
    }
}

/// Whether a row has the best mean of our rows; `bests` are those of [`Table::bests`].
pub fn is_best(row: &TableRow, metric: &Metric, bests: &BTreeMap<&'static str, f64>) -> bool {
    let mean = row.metrics.get(metric.key).map(|cell| &cell.mean);
    row.source == Origin::Ours && mean.is_some() && mean == bests.get(metric.key)
}

/// An empty Markdown table with a heading per metric.
fn markdown_grid(first_heading: &str, metrics: &[&Metric]) -> comfy_table::Table {
    let mut headings = vec![first_heading.to_string()];
    headings.extend(metrics.iter().map(|metric| metric.heading_with_arrow()));
    let mut grid = comfy_table::Table::new();
    grid.load_style(ASCII_MARKDOWN);
    grid.set_header(headings);
    grid
}

/// Differences as a Markdown table.
fn markdown_differences(differences: &Differences) -> String {
    let metrics = paired_metrics();
    let to = escape::markdown(&differences.to);
    let mut grid = markdown_grid(&format!("Less {to}"), &metrics);
    for row in &differences.rows {
        let mut cells = vec![escape::markdown(&row.method)];
        for metric in &metrics {
            let interval = row.metrics.get(metric.key);
            cells.push(interval.map_or("-".into(), |found| format_interval(found, metric)));
        }
        grid.add_row(cells);
    }
    format!(
        "\nDifferences to {to}, mean and 95 % interval of a paired bootstrap over the {} pictures \
         (all seeds of a picture together); * excludes 0.\n\n{grid}\n",
        differences.pictures
    )
}

/// Markdown with a heading and notes.
pub fn markdown(table: &Table) -> String {
    let mut grid = markdown_grid("Method", &table.columns);
    for row in &table.rows {
        let mut cells = vec![escape::markdown(&row_label(row))];
        for metric in &table.columns {
            cells.push(format_cell(row.metrics.get(metric.key), metric, "±"));
        }
        grid.add_row(cells);
    }
    let notes: String = table
        .notes
        .iter()
        .map(|note| format!("- {}\n", one_line(note)))
        .collect();
    let missing = match table.missing.as_slice() {
        [] => String::new(),
        missing => format!("\nNot finished: {}\n", missing.join(", ")),
    };
    let differences = table
        .differences
        .as_ref()
        .map_or(String::new(), markdown_differences);
    format!(
        "# {}\n\n{grid}\n{differences}\n{notes}{missing}",
        one_line(&table.title)
    )
}

/// One number of a table, for programs.
pub struct Number<'a> {
    /// The row in which it stands.
    pub row: &'a TableRow,
    /// Key of its metric.
    pub metric: &'a str,
    /// Mean and spread.
    pub cell: &'a Cell,
}

/// All numbers of a table, row by row.
pub fn numbers(table: &Table) -> Vec<Number<'_>> {
    let mut numbers = Vec::new();
    for row in &table.rows {
        for (metric, cell) in &row.metrics {
            numbers.push(Number { row, metric, cell });
        }
    }
    numbers
}

/// The text of a value, empty where there is none.
fn text_or_empty<T: ToString>(value: Option<T>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// One line per row and metric, for programs.
///
/// # Errors
/// None in practice: the text is written into memory.
pub fn csv(table: &Table) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "experiment",
        "method",
        "source",
        "metric",
        "mean",
        "std",
        "n",
        "ci95",
    ])?;
    for Number { row, metric, cell } in numbers(table) {
        writer.write_record([
            table.experiment.as_str(),
            &row.method,
            row.source.name(),
            metric,
            &cell.mean.to_string(),
            &text_or_empty(cell.std),
            &text_or_empty(cell.n),
            &text_or_empty(cell.ci95),
        ])?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn latex_heading(metric: &Metric) -> String {
    let arrow = match metric.direction {
        Direction::LowerIsBetter => r"$\downarrow$",
        Direction::HigherIsBetter => r"$\uparrow$",
    };
    format!("{} {arrow}", metric.heading)
}

/// The lines of all rows of one origin.
fn latex_rows(table: &Table, origin: Origin) -> String {
    let bests = table.bests();
    let mut lines = String::new();
    for row in table.rows.iter().filter(|row| row.source == origin) {
        let mut cells = vec![escape::latex(&row_label(row))];
        for metric in &table.columns {
            let text = format_cell(row.metrics.get(metric.key), metric, r"$\pm$");
            let best = is_best(row, metric, &bests);
            cells.push(if best {
                format!(r"\textbf{{{text}}}")
            } else {
                text
            });
        }
        lines.push_str(&format!("{} \\\\\n", cells.join(" & ")));
    }
    lines
}

/// A booktabs table; the best of our rows in each column is bold.
pub fn latex(table: &Table) -> String {
    let mut headings = vec!["Method".to_string()];
    headings.extend(table.columns.iter().map(|metric| latex_heading(metric)));
    let (published, ours) = (
        latex_rows(table, Origin::Published),
        latex_rows(table, Origin::Ours),
    );
    let middle = if published.is_empty() || ours.is_empty() {
        ""
    } else {
        "\\midrule\n"
    };
    format!(
        "% {}\n\\begin{{tabular}}{{l{}}}\n\\toprule\n{} \\\\\n\\midrule\n{published}{middle}{ours}\
         \\bottomrule\n\\end{{tabular}}\n",
        one_line(&table.notes.join(" ")),
        "c".repeat(table.columns.len()),
        headings.join(" & ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use egsde_metrics::registry::FID;

    fn row(method: &str, source: Origin, fid: f64) -> TableRow {
        let cell = Cell {
            mean: fid,
            std: Some(0.5),
            n: Some(3),
            ci95: None,
        };
        let metrics = BTreeMap::from([(FID.key.to_string(), cell)]);
        TableRow {
            method: method.into(),
            source,
            metrics,
        }
    }

    fn table() -> Table {
        Table {
            experiment: "t".into(),
            rows: vec![
                row("CUT_50%", Origin::Published, 1.0),
                row("SDEdit", Origin::Ours, 4.0),
                row("EGSDE†", Origin::Ours, 3.0),
            ],
            differences: None,
            columns: vec![&FID],
            title: "T".into(),
            notes: vec!["N.".into()],
            missing: vec!["x".into()],
        }
    }

    #[test]
    fn markdown_marks_published_rows_and_missing_jobs() {
        let text = markdown(&table());
        for part in ["CUT_50% (published)", "3.00 ± 0.50", "Not finished: x"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn latex_escapes_and_bolds_our_best() {
        let text = latex(&table());
        assert!(
            text.contains(r"CUT\_50\% (published) & 1.00 $\pm$ 0.50"),
            "{text}"
        );
        assert!(
            text.contains(r"EGSDE$^\dagger$ & \textbf{3.00 $\pm$ 0.50}"),
            "{text}"
        );
    }

    #[test]
    fn csv_has_one_line_per_number() {
        let text = csv(&table()).unwrap();
        assert_eq!(text.lines().nth(3), Some("t,EGSDE†,ours,fid,3,0.5,3,"));
    }
}
