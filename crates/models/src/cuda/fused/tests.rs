use super::testing::{CODE, Emulation, kernels_of};
use super::*;
use crate::kernels::testing::draw;
use crate::layers::{Conv2d, ConvOptions, Embedding, GroupNorm};
use tch::nn::VarStore;

/// A layer and its input, with what is expected of it in float64.
struct Sample {
    shape: [i64; 4],
    groups: usize,
    /// Added to `x`.
    mean: f64,
    /// Rows of scale and shift; none: there is neither.
    scale_rows: Option<i64>,
    /// Rows of what is added to the input; none: nothing is.
    added_rows: Option<i64>,
    activation: Activation,
}

/// Errors of value and gradient of the kernels against float64, for input of this kind.
fn errors(emulation: &Emulation, kind: Kind, sample: &Sample) -> [f64; 2] {
    let [_, c, ..] = sample.shape;
    let (weight, bias) = (draw(&[c]), draw(&[c]));
    let scale_shift = sample.scale_rows.map(|rows| draw(&[rows, 2 * c]));
    let parameters = GroupNormParameters {
        weight: &weight,
        bias: &bias,
        groups: sample.groups,
        eps: 1e-5,
        scale_shift: scale_shift.as_ref(),
        activation: sample.activation,
    };
    let x = (draw(&sample.shape) + sample.mean).to_kind(kind);
    let gradient = draw(&sample.shape).to_kind(kind);
    let added = sample.added_rows.map(|rows| draw(&[rows, c]) * 3.0);
    let added = added.as_ref();
    let (out, pass) = FusedPass::new(emulation.kernels(), &x, added, &parameters).unwrap();
    let got = pass.gradient(&gradient).unwrap();
    let (want, back) = by_autograd(&x.to_kind(Kind::Double), |x| {
        by_libtorch(x, added, &parameters, Kind::Double)
    });
    assert_eq!((out.kind(), out.size()), (kind, x.size()));
    assert_eq!((got.kind(), got.size()), (kind, x.size()));
    [
        relative_error(&out, &want),
        relative_error(&got, &back(&gradient.to_kind(Kind::Double))),
    ]
}

/// Checks value and gradient for several shapes: of few channels and many, whose pixels do not
/// divide into pieces or rows, with one pixel, and with groups of one channel.
fn check_values_and_gradients(kind: Kind, bound: f64) {
    tch::manual_seed(1);
    let emulation = Emulation::new(kind);
    for (shape, groups) in [
        ([2, 32, 4, 4], 32),
        ([3, 64, 9, 7], 32),
        ([1, 96, 40, 41], 32),
        ([2, 2080, 1, 3], 32),
        ([1, 128, 1, 1], 32),
        ([2, 8, 33, 65], 2),
    ] {
        for activation in [Activation::Identity, Activation::Silu] {
            let all = Some(shape[0]);
            for (scale_rows, added_rows, mean) in
                [(None, None, 0.0), (Some(1), all, -3.0), (all, Some(1), 1.0)]
            {
                let sample = Sample {
                    shape,
                    groups,
                    mean,
                    scale_rows,
                    added_rows,
                    activation,
                };
                for error in errors(&emulation, kind, &sample) {
                    assert!(error < bound, "{shape:?}, {scale_rows:?}: {error}");
                }
            }
        }
    }
}

#[test]
fn value_and_gradient_in_float32_are_the_formulas() {
    check_values_and_gradients(Kind::Float, 4e-6);
}

#[test]
fn value_and_gradient_in_bf16_are_the_formulas_rounded_once() {
    // A number is rounded by at most 2^-8 of itself.
    check_values_and_gradients(Kind::BFloat16, 1.0 / 256.0 + 1e-5);
}

