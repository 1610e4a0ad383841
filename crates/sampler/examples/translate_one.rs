//! Translates one CIFAR-10 cat into a dog with the networks that ship, and writes it as a PNG:
//! `cargo run --release -p egsde-sampler --example translate_one [translated.png]`.

use egsde_data::image_set::{ImageSet, encode_png};
use egsde_models::networks::Diffusion;
use egsde_models::{Dse, Loaded};
use egsde_sampler::energy::{DomainIndependent, DomainSpecific, Energy, Similarity, Weight};
use egsde_sampler::low_pass::{Kernel, LowPass};
use egsde_sampler::method::{Egsde, Method, Solver, SourceNoise};
use egsde_sampler::noise::ImageNoise;
use egsde_sampler::schedule::{NUM_TRAIN_TIMESTEPS, Schedule, Variance, space_timesteps};
use std::path::Path;
use tch::{Device, Kind};

fn main() -> anyhow::Result<()> {
    let output = std::env::args().nth(1).unwrap_or("translated.png".into());
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let checkpoints = project.join("checkpoints/embedded");
    let (device, kind, side) = (Device::Cpu, Kind::Float, 32);
    let sheet = std::fs::read(project.join("datasets/embedded/test_cats.png"))?;
    let cat = ImageSet::from_sheet(&sheet, side, "cat")?.select(&[0]);

    let diffusion = Diffusion::open(&checkpoints.join("dog_diffusion.safetensors"), device, kind)?;
    let extractor =
        Loaded::<Dse>::open(&checkpoints.join("cat2dog_dse.safetensors"), device, kind)?;
    let realistic = DomainSpecific {
        extractor: &extractor,
        similarity: Similarity::Cosine,
        weight: Weight::Constant(30.0),
        shared: None,
    };
    let faithful = DomainIndependent {
        low_pass: LowPass::new(side, 4, Kernel::Linear, device)?,
        similarity: Similarity::NegL2,
        weight: Weight::Constant(0.3),
    };
    // The row EGSDE of experiments/table1.yaml.
    let timesteps = space_timesteps(NUM_TRAIN_TIMESTEPS, 50)?;
    let egsde = Egsde {
        diffusion: Box::new(&diffusion),
        energy: Energy(vec![Box::new(realistic), Box::new(faithful)]),
        schedule: Schedule::ddpm().in_float32().respaced(&timesteps),
        start_steps: 20,
        solver: Solver::Ancestral,
        eta: 0.0,
        variance: Variance::FixedSmall,
        source_noise: SourceNoise::Shared,
        repeats: 1,
    };
    let x0 = cat.tensor() * 2.0 - 1.0;
    let noise = ImageNoise {
        seed: 1,
        names: cat.names.clone(),
        side,
        device,
    };
    let dog = egsde.translate(&x0, &noise, &mut |_, _, _| {})?;
    let dog = ImageSet::from_tensor(&dog, cat.names)?;
    std::fs::write(&output, encode_png(&dog.image(0))?)?;
    println!("{} is now a dog in {output}", dog.names[0]);
    Ok(())
}
