//! A network of any kind, from its configuration and its weights.

use crate::adm_unet::{AdmUnet, AdmUnetConfig};
use crate::checkpoint::{Which, in_float32, read_weights};
use crate::cifar_features::{CifarFeatures, CifarFeaturesConfig};
use crate::cpu::{self, bf16};
use crate::ddpm_unet::{DdpmUnet, DdpmUnetConfig};
use crate::dse::{Dse, DseConfig};
use crate::gradient::gradient_of;
use crate::inception::{Inception, InceptionConfig};
use crate::layers::channels_last;
use crate::weights::{WeightFile, assign, read_safetensors};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

/// Configuration of any network, told apart by `kind`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NetworkConfig {
    AdmUnet(AdmUnetConfig),
    DdpmUnet(DdpmUnetConfig),
    Dse(DseConfig),
    CifarFeatures(CifarFeaturesConfig),
    Inception(InceptionConfig),
}

/// The numbers every U-Net has: image size, width, multipliers, blocks a level.
fn check_unet(image_size: i64, width: i64, multipliers: &[i64], blocks: i64) -> Result<()> {
    ensure!(
        (1..=8).contains(&multipliers.len()),
        "{} levels: must be 1 to 8",
        multipliers.len()
    );
    ensure!(
        multipliers.iter().all(|m| (1..=16).contains(m)),
        "channel multipliers {multipliers:?}: must be 1 to 16"
    );
    ensure!(
        (1..=8).contains(&blocks),
        "{blocks} blocks a level: must be 1 to 8"
    );
    ensure!(
        width % 32 == 0 && (32..=1024).contains(&width),
        "a width of {width}: must be a multiple of 32 up to 1024 (GroupNorm has 32 groups)"
    );
    let smallest = 1 << (multipliers.len() - 1);
    ensure!(
        (8..=2048).contains(&image_size) && image_size % smallest == 0,
        "image_size {image_size}: must be 8 to 2048 and divide by {smallest}"
    );
    Ok(())
}

/// Heads must divide the width, and with it every level's channels.
fn check_heads(head: i64, width: i64) -> Result<()> {
    ensure!(
        head > 0 && width % head == 0,
        "num_head_channels {head} does not divide the width {width}"
    );
    Ok(())
}

impl NetworkConfig {
    /// Whether a network can be built of these numbers, which may come from a stranger's file; the error says what is wrong.
    pub fn check(&self) -> Result<()> {
        let count = |what: &str, n: i64, most: i64| {
            ensure!(
                (1..=most).contains(&n),
                "{what} is {n}: must be 1 to {most}"
            );
            Ok(())
        };
        match self {
            Self::AdmUnet(c) => {
                check_unet(
                    c.image_size,
                    c.num_channels,
                    &c.channel_mult,
                    c.num_res_blocks,
                )?;
                check_heads(c.num_head_channels, c.num_channels)
            }
            Self::DdpmUnet(c) => check_unet(c.image_size, c.ch, &c.ch_mult, c.num_res_blocks),
            Self::Dse(c) => {
                check_unet(
                    c.image_size,
                    c.classifier_width,
                    &c.channel_mult,
                    c.classifier_depth,
                )?;
                check_heads(c.num_head_channels, c.classifier_width)?;
                count("num_classes", c.num_classes, 10_000)
            }
            Self::CifarFeatures(c) => {
                c.widths
                    .iter()
                    .try_for_each(|w| count("a width", *w, 4096))?;
                count("feature_dim", c.feature_dim, 1 << 14)?;
                count("num_classes", c.num_classes, 10_000)
            }
            Self::Inception(_) => Ok(()),
        }
    }
}

/// Metadata key under which a weight file carries its [`NetworkConfig`] as JSON.
pub const NETWORK_KEY: &str = "egsde.network";

/// A network together with its variables and its working precision.
#[derive(Debug)]
pub struct Loaded<N> {
    pub vs: VarStore,
    pub net: N,
    /// Precision of convolutions and products; normalisation and everything outside stay float32.
    pub kind: Kind,
}

/// What all networks can do: be built from their configuration.
pub trait Build: Sized {
    /// The part of [`NetworkConfig`] this network is built from.
    type Config;
    /// Registers weights in `vs`.
    fn build(vs: &VarStore, config: &Self::Config) -> Result<Self>;
    /// The configuration, when it is of this network's kind.
    fn select(config: &NetworkConfig) -> Option<&Self::Config>;
    /// Name of the kind in configuration files.
    const KIND: &'static str;
}

