//! TIFF as Pillow reads it (`TiffImagePlugin.py`): the first page, in strips or tiles, of bilevel,
//! grey, palette or RGB samples of up to 8 bits with or without alpha, its orientation applied.

use super::tiff_blocks::{Compression, Row, Stored, unpack};
use super::tiff_directory::Directory;
use super::{Rgb, bmp::sample, check_area, turned};
use anyhow::{Context, Result, bail, ensure};
use image::metadata::Orientation;

/// Most pixels that one stored byte can hold: LZW expands a byte to at most 2,730 bytes (deflate to
/// about 1,032), and a byte of 1-bit samples holds eight pixels.
const MAX_PIXELS_PER_BYTE: usize = 8 * 2730;

/// Tags of the image file directory.
const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS_PER_SAMPLE: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const STRIP_OFFSETS: u16 = 273;
const ORIENTATION: u16 = 274;
const SAMPLES_PER_PIXEL: u16 = 277;
const ROWS_PER_STRIP: u16 = 278;
const STRIP_BYTES: u16 = 279;
const PLANAR: u16 = 284;
const PREDICTOR: u16 = 317;
const COLOUR_MAP: u16 = 320;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_BYTES: u16 = 325;
const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;

/// The value of `EXTRA_SAMPLES` for associated alpha, by which the colours are multiplied.
const PREMULTIPLIED: usize = 1;

/// How the samples of a pixel become RGB. Samples beyond those named here are ignored.
enum Colours {
    /// One level, inverted where white is 0.
    Grey { inverted: bool },
    /// One index into a palette.
    Palette(Vec<[u8; 3]>),
    /// Three levels.
    Rgb,
    /// Three levels that are multiplied by the fourth sample, alpha.
    Premultiplied,
}

/// How the image is cut into blocks: strips, or tiles from left to right and top to bottom.
struct Blocks {
    /// Width of a block in pixels.
    width: usize,
    /// Height of a block in pixels.
    height: usize,
    /// Where each block begins in the file.
    offsets: Vec<usize>,
    /// Stored bytes of each block; empty where the file does not give them.
    sizes: Vec<usize>,
}

/// Everything that the directory says about the pixels.
struct Layout {
    width: usize,
    height: usize,
    /// Bits per sample.
    bits: usize,
    /// Samples per pixel.
    samples: usize,
    colours: Colours,
    /// Whether each sample has blocks of its own.
    planar: bool,
    blocks: Blocks,
    stored: Stored,
}

impl Blocks {
    fn read(directory: &Directory, width: usize, height: usize) -> Result<Self> {
        if directory.has(STRIP_OFFSETS) {
            return Ok(Self {
                width,
                height: directory.number(ROWS_PER_STRIP, height)?.min(height),
                offsets: directory.numbers(STRIP_OFFSETS)?,
                sizes: directory.numbers(STRIP_BYTES)?,
            });
        }
        ensure!(
            directory.has(TILE_OFFSETS),
            "a damaged TIFF (it names no pixels)"
        );
        Ok(Self {
            width: directory.number(TILE_WIDTH, 0)?,
            height: directory.number(TILE_HEIGHT, 0)?,
            offsets: directory.numbers(TILE_OFFSETS)?,
            sizes: directory.numbers(TILE_BYTES)?,
        })
    }
}

/// Checks that this program reads such samples as Pillow does; returns the bits per sample.
fn check_samples(directory: &Directory, photometric: usize, bits: &[usize]) -> Result<usize> {
    let kind = match photometric {
        0..=3 => None,
        5 => Some("a CMYK TIFF: convert it to RGB first (its colours depend on a profile)"),
        6 => Some("a YCbCr TIFF: convert it to RGB first"),
        8..=10 => Some("a CIELAB TIFF: convert it to RGB first"),
        _ => Some("a TIFF of colours that are not read: convert it to RGB first"),
    };
    if let Some(kind) = kind {
        bail!(kind);
    }
    let formats = directory.numbers(SAMPLE_FORMAT)?;
    ensure!(
        formats.iter().all(|format| *format == 1),
        "a TIFF of signed or floating-point samples: convert it to 8 bits first"
    );
    let depth = bits.first().copied().unwrap_or(1);
    ensure!(
        bits.iter().all(|other| *other == depth),
        "a TIFF whose samples have {bits:?} bits: convert it to 8 bits first"
    );
    match depth {
        1 | 2 | 4 | 8 => Ok(depth),
        depth => bail!(
            "a {depth}-bit TIFF: convert it to 8 bits first \
             (how its values are scaled is not for this program to choose)"
        ),
    }
}

