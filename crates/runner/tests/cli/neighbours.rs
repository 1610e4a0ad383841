//! `egsde data neighbours` on pictures that ship.

use crate::common::{AssertText, assert_has, checkout, egsde};
use egsde_data::image_set::ImageSet;

/// Reference pictures are their own neighbours, a photo of a cat is not among them.
#[test]
fn known_pictures_are_found_and_a_file_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    let sheet = std::fs::read(checkout().join("datasets/embedded/test_dogs.png")).unwrap();
    let dogs = ImageSet::from_sheet(&sheet, 32, "dog").unwrap();
    for i in 0..3 {
        dogs.image(i)
            .save(pictures.join(format!("dog{i}.png")))
            .unwrap();
    }
    let out = folder.path().join("n.png");
    let (pictures, out) = (pictures.to_str().unwrap(), out.to_str().unwrap());
    let arguments = [
        "data",
        "neighbours",
        pictures,
        "--task",
        "cat2dog-32",
        "--out",
        out,
    ];

    let printed = egsde(&arguments).printed();
    let nearest = "3 pictures are 0.000 from the nearest of 1000 reference images (median; least \
                   0.000)";
    assert_has(
        &printed,
        &[&format!("by pixels: {nearest}"), "by features: 3 pictures"],
    );
    let grid = image::open(out).unwrap();
    assert!(grid.width() > 3 * 96 && grid.height() > 3 * 96);
    egsde(&arguments).refused(&["n.png is there already", "--force"]);
    egsde(&[&arguments[..], &["--force"]].concat()).success();

    let photos = checkout().join("datasets/embedded/chelsea.png");
    std::fs::copy(photos, folder.path().join("pictures/a cat.png")).unwrap();
    let printed = egsde(&[&arguments[..], &["--force", "--count", "1"]].concat()).printed();
    assert_has(&printed, &["by pixels: 1 pictures are "]);
    assert!(!printed.contains(" are 0.000 from"), "{printed}");
}

#[test]
fn what_has_no_neighbours_is_refused() {
    let arguments = ["data", "neighbours", "datasets", "--task"];
    egsde(&[&arguments[..], &["cat2dog-33"]].concat()).refused(&["did you mean"]);
    let zero = [
        &arguments[..],
        &["cat2dog-32", "--count", "0", "--out", "/tmp/n/x.png"],
    ]
    .concat();
    egsde(&zero).refused(&["--count must be at least 1"]);
    let none = [&arguments[..], &["cat2dog-32", "--out", "/tmp/n/x.png"]].concat();
    egsde(&none).refused(&["datasets"]);
}
