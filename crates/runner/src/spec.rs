//! What the user asked for: an experiment file, checked, defaults filled in.

use crate::error::{Problem, UserError};
use crate::experts::ExpertSpec;
use crate::sweep::{self, Sweep, Varied};
use crate::yaml::{offer, parse_yaml, yaml_text};
use anyhow::Result;
use egsde_sampler::energy::Similarity;
use egsde_sampler::method::{IlvrVariance, Solver, SourceNoise};
use egsde_sampler::schedule::Variance;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_yaml::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// More jobs than this are not laid out at all.
pub const MOST_JOBS: usize = 200_000;

/// Which rows of `results/published.csv` stand beside ours.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Published {
    pub table: String,
    pub task: String,
}

/// Working precision of the networks; the arithmetic of the sampler and of the metrics is float32 in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    F32,
    /// float32 whose products and convolutions an NVIDIA GPU rounds to 10 bits of mantissa.
    Tf32,
    Bf16,
}

impl fmt::Display for Precision {
    /// As experiment files and options spell it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        })
    }
}

impl Precision {
    /// libtorch's name of it.
    pub fn kind(self) -> tch::Kind {
        match self {
            Self::F32 | Self::Tf32 => tch::Kind::Float,
            Self::Bf16 => tch::Kind::BFloat16,
        }
    }

    /// Sets libtorch to it. Errors when the device does not compute in it.
    pub fn prepare(self, device: tch::Device) -> Result<(), String> {
        if self == Self::Tf32 && !device.is_cuda() {
            return Err("precision tf32 is for GPUs: take f32, or another --device".into());
        }
        egsde_models::tf32::allow(self == Self::Tf32);
        Ok(())
    }
}

/// How translations are stored; metrics are taken of what was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Without loss.
    #[default]
    Png,
    /// Pillow's default JPEG (quality 75, 4:2:0): what the published numbers were taken of.
    Jpeg75,
}

impl Format {
    /// File extension.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg75 => "jpg",
        }
    }
}

/// An experiment file.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Folder name under `runs_dir`.
    #[serde(deserialize_with = "file_name")]
    pub name: String,
    pub title: String,
    /// Name of a file in `tasks/`.
    pub task: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
    /// One run of each method for each.
    #[serde(deserialize_with = "distinct")]
    pub seeds: Vec<u64>,
    /// How many source pictures, from the first.
    #[serde(deserialize_with = "positive")]
    pub pictures: usize,
    #[serde(default = "f32_precision")]
    pub precision: Precision,
    #[serde(default)]
    pub format: Format,
    /// Pictures the networks see together. Part of the result to the last rounding, unlike `batch_size`.
    #[serde(default = "group", deserialize_with = "positive")]
    pub group: usize,
    /// Never changes a result.
    #[serde(default = "batch_size", deserialize_with = "positive")]
    pub batch_size: usize,
    #[serde(default = "runs_dir")]
    pub runs_dir: PathBuf,
    /// The row the others' differences are taken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare_to: Option<String>,
    /// Show precision and recall too.
    #[serde(default)]
    pub precision_recall: bool,
    pub methods: Vec<Row>,
    /// Rows that differ in some keys, made of those above.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "one_or_more"
    )]
    pub sweep: Vec<Sweep>,
}

/// Methods there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MethodKind {
    Egsde,
    Sdedit,
    Ilvr,
    /// Translations made elsewhere, from a folder.
    External,
    /// The sources themselves, untranslated.
    Source,
}

