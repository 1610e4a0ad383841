//! Solvers against closed forms: for images of independent Gaussian pixels the true noise
//! prediction and the probability flow are known.

use egsde_sampler::energy::{Energy, Expert, State, Weight};
use egsde_sampler::method::{Egsde, Method, Predictor, Solver, SourceNoise};
use egsde_sampler::noise::{ImageNoise, Noise, Purpose};
use egsde_sampler::schedule::{NUM_TRAIN_TIMESTEPS, Schedule, Variance, space_timesteps};
use tch::{Device, Kind, Tensor};

const MU: f64 = 0.3;
const SIGMA: f64 = 0.4;
const SIDE: usize = 16;

/// The true noise prediction for images of independent N(MU, SIGMA^2) pixels.
struct Gaussian(Schedule);

impl Predictor for Gaussian {
    fn predict(&self, y: &Tensor, t: f64) -> Tensor {
        let alpha_prod = self.0.alphas_cumprod[t as usize];
        let variance = alpha_prod * SIGMA * SIGMA + 1.0 - alpha_prod;
        (y - alpha_prod.sqrt() * MU) * ((1.0 - alpha_prod).sqrt() / variance)
    }
}

/// The energy `0.4 / 2 |y|^2`.
struct PullToZero;

impl Expert for PullToZero {
    fn weight(&self) -> Weight {
        Weight::Constant(0.4)
    }

    fn gradient(&self, state: &State) -> Tensor {
        state.y.shallow_clone()
    }
}

fn noise(images: usize) -> ImageNoise {
    let names = (0..images).map(|i| format!("p{i}")).collect();
    ImageNoise {
        seed: 3,
        names,
        side: SIDE,
        device: Device::Cpu,
    }
}

/// One translation of black images.
#[derive(Clone, Copy)]
struct Run {
    solver: Solver,
    eta: f64,
    steps: usize,
    start: f64,
    images: usize,
    guided: bool,
}

impl Run {
    /// The last sample, which is not yet an image: neither scaled nor clamped.
    fn sample(self) -> Tensor {
        let timesteps = space_timesteps(NUM_TRAIN_TIMESTEPS, self.steps).unwrap();
        let experts: Vec<Box<dyn Expert>> = if self.guided {
            vec![Box::new(PullToZero)]
        } else {
            vec![]
        };
        let method = Egsde {
            diffusion: Box::new(Gaussian(Schedule::ddpm())),
            energy: Energy(experts),
            schedule: Schedule::ddpm().respaced(&timesteps),
            start_steps: (self.start * self.steps as f64).round() as usize,
            solver: self.solver,
            eta: self.eta,
            variance: Variance::FixedSmall,
            source_noise: SourceNoise::Shared,
            repeats: 1,
        };
        let shape = [self.images as i64, 3, SIDE as i64, SIDE as i64];
        let x0 = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let mut last = x0.shallow_clone();
        let mut keep_last = |_, _, y: &Tensor| last = y.shallow_clone();
        let _ = method
            .translate(&x0, &noise(self.images), &mut keep_last)
            .unwrap();
        last
    }
}

fn root_mean_square(difference: Tensor) -> f64 {
    difference
        .square()
        .mean(Kind::Double)
        .sqrt()
        .double_value(&[])
}

#[test]
fn ddim_with_eta_1_is_the_ancestral_step_energy_included() {
    let ddim = Run {
        solver: Solver::Ddim,
        eta: 1.0,
        steps: 20,
        start: 0.5,
        images: 2,
        guided: false,
    };
    for guided in [false, true] {
        let ddim = Run { guided, ..ddim };
        let ancestral = Run {
            solver: Solver::Ancestral,
            ..ddim
        };
        assert!(root_mean_square(ddim.sample() - ancestral.sample()) < 1e-5);
    }
    let guided = Run {
        guided: true,
        ..ddim
    };
    let effect = root_mean_square(guided.sample() - ddim.sample());
    assert!(effect > 0.01, "{effect}");
}

