//! Translation methods, one file each, behind one trait.
//!
//! A new method is a file and its line in `methods!` below. The file holds
//!
//! - the keys of its rows, a serde struct that implements [`MethodSettings`];
//! - the method itself, a struct that implements [`Method`].
//!
//! The line declares the file and makes the rest: the variant of [`MethodConfig`] and every
//! dispatch over the methods.

mod keys;
mod list;
mod sde;
mod settings;

pub use crate::solver::Solver;
pub use sde::SdeSettings;
pub use settings::MethodSettings;

use crate::noise::{Noise, Purpose};
use crate::settings::Networks;
use anyhow::Result;
use egsde_models::Loaded;
use egsde_models::networks::{Diffusion, NoiseNorms, NoisePredictor, time_indices};
use tch::{Kind, Tensor};

list::methods! {
    egsde::EgsdeConfig as Egsde = "egsde";
    sdedit::SdeditConfig as Sdedit = "sdedit";
    ilvr::IlvrConfig as Ilvr = "ilvr";
    cut::CutConfig as Cut = "cut";
    cyclegan::CycleganConfig as Cyclegan = "cyclegan";
    stargan_v2::StarganV2Config as StarganV2 = "stargan_v2";
    external::ExternalConfig as External = "external";
    source::SourceConfig as Source = "source";
}

/// A diffusion network as the methods call it.
pub trait Predictor {
    /// Raw output `[n, 3 or 6, s, s]` for samples `y` `[n, 3, s, s]`, all at the time index `t` in
    /// `0..NUM_TRAIN_TIMESTEPS`. The first three channels are the predicted noise.
    fn predict(&self, y: &Tensor, t: f64) -> Tensor;

    /// Mean squared size of the predicted noise over time; none where it was not measured.
    fn noise_norms(&self) -> Option<&NoiseNorms> {
        None
    }
}

impl Predictor for Diffusion {
    fn noise_norms(&self) -> Option<&NoiseNorms> {
        Diffusion::noise_norms(self)
    }

    fn predict(&self, y: &Tensor, t: f64) -> Tensor {
        self.output(y, &time_indices(y, t))
    }
}

impl<N: NoisePredictor> Predictor for Loaded<N> {
    fn predict(&self, y: &Tensor, t: f64) -> Tensor {
        self.output(y, &time_indices(y, t))
    }
}

/// A diffusion network that is told of one class for all images.
struct ClassPredictor<'a> {
    diffusion: &'a Diffusion,
    label: i64,
}

impl Predictor for ClassPredictor<'_> {
    fn predict(&self, y: &Tensor, t: f64) -> Tensor {
        let labels = Tensor::full([1], self.label, (Kind::Int64, y.device()));
        let t = time_indices(y, t);
        self.diffusion.class_output(y, &t, &labels)
    }

    fn noise_norms(&self) -> Option<&NoiseNorms> {
        self.diffusion.noise_norms()
    }
}

impl<P: Predictor + ?Sized> Predictor for &P {
    fn predict(&self, y: &Tensor, t: f64) -> Tensor {
        (**self).predict(y, t)
    }

    fn noise_norms(&self) -> Option<&NoiseNorms> {
        (**self).noise_norms()
    }
}

impl<'a> Networks<'a> {
    /// The diffusion network, told of a class where it knows classes.
    fn predictor(&self, class_label: Option<i64>) -> Result<Box<dyn Predictor + 'a>> {
        let diffusion = self.diffusion()?;
        Ok(match class_label {
            Some(label) => Box::new(ClassPredictor { diffusion, label }),
            None => Box::new(diffusion),
        })
    }
}

/// `value` once per image of the batch `y`, `[n]`, float32.
fn repeated_per_image(y: &Tensor, value: f64) -> Tensor {
    Tensor::full([y.size()[0]], value, (Kind::Float, y.device()))
}

/// The predicted noise: the first three channels, whether or not the network learned sigma.
pub(crate) fn eps(output: &Tensor) -> Tensor {
    output.narrow(1, 0, 3)
}

/// A sample in [-1, 1] as an image in [0, 1], clamped.
fn image_from_sample(y: &Tensor) -> Tensor {
    ((y + 1.0) / 2.0).clamp(0.0, 1.0)
}

/// A translation method: implement this to put a method into the tables.
pub trait Method {
    /// Translates source images `x0` `[n, 3, s, s]` in [-1, 1] to images `[n, 3, s, s]` in [0, 1].
    ///
    /// All randomness comes from `noise`. `observe(repeat, step, y)` is called after each step with
    /// the sample `[n, 3, s, s]`; steps count down to 0, repeats up from 0.
    ///
    /// # Errors
    /// Settings that the method cannot run with.
    fn translate(
        &self,
        x0: &Tensor,
        noise: &dyn Noise,
        observe: &mut dyn FnMut(usize, usize, &Tensor),
    ) -> Result<Tensor>;

    /// The draws that [`Method::translate`] asks its noise for, in its order, so that each can be
    /// made while the step before computes. A method that leaves some out, or all, as this one
    /// does, gives the same images in more time.
    fn draws(&self) -> Vec<Purpose> {
        Vec::new()
    }
}
