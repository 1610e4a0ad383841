//! The three things that are trained: a loss on a batch each.

use crate::augment::augment;
use crate::recipe::{Recipe, TaskKind};
use anyhow::{Context, Result, bail, ensure};
use egsde_metrics::cifar10::{CLASSES, Cifar10, Labelled};
use egsde_models::network::{Build, Loaded};
use egsde_models::{AdmUnet, CifarFeatures, Dse};
use egsde_sampler::schedule::Schedule;
use tch::nn::VarStore;
use tch::{Device, Kind, Reduction, Tensor};

/// Pictures in [0, 1] with labels `0..classes`.
pub(crate) struct Split {
    pub x: Tensor,
    pub y: Tensor,
}

impl Split {
    fn of(data: &Labelled, classes: &[String], device: Device) -> Result<Self> {
        let mut label_of = [None; 10];
        for (label, name) in classes.iter().enumerate() {
            let at = CLASSES.iter().position(|c| c == name);
            let at = at.with_context(|| {
                format!(
                    "no CIFAR-10 class {name:?}; there are {}",
                    CLASSES.join(", ")
                )
            })?;
            label_of[at] = Some(label as i64);
        }
        let chosen: Vec<usize> = (0..data.labels.len())
            .filter(|i| label_of[usize::from(data.labels[*i])].is_some())
            .collect();
        let labels: Vec<i64> = chosen
            .iter()
            .filter_map(|i| label_of[usize::from(data.labels[*i])])
            .collect();
        let x = data.pictures.select(&chosen).tensor().to_device(device);
        Ok(Self {
            x,
            y: Tensor::from_slice(&labels).to_device(device),
        })
    }

    pub(crate) fn len(&self) -> i64 {
        self.x.size()[0]
    }

    pub(crate) fn rows(&self, start: i64, count: i64) -> Self {
        let count = count.min(self.len() - start);
        Self {
            x: self.x.narrow(0, start, count),
            y: self.y.narrow(0, start, count),
        }
    }

    fn draw(&self, count: i64) -> (Tensor, Tensor) {
        let at = Tensor::randint(self.len(), [count], (Kind::Int64, self.x.device()));
        (self.x.index_select(0, &at), self.y.index_select(0, &at))
    }
}

pub(crate) enum Network {
    Diffusion(Box<Loaded<AdmUnet>>),
    Noised(Box<Loaded<Dse>>),
    Clean(Box<Loaded<CifarFeatures>>),
}

pub(crate) struct Task {
    pub network: Network,
    pub train: Split,
    pub test: Split,
    alphas_cumprod: Tensor,
}

fn fresh<N: Build>(recipe: &Recipe, device: Device, kind: Kind) -> Result<Loaded<N>> {
    Loaded::fresh(&recipe.network, device, kind)
}

impl Task {
    pub(crate) fn new(recipe: &Recipe, data: &Cifar10, device: Device, kind: Kind) -> Result<Self> {
        let network = match recipe.task {
            TaskKind::Diffusion => Network::Diffusion(Box::new(fresh(recipe, device, kind)?)),
            TaskKind::NoisedClassifier => Network::Noised(Box::new(fresh(recipe, device, kind)?)),
            TaskKind::Classifier => Network::Clean(Box::new(fresh(recipe, device, kind)?)),
        };
        if let egsde_models::NetworkConfig::AdmUnet(c) = &recipe.network {
            ensure!(
                !c.learn_sigma,
                "training learned sigma is not supported: set learn_sigma to false"
            );
        }
        let (train, test) = (
            Split::of(&data.train, &recipe.classes, device)?,
            Split::of(&data.test, &recipe.classes, device)?,
        );
        if train.len() == 0 {
            bail!(
                "no training pictures of classes {}",
                recipe.classes.join(", ")
            );
        }
        let alphas: Vec<f32> = Schedule::ddpm()
            .alphas_cumprod
            .iter()
            .map(|a| *a as f32)
            .collect();
        Ok(Self {
            network,
            train,
            test,
            alphas_cumprod: Tensor::from_slice(&alphas).to_device(device),
        })
    }

    pub(crate) fn vs(&self) -> &VarStore {
        match &self.network {
            Network::Diffusion(l) => &l.vs,
            Network::Noised(l) => &l.vs,
            Network::Clean(l) => &l.vs,
        }
    }

    /// x_t and e for pictures `x` in [0, 1] at indices `t`.
    pub(crate) fn noised(&self, x: &Tensor, t: &Tensor) -> (Tensor, Tensor) {
        let noise = x.randn_like();
        let a = self
            .alphas_cumprod
            .index_select(0, t)
            .reshape([-1, 1, 1, 1]);
        let signal: Tensor = x * 2.0 - 1.0;
        let scale: Tensor = 1.0 - &a;
        (a.sqrt() * signal + scale.sqrt() * &noise, noise)
    }

    fn draw_times(&self, recipe: &Recipe) -> Tensor {
        Tensor::randint(
            recipe.t_max,
            [recipe.batch_size],
            (Kind::Int64, self.train.x.device()),
        )
    }

    /// Mean loss of a fresh random batch.
    pub(crate) fn loss(&self, recipe: &Recipe) -> Tensor {
        let (x, y) = self.train.draw(recipe.batch_size);
        let x = augment(&x, recipe.augment);
        match &self.network {
            Network::Diffusion(l) => {
                let t = self.draw_times(recipe);
                let (xt, noise) = self.noised(&x, &t);
                let eps = l.net.forward(&xt, &t.to_kind(Kind::Float), l.kind, true);
                eps.mse_loss(&noise, Reduction::Mean)
            }
            Network::Noised(l) => {
                let t = self.draw_times(recipe);
                let (xt, _) = self.noised(&x, &t);
                let features = l.net.features(&xt, &t.to_kind(Kind::Float), l.kind, true);
                cross_entropy(&l.net.logits(&features, l.kind), &y, recipe.label_smoothing)
            }
            Network::Clean(l) => {
                let logits = l.net.logits(&l.net.features(&x, l.kind, true));
                cross_entropy(&logits, &y, recipe.label_smoothing)
            }
        }
    }
}

fn cross_entropy(logits: &Tensor, y: &Tensor, smoothing: f64) -> Tensor {
    logits.cross_entropy_loss::<Tensor>(y, None, Reduction::Mean, -100, smoothing)
}
