//! Sources and translations side by side, one column per method, as one PNG.

use super::canvas::{Area, drawing_error};
use super::figure::{Drawing, write_png};
use super::fonts::font_for;
use crate::report::image_grids::{Column, Grid};
use anyhow::{Context, Result};
use image::RgbImage;
use image::imageops::{FilterType, resize};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

/// Side of an image in pixels.
const CELL: u32 = 96;
/// Pixels between images.
const GAP: u32 = 6;
/// From one image to the next in pixels.
const PITCH: u32 = CELL + GAP;
/// Height of one line of a heading in pixels.
const HEADING_LINE: u32 = 16;
/// Characters of a heading that fit over an image.
const HEADING_CHARACTERS: usize = 13;

/// Pixels between grids side by side.
const BLOCK_GAP: u32 = 30;
/// Height of the heading over a grid in pixels.
const BLOCK_HEADING: u32 = 36;

/// A heading in lines that fit over an image, broken between words.
fn heading_lines(heading: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in heading.split_whitespace() {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + length <= HEADING_CHARACTERS => {
                *line = format!("{line} {word}");
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

impl Grid {
    /// Height of the headings in pixels.
    fn heading_height(&self) -> u32 {
        let lines = self
            .columns
            .iter()
            .map(|column| heading_lines(&column.heading).len());
        (lines.max().unwrap_or(1) as u32 + 1) * HEADING_LINE
    }
}

impl Drawing for Grid {
    fn size(&self) -> (u32, u32) {
        let rows = self
            .columns
            .iter()
            .map(|column| column.images.len())
            .max()
            .unwrap_or(0);
        let width = self.columns.len() as u32 * PITCH + GAP;
        (width, self.heading_height() + rows as u32 * PITCH + GAP)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let top = self.heading_height();
        for (i, column) in self.columns.iter().enumerate() {
            let left = (GAP + i as u32 * PITCH) as i32;
            draw_heading(area, &column.heading, left)?;
            draw_images(area, column, left, top)?;
        }
        Ok(())
    }
}

/// Text of `size` px around a point, in a font that has all its characters.
fn centred_style(text: &str, size: u32) -> TextStyle<'static> {
    let style = TextStyle::from((font_for(text), size));
    style.pos(Pos::new(HPos::Center, VPos::Center))
}

fn draw_heading<DB: DrawingBackend>(area: &Area<DB>, heading: &str, left: i32) -> Result<()>
where
    DB::ErrorType: 'static,
{
    let style = centred_style(heading, 13);
    for (i, line) in heading_lines(heading).into_iter().enumerate() {
        let at = (
            left + CELL as i32 / 2,
            (HEADING_LINE * (i as u32 + 1)) as i32,
        );
        area.draw(&Text::new(line, at, style.clone()))
            .map_err(drawing_error)?;
    }
    Ok(())
}

/// Side at which an image of `side` px is shown: small ones by the largest whole factor that fits,
/// so that their pixels stay what they are; large ones reduced.
fn shown_side(side: u32) -> u32 {
    match CELL / side {
        0 => CELL,
        factor => factor * side,
    }
}

/// An image as its cell shows it.
fn shown(image: &RgbImage) -> RgbImage {
    let side = shown_side(image.width());
    let filter = if side < image.width() {
        FilterType::CatmullRom
    } else {
        FilterType::Nearest
    };
    resize(image, side, side, filter)
}

/// Draws a column's images below each other; `left` and `top` are the first one's corner in pixels.
fn draw_images<DB: DrawingBackend>(
    area: &Area<DB>,
    column: &Column,
    left: i32,
    top: u32,
) -> Result<()>
where
    DB::ErrorType: 'static,
{
    for i in 0..column.images.len() {
        let image = shown(&column.images.image(i));
        let (side, margin) = (image.width(), ((CELL - image.width()) / 2) as i32);
        let corner = (left + margin, (top + i as u32 * PITCH) as i32 + margin);
        let element = BitMapElement::with_owned_buffer(corner, (side, side), image.into_raw())
            .context("a picture does not fill its cell")?;
        area.draw(&element).map_err(drawing_error)?;
    }
    Ok(())
}

/// A grid under a heading of its own, beside others.
pub struct GridBlock<'a> {
    /// What the grid shows.
    pub heading: String,
    /// Sources and translations.
    pub grid: &'a Grid,
}

/// Grids side by side.
struct Blocks<'a>(&'a [GridBlock<'a>]);

impl Drawing for Blocks<'_> {
    fn size(&self) -> (u32, u32) {
        let sizes = self.0.iter().map(|block| block.grid.size());
        let (width, height) = sizes.fold((0, 0), |(width, height), size| {
            (width + size.0 + BLOCK_GAP, height.max(size.1))
        });
        (width - BLOCK_GAP, BLOCK_HEADING + height)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let mut left = 0;
        for GridBlock { heading, grid } in self.0 {
            let size = grid.size();
            let at = ((left + size.0 / 2) as i32, BLOCK_HEADING as i32 / 2);
            area.draw(&Text::new(heading.as_str(), at, centred_style(heading, 18)))
                .map_err(drawing_error)?;
            grid.draw(&area.clone().shrink((left, BLOCK_HEADING), size))?;
            left += size.0 + BLOCK_GAP;
        }
        Ok(())
    }
}

/// Writes grids side by side as a PNG file.
///
/// # Errors
/// The file cannot be drawn or written.
pub fn write_blocks(blocks: &[GridBlock], path: &Path) -> Result<()> {
    write_png(&Blocks(blocks), path)
}

/// Writes a grid into a folder; returns the file's name.
///
/// # Errors
/// The file cannot be drawn or written.
pub fn write_grid(grid: &Grid, folder: &Path) -> Result<String> {
    let name = format!("{}.png", grid.stem);
    write_grid_as(grid, &folder.join(&name))?;
    Ok(name)
}

/// Writes a grid as a PNG file.
///
/// # Errors
/// The file cannot be drawn or written.
pub fn write_grid_as(grid: &Grid, path: &Path) -> Result<()> {
    write_png(grid, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn small_images_keep_their_pixels_and_large_ones_are_reduced() {
        assert_eq!(
            [8, 32, 64, 96, 97, 256].map(shown_side),
            [96, 96, 64, 96, 96, 96]
        );
        let mut image = RgbImage::new(32, 32);
        image.put_pixel(31, 0, Rgb([255, 128, 1]));
        let enlarged = shown(&image);
        for (x, y, pixel) in enlarged.enumerate_pixels() {
            let is_in_corner = x >= 93 && y < 3;
            let wanted = if is_in_corner { [255, 128, 1] } else { [0; 3] };
            assert_eq!(pixel.0, wanted, "{x}, {y}");
        }
    }
}