#[test]
fn neither_a_large_mean_nor_a_first_pixel_that_stands_out_costs_digits() {
    tch::manual_seed(2);
    let emulation = Emulation::new(Kind::Float);
    let sample = Sample {
        shape: [1, 32, 48, 48],
        groups: 32,
        mean: 500.0,
        scale_rows: None,
        added_rows: None,
        activation: Activation::Identity,
    };
    // The mean itself is rounded to 3e-5.
    let [value, gradient] = errors(&emulation, Kind::Float, &sample);
    assert!(value < 2e-5 && gradient < 4e-6, "{value} {gradient}");
    let x = draw(&[1, 32, 48, 48]);
    let _ = x.select(3, 0).select(2, 0).fill_(1000.0);
    let (weight, bias) = (draw(&[32]), draw(&[32]));
    let parameters = GroupNormParameters {
        weight: &weight,
        bias: &bias,
        groups: 32,
        eps: 1e-5,
        scale_shift: None,
        activation: Activation::Identity,
    };
    let (out, _) = FusedPass::new(emulation.kernels(), &x, None, &parameters).unwrap();
    let want = by_libtorch(&x, None, &parameters, Kind::Double);
    // Without the first pixel, whose own value is 48 deviations.
    let [out, want] = [out.to_kind(Kind::Double), want].map(|t| t.narrow(2, 1, 47));
    assert!(relative_error(&out, &want) < 4e-6);
}

#[test]
fn the_order_of_threads_and_the_rest_of_the_batch_change_no_bit() {
    tch::manual_seed(3);
    for kind in [Kind::Float, Kind::BFloat16] {
        let emulation = Emulation::new(kind);
        let x = draw(&[3, 64, 20, 21]).to_kind(kind);
        let gradient = draw(&[3, 64, 20, 21]).to_kind(kind);
        let (weight, bias) = (draw(&[64]), draw(&[64]));
        let parameters = GroupNormParameters {
            weight: &weight,
            bias: &bias,
            groups: 32,
            eps: 1e-5,
            scale_shift: None,
            activation: Activation::Silu,
        };
        let [forwards, backwards] = [false, true].map(|on| {
            emulation.take_turns_backwards(on);
            let (out, pass) = FusedPass::new(emulation.kernels(), &x, None, &parameters).unwrap();
            (out, pass.gradient(&gradient).unwrap())
        });
        assert!(forwards.0.equal(&backwards.0) && forwards.1.equal(&backwards.1));
        let last = [&x, &gradient].map(|t| t.narrow(0, 2, 1));
        let (out, pass) = FusedPass::new(emulation.kernels(), &last[0], None, &parameters).unwrap();
        assert!(out.equal(&forwards.0.narrow(0, 2, 1)));
        let alone = pass.gradient(&last[1]).unwrap();
        assert!(alone.equal(&forwards.1.narrow(0, 2, 1)));
    }
}

#[test]
fn the_check_before_use_passes_right_kernels_and_refuses_wrong_ones() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let emulation = Emulation::new(kind);
        check_against_libtorch(emulation.kernels()).unwrap();
    }
    let emulation = Emulation::new(Kind::BFloat16);
    // Kernels that take float32 for bf16; they stay inside the memory, which is half of it.
    let wrong = Module::load(emulation.library(), 0, CODE).unwrap();
    let error = check_against_libtorch(&kernels_of(wrong, Kind::Float)).unwrap_err();
    assert!(error.contains("differ from libtorch by"), "{error}");
}

#[test]
fn what_the_driver_refuses_is_told() {
    let driver = Emulation::new(Kind::Float).library();
    let error = Module::load(driver, 1, CODE).unwrap_err();
    assert_eq!(error, "cuDeviceGet gave 101");
    let error = Module::load(driver, 0, b"machine code").unwrap_err();
    assert_eq!(error, "cuModuleLoadData gave 200");
}

#[test]
fn other_shapes_and_kinds_are_left_to_libtorch() {
    let _emulation = Emulation::new(Kind::Float);
    let numbers = draw(&[8192]);
    for (shape, kind) in [
        (vec![2, 64, 9], Kind::Float),
        (vec![1, 8192, 1, 1], Kind::Float),
        (vec![0, 64, 3, 3], Kind::Float),
        (vec![1, 64, 3, 3], Kind::Half),
    ] {
        let c = shape[1];
        let weight = numbers.narrow(0, 0, c);
        let parameters = GroupNormParameters {
            weight: &weight,
            bias: &weight,
            groups: 32,
            eps: 1e-5,
            scale_shift: None,
            activation: Activation::Silu,
        };
        let x = draw(&shape).to_kind(kind);
        assert!(
            FusedPass::forward(&x, None, &parameters).is_none(),
            "{shape:?}"
        );
        let short = GroupNormParameters {
            weight: &numbers.narrow(0, 0, 32),
            ..parameters
        };
        let x = draw(&[1, 64, 3, 3]);
        assert!(
            FusedPass::forward(&x, None, &short).is_none(),
            "32 weights of 64"
        );
    }
}

