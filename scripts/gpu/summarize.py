#!/usr/bin/env python3
"""Prints the tables of scripts/gpu/measure.sh.

    summarize.py parity OUT              the error of each golden case in each precision
    summarize.py steps ROOT N LOW HIGH   milliseconds per step from runs of LOW and HIGH steps
"""
import glob
import json
import math
import os
import re
import sys

PRECISIONS = ("f32", "tf32", "bf16")


def show_parity(folder):
    cases = {}
    for precision in PRECISIONS:
        path = os.path.join(folder, f"parity_{precision}.json")
        if not os.path.exists(path):
            continue
        try:
            with open(path, encoding="utf-8") as file:
                verdicts = json.load(file)["cases"]
        except (ValueError, KeyError) as error:
            print(f"{precision}: no answer ({type(error).__name__}: {error})")
            continue
        for verdict in verdicts:
            cases.setdefault(verdict["case"], {})[precision] = verdict
    for case, verdicts in cases.items():
        shown = [show_verdict(precision, verdict) for precision, verdict in verdicts.items()]
        print(f"{case:24}", " ".join(shown))


def show_verdict(precision, verdict):
    """Error over tolerance, with a mark where the case fails."""
    error = verdict.get("max_rel_err")
    error = math.nan if error is None else error
    mark = "" if verdict.get("ok") else "!"
    return f"{precision} {error:.1e}/{verdict.get('tolerance', math.nan):.0e}{mark}"


class JobTimes:
    """The numbers of one finished job that the table needs; only a GPU tells its peak memory."""

    def __init__(self, scores):
        sampling, scoring = scores["sampling"], scores["scoring"]
        self.sampling_seconds = sampling["seconds"]
        self.network_seconds = sampling["network_seconds"]
        self.scoring_seconds = scoring["seconds"]
        gpu = sampling.get("gpu") or {}
        self.gpu_peak_bytes = gpu.get("peak_memory_bytes", math.nan)
        self.images = scores["images_sha256"]


def read_jobs(root, tag):
    """Jobs of one run by row."""
    jobs = {}
    pattern = os.path.join(root, f"runs_{tag}", "**", "scores.json")
    for path in glob.glob(pattern, recursive=True):
        with open(path, encoding="utf-8") as file:
            sealed = json.load(file)
        row = re.split(r"-s\d+-", os.path.basename(os.path.dirname(path)))[0]
        jobs[row] = JobTimes(sealed["scores"])
    return jobs


def show_steps(root, batch, low, high):
    for precision in PRECISIONS:
        runs = [read_jobs(root, f"{precision}_{batch}_{tag}") for tag in ("low", "high", "again")]
        short, long, again = runs
        for row in sorted(set(short) & set(long)):
            spent = long[row].sampling_seconds - short[row].sampling_seconds
            networks = long[row].network_seconds - short[row].network_seconds
            step = 1e3 * spent / (high - low)
            parts = [
                f"{precision} batch {batch} {row}: {step:.1f} ms per step",
                f"{1e3 * networks / (high - low):.1f} in networks",
                f"{step / batch:.2f} per image",
                f"{low} steps {short[row].sampling_seconds:.1f} s",
                f"scoring {long[row].scoring_seconds:.1f} s",
            ]
            if not math.isnan(long[row].gpu_peak_bytes):
                parts.append(f"peak {long[row].gpu_peak_bytes / 2**30:.2f} GiB")
            if row in again and long[row].images is not None:
                same = again[row].images == long[row].images
                parts.append("a second run: " + ("the same images" if same else "OTHER IMAGES"))
            print(", ".join(parts))


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "parity":
        show_parity(arguments[1])
    elif len(arguments) == 5 and arguments[0] == "steps":
        show_steps(arguments[1], *map(int, arguments[2:]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
