//! `egsde eval`: the published metrics of any folders.

use crate::error::{OrInvalidInput, invalid_input};
use crate::paths::path_parser;
use crate::plan::experiment_args::parse_count;
use crate::project::Project;
use crate::runtime::console::stdout;
use crate::runtime::device::open_device;
use crate::runtime::progress::Progress;
use crate::scoring::bad_images::BadImages;
use crate::scoring::folder_scores::FolderScores;
use crate::scoring::folders::{FolderEvaluator, open_inception};
use crate::scoring::reference::ReferenceCache;
use crate::scoring::sides::{Side, Sides};
use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use egsde_data::files::{check_writable, sha256_file, write_atomically};
use egsde_metrics::fid_statistics::to_npz;
use egsde_metrics::frechet::Statistics;
use egsde_metrics::protocol::Protocol;
use egsde_metrics::registry::METRICS;
use std::path::{Path, PathBuf};
use tch::Device;

/// Arguments of `egsde eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TRANSLATED TARGET: what is scored and what it is compared with, each a folder of pictures
    /// or statistics as pytorch-fid saves them (.npz with mu and sigma).
    #[arg(value_name = "FOLDER", value_parser = path_parser())]
    paths: Vec<PathBuf>,
    /// Folder of source pictures; without it only the metrics over sets are computed (FID, ...).
    #[arg(long, value_name = "DIR", value_parser = path_parser())]
    source: Option<PathBuf>,
    /// Folder of translated pictures, matched to the sources by file stem, or their statistics.
    #[arg(long, value_name = "DIR", value_parser = path_parser())]
    translated: Option<PathBuf>,
    /// Folder of reference pictures, or statistics, which give FID alone of the metrics over sets.
    #[arg(long, value_name = "DIR", value_parser = path_parser())]
    target: Option<PathBuf>,
    /// How pictures reach FID Inception; afhq is what plain pytorch-fid does.
    #[arg(long, default_value = "afhq", value_parser = protocol_parser())]
    protocol: Protocol,
    /// FID Inception's weights (PyTorch file or safetensors);
    /// checkpoints/pt_inception-2015-12-05-6726825d.pth of the project when left out.
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    inception: Option<PathBuf>,
    /// Leave out unreadable, unmatched and wrongly sized pictures; the answer lists them.
    #[arg(long)]
    skip_bad: bool,
    /// One JSON document instead of lines.
    #[arg(long)]
    json: bool,
    /// Compute nothing but the statistics of FOLDER and write them to FILE (.npz), as pytorch-fid
    /// does.
    #[arg(long, conflicts_with_all = ["source", "translated", "target", "save_statistics", "json"])]
    save_stats: bool,
    /// Also write the target's statistics here, in pytorch-fid's format.
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    save_statistics: Option<PathBuf>,
    /// Write over a file of statistics that is there.
    #[arg(long)]
    force: bool,
    /// Pictures that go through the network together.
    #[arg(long, default_value_t = 50, value_parser = parse_count)]
    batch_size: usize,
    /// Where to compute: cpu or cuda:0.
    #[arg(long, default_value = "cpu", value_parser = open_device)]
    device: Device,
}

/// Reads a protocol by its name.
fn protocol_parser() -> impl TypedValueParser<Value = Protocol> {
    PossibleValuesParser::new(Protocol::ALL.map(Protocol::name))
        .try_map(|name| Protocol::from_name(&name).ok_or("no such protocol"))
}

/// Width of the metrics' names.
const NAME_WIDTH: usize = 14;

/// Number of images, or what is there in their place.
fn count_text(count: Option<usize>) -> String {
    count.map_or("statistics".into(), |count| count.to_string())
}

fn print_scores(scores: &FolderScores) -> Result<()> {
    for metric in METRICS {
        let key = metric.key;
        if let Some(value) = scores.metrics.get(key) {
            writeln!(stdout(), "{key:NAME_WIDTH$} {value:.6}")?;
        } else if let Some(reason) = scores.not_computed.get(key) {
            writeln!(stdout(), "{key:NAME_WIDTH$} not computed: {reason}")?;
        }
    }
    writeln!(
        stdout(),
        "{} translated, {} target, {} pairs, protocol {}",
        count_text(scores.translated),
        count_text(scores.target),
        scores.pairs,
        scores.protocol
    )?;
    for text in &scores.notes {
        writeln!(stdout(), "note: {text}")?;
    }
    for text in &scores.skipped {
        writeln!(stdout(), "skipped: {text}")?;
    }
    Ok(())
}