#[test]
fn two_steps_of_dpm_solver_are_ddims() {
    let ddim = Run {
        solver: Solver::Ddim,
        eta: 0.0,
        steps: 4,
        start: 0.5,
        images: 2,
        guided: true,
    };
    let dpm_solver = Run {
        solver: Solver::DpmSolverPp,
        ..ddim
    };
    assert!(root_mean_square(dpm_solver.sample() - ddim.sample()) < 1e-5);
    let (ddim, dpm_solver) = (
        Run { steps: 8, ..ddim },
        Run {
            steps: 8,
            ..dpm_solver
        },
    );
    assert!(root_mean_square(dpm_solver.sample() - ddim.sample()) > 1e-4);
}

#[test]
fn sde_dpm_solver_without_noise_is_dpm_solver() {
    let ode = Run {
        solver: Solver::DpmSolverPp,
        eta: 0.0,
        steps: 8,
        start: 0.5,
        images: 2,
        guided: true,
    };
    let sde = Run {
        solver: Solver::SdeDpmSolverPp,
        ..ode
    };
    assert_eq!(root_mean_square(ode.sample() - sde.sample()), 0.0);
    let noisy = Run { eta: 0.5, ..sde };
    assert!(root_mean_square(ode.sample() - noisy.sample()) > 0.01);
}

/// Where the probability flow ends from the start of half of T. It keeps each pixel's place in its
/// distribution.
fn exact_solution(steps: usize) -> Tensor {
    let t = space_timesteps(NUM_TRAIN_TIMESTEPS, steps).unwrap()[steps / 2 - 1];
    let alpha_prod = Schedule::ddpm().alphas_cumprod[t];
    let y = noise(1).draw(Purpose::Start { repeat: 0 }) * (1.0 - alpha_prod).sqrt();
    let deviation = (alpha_prod * SIGMA * SIGMA + 1.0 - alpha_prod).sqrt();
    (y - alpha_prod.sqrt() * MU) * (SIGMA / deviation) + MU
}

/// How much smaller a solver's error gets when its steps are quartered.
fn error_ratio(solver: Solver) -> f64 {
    let errors = [40, 160].map(|steps| {
        let run = Run {
            solver,
            eta: 0.0,
            steps,
            start: 0.5,
            images: 1,
            guided: false,
        };
        // The last time is the schedule's first, where the sample is almost the image.
        root_mean_square(run.sample() - exact_solution(steps))
    });
    errors[0] / errors[1]
}

#[test]
fn errors_fall_with_each_solvers_order() {
    let (first, second) = (error_ratio(Solver::Ddim), error_ratio(Solver::DpmSolverPp));
    assert!(
        (2.5..6.5).contains(&first),
        "a first-order error falls to about a quarter: {first}"
    );
    assert!(
        second > 8.0,
        "a second-order error falls to about a sixteenth: {second}"
    );
}

#[test]
fn random_solvers_end_in_the_right_distribution() {
    for (solver, eta) in [
        (Solver::SdeDpmSolverPp, 1.0),
        (Solver::SdeDpmSolverPp, 0.5),
        (Solver::Ddim, 0.5),
        (Solver::DpmSolverPp, 0.0),
    ] {
        // The start is all of T, so that nothing of the source is left. There are 32 x 768 values:
        // the mean has a standard error of 0.0026.
        let run = Run {
            solver,
            eta,
            steps: 400,
            start: 1.0,
            images: 32,
            guided: false,
        };
        let y = run.sample();
        let (mean, std) = (
            y.mean(Kind::Double).double_value(&[]),
            y.std(true).double_value(&[]),
        );
        assert!((mean - MU).abs() < 0.012, "{solver:?}: mean {mean}");
        assert!(
            (std - SIGMA).abs() < 0.01,
            "{solver:?}: standard deviation {std}"
        );
    }
}
