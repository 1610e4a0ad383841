//! The training objectives: each is a network and its loss on a random batch.

use crate::augment::augment;
use crate::data::{Labelled, TrainingData};
use crate::recipe::{ObjectiveKind, Recipe};
use anyhow::{Result, ensure};
use egsde_models::layers::Mode;
use egsde_models::networks::{Build, Loaded};
use egsde_models::{AdmUnet, CifarFeatures, Dse, NetworkConfig};
use egsde_sampler::schedule::Schedule;
use tch::nn::VarStore;
use tch::{Device, Kind, Reduction, Tensor};

/// Images as bytes, `[n, 3, s, s]`, with labels in `0..classes`, `[n]`.
pub(crate) struct Split {
    images: Tensor,
    labels: Tensor,
}

/// Images in [0, 1], `[n, 3, s, s]`, float32, with labels in `0..classes`, `[n]`.
pub(crate) struct Batch {
    pub images: Tensor,
    pub labels: Tensor,
}

impl Batch {
    fn from_bytes(images: &Tensor, labels: Tensor) -> Self {
        Self {
            images: images.to_kind(Kind::Float) / 255.0,
            labels,
        }
    }

    pub(crate) fn len(&self) -> i64 {
        self.images.size()[0]
    }
}

impl Split {
    /// Images and labels on a device. Images stay bytes, a quarter of the memory.
    fn new(data: &Labelled, device: Device) -> Self {
        let Labelled { images, labels } = data;
        Self {
            images: images.byte_tensor().to_device(device),
            labels: Tensor::from_slice(labels).to_device(device),
        }
    }

    pub(crate) fn len(&self) -> i64 {
        self.images.size()[0]
    }

    /// Side of the images in pixels.
    pub(crate) fn side(&self) -> i64 {
        self.images.size()[3]
    }

    /// At most `count` images from `start` on.
    pub(crate) fn rows(&self, start: i64, count: i64) -> Batch {
        let count = count.min(self.len() - start);
        let images = self.images.narrow(0, start, count);
        Batch::from_bytes(&images, self.labels.narrow(0, start, count))
    }

    /// `count` random images, with replacement.
    fn draw(&self, count: i64) -> Batch {
        let indices = Tensor::randint(self.len(), [count], (Kind::Int64, self.images.device()));
        let images = self.images.index_select(0, &indices);
        Batch::from_bytes(&images, self.labels.index_select(0, &indices))
    }
}

/// The network that is trained.
pub(crate) enum Network {
    Diffusion(Box<Loaded<AdmUnet>>),
    NoisedClassifier(Box<Loaded<Dse>>),
    Classifier(Box<Loaded<CifarFeatures>>),
}

/// Images at some time of the forward process, both `[n, 3, s, s]`.
pub(crate) struct NoisedImages {
    pub xt: Tensor,
    /// The noise in them.
    pub noise: Tensor,
}

/// A network with its data and loss.
pub(crate) struct Objective {
    pub network: Network,
    pub train: Split,
    pub held_out: Split,
    alphas_cumprod: Tensor,
}

fn fresh_network<N: Build>(recipe: &Recipe, device: Device, kind: Kind) -> Result<Box<Loaded<N>>> {
    Ok(Box::new(Loaded::fresh(&recipe.network, device, kind)?))
}

