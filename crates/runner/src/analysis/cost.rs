//! What each row's images cost: network evaluations, and seconds where they were measured. Times of
//! different machines are never averaged: a row shows those of one, and says which.

use super::table_row::{Cell, CellNote, machine_letter};
use crate::plan::Job;
use crate::store::results::Results;
use crate::store::scores::{SamplingConditions, Scores};
use anyhow::Result;
use egsde_metrics::intervals::{Summary, summary};
use egsde_metrics::registry::{EVALUATIONS, NETWORK_SECONDS, SECONDS};
use std::collections::BTreeMap;
use std::fmt;

/// What images were made on, as far as their time depends on it. Equal GPUs of one node are one
/// machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine {
    is_cpu: bool,
    /// None of jobs that did not record it.
    processor: Option<String>,
    /// CPU threads; 0 where a GPU computed.
    threads: usize,
    own_kernels: bool,
}

impl From<&SamplingConditions> for Machine {
    fn from(sampling: &SamplingConditions) -> Self {
        let is_cpu = sampling.device == "cpu";
        Self {
            is_cpu,
            processor: sampling.processor.clone(),
            threads: if is_cpu { sampling.threads } else { 0 },
            own_kernels: sampling.own_kernels,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = if self.is_cpu { "CPU" } else { "GPU" };
        let processor = self.processor.as_deref().unwrap_or("not recorded");
        write!(f, "{device} {processor}")?;
        if self.is_cpu {
            write!(f, ", {} threads", self.threads)?;
        }
        match (self.is_cpu, self.own_kernels) {
            (true, false) => f.write_str(", libtorch's kernels"),
            (false, true) => f.write_str(", own kernels"),
            (true, true) | (false, false) => Ok(()),
        }
    }
}

/// Seconds per image that one job measured.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Timing {
    seconds: f64,
    network_seconds: f64,
}

/// Timings of one row by machine.
type ByMachine = BTreeMap<Machine, Vec<Timing>>;

/// The cells of one row by metric.
type Cells = BTreeMap<String, Cell>;

/// What all rows cost.
#[derive(Debug)]
pub struct Costs {
    /// The machines whose times are shown, the one of most jobs first.
    pub machines: Vec<String>,
    /// What a reader must know about the times.
    pub notes: Vec<String>,
    cells: BTreeMap<String, Cells>,
}

/// Whether this program made the job's images by a network.
fn is_translated_here(job: &Job) -> bool {
    let settings = &job.identity.settings;
    !settings.is_source() && settings.external_images().is_none()
}

/// What a job measured; none where another process made more than half of its images, since the
/// last one's few batches tell little.
fn timing(scores: &Scores) -> Option<Timing> {
    let sampling = &scores.sampling;
    let images = sampling.images as f64;
    let seconds = sampling.seconds / images;
    let is_known = 2 * sampling.images >= scores.images && seconds.is_finite() && seconds > 0.0;
    is_known.then_some(Timing {
        seconds,
        network_seconds: sampling.network_seconds / images,
    })
}

/// The number of jobs that a row has on a machine.
fn count_on(by_machine: &ByMachine, machine: &Machine) -> usize {
    by_machine.get(machine).map_or(0, Vec::len)
}

/// Machines by the number of their jobs, most first.
fn by_jobs(rows: &BTreeMap<String, ByMachine>) -> Vec<Machine> {
    let mut counts: BTreeMap<&Machine, usize> = BTreeMap::new();
    for (machine, timings) in rows.values().flatten() {
        *counts.entry(machine).or_default() += timings.len();
    }
    let mut machines: Vec<(&Machine, usize)> = counts.into_iter().collect();
    machines.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    machines
        .into_iter()
        .map(|(machine, _)| machine.clone())
        .collect()
}

/// The machine whose times a row shows: the table's, where the row has any of it, else that of most
/// of its jobs.
fn choose<'a>(by_machine: &ByMachine, machines: &'a [Machine]) -> Option<&'a Machine> {
    let main = machines.first()?;
    if by_machine.contains_key(main) {
        return Some(main);
    }
    // Where counts are equal, the first machine is taken.
    let last_first = machines.iter().rev();
    last_first.max_by_key(|machine| count_on(by_machine, machine))
}

fn cell(values: &[f64], place: usize) -> Result<Cell> {
    let Summary {
        mean,
        std,
        half_width,
        n,
    } = summary(values)?;
    Ok(Cell {
        mean,
        std,
        n: u32::try_from(n).ok(),
        ci95: half_width,
        note: Some(CellNote::Machine(place)),
    })
}

impl Costs {
    /// The costs of finished jobs.
    ///
    /// # Errors
    /// None in practice: each row that is summarised has a time.
    pub fn new(results: &Results) -> Result<Self> {
        let mut rows: BTreeMap<String, ByMachine> = BTreeMap::new();
        let mut cells: BTreeMap<String, Cells> = BTreeMap::new();
        for finished in results.finished() {
            let (job, scores) = (finished.job, finished.scores);
            if !is_translated_here(job) {
                continue;
            }
            let evaluations = Cell {
                mean: job.evaluations() as f64,
                ..Cell::default()
            };
            let of_row = cells.entry(job.row.clone()).or_default();
            of_row.insert(EVALUATIONS.key.into(), evaluations);
            if let Some(timing) = timing(scores) {
                let by_machine = rows.entry(job.row.clone()).or_default();
                let machine = Machine::from(&scores.sampling);
                by_machine.entry(machine).or_default().push(timing);
            }
        }
        Self::from_timings(&rows, cells)
    }

