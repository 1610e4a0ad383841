//! The network whose features the metrics over sets compare, on images as they are.

use crate::inputs::task::Task;
use crate::project::Project;
use crate::runtime::memory::in_parts;
use anyhow::Result;
use egsde_data::image_set::ImageSet;
use egsde_models::{CifarFeatures, Inception, Loaded, NetworkConfig};
use tch::{Device, Kind, Tensor};

/// Feature passes run in batches of this size, always, so that results do not depend on settings.
const FEATURE_BATCH: usize = 100;

/// Images per feature pass of FID Inception (pytorch-fid's default).
pub(super) const INCEPTION_BATCH: usize = 50;

/// A feature network of either family.
pub enum FeatureNetwork {
    /// This project's CIFAR-10 features.
    Cifar(Box<Loaded<CifarFeatures>>),
    /// FID Inception, which resizes to 299 px itself.
    Inception(Box<Loaded<Inception>>),
}

/// Features `[n, d]` of images, on the CPU; in smaller batches where there is no memory for whole
/// ones. `features` gets images `[n, 3, s, s]` in [0, 1].
fn batched_features(
    images: &ImageSet,
    batch: usize,
    device: Device,
    features: impl Fn(&Tensor) -> Tensor,
) -> Result<Tensor> {
    let parts = in_parts(images.len(), batch, |part| {
        let batch = images
            .select(&part.collect::<Vec<_>>())
            .tensor()
            .to_device(device);
        Ok(tch::no_grad(|| features(&batch)))
    })?;
    Ok(Tensor::f_cat(&parts, 0)?.to_device(Device::Cpu))
}

/// Features `[n, d]` of images, on the CPU.
///
/// # Errors
/// No memory for a single image.
pub fn embedded_features(
    network: &Loaded<CifarFeatures>,
    images: &ImageSet,
    device: Device,
) -> Result<Tensor> {
    batched_features(images, FEATURE_BATCH, device, |x| network.features(x))
}

impl FeatureNetwork {
    /// A task's feature network.
    ///
    /// # Errors
    /// Invalid input: the file is missing, another one, or of another family.
    pub fn open(task: &Task, project: &Project, device: Device) -> Result<Self> {
        let file = &task.features;
        Ok(match file.config(project)? {
            NetworkConfig::Inception(_) => {
                Self::Inception(Box::new(file.open(project, device, Kind::Float)?))
            }
            _ => Self::Cifar(Box::new(file.open(project, device, Kind::Float)?)),
        })
    }

    /// Features `[n, d]` of images, on the CPU.
    ///
    /// # Errors
    /// No memory for a single image.
    pub fn features(&self, images: &ImageSet, device: Device) -> Result<Tensor> {
        match self {
            Self::Cifar(network) => embedded_features(network, images, device),
            Self::Inception(network) => {
                batched_features(images, INCEPTION_BATCH, device, |x| network.features(x))
            }
        }
    }

    /// The logits `[n, classes]` of features `[n, d]`, both on the CPU; none of a network without
    /// classes.
    pub fn logits(&self, features: &Tensor) -> Option<Tensor> {
        match self {
            Self::Cifar(network) => {
                let features = features.to_device(network.vs.device());
                let logits = tch::no_grad(|| network.net.logits(&features));
                Some(logits.to_device(Device::Cpu))
            }
            Self::Inception(_) => None,
        }
    }
}
