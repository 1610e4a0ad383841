//! A set of equally sized RGB images in memory, and the sheet format that they ship in (a PNG with
//! one image per row).

use anyhow::{Context, Result, ensure};
use image::{ImageFormat, RgbImage};
use std::io::Cursor;
use tch::{Kind, Tensor};

/// Square 8-bit RGB images, row-major, each with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSet {
    /// The names, in the order of the images.
    pub names: Vec<String>,
    /// `len * side * side * 3` bytes.
    pub pixels: Vec<u8>,
    /// Side of the images in pixels.
    pub side: usize,
}

impl ImageSet {
    /// A set of no images of a given side.
    pub fn empty(side: usize) -> Self {
        Self {
            names: Vec::new(),
            pixels: Vec::new(),
            side,
        }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn bytes_per_image(&self) -> usize {
        self.side * self.side * 3
    }

    /// The bytes of image `i`, `side * side * 3`.
    pub fn pixels_of(&self, i: usize) -> &[u8] {
        &self.pixels[i * self.bytes_per_image()..(i + 1) * self.bytes_per_image()]
    }

    /// Appends all images of `other`.
    ///
    /// # Panics
    /// `other` has another side.
    pub fn append(&mut self, other: Self) {
        assert_eq!(self.side, other.side, "images of one set have one size");
        self.names.extend(other.names);
        self.pixels.extend(other.pixels);
    }

    /// The images at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut selected = Self::empty(self.side);
        selected
            .pixels
            .reserve(indices.len() * self.bytes_per_image());
        for i in indices {
            selected.names.push(self.names[*i].clone());
            selected.pixels.extend_from_slice(self.pixels_of(*i));
        }
        selected
    }

    /// The first `count` images, or all when there are fewer.
    pub fn first(&self, count: usize) -> Self {
        self.select(&(0..count.min(self.len())).collect::<Vec<_>>())
    }

    /// `[n, 3, side, side]` in 0 to 255, bytes.
    pub fn byte_tensor(&self) -> Tensor {
        pixels_byte_tensor(&self.pixels, self.len(), self.side, self.side)
    }

    /// `[n, 3, side, side]` in [0, 1], float32.
    pub fn tensor(&self) -> Tensor {
        pixels_tensor(&self.pixels, self.len(), self.side, self.side)
    }

    /// Images from `[n, 3, side, side]` in [0, 1]: times 255 plus 0.5, clamped, truncated, as the
    /// reference code saves images.
    ///
    /// # Errors
    /// The tensor has another shape, or `names` another length.
    pub fn from_tensor(x: &Tensor, names: Vec<String>) -> Result<Self> {
        let (n, c, h, w) = x.size4()?;
        ensure!(
            n as usize == names.len() && c == 3 && h == w,
            "cannot make {} pictures of {:?}",
            names.len(),
            x.size()
        );
        let bytes = (x * 255.0 + 0.5).clamp(0.0, 255.0).to_kind(Kind::Uint8);
        let row_major = bytes.permute([0, 2, 3, 1]).contiguous();
        let pixels = Vec::<u8>::try_from(row_major.flatten(0, -1))?;
        Ok(Self {
            names,
            pixels,
            side: h as usize,
        })
    }

