//! `egsde data`: data sets and published files, checked; the sheets that ship, written.

use super::neighbours;
use crate::error::{check_failed, one_line};
use crate::inputs::archive::{ArchiveManifest, LocatedArchive};
use crate::inputs::manifest::{Input, Manifest, Pins};
use crate::inputs::task::Task;
use crate::project::Project;
use crate::runtime::console::stdout;
use crate::scoring::feature_network::embedded_features;
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_data::cifar10::Cifar10;
use egsde_data::files::{sha256_hex, write_atomically};
use egsde_data::image_set::ImageSet;
use egsde_data::nearest::offer;
use egsde_metrics::frechet::{Statistics, frechet_distance};
use egsde_models::{CifarFeatures, Loaded};
use std::path::Path;
use std::str::FromStr;
use tch::{Device, Kind};

/// Arguments of `egsde data`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Verify data sets and published files: what is there, what is missing and from where, sizes,
    /// counts, hashes
    Check {
        /// cifar10, afhq, celeba_hq, checkpoints; all when left out
        names: Vec<DataSet>,
        /// Keep the hash of each file and folder that is there and has none yet
        /// (datasets/pins.yaml)
        #[arg(long)]
        pin: bool,
    },
    /// Fréchet distances between the embedded sets: test cats, training dogs and halves of the test
    /// dogs, to the test dogs
    Distances,
    /// The reference pictures of a task nearest to the pictures of a folder, against memorising
    Neighbours(neighbours::Args),
    /// Write the sheets that ship in datasets/embedded from the archive
    Embed,
}

/// What `egsde data check` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DataSet {
    Cifar10,
    Afhq,
    CelebaHq,
    Checkpoints,
}

impl DataSet {
    /// All of them, in the order in which they are checked.
    const ALL: [Self; 4] = [Self::Cifar10, Self::Afhq, Self::CelebaHq, Self::Checkpoints];

    /// As the command line spells it.
    fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar10",
            Self::Afhq => "afhq",
            Self::CelebaHq => "celeba_hq",
            Self::Checkpoints => "checkpoints",
        }
    }
}

impl FromStr for DataSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|data_set| data_set.name() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name);
                let offer = offer(text, names.into_iter());
                format!(
                    "no data set {text:?}; there are {}{offer}",
                    names.join(", ")
                )
            })
    }
}

/// A class of CIFAR-10 that is embedded, and the name of its sheet.
struct EmbeddedClass {
    class: &'static str,
    sheet: &'static str,
}

/// The classes that are embedded: sources and targets of the tasks at 32 px.
const EMBEDDED: [EmbeddedClass; 3] = [
    EmbeddedClass {
        class: "cat",
        sheet: "cats",
    },
    EmbeddedClass {
        class: "dog",
        sheet: "dogs",
    },
    EmbeddedClass {
        class: "deer",
        sheet: "deer",
    },
];

/// CIFAR-10's archive, its hash verified.
fn locate_cifar10(project: &Project) -> Result<LocatedArchive> {
    let manifest: ArchiveManifest = read_yaml(&project.cifar10_manifest())?;
    manifest.locate(project)
}

fn check_cifar10(project: &Project) -> Result<()> {
    let LocatedArchive { path, sha256 } = locate_cifar10(project)?;
    let data = Cifar10::open(&path)?;
    let x = data.train.images.tensor();
    let means = Vec::<f64>::try_from(x.mean_dim([0i64, 2, 3].as_slice(), false, Kind::Double))?;
    writeln!(stdout(), "{} sha256 {sha256}", path.display())?;
    writeln!(
        stdout(),
        "channel means {:.4} {:.4} {:.4}",
        means[0],
        means[1],
        means[2]
    )?;
    for embedded in EMBEDDED {
        writeln!(
            stdout(),
            "{}: {} train, {} test",
            embedded.class,
            data.train.images_of_class(embedded.class)?.len(),
            data.test.images_of_class(embedded.class)?.len()
        )?;
    }
    Ok(())
}

