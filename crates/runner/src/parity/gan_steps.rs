//! Golden cases of whole training steps of CUT and CycleGAN.

use super::case::{Case, number, parse, whole};
use super::gan_losses::adam_settings;
use anyhow::Result;
use egsde_training::gan::{
    Cut, CutBatch, CutNetworks, CutSettings, CycleGan, CycleGanNetworks, CycleGanSettings,
    Exchange, NamedGradients, NamedTensor, PatchNce, Sides,
};
use std::collections::BTreeMap;
use tch::nn::VarStore;
use tch::{Kind, Tensor};

/// Networks by the names that cases give them.
type NamedNetworks<'a> = [(&'static str, &'a VarStore)];

/// All weights by network and key.
fn weights(networks: &NamedNetworks) -> BTreeMap<String, Tensor> {
    let mut weights = BTreeMap::new();
    for (network, vs) in networks {
        for (key, variable) in vs.variables() {
            weights.insert(format!("{network}.{key}"), variable.detach().copy());
        }
    }
    weights
}

/// What the steps of a case computed, by the names of its expectations.
struct Results {
    tensors: BTreeMap<String, Tensor>,
    start: BTreeMap<String, Tensor>,
    /// One value per step.
    losses: BTreeMap<&'static str, Vec<Tensor>>,
}

impl Results {
    fn new(networks: &NamedNetworks) -> Self {
        Self {
            tensors: BTreeMap::new(),
            start: weights(networks),
            losses: BTreeMap::new(),
        }
    }

    fn insert(&mut self, name: impl Into<String>, tensor: &Tensor) {
        self.tensors.insert(name.into(), tensor.shallow_clone());
    }

    fn add_losses(&mut self, losses: Vec<NamedTensor>) {
        for (name, loss) in losses {
            self.losses.entry(name).or_default().push(loss);
        }
    }

    fn add_gradients(&mut self, gradients: NamedGradients) {
        for (name, gradient) in gradients {
            self.tensors.insert(format!("grad.{name}"), gradient);
        }
    }

    /// The change of all weights since the start, as `which.NETWORK.KEY`.
    fn add_updates(&mut self, which: &str, networks: &NamedNetworks) {
        for (name, weight) in weights(networks) {
            let update = weight - &self.start[&name];
            self.tensors.insert(format!("{which}.{name}"), update);
        }
    }

    fn compare(mut self, case: &mut Case) -> Result<()> {
        for (name, values) in &self.losses {
            let all = Tensor::stack(values, 0);
            let first = all.narrow(0, 0, 1);
            self.tensors.insert(format!("loss_first.{name}"), first);
            self.tensors.insert(format!("loss.{name}"), all);
        }
        case.expect_all(&self.tensors)
    }
}

fn cut_settings(case: &Case) -> Result<CutSettings> {
    let value = case.value;
    Ok(CutSettings {
        gan_mode: parse(value, "gan_mode")?,
        lambda_gan: number(value, "lambda_gan")?,
        lambda_nce: number(value, "lambda_nce")?,
        nce_idt: parse(value, "nce_idt")?,
        flip_equivariance: false,
        nce_layers: parse(value, "nce_layers")?,
        num_patches: whole(value, "num_patches")? as i64,
        netf_nc: whole(&value["projection"], "nc")? as i64,
        nce: PatchNce {
            temperature: number(value, "temperature")?,
            all_negatives: parse(value, "all_negatives")?,
        },
    })
}

fn cut_batch(case: &Case, settings: &CutSettings, step: usize) -> Result<CutBatch> {
    let mut positions = Vec::new();
    for set in if settings.nce_idt {
        &["A", "B"][..]
    } else {
        &["A"]
    } {
        let mut layers = Vec::new();
        for layer in 0..settings.nce_layers.len() {
            let stored = case.stored(&format!("ids.{step}.{set}.{layer}"))?;
            layers.push(stored.to_device(case.options.device));
        }
        positions.push(layers);
    }
    let flips: Vec<bool> = parse(case.value, "flip")?;
    Ok(CutBatch {
        real_a: case.input(&format!("real_A.{step}"))?,
        real_b: case.input(&format!("real_B.{step}"))?,
        flip: flips[step],
        positions,
    })
}

