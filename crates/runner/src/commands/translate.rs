//! `egsde translate`: any pictures by a row of a task's table.

use crate::config::experiment::Experiment;
use crate::config::overrides::set;
use crate::config::row::Row;
use crate::error::{OrInvalidInput, check_failed, invalid_input, one_line};
use crate::inputs::own_pictures::{OwnPicture, OwnPictures};
use crate::inputs::task::Task;
use crate::paths::path_parser;
use crate::plan::experiment_args::parse_count;
use crate::plan::job::slug;
use crate::plan::{Job, Plan};
use crate::project::Project;
use crate::run::job_scorer::ScoringTurn;
use crate::run::pipeline::Pipeline;
use crate::runtime::console::log;
use crate::runtime::device::open_device;
use crate::runtime::progress::Progress;
use crate::runtime::signal;
use anyhow::{Context, Result};
use egsde_data::crop::square;
use egsde_data::files::{make_writable_folder, write_atomically};
use egsde_data::image_set::{ImageSet, encode_png};
use egsde_data::nearest::{known_names, nearest};
use egsde_data::photo::read_upright;
use image::imageops::{FilterType, replace, resize};
use image::{Rgb, RgbImage};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tch::Device;

/// Arguments of `egsde translate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pictures, and folders of pictures (folders in them are not entered).
    #[arg(required = true, value_name = "INPUT", value_parser = path_parser())]
    inputs: Vec<PathBuf>,
    /// What to translate from and to: a file of configs/tasks. cat2dog-32 ships with its networks.
    #[arg(long)]
    task: String,
    /// Row of the task's table; `egsde-dagger` is EGSDE†.
    #[arg(long, value_name = "ROW", default_value = "EGSDE")]
    method: String,
    /// Experiment file whose rows to take instead of those of the task's table.
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    experiment: Option<PathBuf>,
    /// Seed of all noise; another seed is another translation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps instead of the row's: fewer are faster.
    #[arg(long, value_parser = parse_count)]
    steps: Option<usize>,
    /// Folder of the translations, as PNG files; `strips` in it shows each beside its source.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "translated",
        value_parser = path_parser()
    )]
    out: PathBuf,
    /// Write over translations that are there.
    #[arg(long)]
    force: bool,
    /// Leave out pictures whose translation is there: goes on with a run that was interrupted.
    #[arg(long, conflicts_with = "force")]
    skip_existing: bool,
    /// Where to compute: cpu or cuda:0.
    #[arg(long, default_value = "cpu", value_parser = open_device)]
    device: Device,
}

/// Shown pictures of a strip are at least so large, by a whole factor.
const STRIP_SIDE: u32 = 256;

/// Pixels between the pictures of a strip.
const STRIP_GAP: u32 = 8;

impl Args {
    fn translation(&self, picture: &OwnPicture) -> PathBuf {
        self.out.join(format!("{}.png", picture.name))
    }

    fn strips(&self) -> PathBuf {
        self.out.join("strips")
    }

    fn strip(&self, picture: &OwnPicture) -> PathBuf {
        self.strips().join(format!("{}.png", picture.name))
    }

    /// Checks that translations can be written, before any is made.
    fn check_writable(&self) -> Result<()> {
        for folder in [&self.out, &self.strips()] {
            make_writable_folder(folder).or_invalid_input("--out")?;
        }
        Ok(())
    }

    /// The pictures that are left to translate, once it is sure that nothing else is overwritten.
    fn pictures(&self) -> Result<OwnPictures> {
        if self.out.as_os_str() == "-" {
            return Err(invalid_input(
                "--out -: translations are files, several per picture: name a folder",
            ));
        }
        let mut found = OwnPictures::find(&self.inputs)?;
        self.check_sources_stay(&found.pictures)?;
        if self.skip_existing {
            let pictures = &mut found.pictures;
            pictures.retain(|picture| !self.translation(picture).exists());
        } else if !self.force {
            let mut pictures = found.pictures.iter();
            if let Some(first) = pictures.find_map(|picture| self.written_before(picture)) {
                return Err(invalid_input(format!(
                    "{} is there already: --skip-existing leaves it, --force writes over it, \
                     --out names another folder",
                    first.display()
                )));
            }
        }
        Ok(found)
    }

    /// A file that stands where one of this picture's is to be written.
    fn written_before(&self, picture: &OwnPicture) -> Option<PathBuf> {
        let written = [self.translation(picture), self.strip(picture)];
        written.into_iter().find(|path| path.exists())
    }

    /// No option allows to write over a picture that is to be translated.
    fn check_sources_stay(&self, pictures: &[OwnPicture]) -> Result<()> {
        let sources = pictures.iter().map(|picture| &picture.path);
        let sources: BTreeSet<PathBuf> = sources.filter_map(|p| p.canonicalize().ok()).collect();
        for picture in pictures {
            for written in [self.translation(picture), self.strip(picture)] {
                if written.canonicalize().is_ok_and(|at| sources.contains(&at)) {
                    return Err(invalid_input(format!(
                        "{} is itself a picture to translate: name another --out",
                        written.display()
                    )));
                }
            }
        }
        Ok(())
    }