/// A frozen layer, an input `[2, 64, 5, 6]` and its scale and shift.
fn frozen_layer() -> (VarStore, GroupNorm, Tensor, Tensor) {
    tch::manual_seed(4);
    let mut vs = VarStore::new(Device::Cpu);
    let norm = GroupNorm::new(vs.root(), 64);
    vs.freeze();
    (vs, norm, draw(&[2, 64, 5, 6]), draw(&[2, 128]))
}

#[test]
fn a_refused_launch_leaves_value_and_gradient_to_libtorch() {
    let (_vs, norm, x, scale_shift) = frozen_layer();
    let gradient = draw(&[2, 64, 5, 6]);
    let want = norm.forward_silu(&x, Some(&scale_shift));
    let (_, back) = by_autograd(&x, |x| norm.forward_silu(x, Some(&scale_shift)));
    let want_gradient = back(&gradient);
    for successful in 0..6 {
        let emulation = Emulation::new(Kind::Float);
        emulation.fail_after(successful);
        let out = norm.pullback_silu(&x, Some(&scale_shift));
        // The first three launches are of the value.
        let got = match out {
            Some((out, back)) => {
                assert!(relative_error(&out, &want) < 1e-5);
                back(&gradient)
            }
            None => panic!("processors have a kernel for it too"),
        };
        assert!(relative_error(&got, &want_gradient) < 1e-5);
        let has_failed = emulation.kernels().has_failed.load(Ordering::Relaxed);
        assert!(has_failed, "after {successful}");
        let launches = emulation.launches();
        let out = norm.forward_silu(&x, Some(&scale_shift));
        assert!(relative_error(&out, &want) < 1e-5);
        assert_eq!(emulation.launches(), launches, "no kernel is tried again");
    }
}

#[test]
fn a_convolutions_bias_and_the_embedding_are_added_within_the_kernel() {
    tch::manual_seed(5);
    let mut vs = VarStore::new(Device::Cpu);
    let norm = GroupNorm::new(vs.root() / "norm", 64);
    let conv = Conv2d::new(vs.root() / "conv", 32, 64, ConvOptions::same(3));
    vs.freeze();
    let (x, gradient) = (draw(&[2, 32, 5, 6]), draw(&[2, 64, 5, 6]));
    let (scale_shift, shift) = (draw(&[2, 128]), draw(&[1, 64]) * 3.0);
    for embedding in [
        Embedding::None,
        Embedding::Added(&shift),
        Embedding::ScaleShift(&scale_shift),
    ] {
        let want = norm.forward_silu_of(&conv, &x, embedding);
        let (_, back) = norm.pullback_silu_of(&conv, &x, embedding).unwrap();
        let want_gradient = back(&gradient);
        // The driver refuses a launch of the value, one of the gradient, none.
        for successful in [0, 4, 100] {
            let emulation = Emulation::new(Kind::Float);
            emulation.fail_after(successful);
            let launches = emulation.launches();
            let (out, back) = norm.pullback_silu_of(&conv, &x, embedding).unwrap();
            let errors = [
                relative_error(&out, &want),
                relative_error(&back(&gradient), &want_gradient),
                relative_error(&norm.forward_silu_of(&conv, &x, embedding), &want),
            ];
            assert!(errors.iter().all(|e| *e < 2e-5), "{embedding:?} {errors:?}");
            let made = emulation.launches() - launches;
            assert!(successful < 100 || made == 9, "{made} launches");
        }
    }
}

#[test]
fn a_layer_that_is_trained_keeps_libtorchs_graph() {
    let emulation = Emulation::new(Kind::Float);
    let launches = emulation.launches();
    let (mut vs, norm, x, _) = frozen_layer();
    let _ = norm.forward_silu(&x.copy().set_requires_grad(true), None);
    vs.unfreeze();
    let _ = norm.forward_silu(&x, None);
    assert_eq!(emulation.launches(), launches);
    vs.freeze();
    let _ = norm.forward_silu(&x, None);
    assert_eq!(emulation.launches(), launches + 3);
}

#[test]
fn the_kernels_are_taken_on_gpus_that_they_are_asked_for_on() {
    let was_on = IS_ASKED_FOR.load(Ordering::Relaxed);
    for on in [true, false] {
        set_fused(on);
        assert!(!is_fused(Device::Cpu));
        assert_eq!(is_fused(Device::Cuda(0)), on && !super::super::is_plain());
    }
    set_fused(was_on);
}
