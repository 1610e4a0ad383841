//! `egsde translate`: pictures as people have them, and what is said about those that cannot be
//! read.

use crate::common::{
    Assert, AssertText, OutputAssertExt, assert_has, checkout, egsde_in, interrupt,
};
use crate::{COMPARED, FINISHED};
use egsde_data::image_file::{Rgb, encode_jpeg75};
use egsde_data::image_set::ImageSet;
use image::{Rgb as Pixel, RgbImage, imageops};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The photo that ships.
const SHIPPED: &str = "datasets/embedded/chelsea.png";

/// Options that take one evaluation of one network per picture.
const FAST: [&str; 4] = ["--method", "SDEdit", "--steps", "3"];

/// A folder of pictures, and of translations beside them.
struct Album(tempfile::TempDir);

impl Album {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, inside: &str) -> PathBuf {
        let path = self.0.path().join(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Saves a picture; the name's extension tells the format.
    fn save(&self, inside: &str, picture: &RgbImage) {
        picture.save(self.path(inside)).unwrap();
    }

    /// Saves a JPEG whose EXIF data tells this orientation.
    fn save_turned(&self, inside: &str, picture: &RgbImage, orientation: u8) {
        let jpeg = jpeg(picture);
        let exif = [
            b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(),
            &[orientation, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let length = (exif.len() as u16 + 2).to_be_bytes();
        let bytes = [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat();
        std::fs::write(self.path(inside), bytes).unwrap();
    }

    /// `egsde translate` of one of its pictures or folders into another of its folders.
    fn command(&self, input: &str, out: &str, options: &[&str]) -> Command {
        let mut egsde = egsde_in(&checkout());
        egsde.arg("translate").arg(self.0.path().join(input));
        egsde.arg("--out").arg(self.0.path().join(out));
        egsde.args(["--task", "cat2dog-32"]).args(options);
        egsde
    }

    fn translate(&self, input: &str, out: &str, options: &[&str]) -> Assert {
        self.command(input, out, options).assert()
    }

    /// A picture that was written.
    #[track_caller]
    fn read(&self, inside: &str) -> RgbImage {
        let path = self.0.path().join(inside);
        let picture = image::open(&path);
        picture
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .into_rgb8()
    }

    /// Names of the translations in a folder, sorted.
    fn translations(&self, out: &str) -> Vec<String> {
        file_names(&self.0.path().join(out))
    }
}

fn file_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    let mut names: Vec<String> = files
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let (width, height) = picture.dimensions();
    encode_jpeg75(&Rgb {
        width: width as usize,
        height: height as usize,
        pixels: picture.as_raw().clone(),
    })
    .unwrap()
}

/// A picture whose colours tell every place apart.
fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Pixel([
            (x * 255 / width) as u8,
            (y * 255 / height) as u8,
            ((x / 8 + y / 8) % 2 * 120) as u8,
        ])
    })
}

/// The source that a strip shows.
fn source_in(strip: &RgbImage) -> RgbImage {
    let side = strip.height();
    assert!(strip.width() > 2 * side, "{:?}", strip.dimensions());
    imageops::crop_imm(strip, 0, 0, side, side).to_image()
}

/// The mean absolute difference of two pictures of one size, in levels of 255.
#[track_caller]
fn mean_difference(left: &RgbImage, right: &RgbImage) -> f64 {
    assert_eq!(left.dimensions(), right.dimensions());
    let pairs = left.as_raw().iter().zip(right.as_raw());
    let sum: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / left.as_raw().len() as f64
}

#[test]
fn the_photo_that_ships_becomes_a_translation_and_a_strip() {
    let album = Album::new();
    std::fs::copy(checkout().join(SHIPPED), album.path("chelsea.png")).unwrap();
    let log = album
        .translate("chelsea.png", "out", &["--steps", "10"])
        .success()
        .error_text();
    assert_has(&log, &["1 pictures by EGSDE into ", "/out/strips"]);
    let translation = album.read("out/chelsea.png");
    assert_eq!(translation.dimensions(), (32, 32));
    // Eight times as large, source and translation beside each other.
    let strip = album.read("out/strips/chelsea.png");
    assert_eq!(strip.dimensions(), (2 * 256 + 8, 256));
    let shown = imageops::crop_imm(&strip, 264, 0, 256, 256).to_image();
    let shown = imageops::resize(&shown, 32, 32, imageops::FilterType::Nearest);
    assert_eq!(shown, translation);
    assert!(
        mean_difference(
            &source_in(&strip),
            &imageops::crop_imm(&strip, 264, 0, 256, 256).to_image()
        ) > 2.0
    );

    // The same again is the same, another seed is not.
    let steps = ["--steps", "10"];
    album.translate("chelsea.png", "again", &steps).success();
    assert_eq!(album.read("again/chelsea.png"), translation);
    let other_seed = ["--steps", "10", "--seed", "2"];
    album
        .translate("chelsea.png", "other", &other_seed)
        .success();
    assert_ne!(album.read("other/chelsea.png"), translation);
}

