//! `egsde study`: human evaluation.

use crate::error::invalid_input;
use crate::paths::path_parser;
use crate::plan::Plan;
use crate::plan::experiment_args::{ExperimentArgs, parse_count};
use crate::project::Project;
use crate::report::{escape, markdown};
use crate::runtime::console::stdout;
use crate::store::results::Results;
use crate::study::{Preference, StudySettings, make_study, score_study};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Arguments of `egsde study`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Write a page that asks which of two rows' translations is better, blinded and in random
    /// order
    Make(MakeArgs),
    /// Turn answers into the AMT column
    Score {
        /// Folder that `study make` wrote
        #[arg(value_parser = path_parser())]
        folder: PathBuf,
        /// What raters sent back
        #[arg(value_parser = path_parser())]
        answers: Vec<PathBuf>,
        /// One JSON document instead of a table
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct MakeArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// The two rows, for example EGSDE,SDEdit
    #[arg(long, value_name = "A,B")]
    rows: String,
    /// Folder of the page and its key
    #[arg(long, value_parser = path_parser())]
    out: PathBuf,
    /// Write over a study that lies there: answers to it can then no more be scored
    #[arg(long)]
    force: bool,
    /// Sources, from the first
    #[arg(long, default_value_t = 50, value_parser = parse_count)]
    pictures: usize,
    /// Decides order and sides
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The two rows of a text `A,B`. A row's name may itself have commas.
fn split_rows(text: &str, plan: &Plan) -> Result<[String; 2]> {
    let is_row = |name: &str| plan.experiment.methods.iter().any(|row| row.name == name);
    let mut splits = Vec::new();
    for (at, _) in text.match_indices(',') {
        splits.push([text[..at].trim(), text[at + 1..].trim()]);
    }
    let known = splits.iter().find(|[a, b]| is_row(a) && is_row(b));
    match (known, splits.as_slice()) {
        (Some(rows), _) => Ok(rows.map(String::from)),
        // One of them is no row: it is told of with the nearest name.
        (None, [rows]) => Ok(rows.map(String::from)),
        (None, splits) => Err(invalid_input(format!(
            "--rows {text}: two rows with a comma between them, not {}",
            splits.len() + 1
        ))),
    }
}

fn make_page(args: &MakeArgs, project: &Project) -> Result<()> {
    let plan = args.experiment.plan(project)?;
    let settings = StudySettings {
        rows: split_rows(&args.rows, &plan)?,
        pictures: args.pictures,
        seed: args.seed,
        force: args.force,
        run: format!("egsde run {}", args.experiment.words()),
    };
    let results = Results::read(&plan);
    let count = make_study(&results, project, &settings, &args.out)?;
    let page = args.out.join("index.html");
    writeln!(
        stdout(),
        "{}: {count} questions; keep key.csv, give raters index.html alone",
        page.display()
    )
}

fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

fn print_preferences(preferences: &[Preference]) -> Result<()> {
    let mut grid = markdown::grid([
        "Method",
        "preferred to",
        "AMT ↑",
        "95 % interval",
        "answers",
    ]);
    for preference in preferences {
        let amt = &preference.amt;
        grid.add_row([
            escape::markdown(&preference.method),
            escape::markdown(&preference.over),
            percent(amt.estimate),
            format!("{} to {}", percent(amt.low), percent(amt.high)),
            preference.answers.to_string(),
        ]);
    }
    writeln!(stdout(), "{grid}")
}

fn print_score(folder: &Path, answers: &[PathBuf], json: bool) -> Result<()> {
    let preferences = score_study(folder, answers)?;
    if json {
        writeln!(stdout(), "{}", serde_json::to_string(&preferences)?)
    } else {
        print_preferences(&preferences)
    }
}

/// Runs the command; `project` finds the project where one is needed.
///
/// # Errors
/// Those of [`make_study`] and [`score_study`].
pub fn run(args: &Args, project: impl FnOnce() -> Result<Project>) -> Result<()> {
    match &args.action {
        Action::Make(args) => make_page(args, &project()?),
        Action::Score {
            folder,
            answers,
            json,
        } => print_score(folder, answers, *json),
    }
}
