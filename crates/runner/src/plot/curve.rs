//! A curve for each ablated value: Fréchet distance and L2 over it.

use super::{
    FONT, LEGEND_WIDTH, both, broken, colour, height, legend, legend_style, marker, range,
    shortened,
};
use crate::metric::Metric;
use crate::plan::Plan;
use crate::spec::Row;
use crate::table::{Cell, Origin, Table};
use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Rows that differ in one number only.
#[derive(Debug)]
struct Line {
    name: String,
    /// Value, then the row's numbers by metric.
    points: Vec<(f64, BTreeMap<String, Cell>)>,
}

/// All lines over one key.
#[derive(Debug)]
pub struct Curve {
    pub key: String,
    lines: Vec<Line>,
    /// The row that others are compared with, where it is no point of a line: drawn as a level.
    level: Option<(String, BTreeMap<String, Cell>)>,
}

/// Values further apart than this, as a ratio, are drawn by their logarithm.
const FAR_APART: f64 = 8.0;

/// How values of a metric become heights.
#[derive(Debug, Clone, Copy)]
struct Heights {
    logarithmic: bool,
    lowest: f64,
}

impl Heights {
    fn of(means: impl Iterator<Item = f64>) -> Self {
        let (lowest, highest) = means.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), m| {
            (l.min(m), h.max(m))
        });
        Self {
            logarithmic: lowest > 0.0 && highest > FAR_APART * lowest,
            lowest,
        }
    }

    /// A bar that would reach below 0 ends at half the lowest value.
    fn at(self, value: f64) -> f64 {
        if self.logarithmic {
            value.max(self.lowest / 2.0).log10()
        } else {
            value
        }
    }

    fn label(self, height: f64) -> String {
        let value = if self.logarithmic {
            10f64.powf(height)
        } else {
            height
        };
        let digits = if value.abs() >= 10.0 {
            0
        } else if value.abs() >= 1.0 {
            1
        } else {
            2
        };
        format!("{value:.digits$}")
    }
}

/// A number without a fraction that says nothing.
fn plain(value: &f64) -> String {
    format!("{}", (value * 1e6).round() / 1e6)
}

/// Lines by key, then by name.
type Lines = BTreeMap<String, BTreeMap<String, Line>>;

/// The key of a curve over what steps cost.
const EVALUATIONS: &str = "network evaluations";

/// The keys that are another way to say how many evaluations there are.
const STEPS: [&str; 2] = ["steps", "start"];

/// A row's name, with what else a sweep gave it.
fn line_name(row: &Row, left_out: &[&str]) -> String {
    let others: String = row
        .varied
        .iter()
        .filter(|(k, _)| !left_out.contains(&k.as_str()))
        .map(|(k, v)| format!(" {k}={v}"))
        .collect();
    format!("{}{others}", row.base.as_deref().unwrap_or(&row.name))
}

fn add(lines: &mut Lines, key: &str, name: String, value: f64, numbers: &BTreeMap<String, Cell>) {
    let of_key = lines.entry(key.to_string()).or_default();
    of_key
        .entry(name.clone())
        .or_insert_with(|| Line {
            name,
            points: Vec::new(),
        })
        .points
        .push((value, numbers.clone()));
}

