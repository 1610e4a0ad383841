//! Plots as PNG and SVG, readable for the colour-blind, with the font that ships.

mod curve;
mod grid;
mod tradeoff;

pub use curve::{curves, draw_curve};
pub use grid::draw_grid;
pub use tradeoff::draw_tradeoff;

use anyhow::{Context, Result, anyhow};
use egsde_models::files::write_atomically;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
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
const LEGEND_WIDTH: u32 = 270;
const LEGEND_LINE: i32 = 22;

/// A picture is not taller, however many names its legend has.
const MOST_HEIGHT: u32 = 1600;

/// Height of a picture at least `least` tall with this many names in its legend.
fn height(least: u32, names: usize) -> u32 {
    let legend = u32::try_from(names)
        .unwrap_or(u32::MAX)
        .saturating_mul(LEGEND_LINE as u32);
    least.max(legend.saturating_add(60)).min(MOST_HEIGHT)
}

/// The font ships with the program, so that plots look alike everywhere.
fn use_own_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = register_font(
            FONT,
            FontStyle::Normal,
            include_bytes!("../../../../assets/fonts/DejaVuSans.ttf"),
        );
    });
}

fn broken<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

fn colour(i: usize) -> RGBColor {
    COLOURS[i % COLOURS.len()]
}

/// A marker at a pixel: its shape changes with every entry, its colour too, so that either tells them apart.
fn marker<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, i: usize, at: (i32, i32)) -> Result<()>
where
    DB::ErrorType: 'static,
{
    let (style, (x, y)) = (colour(i).filled(), at);
    match i % 4 {
        0 => area.draw(&Circle::new(at, 6, style)),
        1 => area.draw(&Polygon::new(
            vec![(x, y - 7), (x - 7, y + 6), (x + 7, y + 6)],
            style,
        )),
        2 => area.draw(&Rectangle::new([(x - 5, y - 5), (x + 5, y + 5)], style)),
        _ => area.draw(&Polygon::new(
            vec![(x, y - 8), (x + 7, y), (x, y + 8), (x - 7, y)],
            style,
        )),
    }
    .map_err(broken)
}

/// Text beside a plot.
fn legend_style() -> TextStyle<'static> {
    TextStyle::from((FONT, 14)).pos(Pos::new(HPos::Left, VPos::Center))
}

/// Names beside their markers, from the top; those that do not fit are counted.
fn legend<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, names: &[String]) -> Result<()>
where
    DB::ErrorType: 'static,
{
    let style = legend_style();
    let fit = ((area.dim_in_pixel().1 as i32 - 40) / LEGEND_LINE).max(1) as usize;
    for (i, name) in names.iter().take(fit).enumerate() {
        let y = 40 + i as i32 * LEGEND_LINE;
        let last = i + 1 == fit && names.len() > fit;
        let text = if last {
            format!("... and {} more", names.len() - i)
        } else {
            shortened(name)
        };
        if !last {
            marker(area, i, (12, y))?;
        }
        area.draw(&Text::new(text, (28, y), style.clone()))
            .map_err(broken)?;
    }
    Ok(())
}

/// A name that fits the legend.
fn shortened(name: &str) -> String {
    const MOST: usize = 30;
    if name.chars().count() <= MOST {
        name.into()
    } else {
        name.chars().take(MOST - 1).chain(['…']).collect()
    }
}

/// A range with some room around; never empty.
fn range(values: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), (m, s)| {
        (l.min(m - s), h.max(m + s))
    });
    let margin = ((high - low) * 0.12).max(high.abs() * 0.02).max(1e-6);
    (low - margin, high + margin)
}

/// Draws where nobody looks, then writes the file whole.
fn whole(path: &Path, draw: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    // plotters chooses the format by the extension.
    let drawn = folder.path().join(path.file_name().unwrap_or_default());
    draw(&drawn).with_context(|| format!("cannot write {}", path.display()))?;
    write_atomically(path, &std::fs::read(&drawn)?)
}

/// Draws the same onto a PNG and an SVG file.
macro_rules! both {
    ($stem:expr, $size:expr, $draw:expr) => {{
        use plotters::prelude::{BitMapBackend, IntoDrawingArea, SVGBackend};
        $crate::plot::use_own_font();
        $crate::plot::whole(&$stem.with_extension("png"), |path| {
            let area = BitMapBackend::new(path, $size).into_drawing_area();
            $draw(&area)?;
            area.present().map_err($crate::plot::broken)
        })?;
        $crate::plot::whole(&$stem.with_extension("svg"), |path| {
            let area = SVGBackend::new(path, $size).into_drawing_area();
            $draw(&area)?;
            area.present().map_err($crate::plot::broken)
        })?;
    }};
}
use both;

/// The SVG file of a stem, for a page.
pub fn svg(stem: &Path) -> Result<String> {
    Ok(std::fs::read_to_string(stem.with_extension("svg"))?)
}