/// The colours of a palette image, one per value of a sample of `bits` bits.
fn read_palette(directory: &Directory, bits: usize) -> Result<Vec<[u8; 3]>> {
    let (map, count) = (directory.numbers(COLOUR_MAP)?, 1 << bits);
    ensure!(
        map.len() == 3 * count,
        "a damaged TIFF (a palette of {} values for {count} colours)",
        map.len()
    );
    // The map holds 16-bit levels, all red ones first; Pillow keeps their high bytes.
    Ok((0..count)
        .map(|i| [0, 1, 2].map(|channel| (map[channel * count + i] >> 8) as u8))
        .collect())
}

/// How samples become colours, by the table of Pillow's `OPEN_INFO`.
fn read_colours(
    directory: &Directory,
    photometric: usize,
    samples: usize,
    bits: usize,
) -> Result<Colours> {
    let extra = directory.numbers(EXTRA_SAMPLES)?;
    let needed = if photometric == 2 { 3 } else { 1 };
    let alpha = extra.first().copied().unwrap_or(0);
    ensure!(
        samples >= needed && (samples == needed || bits == 8),
        "a TIFF of {samples} samples of {bits} bits per pixel: convert it to RGB first"
    );
    let premultiplied = samples > needed && alpha == PREMULTIPLIED;
    ensure!(
        samples == needed || photometric == 2 || (photometric != 0 && [0, 2].contains(&alpha)),
        "a TIFF of grey or palette colours with alpha of kind {alpha}: convert it to RGB first"
    );
    Ok(match photometric {
        0 => Colours::Grey { inverted: true },
        1 => Colours::Grey { inverted: false },
        3 => Colours::Palette(read_palette(directory, bits)?),
        _ if premultiplied => Colours::Premultiplied,
        _ => Colours::Rgb,
    })
}

impl Layout {
    fn read(directory: &Directory, bytes: &[u8]) -> Result<Self> {
        let (width, height) = (directory.number(WIDTH, 0)?, directory.number(HEIGHT, 0)?);
        check_area(width, height, bytes.len() * MAX_PIXELS_PER_BYTE)?;
        let compression = Compression::from_tag(directory.number(COMPRESSION, 1)?)?;
        let photometric = directory.number(PHOTOMETRIC, 0)?;
        let samples = directory.number(SAMPLES_PER_PIXEL, 1)?;
        ensure!(
            (1..=6).contains(&samples),
            "a TIFF of {samples} samples per pixel"
        );
        let bits = check_samples(directory, photometric, &directory.numbers(BITS_PER_SAMPLE)?)?;
        let planar = directory.number(PLANAR, 1)? == 2 && samples > 1;
        let mut blocks = Blocks::read(directory, width, height)?;
        check_area(
            blocks.width,
            blocks.height,
            bytes.len() * MAX_PIXELS_PER_BYTE,
        )?;
        if !planar && (blocks.width, blocks.height) == (width, height) {
            // Every block covers the whole image, and Pillow keeps the last one.
            blocks
                .offsets
                .drain(..blocks.offsets.len().saturating_sub(1));
            blocks.sizes.drain(..blocks.sizes.len().saturating_sub(1));
        }
        Ok(Self {
            width,
            height,
            bits,
            samples,
            colours: read_colours(directory, photometric, samples, bits)?,
            planar,
            blocks,
            stored: Stored {
                compression,
                differences: directory.number(PREDICTOR, 1)?,
                reversed_bits: directory.number(FILL_ORDER, 1)? == 2,
            },
        })
    }

    /// Samples per pixel in one block.
    fn samples_per_block(&self) -> usize {
        if self.planar { 1 } else { self.samples }
    }

