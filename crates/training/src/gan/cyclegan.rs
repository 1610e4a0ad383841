//! One training step of CycleGAN (`CycleGANModel`).

use super::NamedTensor;
use super::adam::{Adam, AdamSettings, NamedGradients, descend};
use super::init::InitType;
use super::loss::{GanMode, Target};
use super::pool::{Exchange, ImagePool};
use anyhow::Result;
use egsde_models::{Loaded, NetworkConfig, Patchgan, ResnetGenerator};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::{Device, Kind, Reduction, Tensor};

/// The losses' settings, named as in the repository's options.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CycleGanSettings {
    /// The adversarial loss.
    #[serde(default)]
    pub gan_mode: GanMode,
    /// Weight of the cycle from the source domain and back.
    #[serde(default = "default_lambda_a")]
    pub lambda_a: f64,
    /// Weight of the cycle from the target domain and back.
    #[serde(default = "default_lambda_b")]
    pub lambda_b: f64,
    /// Weight of the identity losses, as a fraction of the cycles'.
    #[serde(default = "default_lambda_identity")]
    pub lambda_identity: f64,
    /// Earlier translations that a pool keeps.
    #[serde(default = "default_pool_size")]
    pub pool_size: usize,
}

fn default_lambda_a() -> f64 {
    10.0
}

fn default_lambda_b() -> f64 {
    10.0
}

fn default_lambda_identity() -> f64 {
    0.5
}

fn default_pool_size() -> usize {
    50
}

/// One thing per direction: `a` from source to target, `b` back. Discriminator `a` sees
/// translations into the target domain.
#[derive(Debug, Clone, Copy)]
pub struct Sides<T> {
    /// From source to target.
    pub a: T,
    /// From target to source.
    pub b: T,
}

/// The four networks.
#[derive(Debug)]
pub struct CycleGanNetworks {
    /// They translate.
    pub generators: Sides<Loaded<ResnetGenerator>>,
    /// They tell translations from the domain's images.
    pub discriminators: Sides<Loaded<Patchgan>>,
}

impl CycleGanNetworks {
    /// Fresh networks with the authors' starting weights.
    ///
    /// # Errors
    /// Configurations of other kinds.
    pub fn fresh(
        generator: &NetworkConfig,
        discriminator: &NetworkConfig,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        let networks = Self {
            generators: Sides {
                a: Loaded::fresh(generator, device, kind)?,
                b: Loaded::fresh(generator, device, kind)?,
            },
            discriminators: Sides {
                a: Loaded::fresh(discriminator, device, kind)?,
                b: Loaded::fresh(discriminator, device, kind)?,
            },
        };
        for vs in [
            &networks.generators.a.vs,
            &networks.generators.b.vs,
            &networks.discriminators.a.vs,
            &networks.discriminators.b.vs,
        ] {
            InitType::Normal.initialise(vs);
        }
        Ok(networks)
    }
}

/// What one step computed.
#[derive(Debug)]
pub struct CycleGanStep {
    /// `G` and its parts `G_A`, `cycle_A`, `idt_A` and so on, `D_A`, `D_B`.
    pub losses: Vec<NamedTensor>,
    /// `fake_B`, `rec_A`, `fake_A`, `rec_B` by these names.
    pub images: Vec<NamedTensor>,
    /// Gradients of all four networks, `G_A`, `G_B`, `D_A` and `D_B`.
    pub gradients: NamedGradients,
}

/// The networks in training.
#[derive(Debug)]
pub struct CycleGan {
    /// The networks.
    pub networks: CycleGanNetworks,
    settings: CycleGanSettings,
    pools: Sides<ImagePool>,
    generator_adam: Adam,
    discriminator_adam: Adam,
}

/// The generators' passes over a batch.
struct Forward {
    fake_b: Tensor,
    idt_a: Tensor,
    rec_a: Tensor,
    fake_a: Tensor,
    idt_b: Tensor,
    rec_b: Tensor,
}

fn l1(x: &Tensor, y: &Tensor) -> Tensor {
    x.l1_loss(y, Reduction::Mean)
}

/// A translation of `x`, and one of `y` by the same generator, in one batch.
fn translate_both(generator: &Loaded<ResnetGenerator>, x: &Tensor, y: &Tensor) -> [Tensor; 2] {
    let both = Tensor::cat(&[x, y], 0);
    let out = generator.net.forward(&both, generator.kind);
    let count = x.size()[0];
    [out.narrow(0, 0, count), out.narrow(0, count, y.size()[0])]
}

impl CycleGan {
    /// Networks with one optimizer of both generators and one of both discriminators.
    pub fn new(networks: CycleGanNetworks, settings: CycleGanSettings, adam: AdamSettings) -> Self {
        let (generators, discriminators) = (&networks.generators, &networks.discriminators);
        let generator_adam = Adam::new(
            &[("G_A", &generators.a.vs), ("G_B", &generators.b.vs)],
            adam,
        );
        let discriminator_adam = Adam::new(
            &[("D_A", &discriminators.a.vs), ("D_B", &discriminators.b.vs)],
            adam,
        );
        Self {
            pools: Sides {
                a: ImagePool::new(settings.pool_size),
                b: ImagePool::new(settings.pool_size),
            },
            networks,
            settings,
            generator_adam,
            discriminator_adam,
        }
    }