/// One row of the table. Keys a method does not know are errors.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub name: String,
    pub method: MethodKind,
    /// Respaced steps of the whole of T (1 to 1000).
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "steps"
    )]
    pub steps: Option<usize>,
    /// M as a share of T, in (0, 1].
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "share"
    )]
    pub start: Option<f64>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "weight"
    )]
    pub lambda_s: Option<f64>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "weight"
    )]
    pub lambda_i: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity_s: Option<Similarity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity_i: Option<Similarity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_pass_factor: Option<usize>,
    /// Any number of experts, beside those of lambda_s and lambda_i.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experts: Vec<ExpertSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solver: Option<Solver>,
    /// DDIM: 0 (deterministic) to 1 (as noisy as the ancestral solver).
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "eta"
    )]
    pub eta: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variance: Option<Variance>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_noise: Option<SourceNoise>,
    /// K.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<usize>,
    /// ILVR: the respaced step down to which low frequencies are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_t: Option<usize>,
    /// ILVR: the variance of its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ilvr_variance: Option<IlvrVariance>,
    /// External: folder of the translations, one a source by file stem; `{seed}` in it is replaced by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<String>,
    /// What a sweep gave it, and the row it came from.
    #[serde(skip)]
    pub varied: Varied,
    #[serde(skip)]
    pub base: Option<String>,
}

/// A section, or a list of such.
fn one_or_more<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Sweep>, D::Error> {
    match Value::deserialize(d)? {
        Value::Sequence(many) => many
            .into_iter()
            .map(|v| serde_yaml::from_value(v).map_err(D::Error::custom))
            .collect(),
        one => Ok(vec![serde_yaml::from_value(one).map_err(D::Error::custom)?]),
    }
}

fn f32_precision() -> Precision {
    Precision::F32
}
fn batch_size() -> usize {
    64
}
fn group() -> usize {
    16
}
fn runs_dir() -> PathBuf {
    "runs".into()
}

fn file_name<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    let name = String::deserialize(d)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let good = !name.is_empty() && !name.starts_with('.') && name.chars().all(plain);
    if good {
        Ok(name)
    } else {
        Err(D::Error::custom(format!(
            "{name:?} cannot be a folder's name: use letters, digits, - and _"
        )))
    }
}

/// A list without repeats. The check sits inside the visitor, so that an error carries the list's line.
struct Distinct;

impl<'de> Visitor<'de> for Distinct {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a list of seeds, whole numbers from 0")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u64>, A::Error> {
        let mut seeds = Vec::new();
        while let Some(seed) = list.next_element::<u64>()? {
            if seeds.contains(&seed) {
                return Err(A::Error::custom(format!(
                    "seed {seed} is given twice: each may stand once"
                )));
            }
            seeds.push(seed);
        }
        if seeds.is_empty() {
            Err(A::Error::custom("seeds is empty: give at least one"))
        } else {
            Ok(seeds)
        }
    }
}

fn distinct<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u64>, D::Error> {
    d.deserialize_seq(Distinct)
}

fn positive<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    match i64::deserialize(d)? {
        n if n >= 1 => Ok(n as usize),
        n => Err(D::Error::custom(format!(
            "{n} is not a count: must be at least 1"
        ))),
    }
}

fn steps<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    match i64::deserialize(d)? {
        n if (1..=1000).contains(&n) => Ok(Some(n as usize)),
        n => Err(D::Error::custom(format!("steps is {n}: must be 1 to 1000"))),
    }
}

fn share<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    match f64::deserialize(d)? {
        m if m > 0.0 && m <= 1.0 => Ok(Some(m)),
        m => Err(D::Error::custom(format!(
            "start (M / T) is {m}: must be above 0 and at most 1"
        ))),
    }
}

fn eta<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    match f64::deserialize(d)? {
        eta if (0.0..=1.0).contains(&eta) => Ok(Some(eta)),
        eta => Err(D::Error::custom(format!("eta is {eta}: must be 0 to 1"))),
    }
}

fn weight<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    match f64::deserialize(d)? {
        w if w.is_finite() && w >= 0.0 => Ok(Some(w)),
        w => Err(D::Error::custom(format!(
            "a weight of {w}: lambda_s and lambda_i must be 0 or more"
        ))),
    }
}

