//! Noise with a stream of its own per (seed, image, step, purpose), so that results depend on
//! neither batch size nor order.

mod ahead;

pub use ahead::draw_ahead;

use anyhow::{Result, ensure};
use egsde_models::cuda::{Staging, StagingBuffer};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::f64::consts::SQRT_2;
use tch::{Device, Kind, Tensor};

/// What a draw of noise is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The noise a translation starts from; EGSDE also perturbs the source with it.
    Start {
        /// Repeat (of K), counting from 0.
        repeat: usize,
    },
    /// The noise of one reverse step.
    Step {
        /// Repeat (of K), counting from 0.
        repeat: usize,
        /// Step of the (respaced) schedule, counting down to 0.
        step: usize,
    },
    /// Fresh noise of the perturbed source at one step (the paper's Algorithm 1, ILVR's reference).
    Source {
        /// Repeat (of K), counting from 0.
        repeat: usize,
        /// Step of the (respaced) schedule, counting down to 0.
        step: usize,
    },
    /// The numbers from which a generator makes a style.
    Latent,
    /// Which of several reference images is taken.
    Reference,
}

/// SHA-256 of all that decides a draw for a batch.
pub type DrawKey = [u8; 32];

/// Standard normal draws for a whole batch.
pub trait Noise {
    /// `[n, 3, s, s]` in float32; every call with the same purpose gives the same values.
    fn draw(&self, purpose: Purpose) -> Tensor;

    /// A key that draws have in common only when they are for the same images and equal; none of
    /// noise that has no such key, so that nothing which follows from it is shared.
    fn key(&self, _purpose: Purpose) -> Option<DrawKey> {
        None
    }
}

/// The first `count` numbers of each image's stream, `[n, count]`.
fn first_numbers(noise: &dyn Noise, purpose: Purpose, count: usize) -> Result<Tensor> {
    let numbers = noise.draw(purpose).flatten(1, -1);
    let there = numbers.size()[1];
    ensure!(
        count as i64 <= there,
        "{count} random numbers per picture: there are {there}, one per value of a pixel"
    );
    Ok(numbers.narrow(1, 0, count as i64))
}

/// Standard normal numbers `[n, length]` in float32 from each image's own stream.
///
/// # Errors
/// More numbers than an image has values.
pub fn latents(noise: &dyn Noise, length: usize) -> Result<Tensor> {
    first_numbers(noise, Purpose::Latent, length)
}

/// One of `count` things per image, in `0..count` and each equally likely, from the image's own
/// stream: a standard normal number under its distribution function is uniform in [0, 1].
///
/// # Errors
/// There is nothing to choose from.
pub fn choices(noise: &dyn Noise, count: usize) -> Result<Vec<usize>> {
    ensure!(count > 0, "there is nothing to choose from");
    let normal = first_numbers(noise, Purpose::Reference, 1)?.flatten(0, -1);
    let normal = normal.to_device(Device::Cpu).to_kind(Kind::Double);
    let uniform = ((normal / SQRT_2).erf() + 1.0) / 2.0;
    let places = Vec::<f64>::try_from(uniform * count as f64)?;
    let last = count - 1;
    Ok(places
        .iter()
        .map(|place| (*place as usize).min(last))
        .collect())
}

/// Noise with one stream per image, keyed by the image's name.
#[derive(Debug, Clone)]
pub struct ImageNoise {
    /// The seed of the translation.
    pub seed: u64,
    /// The names of the batch's images.
    pub names: Vec<String>,
    /// Side of the images in pixels.
    pub side: usize,
    /// The device that the draws are copied to; they are computed on the CPU.
    pub device: Device,
}

/// Hash of a seed and a purpose, to which names are added.
fn hasher(seed: u64, purpose: Purpose) -> Sha256 {
    let (tag, repeat, step) = match purpose {
        Purpose::Start { repeat } => (b's', repeat, 0),
        Purpose::Step { repeat, step } => (b'z', repeat, step),
        Purpose::Source { repeat, step } => (b'q', repeat, step),
        Purpose::Latent => (b'l', 0, 0),
        Purpose::Reference => (b'r', 0, 0),
    };
    let mut hasher = Sha256::new();
    hasher.update(b"egsde-noise/1\0");
    hasher.update(seed.to_le_bytes());
    hasher.update([tag]);
    hasher.update((repeat as u64).to_le_bytes());
    hasher.update((step as u64).to_le_bytes());
    hasher
}

/// Key of the stream of one image and purpose.
fn stream_key(seed: u64, name: &str, purpose: Purpose) -> [u8; 32] {
    hasher(seed, purpose).chain_update(name).finalize().into()
}

impl ImageNoise {
    /// Numbers of one image.
    fn count(&self) -> usize {
        3 * self.side * self.side
    }

    /// Draws into a buffer of the host, the images on all cores: each has its own stream.
    fn draw_into_buffer(&self, purpose: Purpose) -> StagingBuffer {
        let count = self.count();
        let mut buffer = Staging::to_device(self.device).buffer(count * self.names.len());
        let images = buffer.numbers().par_chunks_mut(count.max(1));
        images.zip(&self.names).for_each(|(values, name)| {
            let mut stream = ChaCha8Rng::from_seed(stream_key(self.seed, name, purpose));
            for value in values {
                *value = Distribution::<f32>::sample(&StandardNormal, &mut stream);
            }
        });
        buffer
    }

