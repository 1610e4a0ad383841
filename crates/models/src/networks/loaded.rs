//! A network of one family with its weights: built, filled from a file, frozen.

use super::{NetworkConfig, config_from_metadata};
use crate::checkpoints::{Checkpoint, CheckpointPart, in_float32, read_checkpoint};
use crate::cuda::is_fused;
use crate::kernels::{bf16::emulates_bf16, kernels_in_use};
use crate::layers::channels_last;
use crate::weights::{WeightFile, assign, find_mismatches, read_safetensors};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::Path;
use tch::nn::{self, VarStore};
use tch::{Device, Kind, Tensor};

/// A network that can be built from its configuration. `families!` implements it.
pub trait Build: Sized {
    /// What [`NetworkConfig`] holds for this family.
    type Config;
    /// Name of the family in configuration files.
    const KIND: &'static str;
    /// Registers all weights under `path`. The configuration must have passed its check.
    fn build(path: &nn::Path, config: &Self::Config) -> Self;
    /// The configuration, where it is of this family.
    fn select(config: &NetworkConfig) -> Option<&Self::Config>;
}

/// A network together with its weights and its working precision.
#[derive(Debug)]
pub struct Loaded<N> {
    /// Owns the weights.
    pub vs: VarStore,
    /// The network, whose layers share the weights in `vs`.
    pub net: N,
    /// Precision of convolutions and products; normalisation and everything outside stay float32.
    pub kind: Kind,
}

impl<N: Build> Loaded<N> {
    /// A network with its default initialisation, which libtorch's random numbers decide (seed them
    /// first for a fixed one). Errors where the configuration is of another family or fails its
    /// check.
    pub fn fresh(config: &NetworkConfig, device: Device, kind: Kind) -> Result<Self> {
        let Some(own) = N::select(config) else {
            bail!("expected a network of kind {}", N::KIND);
        };
        config.check()?;
        let vs = VarStore::new(device);
        let net = N::build(&vs.root(), own);
        Ok(Self { vs, net, kind })
    }

    /// A frozen network from a safetensors file that carries its configuration. Errors as
    /// [`Loaded::fresh`], and where the file cannot be read or its weights do not fit.
    pub fn open(path: &Path, device: Device, kind: Kind) -> Result<Self> {
        let (file, config) = read_with_config(path)?;
        Self::from_weights(&file, &config, path, device, kind)
    }

    /// A frozen network of a known configuration from a weight file of any format (the published
    /// checkpoints). Errors as [`Loaded::open`].
    pub fn open_as(
        path: &Path,
        config: &NetworkConfig,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        let file = read_in_float32(path, config)?;
        Self::from_weights(&file, config, path, device, kind)
    }

    fn from_weights(
        file: &WeightFile,
        config: &NetworkConfig,
        path: &Path,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        let mut loaded = Self::fresh(config, device, kind)?;
        assign(&loaded.vs, &file.tensors).with_context(|| path.display().to_string())?;
        loaded.freeze();
        Ok(loaded)
    }
}

impl<N> Loaded<N> {
    /// Ends training: the weights take no more gradients, and lie in memory in the order that suits
    /// this project's kernels; on GPUs, convolutions then take and give images channels last.
    /// Weights of convolutions and products are converted to the working
    /// precision here and not at every step; where bf16 is emulated, they are rounded to it.
    pub fn freeze(&mut self) {
        self.vs.freeze();
        if emulates_bf16(self.vs.device(), self.kind) {
            self.convert_products(|weight| weight.to_kind(Kind::BFloat16).to_kind(Kind::Float));
        } else if self.kind != Kind::Float {
            self.convert_products(|weight| weight.to_kind(self.kind));
        }
        if kernels_in_use(self.vs.device(), self.kind) || is_fused(self.vs.device()) {
            for weight in self.vs.variables().values_mut().filter(|w| w.dim() == 4) {
                weight.set_data(&channels_last(weight));
            }
        }
    }

    /// Converts weights and biases of convolutions and products; those of normalisations stay in
    /// float32.
    fn convert_products(&self, convert: impl Fn(&Tensor) -> Tensor) {
        let variables = self.vs.variables();
        for (key, variable) in &variables {
            // A bias belongs to a product where the weight beside it is a matrix.
            let weight = variables.get(&key.replace(".bias", ".weight"));
            if variable.dim() > 1 || weight.is_some_and(|w| w.dim() > 1) {
                variable.shallow_clone().set_data(&convert(variable));
            }
        }
    }
}

