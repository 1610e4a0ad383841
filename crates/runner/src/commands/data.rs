//! `egsde data check | embed`: the data sets.

use crate::dataset::ArchiveManifest;
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_metrics::cifar10::Cifar10;
use egsde_models::weights::{sha256_hex, write_atomically};
use std::path::Path;

/// Arguments of `egsde data`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Verify the CIFAR-10 archive: hash, counts, channel means
    Check,
    /// Write the sheets that ship in datasets/embedded from the archive
    Embed,
}

/// Runs the command.
pub fn run(args: &Args, root: &Path) -> Result<()> {
    let manifest: ArchiveManifest = read_yaml(&root.join("datasets/cifar10.yaml"))?;
    let (path, sha256) = manifest.locate(root)?;
    let data = Cifar10::open(&path)?;
    match args.what {
        What::Check => {
            let x = data.train.pictures.tensor();
            let means = Vec::<f64>::try_from(x.mean_dim([0i64, 2, 3].as_slice(), false, tch::Kind::Double))?;
            println!("{} sha256 {sha256}", path.display());
            println!("channel means {:.4} {:.4} {:.4}", means[0], means[1], means[2]);
            for (name, label) in [("cat", 3), ("dog", 5)] {
                println!("{name}: {} train, {} test", data.train.of_class(label).len(), data.test.of_class(label).len());
            }
        }
        What::Embed => {
            for (name, label) in [("cats", 3), ("dogs", 5)] {
                let bytes = data.test.of_class(label).to_sheet()?;
                let out = root.join(format!("datasets/embedded/test_{name}.png"));
                write_atomically(&out, &bytes)?;
                println!("{} {}", sha256_hex(&bytes), out.display());
            }
        }
    }
    Ok(())
}
