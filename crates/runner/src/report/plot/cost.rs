//! Quality over cost: Fréchet distance over seconds per image.

use super::figure::Figure;
use super::scatter::{Point, Scale, Scatter, points};
use crate::analysis::table::{CellNote, Table};
use anyhow::Result;
use egsde_metrics::registry::{FID, SECONDS};
use std::path::Path;

/// Whether the table's first machine measured a point's time.
fn is_of_first_machine(point: &Point) -> bool {
    point.x.note == Some(CellNote::Machine(0))
}

fn caption(machine: &str, left_out: &[Point]) -> String {
    let mut caption = format!(
        "Fréchet distance over seconds of sampling per picture (logarithmic), with one standard \
         deviation over seeds, measured on {machine}; the line joins the Pareto front."
    );
    if !left_out.is_empty() {
        let names: Vec<&str> = left_out.iter().map(|point| point.name.as_str()).collect();
        caption += &format!(" Measured elsewhere and not drawn: {}.", names.join(", "));
    }
    caption
}

/// Writes the plot of the rows whose time the table's first machine measured; none when there is
/// nothing to draw.
///
/// # Errors
/// A file cannot be drawn or written.
pub fn write_cost(table: &Table, folder: &Path) -> Result<Option<Figure>> {
    let (drawn, left_out): (Vec<Point>, Vec<Point>) = points(table, &SECONDS, &FID)
        .into_iter()
        .partition(is_of_first_machine);
    let machine = table.machines.first().filter(|_| !drawn.is_empty());
    let Some(machine) = machine else {
        return Ok(None);
    };
    let plot = Scatter {
        title: "Quality over seconds (line: Pareto front)",
        x_label: "Seconds per picture, logarithmic (cheap: left)",
        y_label: "Fréchet distance to the target (realistic: down)",
        scale: Scale::Logarithmic,
        points: drawn,
    };
    let caption = caption(machine, &left_out);
    Figure::write(&plot, folder, "cost", caption).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::table::Cell;
    use crate::report::export::testing::table;

    #[test]
    fn times_of_another_machine_are_named_and_not_drawn() {
        let mut table = table();
        table.machines = vec!["CPU here".into(), "CPU there".into()];
        for (row, place) in table.rows[1..].iter_mut().zip([0, 1]) {
            let cell = Cell {
                mean: 1.0,
                note: Some(CellNote::Machine(place)),
                ..Cell::default()
            };
            row.metrics.insert(SECONDS.key.into(), cell);
        }
        let folder = tempfile::tempdir().unwrap();
        let figure = write_cost(&table, folder.path()).unwrap().unwrap();
        assert!(
            figure.caption.contains("measured on CPU here"),
            "{}",
            figure.caption
        );
        assert!(
            figure.caption.ends_with("not drawn: EGSDE†."),
            "{}",
            figure.caption
        );
        assert!(figure.svg.contains("SDEdit") && !figure.svg.contains("EGSDE†"));
        table.machines.clear();
        assert!(write_cost(&table, folder.path()).unwrap().is_none());
    }
}
