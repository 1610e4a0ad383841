//! One training step of CUT and FastCUT (`CUTModel`).

use super::NamedTensor;
use super::adam::{Adam, AdamSettings, NamedGradients, descend};
use super::init::InitType;
use super::loss::{GanMode, Target};
use super::patch_nce::{PatchNce, draw_positions};
use anyhow::{Result, ensure};
use egsde_models::networks::patch_mlp::{PatchMlpConfig, patch_rows};
use egsde_models::{Loaded, NetworkConfig, PatchMlp, Patchgan, ResnetGenerator};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// The losses' settings, named as in the repository's options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutSettings {
    /// The adversarial loss.
    #[serde(default)]
    pub gan_mode: GanMode,
    /// Its weight.
    #[serde(default = "default_lambda_gan")]
    pub lambda_gan: f64,
    /// Weight of the contrastive loss.
    #[serde(default = "default_lambda_nce")]
    pub lambda_nce: f64,
    /// Whether target images are translated too and compared with themselves (CUT, not FastCUT).
    pub nce_idt: bool,
    /// Whether half of the batches are mirrored on the way through the generator (FastCUT).
    #[serde(default)]
    pub flip_equivariance: bool,
    /// Layers of the generator whose features are compared.
    pub nce_layers: Vec<usize>,
    /// Positions that are compared, per layer and image.
    pub num_patches: i64,
    /// Length of a projected feature.
    pub netf_nc: i64,
    /// The contrastive loss.
    #[serde(default)]
    pub nce: PatchNce,
}

fn default_lambda_gan() -> f64 {
    1.0
}

fn default_lambda_nce() -> f64 {
    1.0
}

impl CutSettings {
    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// Names the first such field and what it must be.
    pub fn check(&self) -> Result<()> {
        ensure!(!self.nce_layers.is_empty(), "nce_layers is empty");
        ensure!(self.num_patches > 0, "num_patches must be at least 1");
        ensure!(self.netf_nc > 0, "netf_nc must be at least 1");
        let temperature = self.nce.temperature;
        ensure!(temperature > 0.0, "the temperature must be positive");
        Ok(())
    }
}

/// The three networks.
#[derive(Debug)]
pub struct CutNetworks {
    /// Translates.
    pub generator: Loaded<ResnetGenerator>,
    /// Projects features in front of the contrastive loss.
    pub projection: Loaded<PatchMlp>,
    /// Tells translations from the target domain's images.
    pub discriminator: Loaded<Patchgan>,
}

impl CutNetworks {
    /// Fresh networks with the authors' starting weights.
    ///
    /// # Errors
    /// Configurations of other kinds, or layers that the generator does not have.
    pub fn fresh(
        generator: &NetworkConfig,
        discriminator: &NetworkConfig,
        settings: &CutSettings,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        let generator: Loaded<ResnetGenerator> = Loaded::fresh(generator, device, kind)?;
        generator.net.check_layers(&settings.nce_layers)?;
        let projection = NetworkConfig::PatchMlp(PatchMlpConfig {
            nc: settings.netf_nc,
            in_channels: feature_channels(&generator, &settings.nce_layers),
        });
        let networks = Self {
            projection: Loaded::fresh(&projection, device, kind)?,
            discriminator: Loaded::fresh(discriminator, device, kind)?,
            generator,
        };
        for vs in [
            &networks.generator.vs,
            &networks.projection.vs,
            &networks.discriminator.vs,
        ] {
            InitType::Xavier.initialise(vs);
        }
        Ok(networks)
    }
}

/// Channels of the outputs of some layers.
fn feature_channels(generator: &Loaded<ResnetGenerator>, layers: &[usize]) -> Vec<i64> {
    const SIDE: i64 = 16;
    let options = (Kind::Float, generator.vs.device());
    let x = Tensor::zeros([1, 3, SIDE, SIDE], options);
    let features = tch::no_grad(|| generator.net.features(&x, layers, generator.kind));
    features.iter().map(|feature| feature.size()[1]).collect()
}

/// What one step works on.
#[derive(Debug)]
pub struct CutBatch {
    /// Source images `[n, 3, h, w]` in [-1, 1].
    pub real_a: Tensor,
    /// Target images of the same shape.
    pub real_b: Tensor,
    /// Whether the generator sees mirrored images.
    pub flip: bool,
    /// Positions per layer, `[p]` 64-bit whole numbers: of the source images and, with the identity
    /// loss, of the target images.
    pub positions: Vec<Vec<Tensor>>,
}