macro_rules! build {
    ($net:ident, $config:ident, $kind:literal) => {
        impl Build for $net {
            type Config = $config;
            fn build(vs: &VarStore, config: &$config) -> Result<Self> {
                $net::new(&vs.root(), config)
            }
            fn select(config: &NetworkConfig) -> Option<&$config> {
                match config {
                    NetworkConfig::$net(c) => Some(c),
                    _ => None,
                }
            }
            const KIND: &'static str = $kind;
        }
    };
}
build!(AdmUnet, AdmUnetConfig, "adm_unet");
build!(DdpmUnet, DdpmUnetConfig, "ddpm_unet");
build!(Inception, InceptionConfig, "inception");
build!(Dse, DseConfig, "dse");
build!(CifarFeatures, CifarFeaturesConfig, "cifar_features");

impl<N: Build> Loaded<N> {
    /// A fresh network with its default initialisation (seed libtorch first for a fixed one).
    pub fn fresh(config: &NetworkConfig, device: Device, kind: Kind) -> Result<Self> {
        let Some(own) = N::select(config) else {
            bail!("expected a network of kind {}", N::KIND)
        };
        config.check()?;
        let vs = VarStore::new(device);
        let net = N::build(&vs, own)?;
        Ok(Self { vs, net, kind })
    }

    /// A frozen network from a safetensors file that carries its configuration.
    pub fn open(path: &Path, device: Device, kind: Kind) -> Result<Self> {
        let file = read_safetensors(path)?;
        Self::frozen(&file, &network_of(&file, path)?, path, device, kind)
    }

    /// A frozen network of a known configuration from a weight file of any format (the published checkpoints).
    pub fn open_as(
        path: &Path,
        config: &NetworkConfig,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        Self::frozen(
            &in_float32(read_weights(path, Which::Model)?),
            config,
            path,
            device,
            kind,
        )
    }

    /// No more training: gradients stop, and the weights lie as this project's kernels and libtorch's beside them like it best.
    pub fn freeze(&mut self) {
        self.vs.freeze();
        if bf16::is_lacking(self.vs.device(), self.kind) {
            self.round_products();
        }
        if cpu::take_part(self.vs.device(), self.kind) {
            for weight in self.vs.variables().values_mut().filter(|w| w.dim() == 4) {
                weight.set_data(&channels_last(weight));
            }
        }
    }

    /// Weights and biases of convolutions and products as bf16 has them; those of normalisations stay.
    fn round_products(&self) {
        let all = self.vs.variables();
        let of_product = |key: &str| {
            all.get(&key.replace(".bias", ".weight"))
                .is_some_and(|w| w.dim() > 1)
        };
        for (key, value) in &all {
            if value.dim() > 1 || of_product(key) {
                value
                    .shallow_clone()
                    .set_data(&value.to_kind(Kind::BFloat16).to_kind(Kind::Float));
            }
        }
    }

