//! What plots are made of: colours, markers, error bars, legends, axes.

use super::fonts::font_for;
use crate::analysis::table::Cell;
use crate::error::one_line;
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

/// A rectangle of pixels to draw on.
pub type Area<DB> = DrawingArea<DB, Shift>;

/// A plot; its vertical axis is linear, and so is the horizontal one unless it is given.
pub type Chart<'a, DB, X = RangedCoordf64> = ChartContext<'a, DB, Cartesian2d<X, RangedCoordf64>>;

/// Okabe-Ito colours: colour-blind readers can tell them apart too.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];

/// Width of the legend beside a plot in pixels.
pub const LEGEND_WIDTH: u32 = 270;

/// Height of one name of a legend in pixels.
const LEGEND_LINE: i32 = 22;

/// Where the first name of a legend stands, in pixels from the top.
const LEGEND_TOP: i32 = 40;

/// Characters of a name that fit a legend.
const LEGEND_CHARACTERS: usize = 30;

/// Largest height of a plot in pixels, however many names its legend has.
const MAX_HEIGHT: u32 = 1600;

/// Height in pixels of a plot at least `least` tall with this many names in its legend.
pub fn plot_height(least: u32, names: usize) -> u32 {
    let legend = u32::try_from(names)
        .unwrap_or(u32::MAX)
        .saturating_mul(LEGEND_LINE as u32);
    least.max(legend.saturating_add(60)).min(MAX_HEIGHT)
}

/// An error of plotters as one of ours.
pub fn drawing_error<E>(error: DrawingAreaErrorKind<E>) -> anyhow::Error
where
    E: std::error::Error + Send + Sync,
{
    anyhow!("cannot draw: {error}")
}

/// The colour of entry `i`.
pub fn colour(i: usize) -> RGBColor {
    COLOURS[i % COLOURS.len()]
}

/// Draws the marker of entry `i` at a pixel. Its shape changes with every entry, and so does its
/// colour: either tells them apart.
pub fn draw_marker<DB: DrawingBackend>(area: &Area<DB>, i: usize, at: (i32, i32)) -> Result<()>
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
        _ => {
            let corners = vec![(x, y - 8), (x + 7, y), (x, y + 8), (x - 7, y)];
            area.draw(&Polygon::new(corners, style))
        }
    }
    .map_err(drawing_error)
}

/// The error bar of entry `i` from one end to the other.
pub fn error_bar(from: (f64, f64), to: (f64, f64), i: usize) -> PathElement<(f64, f64)> {
    PathElement::new(vec![from, to], colour(i).stroke_width(2))
}

/// How a text beside a plot is drawn.
pub fn legend_style(text: &str) -> TextStyle<'static> {
    TextStyle::from((font_for(text), 14)).pos(Pos::new(HPos::Left, VPos::Center))
}

/// Draws names beside their markers, from the top; those that do not fit are counted.
pub fn draw_legend<DB: DrawingBackend>(area: &Area<DB>, names: &[&str]) -> Result<()>
where
    DB::ErrorType: 'static,
{
    let height = area.dim_in_pixel().1 as i32;
    let fitting = ((height - LEGEND_TOP) / LEGEND_LINE).max(1) as usize;
    for (i, name) in names.iter().take(fitting).enumerate() {
        let y = LEGEND_TOP + i as i32 * LEGEND_LINE;
        let is_count = i + 1 == fitting && names.len() > fitting;
        let text = if is_count {
            format!("... and {} more", names.len() - i)
        } else {
            draw_marker(area, i, (12, y))?;
            shortened(name)
        };
        let style = legend_style(&text);
        area.draw(&Text::new(text, (28, y), style))
            .map_err(drawing_error)?;
    }
    Ok(())
}

/// A name on one line that fits the legend.
pub fn shortened(name: &str) -> String {
    let name = one_line(name);
    if name.chars().count() <= LEGEND_CHARACTERS {
        return name;
    }
    name.chars()
        .take(LEGEND_CHARACTERS - 1)
        .chain(['…'])
        .collect()
}

/// One standard deviation below a mean and above it; the mean itself where there is none.
pub fn one_deviation(cell: &Cell) -> [f64; 2] {
    let std = cell.std.unwrap_or(0.0);
    [cell.mean - std, cell.mean + std]
}

/// The range of some values with room around them; never empty.
pub fn padded_range(values: impl IntoIterator<Item = f64>) -> Range<f64> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        low = low.min(value);
        high = high.max(value);
    }
    let margin = ((high - low) * 0.12).max(high.abs() * 0.02).max(1e-6);
    low - margin..high + margin
}