impl Row {
    /// Keys of this row that its method would silently ignore.
    fn idle_keys(&self) -> Vec<&'static str> {
        let given = |key, is: bool| is.then_some(key);
        let energy = [
            given("lambda_s", self.lambda_s.is_some()),
            given("lambda_i", self.lambda_i.is_some()),
            given("similarity_s", self.similarity_s.is_some()),
            given("similarity_i", self.similarity_i.is_some()),
            given("source_noise", self.source_noise.is_some()),
            given("experts", !self.experts.is_empty()),
        ];
        let sde = [
            given("start", self.start.is_some()),
            given("solver", self.solver.is_some()),
            given("eta", self.eta.is_some()),
            given("variance", self.variance.is_some()),
            given("repeats", self.repeats.is_some()),
        ];
        let ilvr = [
            given("range_t", self.range_t.is_some()),
            given("ilvr_variance", self.ilvr_variance.is_some()),
        ];
        let low_pass = [given("low_pass_factor", self.low_pass_factor.is_some())];
        let steps = [given("steps", self.steps.is_some())];
        let images = [given("images", self.images.is_some())];
        let solver = self.solver.unwrap_or(Solver::Ancestral);
        let of_solver = [
            given("eta", self.eta.is_some() && solver != Solver::Ddim),
            given(
                "variance",
                self.variance.is_some() && solver != Solver::Ancestral,
            ),
        ];
        let idle: Vec<Option<&str>> = match self.method {
            MethodKind::Egsde => [&ilvr[..], &images, &of_solver].concat(),
            MethodKind::Sdedit => [&energy[..], &ilvr, &low_pass, &images, &of_solver].concat(),
            MethodKind::Ilvr => [&energy[..], &sde, &images].concat(),
            MethodKind::External => [&energy[..], &sde, &ilvr, &low_pass, &steps].concat(),
            MethodKind::Source => [&energy[..], &sde, &ilvr, &low_pass, &steps, &images].concat(),
        };
        idle.into_iter().flatten().collect()
    }
}

/// The 1-based line on which a top-level key stands.
fn line_of(text: &str, key: &str) -> usize {
    text.lines()
        .position(|l| l.starts_with(&format!("{key}:")))
        .map_or(1, |i| i + 1)
}

/// Puts a value into a tree by its dotted path; a list of named rows is entered by name (`methods.EGSDE.lambda_s`), any list by
/// number from 0 (`experts.0.weight`).
pub fn set(tree: &mut Value, path: &str, value: Value) -> Result<()> {
    let mut at = tree;
    for key in path.split('.') {
        at = match at {
            Value::Sequence(rows) => {
                let named = rows
                    .iter()
                    .position(|r| r.get("name").is_some_and(|n| n == key));
                let index = named
                    .or_else(|| key.parse().ok())
                    .filter(|i| *i < rows.len());
                let index = index.ok_or_else(|| {
                    Problem::user(format!("no row named {key:?}, nor an entry of that number"))
                })?;
                &mut rows[index]
            }
            Value::Mapping(map) => map.entry(key.into()).or_insert(Value::Null),
            _ => return Err(Problem::user(format!("{key:?} has nothing inside"))),
        };
    }
    *at = value;
    Ok(())
}

/// `key=value` of the command line.
fn assign(tree: &mut Value, assignment: &str) -> Result<()> {
    let (path, value) = assignment
        .split_once('=')
        .ok_or_else(|| Problem::user(format!("--set {assignment:?}: expected key=value")))?;
    let value: Value = serde_yaml::from_str(value).user(format!("--set {assignment}"))?;
    set(tree, path, value).user(format!("--set {assignment}"))
}

impl Experiment {
    /// Reads and checks a file, then `--set` assignments in order. Errors exit with 2.
    pub fn read(path: &Path, root: &Path, sets: &[String]) -> Result<Self> {
        Self::parse(&yaml_text(path)?, path, root, sets)
    }

