//! BMP as Pillow reads it (`BmpImagePlugin.py`): 1, 4 and 8 bits with a palette, run-length encoded
//! or not, 16, 24 and 32 bits with the bit fields that Pillow knows, from OS/2 to V5 headers.

use super::{Rgb, check_area};
use anyhow::{Context, Result, bail, ensure};

/// Run-length encoding makes at most 255 pixels of two bytes; a skip makes more of nothing.
const MAX_PIXELS_PER_BYTE: usize = 256;

/// Values of the header's compression.
const RAW: u32 = 0;
const RLE8: u32 = 1;
const RLE4: u32 = 2;
const BIT_FIELDS: u32 = 3;

/// Byte of each channel inside a 32-bit pixel, by the red, green, blue and alpha masks.
const LAYOUTS_32: [([u32; 4], [usize; 3]); 8] = [
    ([0xff_0000, 0xff00, 0xff, 0], [2, 1, 0]),
    ([0xff00_0000, 0xff_0000, 0xff00, 0], [3, 2, 1]),
    ([0xff00_0000, 0xff00, 0xff, 0], [3, 1, 0]),
    ([0xff00_0000, 0xff_0000, 0xff00, 0xff], [3, 2, 1]),
    ([0xff, 0xff00, 0xff_0000, 0xff00_0000], [0, 1, 2]),
    ([0xff_0000, 0xff00, 0xff, 0xff00_0000], [2, 1, 0]),
    ([0xff00_0000, 0xff00, 0xff, 0xff_0000], [3, 1, 0]),
    ([0, 0, 0, 0], [2, 1, 0]),
];

/// How the samples of one pixel become RGB.
#[derive(Debug, Clone, Copy)]
enum Layout {
    /// An index of so many bits into the palette.
    Palette(usize),
    /// 16 bits, five per channel.
    Rgb555,
    /// 16 bits, six of them green.
    Rgb565,
    /// Bytes per pixel, and the byte of each channel.
    Bytes(usize, [usize; 3]),
}

/// What the header tells.
struct Header {
    width: usize,
    height: usize,
    /// Whether the first row of the file is the top one.
    top_down: bool,
    bits: usize,
    compression: u32,
    /// Entries of the palette.
    colours: usize,
    /// Bytes per entry of the palette.
    entry: usize,
    masks: [u32; 4],
    /// Where the header and its masks end.
    end: usize,
}

