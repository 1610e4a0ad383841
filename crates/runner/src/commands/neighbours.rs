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
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

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

/// For each picture the number of the nearest reference image, and how far away it is.
struct Nearest {
    indices: Vec<usize>,
    distances: Vec<f64>,
}

/// Images as points: their values in [0, 1], `[n, 3 * side * side]`.
fn pixels(images: &ImageSet) -> Tensor {
    images.tensor().flatten(1, -1)
}

/// Euclidean distances `[n, m]` of points.
fn distances(from: &Tensor, to: &Tensor) -> Tensor {
    // Computed from differences: the quicker way through products loses the digits of small ones.
    Tensor::cdist(from, to, 2.0, 2)
}

impl Space {
    /// The nearest reference image of each picture.
    fn nearest(&self) -> Result<Nearest> {
        let (distances, indices) = distances(&self.pictures, &self.reference).min_dim(1, false);
        let indices = Vec::<i64>::try_from(indices)?;
        Ok(Nearest {
            indices: indices.into_iter().map(|i| i as usize).collect(),
            distances: Vec::<f64>::try_from(distances.to_kind(Kind::Double))?,
        })
    }

    /// How far reference images are from the nearest other one: the median over some of them.
    fn scale(&self) -> Result<f64> {
        let count = self.reference.size()[0].min(SCALE_IMAGES as i64);
        let some = self.reference.narrow(0, 0, count);
        let (nearest, _) = distances(&some, &self.reference).topk(2, 1, false, true);
        let nearest = nearest.select(1, 1).to_kind(Kind::Double);
        Ok(median(Vec::try_from(nearest)?))
    }
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
        let nearest = space.nearest()?;
        writeln!(
            stdout(),
            "{}: {} pictures are {:.3} from the nearest of {} reference images (median; least \
             {:.3}), which are {:.3} from each other's nearest",
            space.name,
            pictures.len(),
            median(nearest.distances.clone()),
            reference.len(),
            nearest
                .distances
                .iter()
                .copied()
                .fold(f64::INFINITY, f64::min),
            space.scale()?
        )?;
        columns.push(Column {
            heading: format!("Nearest {}", space.name),
            images: reference.select(&nearest.indices),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found_and_the_scale_leaves_an_image_itself_out() {
        let space = Space {
            name: "by pixels",
            pictures: Tensor::from_slice(&[0.9_f32, 7.5]).unsqueeze(1),
            reference: Tensor::from_slice(&[0.0_f32, 1.0, 3.0, 7.0]).unsqueeze(1),
        };
        let nearest = space.nearest().unwrap();
        assert_eq!(nearest.indices, [1, 3]);
        assert!((nearest.distances[0] - 0.1).abs() < 1e-6);
        // 1, 1, 2 and 4 to the nearest other one, the upper middle of which is 2.
        assert!((space.scale().unwrap() - 2.0).abs() < 1e-6);
    }
}
