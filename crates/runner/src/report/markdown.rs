//! A table as Markdown: ours, differences, claims, published numbers, notes.

use super::cells::{
    CLAIM_HEADINGS, claims_introduction, format_cell, format_difference, format_interval,
    format_values, made_tests, row_label, test_in_words, verdict_in_words,
};
use super::escape::markdown as escape;
use crate::analysis::claims::TestedClaim;
use crate::analysis::differences::Differences;
use crate::analysis::published::PublishedTable;
use crate::analysis::table::{Table, TableRow};
use crate::error::one_line;
use comfy_table::presets::ASCII_MARKDOWN;
use egsde_metrics::registry::{Metric, paired_metrics};

/// An empty grid of these headings, which is shown as a table of Markdown.
pub fn grid<T: ToString>(headings: impl IntoIterator<Item = T>) -> comfy_table::Table {
    let mut grid = comfy_table::Table::new();
    grid.load_style(ASCII_MARKDOWN);
    grid.set_header(headings.into_iter().map(|heading| heading.to_string()));
    grid
}

/// An empty grid with a heading per metric.
fn metric_grid(first_heading: &str, metrics: &[&Metric]) -> comfy_table::Table {
    let headings = metrics.iter().map(|metric| metric.heading_with_arrow());
    grid(std::iter::once(first_heading.to_string()).chain(headings))
}

/// Rows of numbers; `label` names one.
fn rows(
    rows: &[TableRow],
    columns: &[&Metric],
    label: fn(&TableRow) -> String,
) -> comfy_table::Table {
    let mut grid = metric_grid("Method", columns);
    for row in rows {
        let mut cells = vec![escape(&label(row))];
        for metric in columns {
            cells.push(format_cell(row.metrics.get(metric.key), metric, "±"));
        }
        grid.add_row(cells);
    }
    grid
}

fn differences(differences: &Differences) -> String {
    let (metrics, to) = (paired_metrics(), escape(&differences.to));
    let mut grid = metric_grid(&format!("Less {to}"), &metrics);
    for row in &differences.rows {
        let mut cells = vec![escape(&row.method)];
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

/// Claims with their verdicts, each followed by its comparisons.
pub fn claims(claims: &[TestedClaim], pictures: usize) -> String {
    let mut grid = grid(CLAIM_HEADINGS);
    for claim in claims {
        let verdict = format!("**{}**", escape(&verdict_in_words(claim)));
        let [paper, ours, difference] = [const { String::new() }; 3];
        grid.add_row([escape(&claim.claim), paper, ours, difference, verdict]);
        for test in made_tests(claim) {
            grid.add_row([
                format!("- {}", escape(&test_in_words(test))),
                format_values(test.paper.as_ref(), test.metric),
                format_values(test.ours.as_ref(), test.metric),
                format_difference(test),
                test.verdict.words().into(),
            ]);
        }
    }
    format!("{}\n\n{grid}\n", claims_introduction(pictures))
}

fn list(notes: &[String]) -> String {
    notes
        .iter()
        .map(|note| format!("- {}\n", one_line(note)))
        .collect()
}

fn published(table: &PublishedTable) -> String {
    let PublishedTable { title, columns, .. } = table;
    let grid = rows(&table.rows, columns, |row| row.method.clone());
    format!("\n## {title}\n\n{grid}\n\n{}", list(&table.notes))
}

/// Markdown with a heading and notes.
pub fn markdown(table: &Table) -> String {
    let grid = rows(&table.rows, &table.columns, row_label);
    let mut text = format!(
        "# {}\n\n{grid}\n\n{}",
        one_line(&table.title),
        list(&table.notes)
    );
    if let Some(found) = &table.differences {
        text += &differences(found);
    }
    if !table.claims.is_empty() {
        let claims = claims(&table.claims, table.pictures);
        text += &format!("\n## Claims of the paper\n\n{claims}");
    }
    if let Some(table) = &table.published {
        text += &published(table);
    }
    if !table.missing.is_empty() {
        text += &format!("\nNot finished: {}\n", table.missing.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::claims::Verdict;
    use crate::report::export::testing::table;

    #[test]
    fn rows_of_both_origins_are_told_apart_and_missing_jobs_named() {
        let text = markdown(&table());
        for part in ["CUT_50% (published)", "3.00 ± 0.50", "Not finished: x"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn published_numbers_of_another_protocol_stand_below_with_their_marks() {
        let mut together = table();
        let row = together.rows.remove(0);
        together.published = Some(PublishedTable {
            title: "Elsewhere".into(),
            rows: vec![row],
            columns: together.columns.clone(),
            notes: vec!["M.".into()],
        });
        let text = markdown(&together);
        let (ours, published) = text.split_once("## Elsewhere").unwrap();
        assert!(
            !ours.contains("CUT_50%") && ours.contains("EGSDE†"),
            "{text}"
        );
        assert!(published.contains("| CUT_50% | 1.00 ± 0.50*? |"), "{text}");
        assert!(published.contains("- M."), "{text}");
    }

    #[test]
    fn a_claim_stands_over_its_comparisons() {
        let text = markdown(&table());
        let lines: Vec<&str> = text.lines().collect();
        let at = lines
            .iter()
            .position(|line| line.contains("| A claim"))
            .unwrap();
        assert!(lines[at].contains("**undecided at this size**"), "{text}");
        let test = lines[at + 1];
        for part in [
            "- FID: EGSDE† lower than SDEdit",
            "-",
            "3.00, 4.00",
            "-1.00 [-2.00, +0.50]",
        ] {
            assert!(test.contains(part), "{part:?} is not in {test:?}");
        }
        assert_eq!(
            text.matches("no row ILVR").count(),
            0,
            "the claim is undecided: {text}"
        );
    }

    #[test]
    fn a_claim_that_cannot_be_tested_is_one_line_with_the_reasons() {
        let mut table = table();
        let claim = &mut table.claims[0];
        claim.verdict = Verdict::NotTestable;
        claim.tests[0] = claim.tests[1].clone();
        let text = markdown(&table);
        assert_eq!(
            text.matches("**not testable here: no row ILVR**").count(),
            1,
            "{text}"
        );
        assert!(!text.contains("- FID: EGSDE†"), "{text}");
    }
}
