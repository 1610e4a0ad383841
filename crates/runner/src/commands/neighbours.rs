//! `egsde data neighbours`: the reference images nearest to pictures. Samples of a network that has
//! learnt its training images by heart lie nearer to them than these lie to each other.

use super::overwrite::Output;
use crate::error::invalid_input;
use crate::inputs::cropped::load_cropped;
use crate::inputs::task::Task;
use crate::paths::path_parser;
use crate::project::Project;
use crate::report::image_grids::{Column, Grid};
use crate::report::plot::write_grid_as;
use crate::runtime::console::stdout;
use crate::scoring::feature_network::FeatureNetwork;
use anyhow::Result;
use egsde_data::image_set::ImageSet;
use egsde_data::resize::Filter;
use egsde_metrics::averages::median;
use egsde_metrics::neighbours::{nearest, nearest_others};
use std::path::PathBuf;
use tch::{Device, Tensor};

/// Reference images whose own nearest neighbours give the scale of the distances.
const SCALE_IMAGES: usize = 256;

/// Arguments of `egsde data neighbours`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of pictures, for example a job's `images`
    #[arg(value_parser = path_parser())]
    pictures: PathBuf,
    /// Task (configs/tasks) among whose reference pictures the nearest are sought; it should be
    /// those that the network was trained on
    #[arg(long)]
    task: String,
    /// Number of pictures, the first by name
    #[arg(long, default_value_t = 16)]
    count: usize,
    /// PNG of the pictures beside their nearest reference pictures
    #[arg(long, default_value = "neighbours.png", value_parser = path_parser())]
    out: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

/// Pictures and reference images as points, `[n, d]` and `[m, d]`.
struct Space {
    /// What is compared.
    name: &'static str,
    pictures: Tensor,
    reference: Tensor,
}

/// Images as points: their values in [0, 1], `[n, 3 * side * side]`.
fn pixels(images: &ImageSet) -> Tensor {
    images.tensor().flatten(1, -1)
}

/// The two ways of comparing: by pixels and by the features of the task's metrics.
fn spaces(
    task: &Task,
    project: &Project,
    pictures: &ImageSet,
    reference: &ImageSet,
) -> Result<[Space; 2]> {
    let network = FeatureNetwork::open(task, project, Device::Cpu)?;
    Ok([
        Space {
            name: "by pixels",
            pictures: pixels(pictures),
            reference: pixels(reference),
        },
        Space {
            name: "by features",
            pictures: network.features(pictures, Device::Cpu)?,
            reference: network.features(reference, Device::Cpu)?,
        },
    ])
}

/// Runs the command.
///
/// # Errors
/// Invalid input: no pictures, an unknown task, reference images that are not there or fewer than
/// two, or a file that is there already.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let output = Output {
        path: &args.out,
        command: "data neighbours",
        force: args.force,
    };
    output.check()?;
    if args.count == 0 {
        return Err(invalid_input("--count must be at least 1"));
    }
    let task = Task::read(project, &args.task)?;
    let pictures = load_cropped(&args.pictures, task.image_size, args.count, Filter::Bicubic)?;
    let reference = task.reference.load(project, task.image_size, usize::MAX)?;
    if reference.len() < 2 {
        return Err(invalid_input(format!(
            "task {}: neighbours need at least 2 reference images",
            task.name
        )));
    }
    let mut columns = vec![Column {
        heading: "Picture".into(),
        images: pictures.clone(),
    }];
    for space in spaces(&task, project, &pictures, &reference)? {
        let found = nearest(&space.pictures, &space.reference)?;
        writeln!(
            stdout(),
            "{}: {} pictures are {:.3} from the nearest of {} reference images (median; least \
             {:.3}), which are {:.3} from each other's nearest",
            space.name,
            pictures.len(),
            median(found.distances.clone()),
            reference.len(),
            found
                .distances
                .iter()
                .copied()
                .fold(f64::INFINITY, f64::min),
            median(nearest_others(&space.reference, SCALE_IMAGES)?)
        )?;
        columns.push(Column {
            heading: format!("Nearest {}", space.name),
            images: reference.select(&found.indices),
        });
    }
    let grid = Grid {
        stem: "neighbours",
        title: "Nearest reference images",
        rule: "The first pictures by name.".into(),
        columns,
    };
    write_grid_as(&grid, &args.out)?;
    writeln!(stdout(), "{}", args.out.display())?;
    Ok(())
}
