//! CycleGAN's pool of earlier translations (Shrivastava et al. 2017), from which the discriminators
//! get half of their images.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// The two draws with which a full pool answers one image.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    /// In [0, 1); above a half, an earlier image is returned.
    pub choice: f64,
    /// Which one.
    pub slot: usize,
}

/// Earlier translations.
#[derive(Debug)]
pub struct ImagePool {
    size: usize,
    /// `[3, s, s]` each.
    images: Vec<Tensor>,
}

impl ImagePool {
    /// An empty pool of at most `size` images; one of none returns every image as it is.
    pub fn new(size: usize) -> Self {
        Self {
            size,
            images: Vec::new(),
        }
    }

    /// Takes in `image` `[3, s, s]` and returns it or, once the pool is full, half of the time an
    /// earlier one, whose place it takes.
    pub fn exchange(&mut self, image: &Tensor, draws: Exchange) -> Tensor {
        if self.size == 0 {
            return image.shallow_clone();
        }
        if self.images.len() < self.size {
            self.images.push(image.copy());
            return image.shallow_clone();
        }
        if draws.choice > 0.5 {
            std::mem::replace(&mut self.images[draws.slot], image.copy())
        } else {
            image.shallow_clone()
        }
    }

    /// Draws of libtorch's generator for `count` images.
    pub fn draw(&self, count: i64) -> Vec<Exchange> {
        let options = (Kind::Double, tch::Device::Cpu);
        let choices = Tensor::rand([count], options);
        let last = self.size.max(1) as i64;
        let slots = Tensor::randint(last, [count], (Kind::Int64, tch::Device::Cpu));
        (0..count)
            .map(|i| Exchange {
                choice: choices.double_value(&[i]),
                slot: slots.int64_value(&[i]) as usize,
            })
            .collect()
    }

    /// [`ImagePool::exchange`] for each of `images` `[n, 3, s, s]`.
    pub fn exchange_all(&mut self, images: &Tensor, draws: &[Exchange]) -> Tensor {
        let mut returned = Vec::new();
        for (index, draws) in draws.iter().enumerate() {
            returned.push(self.exchange(&images.get(index as i64), *draws));
        }
        Tensor::stack(&returned, 0)
    }

    /// Adds its images to what a checkpoint holds.
    pub fn save(&self, name: &str, state: &mut BTreeMap<String, Tensor>) {
        if !self.images.is_empty() {
            state.insert(key(name), Tensor::stack(&self.images, 0));
        }
    }

    /// Restores what [`ImagePool::save`] added.
    ///
    /// # Errors
    /// There are more images than it has room for.
    pub fn restore(&mut self, name: &str, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.images = match state.get(&key(name)) {
            Some(images) => images.copy().unbind(0),
            None => Vec::new(),
        };
        let fits = self.images.len() <= self.size;
        fits.then_some(())
            .with_context(|| format!("the checkpoint's {} is larger than pool_size", key(name)))
    }
}

fn key(name: &str) -> String {
    format!("pool/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(value: f32) -> Tensor {
        Tensor::from_slice(&[value]).reshape([1, 1, 1])
    }

    #[test]
    fn a_pool_comes_back_from_a_checkpoint_image_by_image() {
        let keep = Exchange {
            choice: 0.2,
            slot: 0,
        };
        let swap = Exchange {
            choice: 0.7,
            slot: 1,
        };
        let mut pool = ImagePool::new(2);
        for value in [1.0, 2.0] {
            assert!(pool.exchange(&image(value), swap).equal(&image(value)));
        }
        let mut state = BTreeMap::new();
        pool.save("A", &mut state);
        let mut restored = ImagePool::new(2);
        restored.restore("A", &state).unwrap();
        for pool in [&mut pool, &mut restored] {
            assert!(pool.exchange(&image(3.0), keep).equal(&image(3.0)));
            assert!(pool.exchange(&image(4.0), swap).equal(&image(2.0)));
            assert!(pool.exchange(&image(5.0), swap).equal(&image(4.0)));
        }
        let error = ImagePool::new(1).restore("A", &state).unwrap_err();
        assert!(error.to_string().contains("pool_size"), "{error}");
    }
}