    /// The task's file, read once its name is known to be one.
    fn task(&self, project: &Project) -> Result<Task> {
        let names = Task::names(project);
        if names.contains(&self.task) {
            return Task::read(project, &self.task);
        }
        let known = known_names(&self.task, &names, &project.tasks());
        let task = &self.task;
        Err(invalid_input(format!(
            "--task: unknown task `{task}`, {known}"
        )))
    }

    /// The experiment file whose rows are taken.
    fn table(&self, task: &Task, project: &Project) -> Result<PathBuf> {
        match (&self.experiment, &task.table) {
            (Some(file), _) => Ok(file.clone()),
            (None, Some(table)) => Ok(project.resolve(table)),
            (None, None) => Err(invalid_input(format!(
                "task {} names no table: --experiment FILE names the experiment whose rows to take",
                task.name
            ))),
        }
    }

    /// The row by its name, or by what folders are called after it.
    fn row(&self, rows: &[Row], table: &Path) -> Result<Row> {
        let named = rows.iter().find(|row| row.name == self.method);
        let alike = || {
            rows.iter()
                .find(|row| slug(&row.name) == slug(&self.method))
        };
        let Some(row) = named.or_else(alike) else {
            let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            let near = nearest(&self.method, names.iter().copied());
            let near = near.map_or(String::new(), |name| format!("; did you mean {name:?}?"));
            return Err(invalid_input(format!(
                "--method: no row {:?} in {}; there are {}{near}",
                self.method,
                table.display(),
                names.join(", ")
            )));
        };
        if row.method.external_images().is_some() {
            return Err(invalid_input(format!(
                "--method: row {:?} shows translations that another program made",
                row.name
            )));
        }
        match self.steps {
            None => Ok(row.clone()),
            Some(steps) => with_steps(row, steps).or_invalid_input("--steps"),
        }
    }

    /// The row's job over `count` pictures, in a plan of its own.
    fn plan(&self, count: usize, project: &Project) -> Result<Plan> {
        let task = self.task(project)?;
        let table = self.table(&task, project)?;
        let mut experiment = Experiment::read(&table, project, &[])?;
        experiment.methods = vec![self.row(&experiment.methods, &table)?];
        experiment.task.clone_from(&self.task);
        experiment.seeds = vec![self.seed];
        experiment.pictures = count;
        for line in task.pin(project)? {
            writeln!(log(), "{line}");
        }
        Plan::new(experiment, project)
    }
}

/// A row with other steps, checked as if its file had them.
fn with_steps(row: &Row, steps: usize) -> Result<Row> {
    let mut keys = serde_yaml::to_value(row)?;
    set(&mut keys, "steps", steps.into())?;
    Ok(serde_yaml::from_value(keys)?)
}

/// Source and translation side by side, enlarged where they are small.
fn strip(source: &RgbImage, translation: &RgbImage) -> RgbImage {
    let side = source.width() * (STRIP_SIDE / source.width()).max(1);
    let mut strip = RgbImage::from_pixel(2 * side + STRIP_GAP, side, Rgb([255; 3]));
    for (image, left) in [(source, 0), (translation, side + STRIP_GAP)] {
        let enlarged = resize(image, side, side, FilterType::Nearest);
        replace(&mut strip, &enlarged, i64::from(left), 0);
    }
    strip
}

/// The work on the pictures that are left.
struct Translator<'a> {
    args: &'a Args,
    project: &'a Project,
    plan: &'a Plan,
    /// Opened once a picture could be read.
    pipeline: Option<Pipeline>,
    bar: Progress,
    /// Whether more than one picture was asked for.
    has_several: bool,
    /// What could not be read, with the reason.
    bad: Vec<String>,
    translated: usize,
}

impl<'a> Translator<'a> {
    fn new(args: &'a Args, project: &'a Project, plan: &'a Plan, asked: usize) -> Self {
        let evaluations = plan.jobs[0].evaluations() * plan.experiment.pictures;
        Self {
            args,
            project,
            plan,
            pipeline: None,
            bar: Progress::new("translate", "evaluations", evaluations as u64),
            has_several: asked > 1,
            bad: Vec::new(),
            translated: 0,
        }
    }

