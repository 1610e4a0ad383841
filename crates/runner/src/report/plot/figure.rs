//! Drawings as files: each file is written whole or not at all.

use super::canvas::{Area, drawing_error, use_own_font};
use anyhow::{Context, Result};
use egsde_data::files::write_atomically;
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
        let svg = write_drawn(&folder.join(&files[1]), |path| {
            draw_onto(SVGBackend::new(path, drawing.size()), drawing)
        })?;
        Ok(Self {
            files,
            caption,
            svg: String::from_utf8(svg)?,
        })
    }
}

/// Writes a drawing as PNG.
///
/// # Errors
/// The file cannot be drawn or written.
pub fn write_png(drawing: &impl Drawing, path: &Path) -> Result<()> {
    write_drawn(path, |path| {
        draw_onto(BitMapBackend::new(path, drawing.size()), drawing)
    })?;
    Ok(())
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

/// Writes whole what `draw` writes in pieces to a file elsewhere; returns the file's bytes.
fn write_drawn(path: &Path, draw: impl FnOnce(&Path) -> Result<()>) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    // plotters chooses the format by the extension.
    let drawn = folder.path().join(path.file_name().unwrap_or_default());
    draw(&drawn).with_context(|| format!("cannot write {}", path.display()))?;
    let bytes = std::fs::read(&drawn)?;
    write_atomically(path, &bytes)?;
    Ok(bytes)
}
