//! Photos, turned as the camera was held.

use crate::files::read_bounded;
use crate::image_file::{MAX_FILE_BYTES, Rgb, decode, is_webp, turned};
use anyhow::{Context, Result};
use image::metadata::Orientation;
use std::path::Path;

/// Reads an image file and turns it as its EXIF orientation says (Pillow's
/// `ImageOps.exif_transpose`). Data sets are read without it, as the published code does.
///
/// # Errors
/// As [`crate::image_file::read`].
pub fn read_upright(path: &Path) -> Result<Rgb> {
    let bytes = read_bounded(path, MAX_FILE_BYTES)?;
    let image = decode(&bytes).with_context(|| path.display().to_string())?;
    Ok(turned(image, orientation(&bytes)))
}

/// The orientation that a file's EXIF data tells; upright where it tells none.
fn orientation(bytes: &[u8]) -> Orientation {
    exif(bytes)
        .and_then(Orientation::from_exif_chunk)
        .unwrap_or(Orientation::NoTransforms)
}

/// The EXIF data of a JPEG, PNG or WebP file, from its TIFF header on. A TIFF file is such data
/// itself; its reader turns it, as Pillow's does.
fn exif(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [0xff, 0xd8, ..] => jpeg_exif(bytes),
        [0x89, b'P', b'N', b'G', ..] => png_exif(bytes),
        _ if is_webp(bytes) => webp_exif(bytes),
        _ => None,
    }
}

/// What stands before the TIFF header in a JPEG, and in some WebP files.
const EXIF_PREFIX: &[u8] = b"Exif\0\0";

/// The EXIF segment among those before a JPEG's image data.
fn jpeg_exif(bytes: &[u8]) -> Option<&[u8]> {
    const APP1: u8 = 0xe1;
    let mut at = 2;
    loop {
        let &[0xff, marker] = bytes.get(at..at + 2)? else {
            return None;
        };
        match marker {
            // A byte that fills, and markers without a length.
            0xff => at += 1,
            0x01 | 0xd0..=0xd7 => at += 2,
            // The image data or the end.
            0xda | 0xd9 => return None,
            _ => {
                let length = bytes.get(at + 2..at + 4)?;
                let end = at + 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
                let segment = bytes.get(at + 4..end)?;
                if marker == APP1
                    && let Some(exif) = segment.strip_prefix(EXIF_PREFIX)
                {
                    return Some(exif);
                }
                at = end;
            }
        }
    }
}

/// Four bytes at a place as a number.
fn four_bytes(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at + 4)?.try_into().ok()
}

fn png_exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 8;
    loop {
        let length = u32::from_be_bytes(four_bytes(bytes, at)?) as usize;
        let content = bytes.get(at + 8..(at + 8).checked_add(length)?)?;
        if &four_bytes(bytes, at + 4)? == b"eXIf" {
            return Some(content);
        }
        // A checksum ends each chunk.
        at += 8 + length + 4;
    }
}

fn webp_exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    loop {
        let length = u32::from_le_bytes(four_bytes(bytes, at + 4)?) as usize;
        let content = bytes.get(at + 8..(at + 8).checked_add(length)?)?;
        if &four_bytes(bytes, at)? == b"EXIF" {
            return Some(content.strip_prefix(EXIF_PREFIX).unwrap_or(content));
        }
        // Chunks begin at even places.
        at += 8 + length.next_multiple_of(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_file::encode_jpeg75;

    /// EXIF data with nothing but this orientation, little-endian.
    fn exif_data(orientation: u8) -> Vec<u8> {
        let mut data = b"II*\0\x08\0\0\0\x01\0".to_vec();
        data.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
        data.extend([0; 4]);
        data
    }

    /// Black, but for a white upper left quarter.
    fn marked(width: usize, height: usize) -> Rgb {
        let mut pixels = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let is_marked = x < width / 2 && y < height / 2;
                pixels.extend([if is_marked { 255 } else { 0 }; 3]);
            }
        }
        Rgb {
            width,
            height,
            pixels,
        }
    }

    fn jpeg_with_orientation(orientation: u8) -> Vec<u8> {
        let jpeg = encode_jpeg75(&marked(32, 16)).unwrap();
        let exif = [EXIF_PREFIX, &exif_data(orientation)].concat();
        let length = (exif.len() as u16 + 2).to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
    }

    /// Which corner of an image is white.
    fn white_corner(image: &Rgb) -> &'static str {
        let brightness = |x: usize, y: usize| image.pixels[(y * image.width + x) * 3];
        let (right, bottom) = (image.width - 1, image.height - 1);
        let corners = [
            ("upper left", brightness(0, 0)),
            ("upper right", brightness(right, 0)),
            ("lower left", brightness(0, bottom)),
            ("lower right", brightness(right, bottom)),
        ];
        corners
            .into_iter()
            .max_by_key(|(_, value)| *value)
            .unwrap()
            .0
    }

    #[test]
    fn a_photo_is_turned_as_its_exif_data_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo.jpg");
        // Where EXIF orientation 1 to 8 brings the upper left corner, by the standard's table.
        let corners = [
            "upper left",
            "upper right",
            "lower right",
            "lower left",
            "upper left",
            "upper right",
            "lower right",
            "lower left",
        ];
        for (orientation, corner) in (1..).zip(corners) {
            std::fs::write(&path, jpeg_with_orientation(orientation)).unwrap();
            let image = read_upright(&path).unwrap();
            let size = if orientation < 5 { (32, 16) } else { (16, 32) };
            assert_eq!((image.width, image.height), size, "{orientation}");
            assert_eq!(white_corner(&image), corner, "{orientation}");
        }
    }

    #[test]
    fn exif_data_is_found_in_each_format() {
        let data = exif_data(6);
        let length = data.len() as u32;
        let png = [
            b"\x89PNG\r\n\x1a\n\0\0\0\x02tEXtab0000".as_slice(),
            &length.to_be_bytes(),
            b"eXIf",
            &data,
            b"0000",
        ];
        let webp = [
            b"RIFF0000WEBPVP8 \x03\0\0\0abc\0EXIF".as_slice(),
            &length.to_le_bytes(),
            &data,
        ];
        for file in [png.concat(), webp.concat(), jpeg_with_orientation(6)] {
            assert_eq!(orientation(&file), Orientation::Rotate90);
            // A file that ends early is upright, wherever it ends.
            for end in 0..file.len() {
                let _ = orientation(&file[..end]);
            }
        }
        assert_eq!(orientation(b"GIF89a"), Orientation::NoTransforms);
    }
}
