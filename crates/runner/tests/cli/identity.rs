//! What decides a job's images makes it another job; names, labels and paths do not.

use crate::common::images::image_states;
use crate::common::project::TestProject;
use crate::common::{AssertText, assert_has, copy_folder, edited, job_states, table_row};
use crate::{COMPARED, COMPARED_JOBS, FINISHED, nothing_to_do};
use std::collections::BTreeSet;

const TASK: &str = "configs/tasks/cat2dog-32.yaml";
const EXPERIMENT: &str = "e.yaml";
const DIFFUSION: &str = "checkpoints/embedded/dog_diffusion.safetensors";
const EXTRACTOR: &str = "checkpoints/embedded/cat2dog_dse.safetensors";

/// The sheets of the two domains, as the task names them.
const CATS: &str = "test_cats.png\n    sha256: \
    64b5c39cbf694855167cedf84c38b157c11ce61f8a9a11620213ef0df87675a9";
const DOGS: &str = "test_dogs.png\n    sha256: \
    d3679eb0b918940658a25cde1ba39cc77e17226faa112818a433cc8e53b2a6ca";

/// A project in which [`COMPARED`] is finished.
fn finished_project() -> TestProject {
    let project = TestProject::embedded(COMPARED);
    copy_folder(&FINISHED.path("r"), &project.path("runs"));
    project
}

/// A change of a project's file that decides no image.
struct Relabelling {
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const RELABELLINGS: [Relabelling; 7] = [
    Relabelling {
        what: "the experiment's title",
        file: EXPERIMENT,
        from: "title: Tiny",
        to: "title: Other",
    },
    Relabelling {
        what: "a row's name",
        file: EXPERIMENT,
        from: "name: EGSDE",
        to: "name: With experts",
    },
    Relabelling {
        what: "the row to compare with",
        file: EXPERIMENT,
        from: "compare_to: SDEdit",
        to: "compare_to: ILVR",
    },
    Relabelling {
        what: "the task's title",
        file: TASK,
        from: "title: \"CIFAR-10",
        to: "title: \"Small",
    },
    Relabelling {
        what: "the label of the distance",
        file: TASK,
        from: "distance: \"Fréchet",
        to: "distance: \"Another Fréchet",
    },
    Relabelling {
        what: "the path of the weights",
        file: TASK,
        from: "file: checkpoints/embedded/dog_diffusion.safetensors",
        to: "file: moved/weights.safetensors",
    },
    Relabelling {
        what: "the path of the sources",
        file: TASK,
        from: "file: datasets/embedded/test_cats.png",
        to: "file: moved/cats.png",
    },
];

#[test]
fn names_labels_and_paths_keep_every_job() {
    let project = finished_project();
    let before = image_states(&project.path("runs"));
    std::fs::create_dir(project.path("moved")).unwrap();
    std::fs::rename(
        project.path(DIFFUSION),
        project.path("moved/weights.safetensors"),
    )
    .unwrap();
    let cats = project.path("datasets/embedded/test_cats.png");
    std::fs::rename(cats, project.path("moved/cats.png")).unwrap();
    for Relabelling {
        what,
        file,
        from,
        to,
    } in RELABELLINGS
    {
        project.replace(file, from, to);
        let log = project.run().success().error_text();
        assert!(log.contains(&nothing_to_do()), "{what}: {log}");
        assert_eq!(image_states(&project.path("runs")), before, "{what}");
    }
    // The same task under another name.
    let task = edited(&project.read(TASK), "name: cat2dog-32", "name: relabelled");
    project.write("configs/tasks/relabelled.yaml", task);
    project.replace(EXPERIMENT, "task: cat2dog-32", "task: relabelled");
    assert_has(&project.run().success().error_text(), &[&nothing_to_do()]);
    // The images under a row's earlier name serve its new one.
    let table = project.table();
    for row in ["With experts", "SDEdit"] {
        assert_eq!(
            table_row(&table, row)["metrics"]["l2"]["n"],
            2,
            "{row}: {table}"
        );
    }
    project.egsde(&["verify", "runs"]).success();
}

/// Rows whose jobs depend on the networks, as their folders begin.
const ROWS: [&str; 3] = ["egsde", "ilvr", "sdedit"];

/// A change of a project's file that makes other images.
struct Change {
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// Rows whose finished jobs still stand.
    still_done: &'static [&'static str],
}