    fn from_timings(
        rows: &BTreeMap<String, ByMachine>,
        mut cells: BTreeMap<String, Cells>,
    ) -> Result<Self> {
        let machines = by_jobs(rows);
        let mut shown: Vec<&Machine> = Vec::new();
        let mut left_out = 0;
        for by_machine in rows.values() {
            let Some(machine) = choose(by_machine, &machines) else {
                continue;
            };
            let all: usize = by_machine.values().map(Vec::len).sum();
            left_out += all - count_on(by_machine, machine);
            if !shown.contains(&machine) {
                shown.push(machine);
            }
        }
        shown.sort_by_key(|machine| machines.iter().position(|other| other == *machine));
        for (row, by_machine) in rows {
            let chosen = choose(by_machine, &machines);
            let Some(place) = shown.iter().position(|machine| Some(*machine) == chosen) else {
                continue;
            };
            let timings = &by_machine[shown[place]];
            let of_row = cells.entry(row.clone()).or_default();
            let seconds: Vec<f64> = timings.iter().map(|timing| timing.seconds).collect();
            of_row.insert(SECONDS.key.into(), cell(&seconds, place)?);
            // On a GPU the time inside networks is only that of handing work over.
            if shown[place].is_cpu {
                let seconds = timings.iter().map(|timing| timing.network_seconds);
                let seconds: Vec<f64> = seconds.collect();
                of_row.insert(NETWORK_SECONDS.key.into(), cell(&seconds, place)?);
            }
        }
        let machines: Vec<String> = shown.iter().map(ToString::to_string).collect();
        Ok(Self {
            notes: notes(&machines, left_out),
            machines,
            cells,
        })
    }

    /// The cells of a row by metric; they are handed out once.
    pub fn take(&mut self, row: &str) -> Cells {
        self.cells.remove(row).unwrap_or_default()
    }
}

fn notes(machines: &[String], left_out: usize) -> Vec<String> {
    let Some((main, others)) = machines.split_first() else {
        return Vec::new();
    };
    let mut notes = vec![format!(
        "Seconds are of sampling, as each job's own process measured them beside whatever else ran \
         there, on {main}."
    )];
    for (i, machine) in others.iter().enumerate() {
        notes.push(format!(
            "({}) measured on another machine, {machine}: no time to compare.",
            machine_letter(i + 1)
        ));
    }
    if left_out > 0 {
        notes.push(format!(
            "The times of {left_out} jobs are left out: other machines measured them."
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scores::testing::scores;

    fn machine(processor: &str) -> Machine {
        Machine {
            is_cpu: true,
            processor: Some(processor.into()),
            threads: 2,
            own_kernels: true,
        }
    }

    fn timings(machine: &Machine, seconds: &[f64]) -> ByMachine {
        let timings = seconds.iter().map(|seconds| Timing {
            seconds: *seconds,
            network_seconds: seconds / 2.0,
        });
        ByMachine::from([(machine.clone(), timings.collect())])
    }

    #[test]
    fn times_of_different_machines_are_never_averaged() {
        let (fast, slow) = (machine("fast"), machine("slow"));
        let mut mixed = timings(&fast, &[1.0, 3.0]);
        mixed.extend(timings(&slow, &[100.0]));
        let rows = BTreeMap::from([
            ("elsewhere".to_string(), timings(&slow, &[50.0])),
            ("mixed".to_string(), mixed),
        ]);
        let mut costs = Costs::from_timings(&rows, BTreeMap::new()).unwrap();
        assert_eq!(costs.machines.len(), 2);
        let mixed = costs.take("mixed")[SECONDS.key];
        assert_eq!((mixed.mean, mixed.n), (2.0, Some(2)));
        assert_eq!(mixed.note.unwrap().mark(), "");
        let elsewhere = costs.take("elsewhere")[SECONDS.key];
        assert_eq!(
            (elsewhere.mean, elsewhere.note.unwrap().mark().as_str()),
            (50.0, " (b)")
        );
        assert!(
            costs.notes[0].ends_with("on CPU fast, 2 threads."),
            "{:?}",
            costs.notes
        );
        assert!(
            costs.notes[1].starts_with("(b) measured on another"),
            "{:?}",
            costs.notes
        );
        assert!(
            costs.notes[2].contains("The times of 1 jobs"),
            "{:?}",
            costs.notes
        );
    }

    #[test]
    fn on_a_gpu_only_the_whole_time_is_shown() {
        let gpu = Machine {
            is_cpu: false,
            own_kernels: false,
            ..machine("card")
        };
        let rows = BTreeMap::from([("row".to_string(), timings(&gpu, &[1.0]))]);
        let cells = Costs::from_timings(&rows, BTreeMap::new())
            .unwrap()
            .take("row");
        assert_eq!(cells.keys().collect::<Vec<_>>(), [SECONDS.key]);
        assert_eq!(gpu.to_string(), "GPU card");
        let fused = Machine {
            own_kernels: true,
            ..gpu
        };
        assert_eq!(fused.to_string(), "GPU card, own kernels");
    }

    #[test]
    fn a_job_tells_its_time_if_its_last_process_made_half_of_it() {
        let mut scores = scores();
        assert_eq!(timing(&scores).map(|timing| timing.seconds), Some(0.625));
        scores.images = 5;
        assert_eq!(timing(&scores), None);
        scores.images = 2;
        scores.sampling.images = 0;
        assert_eq!(timing(&scores), None);
    }
}
