//! An experiment file, checked, with defaults filled in.

use crate::config::image_format::ImageFormat;
use crate::config::overrides::{Assignment, apply_all, set};
use crate::config::precision::Precision;
use crate::config::row::Row;
use crate::config::sweep::{self, Sweep};
use crate::error::invalid_input;
use crate::paths::name_problem;
use crate::project::Project;
use crate::yaml::{mistake, names_in, parse_yaml, yaml_text};
use anyhow::Result;
use egsde_data::nearest::{known_names, nearest, offer};
use egsde_sampler::method::MethodSettings;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_yaml::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// A file that makes more jobs than this is refused.
pub const MOST_JOBS: usize = 200_000;

/// Which rows of `results/published.csv` stand beside ours.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Number of the paper's table, as the column `table` has it.
    pub table: String,
    /// Name of the paper's task, as the column `task` has it, for example `cat2dog`.
    pub task: String,
}

/// An experiment file.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Folder name under `runs_dir`.
    #[serde(deserialize_with = "file_name")]
    pub name: String,
    /// Heading of the table.
    pub title: String,
    /// Name of a file in `configs/tasks/`.
    pub task: String,
    /// The paper's rows that the table shows first; none are shown when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
    /// Each method runs once per seed.
    #[serde(deserialize_with = "distinct")]
    pub seeds: Vec<u64>,
    /// How many source images, from the first.
    #[serde(deserialize_with = "positive")]
    pub pictures: usize,
    /// Working precision of the networks, float32 when left out.
    #[serde(default)]
    pub precision: Precision,
    /// File format of the translations, PNG when left out.
    #[serde(default)]
    pub format: ImageFormat,
    /// The batch that the networks see. It is part of the result to the last rounding, since
    /// libtorch's products round differently for different shapes.
    #[serde(default = "default_batch_size", deserialize_with = "positive")]
    pub batch_size: usize,
    /// Images between two writes; never changes a result.
    #[serde(default = "default_save_every", deserialize_with = "positive")]
    pub save_every: usize,
    /// The old name of `batch_size`: refused with the new one.
    #[serde(default, skip_serializing, deserialize_with = "refuse_group")]
    group: NoGroup,
    /// Parent of the experiment's folder, relative to the project's root; `runs` when left out.
    #[serde(default = "default_runs_dir")]
    pub runs_dir: PathBuf,
    /// The row to which the others' differences are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare_to: Option<String>,
    /// Whether the table shows precision and recall too.
    #[serde(default)]
    pub precision_recall: bool,
    /// Rows of the table in their order; rows that `sweep` makes replace those they vary.
    pub methods: Vec<Row>,
    /// Rows that differ in some keys, made from those above.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "one_or_more"
    )]
    pub sweep: Vec<Sweep>,
}

/// A section, or a list of sections.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Sweep>, D::Error> {
    let sections = match Value::deserialize(deserializer)? {
        Value::Sequence(sections) => sections,
        section => vec![section],
    };
    let read = sections.into_iter().map(serde_yaml::from_value);
    read.collect::<Result<_, _>>().map_err(D::Error::custom)
}

fn default_batch_size() -> usize {
    16
}

fn default_save_every() -> usize {
    64
}

fn default_runs_dir() -> PathBuf {
    "runs".into()
}

/// The key `group` is never there.
#[derive(Debug, Clone, Default, PartialEq)]
struct NoGroup;

/// Refuses a number inside the visitor, so that the error carries the key's line.
struct RefuseGroup;

impl Visitor<'_> for RefuseGroup {
    type Value = NoGroup;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("no `group`, which is now `batch_size`")
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<NoGroup, E> {
        Err(E::custom(
            "`group` is now `batch_size` (the batch that the networks see), and what was \
             `batch_size` is now `save_every` (images between two writes)",
        ))
    }
}

fn refuse_group<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NoGroup, D::Error> {
    deserializer.deserialize_any(RefuseGroup)
}

fn file_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    match name_problem(&name, "a folder's") {
        Some(problem) => Err(D::Error::custom(problem)),
        None => Ok(name),
    }
}

