//! The font that ships, and a font of this machine for names in scripts that it lacks.

use ab_glyph::{Font, FontRef};
use plotters::style::{FontStyle, register_font};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};

/// The name under which the font that ships is known.
pub const FONT: &str = "sans-serif";

/// The name under which a font of this machine is known; in an SVG a list of families.
const FALLBACK: &str = "sans-serif, fallback";

const SHIPPED: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans.ttf");

/// Larger font files are left alone.
const MAX_FILE: u64 = 64 << 20;

/// Folders deeper than this below a folder of fonts are left alone.
const MAX_DEPTH: usize = 6;

/// Parts of the names of fonts with many scripts, which are tried first.
const MANY_SCRIPTS: [&str; 8] = [
    "cjk",
    "sourcehan",
    "wqy",
    "fallback",
    "unifont",
    "unicode",
    "ipa",
    "noto",
];

/// The fallback, once [`choose_fallback`] has found one.
static CHOSEN: OnceLock<FontRef<'static>> = OnceLock::new();

/// Takes the font that ships with the program, so that plots look alike everywhere.
pub fn use_own_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = register_font(FONT, FontStyle::Normal, SHIPPED);
    });
}

/// The visible characters of texts that a font lacks.
fn lacking<'a>(font: &impl Font, texts: impl Iterator<Item = &'a str>) -> BTreeSet<char> {
    let visible = texts
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace() && !c.is_control());
    visible.filter(|c| font.glyph_id(*c).0 == 0).collect()
}

/// The characters of texts that the font which ships lacks.
fn not_shipped<'a>(texts: impl Iterator<Item = &'a str>) -> BTreeSet<char> {
    FontRef::try_from_slice(SHIPPED).map_or_else(|_| BTreeSet::new(), |font| lacking(&font, texts))
}

/// The font in which a text is drawn.
pub fn font_for(text: &str) -> &'static str {
    let missing = not_shipped(std::iter::once(text));
    match CHOSEN.get() {
        Some(chosen) if !missing.is_empty() => {
            let still = lacking(chosen, std::iter::once(text));
            if still.len() < missing.len() {
                FALLBACK
            } else {
                FONT
            }
        }
        _ => FONT,
    }
}

/// Folders in which systems keep fonts.
fn font_folders() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let home = PathBuf::from(variable("HOME"));
    let data_home = match variable("XDG_DATA_HOME") {
        empty if empty.is_empty() => home.join(".local/share"),
        folder => folder.into(),
    };
    let data = match variable("XDG_DATA_DIRS") {
        empty if empty.is_empty() => "/usr/local/share:/usr/share".to_string(),
        folders => folders,
    };
    let mut folders = vec![data_home.join("fonts"), home.join(".fonts")];
    folders.extend(
        data.split(':')
            .map(|folder| Path::new(folder).join("fonts")),
    );
    folders
}

/// Font files at or below a folder.
fn collect_fonts(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        if path.is_dir() {
            if depth < MAX_DEPTH {
                collect_fonts(&path, depth + 1, found);
            }
        } else if ["ttf", "otf", "ttc"]
            .iter()
            .any(|known| extension == *known)
        {
            found.push(path);
        }
    }
}

/// Whether a font file is likely to have many scripts.
fn has_many_scripts(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_lowercase();
    MANY_SCRIPTS.iter().any(|part| name.contains(part))
}

/// The bytes of a font file that has at least one of some characters, and how many it lacks.
fn read_font(path: &Path, wanted: &str) -> Option<(usize, Vec<u8>)> {
    if path.metadata().ok()?.len() > MAX_FILE {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    let font = FontRef::try_from_slice(&bytes).ok()?;
    let lacked = lacking(&font, std::iter::once(wanted)).len();
    (lacked < wanted.chars().count()).then_some((lacked, bytes))
}

/// The font of this machine that has most of some characters.
fn best_font(wanted: &str) -> Option<Vec<u8>> {
    let mut paths = Vec::new();
    for folder in font_folders() {
        collect_fonts(&folder, 0, &mut paths);
    }
    paths.sort();
    paths.sort_by_key(|path| !has_many_scripts(path));
    let mut best: Option<(usize, Vec<u8>)> = None;
    for path in paths {
        let Some(found) = read_font(&path, wanted) else {
            continue;
        };
        if best.as_ref().is_none_or(|(lacked, _)| found.0 < *lacked) {
            best = Some(found);
        }
        if best.as_ref().is_some_and(|(lacked, _)| *lacked == 0) {
            break;
        }
    }
    best.map(|(_, bytes)| bytes)
}

/// Chooses a font of this machine for texts that the font which ships cannot draw; returns the
/// characters that no font has, which are drawn as boxes.
pub fn choose_fallback<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> String {
    let missing: String = not_shipped(texts.clone()).into_iter().collect();
    if missing.is_empty() {
        return missing;
    }
    if CHOSEN.get().is_none()
        && let Some(bytes) = best_font(&missing)
    {
        // Fonts live as long as the process: plotters borrows them for good.
        let bytes: &'static [u8] = bytes.leak();
        if let Ok(font) = FontRef::try_from_slice(bytes) {
            let _ = register_font(FALLBACK, FontStyle::Normal, bytes);
            let _ = CHOSEN.set(font);
        }
    }
    match CHOSEN.get() {
        Some(font) => lacking(font, std::iter::once(missing.as_str()))
            .into_iter()
            .collect(),
        None => missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_shipped_font_lacks_is_known() {
        assert!(not_shipped(["EGSDE† λ=0.5 → é", "two\nlines"].into_iter()).is_empty());
        let missing = not_shipped(["SDEdit 猫"].into_iter());
        assert_eq!(missing, BTreeSet::from(['猫']));
        assert_eq!(font_for("SDEdit"), FONT);
    }
}
