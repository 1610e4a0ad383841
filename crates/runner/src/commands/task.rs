//! `egsde task`: tasks of own pictures and networks, made and checked.

use crate::error::{OrInvalidInput, check_failed, invalid_input};
use crate::inputs::cropped::Survey;
use crate::inputs::hashed::{HashedFile, HashedFolder};
use crate::inputs::image_folder::folder_sha256;
use crate::inputs::image_source::{ImagePlace, ImageSource};
use crate::inputs::network_file::NetworkFile;
use crate::inputs::own_task::{CheckedTask, OwnFolder, OwnNetwork, OwnTask};
use crate::inputs::task::Task;
use crate::paths::{expand, path_parser};
use crate::plan::experiment_args::parse_count;
use crate::project::Project;
use crate::runtime::console::{log, stdout};
use anyhow::Result;
use egsde_data::files::{sha256_file, write_atomically};
use egsde_data::nearest::offer;
use egsde_sampler::generators::GeneratorName;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Arguments of `egsde task`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Write a task of own pictures and networks, every one of them checked
    New(Box<NewArgs>),
    /// Whether a task's own files are those it was made with
    Check {
        /// Name of a file in configs/tasks
        name: String,
        /// Take up what is there now: its results are then other ones
        #[arg(long)]
        update: bool,
    },
}

#[derive(Debug, clap::Args)]
struct NewArgs {
    /// Name of the task: configs/tasks/NAME.yaml
    name: String,
    /// Folder of pictures to translate, of any sizes: the middle of each is taken
    #[arg(long, value_name = "DIR", value_parser = path_parser())]
    source: PathBuf,
    /// Folder of pictures that translations should look like
    #[arg(long, value_name = "DIR", value_parser = path_parser())]
    reference: PathBuf,
    /// Weights of the diffusion network, trained on the reference's domain
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    diffusion: PathBuf,
    /// Weights of the extractor, trained to tell the domains apart
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    extractor: PathBuf,
    /// Configuration of the diffusion network, where its file does not carry it
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    diffusion_network: Option<PathBuf>,
    /// Configuration of the extractor, where its file does not carry it
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    extractor_network: Option<PathBuf>,
    /// Weights of the feature network (FID Inception where it is there, else the one that ships)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    features: Option<PathBuf>,
    /// Configuration of the feature network, where its file does not carry it
    #[arg(long, value_name = "FILE", value_parser = path_parser(), requires = "features")]
    features_network: Option<PathBuf>,
    /// Weights of a generator to compare with: cut=FILE, cyclegan=FILE or stargan_v2=FILE
    #[arg(long = "generator", value_name = "METHOD=FILE", value_parser = parse_generator)]
    generators: Vec<GeneratorPath>,
    /// Configuration of a generator, where its file does not carry it
    #[arg(long = "generator-network", value_name = "METHOD=FILE", value_parser = parse_generator)]
    generator_networks: Vec<GeneratorPath>,
    /// Name of the source's domain (its folder's)
    #[arg(long, value_name = "NAME")]
    source_domain: Option<String>,
    /// Name of the reference's domain (its folder's)
    #[arg(long, value_name = "NAME")]
    reference_domain: Option<String>,
    /// Names of the extractor's classes in their order (those it was trained with)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    classes: Vec<String>,
    /// Side of the pictures in pixels (the diffusion network's)
    #[arg(long, value_name = "N", value_parser = parse_count)]
    image_size: Option<usize>,
    /// Heading for people (made of the domains)
    #[arg(long)]
    title: Option<String>,
    /// Write over a task of this name
    #[arg(long)]
    force: bool,
}

/// A file of the generator of a method.
#[derive(Debug, Clone)]
struct GeneratorPath {
    name: GeneratorName,
    path: PathBuf,
}

/// Reads `cut=FILE`.
fn parse_generator(text: &str) -> Result<GeneratorPath, String> {
    let names = GeneratorName::ALL.map(|name| name.to_string());
    let known = names.join(", ");
    let Some((method, path)) = text.split_once('=') else {
        return Err(format!("expected METHOD=FILE with a METHOD of {known}"));
    };
    let found = GeneratorName::ALL
        .into_iter()
        .find(|name| name.to_string() == method);
    let Some(name) = found else {
        let offer = offer(method, names.iter().map(String::as_str));
        return Err(format!(
            "no generator of {method:?}; there are {known}{offer}"
        ));
    };
    let path = expand(Path::new(path), Path::new("")).map_err(|error| format!("{error:#}"))?;
    Ok(GeneratorPath { name, path })
}

