//! Realism against faithfulness: Fréchet distance over L2.

use super::canvas::{
    Area, Chart, LEGEND_WIDTH, draw_legend, draw_marker, drawing_error, error_bar, one_deviation,
    padded_range, plot_height,
};
use super::figure::{Drawing, Figure};
use super::fonts::FONT;
use crate::analysis::table::{Cell, Origin, Table};
use anyhow::Result;
use egsde_metrics::registry::{FID, L2};
use plotters::prelude::*;
use std::path::Path;

const TITLE: &str = "Realism against faithfulness (line: Pareto front)";

const CAPTION: &str = "Fréchet distance over L2, with one standard deviation over seeds; the line \
                       joins the Pareto front.";

/// One of our rows.
#[derive(Debug)]
struct Point {
    name: String,
    l2: Cell,
    fid: Cell,
}

/// Our rows that have both numbers.
#[derive(Debug)]
struct Tradeoff {
    points: Vec<Point>,
}

/// Indices of the points that no other beats in both numbers, from left to right.
fn pareto_front(points: &[Point]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&points[*a], &points[*b]);
        a.l2.mean
            .total_cmp(&b.l2.mean)
            .then(a.fid.mean.total_cmp(&b.fid.mean))
    });
    // From left to right only a point below all before it is on the front; equal points stand
    // together.
    let mut front = Vec::new();
    let mut last = (f64::NAN, f64::INFINITY);
    for i in order {
        let (l2, fid) = (points[i].l2.mean, points[i].fid.mean);
        if fid < last.1 || (l2, fid) == last {
            last = (l2, fid);
            front.push(i);
        }
    }
    front
}

impl Tradeoff {
    fn new(table: &Table) -> Self {
        let mut points = Vec::new();
        for row in table.rows.iter().filter(|row| row.source == Origin::Ours) {
            if let (Some(l2), Some(fid)) = (row.metrics.get(L2.key), row.metrics.get(FID.key)) {
                points.push(Point {
                    name: row.method.clone(),
                    l2: *l2,
                    fid: *fid,
                });
            }
        }
        Self { points }
    }

    fn draw_front<DB: DrawingBackend>(&self, chart: &mut Chart<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let front = pareto_front(&self.points);
        let corners: Vec<(f64, f64)> = front
            .iter()
            .map(|i| (self.points[*i].l2.mean, self.points[*i].fid.mean))
            .collect();
        let line = PathElement::new(corners, BLACK.mix(0.35).stroke_width(1));
        chart.draw_series([line]).map_err(drawing_error)?;
        Ok(())
    }

    /// Draws each point with its error bars. `image` is the whole area: markers are placed in its
    /// pixels.
    fn draw_points<DB: DrawingBackend>(&self, image: &Area<DB>, chart: &mut Chart<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        for (i, Point { l2, fid, .. }) in self.points.iter().enumerate() {
            let ([left, right], [low, high]) = (one_deviation(l2), one_deviation(fid));
            let bars = [
                error_bar((left, fid.mean), (right, fid.mean), i),
                error_bar((l2.mean, low), (l2.mean, high), i),
            ];
            chart.draw_series(bars).map_err(drawing_error)?;
            draw_marker(image, i, chart.backend_coord(&(l2.mean, fid.mean)))?;
        }
        Ok(())
    }
}

impl Drawing for Tradeoff {
    fn size(&self) -> (u32, u32) {
        (960, plot_height(520, self.points.len()))
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let (plot, legend) = area.split_horizontally(area.dim_in_pixel().0 - LEGEND_WIDTH);
        let x = padded_range(
            self.points
                .iter()
                .flat_map(|point| one_deviation(&point.l2)),
        );
        let y = padded_range(
            self.points
                .iter()
                .flat_map(|point| one_deviation(&point.fid)),
        );
        let mut chart = ChartBuilder::on(&plot)
            .caption(TITLE, (FONT, 20))
            .margin(14)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)
            .map_err(drawing_error)?;
        chart
            .configure_mesh()
            .x_desc("L2 to the source (faithful: left)")
            .y_desc("Fréchet distance to the target (realistic: down)")
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .light_line_style(BLACK.mix(0.06))
            .draw()
            .map_err(drawing_error)?;
        self.draw_front(&mut chart)?;
        self.draw_points(area, &mut chart)?;
        let names: Vec<&str> = self
            .points
            .iter()
            .map(|point| point.name.as_str())
            .collect();
        draw_legend(&legend, &names)
    }
}

/// Writes the plot with one standard deviation over seeds and the Pareto front; none when there is
/// nothing to draw.
///
/// # Errors
/// A file cannot be drawn or written.
pub fn write_tradeoff(table: &Table, folder: &Path) -> Result<Option<Figure>> {
    let tradeoff = Tradeoff::new(table);
    if tradeoff.points.is_empty() {
        return Ok(None);
    }
    Figure::write(&tradeoff, folder, "tradeoff", CAPTION.into()).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(mean: f64) -> Cell {
        Cell {
            mean,
            std: None,
            n: Some(1),
            ci95: None,
        }
    }

    #[test]
    fn the_front_holds_the_points_that_no_other_beats() {
        let means = [(3.0, 1.0), (1.0, 3.0), (2.0, 2.0), (2.5, 2.5), (2.0, 4.0)];
        let points = means.map(|(l2, fid)| Point {
            name: String::new(),
            l2: cell(l2),
            fid: cell(fid),
        });
        assert_eq!(pareto_front(&points), [1, 2, 0]);
    }
}
