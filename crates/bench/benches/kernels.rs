//! This project's kernels beside libtorch's, at the shapes of the embedded networks, each in the layout that it gets in a
//! network (this project's: channels last): `just bench-kernels`.

use divan::Bencher;
use egsde_metrics::frechet::{Statistics, frechet_distance};
use egsde_metrics::pair::pair_scores;
use egsde_models::layers::{Conv2d, ConvOptions, GroupNorm, channels_last};
use egsde_sampler::low_pass::{Kernel, LowPass};
use egsde_sampler::noise::{Noise, PictureNoise, Purpose};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

fn main() {
    divan::main();
}

fn draw(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

/// Channels in and out, side; 16 pictures.
const CONVOLUTIONS: [(i64, i64, i64); 4] =
    [(32, 32, 32), (96, 32, 32), (64, 64, 16), (128, 128, 8)];

/// A layer of its own weights; only a frozen one takes this project's kernels.
fn convolution((inputs, outputs, _): (i64, i64, i64), frozen: bool) -> (VarStore, Conv2d) {
    let mut vs = VarStore::new(Device::Cpu);
    let layer = Conv2d::new(vs.root(), inputs, outputs, ConvOptions::same(3));
    if frozen {
        vs.freeze();
    }
    (vs, layer)
}

fn convolve(bencher: Bencher, shape: (i64, i64, i64), frozen: bool) {
    let ((_vs, layer), x) = (
        convolution(shape, frozen),
        draw(&[16, shape.0, shape.2, shape.2]),
    );
    let x = if frozen { channels_last(&x) } else { x };
    bencher.bench_local(|| tch::no_grad(|| layer.forward(&x)));
}

#[divan::bench(args = CONVOLUTIONS)]
fn convolution_winograd(bencher: Bencher, shape: (i64, i64, i64)) {
    convolve(bencher, shape, true);
}

#[divan::bench(args = CONVOLUTIONS)]
fn convolution_libtorch(bencher: Bencher, shape: (i64, i64, i64)) {
    convolve(bencher, shape, false);
}

fn normalise(bencher: Bencher, frozen: bool) {
    let mut vs = VarStore::new(Device::Cpu);
    let layer = GroupNorm::new(vs.root(), 64, 32, 1e-5);
    if frozen {
        vs.freeze();
    }
    let (x, scale_shift) = (draw(&[16, 64, 16, 16]), draw(&[16, 128]));
    let x = if frozen { channels_last(&x) } else { x };
    bencher.bench_local(|| tch::no_grad(|| layer.forward_silu(&x, Some(&scale_shift))));
}

#[divan::bench]
fn norm_scale_shift_silu_fused(bencher: Bencher) {
    normalise(bencher, true);
}

#[divan::bench]
fn norm_scale_shift_silu_libtorch(bencher: Bencher) {
    normalise(bencher, false);
}

#[divan::bench]
fn low_pass_gradient(bencher: Bencher) {
    let (low_pass, x) = (
        LowPass::new(32, 4, Kernel::Linear, Device::Cpu).unwrap(),
        draw(&[16, 3, 32, 32]),
    );
    bencher.bench_local(|| low_pass.transposed(&low_pass.filter(&x)));
}

#[divan::bench]
fn noise_of_16_pictures(bencher: Bencher) {
    let noise = PictureNoise {
        seed: 1,
        names: (0..16).map(|i| format!("p{i}")).collect(),
        side: 32,
        device: Device::Cpu,
    };
    bencher.bench_local(|| noise.draw(Purpose::Step { repeat: 0, step: 3 }));
}

#[divan::bench]
fn pair_scores_of_128_pictures(bencher: Bencher) {
    let (a, b) = (draw(&[128, 3, 32, 32]), draw(&[128, 3, 32, 32]));
    bencher.bench_local(|| pair_scores(&a, &b).unwrap());
}

#[divan::bench(args = [128, 512])]
fn frechet_distance_of(bencher: Bencher, features: i64) {
    let of = || Statistics::of(&draw(&[1000, features])).unwrap();
    let (a, b) = (of(), of());
    bencher.bench_local(|| frechet_distance(&a, &b).unwrap());
}
