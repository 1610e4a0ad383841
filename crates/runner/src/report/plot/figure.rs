//! Drawings as files: each file is written whole or not at all.

use super::canvas::{Area, drawing_error};
use super::fonts::use_own_font;
use anyhow::Result;
use egsde_data::files::write_atomically;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use plotters::prelude::*;
use std::path::Path;

/// Something that can be drawn into every format.
pub trait Drawing {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Draws onto an area of that size.
    ///
    /// # Errors
    /// Those of the drawing backend.
    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Result<()>
    where
        DB::ErrorType: 'static;
}

/// A drawing that was written as PNG and SVG.
#[derive(Debug)]
pub struct Figure {
    /// Names of its files.
    pub files: [String; 2],
    /// What it shows, in one sentence.
    pub caption: String,
    /// Text of its SVG file, for a page.
    pub svg: String,
}

impl Figure {
    /// Writes `STEM.png` and `STEM.svg` into a folder.
    ///
    /// # Errors
    /// A file cannot be drawn or written.
    pub fn write(
        drawing: &impl Drawing,
        folder: &Path,
        stem: &str,
        caption: String,
    ) -> Result<Self> {
        let files = [format!("{stem}.png"), format!("{stem}.svg")];
        write_png(drawing, &folder.join(&files[0]))?;
        let mut svg = String::new();
        draw_onto(SVGBackend::with_string(&mut svg, drawing.size()), drawing)?;
        write_atomically(&folder.join(&files[1]), svg.as_bytes())?;
        Ok(Self {
            files,
            caption,
            svg,
        })
    }
}

/// Writes a drawing as PNG.
///
/// # Errors
/// The file cannot be drawn or written.
pub fn write_png(drawing: &impl Drawing, path: &Path) -> Result<()> {
    let (width, height) = drawing.size();
    let mut pixels = vec![0; 3 * width as usize * height as usize];
    draw_onto(
        BitMapBackend::with_buffer(&mut pixels, (width, height)),
        drawing,
    )?;
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&pixels, width, height, ExtendedColorType::Rgb8)?;
    write_atomically(path, &png)
}

fn draw_onto<DB: DrawingBackend>(backend: DB, drawing: &impl Drawing) -> Result<()>
where
    DB::ErrorType: 'static,
{
    use_own_font();
    let area = backend.into_drawing_area();
    area.fill(&WHITE).map_err(drawing_error)?;
    drawing.draw(&area)?;
    area.present().map_err(drawing_error)
}
