//! This project's kernels beside libtorch's, at the shapes of the embedded networks, each in the
//! layout that it gets in a network (this project's: channels last): `just bench-kernels`.

use divan::Bencher;
use egsde_metrics::frechet::{Statistics, frechet_distance};
use egsde_metrics::registry::{METRICS, per_image_values};
use egsde_models::layers::{Conv2d, ConvOptions, GroupNorm, channels_last};
use egsde_sampler::low_pass::{Kernel, LowPass};
use egsde_sampler::noise::{ImageNoise, Noise, Purpose};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

fn main() {
    divan::main();
}

/// Images per batch.
const BATCH: i64 = 16;

/// Standard normal values on the CPU.
fn draw(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

/// The shape of a 3 x 3 convolution.
#[derive(Debug, Clone, Copy)]
struct Shape {
    inputs: i64,
    outputs: i64,
    side: i64,
}

const fn shape(inputs: i64, outputs: i64, side: i64) -> Shape {
    Shape {
        inputs,
        outputs,
        side,
    }
}

const CONVOLUTIONS: [Shape; 4] = [
    shape(32, 32, 32),
    shape(96, 32, 32),
    shape(64, 64, 16),
    shape(128, 128, 8),
];

/// Whose code computes: only frozen layers take this project's kernels.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kernels {
    Own,
    Libtorch,
}

impl Kernels {
    /// Prepares a layer's weights and its input.
    fn prepare(self, vs: &mut VarStore, x: Tensor) -> Tensor {
        match self {
            Self::Own => {
                vs.freeze();
                channels_last(&x)
            }
            Self::Libtorch => x,
        }
    }
}

fn convolve(bencher: Bencher, shape: Shape, kernels: Kernels) {
    let mut vs = VarStore::new(Device::Cpu);
    let layer = Conv2d::new(vs.root(), shape.inputs, shape.outputs, ConvOptions::same(3));
    let x = kernels.prepare(
        &mut vs,
        draw(&[BATCH, shape.inputs, shape.side, shape.side]),
    );
    bencher.bench_local(|| tch::no_grad(|| layer.forward(&x)));
}

#[divan::bench(args = CONVOLUTIONS)]
fn convolution_winograd(bencher: Bencher, shape: Shape) {
    convolve(bencher, shape, Kernels::Own);
}

#[divan::bench(args = CONVOLUTIONS)]
fn convolution_libtorch(bencher: Bencher, shape: Shape) {
    convolve(bencher, shape, Kernels::Libtorch);
}

fn normalise(bencher: Bencher, kernels: Kernels) {
    let mut vs = VarStore::new(Device::Cpu);
    let layer = GroupNorm::new(vs.root(), 64);
    let x = kernels.prepare(&mut vs, draw(&[BATCH, 64, 16, 16]));
    let scale_shift = draw(&[BATCH, 128]);
    bencher.bench_local(|| tch::no_grad(|| layer.forward_silu(&x, Some(&scale_shift))));
}

#[divan::bench]
fn norm_scale_shift_silu_fused(bencher: Bencher) {
    normalise(bencher, Kernels::Own);
}

#[divan::bench]
fn norm_scale_shift_silu_libtorch(bencher: Bencher) {
    normalise(bencher, Kernels::Libtorch);
}

#[divan::bench]
fn low_pass_gradient(bencher: Bencher) {
    let low_pass = LowPass::new(32, 4, Kernel::Linear, Device::Cpu).unwrap();
    let x = draw(&[BATCH, 3, 32, 32]);
    bencher.bench_local(|| low_pass.transposed(&low_pass.filter(&x)));
}

#[divan::bench]
fn noise_of_16_images(bencher: Bencher) {
    let names = (0..BATCH).map(|i| format!("p{i}")).collect();
    let noise = ImageNoise {
        seed: 1,
        names,
        side: 32,
        device: Device::Cpu,
    };
    bencher.bench_local(|| noise.draw(Purpose::Step { repeat: 0, step: 3 }));
}

#[divan::bench]
fn per_image_metrics_of_128_images(bencher: Bencher) {
    let (source, translated) = (draw(&[128, 3, 32, 32]), draw(&[128, 3, 32, 32]));
    bencher.bench_local(|| per_image_values(&METRICS, &source, &translated).unwrap());
}

fn statistics(features: i64) -> Statistics {
    Statistics::from_features(&draw(&[1000, features])).unwrap()
}

#[divan::bench(args = [128, 512])]
fn frechet_distance_by_features(bencher: Bencher, features: i64) {
    let (a, b) = (statistics(features), statistics(features));
    bencher.bench_local(|| frechet_distance(&a, &b).unwrap());
}
