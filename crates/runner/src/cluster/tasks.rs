//! How a plan's jobs are divided into tasks, and tasks into Slurm's arrays.

use super::site::Site;
use super::slurm::Limits;
use crate::error::invalid_input;
use crate::plan::Job;
use anyhow::Result;

/// A job and what it costs.
#[derive(Debug, Clone, Copy)]
pub struct CostedJob<'a> {
    /// The job.
    pub job: &'a Job,
    /// Evaluations of the network that makes its images, at least 1.
    pub evaluations: usize,
}

/// Divides jobs, in order, into at most `tasks` groups of about equal cost. Returns the jobs'
/// names.
pub fn divide(jobs: &[CostedJob], tasks: usize) -> Vec<Vec<String>> {
    let costs: Vec<usize> = jobs.iter().map(|job| job.evaluations).collect();
    let mut groups: Vec<Vec<String>> = Vec::new();
    let mut last = None;
    for (costed, group) in jobs.iter().zip(group_numbers(&costs, tasks)) {
        if last != Some(group) {
            groups.push(Vec::new());
            last = Some(group);
        }
        if let Some(names) = groups.last_mut() {
            names.push(costed.job.id.clone());
        }
    }
    groups
}

/// The group of each cost, in order; some numbers may be left out.
fn group_numbers(costs: &[usize], groups: usize) -> Vec<usize> {
    let total = costs.iter().sum::<usize>().max(1);
    let (mut numbers, mut spent) = (Vec::with_capacity(costs.len()), 0);
    for cost in costs {
        // The middle of a job decides, so that no job opens a group for its last image alone.
        numbers.push((2 * spent + cost) * groups / (2 * total));
        spent += cost;
    }
    numbers
}

/// How many tasks: what the site asks for, or by images; no more than half of what Slurm holds for
/// all users.
///
/// # Errors
/// Invalid input: the site asks for more.
pub fn task_count(site: &Site, images: usize, limits: Limits) -> Result<usize> {
    let most = (limits.job_count / 2).max(1);
    match site.tasks {
        Some(count) if count > most => Err(invalid_input(format!(
            "{count} tasks are too many: this Slurm holds {} jobs (MaxJobCount), of which one \
             submission takes at most {most}",
            limits.job_count
        ))),
        Some(count) => Ok(count),
        None => Ok(images.div_ceil(site.pictures_per_task()).clamp(1, most)),
    }
}

/// One array that is to be submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrayRequest {
    /// The task that is its index 0.
    pub first: usize,
    /// How many tasks it has.
    pub tasks: usize,
    /// Tasks that may run at one time; none without a limit.
    pub parallel: Option<usize>,
}

impl ArrayRequest {
    /// The option of sbatch.
    pub fn option(&self) -> String {
        let parallel = self
            .parallel
            .map_or(String::new(), |count| format!("%{count}"));
        format!("--array=0-{}{parallel}", self.tasks - 1)
    }
}

/// Arrays over all tasks: as many tasks as Slurm takes in one, each with its part of what may run
/// at one time.
pub fn array_requests(tasks: usize, site: &Site, limits: Limits) -> Vec<ArrayRequest> {
    let size = limits.array_size.max(1);
    let arrays = tasks.div_ceil(size).max(1);
    let parallel = site.max_parallel.map(|count| (count / arrays).max(1));
    let starts = (0..tasks).step_by(size);
    starts
        .map(|first| ArrayRequest {
            first,
            tasks: (tasks - first).min(size),
            parallel,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        array_size: 4,
        job_count: 20,
    };

    #[test]
    fn groups_have_about_equal_cost_and_keep_the_order() {
        assert_eq!(group_numbers(&[1; 6], 3), [0, 0, 1, 1, 2, 2]);
        assert_eq!(group_numbers(&[1, 1, 1, 9], 2), [0, 0, 0, 1]);
        // A job of most of the cost leaves groups empty.
        assert_eq!(group_numbers(&[98, 1, 1], 3), [1, 2, 2]);
        assert_eq!(group_numbers(&[], 3), [0; 0]);
    }

    #[test]
    fn tasks_are_counted_by_images_and_bounded_by_what_slurm_holds() {
        let site = Site::default();
        assert_eq!(task_count(&site, 1, LIMITS).unwrap(), 1);
        assert_eq!(task_count(&site, 1001, LIMITS).unwrap(), 3);
        assert_eq!(task_count(&site, 1_000_000, LIMITS).unwrap(), 10);
        let site = Site {
            tasks: Some(11),
            ..Site::default()
        };
        let error = task_count(&site, 1, LIMITS).unwrap_err().to_string();
        assert!(error.contains("MaxJobCount"), "{error}");
    }

    #[test]
    fn arrays_hold_every_task_once_and_share_what_may_run() {
        let site = Site {
            max_parallel: Some(7),
            ..Site::default()
        };
        let options: Vec<String> = array_requests(9, &site, LIMITS)
            .iter()
            .map(ArrayRequest::option)
            .collect();
        assert_eq!(options, ["--array=0-3%2", "--array=0-3%2", "--array=0-0%2"]);
        let whole = array_requests(4, &Site::default(), LIMITS);
        assert_eq!(
            whole,
            [ArrayRequest {
                first: 0,
                tasks: 4,
                parallel: None
            }]
        );
        assert_eq!(whole[0].option(), "--array=0-3");
    }
}