/// One a key that a sweep gave at least two numbers, and one over the evaluations where it gave numbers of steps.
pub fn curves(plan: &Plan, table: &Table) -> Vec<Curve> {
    let numbers: BTreeMap<&str, _> = table
        .rows
        .iter()
        .filter(|r| r.source == Origin::Ours)
        .map(|r| (r.method.as_str(), &r.metrics))
        .collect();
    let costs: BTreeMap<&str, usize> = plan
        .jobs
        .iter()
        .map(|j| (j.row.as_str(), j.identity.settings.evaluations().diffusion))
        .collect();
    let mut lines = Lines::new();
    for row in &plan.spec.methods {
        let Some(numbers) = numbers.get(row.name.as_str()).filter(|n| !n.is_empty()) else {
            continue;
        };
        for (key, value) in &row.varied {
            if let Ok(value) = value.parse::<f64>() {
                add(&mut lines, key, line_name(row, &[key]), value, numbers);
            }
        }
        if let (true, Some(cost)) = (
            row.varied.contains_key("steps"),
            costs.get(row.name.as_str()),
        ) {
            add(
                &mut lines,
                EVALUATIONS,
                line_name(row, &STEPS),
                *cost as f64,
                numbers,
            );
        }
    }
    let to = plan
        .spec
        .methods
        .iter()
        .find(|row| plan.spec.compare_to.as_ref() == Some(&row.name) && row.varied.is_empty());
    let level =
        to.and_then(|row| Some((row.name.clone(), (*numbers.get(row.name.as_str())?).clone())));
    let curve = |(key, lines): (String, BTreeMap<String, Line>)| {
        let mut lines: Vec<Line> = lines
            .into_values()
            .filter(|l| l.points.len() >= 2)
            .collect();
        lines
            .iter_mut()
            .for_each(|l| l.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
        (!lines.is_empty()).then(|| Curve {
            key,
            lines,
            level: level.clone(),
        })
    };
    lines.into_iter().filter_map(curve).collect()
}

/// `root` is the whole picture: markers are placed in its pixels.
fn panel<DB: DrawingBackend>(
    root: &DrawingArea<DB, Shift>,
    area: &DrawingArea<DB, Shift>,
    curve: &Curve,
    metric: &Metric,
) -> Result<()>
where
    DB::ErrorType: 'static,
{
    let level = curve
        .level
        .as_ref()
        .and_then(|(_, numbers)| numbers.get(metric.key));
    let points = || {
        curve.lines.iter().flat_map(|l| {
            l.points
                .iter()
                .filter_map(|(x, m)| Some((*x, m.get(metric.key)?)))
        })
    };
    let heights = Heights::of(points().map(|(_, c)| c.mean).chain(level.map(|c| c.mean)));
    let bar = |c: &Cell| {
        [
            heights.at(c.mean - c.std.unwrap_or(0.0)),
            heights.at(c.mean + c.std.unwrap_or(0.0)),
        ]
    };
    let (x0, x1) = range(points().map(|(x, _)| (x, 0.0)));
    let ends = points()
        .flat_map(|(_, c)| bar(c))
        .chain(level.map(|c| heights.at(c.mean)));
    let (y0, y1) = range(ends.map(|y| (y, 0.0)));
    let mut chart = ChartBuilder::on(area)
        .caption(metric.arrow(), (FONT, 18))
        .margin(12)
        .x_label_area_size(46)
        .y_label_area_size(56)
        .build_cartesian_2d(x0..x1, y0..y1)
        .map_err(broken)?;
    let mut mesh = chart.configure_mesh();
    let mesh = mesh
        .x_desc(curve.key.clone())
        .x_labels(7)
        .label_style((FONT, 15))
        .axis_desc_style((FONT, 16));
    let label = |y: &f64| heights.label(*y);
    mesh.x_label_formatter(&plain)
        .y_label_formatter(&label)
        .light_line_style(BLACK.mix(0.06))
        .draw()
        .map_err(broken)?;
    if let Some(y) = level.map(|c| heights.at(c.mean)) {
        chart
            .draw_series(DashedLineSeries::new(
                [(x0, y), (x1, y)],
                6,
                5,
                BLACK.mix(0.6).stroke_width(2),
            ))
            .map_err(broken)?;
    }
    for (i, line) in curve.lines.iter().enumerate() {
        let own: Vec<(f64, &Cell)> = line
            .points
            .iter()
            .filter_map(|(x, m)| Some((*x, m.get(metric.key)?)))
            .collect();
        let heads = own.iter().map(|(x, c)| (*x, heights.at(c.mean)));
        chart
            .draw_series(LineSeries::new(heads, colour(i).stroke_width(2)))
            .map_err(broken)?;
        for (x, cell) in own {
            let [low, high] = bar(cell);
            chart
                .draw_series([PathElement::new(
                    vec![(x, low), (x, high)],
                    colour(i).stroke_width(2),
                )])
                .map_err(broken)?;
            marker(root, i, chart.backend_coord(&(x, heights.at(cell.mean))))?;
        }
    }
    Ok(())
}

fn draw<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, curve: &Curve) -> Result<()>
where
    DB::ErrorType: 'static,
{
    area.fill(&WHITE).map_err(broken)?;
    let width = area.dim_in_pixel().0;
    let (plots, right) = area.split_horizontally(width - LEGEND_WIDTH);
    let (left, middle) = plots.split_horizontally((width - LEGEND_WIDTH) / 2);
    for (side, key) in [(&left, "fid"), (&middle, "l2")] {
        if let Some(metric) = Metric::of(key) {
            panel(area, side, curve, metric)?;
        }
    }
    if let Some((name, _)) = &curve.level {
        right
            .draw(&Text::new(
                format!("- - {}", shortened(name)),
                (2, 16),
                legend_style(),
            ))
            .map_err(broken)?;
    }
    legend(
        &right,
        &curve
            .lines
            .iter()
            .map(|l| l.name.clone())
            .collect::<Vec<_>>(),
    )
}

/// As PNG and SVG, with one standard deviation over seeds.
pub fn draw_curve(curve: &Curve, stem: &Path) -> Result<()> {
    both!(stem, (1100, height(400, curve.lines.len())), |area| draw(
        area, curve
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_far_apart_are_drawn_by_their_logarithm() {
        let near = Heights::of([2.0, 9.0].into_iter());
        assert!(!near.logarithmic && near.at(3.0) == 3.0 && near.label(3.25) == "3.2");
        let far = Heights::of([2.0, 64.0].into_iter());
        assert!(far.logarithmic && far.at(100.0) == 2.0 && far.label(2.0) == "100");
        assert_eq!(far.at(-1.0), 0.0, "half the lowest");
        assert!(!Heights::of([-1.0, 64.0].into_iter()).logarithmic);
        assert_eq!((plain(&5.0), plain(&0.3)), ("5".into(), "0.3".into()));
    }
}
