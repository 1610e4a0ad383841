//! Which project is meant, and what paths mean, wherever a command is typed.

use crate::common::project::TestProject;
use crate::common::{AssertText, OutputAssertExt, assert_has, checkout, edited, egsde_in};
use crate::{COMPARED, TINY};

#[test]
fn a_project_is_found_upwards_named_by_option_or_variable() {
    let project = TestProject::embedded(TINY);
    let inside = project.path("configs/tasks");
    let from_inside = egsde_in(&inside).args(["plan", "../../e.yaml"]).assert();
    assert_has(&from_inside.printed(), &["0 of 6 jobs done"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = project.path("e.yaml");
    let file = file.to_str().unwrap();
    let root = project.path("");
    let root = root.to_str().unwrap();
    let plan = || {
        let mut egsde = egsde_in(elsewhere.path());
        egsde.args(["plan", file]);
        egsde
    };
    for command in [
        vec!["plan", file],
        vec!["data", "check"],
        vec!["submit", file, "--dry-run"],
        vec!["train", "r.yaml"],
    ] {
        let parts = [
            "no project here",
            "configs/tasks",
            "--project DIR",
            "EGSDE_PROJECT",
        ];
        egsde_in(elsewhere.path())
            .args(command)
            .env_remove("EGSDE_PROJECT")
            .assert()
            .refused(&parts);
    }
    let named = plan().args(["--project", root]).assert();
    assert_has(&named.printed(), &["0 of 6 jobs done"]);
    let by_variable = plan().env("EGSDE_PROJECT", root).assert();
    assert_has(&by_variable.printed(), &["0 of 6 jobs done"]);
    plan()
        .args(["--project", "/nonexistent"])
        .assert()
        .refused(&["--project", "/nonexistent", "is no project"]);
}

#[test]
fn results_lie_in_the_project_wherever_the_command_was_typed() {
    let text = edited(COMPARED, "seeds: [1, 2]", "seeds: [1]");
    let project = TestProject::embedded(&text);
    let elsewhere = tempfile::tempdir().unwrap();
    let root = project.path("");
    let root = root.to_str().unwrap();
    let file = project.path("e.yaml");
    let egsde = |command: &str, options: &[&str]| {
        let mut egsde = egsde_in(elsewhere.path());
        egsde.arg(command).arg(&file).args(["--project", root]);
        egsde.args(options).assert()
    };
    egsde("run", &[]).success();
    assert!(project.path("runs/tiny").is_dir());
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    // The folder of an option is one's own.
    egsde("report", &["--out", "page"]).success();
    assert!(elsewhere.path().join("page/index.html").is_file());
    // A submission's tasks run in the project: they find the file there.
    let preview = egsde("submit", &["--dry-run", "--seeds", "5"]).printed();
    assert_has(&preview, &["slurm-task", root.trim_end_matches('/')]);
}

#[test]
fn home_and_variables_are_replaced_in_files_and_options_alike() {
    let project = TestProject::embedded(&edited(TINY, "pictures: 5", "pictures: 5\nruns_dir: ~/r"));
    let home = tempfile::tempdir().unwrap();
    let egsde = |arguments: &[&str]| {
        let mut egsde = project.command(arguments);
        egsde
            .env("HOME", home.path())
            .env("RUNS", home.path().join("other"));
        egsde.env_remove("EGSDE_NO_SUCH");
        egsde.assert()
    };
    egsde(&["run", "e.yaml", "--limit", "1"]).success();
    assert!(home.path().join("r/tiny").is_dir());
    assert!(!project.path("~").exists());
    for runs in ["runs_dir=$RUNS", "runs_dir=${RUNS}", "runs_dir=~/other"] {
        egsde(&["run", "e.yaml", "--limit", "1", "--set", runs]).success();
    }
    assert_eq!(
        std::fs::read_dir(home.path().join("other/tiny"))
            .unwrap()
            .count(),
        3
    );
    let parts = ["runs_dir $EGSDE_NO_SUCH/r", "EGSDE_NO_SUCH is not set"];
    egsde(&["run", "e.yaml", "--set", "runs_dir=$EGSDE_NO_SUCH/r"]).refused(&parts);
    // A shell leaves `~` alone behind an equals sign.
    egsde(&["man", "--out=~/man"]).success();
    assert!(home.path().join("man/egsde.1").is_file());
    let rows = "  - {name: Own, method: external, images: \"$EGSDE_NO_SUCH/own\"}\n";
    project.write("x.yaml", format!("{TINY}{rows}"));
    egsde(&["plan", "x.yaml"]).refused(&["row \"Own\"", "EGSDE_NO_SUCH is not set"]);
}

#[test]
fn the_file_that_may_be_meant_is_named() {
    let egsde = |arguments: &[&str]| egsde_in(&checkout()).args(arguments).assert();
    let meant = ["did you mean experiments/table1.yaml?"];
    egsde(&["plan", "experiments/tabel1.yaml"]).refused(&meant);
    egsde(&["plan", "experimets/table1.yaml"]).refused(&meant);
    egsde(&["plan", "experiments/table1"]).refused(&meant);
    egsde(&["plan", "table1"]).refused(&["experiments/table1.yaml?"]);
    egsde(&["verify", "crates/runner/test"]).refused(&["did you mean crates/runner/tests?"]);
}
