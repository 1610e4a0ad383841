//! The cost model against counted calls.

use egsde_sampler::cost::{Evaluations, ExpertCost};
use egsde_sampler::energy::{
    ClassProbability, DomainIndependent, DomainSpecific, Energy, Expert, Range, State, Weight,
};
use egsde_sampler::low_pass::{Kernel, LowPass};
use egsde_sampler::method::{Egsde, Ilvr, IlvrVariance, Method, Predictor, Solver, SourceNoise};
use egsde_sampler::noise::ImageNoise;
use egsde_sampler::schedule::{NUM_TRAIN_TIMESTEPS, Schedule, Variance, space_timesteps};
use std::cell::Cell;
use tch::{Device, Kind, Tensor};

const SIDE: usize = 8;
const RANGE: Weight = Weight::Range(Range {
    value: 1.0,
    from: 0.4,
    to: 0.2,
});

#[derive(Default)]
struct CountingPredictor(Cell<usize>);

impl Predictor for CountingPredictor {
    fn predict(&self, y: &Tensor, _: f64) -> Tensor {
        self.0.set(self.0.get() + 1);
        y.zeros_like()
    }
}

struct CountingExpert<'a> {
    weight: Weight,
    calls: &'a Cell<usize>,
}

impl Expert for CountingExpert<'_> {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn gradient(&self, state: &State) -> Tensor {
        self.calls.set(self.calls.get() + 1);
        state.y.zeros_like()
    }
}

fn translate(method: &dyn Method) {
    let x0 = Tensor::zeros([1, 3, SIDE as i64, SIDE as i64], (Kind::Float, Device::Cpu));
    let noise = ImageNoise {
        seed: 1,
        names: vec!["a".into()],
        side: SIDE,
        device: Device::Cpu,
    };
    let _ = method.translate(&x0, &noise, &mut |_, _, _| {}).unwrap();
}

#[test]
fn the_cost_of_an_sde_is_what_it_evaluates() {
    for (steps, start_steps, repeats) in [(50, 20, 1), (NUM_TRAIN_TIMESTEPS, 500, 1), (30, 30, 2)] {
        let (diffusion, constant, range) =
            (CountingPredictor::default(), Cell::new(0), Cell::new(0));
        let timesteps = space_timesteps(NUM_TRAIN_TIMESTEPS, steps).unwrap();
        let experts: Vec<Box<dyn Expert>> = vec![
            Box::new(CountingExpert {
                weight: Weight::Constant(2.0),
                calls: &constant,
            }),
            Box::new(CountingExpert {
                weight: RANGE,
                calls: &range,
            }),
        ];
        translate(&Egsde {
            diffusion: Box::new(&diffusion),
            energy: Energy(experts),
            schedule: Schedule::ddpm().respaced(&timesteps),
            start_steps,
            solver: Solver::Ancestral,
            eta: 0.0,
            variance: Variance::FixedSmall,
            source_noise: SourceNoise::Shared,
            repeats,
        });
        let experts = [
            (Weight::Constant(2.0), DomainSpecific::COST),
            (RANGE, ClassProbability::COST),
        ];
        let want = Evaluations {
            generator: 0,
            diffusion: diffusion.0.get(),
            extractor: constant.get(),
            extractor_gradient: constant.get() + range.get(),
        };
        assert_eq!(
            Evaluations::for_sde(steps, start_steps, repeats, &experts),
            want
        );
        assert!(range.get() > 0 && range.get() < constant.get());
    }
}

#[test]
fn the_cost_of_ilvr_is_what_it_evaluates() {
    let diffusion = CountingPredictor::default();
    let timesteps = space_timesteps(NUM_TRAIN_TIMESTEPS, 25).unwrap();
    translate(&Ilvr {
        diffusion: Box::new(&diffusion),
        low_pass: LowPass::new(SIDE, 2, Kernel::Cubic, Device::Cpu).unwrap(),
        schedule: Schedule::ddpm().respaced(&timesteps),
        range_t: 5,
        variance: IlvrVariance::FixedSmall,
        clip_denoised: true,
    });
    let want = Evaluations {
        diffusion: diffusion.0.get(),
        ..Evaluations::default()
    };
    assert_eq!(Evaluations::for_ilvr(25), want);
}

#[test]
fn an_expert_without_network_costs_nothing() {
    assert_eq!(DomainIndependent::COST, ExpertCost::default());
}
