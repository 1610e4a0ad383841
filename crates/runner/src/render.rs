//! A table as text: Markdown, CSV, LaTeX (booktabs).

use crate::table::{Cell, METRICS, Origin, Table, TableRow};
use anyhow::Result;

fn shown(cell: Option<&Cell>, digits: usize, plus_minus: &str) -> String {
    match cell {
        None => "-".into(),
        Some(Cell { mean, std: None, .. }) => format!("{mean:.digits$}"),
        Some(Cell { mean, std: Some(std), .. }) => format!("{mean:.digits$} {plus_minus} {std:.digits$}"),
    }
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
    let headings = METRICS.iter().map(|(_, name, down, _)| format!("{name} {}", if *down { "↓" } else { "↑" }));
    grid.set_header(std::iter::once("Method".to_string()).chain(headings));
    for row in &table.rows {
        let cells = METRICS.iter().map(|(key, _, _, digits)| shown(row.metrics.get(*key), *digits, "±"));
        grid.add_row(std::iter::once(label(row)).chain(cells));
    }
    let notes: String = table.notes.iter().map(|n| format!("- {n}\n")).collect();
    let holes = if table.missing.is_empty() { String::new() } else { format!("\nNot finished: {}\n", table.missing.join(", ")) };
    format!("# {}\n\n{grid}\n\n{notes}{holes}", table.title)
}

/// One line a row and metric, for programs.
pub fn csv(table: &Table) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["experiment", "method", "source", "metric", "mean", "std", "n"])?;
    for row in &table.rows {
        let source = if row.source == Origin::Ours { "ours" } else { "published" };
        for (metric, cell) in &row.metrics {
            let std = cell.std.map_or(String::new(), |s| s.to_string());
            let n = cell.n.map_or(String::new(), |n| n.to_string());
            writer.write_record([&table.experiment, &row.method, source, metric, &cell.mean.to_string(), &std, &n])?;
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
    let best = |key: &str, down: bool| {
        let ours = table.rows.iter().filter(|r| r.source == Origin::Ours).filter_map(|r| r.metrics.get(key)).map(|c| c.mean);
        ours.min_by(|a, b| if down { a.total_cmp(b) } else { b.total_cmp(a) })
    };
    let cell = |row: &TableRow, (key, _, down, digits): &(&str, &str, bool, usize)| {
        let text = shown(row.metrics.get(*key), *digits, r"$\pm$");
        let is_best = row.source == Origin::Ours && row.metrics.get(*key).map(|c| c.mean) == best(key, *down);
        if is_best { format!(r"\textbf{{{text}}}") } else { text }
    };
    let line = |row: &TableRow| {
        let cells: Vec<String> = METRICS.iter().map(|m| cell(row, m)).collect();
        format!("{} & {} \\\\\n", tex(&label(row)), cells.join(" & "))
    };
    let of = |source: Origin| table.rows.iter().filter(|r| r.source == source).map(line).collect::<String>();
    let arrow = |down: bool| if down { r"$\downarrow$" } else { r"$\uparrow$" };
    let headings: Vec<String> = METRICS.iter().map(|(_, name, down, _)| format!("{name} {}", arrow(*down))).collect();
    let (published, ours) = (of(Origin::Published), of(Origin::Ours));
    let middle = if published.is_empty() || ours.is_empty() { "" } else { "\\midrule\n" };
    format!(
        "% {}\n\\begin{{tabular}}{{lcccc}}\n\\toprule\nMethod & {} \\\\\n\\midrule\n{published}{middle}{ours}\\bottomrule\n\\end{{tabular}}\n",
        table.notes.join(" "),
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
            metrics: BTreeMap::from([("fid".to_string(), Cell { mean: fid, std: Some(0.5), n: Some(3) })]),
        };
        let rows = vec![row("CUT_50%", Origin::Published, 1.0), row("SDEdit", Origin::Ours, 4.0), row("EGSDE†", Origin::Ours, 3.0)];
        Table { experiment: "t".into(), rows, title: "T".into(), notes: vec!["N.".into()], missing: vec!["x".into()] }
    }

    #[test]
    fn markdown_marks_published_rows_and_holes() {
        let text = markdown(&table());
        assert!(text.contains("CUT_50% (published)") && text.contains("3.00 ± 0.50") && text.contains("Not finished: x"), "{text}");
    }

    #[test]
    fn latex_escapes_and_bolds_our_best() {
        let text = latex(&table());
        assert!(text.contains(r"CUT\_50\% (published) & 1.00 $\pm$ 0.50"), "{text}");
        assert!(text.contains(r"EGSDE$^\dagger$ & \textbf{3.00 $\pm$ 0.50}"), "{text}");
    }

    #[test]
    fn csv_has_a_line_a_number() {
        let text = csv(&table()).unwrap();
        assert_eq!(text.lines().nth(3), Some("t,EGSDE†,ours,fid,3,0.5,3"));
    }
}
