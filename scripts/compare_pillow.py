#!/usr/bin/env python3
"""Compares the image readers of `crates/data` with Pillow, bit for bit, on odd files of every kind.

    python3 -m venv /tmp/compare
    /tmp/compare/bin/pip install pillow==13.0.0 numpy==2.4.6 imagecodecs
    cargo build -p egsde-data --example decode_images   # DECODER
    /tmp/compare/bin/python scripts/compare_pillow.py DECODER [FOLDER]

The files are those of `odd_images.py`, or those in FOLDER. A file that both read must have the same
pixels; one that Pillow refuses must be refused. Files that Pillow reads and the harness refuses are
listed with the reason. It exits with 1 at a difference.

    ... scripts/compare_pillow.py DECODER --write-tests crates/data/tests/odd_images.tar.gz

also keeps the odd files and what Pillow makes of them, for a test that runs without it.
"""
import gzip
import hashlib
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import warnings

import odd_images
import PIL
from PIL import Image

# Where the harness is right and Pillow is not, with the reason.
EXCEPTIONS = {
    "palette_two.bmp": "Pillow reads 8-bit indices of a black and white palette as single bits",
    "extra0_planar.tif": "Pillow refuses a fourth plane without a meaning",
    "extra1_planar.tif": "Pillow refuses planes multiplied by alpha",
}


def pillow_pixels(data):
    """Size and SHA-256 of the RGB pixels, or Pillow's error."""
    try:
        image = Image.open(io.BytesIO(data))
        image = image.convert("RGB")
    except Exception as error:
        return f"refused {error}"
    digest = hashlib.sha256(image.tobytes()).hexdigest()
    return f"{image.width}x{image.height} {digest}"


def harness_pixels(decoder, folder):
    """The same by the harness, by name."""
    run = subprocess.run([decoder, folder], capture_output=True, text=True, check=True)
    found = {}
    for line in run.stdout.splitlines():
        name, size, rest = line.split("\t", 2)
        found[name] = f"{size} {rest}"
    return found


def archive(files):
    """The bytes of a tar of files, which depend on nothing else."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def main():
    warnings.simplefilter("ignore")
    decoder, arguments = sys.argv[1], sys.argv[2:]
    files = odd_images.files()
    tests = None
    if arguments[:1] == ["--write-tests"]:
        tests = pathlib.Path(arguments[1])
    elif arguments:
        files = {path.name: path.read_bytes() for path in pathlib.Path(arguments[0]).iterdir()}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (pathlib.Path(folder) / name).write_bytes(data)
        ours = harness_pixels(decoder, folder)
    counts = {"equal": 0, "both refuse": 0, "only Pillow reads": 0, "different": 0,
              "exceptions": 0}
    expected = {}
    for name, data in sorted(files.items()):
        theirs = pillow_pixels(data)
        expected[name] = theirs.split()[0] if theirs.startswith("refused") else theirs
        if name in EXCEPTIONS:
            verdict = "exceptions"
            expected[name] = ours[name]
        elif ours[name] == theirs:
            verdict = "equal"
        elif not ours[name].startswith("refused"):
            verdict = "different"
        elif theirs.startswith("refused"):
            verdict = "both refuse"
        else:
            verdict = "only Pillow reads"
            # The reason stands behind the file's path.
            expected[name] = "refused " + ours[name].split(": ", 1)[1]
        counts[verdict] += 1
        if verdict not in ("equal", "both refuse"):
            print(f"{verdict}: {name}: {ours[name]}; Pillow: {theirs}")
    print(f"Pillow {PIL.__version__}:", ", ".join(f"{n} {what}" for what, n in counts.items()))
    if tests:
        files["expected.json"] = json.dumps(expected, indent=1).encode()
        tests.write_bytes(gzip.compress(archive(files), mtime=0))
    sys.exit(1 if counts["different"] else 0)


if __name__ == "__main__":
    main()
