//! What every page shares: one self-contained document with its images inside.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use egsde_data::image_set::{ImageSet, encode_png};
use image::imageops::{FilterType, resize};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Largest side of an image on a page in pixels; larger ones are shrunk, and the files keep their
/// size.
const MAX_SIDE: u32 = 128;

/// What tells a page of this program.
pub const GENERATOR: &str = "<meta name=\"generator\" content=\"egsde\">";

/// Image `i` of a set as a data URI (PNG).
///
/// # Errors
/// Those of the PNG encoder.
pub fn data_uri(images: &ImageSet, i: usize) -> Result<String> {
    let mut image = images.image(i);
    if image.width() > MAX_SIDE {
        image = resize(&image, MAX_SIDE, MAX_SIDE, FilterType::CatmullRom);
    }
    Ok(format!(
        "data:image/png;base64,{}",
        STANDARD.encode(encode_png(&image)?)
    ))
}

/// A page that opens from disk, needs no network and follows the reader's light or dark mode.
pub fn document(title: &str, style: &str, body: &Markup, script: &str) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                (PreEscaped(GENERATOR))
                title { (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(style)) }
            }
            body {
                (body)
                script { (PreEscaped(script)) }
            }
        }
    };
    page.into_string()
}