    /// The unpacked bytes of block `index`, of which the file stores `rows` rows: the last strip
    /// may have fewer than the others.
    fn block(&self, bytes: &[u8], index: usize, rows: usize) -> Result<Vec<u8>> {
        let offset = *self.blocks.offsets.get(index).context("a truncated TIFF")?;
        let stored = bytes.get(offset..).context("a truncated TIFF")?;
        let size = self.blocks.sizes.get(index).copied().unwrap_or(usize::MAX);
        let row_samples = self.blocks.width * self.samples_per_block();
        unpack(
            stored,
            size,
            &self.stored,
            Row {
                bytes: (row_samples * self.bits).div_ceil(8),
                step: self.samples_per_block(),
                bits: self.bits,
            },
            rows,
        )
    }

    /// The samples of one row of blocks, `[rows, width, samples]`, each in a byte of its own.
    fn band(&self, bytes: &[u8], band: usize) -> Result<Vec<u8>> {
        let Blocks { width, height, .. } = self.blocks;
        let (across, down) = (self.width.div_ceil(width), self.height.div_ceil(height));
        let rows = height.min(self.height - band * height);
        // The last strip ends with the image, whereas a tile is always stored whole.
        let stored_rows = if width == self.width && across == 1 {
            rows
        } else {
            height
        };
        let planes = if self.planar { self.samples } else { 1 };
        let per_block = self.samples_per_block();
        let stride = (width * per_block * self.bits).div_ceil(8);
        let mut samples = vec![0; rows * self.width * self.samples];
        for plane in 0..planes {
            for column in 0..across {
                let index = plane * across * down + band * across + column;
                let block = self.block(bytes, index, stored_rows)?;
                let left = column * width;
                for y in 0..rows {
                    let row = &block[y * stride..];
                    for x in left..self.width.min(left + width) {
                        let at = (y * self.width + x) * self.samples + plane;
                        for s in 0..per_block {
                            let place = (x - left) * per_block + s;
                            samples[at + s] = sample(row, place, self.bits);
                        }
                    }
                }
            }
        }
        Ok(samples)
    }

    /// Converts `samples` to RGB and appends the colours to `pixels`.
    fn append_colours(&self, samples: &[u8], pixels: &mut Vec<u8>) {
        // A whole factor spreads levels of 1, 2 and 4 bits evenly over 0 to 255.
        let factor = 255 / ((1u16 << self.bits) - 1) as u8;
        for pixel in samples.chunks_exact(self.samples) {
            pixels.extend(match &self.colours {
                Colours::Grey { inverted: false } => [pixel[0] * factor; 3],
                Colours::Grey { inverted: true } => [255 - pixel[0] * factor; 3],
                Colours::Palette(palette) => palette[usize::from(pixel[0])],
                Colours::Rgb => [pixel[0], pixel[1], pixel[2]],
                Colours::Premultiplied => divided_by_alpha(pixel),
            });
        }
    }
}

/// The colours divided by alpha, rounded down and clipped to 255 as Pillow does.
fn divided_by_alpha(pixel: &[u8]) -> [u8; 3] {
    let alpha = u32::from(pixel[3]);
    [pixel[0], pixel[1], pixel[2]].map(|level| match alpha {
        0 => 0,
        255 => level,
        alpha => (u32::from(level) * 255 / alpha).min(255) as u8,
    })
}

/// The orientation that `ORIENTATION` names (1 to 8); any other value changes nothing.
fn read_orientation(directory: &Directory) -> Result<Orientation> {
    let number = u8::try_from(directory.number(ORIENTATION, 1)?).unwrap_or(0);
    Ok(Orientation::from_exif(number).unwrap_or(Orientation::NoTransforms))
}

/// Decodes the first page of a TIFF.
///
/// # Errors
/// The file is truncated or damaged, its samples or compression are not supported, or it claims
/// more pixels than its bytes can hold.
pub(super) fn decode(bytes: &[u8]) -> Result<Rgb> {
    let directory = Directory::read(bytes)?;
    let layout = Layout::read(&directory, bytes)?;
    let mut pixels = Vec::new();
    for band in 0..layout.height.div_ceil(layout.blocks.height) {
        layout.append_colours(&layout.band(bytes, band)?, &mut pixels);
    }
    let image = Rgb {
        width: layout.width,
        height: layout.height,
        pixels,
    };
    Ok(turned(image, read_orientation(&directory)?))
}
