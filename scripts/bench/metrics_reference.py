"""pytorch-fid 0.3.0 and its Fréchet distance, as `just bench-vs-reference` times them beside ours.

    metrics_reference.py pictures FOLDER COUNT SIDE   writes two folders of synthetic images
    metrics_reference.py fid WEIGHTS A B THREADS      prints pytorch-fid's distance of two folders
    metrics_reference.py statistics FOLDER            writes the statistics of two sets of features
    metrics_reference.py frechet A B                  reads lines; prints for each the seconds of
                                                      one distance of 2,048 features by scipy's
                                                      sqrtm, and the distance

The weights of Inception come from a safetensors file, since the published file cannot be fetched
everywhere. It needs torch 2.11.0, torchvision 0.26.0 and pytorch-fid 0.3.0.
"""
import os
import sys
import time

import numpy as np

# Images that go through Inception together.
BATCH = 50
FEATURES = 2048


def pictures(folder, count, side):
    """Smooth noise with edges: as costly to decode as photographs, the same on every machine."""
    from PIL import Image

    draws = np.random.default_rng(0)
    for name in ("a", "b"):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        for i in range(count):
            coarse = draws.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
            smooth = Image.fromarray(coarse).resize((side, side), Image.BICUBIC)
            grain = draws.integers(-12, 13, (side, side, 3))
            pixels = (np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(os.path.join(folder, name, f"{i:05}.png"))


def fid(weights, a, b, threads):
    import pytorch_fid.fid_score
    import pytorch_fid.inception
    import torch
    from safetensors.torch import load_file

    def load_weights(*_, **__):
        return load_file(weights)

    torch.set_num_threads(threads)
    pytorch_fid.inception.load_state_dict_from_url = load_weights
    distance = pytorch_fid.fid_score.calculate_fid_given_paths(
        [a, b], BATCH, torch.device("cpu"), FEATURES, num_workers=threads
    )
    print(distance)


def statistics(folder):
    """Two sets of 4,000 and 5,000 rows with correlated columns, as pytorch-fid keeps them."""
    draws = np.random.default_rng(1)
    mix = draws.normal(size=(FEATURES, FEATURES)) / 45
    for name, n in (("a", 4000), ("b", 5000)):
        x = np.maximum(draws.normal(size=(n, FEATURES)) @ mix, 0)
        path = os.path.join(folder, f"{name}.npz")
        np.savez(path, mu=x.mean(0), sigma=np.cov(x, rowvar=False))


def frechet(a, b):
    import pytorch_fid.fid_score

    sides = [np.load(path) for path in (a, b)]
    given = [side[key] for side in sides for key in ("mu", "sigma")]
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        distance = pytorch_fid.fid_score.calculate_frechet_distance(*given)
        print(f"{time.perf_counter() - began:.6f} 0 {distance:.9g}", flush=True)


def main():
    command, *rest = sys.argv[1:]
    if command == "pictures":
        folder, count, side = rest
        pictures(folder, int(count), int(side))
    elif command == "fid":
        weights, a, b, threads = rest
        fid(weights, a, b, int(threads))
    elif command == "statistics":
        statistics(*rest)
    elif command == "frechet":
        frechet(*rest)
    else:
        sys.exit(f"no command {command}")


if __name__ == "__main__":
    main()