fn cut_networks(networks: &CutNetworks) -> [(&'static str, &VarStore); 3] {
    [
        ("G", &networks.generator.vs),
        ("F", &networks.projection.vs),
        ("D", &networks.discriminator.vs),
    ]
}

/// Steps of CUT or FastCUT.
pub fn cut(case: &mut Case) -> Result<()> {
    let settings = cut_settings(case)?;
    let networks = CutNetworks {
        generator: case.trainable("generator")?,
        projection: case.trainable("projection")?,
        discriminator: case.trainable("discriminator")?,
    };
    let mut results = Results::new(&cut_networks(&networks));
    let adam = &case.value["adam"];
    let learning_rate = number(adam, "lr")?;
    let mut cut = Cut::new(networks, settings.clone(), adam_settings(adam)?);
    for step in 0..whole(case.value, "steps")? {
        let batch = cut_batch(case, &settings, step)?;
        let computed = cut.step(&batch, step as u64, learning_rate);
        results.add_losses(computed.losses);
        if step == 0 {
            results.insert("fake_B.0", &computed.fake_b);
            if let Some(idt_b) = &computed.idt_b {
                results.insert("idt_B.0", idt_b);
            }
            results.add_gradients(computed.gradients);
            results.add_updates("first_update", &cut_networks(&cut.networks));
        }
    }
    results.add_updates("total_update", &cut_networks(&cut.networks));
    let x = case.input("real_A.0")?;
    let after = tch::no_grad(|| cut.networks.generator.translate(&x));
    results.insert("fake_after", &after);
    results.compare(case)
}

fn cyclegan_networks(networks: &CycleGanNetworks) -> [(&'static str, &VarStore); 4] {
    [
        ("G_A", &networks.generators.a.vs),
        ("G_B", &networks.generators.b.vs),
        ("D_A", &networks.discriminators.a.vs),
        ("D_B", &networks.discriminators.b.vs),
    ]
}

/// Steps of CycleGAN, so few that its pools are never full.
pub fn cyclegan(case: &mut Case) -> Result<()> {
    let value = case.value;
    let settings = CycleGanSettings {
        gan_mode: parse(value, "gan_mode")?,
        lambda_a: number(value, "lambda_a")?,
        lambda_b: number(value, "lambda_b")?,
        lambda_identity: number(value, "lambda_identity")?,
        pool_size: whole(value, "pool_size")?,
    };
    let networks = CycleGanNetworks {
        generators: Sides {
            a: case.trainable("generator_a")?,
            b: case.trainable("generator_b")?,
        },
        discriminators: Sides {
            a: case.trainable("discriminator_a")?,
            b: case.trainable("discriminator_b")?,
        },
    };
    let mut results = Results::new(&cyclegan_networks(&networks));
    let learning_rate = number(&value["adam"], "lr")?;
    let mut cyclegan = CycleGan::new(networks, settings, adam_settings(&value["adam"])?);
    let keep = Exchange {
        choice: 0.0,
        slot: 0,
    };
    let draws = vec![keep; whole(value, "batch")?];
    let draws = Sides {
        a: draws.clone(),
        b: draws,
    };
    for step in 0..whole(value, "steps")? {
        let [a, b] = ["A", "B"].map(|side| case.input(&format!("real_{side}.{step}")));
        let computed = cyclegan.step(&a?, &b?, &draws, step as u64, learning_rate);
        results.add_losses(computed.losses);
        if step == 0 {
            for (name, image) in &computed.images {
                results.insert(format!("{name}.0"), image);
            }
            results.add_gradients(computed.gradients);
            results.add_updates("first_update", &cyclegan_networks(&cyclegan.networks));
        }
    }
    results.add_updates("total_update", &cyclegan_networks(&cyclegan.networks));
    let x = case.input("real_A.0")?.to_kind(Kind::Float);
    let after = tch::no_grad(|| cyclegan.networks.generators.a.translate(&x));
    results.insert("fake_after", &after);
    results.compare(case)
}