    fn frozen(
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

/// Keys and shapes of all weights of a network.
pub fn variables(config: &NetworkConfig) -> Result<BTreeMap<String, Vec<i64>>> {
    fn of<N: Build>(config: &NetworkConfig) -> Result<VarStore> {
        Ok(Loaded::<N>::fresh(config, Device::Cpu, Kind::Float)?.vs)
    }
    let vs = match config {
        NetworkConfig::AdmUnet(_) => of::<AdmUnet>(config),
        NetworkConfig::DdpmUnet(_) => of::<DdpmUnet>(config),
        NetworkConfig::Dse(_) => of::<Dse>(config),
        NetworkConfig::CifarFeatures(_) => of::<CifarFeatures>(config),
        NetworkConfig::Inception(_) => of::<Inception>(config),
    }?;
    Ok(vs
        .variables()
        .into_iter()
        .map(|(k, v)| (k, v.size()))
        .collect())
}

/// The configuration in a weight file's metadata.
pub fn network_of(file: &WeightFile, path: &Path) -> Result<NetworkConfig> {
    let text = file.metadata.get(NETWORK_KEY).with_context(|| {
        format!(
            "{} carries no {NETWORK_KEY} in its metadata",
            path.display()
        )
    })?;
    serde_json::from_str(text).with_context(|| {
        format!(
            "{}: its {NETWORK_KEY} is not a network configuration",
            path.display()
        )
    })
}

thread_local! {
    static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Seconds this thread has spent in networks so far; on a GPU, in handing them over.
pub fn seconds_in_networks() -> f64 {
    SPENT.get().as_secs_f64()
}

/// Does a network's work and counts its time.
fn counted<T>(work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    SPENT.set(SPENT.get() + began.elapsed());
    result
}

impl Loaded<AdmUnet> {
    /// Raw output for `x` `[n, 3, s, s]` at time indices `t` `[n]`: `[n, 3 or 6, s, s]`.
    pub fn output(&self, x: &Tensor, t: &Tensor) -> Tensor {
        counted(|| self.net.forward(x, t, self.kind, false))
    }
}

impl Loaded<DdpmUnet> {
    /// The predicted noise for `x` `[n, 3, s, s]` at time indices `t` `[n]`.
    pub fn output(&self, x: &Tensor, t: &Tensor) -> Tensor {
        counted(|| self.net.forward(x, t, self.kind))
    }
}

impl Loaded<Dse> {
    /// Feature map of `x` at `t`, `[n, c, s', s']`.
    pub fn features(&self, x: &Tensor, t: &Tensor) -> Tensor {
        counted(|| self.net.features(x, t, self.kind, false))
    }
    /// Gradient with respect to `y` `[n, 3, s, s]` of the sum over pictures of `f(features of y at t)`. Works inside `no_grad`.
    pub fn gradient(&self, y: &Tensor, t: &Tensor, f: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        counted(|| {
            if !cpu::take_part(y.device(), self.kind) {
                return gradient_of(y, |y| f(&self.net.features(y, t, self.kind, false)));
            }
            let (features, back) = tch::no_grad(|| self.net.pullback(y, t, self.kind));
            let outer = gradient_of(&features, f);
            tch::no_grad(|| back(&outer).contiguous())
        })
    }
    /// Class logits of `x` at `t`.
    pub fn logits(&self, x: &Tensor, t: &Tensor) -> Tensor {
        counted(|| {
            self.net
                .logits(&self.net.features(x, t, self.kind, false), self.kind)
        })
    }
}

impl Loaded<Inception> {
    /// pool3 features `[n, 2048]` of pictures in [0, 1], any size.
    pub fn features(&self, x: &Tensor) -> Tensor {
        counted(|| self.net.features(x, self.kind))
    }
}

impl Loaded<CifarFeatures> {
    /// Features `[n, d]` of pictures in [0, 1].
    pub fn features(&self, x: &Tensor) -> Tensor {
        counted(|| self.net.features(x, self.kind, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_no_network_can_have_are_refused_before_it_is_built() {
        let good = r#"{"kind": "adm_unet", "image_size": 32, "num_channels": 64, "channel_mult": [1, 2], "num_res_blocks": 1,
            "attention_resolutions": [16], "num_head_channels": 32, "learn_sigma": false, "use_scale_shift_norm": true,
            "resblock_updown": true}"#;
        let check = |from: &str, to: &str| {
            serde_json::from_str::<NetworkConfig>(&good.replace(from, to))
                .unwrap()
                .check()
        };
        assert!(check("64", "64").is_ok());
        for (from, to) in [
            ("\"num_channels\": 64", "\"num_channels\": 65"),
            ("\"num_channels\": 64", "\"num_channels\": 4000000000"),
            ("[1, 2]", "[1, 0]"),
            ("[1, 2]", "[]"),
            ("\"num_head_channels\": 32", "\"num_head_channels\": 0"),
            ("\"num_head_channels\": 32", "\"num_head_channels\": 48"),
            ("\"num_res_blocks\": 1", "\"num_res_blocks\": 1000000"),
            ("\"image_size\": 32", "\"image_size\": 33"),
        ] {
            assert!(check(from, to).is_err(), "{to}");
        }
    }

    #[test]
    fn bf16_rounds_features_and_gradients_of_the_extractor_a_little() {
        let text = r#"{"kind": "dse", "image_size": 16, "classifier_width": 32, "classifier_depth": 1, "channel_mult": [1, 2],
            "attention_resolutions": [8], "num_head_channels": 32, "num_classes": 2, "pool": "attention",
            "use_scale_shift_norm": true, "resblock_updown": true}"#;
        let config: NetworkConfig = serde_json::from_str(text).unwrap();
        let (x, t) = (
            crate::synthetic::uniform("x", &[2, 3, 16, 16]),
            Tensor::from_slice(&[10f32, 400.0]),
        );
        let both = |kind| {
            let mut dse = Loaded::<Dse>::fresh(&config, Device::Cpu, kind).unwrap();
            crate::synthetic::fill(&dse.vs, 1.0);
            dse.freeze();
            tch::no_grad(|| {
                (
                    dse.features(&x, &t),
                    dse.gradient(&x, &t, |f| {
                        f.square().flatten(1, -1).sum_dim_intlist(1, false, None)
                    }),
                )
            })
        };
        let ((features, gradient), (rounded, rounded_gradient)) =
            (both(Kind::Float), both(Kind::BFloat16));
        for (want, got) in [(features, rounded), (gradient, rounded_gradient)] {
            assert_eq!((got.kind(), got.size()), (Kind::Float, want.size()));
            let error = (&got - &want).norm().double_value(&[]) / want.norm().double_value(&[]);
            assert!((1e-4..5e-2).contains(&error), "{error}");
        }
    }
}
