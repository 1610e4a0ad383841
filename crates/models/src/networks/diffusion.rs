//! A diffusion network of any family behind one type.

use super::loaded::{read_in_float32, read_with_config};
use super::noise_norms::NoiseNorms;
use super::timing::timed;
use super::{Build, Loaded, NetworkConfig};
use crate::weights::{WeightFile, assign};
use anyhow::{Context, Result, bail};
use std::fmt::Debug;
use std::path::Path;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

/// A network that predicts the noise in an image: what a diffusion family implements in its file.
pub trait NoisePredictor: Build + Debug + Send + 'static {
    /// Raw output for `x` `[n, 3, s, s]` at time indices `t` `[n]`, or `[1]` for all images:
    /// `[n, 3, s, s]` or, with a learned sigma, `[n, 6, s, s]`, in float32. The first three
    /// channels are the predicted noise. `kind` is the working precision.
    fn predict_noise(&self, x: &Tensor, t: &Tensor, kind: Kind) -> Tensor;

    /// Whether networks of this configuration have three more output channels, which steer the
    /// variance between its two bounds (the "learned range" of Nichol & Dhariwal 2021).
    fn learns_sigma(config: &Self::Config) -> bool;

    /// Classes that networks of this configuration were told of in training; none of families that
    /// know no classes.
    fn num_classes(_: &Self::Config) -> Option<i64> {
        None
    }

    /// As [`NoisePredictor::predict_noise`] for images of the classes `labels` `[n]` or `[1]`
    /// (int64), which families that know no classes ignore.
    fn predict_class_noise(&self, x: &Tensor, t: &Tensor, labels: &Tensor, kind: Kind) -> Tensor {
        let _ = labels;
        self.predict_noise(x, t, kind)
    }
}

impl<N: NoisePredictor> Loaded<N> {
    /// Raw output for `x` `[n, 3, s, s]` at time indices `t` `[n]` or `[1]`: `[n, 3 or 6, s, s]`.
    pub fn output(&self, x: &Tensor, t: &Tensor) -> Tensor {
        timed(x.device(), || self.net.predict_noise(x, t, self.kind))
    }

    /// As [`Loaded::output`] for images of the classes `labels` `[n]` or `[1]` (int64).
    pub fn class_output(&self, x: &Tensor, t: &Tensor, labels: &Tensor) -> Tensor {
        timed(x.device(), || {
            self.net.predict_class_noise(x, t, labels, self.kind)
        })
    }
}

/// [`Loaded`] of any diffusion family.
trait AnyPredictor: Debug + Send {
    fn output(&self, x: &Tensor, t: &Tensor) -> Tensor;
    fn class_output(&self, x: &Tensor, t: &Tensor, labels: &Tensor) -> Tensor;
    fn vs(&self) -> &VarStore;
    fn freeze(&mut self);
}

impl<N: NoisePredictor> AnyPredictor for Loaded<N> {
    fn output(&self, x: &Tensor, t: &Tensor) -> Tensor {
        Loaded::output(self, x, t)
    }

    fn class_output(&self, x: &Tensor, t: &Tensor, labels: &Tensor) -> Tensor {
        Loaded::class_output(self, x, t, labels)
    }

    fn vs(&self) -> &VarStore {
        &self.vs
    }

    fn freeze(&mut self) {
        Loaded::freeze(self);
    }
}

/// Makes a network with its default initialisation.
type MakeFresh = fn(&NetworkConfig, Device, Kind) -> Result<Box<dyn AnyPredictor>>;

/// What a configuration says about its diffusion family.
pub(super) struct Family {
    learns_sigma: bool,
    num_classes: Option<i64>,
    fresh: MakeFresh,
}

impl Family {
    pub fn new<N: NoisePredictor>(config: &N::Config) -> Self {
        Self {
            learns_sigma: N::learns_sigma(config),
            num_classes: N::num_classes(config),
            fresh: fresh_boxed::<N>,
        }
    }
}

fn fresh_boxed<N: NoisePredictor>(
    config: &NetworkConfig,
    device: Device,
    kind: Kind,
) -> Result<Box<dyn AnyPredictor>> {
    Ok(Box::new(Loaded::<N>::fresh(config, device, kind)?))
}

impl NetworkConfig {
    /// Whether this is a diffusion network that learned sigma (see [`NoisePredictor`]).
    pub fn learns_sigma(&self) -> bool {
        self.diffusion_family()
            .is_some_and(|family| family.learns_sigma)
    }

    /// Classes that this diffusion network was told of in training; none where it knew no classes.
    pub fn num_classes(&self) -> Option<i64> {
        self.diffusion_family()?.num_classes
    }
}

/// A diffusion network of any family, its weights and its working precision.
#[derive(Debug)]
pub struct Diffusion {
    network: Box<dyn AnyPredictor>,
    learns_sigma: bool,
    noise_norms: Option<NoiseNorms>,
    num_classes: Option<i64>,
}

impl Diffusion {
    /// As [`Loaded::fresh`]; errors where the configuration is not that of a diffusion network.
    pub fn fresh(config: &NetworkConfig, device: Device, kind: Kind) -> Result<Self> {
        let Some(family) = config.diffusion_family() else {
            bail!(
                "expected a diffusion network, found one of kind {}",
                config.kind()
            );
        };
        let network = (family.fresh)(config, device, kind)?;
        Ok(Self {
            network,
            learns_sigma: family.learns_sigma,
            noise_norms: None,
            num_classes: family.num_classes,
        })
    }