    /// The pools' draws of libtorch's generator for a batch of `count` images.
    pub fn draw(&self, count: i64) -> Sides<Vec<Exchange>> {
        Sides {
            a: self.pools.a.draw(count),
            b: self.pools.b.draw(count),
        }
    }

    fn forward(&self, real_a: &Tensor, real_b: &Tensor) -> Forward {
        let Sides { a, b } = &self.networks.generators;
        let [fake_b, idt_a] = translate_both(a, real_a, real_b);
        let [fake_a, idt_b] = translate_both(b, real_b, real_a);
        Forward {
            rec_a: b.net.forward(&fake_b, b.kind),
            rec_b: a.net.forward(&fake_a, a.kind),
            fake_b,
            idt_a,
            fake_a,
            idt_b,
        }
    }

    /// The parts of the generators' loss.
    fn generator_losses(&self, forward: &Forward, a: &Tensor, b: &Tensor) -> Vec<NamedTensor> {
        let settings = &self.settings;
        let discriminators = &self.networks.discriminators;
        let (lambda_a, lambda_b) = (settings.lambda_a, settings.lambda_b);
        let (identity, mode) = (settings.lambda_identity, settings.gan_mode);
        vec![
            ("G_A", mode.fooling_loss(&discriminators.a, &forward.fake_b)),
            ("cycle_A", l1(&forward.rec_a, a) * lambda_a),
            ("idt_A", l1(&forward.idt_a, b) * (lambda_b * identity)),
            ("G_B", mode.fooling_loss(&discriminators.b, &forward.fake_a)),
            ("cycle_B", l1(&forward.rec_b, b) * lambda_b),
            ("idt_B", l1(&forward.idt_b, a) * (lambda_a * identity)),
        ]
    }

    /// One step of both generators together, then one of both discriminators; `step` counts from 0,
    /// `draws` are the pools'. Both batches are `[n, 3, h, w]` in [-1, 1].
    pub fn step(
        &mut self,
        real_a: &Tensor,
        real_b: &Tensor,
        draws: &Sides<Vec<Exchange>>,
        step: u64,
        learning_rate: f64,
    ) -> CycleGanStep {
        let forward = self.forward(real_a, real_b);
        let parts = self.generator_losses(&forward, real_a, real_b);
        let g_loss = sum(&parts);
        let mut gradients = descend(
            &g_loss,
            &mut [&mut self.generator_adam],
            step,
            learning_rate,
        );

        let pooled_b = self
            .pools
            .a
            .exchange_all(&forward.fake_b.detach(), &draws.a);
        let pooled_a = self
            .pools
            .b
            .exchange_all(&forward.fake_a.detach(), &draws.b);
        let discriminators = &self.networks.discriminators;
        let discriminated = [
            (
                "D_A",
                self.discriminator_loss(&discriminators.a, real_b, &pooled_b),
            ),
            (
                "D_B",
                self.discriminator_loss(&discriminators.b, real_a, &pooled_a),
            ),
        ];
        let d_loss = sum(&discriminated);
        gradients.extend(descend(
            &d_loss,
            &mut [&mut self.discriminator_adam],
            step,
            learning_rate,
        ));

        let mut losses = vec![("G", g_loss.detach())];
        for (name, loss) in parts.iter().chain(&discriminated) {
            losses.push((name, loss.detach()));
        }
        CycleGanStep {
            losses,
            images: vec![
                ("fake_B", forward.fake_b.detach()),
                ("rec_A", forward.rec_a.detach()),
                ("fake_A", forward.fake_a.detach()),
                ("rec_B", forward.rec_b.detach()),
            ],
            gradients,
        }
    }

    /// Half the sum of a discriminator's losses on images of its domain and on translations.
    fn discriminator_loss(
        &self,
        discriminator: &Loaded<Patchgan>,
        real: &Tensor,
        fake: &Tensor,
    ) -> Tensor {
        let sets = [(real, Target::Real), (fake, Target::Fake)];
        let [real, fake] = self.settings.gan_mode.losses_of_sets(discriminator, sets);
        (real + fake) * 0.5
    }

    /// Adds networks, optimizers and pools to what a checkpoint holds.
    pub(super) fn save(&self, state: &mut BTreeMap<String, Tensor>) {
        self.generator_adam.save(state);
        self.discriminator_adam.save(state);
        self.pools.a.save("A", state);
        self.pools.b.save("B", state);
    }

    /// Restores what [`CycleGan::save`] added.
    pub(super) fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.generator_adam.restore(state)?;
        self.discriminator_adam.restore(state)?;
        self.pools.a.restore("A", state)?;
        self.pools.b.restore("B", state)
    }
}

fn sum(losses: &[NamedTensor]) -> Tensor {
    let values: Vec<&Tensor> = losses.iter().map(|(_, loss)| loss).collect();
    Tensor::stack(&values, 0).sum(Kind::Float)
}
