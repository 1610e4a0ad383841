"""pytorch-fid 0.3.0 and its Fréchet distance, as `just bench-vs-reference` times them beside ours.

`metrics_reference.py pictures FOLDER COUNT SIDE` writes two folders of synthetic pictures; `fid WEIGHTS A B THREADS` prints
pytorch-fid's distance of two folders with Inception weights from a safetensors file (the published file cannot be fetched
everywhere); `statistics FOLDER` writes two sets' statistics, and `frechet A B` reads lines and prints, for each, the seconds of one
distance of 2,048 features by scipy's sqrtm, and the distance.
Needs torch 2.11.0, torchvision 0.26.0, pytorch-fid 0.3.0.
"""
import os, sys, time

import numpy as np


def pictures(folder, count, side):
    """Smooth noise with edges: as costly to decode as photographs, and the same on every machine."""
    from PIL import Image

    draws = np.random.default_rng(0)
    for name in ("a", "b"):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        for i in range(count):
            coarse = Image.fromarray(draws.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)).resize((side, side), Image.BICUBIC)
            grain = draws.integers(-12, 13, (side, side, 3))
            Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(os.path.join(folder, name, f"{i:05}.png"))


def fid(weights, a, b, threads):
    import torch
    import pytorch_fid.fid_score, pytorch_fid.inception
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: load_file(weights)
    print(pytorch_fid.fid_score.calculate_fid_given_paths([a, b], 50, torch.device("cpu"), 2048, num_workers=threads))


def statistics(folder):
    """Two sets of 4,000 and 5,000 rows with correlated columns, as pytorch-fid keeps them."""
    draws = np.random.default_rng(1)
    mix = draws.normal(size=(2048, 2048)) / 45
    for name, n in (("a", 4000), ("b", 5000)):
        x = np.maximum(draws.normal(size=(n, 2048)) @ mix, 0)
        np.savez(os.path.join(folder, f"{name}.npz"), mu=x.mean(0), sigma=np.cov(x, rowvar=False))


def frechet(a, b):
    import pytorch_fid.fid_score

    sides = [np.load(path) for path in (a, b)]
    given = [side[key] for side in sides for key in ("mu", "sigma")]
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        distance = pytorch_fid.fid_score.calculate_frechet_distance(*given)
        print(f"{time.perf_counter() - began:.6f} 0 {distance:.9g}", flush=True)


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "pictures":
        pictures(rest[0], int(rest[1]), int(rest[2]))
    elif command == "fid":
        fid(rest[0], rest[1], rest[2], int(rest[3]))
    elif command == "statistics":
        statistics(rest[0])
    else:
        frechet(*rest)