/// What one step computed.
#[derive(Debug)]
pub struct CutStep {
    /// `G`, `G_GAN`, `NCE`, with the identity loss `NCE_Y`, `D`, `D_real`, `D_fake`.
    pub losses: Vec<NamedTensor>,
    /// Translations of the sources, mirrored with `flip`.
    pub fake_b: Tensor,
    /// Translations of the targets, with the identity loss.
    pub idt_b: Option<Tensor>,
    /// Gradients of all three networks, `G`, `F` and `D`.
    pub gradients: NamedGradients,
}

/// The networks in training.
#[derive(Debug)]
pub struct Cut {
    /// The networks.
    pub networks: CutNetworks,
    settings: CutSettings,
    generator_adam: Adam,
    projection_adam: Adam,
    discriminator_adam: Adam,
}

/// The generator's pass over a batch.
struct Forward {
    /// Sources and, with the identity loss, targets behind them; not mirrored.
    real: Tensor,
    /// Their translations.
    fake: Tensor,
    /// Features of `real`, one map per layer, outside the gradient graph.
    keys: Vec<Tensor>,
}

impl Cut {
    /// Networks with an optimizer each.
    pub fn new(networks: CutNetworks, settings: CutSettings, adam: AdamSettings) -> Self {
        Self {
            generator_adam: Adam::new(&[("G", &networks.generator.vs)], adam),
            projection_adam: Adam::new(&[("F", &networks.projection.vs)], adam),
            discriminator_adam: Adam::new(&[("D", &networks.discriminator.vs)], adam),
            networks,
            settings,
        }
    }

    /// How many sets of images the generator sees: sources, and targets with the identity loss.
    fn sets(&self) -> i64 {
        1 + i64::from(self.settings.nce_idt)
    }

    /// How many positions each compared layer has for images of `side` pixels.
    pub fn position_counts(&self, side: i64) -> Vec<i64> {
        let Loaded { net, kind, vs } = &self.networks.generator;
        let x = Tensor::zeros([1, 3, side, side], (Kind::Float, vs.device()));
        let features = tch::no_grad(|| net.features(&x, &self.settings.nce_layers, *kind));
        let sizes = features.iter().map(Tensor::size);
        sizes.map(|size| size[2] * size[3]).collect()
    }

    /// A batch with draws of libtorch's generator; `counts` are [`Cut::position_counts`] for its
    /// images.
    pub fn draw_batch(&self, real_a: Tensor, real_b: Tensor, counts: &[i64]) -> CutBatch {
        let device = real_a.device();
        let mirrored = Tensor::rand([1], (Kind::Float, Device::Cpu)).double_value(&[0]) < 0.5;
        let mut positions = Vec::new();
        for _ in 0..self.sets() {
            let layers = counts.iter();
            let drawn = layers.map(|n| draw_positions(*n, self.settings.num_patches, device));
            positions.push(drawn.collect());
        }
        CutBatch {
            flip: self.settings.flip_equivariance && mirrored,
            real_a,
            real_b,
            positions,
        }
    }

    fn forward(&self, batch: &CutBatch) -> Forward {
        let CutSettings {
            nce_layers,
            nce_idt,
            ..
        } = &self.settings;
        let Loaded { net, kind, .. } = &self.networks.generator;
        let real = if *nce_idt {
            Tensor::cat(&[&batch.real_a, &batch.real_b], 0)
        } else {
            batch.real_a.shallow_clone()
        };
        if batch.flip {
            let fake = net.forward(&real.flip([3]), *kind);
            let keys = tch::no_grad(|| net.features(&real, nce_layers, *kind));
            return Forward { real, fake, keys };
        }
        // The encoder does not change before the keys are used, so its features on the way to the
        // translation are those that the reference computes again.
        let trace = net.trace(&real, nce_layers, *kind);
        Forward {
            real,
            fake: trace.image,
            keys: trace.features.iter().map(Tensor::detach).collect(),
        }
    }

