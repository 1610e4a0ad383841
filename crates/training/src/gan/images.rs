//! The images of two domains, and random batches of them.

use super::recipe::GanAugment;
use anyhow::{Result, ensure};
use egsde_data::image_file::Rgb;
use egsde_data::image_set::ImageSet;
use egsde_data::resize::{Filter, resize};
use tch::{Device, Kind, Tensor};

/// Images of the source and the target domain, enlarged for cropping.
#[derive(Debug)]
pub struct DomainImages {
    /// `[n, 3, s, s]`, 8-bit.
    source: Tensor,
    target: Tensor,
    augment: GanAugment,
}

/// One image of a set, enlarged.
fn enlarged(images: &ImageSet, index: usize, side: usize) -> Result<Vec<u8>> {
    let image = Rgb {
        width: images.side,
        height: images.side,
        pixels: images.pixels_of(index).to_vec(),
    };
    if side == images.side {
        return Ok(image.pixels);
    }
    Ok(resize(&image, side, side, Filter::Bicubic)?.pixels)
}

fn load(images: &ImageSet, side: i64) -> Result<Tensor> {
    let mut pixels = Vec::new();
    for index in 0..images.len() {
        pixels.extend(enlarged(images, index, side as usize)?);
    }
    let shape = [images.len() as i64, side, side, 3];
    let rows = Tensor::from_slice(&pixels).reshape(shape);
    Ok(rows.permute([0, 3, 1, 2]).contiguous())
}

/// 8-bit values as numbers in [-1, 1].
fn normalised(pixels: &Tensor) -> Tensor {
    (pixels.to_kind(Kind::Float) / 255.0 - 0.5) / 0.5
}

impl DomainImages {
    /// Enlarges the images of both domains, as the recipe asks.
    ///
    /// # Errors
    /// A domain without images.
    pub fn new(source: &ImageSet, target: &ImageSet, augment: GanAugment) -> Result<Self> {
        for images in [source, target] {
            ensure!(!images.is_empty(), "a domain has no training pictures");
        }
        Ok(Self {
            source: load(source, augment.load_size)?,
            target: load(target, augment.load_size)?,
            augment,
        })
    }

    /// Images of the source domain and of the target domain.
    fn counts(&self) -> [i64; 2] {
        [self.source.size()[0], self.target.size()[0]]
    }

    /// Steps of an epoch, in which every image of the larger domain is drawn once but for a last
    /// batch that is not full.
    pub fn steps_per_epoch(&self, batch_size: i64) -> u64 {
        let [source, target] = self.counts();
        (source.max(target) / batch_size).max(1) as u64
    }

    /// The order of an epoch's source images, drawn from libtorch's generator.
    pub(super) fn draw_order(&self, batch_size: i64) -> Tensor {
        let [source, target] = self.counts();
        let wanted = source.max(target).max(batch_size);
        let mut orders = Vec::new();
        for _ in 0..(wanted + source - 1) / source {
            orders.push(Tensor::randperm(source, (Kind::Int64, Device::Cpu)));
        }
        Tensor::cat(&orders, 0)
    }

    /// A batch of each domain, `[batch, 3, crop, crop]` in [-1, 1]: sources in the epoch's order,
    /// targets, squares and mirrorings by libtorch's generator.
    pub(super) fn draw_batch(&self, order: &Tensor, position: u64, batch_size: i64) -> [Tensor; 2] {
        let sources = order.narrow(0, position as i64 * batch_size, batch_size);
        let targets = self.target.size()[0];
        let targets = Tensor::randint(targets, [batch_size], (Kind::Int64, Device::Cpu));
        [
            self.crop(&self.source.index_select(0, &sources)),
            self.crop(&self.target.index_select(0, &targets)),
        ]
    }

    /// Random squares of images, half of them mirrored.
    fn crop(&self, images: &Tensor) -> Tensor {
        let GanAugment {
            load_size,
            crop_size,
            flip,
        } = self.augment;
        let count = images.size()[0];
        let options = (Kind::Int64, Device::Cpu);
        let offsets = Tensor::randint(load_size - crop_size + 1, [count, 2], options);
        let mirrored = Tensor::randint(2, [count], options);
        let mut cropped = Vec::new();
        for index in 0..count {
            let image = images.get(index);
            let square = image
                .narrow(1, offsets.int64_value(&[index, 0]), crop_size)
                .narrow(2, offsets.int64_value(&[index, 1]), crop_size);
            if flip && mirrored.int64_value(&[index]) == 1 {
                cropped.push(square.flip([2]));
            } else {
                cropped.push(square);
            }
        }
        normalised(&Tensor::stack(&cropped, 0))
    }

    /// The first `count` source images as they are translated after training, `[n, 3, crop, crop]`
    /// in [-1, 1]: the middle of the enlarged image.
    pub(super) fn examples(&self, count: i64) -> Tensor {
        let GanAugment {
            load_size,
            crop_size,
            ..
        } = self.augment;
        let first = (load_size - crop_size) / 2;
        let count = count.min(self.source.size()[0]);
        let images = self.source.narrow(0, 0, count);
        normalised(
            &images
                .narrow(2, first, crop_size)
                .narrow(3, first, crop_size),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of one value each, counted from `first`.
    fn plain(count: usize, first: u8) -> ImageSet {
        let mut images = ImageSet::empty(8);
        for index in 0..count {
            images.names.push(index.to_string());
            images.pixels.extend([first + index as u8; 8 * 8 * 3]);
        }
        images
    }

    fn domains() -> DomainImages {
        let augment = GanAugment {
            load_size: 10,
            crop_size: 8,
            flip: true,
        };
        DomainImages::new(&plain(5, 0), &plain(3, 100), augment).unwrap()
    }

    /// The values of plain images.
    fn values(images: &Tensor) -> Vec<i64> {
        let pixels = (images.select(1, 0).select(1, 3).select(1, 3) + 1.0) * 127.5;
        Vec::try_from(pixels.round().to_kind(Kind::Int64)).unwrap()
    }

    #[test]
    fn an_epoch_draws_each_source_once_and_targets_of_the_target_domain() {
        tch::manual_seed(1);
        let domains = domains();
        assert_eq!(domains.steps_per_epoch(2), 2);
        let order = domains.draw_order(2);
        let mut sources = Vec::new();
        for position in 0..2 {
            let [a, b] = domains.draw_batch(&order, position, 2);
            assert_eq!(a.size(), [2, 3, 8, 8]);
            sources.extend(values(&a));
            assert!(values(&b).iter().all(|value| (100..103).contains(value)));
        }
        sources.sort_unstable();
        sources.dedup();
        assert_eq!(sources.len(), 4, "{sources:?}");
    }

    #[test]
    fn a_smaller_source_domain_is_drawn_again() {
        tch::manual_seed(2);
        let augment = domains().augment;
        let domains = DomainImages::new(&plain(3, 0), &plain(5, 100), augment).unwrap();
        assert_eq!(domains.steps_per_epoch(2), 2);
        let order = domains.draw_order(2);
        let [a, _] = domains.draw_batch(&order, 1, 2);
        assert!(values(&a).iter().all(|value| (0..3).contains(value)));
    }

    #[test]
    fn a_domain_without_images_is_refused() {
        let augment = domains().augment;
        let error = DomainImages::new(&plain(0, 0), &plain(1, 0), augment).unwrap_err();
        assert!(
            error.to_string().contains("no training pictures"),
            "{error}"
        );
    }
}
