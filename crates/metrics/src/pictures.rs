//! A set of equally sized RGB pictures in memory, and the sheet format they ship in (a PNG, one picture a row).

use anyhow::{Context, Result, ensure};
use image::{ImageFormat, RgbImage};
use std::io::Cursor;
use tch::{Kind, Tensor};

/// Square 8-bit RGB pictures, row-major, with a name each.
#[derive(Debug, Clone, PartialEq)]
pub struct Pictures {
    pub names: Vec<String>,
    /// `len * side * side * 3` bytes.
    pub pixels: Vec<u8>,
    pub side: usize,
}

impl Pictures {
    /// No pictures of a given side.
    pub fn empty(side: usize) -> Self {
        Self {
            names: Vec::new(),
            pixels: Vec::new(),
            side,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn bytes_each(&self) -> usize {
        self.side * self.side * 3
    }

    /// The bytes of picture `i`.
    pub fn picture(&self, i: usize) -> &[u8] {
        &self.pixels[i * self.bytes_each()..(i + 1) * self.bytes_each()]
    }

    /// Adds all of `other`, which must have the same side.
    pub fn append(&mut self, other: Self) {
        assert_eq!(self.side, other.side, "pictures of one set have one size");
        self.names.extend(other.names);
        self.pixels.extend(other.pixels);
    }

    /// The pictures at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            names: indices.iter().map(|i| self.names[*i].clone()).collect(),
            pixels: indices
                .iter()
                .flat_map(|i| self.picture(*i).to_vec())
                .collect(),
            side: self.side,
        }
    }

    /// At most the first `count`.
    pub fn first(&self, count: usize) -> Self {
        self.select(&(0..count.min(self.len())).collect::<Vec<_>>())
    }

    /// `[n, 3, side, side]` in [0, 1], float32.
    pub fn tensor(&self) -> Tensor {
        pixels_tensor(&self.pixels, self.len(), self.side, self.side)
    }

    /// From `[n, 3, side, side]` in [0, 1]: times 255 plus 0.5, clamped, truncated, as the reference saves pictures.
    pub fn from_tensor(x: &Tensor, names: Vec<String>) -> Result<Self> {
        let (n, c, h, w) = x.size4()?;
        ensure!(
            n as usize == names.len() && c == 3 && h == w,
            "cannot make {} pictures of {:?}",
            names.len(),
            x.size()
        );
        let bytes = (x * 255.0 + 0.5).clamp(0.0, 255.0).to_kind(Kind::Uint8);
        let pixels = Vec::<u8>::try_from(bytes.permute([0, 2, 3, 1]).contiguous().flatten(0, -1))?;
        Ok(Self {
            names,
            pixels,
            side: h as usize,
        })
    }

    /// Reads a sheet: a PNG of `side * side` columns, one picture a row; names are `PREFIX-NUMBER`.
    pub fn from_sheet(png: &[u8], side: usize, prefix: &str) -> Result<Self> {
        let sheet = image::load_from_memory_with_format(png, ImageFormat::Png)
            .context("not a readable PNG")?
            .into_rgb8();
        let (width, height) = sheet.dimensions();
        ensure!(
            width as usize == side * side,
            "a sheet of {side} px pictures is {} wide, this is {width}",
            side * side
        );
        let names = (0..height).map(|i| format!("{prefix}-{i:05}")).collect();
        Ok(Self {
            names,
            pixels: sheet.into_raw(),
            side,
        })
    }

    /// The sheet's PNG bytes; see [`Pictures::from_sheet`].
    pub fn to_sheet(&self) -> Result<Vec<u8>> {
        let image = RgbImage::from_raw(
            (self.side * self.side) as u32,
            self.len() as u32,
            self.pixels.clone(),
        );
        encode_png(&image.context("the pixels do not fill the sheet")?)
    }

    /// One picture as an image.
    pub fn image(&self, i: usize) -> RgbImage {
        let side = self.side as u32;
        RgbImage::from_raw(side, side, self.picture(i).to_vec())
            .expect("a picture has side * side * 3 bytes")
    }
}

/// Row-major 8-bit RGB pixels of `count` pictures as `[count, 3, height, width]` in [0, 1], float32.
pub(crate) fn pixels_tensor(pixels: &[u8], count: usize, height: usize, width: usize) -> Tensor {
    let bytes = Tensor::from_slice(pixels).reshape([count as i64, height as i64, width as i64, 3]);
    bytes
        .permute([0, 3, 1, 2])
        .contiguous()
        .to_kind(Kind::Float)
        / 255.0
}

/// PNG bytes of an image.
pub fn encode_png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Pictures {
        let pixels = (0..3 * 4 * 4 * 3).map(|i| (i * 7 % 256) as u8).collect();
        Pictures {
            names: (0..3).map(|i| format!("p-{i:05}")).collect(),
            pixels,
            side: 4,
        }
    }

    #[test]
    fn a_sheet_and_a_tensor_come_back_bit_for_bit() {
        let pictures = three();
        assert_eq!(
            Pictures::from_sheet(&pictures.to_sheet().unwrap(), 4, "p").unwrap(),
            pictures
        );
        assert_eq!(
            Pictures::from_tensor(&pictures.tensor(), pictures.names.clone()).unwrap(),
            pictures
        );
    }

    #[test]
    fn saving_rounds_as_the_reference_does() {
        let x = Tensor::from_slice(&[
            -0.2f32, 0.0, 0.00196, 0.00197, 0.9981, 0.99799, 1.0, 1.7, 0.5, 0.25, 0.75, 0.1,
        ]);
        let got = Pictures::from_tensor(&x.reshape([1, 3, 2, 2]), vec!["a".into()]).unwrap();
        assert_eq!(
            got.picture(0).iter().map(|b| u32::from(*b)).sum::<u32>(),
            255 * 3 + 254 + 1 + 128 + 64 + 191 + 26
        );
    }

    #[test]
    fn a_sheet_of_another_width_says_so() {
        let error = Pictures::from_sheet(&three().to_sheet().unwrap(), 5, "p").unwrap_err();
        assert!(error.to_string().contains("25 wide, this is 16"), "{error}");
    }
}
