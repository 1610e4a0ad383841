//! What methods say about their draws against what they ask for.

use egsde_sampler::energy::{Energy, Expert, Range, State, Weight};
use egsde_sampler::low_pass::{Kernel, LowPass};
use egsde_sampler::method::{Egsde, Ilvr, IlvrVariance, Method, Predictor, Solver, SourceNoise};
use egsde_sampler::noise::{ImageNoise, Noise, Purpose, draw_ahead};
use egsde_sampler::schedule::{NUM_TRAIN_TIMESTEPS, Schedule, Variance, space_timesteps};
use std::cell::RefCell;
use tch::{Device, Kind, Tensor};

const SIDE: usize = 8;

/// Predicts a third of the sample.
struct Third;

impl Predictor for Third {
    fn predict(&self, y: &Tensor, _: f64) -> Tensor {
        y / 3.0
    }
}

/// The energy `|y - xt|^2 / 2` in a part of the time.
struct NearSource;

impl Expert for NearSource {
    fn weight(&self) -> Weight {
        Weight::Range(Range {
            value: 0.2,
            from: 0.4,
            to: 0.1,
        })
    }

    fn gradient(&self, state: &State) -> Tensor {
        state.y - state.xt
    }
}

/// Noise that notes what was asked for.
struct Recorded {
    noise: ImageNoise,
    asked: RefCell<Vec<Purpose>>,
}

impl Noise for Recorded {
    fn draw(&self, purpose: Purpose) -> Tensor {
        self.asked.borrow_mut().push(purpose);
        self.noise.draw(purpose)
    }
}

fn noise() -> ImageNoise {
    ImageNoise {
        seed: 1,
        names: ["a", "b"].map(String::from).to_vec(),
        side: SIDE,
        device: Device::Cpu,
    }
}

fn translate(method: &dyn Method, noise: &dyn Noise) -> Tensor {
    let shape = [2, 3, SIDE as i64, SIDE as i64];
    let x0 = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    method.translate(&x0, noise, &mut |_, _, _| {}).unwrap()
}

/// The method must ask for what it says, and give the same images with noise drawn ahead.
#[track_caller]
fn assert_draws(method: &dyn Method) {
    let recorded = Recorded {
        noise: noise(),
        asked: RefCell::default(),
    };
    let at_once = translate(method, &recorded);
    let order = method.draws();
    assert_eq!(order, recorded.asked.into_inner());
    let ahead = draw_ahead(&noise(), &order, |noise| translate(method, noise));
    assert!(ahead.equal(&at_once));
}

fn egsde(solver: Solver, source_noise: SourceNoise) -> Egsde<'static> {
    let timesteps = space_timesteps(NUM_TRAIN_TIMESTEPS, 30).unwrap();
    Egsde {
        diffusion: Box::new(Third),
        energy: Energy(vec![Box::new(NearSource)]),
        schedule: Schedule::ddpm().respaced(&timesteps),
        start_steps: 15,
        solver,
        eta: 0.0,
        variance: Variance::FixedSmall,
        source_noise,
        repeats: 1,
    }
}

#[test]
fn every_solver_asks_for_the_draws_that_it_names() {
    for solver in [
        Solver::Ancestral,
        Solver::EulerMaruyama,
        Solver::Ddim,
        Solver::DpmSolverPp,
        Solver::SdeDpmSolverPp,
    ] {
        assert_draws(&egsde(solver, SourceNoise::Shared));
        assert_draws(&egsde(solver, SourceNoise::Fresh));
        assert_draws(&Egsde {
            eta: 0.5,
            repeats: 2,
            ..egsde(solver, SourceNoise::Fresh)
        });
    }
}

#[test]
fn ilvr_asks_for_the_draws_that_it_names() {
    let timesteps = space_timesteps(NUM_TRAIN_TIMESTEPS, 20).unwrap();
    assert_draws(&Ilvr {
        diffusion: Box::new(Third),
        low_pass: LowPass::new(SIDE, 2, Kernel::Cubic, Device::Cpu).unwrap(),
        schedule: Schedule::ddpm().respaced(&timesteps),
        range_t: 4,
        variance: IlvrVariance::FixedSmall,
        clip_denoised: true,
    });
}
