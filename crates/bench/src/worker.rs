//! Times sampling steps on demand, beside `scripts/bench/reference.py`, which speaks the same protocol.

use crate::measure::on_demand;
use anyhow::{Result, bail};
use egsde_models::network::{Build, Loaded};
use egsde_models::{AdmUnet, Dse, NetworkConfig, synthetic};
use egsde_sampler::energy::{DomainIndependent, DomainSpecific, Energy, Similarity, Weight};
use egsde_sampler::low_pass::{Kernel, LowPass};
use egsde_sampler::method::{Egsde, Ilvr, IlvrVariance, Method, Solver, SourceNoise};
use egsde_sampler::noise::PictureNoise;
use egsde_sampler::schedule::{Schedule, Variance, space_timesteps};
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// Arguments of `egsde-bench worker`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// egsde, sdedit or ilvr.
    #[arg(long)]
    method: String,
    /// JSON of the noise predictor's numbers; its weights are made by formula.
    #[arg(long)]
    diffusion: PathBuf,
    /// JSON of the extractor's numbers.
    #[arg(long)]
    extractor: PathBuf,
    #[arg(long)]
    size: usize,
    #[arg(long)]
    batch: usize,
    /// Reverse steps a time.
    #[arg(long)]
    steps: usize,
    #[arg(long)]
    threads: i32,
    /// f32 or bf16.
    #[arg(long, default_value = "f32")]
    precision: String,
}

fn network<N: Build>(path: &Path, kind: Kind) -> Result<Loaded<N>> {
    let config: NetworkConfig = serde_json::from_slice(&std::fs::read(path)?)?;
    let mut network = Loaded::<N>::fresh(&config, Device::Cpu, kind)?;
    synthetic::fill(&network.vs, 1.0);
    network.freeze();
    Ok(network)
}

/// Runs the steps on demand, with other noise each time.
fn serve(method: &dyn Method, args: &Args) -> Result<()> {
    let x0 = synthetic::uniform(
        "bench.x0",
        &[args.batch as i64, 3, args.size as i64, args.size as i64],
    ) * 0.5;
    let names = (0..args.batch).map(|i| format!("p{i}")).collect();
    let mut noise = PictureNoise {
        seed: 0,
        names,
        side: args.size,
        device: Device::Cpu,
    };
    on_demand(|| {
        noise.seed += 1;
        let _ = method.translate(&x0, &noise, &mut |_, _, _| {})?;
        Ok(String::new())
    })
}

/// Runs until its input ends.
pub fn run(args: &Args) -> Result<()> {
    tch::set_num_threads(args.threads);
    let kind = if args.precision == "bf16" {
        Kind::BFloat16
    } else {
        Kind::Float
    };
    let diffusion: Loaded<AdmUnet> = network(&args.diffusion, kind)?;
    if args.method == "ilvr" {
        let low_pass = LowPass::new(args.size, args.size / 8, Kernel::Cubic, Device::Cpu)?;
        let schedule = Schedule::ddpm().respaced(&space_timesteps(1000, args.steps)?);
        let variance = IlvrVariance::FixedSmall;
        return serve(
            &Ilvr {
                diffusion: &diffusion,
                low_pass: &low_pass,
                schedule,
                range_t: 0,
                variance,
                clip_denoised: true,
            },
            args,
        );
    }
    let low_pass = LowPass::new(args.size, args.size / 8, Kernel::Linear, Device::Cpu)?;
    let extractor: Option<Loaded<Dse>> = match args.method.as_str() {
        "egsde" => Some(network(&args.extractor, kind)?),
        "sdedit" => None,
        other => bail!("no method {other:?}: egsde, sdedit or ilvr"),
    };
    let mut energy = Energy::default();
    if let Some(extractor) = &extractor {
        energy.0.push(Box::new(DomainSpecific {
            extractor,
            similarity: Similarity::Cosine,
            weight: Weight::Constant(20.0),
            shared: None,
        }));
        energy.0.push(Box::new(DomainIndependent {
            low_pass: &low_pass,
            similarity: Similarity::NegL2,
            weight: Weight::Constant(0.3),
        }));
    }
    let method = Egsde {
        diffusion: &diffusion,
        energy,
        schedule: Schedule::ddpm().in_float32(),
        start_steps: args.steps,
        solver: Solver::Ancestral,
        eta: 0.0,
        variance: Variance::FixedSmall,
        source_noise: SourceNoise::Shared,
        repeats: 1,
    };
    serve(&method, args)
}
