//! Times sampling steps on demand, beside `scripts/bench/reference.py`, which speaks the same
//! protocol.

use crate::measure::serve_on_demand;
use anyhow::Result;
use egsde_models::networks::Build;
use egsde_models::{AdmUnet, Dse, Loaded, NetworkConfig, synthetic};
use egsde_sampler::energy::{DomainIndependent, DomainSpecific, Energy, Similarity, Weight};
use egsde_sampler::low_pass::{Kernel, LowPass};
use egsde_sampler::method::{Egsde, Ilvr, IlvrVariance, Method, Solver, SourceNoise};
use egsde_sampler::noise::ImageNoise;
use egsde_sampler::schedule::{NUM_TRAIN_TIMESTEPS, Schedule, Variance, space_timesteps};
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// Arguments of `egsde-bench worker`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whose steps.
    #[arg(long, value_enum)]
    method: SteppedMethod,
    /// JSON of the noise predictor's configuration; its weights are made by formula.
    #[arg(long)]
    diffusion: PathBuf,
    /// JSON of the extractor's configuration.
    #[arg(long)]
    extractor: PathBuf,
    /// Side of the images in pixels.
    #[arg(long)]
    size: usize,
    /// Images per batch.
    #[arg(long)]
    batch: usize,
    /// Reverse steps per line of input.
    #[arg(long)]
    steps: usize,
    #[arg(long)]
    threads: i32,
    /// Working precision of the networks.
    #[arg(long, value_enum, default_value_t = NetworkPrecision::F32)]
    precision: NetworkPrecision,
}

/// A method whose steps are timed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum SteppedMethod {
    /// With both experts.
    Egsde,
    /// Without experts.
    Sdedit,
    /// ILVR.
    Ilvr,
}

/// Working precision of the networks.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum NetworkPrecision {
    /// float32.
    F32,
    /// bfloat16.
    Bf16,
}

impl Args {
    fn kind(&self) -> Kind {
        match self.precision {
            NetworkPrecision::F32 => Kind::Float,
            NetworkPrecision::Bf16 => Kind::BFloat16,
        }
    }

    fn low_pass(&self, kernel: Kernel) -> Result<LowPass> {
        LowPass::new(self.size, self.size / 8, kernel, Device::Cpu)
    }
}

/// A network on the CPU with weights by formula.
fn open_network<N: Build>(path: &Path, kind: Kind) -> Result<Loaded<N>> {
    let config: NetworkConfig = serde_json::from_slice(&std::fs::read(path)?)?;
    let mut network = Loaded::<N>::fresh(&config, Device::Cpu, kind)?;
    synthetic::fill(&network.vs, 1.0);
    network.freeze();
    Ok(network)
}

/// Runs the steps on demand, with other noise at each time.
fn serve_method(method: &dyn Method, args: &Args) -> Result<()> {
    let side = args.size as i64;
    let x0 = synthetic::uniform("bench.x0", &[args.batch as i64, 3, side, side]) * 0.5;
    let names = (0..args.batch).map(|i| format!("p{i}")).collect();
    let mut noise = ImageNoise {
        seed: 0,
        names,
        side: args.size,
        device: Device::Cpu,
    };
    serve_on_demand(|| {
        noise.seed += 1;
        let _ = method.translate(&x0, &noise, &mut |_, _, _| {})?;
        Ok(String::new())
    })
}

fn serve_ilvr(args: &Args) -> Result<()> {
    let diffusion: Loaded<AdmUnet> = open_network(&args.diffusion, args.kind())?;
    let timesteps = space_timesteps(NUM_TRAIN_TIMESTEPS, args.steps)?;
    let method = Ilvr {
        diffusion: Box::new(&diffusion),
        low_pass: args.low_pass(Kernel::Cubic)?,
        schedule: Schedule::ddpm().respaced(&timesteps),
        range_t: 0,
        variance: IlvrVariance::FixedSmall,
        clip_denoised: true,
    };
    serve_method(&method, args)
}

/// EGSDE with an extractor, SDEdit without.
fn serve_sde(args: &Args, extractor: Option<&Loaded<Dse>>) -> Result<()> {
    let diffusion: Loaded<AdmUnet> = open_network(&args.diffusion, args.kind())?;
    let mut energy = Energy::default();
    if let Some(extractor) = extractor {
        energy.0.push(Box::new(DomainSpecific {
            extractor,
            similarity: Similarity::Cosine,
            weight: Weight::Constant(20.0),
            shared: None,
        }));
        energy.0.push(Box::new(DomainIndependent {
            low_pass: args.low_pass(Kernel::Linear)?,
            similarity: Similarity::NegL2,
            weight: Weight::Constant(0.3),
        }));
    }
    let method = Egsde {
        diffusion: Box::new(&diffusion),
        energy,
        schedule: Schedule::ddpm().in_float32(),
        start_steps: args.steps,
        solver: Solver::Ancestral,
        eta: 0.0,
        variance: Variance::FixedSmall,
        source_noise: SourceNoise::Shared,
        repeats: 1,
    };
    serve_method(&method, args)
}

/// Runs until its input ends, in a thread of its own as `egsde run` samples in one: what the first
/// thread of a process gives back, the system's allocator clears more often.
pub fn run(args: &Args) -> Result<()> {
    let served = std::thread::scope(|scope| scope.spawn(|| serve(args)).join());
    served.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn serve(args: &Args) -> Result<()> {
    tch::set_num_threads(args.threads);
    match args.method {
        SteppedMethod::Egsde => serve_sde(args, Some(&open_network(&args.extractor, args.kind())?)),
        SteppedMethod::Sdedit => serve_sde(args, None),
        SteppedMethod::Ilvr => serve_ilvr(args),
    }
}