    /// As [`Loaded::open`], of the family that the file's configuration names.
    pub fn open(path: &Path, device: Device, kind: Kind) -> Result<Self> {
        let (file, config) = read_with_config(path)?;
        Self::from_weights(&file, &config, path, device, kind)
    }

    /// As [`Loaded::open_as`], of the family that the configuration names.
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
        let mut diffusion = Self::fresh(config, device, kind)?;
        assign(diffusion.vs(), &file.tensors).with_context(|| path.display().to_string())?;
        diffusion.noise_norms = NoiseNorms::from_metadata(&file.metadata)
            .with_context(|| path.display().to_string())?;
        diffusion.freeze();
        Ok(diffusion)
    }

    /// Raw output for `x` `[n, 3, s, s]` at time indices `t` `[n]` or `[1]`: `[n, 3 or 6, s, s]` in
    /// float32. The first three channels are the predicted noise.
    pub fn output(&self, x: &Tensor, t: &Tensor) -> Tensor {
        self.network.output(x, t)
    }

    /// As [`Diffusion::output`] for images of the classes `labels` `[n]` or `[1]` (int64), each
    /// below [`Diffusion::num_classes`].
    pub fn class_output(&self, x: &Tensor, t: &Tensor, labels: &Tensor) -> Tensor {
        self.network.class_output(x, t, labels)
    }

    /// Classes that the network was told of in training; without their labels it predicts nothing.
    pub fn num_classes(&self) -> Option<i64> {
        self.num_classes
    }

    /// Whether the output has six channels, the last three of which steer the variance.
    pub fn learns_sigma(&self) -> bool {
        self.learns_sigma
    }

    /// The size of its predicted noise as its weight file has it; none where it was not measured.
    pub fn noise_norms(&self) -> Option<&NoiseNorms> {
        self.noise_norms.as_ref()
    }

    /// The network's weights.
    pub fn vs(&self) -> &VarStore {
        self.network.vs()
    }

    /// As [`Loaded::freeze`].
    pub fn freeze(&mut self) {
        self.network.freeze();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;
    use crate::{AdmUnet, DdpmUnet};

    const ADM: &str = r#"{
        "kind": "adm_unet", "image_size": 16, "num_channels": 32, "channel_mult": [1, 2],
        "num_res_blocks": 1, "attention_resolutions": [8], "num_head_channels": 32,
        "learn_sigma": true, "use_scale_shift_norm": true, "resblock_updown": true
    }"#;
    const DDPM: &str = r#"{
        "kind": "ddpm_unet", "image_size": 16, "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1,
        "attn_resolutions": [8], "resamp_with_conv": true
    }"#;

    fn parse(text: &str) -> NetworkConfig {
        serde_json::from_str(text).unwrap()
    }

    /// The output of one family by itself, and that of [`Diffusion`], with the same weights.
    fn both_outputs<N: NoisePredictor>(config: &NetworkConfig) -> (Tensor, Tensor) {
        let mut loaded = Loaded::<N>::fresh(config, Device::Cpu, Kind::Float).unwrap();
        let mut diffusion = Diffusion::fresh(config, Device::Cpu, Kind::Float).unwrap();
        synthetic::fill(&loaded.vs, 1.0);
        synthetic::fill(diffusion.vs(), 1.0);
        loaded.freeze();
        diffusion.freeze();
        let x = synthetic::uniform("x", &[2, 3, 16, 16]);
        let t = Tensor::from_slice(&[10f32, 400.0]);
        tch::no_grad(|| (loaded.output(&x, &t), diffusion.output(&x, &t)))
    }

    #[test]
    fn either_family_computes_as_by_itself() {
        let (alone, behind) = both_outputs::<AdmUnet>(&parse(ADM));
        assert_eq!(behind.size(), [2, 6, 16, 16]);
        assert!(alone.equal(&behind));
        let (alone, behind) = both_outputs::<DdpmUnet>(&parse(DDPM));
        assert_eq!(behind.size(), [2, 3, 16, 16]);
        assert!(alone.equal(&behind));
    }

    #[test]
    fn the_configuration_says_whether_sigma_was_learned() {
        let plain = ADM.replace("\"learn_sigma\": true", "\"learn_sigma\": false");
        for (text, learns_sigma) in [(ADM, true), (plain.as_str(), false), (DDPM, false)] {
            let config = parse(text);
            let diffusion = Diffusion::fresh(&config, Device::Cpu, Kind::Float).unwrap();
            assert_eq!(config.learns_sigma(), learns_sigma, "{text}");
            assert_eq!(diffusion.learns_sigma(), learns_sigma, "{text}");
        }
    }

    #[test]
    fn a_network_that_predicts_no_noise_is_refused_by_its_kind() {
        let config = parse(r#"{"kind": "inception"}"#);
        let error = Diffusion::fresh(&config, Device::Cpu, Kind::Float)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("diffusion network") && error.contains("inception"),
            "{error}"
        );
        assert!(!config.learns_sigma());
    }
}