impl NewArgs {
    /// The generators with their configurations.
    fn generators(&self) -> BTreeMap<GeneratorName, OwnNetwork> {
        let mut generators = BTreeMap::new();
        for GeneratorPath { name, path } in &self.generators {
            let networks = &self.generator_networks;
            let network = networks.iter().find(|network| network.name == *name);
            let own = OwnNetwork {
                file: path.clone(),
                network: network.map(|network| network.path.clone()),
                option: "--generator-network (METHOD=FILE)",
            };
            generators.insert(*name, own);
        }
        generators
    }

    fn task(&self) -> OwnTask {
        OwnTask {
            name: self.name.clone(),
            title: self.title.clone(),
            source: OwnFolder {
                folder: self.source.clone(),
                domain: self.source_domain.clone(),
            },
            reference: OwnFolder {
                folder: self.reference.clone(),
                domain: self.reference_domain.clone(),
            },
            diffusion: OwnNetwork {
                file: self.diffusion.clone(),
                network: self.diffusion_network.clone(),
                option: "--diffusion-network",
            },
            extractor: OwnNetwork {
                file: self.extractor.clone(),
                network: self.extractor_network.clone(),
                option: "--extractor-network",
            },
            features: self.features.as_ref().map(|file| OwnNetwork {
                file: file.clone(),
                network: self.features_network.clone(),
                option: "--features-network",
            }),
            generators: self.generators(),
            image_size: self.image_size,
            classes: self.classes.clone(),
        }
    }
}

/// Pictures of a first experiment on a new task.
const FIRST_PICTURES: usize = 50;

/// The rows of a generator.
fn generator_rows(name: GeneratorName) -> &'static str {
    match name {
        GeneratorName::Cut => "  - {name: CUT, method: cut}\n",
        GeneratorName::Cyclegan => "  - {name: CycleGAN, method: cyclegan}\n",
        GeneratorName::StarganV2 => {
            "  - {name: StarGAN v2 (latent), method: stargan_v2, guidance: latent}\n  \
             - {name: StarGAN v2 (reference), method: stargan_v2, guidance: reference}\n"
        }
    }
}

/// An experiment to begin with.
fn first_experiment(task: &Task, count: usize) -> String {
    let Task { name, title, .. } = task;
    let title = serde_json::Value::from(title.as_str());
    let pictures = count.min(FIRST_PICTURES);
    let generators: String = task
        .generators
        .keys()
        .map(|name| generator_rows(*name))
        .collect();
    format!(
        r"# A first experiment, written by egsde task new. The weights lambda_s and lambda_i want a
# sweep (docs/own-task.md).
name: {name}
title: {title}
task: {name}
seeds: [1]
pictures: {pictures}
methods:
  - {{name: Source, method: source}}
  - {{name: SDEdit, method: sdedit, steps: 50, start: 0.5}}
  - {{name: EGSDE, method: egsde, steps: 50, start: 0.5, lambda_s: 30, lambda_i: 0.3}}
{generators}"
    )
}

/// One line on the pictures of a domain.
fn describe(source: &ImageSource, survey: Survey, side: usize) -> String {
    let small = match survey.enlarged {
        0 => String::new(),
        count => format!(" ({count} smaller than {side} px: they are enlarged)"),
    };
    format!("{} pictures of {}{small}", survey.count, source.domain)
}

fn make(args: &NewArgs, project: &Project) -> Result<()> {
    let path = project.task_file(&args.name);
    if path.exists() && !args.force {
        return Err(invalid_input(format!(
            "{} is there already: choose another name, or --force writes over it",
            path.display()
        )));
    }
    let checked = args.task().check(project)?;
    let CheckedTask {
        task,
        source,
        reference,
    } = &checked;
    let text = serde_yaml::to_string(task)?;
    let head = "# Written by egsde task new; egsde task check tells whether files changed.\n";
    write_atomically(&path, format!("{head}{text}").as_bytes())?;
    writeln!(
        stdout(),
        "{}: {}; {}; {} px",
        path.display(),
        describe(&task.source, *source, task.image_size),
        describe(&task.reference, *reference, task.image_size),
        task.image_size
    )?;
    write_first_experiment(task, source.count, project)
}