/// Prints one line on an input; returns whether it is there and wrong. With `pin` the hash of one
/// that has none yet is kept.
fn check_input(input: &Input, project: &Project, pin: bool) -> Result<bool> {
    if !input.exists() {
        writeln!(stdout(), "missing: {}", input.instructions())?;
        return Ok(false);
    }
    let key = &input.key;
    match input.verify() {
        Ok(sha256) if input.is_pinned() => writeln!(stdout(), "ok: {key} sha256 {sha256}")?,
        Ok(sha256) if pin => {
            Pins::add(project, key, &sha256)?;
            writeln!(stdout(), "pinned: {key} sha256 {sha256}")?;
        }
        Ok(sha256) => writeln!(
            stdout(),
            "there, not pinned: {key} sha256 {sha256} (--pin keeps it)"
        )?,
        Err(error) => {
            writeln!(stdout(), "wrong: {}", one_line(&format!("{error:#}")))?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// How manifests are checked.
#[derive(Debug, Clone, Copy)]
struct CheckOptions {
    /// Whether the hash of what has none yet is kept.
    pin: bool,
    /// Whether data sets were named: a project of one's own need not have the others.
    is_named: bool,
}

/// Checks the inputs of a manifest; returns how many are there and wrong.
fn check_manifest(file: &str, project: &Project, options: CheckOptions) -> Result<usize> {
    if !options.is_named && !project.resolve(file).exists() {
        writeln!(stdout(), "this project has no {file}")?;
        return Ok(0);
    }
    let mut wrong = 0;
    let manifest = Manifest::read(project, Path::new(file))?;
    for input in manifest.inputs(project, &Pins::read(project)?) {
        wrong += usize::from(check_input(&input, project, options.pin)?);
    }
    Ok(wrong)
}

/// Checks the data sets of these names, or all. CIFAR-10 must be there when it is named.
fn check(names: &[DataSet], project: &Project, pin: bool) -> Result<()> {
    let (mut wrong, is_named) = (0, !names.is_empty());
    let options = CheckOptions { pin, is_named };
    for data_set in DataSet::ALL {
        if is_named && !names.contains(&data_set) {
            continue;
        }
        wrong += match data_set {
            DataSet::Cifar10 => {
                match check_cifar10(project) {
                    Err(error) if !is_named => writeln!(stdout(), "{error:#}")?,
                    checked => checked?,
                }
                0
            }
            DataSet::Afhq => check_manifest("datasets/afhq.yaml", project, options)?,
            DataSet::CelebaHq => check_manifest("datasets/celeba_hq.yaml", project, options)?,
            DataSet::Checkpoints => check_manifest("checkpoints/manifest.yaml", project, options)?,
        };
    }
    match wrong {
        0 => Ok(()),
        count => Err(check_failed(format!(
            "{count} of the files that are there are not what they should be"
        ))),
    }
}

/// Mean and covariance of the embedded features of images.
fn statistics(network: &Loaded<CifarFeatures>, images: &ImageSet) -> Result<Statistics> {
    Statistics::from_features(&embedded_features(network, images, Device::Cpu)?)
}

/// The distances that tell what a Fréchet distance of the embedded table means.
fn print_distances(project: &Project) -> Result<()> {
    let task = Task::read(project, "cat2dog-32")?;
    let network: Loaded<CifarFeatures> = task.features.open(project, Device::Cpu, Kind::Float)?;
    let cats = task.source.load(project, task.image_size, usize::MAX)?;
    let dogs = task.reference.load(project, task.image_size, usize::MAX)?;
    let reference = statistics(&network, &dogs)?;
    writeln!(stdout(), "{}", task.distance)?;
    let distance = frechet_distance(&statistics(&network, &cats)?, &reference)?;
    writeln!(stdout(), "{} test cats: {distance:.3}", cats.len())?;
    let (even, odd): (Vec<usize>, Vec<usize>) = (0..dogs.len()).partition(|i| i % 2 == 0);
    let halves = [even.as_slice(), &odd].map(|half| statistics(&network, &dogs.select(half)));
    let [even_half, odd_half] = halves;
    let distance = frechet_distance(&even_half?, &odd_half?)?;
    writeln!(
        stdout(),
        "{} test dogs to the other {}: {distance:.3}",
        even.len(),
        odd.len()
    )?;
    let archive = match locate_cifar10(project) {
        Ok(archive) => archive,
        Err(error) => {
            writeln!(stdout(), "training dogs: not measured: {error:#}")?;
            return Ok(());
        }
    };
    let train = Cifar10::open(&archive.path)?
        .train
        .images_of_class(&task.reference.domain)?;
    let distance = frechet_distance(&statistics(&network, &train)?, &reference)?;
    writeln!(stdout(), "{} training dogs: {distance:.3}", train.len())?;
    let distance = frechet_distance(&statistics(&network, &train.first(1000))?, &reference)?;
    writeln!(stdout(), "1000 training dogs: {distance:.3}")?;
    Ok(())
}

/// Writes the sheets of the test images; prints their hashes, which tasks name.
fn embed(project: &Project) -> Result<()> {
    let data = Cifar10::open(&locate_cifar10(project)?.path)?;
    for embedded in EMBEDDED {
        let bytes = data.test.images_of_class(embedded.class)?.to_sheet()?;
        let path = project.embedded_sheet(embedded.sheet);
        write_atomically(&path, &bytes)?;
        writeln!(stdout(), "{} {}", sha256_hex(&bytes), path.display())?;
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
/// Check failed: files that are there are not what they should be. Invalid input: a data set that
/// is needed is missing.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    match &args.action {
        Action::Check { names, pin } => check(names, project, *pin),
        Action::Distances => print_distances(project),
        Action::Neighbours(args) => neighbours::run(args, project),
        Action::Embed => embed(project),
    }
}
