//! Decodes every file of a folder and prints its name, size and the SHA-256 of its RGB pixels, or
//! why it is refused: what `scripts/compare_pillow.py` holds against Pillow.
//!
//!     cargo run -p egsde-data --example decode_images FOLDER

use anyhow::{Context, Result};
use egsde_data::files::sha256_hex;
use egsde_data::image_file;
use std::path::PathBuf;

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).context("name a folder")?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match image_file::read(&path) {
            Ok(image) => {
                let (width, height) = (image.width, image.height);
                println!("{name}\t{width}x{height}\t{}", sha256_hex(&image.pixels));
            }
            Err(error) => println!("{name}\trefused\t{error:#}"),
        }
    }
    Ok(())
}