    /// The draws in a buffer, on the device.
    fn tensor(&self, buffer: StagingBuffer) -> Tensor {
        let (n, s) = (self.names.len() as i64, self.side as i64);
        buffer.into_tensor(&[n, 3, s, s], self.device)
    }
}

impl Noise for ImageNoise {
    fn draw(&self, purpose: Purpose) -> Tensor {
        self.tensor(self.draw_into_buffer(purpose))
    }

    fn key(&self, purpose: Purpose) -> Option<DrawKey> {
        let mut hasher = hasher(self.seed, purpose);
        hasher.update((self.side as u64).to_le_bytes());
        for name in &self.names {
            hasher.update((name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
        }
        Some(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(names: &[&str], seed: u64, purpose: Purpose) -> Tensor {
        let names = names.iter().map(|name| name.to_string()).collect();
        ImageNoise {
            seed,
            names,
            side: 8,
            device: Device::Cpu,
        }
        .draw(purpose)
    }

    #[test]
    fn an_image_draws_the_same_alone_and_in_a_batch() {
        let purpose = Purpose::Step { repeat: 0, step: 7 };
        let both = draw(&["a", "b"], 1, purpose);
        assert!(both.get(1).equal(&draw(&["b"], 1, purpose).get(0)));
        assert!(both.get(0).equal(&draw(&["b", "a"], 1, purpose).get(1)));
    }

    #[test]
    fn every_part_of_the_key_changes_the_draw() {
        let base = draw(&["a"], 1, Purpose::Step { repeat: 0, step: 7 });
        let others = [
            draw(&["b"], 1, Purpose::Step { repeat: 0, step: 7 }),
            draw(&["a"], 2, Purpose::Step { repeat: 0, step: 7 }),
            draw(&["a"], 1, Purpose::Step { repeat: 1, step: 7 }),
            draw(&["a"], 1, Purpose::Step { repeat: 0, step: 8 }),
            draw(&["a"], 1, Purpose::Source { repeat: 0, step: 7 }),
            draw(&["a"], 1, Purpose::Start { repeat: 0 }),
            draw(&["a"], 1, Purpose::Latent),
            draw(&["a"], 1, Purpose::Reference),
        ];
        assert!(others.iter().all(|other| !other.equal(&base)));
    }

    #[test]
    fn a_draw_has_another_key_for_other_images_seeds_and_purposes() {
        let purpose = Purpose::Start { repeat: 0 };
        let noise = ImageNoise {
            seed: 1,
            names: vec!["a".into(), "bc".into()],
            side: 8,
            device: Device::Cpu,
        };
        let key = noise.key(purpose);
        assert!(key.is_some() && key == noise.clone().key(purpose));
        let names = ["ab", "c"].map(String::from).to_vec();
        let others = [
            ImageNoise {
                seed: 2,
                ..noise.clone()
            }
            .key(purpose),
            ImageNoise {
                names,
                ..noise.clone()
            }
            .key(purpose),
            ImageNoise {
                side: 16,
                ..noise.clone()
            }
            .key(purpose),
            noise.key(Purpose::Start { repeat: 1 }),
            noise.key(Purpose::Source { repeat: 0, step: 0 }),
        ];
        assert!(others.iter().all(|other| *other != key));
    }

    fn many(count: usize) -> ImageNoise {
        ImageNoise {
            seed: 5,
            names: (0..count).map(|i| format!("p{i}")).collect(),
            side: 4,
            device: Device::Cpu,
        }
    }

    #[test]
    fn an_image_chooses_the_same_alone_and_in_a_batch_and_each_choice_is_as_likely() {
        let all = choices(&many(6000), 3).unwrap();
        assert_eq!(choices(&many(10), 3).unwrap(), all[..10]);
        for choice in 0..3 {
            // 2000 with a standard deviation of 37: the bounds are five of them.
            let count = all.iter().filter(|chosen| **chosen == choice).count();
            assert!((1815..=2185).contains(&count), "{choice}: {count}");
        }
        assert!(choices(&many(1), 0).is_err());
    }

    #[test]
    fn latents_are_the_beginning_of_each_images_stream() {
        let all = latents(&many(3), 16).unwrap();
        assert_eq!(all.size(), [3, 16]);
        let alone = ImageNoise {
            names: vec!["p2".into()],
            ..many(1)
        };
        assert!(all.get(2).equal(&latents(&alone, 16).unwrap().get(0)));
        assert!(!all.get(2).equal(&all.get(1)));
        assert!(latents(&many(1), 49).is_err(), "4 px have 48 values");
    }

    #[test]
    fn draws_are_standard_normal() {
        let names: Vec<String> = (0..64).map(|i| format!("p{i}")).collect();
        let noise = ImageNoise {
            seed: 5,
            names,
            side: 32,
            device: Device::Cpu,
        };
        let x = noise.draw(Purpose::Start { repeat: 0 });
        // Of 196,608 draws, the mean has a standard error of 0.0023 and the variance one of 0.0032;
        // the bounds are five standard errors.
        assert!(x.mean(tch::Kind::Float).double_value(&[]).abs() < 0.0115);
        assert!((x.var(true).double_value(&[]) - 1.0).abs() < 0.016);
    }
}
