//! Which ablation curves an experiment has: the rows that differ in one number that a sweep varied.

use crate::analysis::table::{Cell, Origin, Table};
use crate::config::row::Row;
use crate::plan::Plan;
use egsde_metrics::registry::Metric;
use std::collections::{BTreeMap, HashMap};

/// A row's numbers by metric.
pub type Numbers = BTreeMap<String, Cell>;

/// One row on a line.
#[derive(Debug)]
struct Point {
    /// What the sweep gave the row.
    value: f64,
    numbers: Numbers,
}

/// Rows that differ in one number only.
#[derive(Debug)]
pub struct Line {
    pub name: String,
    points: Vec<Point>,
}

/// The row with which others are compared, drawn as a level.
#[derive(Debug, Clone)]
pub struct Level {
    pub name: String,
    pub numbers: Numbers,
}

/// All lines over one key.
#[derive(Debug)]
pub struct Curve {
    pub key: String,
    pub lines: Vec<Line>,
    /// None where the row is a point of a line.
    pub level: Option<Level>,
}

/// Lines by key, then by name.
type Lines = BTreeMap<String, BTreeMap<String, Vec<Point>>>;

/// The key of a curve over what steps cost.
const EVALUATIONS: &str = "network evaluations";

/// The keys that are another way to say how many evaluations there are.
const STEP_KEYS: [&str; 2] = ["steps", "start"];

/// A row's name before the sweep, with what else the sweep gave it.
fn line_name(row: &Row, left_out: &[&str]) -> String {
    let mut name = row.base.as_ref().unwrap_or(&row.name).clone();
    for (key, value) in &row.varied {
        if !left_out.contains(&key.as_str()) {
            name.push_str(&format!(" {key}={value}"));
        }
    }
    name
}

fn add_point(lines: &mut Lines, key: &str, name: String, value: f64, numbers: &Numbers) {
    let point = Point {
        value,
        numbers: numbers.clone(),
    };
    lines
        .entry(key.into())
        .or_default()
        .entry(name)
        .or_default()
        .push(point);
}

/// The numbers of our rows that have any, by row.
fn our_numbers(table: &Table) -> HashMap<&str, &Numbers> {
    let ours = table.rows.iter().filter(|row| row.source == Origin::Ours);
    let with_numbers = ours.filter(|row| !row.metrics.is_empty());
    with_numbers
        .map(|row| (row.method.as_str(), &row.metrics))
        .collect()
}

/// The lines of all keys.
fn lines(plan: &Plan, numbers: &HashMap<&str, &Numbers>) -> Lines {
    let costs: HashMap<&str, usize> = plan
        .jobs
        .iter()
        .map(|job| (job.row.as_str(), job.evaluations()))
        .collect();
    let mut lines = Lines::new();
    for row in &plan.experiment.methods {
        let Some(numbers) = numbers.get(row.name.as_str()) else {
            continue;
        };
        for (key, value) in &row.varied {
            if let Ok(value) = value.parse::<f64>() {
                add_point(&mut lines, key, line_name(row, &[key]), value, numbers);
            }
        }
        let cost = costs
            .get(row.name.as_str())
            .filter(|_| row.varied.contains_key("steps"));
        if let Some(cost) = cost {
            let name = line_name(row, &STEP_KEYS);
            add_point(&mut lines, EVALUATIONS, name, *cost as f64, numbers);
        }
    }
    lines
}

/// The row with which the experiment compares, where no sweep varied it.
fn level(plan: &Plan, numbers: &HashMap<&str, &Numbers>) -> Option<Level> {
    let experiment = &plan.experiment;
    let to = experiment.compare_to.as_ref()?;
    let row = experiment
        .methods
        .iter()
        .find(|row| row.name == *to && row.varied.is_empty())?;
    let numbers = (*numbers.get(row.name.as_str())?).clone();
    Some(Level {
        name: row.name.clone(),
        numbers,
    })
}

/// One curve per key that a sweep gave at least two numbers, and one over the evaluations where it
/// gave numbers of steps.
pub fn curves(plan: &Plan, table: &Table) -> Vec<Curve> {
    let numbers = our_numbers(table);
    let level = level(plan, &numbers);
    let mut curves = Vec::new();
    for (key, by_name) in lines(plan, &numbers) {
        let mut lines = Vec::new();
        for (name, mut points) in by_name {
            if points.len() >= 2 {
                points.sort_by(|a, b| a.value.total_cmp(&b.value));
                lines.push(Line { name, points });
            }
        }
        if !lines.is_empty() {
            curves.push(Curve {
                key,
                lines,
                level: level.clone(),
            });
        }
    }
    curves
}

/// A value and the metric's number there.
pub struct Measured<'a> {
    pub value: f64,
    pub cell: &'a Cell,
}

impl Curve {
    /// All points that have a number of this metric.
    pub fn measured(&self, metric: &Metric) -> Vec<Measured<'_>> {
        self.lines
            .iter()
            .flat_map(|line| line.measured(metric))
            .collect()
    }
}

impl Line {
    /// The points that have a number of this metric.
    pub fn measured(&self, metric: &Metric) -> Vec<Measured<'_>> {
        let mut found = Vec::new();
        for point in &self.points {
            if let Some(cell) = point.numbers.get(metric.key) {
                found.push(Measured {
                    value: point.value,
                    cell,
                });
            }
        }
        found
    }
}