#[test]
fn a_source_of_the_data_set_becomes_what_the_table_shows() {
    let sheet = std::fs::read(checkout().join("datasets/embedded/test_cats.png")).unwrap();
    let cats = ImageSet::from_sheet(&sheet, 32, "cat").unwrap().first(5);
    let album = Album::new();
    for (i, name) in cats.names.iter().enumerate() {
        album.save(&format!("cats/{name}.png"), &cats.image(i));
    }
    std::fs::write(album.path("e.yaml"), COMPARED).unwrap();
    let experiment = album.path("e.yaml");
    let rows = ["--experiment", experiment.to_str().unwrap()];
    for method in ["SDEdit", "EGSDE", "ILVR"] {
        let options = [&rows[..], &["--method", method, "--seed", "2"]].concat();
        album.translate("cats", method, &options).success();
        let folder = format!("{}-s2-", method.to_lowercase());
        let mut table = FINISHED.files("r", ".png");
        table.retain(|file| file.name.contains(&folder));
        assert_eq!(table.len(), 5);
        for (file, name) in table.iter().zip(&cats.names) {
            let expected = image::load_from_memory(&file.bytes).unwrap().into_rgb8();
            assert_eq!(
                album.read(&format!("{method}/{name}.png")),
                expected,
                "{method} {name}"
            );
        }
    }
}

#[test]
fn a_folder_of_mixed_formats_is_translated_whole() {
    let album = Album::new();
    album.save("mixed/wide.png", &gradient(90, 40));
    std::fs::write(album.path("mixed/PHOTO.JPG"), jpeg(&gradient(64, 48))).unwrap();
    let grey = image::DynamicImage::from(gradient(40, 40)).into_luma8();
    grey.save(album.path("mixed/grey.png")).unwrap();
    let clear = image::DynamicImage::from(gradient(33, 70)).into_rgba8();
    clear.save(album.path("mixed/clear.png")).unwrap();
    // Another picture of the same stem, a text, and a folder that is not entered.
    std::fs::write(album.path("mixed/wide.jpeg"), jpeg(&gradient(50, 50))).unwrap();
    std::fs::write(album.path("mixed/notes.txt"), "cats").unwrap();
    album.save("mixed/inner/deep.png", &gradient(32, 32));
    let log = album
        .translate("mixed", "out", &FAST)
        .success()
        .error_text();
    assert_has(&log, &["1 pictures in folders inside it take no part"]);
    let names = [
        "PHOTO.png",
        "clear.png",
        "grey.png",
        "wide.jpeg.png",
        "wide.png.png",
    ];
    assert_eq!(album.translations("out"), names);
    assert_eq!(album.translations("out/strips"), names);
}

#[test]
fn the_middle_of_a_large_photo_is_taken() {
    let album = Album::new();
    let photo = gradient(3000, 2000);
    album.save("large/photo.png", &photo);
    for (name, left) in [("left", 0), ("middle", 500)] {
        let part = imageops::crop_imm(&photo, left, 0, 2000, 2000).to_image();
        album.save(&format!("{name}/photo.png"), &part);
    }
    let [large, left, middle] = ["large", "left", "middle"].map(|folder| {
        let (input, out) = (format!("{folder}/photo.png"), format!("{folder}-out"));
        album.translate(&input, &out, &FAST).success();
        source_in(&album.read(&format!("{out}/strips/photo.png")))
    });
    // Only the filter at the cut sees what lies beyond it.
    let (near, far) = (
        mean_difference(&large, &middle),
        mean_difference(&large, &left),
    );
    assert!(near < 1.0 && far > 10.0, "{near} {far}");
}

#[test]
fn a_photo_stands_upright_as_its_exif_data_says() {
    let album = Album::new();
    let upright = gradient(80, 120);
    // A camera that was held sideways wrote this, and "turn it by 90 degrees clockwise".
    let stored = imageops::rotate270(&upright);
    album.save_turned("upright/photo.jpg", &upright, 1);
    album.save_turned("sideways/photo.jpg", &stored, 6);
    album.save_turned("unturned/photo.jpg", &stored, 1);
    for folder in ["upright", "sideways", "unturned"] {
        let input = format!("{folder}/photo.jpg");
        album
            .translate(&input, &format!("{folder}-out"), &FAST)
            .success();
    }
    let [upright, sideways, unturned] = ["upright", "sideways", "unturned"]
        .map(|folder| source_in(&album.read(&format!("{folder}-out/strips/photo.png"))));
    // Two compressions differ a little, a turned picture differs a lot.
    let (near, far) = (
        mean_difference(&upright, &sideways),
        mean_difference(&upright, &unturned),
    );
    assert!(near < 3.0 && far > 20.0, "{near} {far}");
}