    /// The discriminator's losses, fake and real.
    fn discriminator_losses(&self, fake_b: &Tensor, real_b: &Tensor) -> [Tensor; 2] {
        let sets = [(&fake_b.detach(), Target::Fake), (real_b, Target::Real)];
        let mode = self.settings.gan_mode;
        mode.losses_of_sets(&self.networks.discriminator, sets)
    }

    /// The contrastive loss of each set of images, `[sets]`.
    fn contrastive_losses(&self, forward: &Forward, batch: &CutBatch) -> Tensor {
        let CutSettings {
            nce_layers,
            lambda_nce,
            nce,
            ..
        } = &self.settings;
        let Loaded { net, kind, .. } = &self.networks.generator;
        let projection = &self.networks.projection.net;
        let mut queries = net.features(&forward.fake, nce_layers, *kind);
        if batch.flip {
            queries = queries.iter().map(|feature| feature.flip([3])).collect();
        }
        let (images, sets) = (forward.real.size()[0], self.sets());
        let groups = if nce.all_negatives { sets } else { images };
        let mut total = None;
        for (layer, (query, key)) in queries.iter().zip(&forward.keys).enumerate() {
            let positions = positions_per_image(&batch.positions, layer, images / sets);
            let key_rows = patch_rows(key, &positions);
            let keys = tch::no_grad(|| projection.project(layer, &key_rows));
            let queries = projection.project(layer, &patch_rows(query, &positions));
            let losses = nce.losses(&queries, &keys, groups);
            let means = losses.reshape([sets, -1]).mean_dim(1, false, Kind::Float);
            total = Some(match total {
                None => means,
                Some(sum) => sum + means,
            });
        }
        total.expect("there is a layer") * (lambda_nce / nce_layers.len() as f64)
    }

    /// One step of the discriminator, then one of generator and projection together; `step` counts
    /// from 0.
    pub fn step(&mut self, batch: &CutBatch, step: u64, learning_rate: f64) -> CutStep {
        let forward = self.forward(batch);
        let count = batch.real_a.size()[0];
        let fake_b = forward.fake.narrow(0, 0, count);
        let [d_fake, d_real] = self.discriminator_losses(&fake_b, &batch.real_b);
        let d_loss = (&d_fake + &d_real) * 0.5;
        let mut gradients = descend(
            &d_loss,
            &mut [&mut self.discriminator_adam],
            step,
            learning_rate,
        );

        let mode = self.settings.gan_mode;
        let fooling = mode.fooling_loss(&self.networks.discriminator, &fake_b);
        let gan = fooling * self.settings.lambda_gan;
        let contrastive = self.contrastive_losses(&forward, batch);
        let g_loss = &gan + contrastive.mean(Kind::Float);
        let optimizers = &mut [&mut self.generator_adam, &mut self.projection_adam];
        gradients.extend(descend(&g_loss, optimizers, step, learning_rate));

        let mut losses = vec![
            ("G", g_loss.detach()),
            ("G_GAN", gan.detach()),
            ("NCE", contrastive.get(0).detach()),
        ];
        if self.settings.nce_idt {
            losses.push(("NCE_Y", contrastive.get(1).detach()));
        }
        losses.extend([
            ("D", d_loss.detach()),
            ("D_real", d_real.detach()),
            ("D_fake", d_fake.detach()),
        ]);
        let idt_b = self.settings.nce_idt;
        CutStep {
            losses,
            fake_b: fake_b.detach(),
            idt_b: idt_b.then(|| forward.fake.narrow(0, count, count).detach()),
            gradients,
        }
    }

    /// Adds networks and optimizers to what a checkpoint holds.
    pub(super) fn save(&self, state: &mut BTreeMap<String, Tensor>) {
        self.generator_adam.save(state);
        self.projection_adam.save(state);
        self.discriminator_adam.save(state);
    }

    /// Restores what [`Cut::save`] added.
    pub(super) fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.generator_adam.restore(state)?;
        self.projection_adam.restore(state)?;
        self.discriminator_adam.restore(state)
    }
}

/// The positions of a layer once per image, `[sets * count, p]`, for sets of `count` images.
fn positions_per_image(positions: &[Vec<Tensor>], layer: usize, count: i64) -> Tensor {
    let mut rows = Vec::new();
    for set in positions {
        let length = set[layer].size()[0];
        rows.push(
            set[layer]
                .reshape([1, length])
                .expand([count, length], false),
        );
    }
    Tensor::cat(&rows, 0)
}