const CHANGES: [Change; 10] = [
    Change {
        what: "an expert's weight",
        file: EXPERIMENT,
        from: "lambda_s: 20",
        to: "lambda_s: 21",
        still_done: &["ilvr", "sdedit"],
    },
    Change {
        what: "a row's steps",
        file: EXPERIMENT,
        from: "method: ilvr, steps: 5",
        to: "method: ilvr, steps: 6",
        still_done: &["egsde", "sdedit"],
    },
    Change {
        what: "the seeds",
        file: EXPERIMENT,
        from: "seeds: [1, 2]",
        to: "seeds: [3, 4]",
        still_done: &[],
    },
    Change {
        what: "the number of images",
        file: EXPERIMENT,
        from: "pictures: 5",
        to: "pictures: 4",
        still_done: &[],
    },
    Change {
        what: "the batch that the networks see",
        file: EXPERIMENT,
        from: "pictures: 5",
        to: "pictures: 5\nbatch_size: 3",
        still_done: &[],
    },
    Change {
        what: "the precision",
        file: EXPERIMENT,
        from: "pictures: 5",
        to: "pictures: 5\nprecision: bf16",
        still_done: &[],
    },
    Change {
        what: "the image format",
        file: EXPERIMENT,
        from: "pictures: 5",
        to: "pictures: 5\nformat: jpeg75",
        still_done: &[],
    },
    Change {
        what: "the source's domain, which names its images and so chooses their noise",
        file: TASK,
        from: "domain: cat",
        to: "domain: feline",
        still_done: &[],
    },
    Change {
        what: "the source's sheet",
        file: TASK,
        from: CATS,
        to: DOGS,
        still_done: &[],
    },
    Change {
        what: "the side of the images",
        file: TASK,
        from: "image_size: 32",
        to: "image_size: 16",
        still_done: &[],
    },
];

/// Rows of which `egsde plan` calls every job done.
fn done_rows(project: &TestProject) -> BTreeSet<&'static str> {
    let plan = project.egsde(&["plan", EXPERIMENT]).printed();
    let mut done = BTreeSet::new();
    for row in ROWS {
        let states = job_states(&plan, &format!("{row}-s"));
        assert_eq!(states.len(), 2, "{plan}");
        if states.iter().all(|state| *state == "done") {
            done.insert(row);
        }
    }
    done
}

#[test]
fn what_decides_images_makes_other_jobs() {
    let project = finished_project();
    assert_eq!(done_rows(&project), BTreeSet::from(ROWS));
    for Change {
        what,
        file,
        from,
        to,
        still_done,
    } in CHANGES
    {
        let text = project.read(file);
        project.replace(file, from, to);
        assert_eq!(
            done_rows(&project),
            still_done.iter().copied().collect(),
            "{what}"
        );
        project.write(file, text);
    }
    assert_eq!(done_rows(&project), BTreeSet::from(ROWS));
}

#[test]
fn other_weights_make_other_jobs() {
    let project = finished_project();
    let before = image_states(&project.path("runs"));
    project.change_weights(EXTRACTOR, TASK);
    assert_eq!(done_rows(&project), BTreeSet::from(["ilvr", "sdedit"]));
    project.change_weights(DIFFUSION, TASK);
    assert_eq!(done_rows(&project), BTreeSet::new());
    let log = project.run().success().error_text();
    let remade = COMPARED_JOBS - 1;
    assert!(
        log.contains(&format!("ran {remade} jobs")),
        "the sources need no network: {log}"
    );
    let after = image_states(&project.path("runs"));
    assert_eq!(
        after.len(),
        before.len() + remade * (5 + 1),
        "the earlier images stay"
    );
    assert!(
        before.iter().all(|image| after.contains(image)),
        "the earlier images stay"
    );
}
