//! The training objectives: each is a network and its loss on a random batch.

use crate::augment::augment;
use crate::recipe::{ObjectiveKind, Recipe};
use anyhow::{Context, Result, ensure};
use egsde_data::cifar10::{CLASSES, Cifar10, LabelledImages};
use egsde_models::layers::Mode;
use egsde_models::networks::{Build, Loaded};
use egsde_models::{AdmUnet, CifarFeatures, Dse, NetworkConfig};
use egsde_sampler::schedule::Schedule;
use tch::nn::VarStore;
use tch::{Device, Kind, Reduction, Tensor};

/// Images in [0, 1], `[n, 3, s, s]`, with labels in `0..classes`, `[n]`.
pub(crate) struct Split {
    pub images: Tensor,
    pub labels: Tensor,
}

/// The label that each CIFAR-10 class has in training; none for classes that take no part.
fn training_labels(classes: &[String]) -> Result<[Option<i64>; CLASSES.len()]> {
    let mut labels = [None; CLASSES.len()];
    for (label, name) in classes.iter().enumerate() {
        let index = CLASSES
            .iter()
            .position(|class| class == name)
            .with_context(|| {
                format!(
                    "no CIFAR-10 class {name:?}; there are {}",
                    CLASSES.join(", ")
                )
            })?;
        labels[index] = Some(label as i64);
    }
    Ok(labels)
}

impl Split {
    /// The images of the given classes, labelled by their order.
    fn select_classes(data: &LabelledImages, classes: &[String], device: Device) -> Result<Self> {
        let training_labels = training_labels(classes)?;
        let (mut indices, mut labels) = (Vec::new(), Vec::new());
        for (index, class) in data.labels.iter().enumerate() {
            if let Some(label) = training_labels[usize::from(*class)] {
                indices.push(index);
                labels.push(label);
            }
        }
        let images = data.images.select(&indices).tensor().to_device(device);
        Ok(Self {
            images,
            labels: Tensor::from_slice(&labels).to_device(device),
        })
    }

    pub(crate) fn len(&self) -> i64 {
        self.images.size()[0]
    }

    /// At most `count` images from `start` on.
    pub(crate) fn rows(&self, start: i64, count: i64) -> Self {
        let count = count.min(self.len() - start);
        Self {
            images: self.images.narrow(0, start, count),
            labels: self.labels.narrow(0, start, count),
        }
    }

    /// `count` random images, with replacement.
    fn draw(&self, count: i64) -> Self {
        let indices = Tensor::randint(self.len(), [count], (Kind::Int64, self.images.device()));
        Self {
            images: self.images.index_select(0, &indices),
            labels: self.labels.index_select(0, &indices),
        }
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
    pub test: Split,
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
    pub(crate) fn new(recipe: &Recipe, data: &Cifar10, device: Device, kind: Kind) -> Result<Self> {
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
        }
        let train = Split::select_classes(&data.train, &recipe.classes, device)?;
        let test = Split::select_classes(&data.test, &recipe.classes, device)?;
        let classes = recipe.classes.join(", ");
        ensure!(train.len() > 0, "no training pictures of classes {classes}");
        let schedule = Schedule::ddpm();
        let alphas_cumprod: Vec<f32> = schedule.alphas_cumprod.iter().map(|a| *a as f32).collect();
        let alphas_cumprod = Tensor::from_slice(&alphas_cumprod).to_device(device);
        Ok(Self {
            network,
            train,
            test,
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
        let Split { images, labels } = self.train.draw(recipe.batch_size);
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