    /// The same from text already read; `path` names it in errors.
    pub fn parse(text: &str, path: &Path, root: &Path, sets: &[String]) -> Result<Self> {
        let mut spec: Self = parse_yaml(text, path)?;
        if !sets.is_empty() {
            let mut tree: Value = parse_yaml(text, path)?;
            sets.iter().try_for_each(|s| assign(&mut tree, s))?;
            spec = serde_yaml::from_value(tree).map_err(|e| {
                Problem::user(format!(
                    "--set {}: {}",
                    sets.join(" "),
                    crate::yaml::with_suggestion(&e.to_string())
                ))
            })?;
        }
        spec.check(text, path, root)?;
        let jobs = sweep::count(&spec.methods, &spec.sweep).saturating_mul(spec.seeds.len());
        if jobs > MOST_JOBS {
            let text = format!(
                "{}: {jobs} jobs are more than the {MOST_JOBS} one experiment may have: divide it",
                path.display()
            );
            return Err(Problem::user(text));
        }
        spec.methods = sweep::expand(&spec.methods, &spec.sweep, &path.display().to_string())?;
        spec.check_rows(path)?;
        Ok(spec)
    }

    fn check(&self, text: &str, path: &Path, root: &Path) -> Result<()> {
        if !root
            .join("tasks")
            .join(format!("{}.yaml", self.task))
            .is_file()
        {
            let names = crate::task::names(root);
            let offer = offer(&self.task, names.iter().map(String::as_str));
            let line = line_of(text, "task");
            return Err(Problem::user(format!(
                "{}:{line}: unknown task `{}`, there are {}{offer}",
                path.display(),
                self.task,
                names.join(", ")
            )));
        }
        if self.methods.is_empty() {
            return Err(Problem::user(format!(
                "{}: methods is empty: give at least one row",
                path.display()
            )));
        }
        Ok(())
    }

    fn check_rows(&self, path: &Path) -> Result<()> {
        let names: Vec<&str> = self.methods.iter().map(|r| r.name.as_str()).collect();
        if let Some(to) = &self.compare_to {
            crate::paired::check(to, &names, &path.display().to_string())?;
        }
        let mut seen = BTreeSet::new();
        for row in &self.methods {
            let at = format!("{}: row {:?}", path.display(), row.name);
            if !seen.insert(&row.name) {
                return Err(Problem::user(format!(
                    "{at} stands twice: give each row a name of its own"
                )));
            }
            if let Some(key) = row.idle_keys().first() {
                return Err(Problem::user(format!(
                    "{at}: {key} means nothing to this method or its solver: remove it"
                )));
            }
            if row.method == MethodKind::External && row.images.is_none() {
                return Err(Problem::user(format!(
                    "{at}: an external method needs images: the folder of its translations"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name: t\ntitle: T\ntask: cat2dog-32\nseeds: [1, 2]\npictures: 4\nmethods:\n  - {name: A, method: sdedit, start: 0.3}\n";

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn read(text: &str, sets: &[&str]) -> Result<Experiment> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.yaml");
        std::fs::write(&path, text).unwrap();
        Experiment::read(
            &path,
            &root(),
            &sets.iter().map(|s| s.to_string()).collect::<Vec<_>>(),
        )
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
            &["row \"A\"", "lambda_s means nothing"],
        );
        refused(
            "method: sdedit, start: 0.3",
            "method: external",
            &["row \"A\"", "needs images"],
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
            &["row \"A\"", "images means nothing"],
        );
        refused("name: t\n", "name: ../t\n", &["e.yaml:1", "folder's name"]);
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
            "sweep:\n  - {rows: [A], grid: {start: [0.2]}}\n  - {rows: [A], grid: {start: [0.2, 0.3]}}\n",
        );
        assert_eq!(both, ["A start=0.2", "A start=0.3", "B"]);
        let set = read(TEXT, &["methods.A.start=0.7", "seeds=[9]"]).unwrap();
        assert_eq!((set.methods[0].start, set.seeds), (Some(0.7), vec![9]));
        assert!(read(TEXT, &["methods.B.start=0.7"]).is_err());
        assert!(read(TEXT, &["pictures=0"]).is_err());
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