    fn job(&self) -> &'a Job {
        &self.plan.jobs[0]
    }

    /// Reads pictures until a batch is full; those that cannot be read are named and left out.
    fn read_batch(
        &mut self,
        pictures: &mut impl Iterator<Item = &'a OwnPicture>,
    ) -> (Vec<&'a OwnPicture>, ImageSet) {
        let (side, filter) = (self.plan.task.image_size, self.job().resize_filter());
        let (mut read, mut sources) = (Vec::new(), ImageSet::empty(side));
        while read.len() < self.plan.experiment.batch_size {
            let Some(picture) = pictures.next() else {
                break;
            };
            let image = read_upright(&picture.path);
            match image.and_then(|image| square(&image, side, filter)) {
                Ok(image) => {
                    sources.names.push(picture.stem.clone());
                    sources.pixels.extend(image.pixels);
                    read.push(picture);
                }
                Err(error) => {
                    self.leave_out(one_line(&format!("{error:#}")));
                    self.bar.skip(self.job().evaluations() as u64);
                }
            }
        }
        (read, sources)
    }

    fn leave_out(&mut self, reason: String) {
        // The error at the end tells why a single picture was left out.
        if self.has_several {
            self.bar.print_line(&format!("left out: {reason}"));
        }
        self.bad.push(reason);
    }

    fn translate(&mut self, sources: &ImageSet) -> Result<ImageSet> {
        if self.pipeline.is_none() {
            let count = self.plan.experiment.pictures;
            // Nothing is scored beside.
            let (device, scoring) = (self.args.device, ScoringTurn::default());
            let pipeline = Pipeline::open(self.plan, self.project, device, count, scoring);
            self.pipeline = Some(pipeline.or_invalid_input("networks")?);
            // Only now: a command that lacks its networks leaves no folder behind.
            self.args.check_writable()?;
        }
        let pipeline = self.pipeline.as_ref();
        let pipeline = pipeline.context("the pipeline was just opened")?;
        let job = &self.plan.jobs[0];
        let method = pipeline.method(&job.identity.settings)?;
        let all: Vec<usize> = (0..sources.len()).collect();
        let bar = &mut self.bar;
        let mut count_step = |images| bar.add(images, &job.row);
        pipeline.translate(job, method.as_ref(), sources, &all, &mut count_step)
    }

    /// Writes each translation after its strip: where it lies, the picture is done.
    fn write(&self, picture: &OwnPicture, source: &RgbImage, translation: &RgbImage) -> Result<()> {
        let strip = encode_png(&strip(source, translation))?;
        write_atomically(&self.args.strip(picture), &strip)?;
        write_atomically(&self.args.translation(picture), &encode_png(translation)?)
    }

    fn stop_if_signalled(&self) -> Result<()> {
        signal::stop_if_requested(|| {
            format!(
                "interrupted: {} of {} pictures are in {}; the same command with --skip-existing \
                 goes on from there",
                self.translated,
                self.plan.experiment.pictures,
                self.args.out.display()
            )
        })
    }

    fn translate_all(&mut self, pictures: &'a [OwnPicture]) -> Result<()> {
        let mut left = pictures.iter();
        loop {
            let (read, sources) = self.read_batch(&mut left);
            if read.is_empty() {
                return Ok(());
            }
            self.stop_if_signalled()?;
            let translations = self.translate(&sources)?;
            for (i, picture) in read.iter().enumerate() {
                self.write(picture, &sources.image(i), &translations.image(i))
                    .or_invalid_input("cannot write translations")?;
                self.translated += 1;
            }
        }
    }

    /// Says what was done.
    ///
    /// # Errors
    /// Check failed: pictures that were left out; invalid input where no other was there.
    fn finish(&self) -> Result<()> {
        self.bar.finish();
        let (bad, total) = (self.bad.len(), self.bad.len() + self.translated);
        let Some(first) = self.bad.first() else {
            return Ok(());
        };
        match self.translated {
            0 if total == 1 => Err(invalid_input(first.as_str())),
            0 => Err(invalid_input(format!(
                "none of {total} pictures could be read, first {first}"
            ))),
            _ => Err(check_failed(format!(
                "{bad} of {total} pictures could not be read and were left out, first {first}"
            ))),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// Invalid input: a task, row, network or picture that is missing, or translations that would be
/// overwritten. Check failed: some pictures could not be read; the others are translated.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let OwnPictures {
        pictures,
        unread,
        notes,
    } = args.pictures()?;
    for note in notes {
        writeln!(log(), "{note}");
    }
    if pictures.is_empty() {
        let out = args.out.display();
        writeln!(
            log(),
            "translate: nothing to do, all translations are in {out}"
        );
        return Ok(());
    }
    let plan = args.plan(pictures.len(), project)?;
    plan.experiment
        .precision
        .prepare(args.device)
        .map_err(invalid_input)?;
    signal::listen()?;
    let asked = pictures.len() + unread.len();
    let mut translator = Translator::new(args, project, &plan, asked);
    for reason in unread {
        translator.leave_out(reason);
    }
    translator.translate_all(&pictures)?;
    let (translated, out) = (translator.translated, args.out.display());
    if translated > 0 {
        let row = &plan.jobs[0].row;
        writeln!(
            log(),
            "translate: {translated} pictures by {row} into {out}, beside their sources in \
             {out}/strips"
        );
    }
    translator.finish()
}
