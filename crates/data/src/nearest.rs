//! The nearest valid name to what was typed: keys, rows, tasks, files.

use std::path::{Path, PathBuf};

/// Names at least this alike (Jaro-Winkler, 0 to 1) are offered for each other.
const ALIKE: f64 = 0.7;

/// How alike two names are that differ by one letter, or by two that changed places. Of short ones
/// Jaro-Winkler makes less.
const ONE_SLIP: f64 = 0.75;

/// Names of fewer letters are different names when they differ by one.
const SHORTEST_WITH_SLIP: usize = 3;

/// How alike two names are, 0 to 1, however they are capitalised.
fn likeness_as_written(typed: &str, name: &str) -> f64 {
    let length = typed.chars().count().min(name.chars().count());
    let alike = strsim::jaro_winkler(typed, name);
    if length >= SHORTEST_WITH_SLIP && strsim::osa_distance(typed, name) <= 1 {
        return alike.max(ONE_SLIP);
    }
    alike
}

/// How alike two names are, 0 to 1; capitals count little.
fn likeness(typed: &str, name: &str) -> f64 {
    let exact = likeness_as_written(typed, name);
    // A name that differs in capitals alone comes right after the exact one.
    let folded = likeness_as_written(&typed.to_lowercase(), &name.to_lowercase());
    exact.max(folded - 1e-6)
}

/// The valid name closest to what was typed, if one is close.
pub fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = names.map(|name| (likeness(typed, name), name));
    let (score, name) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > ALIKE).then_some(name)
}

/// "; did you mean `...`?", or nothing when no name is close.
pub fn offer<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> String {
    nearest(typed, names).map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

/// Which names there are in a folder, with the one nearest to what was typed: "there are ...".
pub fn known_names(typed: &str, names: &[String], folder: &Path) -> String {
    if names.is_empty() {
        return format!("{} has none", folder.display());
    }
    let offer = offer(typed, names.iter().map(String::as_str));
    format!("there are {}{offer}", names.join(", "))
}

/// The names in a folder; none when it cannot be read.
fn entries(folder: &Path) -> Vec<String> {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The path whose first missing component is replaced by the name nearest to it, while that leads
/// to something that exists.
fn nearest_path(path: &Path) -> Option<PathBuf> {
    let mut found = PathBuf::new();
    let mut is_changed = false;
    for component in path.components() {
        let next = found.join(component);
        if next.exists() {
            found = next;
            continue;
        }
        let typed = component.as_os_str().to_string_lossy();
        let names = entries(&found);
        let name = nearest(&typed, names.iter().map(String::as_str))?;
        found.push(name);
        is_changed = true;
    }
    (is_changed && found.exists()).then_some(found)
}

/// Offers the existing path nearest to one that is not there; nothing where the path exists or none
/// is close.
pub fn offer_path(path: &Path) -> String {
    if path.exists() {
        return String::new();
    }
    let found = nearest_path(path);
    found.map_or(String::new(), |found| {
        format!("; did you mean {}?", found.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_do_not_hide_the_nearest_name() {
        let names = ["SDEdit", "EGSDE", "ILVR"];
        assert_eq!(nearest("sdedit", names.into_iter()), Some("SDEdit"));
        assert_eq!(nearest("egsd", names.into_iter()), Some("EGSDE"));
        assert_eq!(nearest("zzz", names.into_iter()), None);
        assert_eq!(nearest("dya", ["night", "day"].into_iter()), Some("day"));
        assert_eq!(nearest("ab", ["cb"].into_iter()), None);
        assert_eq!(nearest("a", ["A", "a"].into_iter()), Some("a"));
    }

    #[test]
    fn a_folder_without_names_is_told() {
        let folder = Path::new("tasks");
        assert_eq!(known_names("a", &[], folder), "tasks has none");
        let names = ["day".into(), "night".into()];
        let known = known_names("dya", &names, folder);
        assert_eq!(known, "there are day, night; did you mean `day`?");
    }

    #[test]
    fn the_nearest_path_is_offered_through_a_wrong_folder_too() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        std::fs::create_dir(at.join("experiments")).unwrap();
        std::fs::write(at.join("experiments/table1.yaml"), "").unwrap();
        let offered = offer_path(&at.join("experimets/tabel1.yaml"));
        let expected = at.join("experiments/table1.yaml");
        assert_eq!(offered, format!("; did you mean {}?", expected.display()));
        assert_eq!(offer_path(&expected), "");
        assert_eq!(offer_path(&at.join("zzz")), "");
    }
}
