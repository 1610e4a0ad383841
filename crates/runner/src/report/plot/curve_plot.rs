//! Ablation curves as plots: Fréchet distance and L2 over the varied number.

use super::canvas::{
    Area, Chart, LEGEND_WIDTH, colour, draw_legend, draw_marker, drawing_error, error_bar,
    legend_style, one_deviation, padded_range, plot_height, shortened,
};
use super::curve::{Curve, Line, Measured, curves};
use super::figure::{Drawing, Figure};
use super::fonts::FONT;
use crate::analysis::table::{Cell, Table};
use crate::plan::Plan;
use anyhow::Result;
use egsde_metrics::registry::{FID, L2, Metric};
use plotters::prelude::*;
use std::ops::Range;
use std::path::Path;

/// Values further apart than this, as a ratio, are drawn by their logarithm.
const FAR_APART: f64 = 8.0;

/// How values of a metric become heights.
#[derive(Debug, Clone, Copy)]
struct Heights {
    logarithmic: bool,
    lowest: f64,
}

impl Heights {
    /// Heights for all means of a plot.
    fn from_means(means: impl Iterator<Item = f64>) -> Self {
        let (mut lowest, mut highest) = (f64::INFINITY, f64::NEG_INFINITY);
        for mean in means {
            lowest = lowest.min(mean);
            highest = highest.max(mean);
        }
        Self {
            logarithmic: lowest > 0.0 && highest > FAR_APART * lowest,
            lowest,
        }
    }

    /// The height of a value. A bar that would reach below 0 ends at half the lowest mean.
    fn at(self, value: f64) -> f64 {
        if self.logarithmic {
            value.max(self.lowest / 2.0).log10()
        } else {
            value
        }
    }

    /// The value at a height, for an axis.
    fn label(self, height: f64) -> String {
        let value = if self.logarithmic {
            10f64.powf(height)
        } else {
            height
        };
        let digits = match value.abs() {
            10.0.. => 0,
            1.0.. => 1,
            _ => 2,
        };
        format!("{value:.digits$}")
    }
}

/// A number without the digits that rounding errors leave.
fn format_value(value: &f64) -> String {
    format!("{}", (value * 1e6).round() / 1e6)
}

/// One metric over a curve's values.
struct Panel<'a> {
    curve: &'a Curve,
    metric: &'static Metric,
    level: Option<&'a Cell>,
    heights: Heights,
}

impl<'a> Panel<'a> {
    fn new(curve: &'a Curve, metric: &'static Metric) -> Self {
        let level = curve
            .level
            .as_ref()
            .and_then(|level| level.numbers.get(metric.key));
        let points = curve.measured(metric);
        let cells = points.iter().map(|point| point.cell).chain(level);
        let means = cells.map(|cell| cell.mean);
        Self {
            curve,
            metric,
            level,
            heights: Heights::from_means(means),
        }
    }

    /// Heights of one standard deviation below a mean and above it.
    fn ends(&self, cell: &Cell) -> [f64; 2] {
        one_deviation(cell).map(|value| self.heights.at(value))
    }

    fn level_height(&self) -> Option<f64> {
        self.level.map(|cell| self.heights.at(cell.mean))
    }

    /// The range of the values, and that of the heights.
    fn ranges(&self) -> (Range<f64>, Range<f64>) {
        let (mut values, mut heights) = (Vec::new(), Vec::new());
        for Measured { value, cell } in self.curve.measured(self.metric) {
            values.push(value);
            heights.extend(self.ends(cell));
        }
        heights.extend(self.level_height());
        (padded_range(values), padded_range(heights))
    }

    /// Draws the panel onto `area`. `image` is the whole area: markers are placed in its pixels.
    fn draw<DB: DrawingBackend>(&self, image: &Area<DB>, area: &Area<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let (x, y) = self.ranges();
        let mut chart = ChartBuilder::on(area)
            .caption(self.metric.heading_with_arrow(), (FONT, 18))
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(56)
            .build_cartesian_2d(x.clone(), y)
            .map_err(drawing_error)?;
        chart
            .configure_mesh()
            .x_desc(self.curve.key.clone())
            .x_labels(7)
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .x_label_formatter(&format_value)
            .y_label_formatter(&|height: &f64| self.heights.label(*height))
            .light_line_style(BLACK.mix(0.06))
            .draw()
            .map_err(drawing_error)?;
        if let Some(y) = self.level_height() {
            let style = BLACK.mix(0.6).stroke_width(2);
            let dashes = DashedLineSeries::new([(x.start, y), (x.end, y)], 6, 5, style);
            chart.draw_series(dashes).map_err(drawing_error)?;
        }
        for (i, line) in self.curve.lines.iter().enumerate() {
            self.draw_line(image, &mut chart, i, line)?;
        }
        Ok(())
    }

    fn draw_line<DB: DrawingBackend>(
        &self,
        image: &Area<DB>,
        chart: &mut Chart<DB>,
        i: usize,
        line: &Line,
    ) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let points = line.measured(self.metric);
        let corners = points
            .iter()
            .map(|point| (point.value, self.heights.at(point.cell.mean)));
        let joined = LineSeries::new(corners, colour(i).stroke_width(2));
        chart.draw_series(joined).map_err(drawing_error)?;
        for Measured { value, cell } in points {
            let [low, high] = self.ends(cell);
            let bar = error_bar((value, low), (value, high), i);
            chart.draw_series([bar]).map_err(drawing_error)?;
            let at = chart.backend_coord(&(value, self.heights.at(cell.mean)));
            draw_marker(image, i, at)?;
        }
        Ok(())
    }
}

impl Drawing for Curve {
    fn size(&self) -> (u32, u32) {
        (1100, plot_height(400, self.lines.len()))
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let width = area.dim_in_pixel().0 - LEGEND_WIDTH;
        let (plots, legend) = area.split_horizontally(width);
        let (left, middle) = plots.split_horizontally(width / 2);
        Panel::new(self, &FID).draw(area, &left)?;
        Panel::new(self, &L2).draw(area, &middle)?;
        if let Some(level) = &self.level {
            let text = format!("- - {}", shortened(&level.name));
            legend
                .draw(&Text::new(text.clone(), (2, 16), legend_style(&text)))
                .map_err(drawing_error)?;
        }
        let names: Vec<&str> = self.lines.iter().map(|line| line.name.as_str()).collect();
        draw_legend(&legend, &names)
    }
}

/// Writes all curves of an experiment, with one standard deviation over seeds.
///
/// # Errors
/// A file cannot be drawn or written.
pub fn write_curves(plan: &Plan, table: &Table, folder: &Path) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for curve in curves(plan, table) {
        let stem = format!("curve_{}", curve.key.replace(['.', ' '], "_"));
        let caption = format!(
            "Over {}, with one standard deviation over seeds.",
            curve.key
        );
        figures.push(Figure::write(&curve, folder, &stem, caption)?);
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_far_apart_are_drawn_by_their_logarithm() {
        let near = Heights::from_means([2.0, 9.0].into_iter());
        assert!(!near.logarithmic && near.at(3.0) == 3.0 && near.label(3.25) == "3.2");
        let far = Heights::from_means([2.0, 64.0].into_iter());
        assert!(far.logarithmic && far.at(100.0) == 2.0 && far.label(2.0) == "100");
        assert_eq!(far.at(-1.0), 0.0, "half the lowest");
        assert!(!Heights::from_means([-1.0, 64.0].into_iter()).logarithmic);
        assert_eq!(
            (format_value(&5.0), format_value(&0.3)),
            ("5".into(), "0.3".into())
        );
    }
}
