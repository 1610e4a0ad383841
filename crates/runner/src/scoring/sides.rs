//! The sides of an evaluation as the command line names them: folders of images, or statistics. All
//! that can be known of them before the first image goes through a network is checked here.

use super::bad_images::BadImages;
use super::folder_scores::FolderScores;
use crate::error::{OrInvalidInput, invalid_input};
use crate::inputs::image_folder::ImageFolder;
use crate::inputs::image_kind::first_bytes;
use anyhow::Result;
use egsde_data::file_kind::file_kind;
use egsde_data::nearest::offer_path;
use egsde_metrics::feature_sets::FEWEST_FOR_KID;
use egsde_metrics::fid_statistics;
use egsde_metrics::frechet::{FEWEST_FOR_FID, Statistics, frechet_distance};
use egsde_metrics::protocol::Protocol;
use egsde_metrics::registry::{Computation, FID, METRICS, Metric};
use egsde_models::networks::inception::FEATURES;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One side of a comparison of sets.
#[derive(Debug)]
pub enum Side {
    /// Images.
    Folder(ImageFolder),
    /// Mean and covariance of FID Inception's features of images that are not there.
    Statistics {
        /// Their file.
        path: PathBuf,
        /// What it holds.
        statistics: Statistics,
    },
}

/// All sides of an evaluation.
#[derive(Debug)]
pub struct Sides {
    /// The images that were translated, where they take part.
    pub source: Option<ImageFolder>,
    /// What is scored.
    pub translated: Side,
    /// What it is compared with.
    pub target: Side,
}

/// Refuses what is neither a folder nor statistics, for its true reason.
fn check_kind(path: &Path) -> Result<()> {
    let shown = path.display();
    let needed = "a folder of pictures or statistics (.npz) is needed";
    if !path.exists() {
        let offer = offer_path(path);
        return Err(invalid_input(format!(
            "{shown} is missing: {needed}{offer}"
        )));
    }
    if !path.is_file() {
        return Err(invalid_input(format!("{shown} is no file: {needed}")));
    }
    let bytes = first_bytes(path).unwrap_or_default();
    match file_kind(&bytes).filter(|kind| kind.is_image) {
        Some(kind) => {
            let name = kind.name;
            Err(invalid_input(format!(
                "{shown} is {name}: name the folder that it lies in"
            )))
        }
        None => Ok(()),
    }
}