fn u16_at(bytes: &[u8], at: usize) -> Result<usize> {
    let two = bytes.get(at..at + 2).context("a truncated BMP")?;
    Ok(usize::from(u16::from_le_bytes([two[0], two[1]])))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let four = bytes.get(at..at + 4).context("a truncated BMP")?;
    Ok(u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self> {
        let size = u32_at(bytes, 14)? as usize;
        ensure!(
            bytes.len() >= 14 + size.min(1 << 16),
            "a truncated BMP: fetch or write it again"
        );
        match size {
            12 => Self::read_os2(bytes),
            40 | 52 | 56 | 64 | 108 | 124 => Self::read_windows(bytes, size),
            _ => bail!("a damaged BMP (a header of {size} bytes)"),
        }
    }

    fn read_os2(bytes: &[u8]) -> Result<Self> {
        let bits = u16_at(bytes, 24)?;
        Ok(Self {
            width: u16_at(bytes, 18)?,
            height: u16_at(bytes, 20)?,
            top_down: false,
            bits,
            compression: RAW,
            colours: 1 << bits.min(8),
            entry: 3,
            masks: [0; 4],
            end: 26,
        })
    }

    fn read_windows(bytes: &[u8], size: usize) -> Result<Self> {
        let signed_height = u32_at(bytes, 22)? as i32;
        // Pillow takes the highest byte alone for the sign; greater heights are refused anyway.
        let top_down = bytes[25] == 0xff;
        let bits = u16_at(bytes, 28)?;
        let colours = match u32_at(bytes, 46)? as usize {
            0 => 1 << bits.min(8),
            colours => colours,
        };
        let mut header = Self {
            width: u32_at(bytes, 18)? as usize,
            height: signed_height.unsigned_abs() as usize,
            top_down,
            bits,
            compression: u32_at(bytes, 30)?,
            colours,
            entry: 4,
            masks: [0; 4],
            end: 14 + size,
        };
        if header.compression == BIT_FIELDS {
            // Headers of 40 bytes are followed by three masks; larger ones hold them.
            let count = if size >= 56 { 4 } else { 3 };
            for i in 0..count {
                header.masks[i] = u32_at(bytes, 54 + 4 * i)?;
            }
            if size < 52 {
                header.end += 12;
            }
        }
        Ok(header)
    }

    fn layout(&self) -> Result<Layout> {
        let [red, green, blue, _] = self.masks;
        if self.compression != BIT_FIELDS {
            return match self.bits {
                1 | 4 | 8 => Ok(Layout::Palette(self.bits)),
                16 => Ok(Layout::Rgb555),
                24 => Ok(Layout::Bytes(3, [2, 1, 0])),
                32 => Ok(Layout::Bytes(4, [2, 1, 0])),
                bits => bail!("a BMP of {bits} bits per pixel: convert it to 24 bits first"),
            };
        }
        match (self.bits, [red, green, blue]) {
            (16, [0xf800, 0x7e0, 0x1f]) => return Ok(Layout::Rgb565),
            (16, [0x7c00, 0x3e0, 0x1f]) => return Ok(Layout::Rgb555),
            (24, [0xff_0000, 0xff00, 0xff]) => return Ok(Layout::Bytes(3, [2, 1, 0])),
            _ => {}
        }
        let known = LAYOUTS_32.iter().find(|(masks, _)| *masks == self.masks);
        match known {
            Some((_, channels)) if self.bits == 32 => Ok(Layout::Bytes(4, *channels)),
            _ => bail!(
                "a BMP with bit fields {:x?} that are not read: convert it to 24 bits first",
                self.masks
            ),
        }
    }

    /// The palette, filled up with black, as Pillow has it.
    fn palette(&self, bytes: &[u8]) -> Result<Vec<[u8; 3]>> {
        ensure!(
            (1..=65536).contains(&self.colours),
            "a damaged BMP (a palette of {} colours)",
            self.colours
        );
        let stored = bytes.get(self.end..).context("a truncated BMP")?;
        let mut palette = vec![[0; 3]; 256];
        let entries = stored.chunks_exact(self.entry).take(self.colours);
        for (colour, entry) in palette.iter_mut().zip(entries) {
            *colour = [entry[2], entry[1], entry[0]];
        }
        Ok(palette)
    }

    /// Where the pixels begin. Some writers give the end of the header, before the palette.
    fn pixels_at(&self, bytes: &[u8]) -> Result<usize> {
        let offset = u32_at(bytes, 10)? as usize;
        let palette = if self.bits <= 8 {
            self.entry * self.colours
        } else {
            0
        };
        Ok(match offset {
            0 => self.end + palette,
            offset if offset == self.end && self.bits <= 8 => offset + palette,
            offset => offset,
        })
    }
}

/// A 5- or 6-bit sample as 8 bits, rounded down as Pillow does.
fn widened(value: usize, most: usize) -> u8 {
    (value * 255 / most) as u8
}

fn rgb_from_16_bits(value: usize, layout: Layout) -> [u8; 3] {
    let blue = widened(value & 31, 31);
    if matches!(layout, Layout::Rgb565) {
        [
            widened(value >> 11 & 31, 31),
            widened(value >> 5 & 63, 63),
            blue,
        ]
    } else {
        [
            widened(value >> 10 & 31, 31),
            widened(value >> 5 & 31, 31),
            blue,
        ]
    }
}

/// Appends one row of packed pixels as RGB.
fn append_row(row: &[u8], width: usize, layout: Layout, palette: &[[u8; 3]], out: &mut Vec<u8>) {
    for x in 0..width {
        out.extend(match layout {
            Layout::Palette(bits) => palette[usize::from(sample(row, x, bits))],
            Layout::Rgb555 | Layout::Rgb565 => {
                let value = u16::from_le_bytes([row[2 * x], row[2 * x + 1]]);
                rgb_from_16_bits(usize::from(value), layout)
            }
            Layout::Bytes(size, channels) => channels.map(|channel| row[size * x + channel]),
        });
    }
}

/// Sample `x` of a row of 1, 2, 4 or 8 bits per sample, the highest bits first.
pub(super) fn sample(row: &[u8], x: usize, bits: usize) -> u8 {
    let bit = x * bits;
    (row[bit / 8] >> (8 - bits - bit % 8)) & (0xff >> (8 - bits))
}

/// Decodes run lengths to one palette index per byte, the file's first row first.
struct RunLengths<'a> {
    bytes: &'a [u8],
    /// Place in the file, which literal runs are aligned by.
    at: usize,
    four_bits: bool,
    width: usize,
    wanted: usize,
    indices: Vec<u8>,
    /// Column of the next pixel, as Pillow counts it.
    x: usize,
}