    /// Reads a sheet: a PNG of `side * side` columns with one image per row. Names are
    /// `PREFIX-NUMBER`.
    ///
    /// # Errors
    /// The bytes are no PNG, or one of another width.
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
        Ok(Self {
            names: Self::names_in_sheet(height, prefix),
            pixels: sheet.into_raw(),
            side,
        })
    }

    /// The names that [`ImageSet::from_sheet`] gives, from the sheet's header alone; none where the
    /// bytes are no such sheet.
    pub fn sheet_names(png: &[u8], side: usize, prefix: &str) -> Option<Vec<String>> {
        let reader = image::ImageReader::with_format(Cursor::new(png), ImageFormat::Png);
        let (width, height) = reader.into_dimensions().ok()?;
        (width as usize == side * side).then(|| Self::names_in_sheet(height, prefix))
    }

    /// `PREFIX-NUMBER` for each image of a sheet.
    fn names_in_sheet(count: u32, prefix: &str) -> Vec<String> {
        (0..count).map(|i| format!("{prefix}-{i:05}")).collect()
    }

    /// PNG bytes of the set's sheet; see [`ImageSet::from_sheet`].
    ///
    /// # Errors
    /// Those of the PNG encoder.
    pub fn to_sheet(&self) -> Result<Vec<u8>> {
        let width = (self.side * self.side) as u32;
        let sheet = RgbImage::from_raw(width, self.len() as u32, self.pixels.clone());
        encode_png(&sheet.context("the pixels do not fill the sheet")?)
    }

    /// Image `i` as the image crate has it.
    pub fn image(&self, i: usize) -> RgbImage {
        let side = self.side as u32;
        RgbImage::from_raw(side, side, self.pixels_of(i).to_vec())
            .expect("an image has side * side * 3 bytes")
    }
}

/// Row-major 8-bit RGB pixels of `count` images as `[count, 3, height, width]` in [0, 1], float32.
pub(crate) fn pixels_tensor(pixels: &[u8], count: usize, height: usize, width: usize) -> Tensor {
    pixels_byte_tensor(pixels, count, height, width).to_kind(Kind::Float) / 255.0
}

/// Row-major 8-bit RGB pixels of `count` images as `[count, 3, height, width]` in 0 to 255, bytes.
fn pixels_byte_tensor(pixels: &[u8], count: usize, height: usize, width: usize) -> Tensor {
    let shape = [count as i64, height as i64, width as i64, 3];
    let bytes = Tensor::from_slice(pixels).reshape(shape);
    bytes.permute([0, 3, 1, 2]).contiguous()
}

/// PNG bytes of an image.
///
/// # Errors
/// Those of the PNG encoder.
pub fn encode_png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_images() -> ImageSet {
        let pixels = (0..3 * 4 * 4 * 3).map(|i| (i * 7 % 256) as u8).collect();
        ImageSet {
            names: (0..3).map(|i| format!("p-{i:05}")).collect(),
            pixels,
            side: 4,
        }
    }

    #[test]
    fn a_sheet_and_a_tensor_come_back_bit_for_bit() {
        let images = three_images();
        let sheet = images.to_sheet().unwrap();
        assert_eq!(ImageSet::from_sheet(&sheet, 4, "p").unwrap(), images);
        assert_eq!(
            ImageSet::sheet_names(&sheet, 4, "p").as_ref(),
            Some(&images.names)
        );
        assert_eq!(ImageSet::sheet_names(&sheet, 5, "p"), None);
        let names = images.names.clone();
        assert_eq!(
            ImageSet::from_tensor(&images.tensor(), names).unwrap(),
            images
        );
    }

    #[test]
    fn saving_rounds_as_the_reference_does() {
        let values = [
            -0.2f32, 0.0, 0.00196, 0.00197, 0.9981, 0.99799, 1.0, 1.7, 0.5, 0.25, 0.75, 0.1,
        ];
        let x = Tensor::from_slice(&values).reshape([1, 3, 2, 2]);
        let got = ImageSet::from_tensor(&x, vec!["a".into()]).unwrap();
        let sum: u32 = got.pixels_of(0).iter().map(|b| u32::from(*b)).sum();
        assert_eq!(sum, 255 * 3 + 254 + 1 + 128 + 64 + 191 + 26);
    }

    #[test]
    fn a_sheet_of_another_width_says_so() {
        let sheet = three_images().to_sheet().unwrap();
        let error = ImageSet::from_sheet(&sheet, 5, "p").unwrap_err();
        assert!(error.to_string().contains("25 wide, this is 16"), "{error}");
    }
}
