//! What can be known of a plan before the first network is evaluated: what would stop it, and what
//! a reader should be told.

use super::{Job, Plan};
use crate::error::{invalid_input, one_line};
use crate::inputs::image_folder::image_files;
use crate::inputs::image_name::check_storable_name;
use crate::project::Project;
use anyhow::Result;
use egsde_data::files::make_writable_folder;
use egsde_metrics::frechet::FEWEST_FOR_FID;
use rustix::fs::{Access, access};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Things named in a line; the others are counted.
const NAMED: usize = 4;

/// What to do about a folder of results that cannot be written to.
const OTHER_FOLDER: &str = "choose another folder with --set runs_dir=DIR";

/// The first of some names, quoted, and how many more there are.
fn listed(names: &[&str]) -> String {
    let mut quoted: Vec<String> = names
        .iter()
        .take(NAMED)
        .map(|name| format!("{name:?}"))
        .collect();
    if names.len() > NAMED {
        quoted.push(format!("{} more", names.len() - NAMED));
    }
    quoted.join(", ")
}

/// Refuses names under which nothing can be stored, and fewer sources than are asked for. `domain`
/// names the sources.
fn check_names(names: &[String], wanted: usize, domain: &str) -> Result<()> {
    check_source_count(names.len(), wanted, domain)?;
    for name in &names[..wanted] {
        check_storable_name(name)?;
    }
    Ok(())
}

/// Refuses fewer sources than are asked for. `domain` names the sources.
///
/// # Errors
/// Invalid input: how many there are.
pub fn check_source_count(found: usize, wanted: usize, domain: &str) -> Result<()> {
    if found < wanted {
        return Err(invalid_input(format!(
            "pictures is {wanted}, but {domain} has only {found}"
        )));
    }
    Ok(())
}

/// Refuses an external method's `folder` that lacks the translations of the sources `missing`, out
/// of `count` sources.
///
/// # Errors
/// Invalid input: how many are missing, and the first by name.
pub fn check_none_missing(
    job: &Job,
    folder: &Path,
    missing: &[&String],
    count: usize,
) -> Result<()> {
    let side = job.identity.image_size;
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(invalid_input(format!(
            "row {:?}: {} of {count} sources have no readable {side} x {side} translation in {}, \
             first {first}",
            job.row,
            missing.len(),
            folder.display()
        ))),
    }
}

/// The error of a folder of results that cannot be written to; `error` names the folder.
pub fn unwritable_results(error: &anyhow::Error) -> anyhow::Error {
    invalid_input(one_line(&format!("{error:#}: {OTHER_FOLDER}")))
}

/// Refuses an external method's folder that lacks the translation of a source.
fn check_external(job: &Job, folder: &Path, names: &[String]) -> Result<()> {
    let found = image_files(folder)?;
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !found.contains_key(*name))
        .collect();
    check_none_missing(job, folder, &missing, names.len())
}

impl Plan {
    /// Refuses a plan that could not be run, as far as that can be told without opening a network:
    /// what is missing is no matter here.
    ///
    /// # Errors
    /// Invalid input: too few sources or reference images, sources under whose names nothing can be
    /// stored, or an external method's folder that lacks images.
    pub fn check(&self, project: &Project) -> Result<()> {
        let (task, wanted) = (&self.task, self.experiment.pictures);
        if let Some(names) = task.source.known_names(project, task.image_size)? {
            check_names(&names, wanted, &task.source.domain)?;
            for job in &self.jobs {
                if let Some(folder) = &job.external_images {
                    check_external(job, folder, &names[..wanted])?;
                }
            }
        }
        let references = task.reference.known_names(project, task.image_size)?;
        match references.map(|names| names.len()) {
            Some(count) if count < FEWEST_FOR_FID => Err(invalid_input(format!(
                "the reference {} has {count} pictures: the Fréchet distance needs at least \
                 {FEWEST_FOR_FID}",
                task.reference.domain
            ))),
            _ => Ok(()),
        }
    }

    /// Why the folder of results could not be written to, without trying; none where it could.
    pub fn write_problem(&self) -> Option<String> {
        let existing = self.folder.ancestors().find(|folder| folder.exists())?;
        let why = if !existing.is_dir() {
            format!("{} is no folder", existing.display())
        } else {
            let wanted = Access::WRITE_OK | Access::EXEC_OK;
            access(existing, wanted).err()?.kind().to_string()
        };
        let folder = self.folder.display();
        Some(format!("cannot write to {folder}: {why}: {OTHER_FOLDER}"))
    }

    /// Refuses a folder of results that cannot be written to.
    ///
    /// # Errors
    /// Invalid input: how to choose another folder.
    pub fn check_writable(&self) -> Result<()> {
        make_writable_folder(&self.folder).map_err(|error| unwritable_results(&error))
    }

    /// Rows that have the same jobs, as sets of at least two.
    fn equal_rows(&self) -> Vec<Vec<&str>> {
        let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for job in &self.jobs {
            ids.entry(&job.row).or_default().insert(&job.id);
        }
        let mut sharing: BTreeMap<&BTreeSet<&str>, Vec<&str>> = BTreeMap::new();
        for row in &self.experiment.methods {
            if let Some(jobs) = ids.get(row.name.as_str()) {
                sharing.entry(jobs).or_default().push(&row.name);
            }
        }
        sharing
            .into_values()
            .filter(|rows| rows.len() > 1)
            .collect()
    }

    /// What a reader should know before anything runs and of its numbers, one sentence each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for rows in self.equal_rows() {
            notes.push(format!(
                "Rows {} are equal once everything is filled in: they share their results.",
                listed(&rows)
            ));
        }
        if self.experiment.pictures == 1 {
            notes.push("FID and KID have no value for a single picture.".into());
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sources_that_take_part_are_looked_at() {
        let names = ["a", "new\nline"].map(String::from);
        assert!(check_names(&names, 1, "cat").is_ok());
        assert!(check_names(&names, 2, "cat").is_err());
        let error = check_names(&names, 3, "cat").unwrap_err().to_string();
        assert_eq!(error, "pictures is 3, but cat has only 2");
    }

    #[test]
    fn long_lists_are_counted() {
        assert_eq!(listed(&["a", "b"]), "\"a\", \"b\"");
        let listed = listed(&["a", "b", "c", "d", "e", "f"]);
        assert!(listed.ends_with("\"d\", 2 more"), "{listed}");
    }
}
