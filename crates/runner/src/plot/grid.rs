//! Rows of sources, a column each method, as one PNG.

use super::{FONT, broken, use_own_font, whole};
use anyhow::{Result, anyhow};
use egsde_metrics::pictures::Pictures;
use image::imageops::{FilterType, resize};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

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
            Some(line) if line.chars().count() + 1 + word.chars().count() <= HEADING_WIDTH => {
                *line = format!("{line} {word}")
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// Columns of equally many pictures under their headings.
pub fn draw_grid(columns: &[(String, Pictures)], path: &Path) -> Result<()> {
    use_own_font();
    whole(path, |path| draw(columns, path))
}

fn draw(columns: &[(String, Pictures)], path: &Path) -> Result<()> {
    let (pitch, rows) = (
        CELL + GAP,
        columns.iter().map(|(_, p)| p.len()).max().unwrap_or(0) as u32,
    );
    let most = columns
        .iter()
        .map(|(name, _)| heading(name).len())
        .max()
        .unwrap_or(1) as u32;
    let head = (most + 1) * HEADING_LINE;
    let size = (
        columns.len() as u32 * pitch + GAP,
        head + rows * pitch + GAP,
    );
    let area = BitMapBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE).map_err(broken)?;
    let style = TextStyle::from((FONT, 13)).pos(Pos::new(HPos::Center, VPos::Center));
    for (c, (name, pictures)) in columns.iter().enumerate() {
        let left = (GAP + c as u32 * pitch) as i32;
        for (l, line) in heading(name).into_iter().enumerate() {
            let at = (
                left + CELL as i32 / 2,
                (HEADING_LINE * (l as u32 + 1)) as i32,
            );
            area.draw(&Text::new(line, at, style.clone()))
                .map_err(broken)?;
        }
        for r in 0..pictures.len() {
            let top = (head + r as u32 * pitch) as i32;
            let large = resize(&pictures.image(r), CELL, CELL, FilterType::CatmullRom).into_raw();
            let element = BitMapElement::with_owned_buffer((left, top), (CELL, CELL), large)
                .ok_or_else(|| anyhow!("a picture does not fill its cell"))?;
            area.draw(&element).map_err(broken)?;
        }
    }
    area.present().map_err(broken)
}