/// Writes a first experiment, unless a file of its name is there.
fn write_first_experiment(task: &Task, count: usize, project: &Project) -> Result<()> {
    let path = project.resolve(format!("experiments/{}.yaml", task.name));
    let path_text = path.display();
    if path.exists() {
        return writeln!(stdout(), "{path_text} was there already and stays");
    }
    write_atomically(&path, first_experiment(task, count).as_bytes())?;
    writeln!(stdout(), "{path_text}: egsde run {path_text} --report")
}

/// A file or folder of a task, the hash it should have and the one it has.
struct HashedInput {
    what: String,
    expected: String,
    found: Result<String>,
}

impl HashedInput {
    fn folder(folder: &HashedFolder, project: &Project) -> Self {
        let path = project.resolve(&folder.path);
        Self {
            found: folder_sha256(&path),
            what: path.display().to_string(),
            expected: folder.sha256.clone(),
        }
    }

    fn file(file: &HashedFile, project: &Project) -> Self {
        let path = project.resolve(&file.file);
        Self {
            found: sha256_file(&path),
            what: path.display().to_string(),
            expected: file.sha256.clone(),
        }
    }

    fn is_unchanged(&self) -> bool {
        self.found
            .as_ref()
            .is_ok_and(|found| *found == self.expected)
    }

    fn print(&self) -> Result<()> {
        let Self { what, found, .. } = self;
        match found {
            Ok(_) if self.is_unchanged() => writeln!(stdout(), "ok: {what}"),
            Ok(found) => writeln!(stdout(), "changed: {what}: SHA-256 is {found}"),
            Err(error) => writeln!(stdout(), "wrong: {what}: {error:#}"),
        }
    }
}

/// Everything that a task names with its hash.
fn hashed_inputs(task: &Task, project: &Project) -> Vec<HashedInput> {
    let mut inputs = Vec::new();
    let images = [&task.source, &task.reference];
    for source in images.into_iter().flat_map(ImageSource::parts) {
        match &source.place {
            ImagePlace::Sheet(file) => inputs.push(HashedInput::file(file, project)),
            ImagePlace::Folder(folder) => inputs.push(HashedInput::folder(folder, project)),
            ImagePlace::Archive(_) | ImagePlace::Published(_) | ImagePlace::Several(_) => {}
        }
    }
    let files = task.networks().into_iter().filter_map(NetworkFile::hashed);
    inputs.extend(files.map(|file| HashedInput::file(file, project)));
    inputs
}

/// Puts the hashes that files have now into the task's file.
fn update(path: &Path, inputs: &[HashedInput]) -> Result<()> {
    let mut text = std::fs::read_to_string(path).or_invalid_input(path.display())?;
    for HashedInput {
        expected, found, ..
    } in inputs
    {
        if let Ok(found) = found {
            text = text.replace(expected, found);
        }
    }
    write_atomically(path, text.as_bytes())
}

fn check(name: &str, takes_up: bool, project: &Project) -> Result<()> {
    let path = project.task_file(name);
    if !path.is_file() {
        let names = Task::names(project);
        let offer = offer(name, names.iter().map(String::as_str));
        return Err(invalid_input(format!(
            "no task `{name}`; there are {}{offer}",
            names.join(", ")
        )));
    }
    let inputs = hashed_inputs(&Task::read(project, name)?, project);
    for input in &inputs {
        input.print()?;
    }
    let changed = inputs.iter().filter(|input| !input.is_unchanged()).count();
    let wrong = inputs.iter().filter(|input| input.found.is_err()).count();
    if takes_up && wrong == 0 {
        update(&path, &inputs)?;
        writeln!(log(), "{}: {changed} hashes taken up", path.display());
        return Ok(());
    }
    match changed {
        0 => Ok(()),
        count => Err(check_failed(format!(
            "{count} of {} are not what the task {name} was made with (--update takes up what is \
             there now)",
            inputs.len()
        ))),
    }
}

/// Runs the command.
///
/// # Errors
/// Invalid input: what keeps a task from being made. Check failed: files that have changed.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    match &args.action {
        Action::New(args) => make(args, project),
        Action::Check { name, update } => check(name, *update, project),
    }
}