impl Side {
    /// A folder, or statistics; `role` names the side in errors.
    ///
    /// # Errors
    /// Invalid input: neither, a folder without images, or statistics that cannot be used.
    pub fn open(path: &Path, role: &str) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folder(ImageFolder::read(path)?));
        }
        check_kind(path)?;
        let statistics = fid_statistics::read(path, FEATURES);
        Ok(Self::Statistics {
            path: path.into(),
            statistics: statistics.or_invalid_input(format!("{role} statistics"))?,
        })
    }

    /// Its folder or file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(folder) => &folder.path,
            Self::Statistics { path, .. } => path,
        }
    }

    /// Number of its images; 0 where there are only statistics.
    pub fn images(&self) -> usize {
        match self {
            Self::Folder(folder) => folder.images.len(),
            Self::Statistics { .. } => 0,
        }
    }

    /// Its folder, where it is one.
    pub fn folder(&self) -> Option<&ImageFolder> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Statistics { .. } => None,
        }
    }

    /// Refuses a folder of fewer images than a covariance needs.
    ///
    /// # Errors
    /// Invalid input: how many there are.
    pub fn check_count(&self) -> Result<()> {
        match self.folder() {
            Some(folder) if folder.images.len() < FEWEST_FOR_FID => Err(invalid_input(format!(
                "{} holds {} picture: a covariance needs at least {FEWEST_FOR_FID} pictures",
                folder.path.display(),
                folder.images.len()
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

impl Sides {
    /// Opens all sides.
    ///
    /// # Errors
    /// Invalid input: as [`Side::open`]; too few images; sources beside statistics of translations.
    pub fn open(source: Option<&Path>, translated: &Path, target: &Path) -> Result<Self> {
        let sides = Self {
            source: source.map(ImageFolder::read).transpose()?,
            translated: Side::open(translated, "translated")?,
            target: Side::open(target, "target")?,
        };
        sides.target.check_count()?;
        match (&sides.source, &sides.translated) {
            (None, translated) => translated.check_count()?,
            (Some(_), Side::Folder(_)) => {}
            (Some(source), Side::Statistics { path, .. }) => {
                return Err(invalid_input(format!(
                    "{} holds statistics, which do not compare with the pictures of {}: leave \
                     --source out, or name the folder of translations",
                    path.display(),
                    source.path.display()
                )));
            }
        }
        Ok(sides)
    }

    /// Whether one side, or both, are statistics alone.
    fn have_statistics(&self) -> bool {
        self.translated.folder().is_none() || self.target.folder().is_none()
    }

    /// The folders, source first.
    fn folders(&self) -> impl Iterator<Item = &ImageFolder> {
        let sets = [self.translated.folder(), self.target.folder()];
        self.source.iter().chain(sets.into_iter().flatten())
    }

    /// Notes the images of all folders that are of formats that are not read.
    pub fn add_unread(&self, bad: &mut BadImages) {
        for text in self.folders().flat_map(|folder| &folder.unread) {
            bad.add(text.clone());
        }
    }

    /// What of the folders takes no part.
    pub fn notes(&self) -> Vec<String> {
        self.folders().filter_map(ImageFolder::note_below).collect()
    }

    /// Why metrics that were asked for have no value; those per image were where there are pairs.
    pub fn missing_metrics(
        &self,
        values: &BTreeMap<String, f64>,
        has_pairs: bool,
    ) -> BTreeMap<String, String> {
        let mut missing = BTreeMap::new();
        for metric in METRICS {
            let is_asked = match metric.computation {
                Computation::PerImage(_) => has_pairs,
                Computation::OverSets(_) => true,
                // Folders name no target that a classifier could know.
                Computation::FromClassifier(_)
                | Computation::FromAnswers
                | Computation::FromCosts => false,
            };
            if is_asked && !values.contains_key(metric.key) {
                missing.insert(metric.key.to_string(), self.why_missing(metric));
            }
        }
        missing
    }

    fn why_missing(&self, metric: &Metric) -> String {
        if self.have_statistics() {
            "statistics give the Fréchet distance alone".into()
        } else if metric == &FID {
            format!("it needs at least {FEWEST_FOR_FID} pictures")
        } else {
            format!("it needs at least {FEWEST_FOR_KID} pictures on each side")
        }
    }

    /// The Fréchet distance where both sides are statistics, which needs no network, and the
    /// target's statistics; none of other sides.
    ///
    /// # Errors
    /// Statistics of unlike dimensions.
    pub fn compare_statistics(
        &self,
        protocol: Protocol,
    ) -> Result<Option<(FolderScores, Statistics)>> {
        let (
            Side::Statistics { statistics, .. },
            Side::Statistics {
                statistics: target, ..
            },
        ) = (&self.translated, &self.target)
        else {
            return Ok(None);
        };
        let scores = self.statistics_scores(protocol, statistics, target)?;
        Ok(Some((scores, target.shallow_clone())))
    }

    /// The Fréchet distance of two statistics, as a result.
    ///
    /// # Errors
    /// Statistics of unlike dimensions.
    pub fn statistics_scores(
        &self,
        protocol: Protocol,
        translated: &Statistics,
        target: &Statistics,
    ) -> Result<FolderScores> {
        let distance = frechet_distance(translated, target)?;
        let metrics = BTreeMap::from([(FID.key.to_string(), distance)]);
        Ok(FolderScores {
            protocol: protocol.to_string(),
            not_computed: self.missing_metrics(&metrics, false),
            metrics,
            notes: self.notes(),
            ..FolderScores::default()
        })
    }
}
