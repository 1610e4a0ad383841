//! What every page shares: one self-contained document, pictures inside it.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use egsde_metrics::pictures::{Pictures, encode_png};
use image::imageops::{FilterType, resize};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Larger pictures are shrunk to this many pixels a side on the page; the files keep their size.
const LARGEST: u32 = 128;

/// A picture as a data URI.
pub fn data_uri(pictures: &Pictures, i: usize) -> Result<String> {
    let image = pictures.image(i);
    let side = (pictures.side as u32).min(LARGEST);
    let image = if image.width() > side {
        resize(&image, side, side, FilterType::CatmullRom)
    } else {
        image
    };
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
