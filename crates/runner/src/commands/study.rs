//! `egsde study make | score`.

use crate::error::Problem;
use crate::study::{Make, make, score};
use crate::which::Which;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Arguments of `egsde study`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Write a page that asks which of two rows' translations is better, blinded and in random order
    Make {
        #[command(flatten)]
        which: Which,
        /// The two rows, for example EGSDE,SDEdit
        #[arg(long, value_delimiter = ',', required = true)]
        rows: Vec<String>,
        /// Folder of the page and its key
        #[arg(long)]
        out: PathBuf,
        /// Sources, from the first
        #[arg(long, default_value_t = 50)]
        pictures: usize,
        /// Of order and sides
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Turn answers into the AMT column
    Score {
        /// Folder that `study make` wrote
        folder: PathBuf,
        /// What raters sent back, one file each
        answers: Vec<PathBuf>,
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub fn run(args: &Args, root: &Path) -> Result<()> {
    match &args.what {
        What::Make {
            which,
            rows,
            out,
            pictures,
            seed,
        } => {
            let [a, b] = rows.as_slice() else {
                return Err(Problem::user(format!(
                    "--rows: two rows, not {}",
                    rows.len()
                )));
            };
            let what = Make {
                rows: [a.clone(), b.clone()],
                pictures: *pictures,
                seed: *seed,
            };
            let count = make(&which.plan(root)?, root, &what, out)?;
            println!(
                "{}: {count} questions; keep key.csv, give raters index.html alone",
                out.join("index.html").display()
            );
            Ok(())
        }
        What::Score {
            folder,
            answers,
            json,
        } => {
            let found = score(folder, answers)?;
            if *json {
                println!("{}", serde_json::to_string(&found)?);
                return Ok(());
            }
            let mut grid = comfy_table::Table::new();
            grid.load_style(comfy_table::presets::ASCII_MARKDOWN);
            grid.set_header([
                "Method",
                "preferred to",
                "AMT ↑",
                "95 % interval",
                "answers",
            ]);
            for p in &found {
                let percent = |share: f64| format!("{:.1} %", share * 100.0);
                let interval = format!("{} to {}", percent(p.amt.low), percent(p.amt.high));
                grid.add_row([
                    p.method.clone(),
                    p.over.clone(),
                    percent(p.amt.estimate),
                    interval,
                    p.answers.to_string(),
                ]);
            }
            println!("{grid}");
            Ok(())
        }
    }
}
