//! A table as LaTeX (booktabs): ours, claims, published numbers.

use super::cells::{
    CLAIM_HEADINGS, format_cell, format_difference, format_values, is_best, made_tests, row_label,
    test_in_words, verdict_in_words,
};
use super::escape::latex as escape;
use crate::analysis::claims::TestedClaim;
use crate::analysis::published::PublishedTable;
use crate::analysis::table::{Origin, Table, TableRow};
use crate::error::one_line;
use egsde_metrics::registry::Metric;
use std::collections::BTreeMap;

/// Notes as comments before a table.
fn comment(notes: &[String]) -> String {
    notes
        .iter()
        .map(|note| format!("% {}\n", one_line(note)))
        .collect()
}

fn line(cells: &[String]) -> String {
    format!("{} \\\\\n", cells.join(" & "))
}

/// A tabular environment; `columns` are its letters, `parts` are divided by rules.
fn tabular(columns: &str, headings: &[String], parts: &[String]) -> String {
    let parts = parts.iter().filter(|part| !part.is_empty());
    let parts: Vec<&str> = parts.map(String::as_str).collect();
    format!(
        "\\begin{{tabular}}{{{columns}}}\n\\toprule\n{}\\midrule\n{}\\bottomrule\n\
         \\end{{tabular}}\n",
        line(headings),
        parts.join("\\midrule\n")
    )
}

/// The lines of some rows, each with its label.
fn rows<'a>(
    rows: impl Iterator<Item = (String, &'a TableRow)>,
    columns: &[&Metric],
    bests: &BTreeMap<&'static str, f64>,
) -> String {
    let mut lines = String::new();
    for (label, row) in rows {
        let mut cells = vec![escape(&label)];
        for metric in columns {
            let text = format_cell(row.metrics.get(metric.key), metric, r"$\pm$");
            let best = is_best(row, metric, bests);
            cells.push(if best {
                format!(r"\textbf{{{text}}}")
            } else {
                text
            });
        }
        lines += &line(&cells);
    }
    lines
}

fn metric_headings(columns: &[&Metric]) -> Vec<String> {
    let metrics = columns
        .iter()
        .map(|metric| escape(&metric.heading_with_arrow()));
    std::iter::once("Method".to_string())
        .chain(metrics)
        .collect()
}

/// The letters of a table of numbers.
fn letters(columns: &[&Metric]) -> String {
    format!("l{}", "c".repeat(columns.len()))
}

fn claim(claim: &TestedClaim) -> String {
    let words = escape(&claim.claim);
    let verdict = escape(&verdict_in_words(claim));
    let mut lines = line(&[
        format!(r"\multicolumn{{4}}{{l}}{{{words}}}"),
        format!(r"\textbf{{{verdict}}}"),
    ]);
    for test in made_tests(claim) {
        lines += &line(&[
            format!(r"\quad {}", escape(&test_in_words(test))),
            format_values(test.paper.as_ref(), test.metric),
            format_values(test.ours.as_ref(), test.metric),
            format_difference(test),
            test.verdict.words().into(),
        ]);
    }
    lines
}

fn claims(claims: &[TestedClaim]) -> String {
    let headings = CLAIM_HEADINGS.map(escape);
    let parts: Vec<String> = claims.iter().map(claim).collect();
    format!(
        "\n% Claims of the paper\n{}",
        tabular("lllll", &headings, &parts)
    )
}

fn published(table: &PublishedTable) -> String {
    let PublishedTable {
        title,
        columns,
        notes,
        ..
    } = table;
    let labelled = table.rows.iter().map(|row| (row.method.clone(), row));
    let lines = rows(labelled, columns, &BTreeMap::new());
    let (letters, headings) = (letters(columns), metric_headings(columns));
    let tabular = tabular(&letters, &headings, &[lines]);
    format!("\n% {}\n{}{tabular}", one_line(title), comment(notes))
}

/// Booktabs tables; the best of our rows in each column of quality is bold.
pub fn latex(table: &Table) -> String {
    let Table { columns, .. } = table;
    let bests = table.bests();
    let parts = [Origin::Published, Origin::Ours].map(|origin| {
        let of_origin = table.rows.iter().filter(|row| row.source == origin);
        rows(of_origin.map(|row| (row_label(row), row)), columns, &bests)
    });
    let mut text = comment(&table.notes);
    text += &tabular(&letters(columns), &metric_headings(columns), &parts);
    if !table.claims.is_empty() {
        text += &claims(&table.claims);
    }
    if let Some(table) = &table.published {
        text += &published(table);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::export::testing::table;
    use egsde_metrics::registry;

    #[test]
    fn special_characters_are_escaped_and_our_best_is_bold() {
        let text = latex(&table());
        for part in [
            r"CUT\_50\% (published) & 1.00 $\pm$ 0.50*?",
            r"EGSDE$^\dagger$ & \textbf{3.00 $\pm$ 0.50}",
            "\\midrule\nSDEdit",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }

    #[test]
    fn a_heading_with_a_percent_sign_ends_its_line() {
        let mut shares = table();
        shares.columns.push(&registry::AMT);
        let text = latex(&shares);
        let header = text
            .lines()
            .find(|line| line.starts_with("Method & "))
            .unwrap();
        assert!(header.contains(r"AMT \% $\uparrow$"), "{header}");
        assert!(header.ends_with(r"\\"), "{header}");
    }

    #[test]
    fn claims_and_published_numbers_have_tables_of_their_own() {
        let mut both = table();
        both.published = Some(PublishedTable {
            title: "Elsewhere".into(),
            rows: vec![both.rows.remove(0)],
            columns: both.columns.clone(),
            notes: vec!["M.".into()],
        });
        let text = latex(&both);
        assert_eq!(text.matches(r"\begin{tabular}").count(), 3, "{text}");
        for part in [
            r"\multicolumn{4}{l}{A claim} & \textbf{undecided at this size}",
            r"\quad FID: EGSDE$^\dagger$ lower than SDEdit & - & 3.00, 4.00",
            "% M.\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
}
