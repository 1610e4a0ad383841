//! A source of several domains, and one page of several experiments.

use crate::common::images::pixels;
use crate::common::project::TestProject;
use crate::common::{AssertText, assert_has, files_below};

/// Two rows of four images.
const EXPERIMENT: &str = r#"name: one
title: One domain
task: cat2dog-32
published: {table: "1", task: cat2dog}
seeds: [1]
pictures: 4
methods:
  - {name: SDEdit, method: sdedit, steps: 5, start: 0.4}
  - {name: EGSDE, method: egsde, steps: 5, start: 0.4, lambda_s: 20, lambda_i: 0.3}
"#;

/// The source of the task that ships.
const CATS: &str = "source:
  domain: cat
  sheet:
    file: datasets/embedded/test_cats.png
    sha256: 64b5c39cbf694855167cedf84c38b157c11ce61f8a9a11620213ef0df87675a9
";

/// Cats and dogs in turn.
const CATS_AND_DOGS: &str = "source:
  domain: cat or dog
  several:
    - domain: cat
      sheet:
        file: datasets/embedded/test_cats.png
        sha256: 64b5c39cbf694855167cedf84c38b157c11ce61f8a9a11620213ef0df87675a9
    - domain: dog
      sheet:
        file: datasets/embedded/test_dogs.png
        sha256: d3679eb0b918940658a25cde1ba39cc77e17226faa112818a433cc8e53b2a6ca
";

/// A project with the experiments `e.yaml` of cats and `several.yaml` of cats and dogs.
fn project() -> TestProject {
    let project = TestProject::embedded(EXPERIMENT);
    let task = project.read("configs/tasks/cat2dog-32.yaml");
    let several = task
        .replace("name: cat2dog-32", "name: any2dog-32")
        .replace(CATS, CATS_AND_DOGS);
    assert!(several.contains("several"), "{task}");
    project.write("configs/tasks/any2dog-32.yaml", several);
    let experiment = EXPERIMENT
        .replace("name: one", "name: several")
        .replace("One domain", "Two domains")
        .replace("task: cat2dog-32", "task: any2dog-32");
    project.write("several.yaml", experiment);
    project
}

#[test]
fn several_domains_are_translated_in_turn_each_image_as_alone() {
    let project = project();
    project.run().success();
    project.egsde(&["run", "several.yaml"]).success();
    let names = ["cat-00000", "cat-00001", "dog-00000", "dog-00001"];
    for row in ["sdedit", "egsde"] {
        let images = |experiment: &str| {
            let found = files_below(&project.path("runs").join(experiment), ".png");
            let of_row = found.into_iter().filter(|file| file.name.contains(row));
            of_row.collect::<Vec<_>>()
        };
        let (alone, together) = (images("one"), images("several"));
        assert_eq!(together.len(), names.len());
        for (file, name) in together.iter().zip(names) {
            assert!(file.name.contains(name), "{} is not {name}", file.name);
        }
        assert_eq!(pixels(&together[0]), pixels(&alone[0]));
        assert_eq!(pixels(&together[1]), pixels(&alone[1]));
    }
    let plan = project.egsde(&["plan", "several.yaml"]).printed();
    assert_has(&plan, &["2 of 2 jobs done"]);
    project.egsde(&["task", "check", "any2dog-32"]).success();
    project.remove("datasets/embedded/test_dogs.png");
    project
        .egsde(&["run", "several.yaml", "--set", "runs_dir=other"])
        .refused(&["test_dogs.png"]);
}

#[test]
fn an_overview_has_every_table_and_one_grid() {
    let project = project();
    let overview = ["overview", "e.yaml", "several.yaml", "--out", "all"];
    project
        .egsde(&overview)
        .refused(&["holds no finished job", "egsde run e.yaml"]);
    project.run().success();
    project.egsde(&["run", "several.yaml"]).success();
    project.egsde(&overview).success();
    let page = project.read("all/index.html");
    assert_has(&page, &["All tasks", "One domain", "Two domains"]);
    assert_has(
        &page,
        &["Claims of the paper about this table: ", "not testable"],
    );
    let tables = project.read("all/tables.md");
    assert_has(&tables, &["# One domain", "# Two domains"]);
    let grid = std::fs::read(project.path("all/grid.png")).unwrap();
    let grid = image::load_from_memory(&grid).unwrap();
    // Two blocks of three columns of 102 px and 6 px at the edge, 30 px between; four sources.
    assert_eq!(grid.width(), 2 * (3 * 102 + 6) + 30);
    assert!(
        (4 * 102..6 * 102).contains(&grid.height()),
        "{}",
        grid.height()
    );
    // Once more over what it left, with rows in another order; not over files of others.
    let chosen = ["--rows", "SDEdit", "--sources", "2", "--title", "Both"];
    project
        .egsde(&[overview.as_slice(), &chosen].concat())
        .success();
    let page = project.read("all/index.html");
    assert_eq!(page.matches("<img").count(), 2 * 2 * 2);
    assert_has(&page, &["<h1>Both</h1>"]);
    project.write("mine/index.html", "mine");
    project
        .egsde(&["overview", "e.yaml", "--out", "mine"])
        .refused(&["mine/index.html", "--force"]);
    project
        .egsde(&["overview", "e.yaml", "--rows", "SDedit", "--out", "all"])
        .refused(&["no experiment has a row SDedit", "did you mean `SDEdit`?"]);
}
