//! Realism against faithfulness.

use super::{FONT, LEGEND_WIDTH, both, broken, colour, height, legend, marker, range};
use crate::table::{Cell, Origin, Table};
use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

/// One of our rows.
#[derive(Debug, Clone)]
pub struct Point {
    pub name: String,
    /// L2.
    pub x: Cell,
    /// Fréchet distance.
    pub y: Cell,
}

/// Our rows that have both numbers.
pub fn points(table: &Table) -> Vec<Point> {
    let ours = table.rows.iter().filter(|r| r.source == Origin::Ours);
    ours.filter_map(|r| {
        Some(Point {
            name: r.method.clone(),
            x: *r.metrics.get("l2")?,
            y: *r.metrics.get("fid")?,
        })
    })
    .collect()
}

/// Indices of the points nobody beats in both numbers, from left to right.
pub fn pareto_front(points: &[Point]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|a, b| {
        points[*a]
            .x
            .mean
            .total_cmp(&points[*b].x.mean)
            .then(points[*a].y.mean.total_cmp(&points[*b].y.mean))
    });
    // From left to right only a point below all before it is on the front; equal ones stand together.
    let mut lowest = (f64::NAN, f64::INFINITY);
    order.retain(|i| {
        let (x, y) = (points[*i].x.mean, points[*i].y.mean);
        let on_front = y < lowest.1 || (x, y) == lowest;
        if on_front {
            lowest = (x, y);
        }
        on_front
    });
    order
}

fn scatter<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    points: &[Point],
    title: &str,
) -> Result<()>
where
    DB::ErrorType: 'static,
{
    area.fill(&WHITE).map_err(broken)?;
    let width = area.dim_in_pixel().0;
    let (left, right) = area.split_horizontally(width - LEGEND_WIDTH);
    let (x0, x1) = range(points.iter().map(|p| (p.x.mean, p.x.std.unwrap_or(0.0))));
    let (y0, y1) = range(points.iter().map(|p| (p.y.mean, p.y.std.unwrap_or(0.0))));
    let mut chart = ChartBuilder::on(&left)
        .caption(title, (FONT, 20))
        .margin(14)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(x0..x1, y0..y1)
        .map_err(broken)?;
    let mut mesh = chart.configure_mesh();
    let mesh = mesh
        .x_desc("L2 to the source (faithful: left)")
        .y_desc("Fréchet distance to the target (realistic: down)");
    mesh.label_style((FONT, 15))
        .axis_desc_style((FONT, 16))
        .light_line_style(BLACK.mix(0.06))
        .draw()
        .map_err(broken)?;
    let front: Vec<(f64, f64)> = pareto_front(points)
        .into_iter()
        .map(|i| (points[i].x.mean, points[i].y.mean))
        .collect();
    chart
        .draw_series([PathElement::new(front, BLACK.mix(0.35).stroke_width(1))])
        .map_err(broken)?;
    for (i, p) in points.iter().enumerate() {
        let (sx, sy) = (p.x.std.unwrap_or(0.0), p.y.std.unwrap_or(0.0));
        let line = |a, b| PathElement::new(vec![a, b], colour(i).stroke_width(2));
        let bars = [
            line((p.x.mean - sx, p.y.mean), (p.x.mean + sx, p.y.mean)),
            line((p.x.mean, p.y.mean - sy), (p.x.mean, p.y.mean + sy)),
        ];
        chart.draw_series(bars).map_err(broken)?;
        let (x, y) = chart.backend_coord(&(p.x.mean, p.y.mean));
        marker(area, i, (x, y))?;
    }
    legend(
        &right,
        &points.iter().map(|p| p.name.clone()).collect::<Vec<_>>(),
    )
}

/// With one standard deviation over seeds and the Pareto front, as PNG and SVG. False when there is nothing to draw.
pub fn draw_tradeoff(table: &Table, stem: &Path) -> Result<bool> {
    let points = points(table);
    if points.is_empty() {
        return Ok(false);
    }
    both!(stem, (960, height(520, points.len())), |area| scatter(
        area,
        &points,
        "Realism against faithfulness (line: Pareto front)"
    ));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_holds_what_nobody_beats() {
        let cell = |mean| Cell {
            mean,
            std: None,
            n: Some(1),
            ci95: None,
        };
        let point = |x, y| Point {
            name: String::new(),
            x: cell(x),
            y: cell(y),
        };
        let points = [
            point(3.0, 1.0),
            point(1.0, 3.0),
            point(2.0, 2.0),
            point(2.5, 2.5),
            point(2.0, 4.0),
        ];
        assert_eq!(pareto_front(&points), [1, 2, 0]);
    }
}