/// A file of statistics that is about to be made.
struct Output<'a> {
    path: &'a Path,
    /// The option that asks for it.
    option: &'a str,
}

impl<'a> Output<'a> {
    /// Checks before all work that the file can be written and takes the place of no other.
    fn new(path: &'a Path, option: &'a str, force: bool) -> Result<Self> {
        if path.exists() && !force {
            return Err(invalid_input(format!(
                "{option}: {} is there: name another file, or --force writes over it",
                path.display()
            )));
        }
        check_writable(path).or_invalid_input(option)?;
        Ok(Self { path, option })
    }

    fn write(&self, statistics: &Statistics) -> Result<()> {
        let bytes = to_npz(statistics)?;
        write_atomically(self.path, &bytes).or_invalid_input(self.option)
    }
}

impl Args {
    fn evaluator(&self, project: &Project) -> Result<FolderEvaluator> {
        let inception = match &self.inception {
            Some(file) => file.clone(),
            None => project.inception(),
        };
        Ok(FolderEvaluator {
            protocol: self.protocol,
            inception: open_inception(&inception, self.device)?,
            inception_sha256: sha256_file(&inception).or_invalid_input("--inception")?,
            metrics: METRICS.to_vec(),
            batch_size: self.batch_size,
            device: self.device,
            skip_bad: self.skip_bad,
            cache: ReferenceCache::new(project.reference_cache(Path::new("runs"))),
        })
    }

    /// Translated and target, by option or by place.
    fn sets(&self) -> Result<[&Path; 2]> {
        let mut places = self.paths.iter();
        let translated = self.translated.as_ref().or_else(|| places.next());
        let target = self.target.as_ref().or_else(|| places.next());
        match (translated, target, places.next()) {
            (Some(translated), Some(target), None) => Ok([translated, target]),
            (_, _, Some(more)) => Err(invalid_input(format!(
                "eval compares two folders, {} is one more (egsde eval TRANSLATED TARGET)",
                more.display()
            ))),
            _ => Err(invalid_input(
                "eval compares two folders: egsde eval TRANSLATED TARGET, or --translated DIR and \
                 --target DIR",
            )),
        }
    }

    /// Writes the statistics of a folder and computes nothing else.
    fn save_stats(&self, project: &Project) -> Result<()> {
        let [folder, file] = self.paths.as_slice() else {
            return Err(invalid_input(
                "--save-stats takes a folder and a file: egsde eval --save-stats FOLDER FILE.npz",
            ));
        };
        let side = Side::open(folder, "given")?;
        let Some(images) = side.folder() else {
            return Err(invalid_input(format!(
                "{} holds statistics already: a folder of pictures is needed",
                folder.display()
            )));
        };
        side.check_count()?;
        let mut bad = BadImages::default();
        for text in &images.unread {
            bad.add(text.clone());
        }
        if !self.skip_bad {
            bad.refuse()?;
        }
        let output = Output::new(file, "--save-stats", self.force)?;
        let evaluator = self.evaluator(project)?;
        let mut bar = Progress::new("statistics", "pictures", side.images() as u64);
        let reference = evaluator.reference(&side, &mut bar, &mut bad)?;
        bar.finish();
        output.write(&reference.statistics)?;
        let count = reference.count();
        writeln!(
            stdout(),
            "{}: statistics of {count} pictures",
            file.display()
        )?;
        if let Some(text) = images.note_below() {
            writeln!(stdout(), "note: {text}")?;
        }
        for text in bad.into_texts() {
            writeln!(stdout(), "skipped: {text}")?;
        }
        Ok(())
    }
}

/// Runs the command.
///
/// # Errors
/// Those of [`FolderEvaluator::evaluate`], and files that cannot be read or written.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    if args.save_stats {
        return args.save_stats(project);
    }
    let [translated, target] = args.sets()?;
    let sides = Sides::open(args.source.as_deref(), translated, target)?;
    let output = args.save_statistics.as_deref();
    let output = output.map(|path| Output::new(path, "--save-statistics", args.force));
    let output = output.transpose()?;
    let (scores, statistics) = match sides.compare_statistics(args.protocol)? {
        Some(compared) => compared,
        None => {
            let (scores, reference) = args.evaluator(project)?.evaluate(&sides)?;
            (scores, reference.statistics)
        }
    };
    // The numbers first: a file that cannot be written takes nothing with it.
    if args.json {
        writeln!(stdout(), "{}", serde_json::to_string(&scores)?)?;
    } else {
        print_scores(&scores)?;
    }
    output.map_or(Ok(()), |output| output.write(&statistics))
}
