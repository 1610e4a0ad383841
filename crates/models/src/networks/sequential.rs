//! Layers in one sequential list, as the networks of CUT and CycleGAN number them (`model.N`).

use crate::layers::{
    Conv2d, ConvOptions, ConvTranspose2d, InstanceNorm, blur_down, blur_up, leaky_relu,
};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::Path;

/// The normalisation of a GAN's networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Per image and channel, without weights and without running statistics.
    Instance,
}

/// Two 3x3 convolutions on mirrored borders, each with a normalisation, added to their input; a
/// ReLU between them and none behind the sum.
#[derive(Debug)]
pub(super) struct ResnetBlock {
    convs: [Conv2d; 2],
    norm: InstanceNorm,
}

impl ResnetBlock {
    fn new(path: &Path, channels: i64) -> Self {
        let at = path / "conv_block";
        let options = ConvOptions::same(3).no_padding();
        Self {
            convs: [1, 5].map(|index| Conv2d::new(&at / index, channels, channels, options)),
            norm: InstanceNorm::plain(),
        }
    }

    fn convolve(&self, index: usize, x: &Tensor) -> Tensor {
        let h = self.convs[index].forward(&x.reflection_pad2d([1; 4]));
        self.norm.forward(&h)
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x + self.convolve(1, &self.convolve(0, x).relu())
    }
}

/// One entry of the list.
#[derive(Debug)]
pub(super) enum Layer {
    /// Mirrors so many pixels at each border.
    ReflectionPad(i64),
    Conv(Conv2d),
    ConvTranspose(ConvTranspose2d),
    Norm(InstanceNorm),
    Relu,
    LeakyRelu,
    BlurDown,
    BlurUp,
    Block(ResnetBlock),
    Tanh,
}

impl Layer {
    fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::ReflectionPad(side) => x.reflection_pad2d([*side; 4]),
            Self::Conv(conv) => conv.forward(x),
            Self::ConvTranspose(conv) => conv.forward(x),
            Self::Norm(norm) => norm.forward(x),
            Self::Relu => x.relu(),
            Self::LeakyRelu => leaky_relu(x),
            Self::BlurDown => blur_down(x),
            Self::BlurUp => blur_up(x),
            Self::Block(block) => block.forward(x),
            Self::Tanh => x.tanh(),
        }
    }
}

/// The list under construction: a layer's key is its place in it.
pub(super) struct Builder<'a> {
    path: Path<'a>,
    layers: Vec<Layer>,
}

impl<'a> Builder<'a> {
    /// An empty list whose layers register under `path` and their place.
    pub fn new(path: Path<'a>) -> Self {
        Self {
            path,
            layers: Vec::new(),
        }
    }

    pub fn push(&mut self, layer: Layer) {
        self.layers.push(layer);
    }

    pub fn conv(&mut self, inputs: i64, outputs: i64, options: ConvOptions) {
        let at = &self.path / self.layers.len();
        self.push(Layer::Conv(Conv2d::new(at, inputs, outputs, options)));
    }

    pub fn conv_transpose(&mut self, inputs: i64, outputs: i64) {
        let at = &self.path / self.layers.len();
        self.push(Layer::ConvTranspose(ConvTranspose2d::new(
            at, inputs, outputs,
        )));
    }

    pub fn norm(&mut self, norm: Norm) {
        match norm {
            Norm::Instance => self.push(Layer::Norm(InstanceNorm::plain())),
        }
    }

    pub fn block(&mut self, channels: i64) {
        let at = &self.path / self.layers.len();
        self.push(Layer::Block(ResnetBlock::new(&at, channels)));
    }

    pub fn finish(self) -> Sequential {
        Sequential {
            layers: self.layers,
        }
    }
}

/// The finished list.
#[derive(Debug)]
pub(super) struct Sequential {
    layers: Vec<Layer>,
}

/// What a list computes, and what some of its layers gave.
pub(super) struct Traced {
    /// Output of the last layer that was applied.
    pub out: Tensor,
    /// Outputs of the layers asked for, in their order.
    pub features: Vec<Tensor>,
}

impl Sequential {
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.trace(x, &[], self.len()).out
    }

    /// Applies the first `count` layers and keeps the outputs of those at `wanted`.
    pub fn trace(&self, x: &Tensor, wanted: &[usize], count: usize) -> Traced {
        let mut out = x.shallow_clone();
        let mut kept: Vec<(usize, Tensor)> = Vec::new();
        for (index, layer) in self.layers.iter().enumerate().take(count) {
            out = layer.forward(&out);
            if wanted.contains(&index) {
                kept.push((index, out.shallow_clone()));
            }
        }
        let mut features = Vec::new();
        for index in wanted {
            let found = kept.iter().find(|(place, _)| place == index);
            let (_, feature) = found.expect("a wanted layer is among the first `count`");
            features.push(feature.shallow_clone());
        }
        Traced { out, features }
    }
}
