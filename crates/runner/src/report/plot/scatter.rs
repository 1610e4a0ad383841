//! Rows as points between two numbers, with one standard deviation over seeds and the Pareto front.

use super::canvas::{
    Area, Chart, LEGEND_WIDTH, draw_legend, draw_marker, drawing_error, error_bar, one_deviation,
    padded_range, plot_height,
};
use super::figure::Drawing;
use super::fonts::FONT;
use super::log_axis::LogAxis;
use crate::analysis::table::{Cell, Origin, Table};
use anyhow::Result;
use egsde_metrics::registry::Metric;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// One of our rows.
#[derive(Debug)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// The number that decides how far to the right it stands; less is better.
    pub x: Cell,
    /// The number that decides how high it stands; less is better.
    pub y: Cell,
}

/// How values stand along the horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// By their size.
    Linear,
    /// By their logarithm.
    Logarithmic,
}

/// A plot of rows.
#[derive(Debug)]
pub struct Scatter {
    /// Stands over the plot.
    pub title: &'static str,
    /// Stands under the horizontal axis.
    pub x_label: &'static str,
    /// Stands beside the vertical axis.
    pub y_label: &'static str,
    /// The scale of the horizontal axis.
    pub scale: Scale,
    /// The rows.
    pub points: Vec<Point>,
}

/// Our rows that have both numbers.
pub fn points(table: &Table, x: &Metric, y: &Metric) -> Vec<Point> {
    let mut points = Vec::new();
    for row in table.rows.iter().filter(|row| row.source == Origin::Ours) {
        if let (Some(x), Some(y)) = (row.metrics.get(x.key), row.metrics.get(y.key)) {
            points.push(Point {
                name: row.method.clone(),
                x: *x,
                y: *y,
            });
        }
    }
    points
}

/// Indices of the points that no other beats in both numbers, from left to right.
fn pareto_front(points: &[Point]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&points[*a], &points[*b]);
        a.x.mean
            .total_cmp(&b.x.mean)
            .then(a.y.mean.total_cmp(&b.y.mean))
    });
    // From left to right only a point below all before it is on the front; equal points stand
    // together.
    let mut front = Vec::new();
    let mut last = (f64::NAN, f64::INFINITY);
    for i in order {
        let (x, y) = (points[i].x.mean, points[i].y.mean);
        if y < last.1 || (x, y) == last {
            last = (x, y);
            front.push(i);
        }
    }
    front
}

impl Scatter {
    fn draw_front<DB: DrawingBackend, X>(&self, chart: &mut Chart<DB, X>) -> Result<()>
    where
        DB::ErrorType: 'static,
        X: Ranged<ValueType = f64>,
    {
        let front = pareto_front(&self.points);
        let corners: Vec<(f64, f64)> = front
            .iter()
            .map(|i| (self.points[*i].x.mean, self.points[*i].y.mean))
            .collect();
        let line = PathElement::new(corners, BLACK.mix(0.35).stroke_width(1));
        chart.draw_series([line]).map_err(drawing_error)?;
        Ok(())
    }

    /// Draws each point with its error bars. `image` is the whole area: markers are placed in its
    /// pixels.
    fn draw_points<DB: DrawingBackend, X>(
        &self,
        image: &Area<DB>,
        chart: &mut Chart<DB, X>,
    ) -> Result<()>
    where
        DB::ErrorType: 'static,
        X: Ranged<ValueType = f64>,
    {
        for (i, Point { x, y, .. }) in self.points.iter().enumerate() {
            let ([left, right], [low, high]) = (one_deviation(x), one_deviation(y));
            let bars = [
                error_bar((left, y.mean), (right, y.mean), i),
                error_bar((x.mean, low), (x.mean, high), i),
            ];
            chart.draw_series(bars).map_err(drawing_error)?;
            draw_marker(image, i, chart.backend_coord(&(x.mean, y.mean)))?;
        }
        Ok(())
    }

    /// Both ends of each point's error bar along the horizontal axis.
    fn x_ends(&self) -> impl Iterator<Item = f64> {
        self.points.iter().flat_map(|point| one_deviation(&point.x))
    }

    /// Draws axes and points. `plot` is the part of `image` that they take.
    fn draw_chart<DB: DrawingBackend, X>(
        &self,
        image: &Area<DB>,
        plot: &Area<DB>,
        x: X,
    ) -> Result<()>
    where
        DB::ErrorType: 'static,
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let y = self.points.iter().flat_map(|point| one_deviation(&point.y));
        let mut chart = ChartBuilder::on(plot)
            .caption(self.title, (FONT, 20))
            .margin(14)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d(x, padded_range(y))
            .map_err(drawing_error)?;
        chart
            .configure_mesh()
            .x_desc(self.x_label)
            .y_desc(self.y_label)
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .light_line_style(BLACK.mix(0.06))
            .draw()
            .map_err(drawing_error)?;
        self.draw_front(&mut chart)?;
        self.draw_points(image, &mut chart)
    }
}

impl Drawing for Scatter {
    fn size(&self) -> (u32, u32) {
        (960, plot_height(520, self.points.len()))
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let (plot, legend) = area.split_horizontally(area.dim_in_pixel().0 - LEGEND_WIDTH);
        match self.scale {
            Scale::Linear => {
                let x = RangedCoordf64::from(padded_range(self.x_ends()));
                self.draw_chart(area, &plot, x)?;
            }
            Scale::Logarithmic => {
                let means = self.points.iter().map(|point| point.x.mean);
                self.draw_chart(area, &plot, LogAxis::new(means, self.x_ends()))?;
            }
        }
        let names: Vec<&str> = self
            .points
            .iter()
            .map(|point| point.name.as_str())
            .collect();
        draw_legend(&legend, &names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(mean: f64) -> Cell {
        Cell {
            mean,
            n: Some(1),
            ..Cell::default()
        }
    }

    #[test]
    fn the_front_holds_the_points_that_no_other_beats() {
        let means = [(3.0, 1.0), (1.0, 3.0), (2.0, 2.0), (2.5, 2.5), (2.0, 4.0)];
        let points = means.map(|(x, y)| Point {
            name: String::new(),
            x: cell(x),
            y: cell(y),
        });
        assert_eq!(pareto_front(&points), [1, 2, 0]);
    }
}
