//! Golden cases of the sampler: filters, schedule, whole translations with noise by name.

use super::case::{Case, number, parse, text, whole};
use anyhow::{Context, Result};
use egsde_models::{Dse, Loaded, synthetic};
use egsde_sampler::energy::{DomainIndependent, DomainSpecific, Energy, Expert, Weight};
use egsde_sampler::low_pass::{Kernel, LowPass};
use egsde_sampler::method::{Egsde, Ilvr, Method, Solver, SourceNoise};
use egsde_sampler::noise::{Noise, Purpose};
use egsde_sampler::schedule::{NUM_TRAIN_TIMESTEPS, Schedule, Variance, space_timesteps};
use serde_json::Value;
use std::collections::BTreeMap;
use tch::{Device, Tensor};

/// The filter of the case's factor for images like `x`.
fn open_low_pass(case: &Case, x: &Tensor, key: &str, kernel: Kernel) -> Result<LowPass> {
    LowPass::new(
        x.size()[3] as usize,
        whole(case.value, key)?,
        kernel,
        case.options.device,
    )
}

/// Shrinking and enlarging.
pub fn low_pass(case: &mut Case) -> Result<()> {
    let x = case.input("x")?;
    let low_pass = open_low_pass(case, &x, "factor", Kernel::Linear)?;
    let down = low_pass.down(&x);
    case.expect("down", &down)?;
    case.expect("up", &low_pass.up(&down))
}

/// Betas, cumulative alphas and variances.
pub fn schedule(case: &mut Case) -> Result<()> {
    let (start, end) = (
        number(case.value, "beta_start")?,
        number(case.value, "beta_end")?,
    );
    let schedule = Schedule::linear(start, end, whole(case.value, "steps")?).in_float32();
    case.expect("betas", &Tensor::from_slice(&schedule.betas))?;
    case.expect(
        "alphas_cumprod",
        &Tensor::from_slice(&schedule.alphas_cumprod),
    )?;
    let variances = [
        (Variance::FixedSmall, "logvar_fixedsmall"),
        (Variance::FixedLarge, "logvar_fixedlarge"),
    ];
    for (variance, name) in variances {
        let values: Vec<f64> = (0..schedule.len())
            .map(|i| schedule.log_variance(variance, i, None))
            .collect();
        case.expect(name, &Tensor::from_slice(&values))?;
    }
    Ok(())
}

/// The energy of a case; experts whose weight is 0 take no part.
fn energy<'a>(case: &Value, extractor: &'a Loaded<Dse>, low_pass: LowPass) -> Result<Energy<'a>> {
    let (lambda_s, lambda_i) = (number(case, "lambda_s")?, number(case, "lambda_i")?);
    let mut experts: Vec<Box<dyn Expert + 'a>> = Vec::new();
    if lambda_s != 0.0 {
        experts.push(Box::new(DomainSpecific {
            extractor,
            similarity: parse(case, "similarity_s")?,
            weight: Weight::Constant(lambda_s),
            shared: None,
        }));
    }
    if lambda_i != 0.0 {
        experts.push(Box::new(DomainIndependent {
            low_pass,
            similarity: parse(case, "similarity_i")?,
            weight: Weight::Constant(lambda_i),
        }));
    }
    Ok(Energy(experts))
}

/// A whole translation by EGSDE or SDEdit.
pub fn egsde(case: &mut Case) -> Result<()> {
    let value = case.value;
    let diffusion = case.diffusion("diffusion")?;
    let dse = case.extractor("dse")?;
    let x0 = case.input("x0")?;
    let low_pass = open_low_pass(case, &x0, "low_pass_factor", Kernel::Linear)?;
    let start_steps = whole(value, "start_steps")?;
    let method = Egsde {
        diffusion: Box::new(&diffusion),
        energy: energy(value, &dse, low_pass)?,
        schedule: Schedule::ddpm().in_float32(),
        start_steps,
        solver: Solver::Ancestral,
        eta: 0.0,
        variance: parse(value, "variance")?,
        source_noise: SourceNoise::Shared,
        repeats: whole(value, "repeats")?,
    };
    let mut seen: BTreeMap<String, Tensor> = BTreeMap::new();
    let mut observe = |repeat: usize, i: usize, y: &Tensor| {
        if i + 1 == start_steps {
            seen.insert(format!("after_first_step.{repeat}"), y.copy());
        }
        if i == 0 {
            seen.insert(format!("y.{repeat}"), y.copy());
        }
    };
    let image = method.translate(&x0, &NamedNoise::new(case), &mut observe)?;
    for (name, y) in seen {
        case.expect(&name, &y)?;
    }
    case.expect("image", &image)
}

/// A whole translation by ILVR.
pub fn ilvr(case: &mut Case) -> Result<()> {
    let value = case.value;
    let diffusion = case.diffusion("diffusion")?;
    let x0 = case.input("x0")?;
    let low_pass = open_low_pass(case, &x0, "low_pass_factor", Kernel::Cubic)?;
    let count = text(value, "timestep_respacing")?.parse();
    let count = count.context("timestep_respacing is not one number")?;
    let timesteps = space_timesteps(NUM_TRAIN_TIMESTEPS, count)?;
    let indices: Vec<i64> = timesteps.iter().map(|i| *i as i64).collect();
    case.expect("timesteps", &Tensor::from_slice(&indices))?;
    let method = Ilvr {
        diffusion: Box::new(&diffusion),
        low_pass,
        schedule: Schedule::ddpm().respaced(&timesteps),
        range_t: whole(value, "range_t")?,
        variance: parse(value, "variance")?,
        clip_denoised: parse(value, "clip_denoised")?,
    };
    let (mut first, mut last) = (None, None);
    let mut observe = |_: usize, i: usize, y: &Tensor| {
        first.get_or_insert_with(|| y.copy());
        if i == 0 {
            last = Some(y.copy());
        }
    };
    // The case expects the sample before it becomes an image.
    let _ = method.translate(&x0, &NamedNoise::new(case), &mut observe)?;
    case.expect("after_first_step", &first.context("no step was taken")?)?;
    case.expect("out", &last.context("no step was taken")?)
}

/// The noise a case names: `<repeat>` and `<i>` are put into its patterns.
struct NamedNoise<'a> {
    patterns: &'a Value,
    device: Device,
}

impl<'a> NamedNoise<'a> {
    fn new(case: &Case<'a>) -> Self {
        Self {
            patterns: &case.value["noise"],
            device: case.options.device,
        }
    }
}

impl Noise for NamedNoise<'_> {
    fn draw(&self, purpose: Purpose) -> Tensor {
        let (key, repeat, step) = match purpose {
            Purpose::Start { repeat } => ("start", repeat, 0),
            Purpose::Step { repeat, step } => ("step", repeat, step),
            Purpose::Source { repeat, step } => ("reference", repeat, step),
            Purpose::Latent => ("latent", 0, 0),
            Purpose::Reference => ("choice", 0, 0),
        };
        let shape = self.patterns["shape"].as_array().into_iter().flatten();
        let shape: Vec<i64> = shape.filter_map(Value::as_i64).collect();
        let pattern = self.patterns[key].as_str().unwrap_or_default();
        let name = pattern.replace("<repeat>", &repeat.to_string());
        let name = name.replace("<i>", &step.to_string());
        synthetic::gaussian(&name, &shape).to_device(self.device)
    }
}
