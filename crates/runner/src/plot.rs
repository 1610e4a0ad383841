//! Plots and picture grids.

use crate::plan::Plan;
use crate::store::JobFolder;
use crate::table::{Cell, Origin, Table};
use anyhow::{Result, anyhow};
use egsde_metrics::pictures::Pictures;
use image::imageops::{FilterType, resize};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::path::Path;
use std::sync::Once;

/// Okabe-Ito colours: told apart by colour-blind readers too.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];
const FONT: &str = "sans-serif";

/// The font ships with the program, so that plots look alike everywhere.
fn use_own_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = register_font(FONT, FontStyle::Normal, include_bytes!("../../../assets/fonts/DejaVuSans.ttf"));
    });
}

fn broken<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

struct Point {
    name: String,
    x: Cell,
    y: Cell,
}

fn points(table: &Table) -> Vec<Point> {
    let ours = table.rows.iter().filter(|r| r.source == Origin::Ours);
    ours.filter_map(|r| Some(Point { name: r.method.clone(), x: *r.metrics.get("l2")?, y: *r.metrics.get("fid")? })).collect()
}

fn range(values: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), (m, s)| (l.min(m - s), h.max(m + s)));
    let margin = ((high - low) * 0.15).max(high.abs() * 0.02).max(1e-6);
    (low - margin, high + margin)
}

fn scatter<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, points: &[Point], title: &str) -> Result<()>
where
    DB::ErrorType: 'static,
{
    let (x0, x1) = range(points.iter().map(|p| (p.x.mean, p.x.std.unwrap_or(0.0))));
    let (y0, y1) = range(points.iter().map(|p| (p.y.mean, p.y.std.unwrap_or(0.0))));
    area.fill(&WHITE).map_err(broken)?;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 22))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(x0..x1, y0..y1)
        .map_err(broken)?;
    let mut mesh = chart.configure_mesh();
    let mesh = mesh.x_desc("L2 to the source (faithful: left)").y_desc("Fréchet distance to the target (realistic: down)");
    mesh.label_style((FONT, 15)).axis_desc_style((FONT, 16)).light_line_style(BLACK.mix(0.06)).draw().map_err(broken)?;
    for (i, p) in points.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let (sx, sy) = (p.x.std.unwrap_or(0.0), p.y.std.unwrap_or(0.0));
        let line = |a, b| PathElement::new(vec![a, b], colour.stroke_width(2));
        chart
            .draw_series([
                line((p.x.mean - sx, p.y.mean), (p.x.mean + sx, p.y.mean)),
                line((p.x.mean, p.y.mean - sy), (p.x.mean, p.y.mean + sy)),
            ])
            .map_err(broken)?;
        let dot = chart.draw_series([Circle::new((p.x.mean, p.y.mean), 5, colour.filled())]).map_err(broken)?;
        dot.label(p.name.clone()).legend(move |(x, y)| Circle::new((x + 10, y), 5, colour.filled()));
    }
    let mut legend = chart.configure_series_labels();
    legend.position(SeriesLabelPosition::UpperRight).label_font((FONT, 15)).background_style(WHITE.mix(0.85)).border_style(BLACK.mix(0.3));
    legend.draw().map_err(broken)?;
    area.present().map_err(broken)
}

/// Realism over faithfulness with one standard deviation over seeds, as PNG and SVG. False when there is nothing to draw.
pub fn tradeoff(table: &Table, stem: &Path) -> Result<bool> {
    let points = points(table);
    if points.is_empty() {
        return Ok(false);
    }
    use_own_font();
    let title = format!("{}: realism against faithfulness", table.title);
    scatter(&BitMapBackend::new(&stem.with_extension("png"), (900, 620)).into_drawing_area(), &points, &title)?;
    scatter(&SVGBackend::new(&stem.with_extension("svg"), (900, 620)).into_drawing_area(), &points, &title)?;
    Ok(true)
}

/// Pixels of a picture, its gap, and the heading.
const CELL: u32 = 96;
const GAP: u32 = 6;
const HEADING_LINE: u32 = 16;
/// Characters of a heading that fit over a picture.
const HEADING_WIDTH: usize = 13;

/// A heading in lines that fit over a picture, broken between words.
fn heading(name: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in name.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= HEADING_WIDTH => *line = format!("{line} {word}"),
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// Rows of the first `count` sources, a column the source and one a method (first seed). Methods without pictures are left out.
pub fn grid(plan: &Plan, source: &Pictures, count: usize, path: &Path) -> Result<bool> {
    let mut columns = vec![("Source".to_string(), source.first(count))];
    let names = columns[0].1.names.clone();
    for job in plan.jobs.iter().filter(|j| Some(&j.identity.seed) == plan.spec.seeds.first()) {
        if let Ok(pictures) = JobFolder::of(&plan.folder, job).read_all(&names, source.side) {
            columns.push((job.row.clone(), pictures));
        }
    }
    if columns.len() < 2 {
        return Ok(false);
    }
    use_own_font();
    let (pitch, rows) = (CELL + GAP, names.len() as u32);
    let most = columns.iter().map(|(name, _)| heading(name).len()).max().unwrap_or(1) as u32;
    let head = (most + 1) * HEADING_LINE;
    let size = (columns.len() as u32 * pitch + GAP, head + rows * pitch + GAP);
    let backend = BitMapBackend::new(path, size);
    let area = backend.into_drawing_area();
    area.fill(&WHITE).map_err(broken)?;
    let style = TextStyle::from((FONT, 13)).pos(plotters::style::text_anchor::Pos::new(
        plotters::style::text_anchor::HPos::Center,
        plotters::style::text_anchor::VPos::Center,
    ));
    for (c, (name, pictures)) in columns.iter().enumerate() {
        let left = (GAP + c as u32 * pitch) as i32;
        for (l, line) in heading(name).into_iter().enumerate() {
            let at = (left + CELL as i32 / 2, (HEADING_LINE * (l as u32 + 1)) as i32);
            area.draw(&Text::new(line, at, style.clone())).map_err(broken)?;
        }
        for r in 0..pictures.len() {
            let top = (head + r as u32 * pitch) as i32;
            let large = resize(&pictures.image(r), CELL, CELL, FilterType::CatmullRom).into_raw();
            let element = BitMapElement::with_owned_buffer((left, top), (CELL, CELL), large)
                .ok_or_else(|| anyhow!("a picture does not fill its cell"))?;
            area.draw(&element).map_err(broken)?;
        }
    }
    area.present().map_err(broken)?;
    Ok(true)
}