impl RunLengths<'_> {
    fn next_byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    /// Appends a run of one value, or of two in turn, cut at the end of the row.
    fn repeat(&mut self, count: usize, byte: u8) {
        let count = count.min(self.width.saturating_sub(self.x));
        for i in 0..count {
            self.indices.push(match (self.four_bits, i % 2) {
                (false, _) => byte,
                (true, 0) => byte >> 4,
                (true, _) => byte & 15,
            });
        }
        self.x += count;
    }

    /// Appends pixels that are stored as they are; none when the file ends before.
    fn literal(&mut self, count: u8) -> Option<()> {
        let pixels = usize::from(count).min(self.wanted - self.indices.len());
        for i in 0..pixels {
            let byte = if self.four_bits && i % 2 == 1 {
                self.bytes[self.at - 1] & 15
            } else {
                let byte = self.next_byte()?;
                if self.four_bits { byte >> 4 } else { byte }
            };
            self.indices.push(byte);
        }
        self.x += usize::from(count);
        self.at += self.at % 2;
        Some(())
    }

    /// What follows a zero; none at the end of the image.
    fn escape(&mut self, code: u8) -> Option<()> {
        match code {
            0 => {
                let filled = self.indices.len().next_multiple_of(self.width);
                self.indices.resize(filled, 0);
                self.x = 0;
            }
            1 => return None,
            2 => {
                let right = usize::from(self.next_byte()?);
                let up = usize::from(self.next_byte()?);
                let skipped = self.indices.len() + right + up * self.width;
                self.indices.resize(skipped.min(self.wanted), 0);
                self.x = self.indices.len() % self.width;
            }
            count => self.literal(count)?,
        }
        Some(())
    }

    fn step(&mut self) -> Option<()> {
        let count = self.next_byte()?;
        let byte = self.next_byte()?;
        if count == 0 {
            self.escape(byte)
        } else {
            self.repeat(usize::from(count), byte);
            Some(())
        }
    }

    fn decode(mut self) -> Result<Vec<u8>> {
        while self.indices.len() < self.wanted && self.step().is_some() {}
        ensure!(
            self.indices.len() >= self.wanted,
            "a truncated or damaged BMP: fetch or write it again"
        );
        Ok(self.indices)
    }
}

/// Decodes a BMP.
///
/// # Errors
/// The file is truncated or damaged, is of a kind that Pillow does not read, or claims more than
/// [`super::MAX_PIXELS`].
pub(super) fn decode(bytes: &[u8]) -> Result<Rgb> {
    let header = Header::read(bytes)?;
    let (width, height) = (header.width, header.height);
    let is_packed = match header.compression {
        RAW | BIT_FIELDS => false,
        RLE8 | RLE4 => true,
        other => bail!("a BMP of compression {other}: convert it to an uncompressed one first"),
    };
    let layout = header.layout()?;
    ensure!(
        !is_packed || matches!(layout, Layout::Palette(_)),
        "a damaged BMP (run lengths of {} bits per pixel, which need a palette)",
        header.bits
    );
    check_area(width, height, bytes.len() * MAX_PIXELS_PER_BYTE)?;
    let palette = match layout {
        Layout::Palette(_) => header.palette(bytes)?,
        Layout::Rgb555 | Layout::Rgb565 | Layout::Bytes(..) => Vec::new(),
    };
    let start = header.pixels_at(bytes)?;
    let mut stride = (width * header.bits).div_ceil(32) * 4;
    let mut layout = layout;
    let unpacked;
    let mut rows = bytes.get(start..).context("a truncated BMP")?;
    if is_packed {
        unpacked = RunLengths {
            bytes,
            at: start,
            four_bits: header.compression == RLE4,
            width,
            wanted: width * height,
            indices: Vec::new(),
            x: 0,
        }
        .decode()?;
        (rows, stride, layout) = (&unpacked, width, Layout::Palette(8));
    }
    // The padding behind the last row may be missing.
    let last = if is_packed {
        width
    } else {
        (width * header.bits).div_ceil(8)
    };
    ensure!(
        rows.len() >= stride * (height - 1) + last,
        "a truncated BMP: fetch or write it again"
    );
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        let row = if header.top_down { y } else { height - 1 - y };
        append_row(&rows[stride * row..], width, layout, &palette, &mut pixels);
    }
    Ok(Rgb {
        width,
        height,
        pixels,
    })
}