impl Objective {
    /// A fresh network of the recipe, with its classes' images on `device`.
    ///
    /// # Errors
    /// A network of another kind than the objective trains, or a class without images.
    pub(crate) fn new(
        recipe: &Recipe,
        data: &TrainingData,
        device: Device,
        kind: Kind,
    ) -> Result<Self> {
        let network = match recipe.task {
            ObjectiveKind::Diffusion => Network::Diffusion(fresh_network(recipe, device, kind)?),
            ObjectiveKind::NoisedClassifier => {
                Network::NoisedClassifier(fresh_network(recipe, device, kind)?)
            }
            ObjectiveKind::Classifier => Network::Classifier(fresh_network(recipe, device, kind)?),
        };
        if let NetworkConfig::AdmUnet(config) = &recipe.network {
            ensure!(
                !config.learn_sigma,
                "training learned sigma is not supported: set learn_sigma to false"
            );
            ensure!(
                config.num_classes.is_none(),
                "training with classes is not supported: leave class_cond out"
            );
        }
        let train = Split::new(&data.train, device);
        let held_out = Split::new(&data.held_out, device);
        let classes = recipe.classes.join(", ");
        ensure!(train.len() > 0, "no training pictures of classes {classes}");
        let schedule = Schedule::ddpm();
        let alphas_cumprod: Vec<f32> = schedule.alphas_cumprod.iter().map(|a| *a as f32).collect();
        let alphas_cumprod = Tensor::from_slice(&alphas_cumprod).to_device(device);
        Ok(Self {
            network,
            train,
            held_out,
            alphas_cumprod,
        })
    }

    /// The variables of the network.
    pub(crate) fn vs(&self) -> &VarStore {
        match &self.network {
            Network::Diffusion(network) => &network.vs,
            Network::NoisedClassifier(network) => &network.vs,
            Network::Classifier(network) => &network.vs,
        }
    }

    /// A draw of the forward process for images `x` in [0, 1] at time indices `t` `[n]`.
    pub(crate) fn add_noise(&self, x: &Tensor, t: &Tensor) -> NoisedImages {
        let noise = x.randn_like();
        let alpha_prod = self
            .alphas_cumprod
            .index_select(0, t)
            .reshape([-1, 1, 1, 1]);
        let signal: Tensor = x * 2.0 - 1.0;
        let variance: Tensor = 1.0 - &alpha_prod;
        NoisedImages {
            xt: alpha_prod.sqrt() * signal + variance.sqrt() * &noise,
            noise,
        }
    }

    /// Random time indices below the recipe's `t_max`, one per image of a batch.
    fn draw_times(&self, recipe: &Recipe) -> Tensor {
        let options = (Kind::Int64, self.train.images.device());
        Tensor::randint(recipe.t_max, [recipe.batch_size], options)
    }

    /// Mean loss of a random batch.
    pub(crate) fn loss(&self, recipe: &Recipe) -> Tensor {
        let Batch { images, labels } = self.train.draw(recipe.batch_size);
        let x = augment(&images, recipe.augment);
        match &self.network {
            Network::Diffusion(network) => {
                let Loaded { net, kind, .. } = network.as_ref();
                let t = self.draw_times(recipe);
                let NoisedImages { xt, noise } = self.add_noise(&x, &t);
                let eps = net.forward(&xt, &t.to_kind(Kind::Float), *kind, Mode::Train);
                eps.mse_loss(&noise, Reduction::Mean)
            }
            Network::NoisedClassifier(network) => {
                let Loaded { net, kind, .. } = network.as_ref();
                let t = self.draw_times(recipe);
                let xt = self.add_noise(&x, &t).xt;
                let features = net.features(&xt, &t.to_kind(Kind::Float), *kind, Mode::Train);
                cross_entropy(
                    &net.logits(&features, *kind),
                    &labels,
                    recipe.label_smoothing,
                )
            }
            Network::Classifier(network) => {
                let Loaded { net, kind, .. } = network.as_ref();
                let logits = net.logits(&net.features(&x, *kind, Mode::Train));
                cross_entropy(&logits, &labels, recipe.label_smoothing)
            }
        }
    }
}

fn cross_entropy(logits: &Tensor, labels: &Tensor, label_smoothing: f64) -> Tensor {
    // PyTorch's default for the label that is ignored.
    const IGNORED_LABEL: i64 = -100;
    let reduction = Reduction::Mean;
    logits.cross_entropy_loss::<Tensor>(labels, None, reduction, IGNORED_LABEL, label_smoothing)
}