/// A list without repeats. The check sits inside the visitor, so that an error carries the list's
/// line.
struct DistinctSeeds;

impl<'de> Visitor<'de> for DistinctSeeds {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of seeds, whole numbers from 0")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u64>, A::Error> {
        let mut seeds = Vec::new();
        while let Some(seed) = list.next_element::<u64>()? {
            if seeds.contains(&seed) {
                let text = format!("seed {seed} is given twice: each may stand once");
                return Err(A::Error::custom(text));
            }
            seeds.push(seed);
        }
        if seeds.is_empty() {
            return Err(A::Error::custom("seeds is empty: give at least one"));
        }
        Ok(seeds)
    }
}

fn distinct<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    deserializer.deserialize_seq(DistinctSeeds)
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match i64::deserialize(deserializer)? {
        n if n >= 1 => Ok(n as usize),
        n => Err(D::Error::custom(format!(
            "{n} is not a count: must be at least 1"
        ))),
    }
}

/// Whether a character is refused in names and titles: XML 1.0, in which plots are written, does
/// not allow it, and a terminal would act on it.
fn cannot_be_shown(c: char) -> bool {
    let is_space = matches!(c, '\n' | '\t');
    (c.is_control() && !is_space) || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Refuses a text for tables and plots with a character that none of them can hold.
fn check_shown(text: &str, at: &str, what: &str) -> Result<()> {
    let Some(c) = text.chars().find(|c| cannot_be_shown(*c)) else {
        return Ok(());
    };
    Err(invalid_input(format!(
        "{at}: {what} {text:?} has the control character U+{:04X}, which neither a table nor a \
         plot can show: remove it",
        u32::from(c)
    )))
}

/// The 1-based line on which a top-level key stands.
fn line_number(text: &str, key: &str) -> usize {
    let begins = format!("{key}:");
    text.lines()
        .position(|line| line.starts_with(&begins))
        .map_or(1, |index| index + 1)
}

/// Keys that hold text, whatever YAML takes it for (`name: 2024`).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Texts {
    name: Option<String>,
    title: Option<String>,
    task: Option<String>,
    compare_to: Option<String>,
    runs_dir: Option<String>,
    published: PublishedTexts,
    methods: Vec<RowTexts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PublishedTexts {
    table: Option<String>,
    task: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RowTexts {
    name: Option<String>,
}

/// Puts a text into a mapping in the place of what YAML took it for.
fn put_text(mapping: Option<&mut Value>, key: &str, text: Option<String>) {
    let value = mapping.and_then(|mapping| mapping.get_mut(key));
    if let (Some(value), Some(text)) = (value, text) {
        *value = Value::String(text);
    }
}

impl Texts {
    /// Puts each text into a tree in the place of what YAML took it for.
    fn put_into(self, tree: &mut Value) {
        put_text(Some(tree), "name", self.name);
        put_text(Some(tree), "title", self.title);
        put_text(Some(tree), "task", self.task);
        put_text(Some(tree), "compare_to", self.compare_to);
        put_text(Some(tree), "runs_dir", self.runs_dir);
        put_text(tree.get_mut("published"), "table", self.published.table);
        put_text(tree.get_mut("published"), "task", self.published.task);
        let rows = tree.get_mut("methods").and_then(Value::as_sequence_mut);
        for (row, texts) in rows.into_iter().flatten().zip(self.methods) {
            put_text(Some(row), "name", texts.name);
        }
    }
}

/// The file's tree of values, with text where text is meant: what a change is put into reads as the
/// file alone does.
fn parse_tree(text: &str, path: &Path) -> Result<Value> {
    let mut tree: Value = parse_yaml(text, path)?;
    // A file of another shape is told about when it is read as an experiment.
    if let Ok(texts) = serde_yaml::from_str::<Texts>(text) {
        texts.put_into(&mut tree);
    }
    Ok(tree)
}

/// The file's tree with changes put into it, in order.
fn changed_tree(text: &str, path: &Path, changes: &[Assignment]) -> Result<Value> {
    let mut tree = parse_tree(text, path)?;
    apply_all(changes, &mut tree)?;
    Ok(tree)
}

/// What keeps a tree from being an experiment; none where it is one.
fn tree_mistake(tree: &Value) -> Option<String> {
    let error = serde_yaml::from_value::<Experiment>(tree.clone()).err()?;
    Some(mistake(&error))
}

/// A row of a tree, and what is said of a key in it; none where the row takes the key.
struct RowAnswer {
    name: String,
    error: Option<String>,
}

/// What each row of a tree says of a key and its value.
fn ask_rows(tree: &Value, key: &str, value: &str) -> Vec<RowAnswer> {
    let rows = tree.get("methods").and_then(Value::as_sequence);
    let mut answers = Vec::new();
    for row in rows.into_iter().flatten() {
        let (mut changed, value) = (row.clone(), serde_yaml::from_str(value));
        let Some(name) = row.get("name").and_then(Value::as_str) else {
            continue;
        };
        if set(&mut changed, key, value.unwrap_or(Value::Null)).is_ok() {
            let error = serde_yaml::from_value::<Row>(changed).err();
            answers.push(RowAnswer {
                name: name.into(),
                error: error.map(|error| error.to_string()),
            });
        }
    }
    answers
}

/// The names that serde quotes after "unknown field".
fn quoted_names(message: &str) -> Vec<&str> {
    let names = message
        .split_once("unknown field ")
        .map_or("", |(_, rest)| rest);
    names.split('`').skip(3).step_by(2).collect()
}

/// Where a key that an experiment does not have may belong: it, or one of a name close to it, is a
/// key of rows. None where it is not.
fn key_of_rows(change: &Assignment, before: &Value, message: &str) -> Option<String> {
    let Assignment { key, value, .. } = change;
    if !message.contains(&format!("unknown field `{key}`")) {
        return None;
    }
    let answers = ask_rows(before, key, value);
    let is_unknown = |answer: &&RowAnswer| {
        let error = answer.error.as_deref().unwrap_or_default();
        error.contains(&format!("unknown field `{key}`"))
    };
    if let Some(taker) = answers.iter().find(|answer| !is_unknown(answer)) {
        return Some(format!("methods.{}.{key}", taker.name));
    }
    let asked = answers.first()?;
    let own = quoted_names(message);
    let theirs = quoted_names(asked.error.as_deref()?);
    let close = nearest(key, own.iter().chain(&theirs).copied())?;
    (!own.contains(&close)).then(|| format!("methods.{}.{close}", asked.name))
}

/// The error of a change after which a file is no experiment. `before` is the tree without it.
fn wrong_change(change: &Assignment, before: &Value, message: &str) -> anyhow::Error {
    let Assignment { typed, key, value } = change;
    invalid_input(match key_of_rows(change, before, message) {
        Some(path) => format!(
            "{typed}: an experiment has no key `{key}`, rows have theirs: did you mean --set \
             \"{path}={value}\"?"
        ),
        None => format!("{typed}: {message}"),
    })
}

/// Reads the text with changes put into its tree of values. A mistake is told with the change that
/// makes it, or with the file's line.
fn parse_with_changes(text: &str, path: &Path, changes: &[Assignment]) -> Result<Experiment> {
    if changes.is_empty() {
        return parse_yaml(text, path);
    }
    let tree = changed_tree(text, path, changes)?;
    let error = match serde_yaml::from_value(tree) {
        Ok(experiment) => return Ok(experiment),
        Err(error) => error,
    };
    let message = mistake(&error);
    for (count, change) in changes.iter().enumerate().rev() {
        let before = changed_tree(text, path, &changes[..count])?;
        if tree_mistake(&before).as_ref() != Some(&message) {
            return Err(wrong_change(change, &before, &message));
        }
    }
    // No change makes it: it is the file's own.
    parse_yaml(text, path)
}

impl Experiment {
    /// Reads a file, applies changes in order, and checks the whole.
    ///
    /// # Errors
    /// Invalid input: a mistake in the file or a change, with file, line and the nearest name.
    pub fn read(path: &Path, project: &Project, changes: &[Assignment]) -> Result<Self> {
        Self::parse(&yaml_text(path)?, path, project, changes)
    }

    /// The same from text that was read already; `path` names it in errors.
    ///
    /// # Errors
    /// As [`Experiment::read`].
    pub fn parse(
        text: &str,
        path: &Path,
        project: &Project,
        changes: &[Assignment],
    ) -> Result<Self> {
        let experiment = parse_with_changes(text, path, changes)?;
        let file = path.display().to_string();
        let task_at = format!("{file}:{}", line_number(text, "task"));
        let error = match experiment.clone().checked(&file, &task_at, project) {
            Ok(checked) => return Ok(checked),
            Err(error) => error,
        };
        for (count, change) in changes.iter().enumerate().rev() {
            let before = parse_with_changes(text, path, &changes[..count]);
            let before = before.and_then(|before| before.checked(&file, &task_at, project));
            if before.is_ok() {
                return experiment.checked(&change.typed, &change.typed, project);
            }
        }
        Err(error)
    }

    /// The experiment with the rows of its sweep, after the checks of what one key alone does not
    /// tell. Errors begin with `at`, those of the task with `task_at`.
    fn checked(mut self, at: &str, task_at: &str, project: &Project) -> Result<Self> {
        self.check_task(task_at, project)?;
        self.check_count(at)?;
        project.check_path(&self.runs_dir, &format!("{at}: runs_dir"))?;
        self.methods = sweep::expand(&self.methods, &self.sweep, at)?;
        self.check_rows(at)?;
        self.check_compare_to(at)?;
        Ok(self)
    }

    /// The folder of its jobs.
    pub fn folder(&self, project: &Project) -> PathBuf {
        project.resolve(&self.runs_dir).join(&self.name)
    }

    fn check_task(&self, at: &str, project: &Project) -> Result<()> {
        if project.task_file(&self.task).is_file() {
            return Ok(());
        }
        let names = names_in(&project.tasks());
        let known = known_names(&self.task, &names, &project.tasks());
        Err(invalid_input(format!(
            "{at}: unknown task `{}`, {known}",
            self.task
        )))
    }

    /// There must be a row, and not more jobs than can be laid out.
    fn check_count(&self, at: &str) -> Result<()> {
        if self.methods.is_empty() {
            let text = format!("{at}: methods is empty: give at least one row");
            return Err(invalid_input(text));
        }
        let rows = sweep::count(&self.methods, &self.sweep);
        let jobs = rows.saturating_mul(self.seeds.len());
        if jobs > MOST_JOBS {
            return Err(invalid_input(format!(
                "{at}: {jobs} jobs are more than the {MOST_JOBS} one experiment may have: divide it"
            )));
        }
        Ok(())
    }

    fn check_rows(&self, at: &str) -> Result<()> {
        check_shown(&self.title, at, "title")?;
        let mut seen = BTreeSet::new();
        for row in &self.methods {
            let name = &row.name;
            check_shown(name, at, "row")?;
            if !seen.insert(name) {
                return Err(invalid_input(format!(
                    "{at}: row {name:?} stands twice: give each row a name of its own"
                )));
            }
            if let Some(key) = row.method.unused_key() {
                return Err(invalid_input(format!(
                    "{at}: row {name:?}: {key} means nothing in this row: remove it"
                )));
            }
        }
        Ok(())
    }

    /// The name in `compare_to` must be that of a row.
    fn check_compare_to(&self, at: &str) -> Result<()> {
        let Some(to) = &self.compare_to else {
            return Ok(());
        };
        let names = || self.methods.iter().map(|row| row.name.as_str());
        if names().any(|name| name == to) {
            return Ok(());
        }
        let offer = offer(to, names());
        Err(invalid_input(format!(
            "{at}: compare_to names no row `{to}`{offer}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egsde_sampler::method::MethodConfig;

    const TEXT: &str = "\
name: t
title: T
task: cat2dog-32
seeds: [1, 2]
pictures: 4
methods:
  - {name: A, method: sdedit, start: 0.3}
";

    fn read(text: &str, sets: &[&str]) -> Result<Experiment> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.yaml");
        std::fs::write(&path, text).unwrap();
        let changes: Vec<Assignment> = sets
            .iter()
            .map(|set| Assignment::from_set(set))
            .collect::<Result<_>>()?;
        Experiment::read(&path, &Project::of_this_checkout(), &changes)
    }

    #[track_caller]
    fn refused(from: &str, to: &str, parts: &[&str]) {
        assert!(TEXT.contains(from));
        let error = format!("{:#}", read(&TEXT.replace(from, to), &[]).unwrap_err());
        for part in parts {
            assert!(error.contains(part), "{part:?} not in {error:?}");
        }
    }

    #[test]
    fn mistakes_are_told_with_line_and_nearest_name() {
        refused(
            "pictures: 4",
            "picture: 4",
            &[
                "e.yaml:5",
                "unknown field `picture`",
                "did you mean `pictures`?",
            ],
        );
        refused("sdedit", "sdedt", &["e.yaml:7", "did you mean `sdedit`?"]);
        refused(
            "cat2dog-32",
            "cat2dgo-32",
            &["e.yaml:3", "did you mean `cat2dog-32`?"],
        );
        refused(
            "start: 0.3",
            "start: -0.3",
            &["e.yaml:7", "start (M / T) is -0.3"],
        );
        refused(
            "[1, 2]",
            "[1, 2, 1]",
            &["e.yaml:4", "seed 1 is given twice"],
        );
        refused(
            "start: 0.3",
            "lambda_s: 3",
            &["e.yaml:7", "row \"A\"", "unknown field `lambda_s`"],
        );
        refused(
            "pictures: 4",
            "group: 4",
            &["e.yaml:5", "`group` is now `batch_size`", "`save_every`"],
        );
        refused(
            "start: 0.3",
            "strat: 0.3",
            &["e.yaml:7", "did you mean `start`?"],
        );
        refused(
            "method: sdedit, start: 0.3",
            "method: external",
            &["row \"A\"", "missing field `images`"],
        );
        refused(
            "start: 0.3",
            "solver: ddim, eta: 1.5",
            &["e.yaml:7", "eta is 1.5"],
        );
        refused(
            "start: 0.3",
            "eta: 0.5",
            &["row \"A\"", "eta means nothing"],
        );
        refused(
            "start: 0.3",
            "solver: ddmi",
            &["e.yaml:7", "did you mean `ddim`?"],
        );
        refused(
            "start: 0.3",
            "images: out",
            &["row \"A\"", "unknown field `images`"],
        );
        refused("name: t\n", "name: ../t\n", &["e.yaml:1", "folder's name"]);
        refused("title: T", r#"title: "a\e[31m""#, &["title", "U+001B"]);
        refused("name: A", r#"name: "a\0b""#, &["row", "U+0000"]);
    }

    #[test]
    fn a_sweep_makes_rows_and_set_reaches_one() {
        let names = |sweep: &str| -> Vec<String> {
            let rows = read(
                &format!("{TEXT}  - {{name: B, method: sdedit}}\n{sweep}"),
                &[],
            )
            .unwrap()
            .methods;
            rows.into_iter().map(|r| r.name).collect()
        };
        let grid = names("sweep: {rows: [A], grid: {start: [0.2, 0.4], steps: [25, 50]}}\n");
        assert_eq!(
            grid,
            [
                "A start=0.2 steps=25",
                "A start=0.2 steps=50",
                "A start=0.4 steps=25",
                "A start=0.4 steps=50",
                "B"
            ]
        );
        let list = names("sweep: {list: [{start: 0.2}, {start: 0.3, steps: 30}]}\n");
        assert_eq!(
            list,
            [
                "A start=0.2",
                "A start=0.3 steps=30",
                "B start=0.2",
                "B start=0.3 steps=30"
            ]
        );
        let both = names(
            "sweep:\n  - {rows: [A], grid: {start: [0.2]}}\n\
             \x20 - {rows: [A], grid: {start: [0.2, 0.3]}}\n",
        );
        assert_eq!(both, ["A start=0.2", "A start=0.3", "B"]);
        let set = read(TEXT, &["methods.A.start=0.7", "seeds=[9]"]).unwrap();
        let MethodConfig::Sdedit(config) = &set.methods[0].method else {
            panic!("not SDEdit: {:?}", set.methods[0]);
        };
        assert_eq!((config.sde().start_steps, set.seeds), (700, vec![9]));
        assert!(read(TEXT, &["methods.B.start=0.7"]).is_err());
        assert!(read(TEXT, &["pictures=0"]).is_err());
    }

    #[test]
    fn a_file_reads_the_same_with_and_without_changes() {
        let read = |text: &str, sets: &[&str]| read(text, sets).unwrap();
        let numbers = TEXT
            .replace("name: t", "name: 2024")
            .replace("title: T", "title: 1.10")
            .replace("name: A", "name: 007");
        for text in [TEXT, &numbers, &format!("\u{feff}{TEXT}")] {
            let alone = read(text, &[]);
            assert_eq!(read(text, &["pictures=4"]), alone);
        }
        let alone = read(&numbers, &[]);
        assert_eq!(
            (alone.name.as_str(), alone.title.as_str()),
            ("2024", "1.10")
        );
        assert_eq!(alone.methods[0].name, "007");
        // What a file leaves out may come from a change, and a wrong value may be mended by one.
        for text in [TEXT.replace("pictures: 4\n", ""), TEXT.replace("4", "0")] {
            assert_eq!(read(&text, &["pictures=4"]).pictures, 4);
        }
    }

    #[test]
    fn the_change_that_makes_a_mistake_is_named() {
        let refused = |sets: &[&str]| format!("{:#}", read(TEXT, sets).unwrap_err());
        let error = refused(&["pictures=4", "pictures=many", "batch_size=2"]);
        assert!(error.starts_with("--set pictures=many: "), "{error}");
        assert!(error.contains("expected a whole number"), "{error}");
        let error = refused(&["start=0.5"]);
        assert!(error.contains("\"methods.A.start=0.5\""), "{error}");
        let error = refused(&["strat=0.5"]);
        assert!(error.contains("\"methods.A.start=0.5\""), "{error}");
        // So is one that only the checks of the whole find.
        for (set, reason) in [
            ("task=cat2dgo-32", "unknown task `cat2dgo-32`, there are"),
            ("compare_to=B", "compare_to names no row `B`"),
            ("methods=[]", "methods is empty"),
            (
                "runs_dir=$EGSDE_NO_SUCH/x",
                "the variable EGSDE_NO_SUCH is not set",
            ),
        ] {
            let error = refused(&["pictures=4", set, "batch_size=2"]);
            assert!(error.starts_with(&format!("--set {set}: ")), "{error}");
            assert!(error.contains(reason), "{error}");
        }
        let error = refused(&["picturs=5"]);
        assert!(error.contains("did you mean `pictures`?"), "{error}");
        // The file's own mistake is told with its line.
        let error = read(&TEXT.replace("title", "titel"), &["pictures=3"]).unwrap_err();
        assert!(error.to_string().contains("e.yaml:2"), "{error:#}");
    }

    #[test]
    fn sweeps_that_cannot_be_are_told() {
        let error =
            |sweep: &str| format!("{:#}", read(&format!("{TEXT}{sweep}\n"), &[]).unwrap_err());
        assert!(error("sweep: {grid: {strat: [0.2]}}").contains("did you mean `start`?"));
        assert!(error("sweep: {rows: [C], grid: {start: [0.2]}}").contains("no row `C`"));
        assert!(error("sweep: {rows: [A]}").contains("over nothing"));
        let values = (0..1000)
            .map(|i| i.to_string())
            .collect::<Vec<_>>()
            .join(", ");
        let huge = error(&format!(
            "sweep: {{grid: {{steps: [{values}], repeats: [{values}], range_t: [{values}]}}}}"
        ));
        assert!(huge.contains("2000000000 jobs are more"), "{huge}");
    }
}
