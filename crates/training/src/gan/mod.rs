//! Training of the GANs that the table compares with: CUT (Park et al. 2020) and CycleGAN (Zhu et
//! al. 2017), step by step as in their authors' code.

mod adam;
mod cut;
mod cyclegan;
mod images;
mod init;
mod loss;
mod patch_nce;
mod pool;
mod recipe;
mod samples;
mod schedule;
mod trainer;

pub use adam::{Adam, AdamSettings, NamedGradients};
pub use cut::{Cut, CutBatch, CutNetworks, CutSettings, CutStep};
pub use cyclegan::{CycleGan, CycleGanNetworks, CycleGanSettings, CycleGanStep, Sides};
pub use images::DomainImages;
pub use loss::{GanMode, Target};
pub use patch_nce::PatchNce;
pub use pool::{Exchange, ImagePool};
pub use recipe::{GanAugment, GanLosses, GanRecipe};
pub use schedule::{LinearDecay, StepTime};
pub use trainer::{GanEvent, GanOptions, GanOutcome, train_gan};

use tch::Tensor;

/// A tensor of a training step by its name in logs.
pub type NamedTensor = (&'static str, Tensor);
