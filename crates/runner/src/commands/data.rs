//! `egsde data check | distances | embed`: the data sets and published files.

use crate::dataset::ArchiveManifest;
use crate::error::{Problem, one_line};
use crate::judge::features_of;
use crate::manifest::{Input, Manifest, Pins};
use crate::task::Task;
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_metrics::cifar10::Cifar10;
use egsde_metrics::frechet::{Statistics, frechet_distance};
use egsde_metrics::pictures::Pictures;
use egsde_models::files::{sha256_hex, write_atomically};
use egsde_models::{CifarFeatures, Loaded};
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// Arguments of `egsde data`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Verify data sets and published files: what is there, what is missing and from where, sizes, counts, hashes
    Check {
        /// cifar10, afhq, celeba_hq, checkpoints; all when left out
        names: Vec<String>,
        /// Keep the hash of each file and folder that is there and has none yet (datasets/pins.yaml)
        #[arg(long)]
        pin: bool,
    },
    /// Fréchet distances between the embedded sets: test cats, training dogs and halves of the test dogs, to the test dogs
    Distances,
    /// Write the sheets that ship in datasets/embedded from the archive
    Embed,
}

const CIFAR10: &str = "datasets/cifar10.yaml";

/// Manifests of published files and folders, by the name `data check` knows them by.
const PUBLISHED: [(&str, &str); 3] = [
    ("afhq", "datasets/afhq.yaml"),
    ("celeba_hq", "datasets/celeba_hq.yaml"),
    ("checkpoints", "checkpoints/manifest.yaml"),
];

fn cifar10(root: &Path) -> Result<(PathBuf, String, Cifar10)> {
    let manifest: ArchiveManifest = read_yaml(&root.join(CIFAR10))?;
    let (path, sha256) = manifest.locate(root)?;
    let data = Cifar10::open(&path)?;
    Ok((path, sha256, data))
}

fn check_cifar10(root: &Path) -> Result<()> {
    let (path, sha256, data) = cifar10(root)?;
    let x = data.train.pictures.tensor();
    let means = Vec::<f64>::try_from(x.mean_dim([0i64, 2, 3].as_slice(), false, Kind::Double))?;
    println!("{} sha256 {sha256}", path.display());
    println!(
        "channel means {:.4} {:.4} {:.4}",
        means[0], means[1], means[2]
    );
    for (name, label) in [("cat", 3), ("dog", 5)] {
        println!(
            "{name}: {} train, {} test",
            data.train.of_class(label).len(),
            data.test.of_class(label).len()
        );
    }
    Ok(())
}

/// One line on an input; whether it is there and wrong.
fn check_input(input: &Input, root: &Path, pin: bool) -> Result<bool> {
    if !input.exists() {
        println!("missing: {}", input.instructions());
        return Ok(false);
    }
    match input.verify() {
        Ok(sha256) if input.is_pinned() => println!("ok: {} sha256 {sha256}", input.key),
        Ok(sha256) if pin => {
            Pins::add(root, &input.key, &sha256)?;
            println!("pinned: {} sha256 {sha256}", input.key);
        }
        Ok(sha256) => println!(
            "there, not pinned: {} sha256 {sha256} (--pin keeps it)",
            input.key
        ),
        Err(error) => {
            println!("wrong: {}", one_line(&format!("{error:#}")));
            return Ok(true);
        }
    }
    Ok(false)
}

/// Exit 1 when something that is there is not what it should be; a data set asked for by name must be there.
fn check(names: &[String], root: &Path, pin: bool) -> Result<()> {
    let known: Vec<&str> = std::iter::once("cifar10")
        .chain(PUBLISHED.iter().map(|(n, _)| *n))
        .collect();
    if let Some(name) = names.iter().find(|n| !known.contains(&n.as_str())) {
        return Err(Problem::user(format!(
            "no data set {name:?}; there are {}",
            known.join(", ")
        )));
    }
    let mut wrong = 0;
    if names.iter().any(|n| n == "cifar10") {
        check_cifar10(root)?;
    } else if names.is_empty() {
        check_cifar10(root).unwrap_or_else(|error| println!("{error:#}"));
    }
    for (name, file) in PUBLISHED {
        if !names.is_empty() && !names.iter().any(|n| n == name) {
            continue;
        }
        for input in Manifest::read(root, Path::new(file))?.inputs(root, &Pins::read(root)?) {
            wrong += usize::from(check_input(&input, root, pin)?);
        }
    }
    if wrong == 0 {
        Ok(())
    } else {
        Err(Problem::No(format!(
            "{wrong} of the files that are there are not what they should be"
        ))
        .into())
    }
}

/// The distances that say what a Fréchet distance of the embedded table means.
fn distances(root: &Path) -> Result<()> {
    let task = Task::read(root, "cat2dog-32")?;
    let features: Loaded<CifarFeatures> = task.features.open(root, Device::Cpu, Kind::Float)?;
    let of = |pictures: &Pictures| Statistics::of(&features_of(&features, pictures, Device::Cpu)?);
    let load = |source: &crate::task::PictureSource| source.load(root, task.image_size, usize::MAX);
    let (cats, dogs) = (load(&task.source)?, load(&task.reference)?);
    let reference = of(&dogs)?;
    println!("{}", task.distance);
    println!(
        "{} test cats: {:.3}",
        cats.len(),
        frechet_distance(&of(&cats)?, &reference)?
    );
    let (even, odd): (Vec<usize>, Vec<usize>) = (0..dogs.len()).partition(|i| i % 2 == 0);
    let halves = frechet_distance(&of(&dogs.select(&even))?, &of(&dogs.select(&odd))?)?;
    println!(
        "{} test dogs to the other {}: {halves:.3}",
        even.len(),
        odd.len()
    );
    match cifar10(root) {
        Ok((_, _, data)) => {
            let train = data.train.of_class(5);
            println!(
                "{} training dogs: {:.3}",
                train.len(),
                frechet_distance(&of(&train)?, &reference)?
            );
            println!(
                "1000 training dogs: {:.3}",
                frechet_distance(&of(&train.first(1000))?, &reference)?
            );
        }
        Err(error) => println!("training dogs: not measured: {error:#}"),
    }
    Ok(())
}

/// Runs the command.
pub fn run(args: &Args, root: &Path) -> Result<()> {
    match &args.what {
        What::Check { names, pin } => check(names, root, *pin),
        What::Distances => distances(root),
        What::Embed => {
            let (_, _, data) = cifar10(root)?;
            for (name, label) in [("cats", 3), ("dogs", 5)] {
                let bytes = data.test.of_class(label).to_sheet()?;
                let out = root.join(format!("datasets/embedded/test_{name}.png"));
                write_atomically(&out, &bytes)?;
                println!("{} {}", sha256_hex(&bytes), out.display());
            }
            Ok(())
        }
    }
}
