//! A table as text: Markdown, CSV, LaTeX (booktabs).

use crate::metric::Metric;
use crate::paired::{Differences, columns};
use crate::table::{Cell, Origin, Table, TableRow};
use anyhow::Result;
use egsde_metrics::spread::Interval;

/// A cell as people read it: mean and standard deviation.
pub fn shown(cell: Option<&Cell>, metric: &Metric, plus_minus: &str) -> String {
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
        }) => format!(
            "{:.digits$} {plus_minus} {:.digits$}",
            mean * scale,
            std * scale
        ),
    }
}

/// Differences as a Markdown table; a star where the interval excludes 0.
fn differences(found: &Differences) -> String {
    let metrics = columns();
    let mut grid = comfy_table::Table::new();
    grid.load_style(comfy_table::presets::ASCII_MARKDOWN);
    grid.set_header(
        std::iter::once(format!("Less {}", found.to)).chain(metrics.iter().map(|m| m.arrow())),
    );
    for row in &found.rows {
        let cell = |m: &&Metric| {
            row.metrics
                .get(m.key)
                .map_or("-".into(), |i| interval(i, m))
        };
        grid.add_row(std::iter::once(row.method.clone()).chain(metrics.iter().map(cell)));
    }
    format!(
        "\nDifferences to {}, mean and 95 % interval of a paired bootstrap over the {} pictures (all seeds of a picture together); \
         * excludes 0.\n\n{grid}\n",
        found.to, found.pictures
    )
}

/// `+0.50 [0.10, 0.90] *`.
pub fn interval(i: &Interval, metric: &Metric) -> String {
    let (digits, scale) = (metric.digits, metric.scale);
    let star = if i.excludes_zero() { " *" } else { "" };
    format!(
        "{:+.digits$} [{:+.digits$}, {:+.digits$}]{star}",
        i.estimate * scale,
        i.low * scale,
        i.high * scale
    )
}

/// `EGSDE` or `EGSDE (published)`.
pub fn label(row: &TableRow) -> String {
    match row.source {
        Origin::Ours => row.method.clone(),
        Origin::Published => format!("{} (published)", row.method),
    }
}

/// Markdown with a heading and notes.
pub fn markdown(table: &Table) -> String {
    let mut grid = comfy_table::Table::new();
    grid.load_style(comfy_table::presets::ASCII_MARKDOWN);
    grid.set_header(
        std::iter::once("Method".to_string()).chain(table.columns.iter().map(|m| m.arrow())),
    );
    for row in &table.rows {
        let cells = table
            .columns
            .iter()
            .map(|m| shown(row.metrics.get(m.key), m, "±"));
        grid.add_row(std::iter::once(label(row)).chain(cells));
    }
    let notes: String = table.notes.iter().map(|n| format!("- {n}\n")).collect();
    let holes = if table.missing.is_empty() {
        String::new()
    } else {
        format!("\nNot finished: {}\n", table.missing.join(", "))
    };
    let differences = table
        .differences
        .as_ref()
        .map_or(String::new(), differences);
    format!("# {}\n\n{grid}\n{differences}\n{notes}{holes}", table.title)
}

/// One line a row and metric, for programs.
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
    for row in &table.rows {
        let source = row.source.name();
        for (metric, cell) in &row.metrics {
            let std = cell.std.map_or(String::new(), |s| s.to_string());
            let n = cell.n.map_or(String::new(), |n| n.to_string());
            let ci95 = cell.ci95.map_or(String::new(), |c| c.to_string());
            writer.write_record([
                &table.experiment,
                &row.method,
                source,
                metric,
                &cell.mean.to_string(),
                &std,
                &n,
                &ci95,
            ])?;
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn tex(text: &str) -> String {
    let escape = |c: char| match c {
        '&' | '%' | '#' | '_' | '$' | '{' | '}' => format!("\\{c}"),
        '\\' => r"\textbackslash{}".into(),
        '†' => r"$^\dagger$".into(),
        other => other.into(),
    };
    text.chars().map(escape).collect()
}

/// A booktabs table; the best of our rows in each column is bold.
pub fn latex(table: &Table) -> String {
    let bests = table.bests();
    let cell = |row: &TableRow, m: &Metric| {
        let text = shown(row.metrics.get(m.key), m, r"$\pm$");
        let mean = row.metrics.get(m.key).map(|c| c.mean);
        let is_best =
            row.source == Origin::Ours && mean.is_some() && mean.as_ref() == bests.get(m.key);
        if is_best {
            format!(r"\textbf{{{text}}}")
        } else {
            text
        }
    };
    let line = |row: &TableRow| {
        let cells: Vec<String> = table.columns.iter().map(|m| cell(row, m)).collect();
        format!("{} & {} \\\\\n", tex(&label(row)), cells.join(" & "))
    };
    let of = |source: Origin| {
        table
            .rows
            .iter()
            .filter(|r| r.source == source)
            .map(line)
            .collect::<String>()
    };
    let arrow = |down: bool| if down { r"$\downarrow$" } else { r"$\uparrow$" };
    let headings: Vec<String> = table
        .columns
        .iter()
        .map(|m| format!("{} {}", m.heading, arrow(m.smaller_is_better)))
        .collect();
    let (published, ours) = (of(Origin::Published), of(Origin::Ours));
    let middle = if published.is_empty() || ours.is_empty() {
        ""
    } else {
        "\\midrule\n"
    };
    format!(
        "% {}\n\\begin{{tabular}}{{l{}}}\n\\toprule\nMethod & {} \\\\\n\\midrule\n{published}{middle}{ours}\\bottomrule\n\\end{{tabular}}\n",
        table.notes.join(" "),
        "c".repeat(headings.len()),
        headings.join(" & ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn table() -> Table {
        let row = |method: &str, source, fid: f64| TableRow {
            method: method.into(),
            source,
            metrics: BTreeMap::from([(
                "fid".to_string(),
                Cell {
                    mean: fid,
                    std: Some(0.5),
                    n: Some(3),
                    ci95: None,
                },
            )]),
        };
        let rows = vec![
            row("CUT_50%", Origin::Published, 1.0),
            row("SDEdit", Origin::Ours, 4.0),
            row("EGSDE†", Origin::Ours, 3.0),
        ];
        Table {
            experiment: "t".into(),
            rows,
            differences: None,
            columns: vec![Metric::of("fid").unwrap()],
            title: "T".into(),
            notes: vec!["N.".into()],
            missing: vec!["x".into()],
        }
    }

    #[test]
    fn markdown_marks_published_rows_and_holes() {
        let text = markdown(&table());
        assert!(
            text.contains("CUT_50% (published)")
                && text.contains("3.00 ± 0.50")
                && text.contains("Not finished: x"),
            "{text}"
        );
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
    fn csv_has_a_line_a_number() {
        let text = csv(&table()).unwrap();
        assert_eq!(text.lines().nth(3), Some("t,EGSDE†,ours,fid,3,0.5,3,"));
    }
}