/// Reads a safetensors file and the configuration that it carries.
pub(super) fn read_with_config(path: &Path) -> Result<(WeightFile, NetworkConfig)> {
    let file = read_safetensors(path)?;
    let config = config_from_metadata(&file, path)?;
    Ok((file, config))
}

/// Reads the weights of a network from a file of any format. Where `part` is the model and does not
/// fit, every set of the file is read together if more of the network's keys are then there:
/// networks of several parts are kept so.
///
/// # Errors
/// The file cannot be read; whether it fits is not checked.
pub fn read_checkpoint_of(
    path: &Path,
    part: CheckpointPart,
    config: &NetworkConfig,
) -> Result<Checkpoint> {
    let shapes = config.weight_shapes()?;
    let fits = |read: &Checkpoint| find_mismatches(&shapes, &read.weights.tensors).is_none();
    let read = read_checkpoint(path, part);
    if part != CheckpointPart::Model || read.as_ref().is_ok_and(fits) {
        return read;
    }
    let count_known = |read: &Checkpoint| {
        let keys = read.weights.tensors.keys();
        keys.filter(|key| shapes.contains_key(*key)).count()
    };
    let known = read.as_ref().map_or(0, count_known);
    match read_checkpoint(path, CheckpointPart::All) {
        Ok(whole) if count_known(&whole) > known => Ok(whole),
        _ => read,
    }
}

/// As [`read_checkpoint_of`], floating-point numbers as float32.
pub(super) fn read_in_float32(path: &Path, config: &NetworkConfig) -> Result<WeightFile> {
    let read = read_checkpoint_of(path, CheckpointPart::Model, config)?;
    Ok(in_float32(read.weights))
}

/// Keys and shapes of all weights of a network of this family.
pub(super) fn weight_shapes<N: Build>(
    config: &NetworkConfig,
) -> Result<BTreeMap<String, Vec<i64>>> {
    let variables = Loaded::<N>::fresh(config, Device::Cpu, Kind::Float)?
        .vs
        .variables();
    Ok(variables
        .into_iter()
        .map(|(key, variable)| (key, variable.size()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dse, synthetic};

    const CONFIG: &str = r#"{
        "kind": "dse", "image_size": 16, "classifier_width": 32, "classifier_depth": 1,
        "channel_mult": [1, 2], "attention_resolutions": [8], "num_head_channels": 32,
        "num_classes": 2, "pool": "attention", "use_scale_shift_norm": true,
        "resblock_updown": true
    }"#;

    /// An extractor in half precision, which no processor emulates.
    fn half_precision_extractor() -> Loaded<Dse> {
        let config: NetworkConfig = serde_json::from_str(CONFIG).unwrap();
        let dse = Loaded::<Dse>::fresh(&config, Device::Cpu, Kind::Half).unwrap();
        synthetic::fill(&dse.vs, 1.0);
        dse
    }

    #[test]
    fn weights_converted_once_give_what_weights_converted_at_each_step_give() {
        let (each_step, mut once) = (half_precision_extractor(), half_precision_extractor());
        once.freeze();
        let x = synthetic::uniform("x", &[2, 3, 16, 16]);
        let t = Tensor::from_slice(&[10f32, 400.0]);
        let results = [&each_step, &once].map(|dse| {
            tch::no_grad(|| {
                let features = dse.features(&x, &t);
                (dse.logits(&x, &t), features)
            })
        });
        assert!(results[0].0.equal(&results[1].0) && results[0].1.equal(&results[1].1));
        let mut kinds = BTreeMap::new();
        for (key, variable) in once.vs.variables() {
            kinds.insert(key, variable.kind());
        }
        assert_eq!(kinds["I2Iout.0.weight"], Kind::Float, "a normalisation");
        for key in ["input_blocks.0.0.bias", "time_embed.0.weight"] {
            assert_eq!(kinds[key], Kind::Half, "{key}");
        }
        assert_eq!(kinds["I2Iout.2.positional_embedding"], Kind::Half);
    }
}