#[test]
fn an_unreadable_picture_is_named_and_counted_and_the_others_are_translated() {
    let album = Album::new();
    for name in ["a", "c", "d"] {
        album.save(&format!("some/{name}.png"), &gradient(40, 32));
    }
    let whole = jpeg(&gradient(60, 60));
    std::fs::write(album.path("some/b.jpg"), &whole[..whole.len() / 2]).unwrap();
    let ended = album.translate("some", "out", &FAST).code(1);
    let text = ended.error_text();
    assert_has(&text, &["left out: ", "b.jpg: a truncated JPEG"]);
    let last = text.lines().last().unwrap();
    assert_has(last, &["egsde: 1 of 4 pictures could not be read", "b.jpg"]);
    assert_eq!(album.translations("out"), ["a.png", "c.png", "d.png"]);

    // Where there is no other, nothing was done.
    let parts = ["b.jpg: a truncated JPEG"];
    album.translate("some/b.jpg", "none", &FAST).refused(&parts);
    std::os::unix::fs::symlink("gone", album.path("some/link.png")).unwrap();
    album
        .translate("some/link.png", "none", &FAST)
        .refused(&["link.png: it is a link to gone"]);
    std::fs::write(album.path("bad/a.png"), "").unwrap();
    std::fs::write(album.path("bad/b.png"), "x").unwrap();
    let parts = [
        "none of 2 pictures could be read",
        "a.png: the file is empty",
    ];
    album
        .translate("bad", "none", &FAST)
        .refused_after_log_lines(&parts);
    assert!(album.translations("none").is_empty());
}

#[test]
fn nothing_is_overwritten_without_force() {
    let album = Album::new();
    album.save("some/a.png", &gradient(40, 32));
    album.save("some/b.png", &gradient(32, 40));
    album.save("out/b.png", &gradient(7, 7));
    let parts = ["out/b.png is there already", "--skip-existing", "--force"];
    album.translate("some", "out", &FAST).refused(&parts);
    assert_eq!(album.translations("out"), ["b.png"]);
    let skip = [&FAST[..], &["--skip-existing"]].concat();
    album.translate("some", "out", &skip).success();
    assert_eq!(album.translations("out"), ["a.png", "b.png"]);
    assert_eq!(album.read("out/b.png"), gradient(7, 7));
    let log = album.translate("some", "out", &skip).success().error_text();
    assert_has(&log, &["nothing to do"]);
    let force = [&FAST[..], &["--force"]].concat();
    album.translate("some", "out", &force).success();
    assert_eq!(album.read("out/b.png").dimensions(), (32, 32));
    // No option writes over a source.
    let parts = ["some/a.png is itself a picture to translate"];
    album.translate("some", "some", &force).refused(&parts);
    assert_eq!(album.read("some/a.png"), gradient(40, 32));
}

/// Options of `egsde translate` and what their refusal names.
struct Refused {
    options: &'static [&'static str],
    parts: &'static [&'static str],
}

#[test]
fn a_mistake_gets_one_line_and_writes_nothing() {
    let mistakes = [
        Refused {
            options: &["--method", "EGSED"],
            parts: &["no row \"EGSED\"", "table1.yaml", "did you mean \"EGSDE\"?"],
        },
        Refused {
            options: &["--steps", "1001"],
            parts: &["--steps: ", "must be 1 to 1000"],
        },
        Refused {
            options: &["--steps", "1"],
            parts: &["less than one of 1 steps"],
        },
        Refused {
            options: &["--experiment", "experiments/table2.yaml"],
            parts: &["table2.yaml"],
        },
    ];
    let album = Album::new();
    album.save("a.png", &gradient(40, 32));
    for Refused { options, parts } in mistakes {
        album.translate("a.png", "out", options).refused(parts);
    }
    let picture = album.path("a.png");
    let picture = picture.to_str().unwrap();
    let refused = [
        Refused {
            options: &["--task", "cat2dgo-32"],
            parts: &["unknown task `cat2dgo-32`", "did you mean `cat2dog-32`?"],
        },
        Refused {
            options: &["--task", "cat2dog-32", "--out", "-"],
            parts: &["--out -", "name a folder"],
        },
        Refused {
            options: &["--task", "cat2dog-32", "-"],
            parts: &["not from standard input"],
        },
        Refused {
            options: &["--task", "cat2dog-32", "no/such.png"],
            parts: &["no/such.png"],
        },
        // The published files do not ship.
        Refused {
            options: &["--task", "afhq-cat2dog"],
            parts: &["afhq_dog_4m.pt", "missing"],
        },
    ];
    for Refused { options, parts } in refused {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let mut egsde = egsde_in(&checkout());
        egsde.args(["translate", picture]).args(options);
        if !options.contains(&"--out") {
            egsde.arg("--out").arg(&out);
        }
        egsde.assert().refused(parts);
        assert!(!out.exists(), "{options:?}");
    }
}

#[test]
fn an_interrupted_translation_goes_on_where_it_stopped() {
    let album = Album::new();
    let count = 400;
    for i in 0..count {
        album.save(&format!("many/{i:03}.png"), &gradient(32, 32));
    }
    let mut command = album.command("many", "out", &FAST);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    while album.translations("out").is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let text = interrupt(child);
    let there = album.translations("out").len();
    assert!(there < count, "it ended before the signal came");
    let parts = [
        format!("interrupted: {there} of {count} pictures"),
        "--skip-existing".into(),
    ];
    assert_has(&text, &[&parts[0], &parts[1]]);
    let skip = [&FAST[..], &["--skip-existing"]].concat();
    album.translate("many", "out", &skip).success();
    assert_eq!(album.translations("out").len(), count);
}
