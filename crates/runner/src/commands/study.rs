//! `egsde study`: human evaluation.

use crate::error::invalid_input;
use crate::plan::experiment_args::ExperimentArgs;
use crate::project::Project;
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
        folder: PathBuf,
        /// What raters sent back, one file each
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
    #[arg(long, value_delimiter = ',', required = true)]
    rows: Vec<String>,
    /// Folder of the page and its key
    #[arg(long)]
    out: PathBuf,
    /// Sources, from the first
    #[arg(long, default_value_t = 50)]
    pictures: usize,
    /// Decides order and sides
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn make_page(args: &MakeArgs, project: &Project) -> Result<()> {
    let [row, other] = args.rows.as_slice() else {
        return Err(invalid_input(format!(
            "--rows: two rows, not {}",
            args.rows.len()
        )));
    };
    let rows = [row.clone(), other.clone()];
    let settings = StudySettings {
        rows,
        pictures: args.pictures,
        seed: args.seed,
    };
    let plan = args.experiment.plan(project)?;
    let results = Results::read(&plan);
    let count = make_study(&results, project, &settings, &args.out)?;
    let page = args.out.join("index.html");
    println!(
        "{}: {count} questions; keep key.csv, give raters index.html alone",
        page.display()
    );
    Ok(())
}

fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

fn print_preferences(preferences: &[Preference]) {
    let mut grid = comfy_table::Table::new();
    grid.load_style(comfy_table::presets::ASCII_MARKDOWN);
    grid.set_header([
        "Method",
        "preferred to",
        "AMT ↑",
        "95 % interval",
        "answers",
    ]);
    for preference in preferences {
        let amt = &preference.amt;
        grid.add_row([
            preference.method.clone(),
            preference.over.clone(),
            percent(amt.estimate),
            format!("{} to {}", percent(amt.low), percent(amt.high)),
            preference.answers.to_string(),
        ]);
    }
    println!("{grid}");
}

fn print_score(folder: &Path, answers: &[PathBuf], json: bool) -> Result<()> {
    let preferences = score_study(folder, answers)?;
    if json {
        println!("{}", serde_json::to_string(&preferences)?);
    } else {
        print_preferences(&preferences);
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
/// Those of [`make_study`] and [`score_study`].
pub fn run(args: &Args, project: &Project) -> Result<()> {
    match &args.action {
        Action::Make(args) => make_page(args, project),
        Action::Score {
            folder,
            answers,
            json,
        } => print_score(folder, answers, *json),
    }
}
